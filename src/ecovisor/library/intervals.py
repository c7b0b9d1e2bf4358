"""Intervals ``[start, end)`` over ticks, and sums over them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def tick_range(start_s: float, end_s: float, first_s: float, tick_s: float) -> tuple[int, int]:
    """Numbers of the ticks that ``[start_s, end_s)`` touches, counted from ``first_s``; unaligned bounds snap outward."""
    first = math.floor((start_s - first_s) / tick_s + 1e-9)
    last = math.ceil((end_s - first_s) / tick_s - 1e-9)
    return first, max(first, last)


def energy_wh(power_w: Sequence[float], tick_s: float) -> float:
    """Energy of mean powers, one a tick. [Wh] NaN if one of them is absent."""
    return math.fsum(power_w) * tick_s / 3600.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The percentile by linear interpolation between ranks, absent values (NaN) left out; NaN of nothing."""
    known = sorted(value for value in values if value == value)
    if not known:
        return math.nan
    position = percent / 100.0 * (len(known) - 1)
    k = int(position)
    if k + 1 >= len(known):
        return known[-1]
    return known[k] + (known[k + 1] - known[k]) * (position - k)

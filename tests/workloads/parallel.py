"""Drives a parallel job by hand: containers, a grant, and how far it comes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ecovisor.ports import ContainerInfo
from ecovisor.presets import SERVERS
from ecovisor.testing.sites import START_S

GPU = SERVERS["microserver-gpu"]
IDLE_W, FULL_W = GPU.power_curve_w


def nodes(caps_w: Sequence[float], suspended: Sequence[int] = ()) -> list[ContainerInfo]:
    return [ContainerInfo(f"c{k + 1}", 4.0, k not in suspended, 0.0, cap_w) for k, cap_w in enumerate(caps_w)]


def speed_ratio(cap_w: float) -> float:
    """Of the linear curve, worked out by hand."""
    return min(1.0, max(0.0, (cap_w - IDLE_W) / (FULL_W - IDLE_W)))


def drive(
    job: Any,
    containers: Sequence[ContainerInfo],
    tick_s: float,
    *,
    ticks: int = 1_000_000,
    granted_ratio: Callable[[int], float] = lambda _: 1.0,
    each: Callable[[int, Sequence[float], Sequence[float]], None] = lambda *_: None,
) -> float:
    """Run to the end, or for so many ticks; how long it took, NaN if it is not complete. [s]"""
    for k in range(ticks):
        asked_w = job.demands_w(START_S + k * tick_s, tick_s, containers)
        served_w = [one * granted_ratio(k) for one in asked_w]
        job.run_containers(served_w, tick_s)
        each(k, asked_w, served_w)
        if not math.isnan(job.completed_s):
            break
    return float(job.completed_s - START_S)

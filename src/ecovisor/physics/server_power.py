"""Servers: power at a load, the load a power allows, and how the parts of a server share it.

Power curves are points at evenly spaced loads from idle to full, as SPECpower publishes them (two points: linear). A container with
``cores`` of a server's cores is that part of the server, idle power included (the "by allocated cores" rule).
"""

from __future__ import annotations

from collections.abc import Sequence


def power_at_w(power_curve_w: Sequence[float], points: float, utilisation_ratio: float) -> float:
    """Power of a whole server at a utilisation of 0 to 1, interpolated between the curve's ``points`` points. [W]"""
    last = int(points) - 1
    if utilisation_ratio >= 1.0:
        return power_curve_w[last]
    if utilisation_ratio <= 0.0:
        return power_curve_w[0]
    position = utilisation_ratio * last
    k = int(position)
    return power_curve_w[k] + (power_curve_w[k + 1] - power_curve_w[k]) * (position - k)


def utilisation_at_ratio(power_curve_w: Sequence[float], points: float, power_w: float) -> float:
    """The highest utilisation whose power does not exceed ``power_w``: the inverse of `power_at_w`; 0 at or below idle. [1]"""
    last = int(points) - 1
    if power_w >= power_curve_w[last]:
        return 1.0
    if power_w <= power_curve_w[0]:
        return 0.0
    k = last - 1
    while power_curve_w[k] > power_w:
        k -= 1
    return (k + (power_w - power_curve_w[k]) / (power_curve_w[k + 1] - power_curve_w[k])) / last

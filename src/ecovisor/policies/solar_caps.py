"""Containers on nothing but sun: who can run at all, and caps that never promise more than there is (Ecovisor paper, section 5.4).

Shared by `equal_caps`, `balanced_caps` and `straggler_replicas`, which decide who gets how much.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ecovisor.model.errors import Infeasible
from ecovisor.ports import ContainerInfo, VirtualEnergy

INFINITY = float("inf")

#: Powers are shared out but for this part of them, so that rounding never makes their sum more than there is.
_ROUNDING_RATIO = 1e-12


def affordable(least_w: Sequence[float], supply_w: float) -> int:
    """How many of these containers, the first ones, can have the same power each, and at least their ``least_w``."""
    for count in range(len(least_w), 0, -1):
        if supply_w / count >= max(least_w[:count]):
            return count
    return 0


def fill_w(total_w: float, weights: Sequence[float], most_w: Sequence[float]) -> list[float]:
    """``total_w`` shared out in proportion to ``weights``; nobody has more than ``most_w``, the others take what is over. [W]"""
    parts = [0.0] * len(weights)
    open_ = [k for k, weight in enumerate(weights) if weight > 0.0 and most_w[k] > 0.0]
    left_w = total_w * (1.0 - _ROUNDING_RATIO)
    while open_ and left_w > 0.0:
        whole = math.fsum(weights[k] for k in open_)
        full = [k for k in open_ if left_w * (weights[k] / whole) >= most_w[k]]
        if not full:
            for k in open_:
                parts[k] = left_w * (weights[k] / whole)
            break
        for k in full:
            parts[k] = most_w[k]
            left_w -= most_w[k]
        open_ = [k for k in open_ if k not in full]
    return parts


class IdlePower:
    """What each container draws without load, from the one thing that an app is told: what all that run draw."""

    def __init__(self) -> None:
        self._w_per_core = 0.0

    def of(self, energy: VirtualEnergy, containers: Sequence[ContainerInfo]) -> list[float]:
        """Of each container, in proportion to its cores; what was last known while none of them runs. [W]"""
        cores = math.fsum(one.cores for one in containers if one.running)
        if cores > 0.0:
            self._w_per_core = energy.idle_power_w / cores
        return [self._w_per_core * one.cores for one in containers]


def apply_caps(energy: VirtualEnergy, containers: Sequence[ContainerInfo], caps_w: Mapping[str, float]) -> None:
    """Cap the containers that are named and let them run, suspend the others; power is taken away before it is given.

    A container whose idle power turns out to be above its cap is suspended.
    """
    for one in containers:
        if one.id not in caps_w and one.running:
            energy.suspend_container(one.id)
    for one in sorted(containers, key=lambda one: caps_w.get(one.id, INFINITY) > one.cap_w):
        cap_w = caps_w.get(one.id)
        if cap_w is None:
            continue
        try:
            if cap_w != one.cap_w:
                energy.set_container_powercap(one.id, cap_w)
            if not one.running:
                energy.resume_container(one.id)
        except Infeasible:
            if one.running:
                energy.suspend_container(one.id)

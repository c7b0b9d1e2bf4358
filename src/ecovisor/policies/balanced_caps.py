"""Balanced caps (Ecovisor paper, section 5.4.1): the application's way of running a parallel job on nothing but sun.

Power goes to where it is used: a container that drew less than its cap waited for others, one that drew all of it is waited for. That is
seen in the containers' own power, so no word from the application is needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ecovisor.policies.solar_caps import INFINITY, IdlePower, affordable, apply_caps, fill_w
from ecovisor.ports import AppView, ContainerInfo, VirtualEnergy


def balanced_w(
    total_w: float,
    used_w: Sequence[float],
    busy: Sequence[bool],
    weights: Sequence[float],
    most_w: Sequence[float],
    keep_ratio: float,
) -> list[float]:
    """Power above idle for each container, in all at most ``total_w``. [W]

    By ``weights`` each has a part that would let all of them arrive at once. Those that waited claim what they would use if all went
    faster alike, at least ``keep_ratio`` of their part, so that they can be seen to work again, and at most all of it. Those that others
    wait for share the rest; what is more than they can use goes back to those that waited.
    """
    count, whole, used_total_w = len(used_w), math.fsum(weights), math.fsum(used_w)
    if not any(busy) or used_total_w <= 0.0:
        return fill_w(total_w, weights, most_w)
    pace = total_w / used_total_w
    claim_w = [0.0] * count
    for k in range(count):
        if not busy[k]:
            part_w = total_w * weights[k] / whole
            claim_w[k] = min(max(pace * used_w[k], keep_ratio * part_w), part_w, most_w[k])
    rest_w = total_w - math.fsum(claim_w)
    given_w = fill_w(rest_w, [weights[k] if busy[k] else 0.0 for k in range(count)], most_w)
    over_w = rest_w - math.fsum(given_w)
    room_w = [0.0 if busy[k] else most_w[k] - claim_w[k] for k in range(count)]
    back_w = fill_w(over_w, weights, room_w)
    return [(claim_w[k] + given_w[k] + back_w[k]) * (1.0 - 1e-12) for k in range(count)]


class BalancedCaps:
    """Shares out the solar power so that each container uses nearly all of what it is allotted.

    Args:
        full_w: what a container can use at most; more is never given to it. [W]
        least_ratio: a container runs only at this many times its idle power or more; where the sun is too little for all, those run
            that others wait for. [1]
        busy_ratio: a container that drew this part of what its cap left above idle power is waited for. [0..1]
        keep_ratio: part of its usual share that a container keeps while it waits. [0..1]
        memory_s: over about this time is learnt how much each container needs. [s]
        in_turn: False: where the sun is too little for all, all of them are suspended.
    """

    def __init__(
        self,
        full_w: float = INFINITY,
        least_ratio: float = 1.25,
        busy_ratio: float = 0.95,
        keep_ratio: float = 0.5,
        memory_s: float = 3600.0,
        *,
        in_turn: bool = True,
    ) -> None:
        self.full_w = full_w
        self.least_ratio = least_ratio
        self.busy_ratio = busy_ratio
        self.keep_ratio = keep_ratio
        self.memory_s = memory_s
        self.in_turn = in_turn
        self._idle = IdlePower()
        self._queue: list[str] = []
        self._waited: set[str] = set()
        self._need_w: dict[str, float] = {}

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Look at what the containers used of their caps; set those of the coming tick."""
        if app.completed:
            return
        containers = energy.list_containers()
        idle_w = dict(zip((one.id for one in containers), self._idle.of(energy, containers), strict=True))
        used_w = {one.id: max(0.0, one.power_w - idle_w[one.id]) if one.running else 0.0 for one in containers}
        busy = {one.id: self._is_busy(one, used_w[one.id], idle_w[one.id]) for one in containers}
        self._learn(used_w, energy.tick_s)
        solar_w = energy.get_solar_power()
        waiting = {one.id for one in containers if one.running and not busy[one.id]}
        chosen = self._choose(containers, waiting, idle_w, solar_w)
        total_w = solar_w - math.fsum(idle_w[name] for name in chosen)
        need = [self._need_w[name] for name in chosen]
        mean = math.fsum(need) / len(need) if need else 0.0
        parts_w = balanced_w(
            total_w,
            [used_w[name] for name in chosen],
            [busy[name] for name in chosen],
            [max(one, 0.1 * mean) if mean > 0.0 else 1.0 for one in need],
            [max(0.0, self.full_w - idle_w[name]) for name in chosen],
            self.keep_ratio,
        )
        apply_caps(energy, containers, {name: idle_w[name] + part_w for name, part_w in zip(chosen, parts_w, strict=True)})

    def _is_busy(self, one: ContainerInfo, used_w: float, idle_w: float) -> bool:
        """Whether others wait for it, as far as can be seen: a container that did not run may be."""
        if not one.running or one.cap_w == INFINITY:
            return True
        room_w = min(one.cap_w, self.full_w) - idle_w
        return used_w >= self.busy_ratio * room_w

    def _learn(self, used_w: dict[str, float], tick_s: float) -> None:
        """All containers go through the same steps, so what each uses over many of them is in proportion to its part of the work."""
        gain = min(1.0, tick_s / self.memory_s)
        known = [self._need_w[name] for name in used_w if name in self._need_w]
        start_w = math.fsum(known) / len(known) if known else 0.0
        self._need_w = {
            name: (need := self._need_w.get(name, start_w)) + gain * (power_w - need) for name, power_w in used_w.items()
        }

    def _choose(
        self, containers: Sequence[ContainerInfo], waiting: set[str], idle_w: dict[str, float], solar_w: float
    ) -> list[str]:
        """Containers to run: all where the sun is enough for all of them, else those that have not been seen waiting.

        Of these, those that ran last go on. One that has been seen waiting runs again when the others cannot use all the sun, and when
        there are no others: then whatever they waited for has come.
        """
        names = [one.id for one in containers]
        self._queue = [name for name in self._queue if name in idle_w] + [name for name in names if name not in self._queue]
        least_w = {name: self.least_ratio * idle_w[name] for name in names}
        if affordable(list(least_w.values()), solar_w) == len(names):
            self._waited = waiting
            self._queue.sort(key=waiting.__contains__)
            return names
        if not self.in_turn:
            return []
        ran = {one.id for one in containers if one.running}
        self._waited = {name for name in self._waited if name in idle_w and name not in ran} | waiting
        if len(self._waited) == len(names):
            self._waited = set()
        self._queue.sort(key=lambda name: (name in self._waited, name not in ran))
        chosen = self._queue[: affordable([least_w[name] for name in self._queue], solar_w)]
        useful = sum(name not in self._waited for name in chosen)
        while useful < len(chosen) and useful * self.full_w < solar_w:
            useful += 1
        return chosen[:useful]

"""Replicas against stragglers (Ecovisor paper, section 5.4.1): what the sun gives beyond the need runs slow tasks a second time.

Excess sun that cannot be stored would be lost, so using it is worth while even where most of it comes to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ecovisor.policies.solar_caps import IdlePower, affordable, apply_caps
from ecovisor.ports import AppView, ContainerInfo, VirtualEnergy


class StragglerReplicas:
    """Shares the sun out equally among the containers that have a task; what is over runs spare ones, at full power each.

    The application says how many tasks it has (`tasks`: its first containers have one each, the others are spare), how many replicas
    it runs (`replicas_running`) and how many more of its slow tasks could do with one (`replicas_wanted`).

    Args:
        full_w: what a container can use at most. [W]
        least_ratio: a container runs only at this many times its idle power or more. [1]
        most_spares: never run more spare containers; None: as many as there are.
    """

    def __init__(self, full_w: float, least_ratio: float = 1.25, most_spares: int | None = None) -> None:
        self.full_w = full_w
        self.least_ratio = least_ratio
        self.most_spares = most_spares
        self._idle = IdlePower()

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Set caps, and who runs, for the coming tick."""
        if app.completed:
            return
        containers = energy.list_containers()
        idle_w = self._idle.of(energy, containers)
        solar_w = energy.get_solar_power() * (1.0 - 1e-12)
        tasks = min(int(app.metrics.get("tasks", len(containers))), len(containers))
        count = affordable([self.least_ratio * one for one in idle_w[:tasks]], solar_w)
        cap_w = min(solar_w / count, self.full_w) if count else 0.0
        caps_w = {one.id: cap_w for one in containers[:count]}
        if count == tasks:
            excess_w = solar_w - math.fsum(caps_w.values())
            wanted = int(app.metrics.get("replicas_wanted", 0.0) + app.metrics.get("replicas_running", 0.0))
            chosen = self._spares(containers[tasks:], idle_w[tasks:])[: min(wanted, int(excess_w / self.full_w * (1.0 + 1e-9)))]
            caps_w |= {one.id: min(self.full_w, excess_w / len(chosen) * (1.0 - 1e-12)) for one in chosen}
        apply_caps(energy, containers, caps_w)

    def _spares(self, spares: Sequence[ContainerInfo], idle_w: Sequence[float]) -> list[ContainerInfo]:
        """Spare containers, those first that are working on a replica: that is seen in their power."""
        working = {one.id for one, idle in zip(spares, idle_w, strict=True) if one.running and one.power_w > idle}
        return sorted(spares, key=lambda one: one.id not in working)[: self.most_spares]

"""Asking workloads in Python what they want, and telling them what they got: as a whole, or container by container.

`loop` asks before a tick, after the policies, and tells before the next one.
"""

from __future__ import annotations

import math
from typing import Any

from ecovisor.engine import columns
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.ports import ContainerWorkload, Workload

INFINITY = float("inf")


class Asking:
    """A workload that asks for its app as a whole.

    Args:
        workload: it may say ``work_done``, ``work_total``, ``work_unit``, ``completed_s`` and ``metrics`` of itself.
        energy: its app.
        start_s: it is not asked before. [s since the epoch]
    """

    kind = columns.EXTERNAL

    def __init__(self, workload: Any, energy: VirtualEnergySystem, start_s: float) -> None:
        self.workload = workload
        self.energy = energy
        self._start_s = start_s
        self._asked = False
        energy.work_unit = getattr(workload, "work_unit", None)

    def ask(self) -> None:
        """Before a tick.

        Raises:
            ValueError: it asked for what is no power, or for another number of containers than there are.
        """
        self._asked = self.energy.now_s >= self._start_s
        if self._asked:
            self._ask()

    def tell(self) -> None:
        """After the tick: what was granted, and how far it is."""
        if self._asked:
            self._tell()
            workload, energy = self.workload, self.energy
            energy.metrics = getattr(workload, "metrics", energy.metrics)
            energy.report_progress(getattr(workload, "work_done", 0.0), getattr(workload, "work_total", 0.0))
            if energy.completed:
                energy.report_completed(getattr(workload, "completed_s", math.nan))

    def _ask(self) -> None:
        energy = self.energy
        asked_w = self.workload.demand_w(energy.now_s, energy.tick_s, energy.running_cores)
        if not 0.0 <= asked_w < INFINITY:
            raise ValueError(f"the workload asked for {asked_w!r} W; a demand is finite and at least 0")
        energy.ask(asked_w)

    def _tell(self) -> None:
        self.workload.run(self.energy.get_app_power(), self.energy.tick_s)


class AskingEach(Asking):
    """A workload that asks container by container: what they get is split as it has asked."""

    kind = columns.PER_CONTAINER

    def __init__(self, workload: Any, energy: VirtualEnergySystem, start_s: float) -> None:
        super().__init__(workload, energy, start_s)
        self._ids: list[str] = []

    def _ask(self) -> None:
        energy = self.energy
        containers = energy.offered_containers()
        energy.ask_each(self.workload.demands_w(energy.now_s, energy.tick_s, containers))
        self._ids = [one.id for one in containers]

    def _tell(self) -> None:
        self.workload.run_containers(self.energy.granted_w(self._ids), self.energy.tick_s)


def asking(workload: Workload | ContainerWorkload, energy: VirtualEnergySystem, start_s: float) -> Asking:
    """The way in which a workload wants to be asked, from its start on."""
    kind = AskingEach if hasattr(workload, "demands_w") else Asking
    return kind(workload, energy, start_s)

"""Asking workloads in Python what they want, and telling them what they got: as a whole, or container by container.

`loop` asks before a tick, after the policies, and tells before the next one.
"""

from __future__ import annotations

from typing import Any

from ecovisor.engine import columns
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.ports import ContainerWorkload, Workload

INFINITY = float("inf")


class Asking:
    """A workload that asks for its app as a whole.

    Args:
        workload: it may say ``work_done``, ``work_total`` and ``metrics`` of itself; its app's policy sees them.
        energy: its app.
    """

    kind = columns.EXTERNAL

    def __init__(self, workload: Any, energy: VirtualEnergySystem) -> None:
        self.workload = workload
        self.energy = energy

    def ask(self) -> None:
        """Before a tick.

        Raises:
            ValueError: it asked for what is no power.
        """
        energy = self.energy
        asked_w = self.workload.demand_w(energy.now_s, energy.tick_s, energy.running_cores)
        if not 0.0 <= asked_w < INFINITY:
            raise ValueError(f"the workload asked for {asked_w!r} W; a demand is finite and at least 0")
        energy.ask(asked_w)

    def tell(self) -> None:
        """After the tick: what was granted."""
        self.workload.run(self.energy.get_app_power(), self.energy.tick_s)
        self._listen()

    def _listen(self) -> None:
        workload, energy = self.workload, self.energy
        energy.metrics = getattr(workload, "metrics", energy.metrics)
        energy.report_progress(getattr(workload, "work_done", 0.0), getattr(workload, "work_total", 0.0))


class AskingEach(Asking):
    """A workload that asks container by container: what they get is split as it has asked."""

    kind = columns.PER_CONTAINER

    def __init__(self, workload: Any, energy: VirtualEnergySystem) -> None:
        super().__init__(workload, energy)
        self._ids: list[str] = []

    def ask(self) -> None:
        """Before a tick.

        Raises:
            ValueError: another number of demands than containers, or one that is no power.
        """
        energy = self.energy
        containers = energy.offered_containers()
        energy.ask_each(self.workload.demands_w(energy.now_s, energy.tick_s, containers))
        self._ids = [one.id for one in containers]

    def tell(self) -> None:
        """After the tick: what was granted to those that were asked for."""
        self.workload.run_containers(self.energy.granted_w(self._ids), self.energy.tick_s)
        self._listen()


def asking(workload: Workload | ContainerWorkload, energy: VirtualEnergySystem) -> Asking:
    """The way in which a workload wants to be asked."""
    return AskingEach(workload, energy) if hasattr(workload, "demands_w") else Asking(workload, energy)

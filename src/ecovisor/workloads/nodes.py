"""Containers as the nodes of a parallel job: which task each one has, what it draws and how fast it is under its cap.

`physics.server_power` has the curve, `containers` what a power is worth; `synchronous` and `replicas` say what the nodes do.
"""

from __future__ import annotations

from collections.abc import Sequence

from ecovisor.ports import ContainerInfo
from ecovisor.presets import ServerParameters
from ecovisor.workloads.containers import effective_cores, group_power_w

INFINITY = float("inf")

#: A granted power that falls short of what was asked by no more than this part of it was granted in full: rounding.
GRANTED_RATIO = 1.0 - 1e-9


class Nodes:
    """What containers of one kind of server draw and do.

    Args:
        server: where they run; each is its cores' part of one, idle power included.
    """

    def __init__(self, server: ServerParameters) -> None:
        self._curve_w = server.power_curve_w
        self._points = float(len(server.power_curve_w))
        self._server_cores = server.cores

    def idle_w(self, cores: float) -> float:
        """Power of a container that waits. [W]"""
        return group_power_w(self._curve_w, self._points, self._server_cores, cores, 0.0, INFINITY)

    def busy_w(self, container: ContainerInfo) -> float:
        """Power of a container that works: its cap, or its full power; 0 if it is suspended or its cap is below its idle power. [W]"""
        if not container.running or container.cap_w < self.idle_w(container.cores):
            return 0.0
        return group_power_w(self._curve_w, self._points, self._server_cores, container.cores, 1.0, container.cap_w)

    def speed_ratio(self, cores: float, busy_w: float) -> float:
        """Speed at a power, over full speed. [0..1]"""
        return effective_cores(self._curve_w, self._points, self._server_cores, cores, busy_w) / cores


class Ranks:
    """Which container has which task of a parallel job: in the order in which they are first seen, for as long as they are there.

    Args:
        count: tasks of the job.
    """

    def __init__(self, count: int) -> None:
        self._ids: list[str | None] = [None] * count

    def of(self, containers: Sequence[ContainerInfo]) -> list[int | None]:
        """The task of each container; None for one that has none. A task whose container has gone is taken over, state and all."""
        present = {one.id for one in containers}
        ranks: dict[str, int] = {}
        free: list[int] = []
        for rank, owner in enumerate(self._ids):
            if owner is not None and owner in present:
                ranks[owner] = rank
            else:
                free.append(rank)
        if free:
            waiting = iter([one.id for one in containers if one.id not in ranks])
            for rank in free:
                self._ids[rank] = new = next(waiting, None)
                if new is not None:
                    ranks[new] = rank
        return [ranks.get(one.id) for one in containers]

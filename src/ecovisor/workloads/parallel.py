"""What parallel jobs have in common: a tick is played out at the power that each node would draw, and again if less was granted.

`synchronous` and `replicas` say how their tick goes; `nodes` what power is worth.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

from ecovisor.model.errors import SettingsError
from ecovisor.ports import ContainerInfo
from ecovisor.presets import ServerParameters
from ecovisor.workloads.nodes import GRANTED_RATIO, Nodes

INFINITY = float("inf")

Played = TypeVar("Played")
"""What a job keeps of a tick that it has played out."""


class ParallelJob(ABC, Generic[Played]):
    """A `ports.ContainerWorkload` that ends.

    Args:
        server: what a node runs on.
        start_s: nothing is asked for before this instant. [s since the epoch]
    """

    work_unit = "node-s"
    """Seconds of one container at full speed."""

    def __init__(self, server: ServerParameters, start_s: float) -> None:
        self.start_s = start_s
        self.completed_s = math.nan
        """When it was complete; NaN: it is not. [s since the epoch]"""
        self._server = Nodes(server)
        self._now_s = 0.0
        self._containers: Sequence[ContainerInfo] = ()
        self._busy_w: list[float] = []
        self._asked_w: list[float] = []
        self._played: Played | None = None

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        """See `ports.ContainerWorkload`: what each draws while it works, and its idle power while it does not. [W]"""
        self._now_s, self._containers, self._played = now_s, containers, None
        self._asked_w = [0.0] * len(containers)
        if now_s + tick_s > self.start_s and math.isnan(self.completed_s):
            self._meet(containers)
            self._busy_w = [self._server.busy_w(one) for one in containers]
            self._played, self._asked_w = self._play(tick_s, min(max(0.0, self.start_s - now_s), tick_s), self._busy_w)
        return self._asked_w

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        """See `ports.ContainerWorkload`. A container that was granted less runs as if it had been capped at that."""
        if self._played is None:
            return
        granted_w = list(self._busy_w)
        for k, (served, asked) in enumerate(zip(served_w, self._asked_w, strict=True)):
            if served < asked * GRANTED_RATIO:
                granted_w[k] = served if served >= self._server.idle_w(self._containers[k].cores) else 0.0
        if granted_w != self._busy_w:
            self._played, _ = self._play(tick_s, min(max(0.0, self.start_s - self._now_s), tick_s), granted_w)
        done_s = self._keep(self._played, tick_s)
        if done_s < INFINITY:
            self.completed_s = self._now_s + done_s

    @abstractmethod
    def _meet(self, containers: Sequence[ContainerInfo]) -> None:
        """These containers are there in the tick that is about to be played."""

    @abstractmethod
    def _play(self, tick_s: float, begin_s: float, busy_w: Sequence[float]) -> tuple[Played, list[float]]:
        """What becomes of a tick from ``begin_s`` after its start, and the mean power that each container draws in it. [W]

        Each draws ``busy_w`` while it works; 0 is off. The state stays as it is.
        """

    @abstractmethod
    def _keep(self, played: Played, tick_s: float) -> float:
        """That is what became of the tick: from now on it is the state. When the job was complete, from the tick's start. [s]"""


def check_options(options: Mapping[str, tuple[float, float, float]]) -> None:
    """Refuse what is out of range: name → value, least and most.

    Raises:
        SettingsError: one of them is, or is not finite.
    """
    for name, (value, least, most) in options.items():
        if not least <= value <= most or value == INFINITY:
            bound = f"at least {least:g} and finite" if most == INFINITY else f"{least:g} to {most:g}"
            raise SettingsError(f"workload.options.{name}", f"is {value!r}, must be {bound}")

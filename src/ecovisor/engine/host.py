"""What a handle and its containers need of the arrangement that they belong to; `arrangement` provides it."""

from __future__ import annotations

from typing import Protocol

from ecovisor.engine.memory import Memory
from ecovisor.engine.recorder import Recorder
from ecovisor.engine.specification import Group
from ecovisor.model.series import Series
from ecovisor.presets import ServerParameters


class Host(Protocol):
    """Where the columns of an app are, and whom to tell."""

    memory: Memory
    recorder: Recorder
    server: ServerParameters

    def place(self, index: int) -> tuple[int, int]:
        """Tile and lane of an app's number."""
        ...

    def group_of(self, index: int) -> Group:
        """The group that an app's number belongs to."""
        ...

    def containers_changed(self) -> None:
        """Some app has other containers than before."""
        ...

    def call_every_tick(self) -> None:
        """Have the loop call back before every tick from now on."""
        ...

    def forecast(self, index: int, signal: str, now_s: float, horizon_s: float) -> Series:
        """What a signal is expected to be."""
        ...

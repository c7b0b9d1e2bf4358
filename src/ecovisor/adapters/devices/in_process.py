"""The emulated plant within our own process, on an injected clock: for tests and lockstep, where nothing has to survive a kill.

`emulated_client` is the same towards a plant in a process of its own; both pass the same contract suite.
"""

from __future__ import annotations

from ecovisor.adapters.devices.emulated import EmulatedPlant
from ecovisor.model.errors import Unavailable
from ecovisor.ports.live import Clock, PlantReading, SetPoint


class InProcessPlant:
    """Implements `EnergyPlant` and `EmulatedLoad` of `ecovisor.ports.live`.

    Attributes:
        core: the plant.
        fault: why it does not answer; None: it does. For tests; the plant itself goes on meanwhile.
    """

    def __init__(self, core: EmulatedPlant, clock: Clock) -> None:
        self.core = core
        self.fault: str | None = None
        self._clock = clock

    async def open(self) -> None:
        """Nothing to connect. Raises `Unavailable` under a fault."""
        self._now_s()

    async def close(self) -> None:
        """Nothing to disconnect."""

    async def read(self) -> PlantReading:
        """Meters and state now."""
        return self.core.read(self._now_s())

    async def command(self, set_point: SetPoint) -> SetPoint:
        """Set, and return what was accepted."""
        return self.core.command(self._now_s(), set_point)

    async def draw(self, energy_wh: float) -> PlantReading:
        """The cluster drew this since the last call; the meters at that instant. [Wh]"""
        now_s = self._now_s()
        self.core.draw(now_s, energy_wh)
        return self.core.read(now_s)

    async def settle(self) -> PlantReading:
        """The load that was assumed since the last draw is taken for the true one."""
        now_s = self._now_s()
        self.core.settle(now_s)
        return self.core.read(now_s)

    async def set_sun(self, ratio: float) -> None:
        """Scale the emulated sun. [1]"""
        self.core.set_sun(self._now_s(), ratio)

    def describe(self) -> str:
        """One line for people."""
        return f"{self.core.describe()}, in process"

    def _now_s(self) -> float:
        if self.fault is not None:
            raise Unavailable(f"emulated plant: {self.fault}")
        return self._clock.site_s()

"""Everything that is read at a tick's boundary, at once and each with its deadline: containers, node meter, plant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ecovisor import wire
from ecovisor.live.sources import Source
from ecovisor.model.series import Quality
from ecovisor.ports.live import Clock, ContainerStatus, EnergyCounter, EnergyPlant, NodeMeter, PlantReading, Platform


@dataclass(frozen=True, slots=True)
class Sensed:
    """What was read; None where it was not."""

    statuses: Sequence[ContainerStatus] | None
    statuses_s: float
    """Monotonic instant of the statuses. [s]"""
    node: EnergyCounter | None
    plant: PlantReading | None


class Sensors:
    """The sources of a site.

    Args:
        platform: containers.
        plant: battery, array, grid meter.
        node_meter: of the machine, or None.
        clock: for ages.
        deadline_s: of each. [s, wall time]
        max_age_s: see `Source`. [s, wall time]
    """

    def __init__(
        self,
        platform: Platform,
        plant: EnergyPlant,
        node_meter: NodeMeter | None,
        clock: Clock,
        *,
        deadline_s: float,
        max_age_s: float,
    ) -> None:
        self._clock = clock
        self.platform = Source(
            "platform", self._status, clock, deadline_s=deadline_s, max_age_s=max_age_s, quality=Quality.MEASURED,
            detail=f"{platform.isolation().platform}, caps by {platform.isolation().cap_mechanism}",
        )  # fmt: skip
        self.plant = Source("plant", plant.read, clock, deadline_s=deadline_s, max_age_s=max_age_s, detail=plant.describe())
        self.node: Source[EnergyCounter | None] | None = None
        if node_meter is not None:
            self.node = Source(
                "node meter", node_meter.read, clock, deadline_s=deadline_s, max_age_s=max_age_s, detail=node_meter.describe()
            )
        self._read_status = platform.status

    async def _status(self) -> tuple[Sequence[ContainerStatus], float]:
        statuses = await self._read_status()
        return statuses, self._clock.monotonic_s()

    async def sense(self, *, retry: bool = False) -> Sensed:
        """Read everything. What failed is None; its source says why."""
        platform, plant, node = await asyncio.gather(
            self.platform.get(retry=retry), self.plant.get(retry=retry), self.node.get(retry=retry) if self.node else _nothing()
        )
        return Sensed(
            platform[0] if platform is not None and self.platform.fresh else None,
            platform[1] if platform is not None else self._clock.monotonic_s(),
            node if self.node is not None and self.node.fresh else None,
            plant if self.plant.fresh else None,
        )

    def states(self) -> list[wire.SourceState]:
        """All sources."""
        return [source.state() for source in (self.platform, self.plant, self.node) if source is not None]


async def _nothing() -> None:
    return None

"""Asking the plant: telling the load to one that has no cable to the cluster, and reading the meters of one over a gap.

What could not be told is told with the next tick. `plant_account` makes something of the readings.
"""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from ecovisor.model.errors import EcovisorError, Refused
from ecovisor.ports.live import EmulatedLoad, EnergyPlant, PlantReading

log = logging.getLogger("ecovisor.live")

#: Nobody waits for the meters at a gap's end but the gap: asked so often, with these pauses. [s, wall time]
_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 0.0)
_PATIENCE_S = 2.0


class PlantLink:
    """The driver's way to a plant.

    Args:
        plant: real or emulated.
        deadline_s: how long telling the load may take. [s, wall time]
    """

    def __init__(self, plant: EnergyPlant, deadline_s: float) -> None:
        self._plant = plant
        self._deadline_s = deadline_s
        self._load = cast("EmulatedLoad", plant) if hasattr(plant, "draw") else None
        self._owed_wh = 0.0

    @property
    def emulated(self) -> bool:
        """Whether it has to be told the load."""
        return self._load is not None

    async def tell_load(self, energy_wh: float, *, reachable: bool) -> PlantReading | None:
        """The cluster drew this in the tick; the meters afterwards, None where the plant was not told or does not answer. [Wh]"""
        self._owed_wh += energy_wh
        if self._load is None or not reachable:
            return None
        told_wh, self._owed_wh = self._owed_wh, 0.0
        try:
            return await asyncio.wait_for(self._load.draw(told_wh), self._deadline_s)
        except (TimeoutError, EcovisorError) as error:  # it keeps in mind what it was asked to book
            log.warning("plant: %s", str(error) or "no answer in time")
            return None

    async def settled(self, assumed_wh: float = 0.0) -> PlantReading | None:
        """The meters at the end of a gap, no load left open; None where the plant does not answer.

        Args:
            assumed_wh: drawn over the gap, where ticks before it could not be told. [Wh]
        """
        for pause_s in _PAUSES_S:
            try:
                return await asyncio.wait_for(self._settle(assumed_wh), _PATIENCE_S)
            except (TimeoutError, EcovisorError) as error:
                failure = str(error) or "no answer in time"
            await asyncio.sleep(pause_s)
        log.warning("plant: %s; what it metered meanwhile is unknown", failure)
        return None

    async def _settle(self, assumed_wh: float) -> PlantReading:
        if self._load is None:
            return await self._plant.read()
        if self._owed_wh > 0.0:
            told_wh, self._owed_wh = self._owed_wh + assumed_wh, 0.0
            return await self._load.draw(told_wh)
        try:
            return await self._load.settle()
        except Refused:  # an emulated plant of an earlier version
            return await self._plant.read()

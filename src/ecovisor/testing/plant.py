"""What every driver of an energy plant must do: see `EnergyPlantContract`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import cast

from ecovisor.model.errors import Refused, Unavailable
from ecovisor.model.series import Quality
from ecovisor.ports.live import EmulatedLoad, EnergyPlant, PlantReading, SetPoint
from ecovisor.testing.expectations import close, refused

_METERS = ("solar_wh", "import_wh", "export_wh", "charge_wh", "discharge_wh", "load_wh", "curtailed_wh")


class EnergyPlantContract:
    """Inherit, and give `make()`, `let_pass(duration_s)`, and where the connection can be broken `drop()` and `restore()`.

    Asked for its feasible range, then set, then left alone: what was clipped is returned, and what was returned is what the battery does.
    Meters only grow, and what comes in goes out. What cannot be reached is `Unavailable`; afterwards it answers again.

    Attributes:
        duration_s: a duration of site time in which the battery becomes neither full nor empty. [s]
        load_w: what is drawn meanwhile where the plant is told of the load. [W]
        tolerance: of an energy, relative, and absolute in Wh.
    """

    duration_s: float = 60.0
    load_w: float = 50.0
    tolerance: float = 1e-6

    def make(self) -> EnergyPlant:
        """A plant, to be opened, whose battery is neither full nor empty."""
        raise NotImplementedError("give make()")

    async def let_pass(self, duration_s: float) -> None:
        """At least this much site time passes. [s]"""
        raise NotImplementedError("give let_pass()")

    async def drop(self) -> None:
        """From now on the plant cannot be reached."""
        raise NotImplementedError("give drop()")

    async def restore(self) -> None:
        """It can be reached again."""
        raise NotImplementedError("give restore()")

    def run(self, main: Awaitable[None]) -> None:
        """Run a coroutine on an event loop."""
        asyncio.run(main)  # type: ignore[arg-type]

    def _with_plant(self, body: Callable[[EnergyPlant], Awaitable[None]]) -> None:
        async def main() -> None:
            plant = self.make()
            await plant.open()
            try:
                await plant.command(SetPoint())
                await body(plant)
            finally:
                await plant.close()

        self.run(main())

    async def _pass(self, plant: EnergyPlant) -> PlantReading:
        """Time passes, the load of it is told where it must be, and the meters are read."""
        await self.let_pass(self.duration_s)
        await _draw(plant, self.load_w * self.duration_s / 3600.0)
        return await plant.read()

    def test_describes_itself_in_one_line(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            line = plant.describe()
            assert line.strip(), "say what it is"
            assert "\n" not in line, "describe() is one line"

        self._with_plant(body)

    def test_a_reading_is_made_of_finite_amounts(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            reading = await self._pass(plant)
            for field in fields(reading):
                value = getattr(reading, field.name)
                if isinstance(value, float):
                    assert math.isfinite(value), f"{field.name} is {value!r}"
                    assert value >= 0.0, f"{field.name} is {value!r}"
            assert reading.epoch, "name the meters' epoch"
            assert reading.quality in set(Quality) - {Quality.FORECAST, Quality.STALE}, f"quality {reading.quality!r}"

        self._with_plant(body)

    def test_meters_only_grow(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            before = await self._pass(plant)
            for charge_ratio, discharge_ratio in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.0, 0.0)):
                await plant.command(
                    SetPoint(before.feasible_charge_w * charge_ratio, before.feasible_discharge_w * discharge_ratio)
                )
                await self.let_pass(self.duration_s)
                now = await plant.read()
                assert now.site_s > before.site_s, "its time stands still"
                assert now.epoch == before.epoch, "a new epoch without need"
                for name in _METERS:
                    assert getattr(now, name) >= getattr(before, name), f"{name} fell"
                before = now

        self._with_plant(body)

    def test_what_comes_in_goes_out(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            before = await self._pass(plant)
            for charge_ratio, discharge_ratio in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.1), (0.0, 0.0)):
                await plant.command(
                    SetPoint(before.feasible_charge_w * charge_ratio, before.feasible_discharge_w * discharge_ratio)
                )
                now = await self._pass(plant)
                given_wh, taken_wh = (
                    sum(getattr(now, name) - getattr(before, name) for name in names)
                    for names in (("import_wh", "solar_wh", "discharge_wh"), ("load_wh", "export_wh", "charge_wh"))
                )
                assert close(given_wh, taken_wh, self.tolerance), f"{given_wh} Wh came in, {taken_wh} Wh went out"
                before = now

        self._with_plant(body)

    def test_what_is_feasible_is_done_as_asked(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            reading = await plant.read()
            for charge_ratio, discharge_ratio in ((0.25, 0.0), (0.0, 0.25), (1.0, 0.0), (0.0, 1.0)):
                asked = SetPoint(reading.feasible_charge_w * charge_ratio, reading.feasible_discharge_w * discharge_ratio)
                accepted = await plant.command(asked)
                assert close(accepted.charge_w, asked.charge_w, self.tolerance), f"asked for {asked}, got {accepted}"
                assert close(accepted.discharge_w, asked.discharge_w, self.tolerance), f"asked for {asked}, got {accepted}"
                await self._does(plant, accepted)

        self._with_plant(body)

    def test_what_is_not_feasible_is_clipped_and_what_is_returned_is_done(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            reading = await plant.read()
            for asked in (SetPoint(charge_w=1e9), SetPoint(discharge_w=1e9)):
                accepted = await plant.command(asked)
                for power_w, bound_w in (
                    (accepted.charge_w, min(reading.feasible_charge_w, asked.charge_w)),
                    (accepted.discharge_w, min(reading.feasible_discharge_w, asked.discharge_w)),
                ):
                    assert close(power_w, bound_w, self.tolerance), f"{reading} was asked for {asked} and accepted {accepted}"
                await self._does(plant, accepted)

        self._with_plant(body)

    async def _does(self, plant: EnergyPlant, accepted: SetPoint) -> None:
        """The battery's meters move by the set-point, in its direction alone, and its level no more favourably than they say."""
        before = await plant.read()
        now = await self._pass(plant)
        hours = (now.site_s - before.site_s) / 3600.0
        charge_wh, discharge_wh = now.charge_wh - before.charge_wh, now.discharge_wh - before.discharge_wh
        assert close(charge_wh, accepted.charge_w * hours, self.tolerance), f"{accepted} charged {charge_wh} Wh in {hours} h"
        assert close(discharge_wh, accepted.discharge_w * hours, self.tolerance), f"{accepted} gave {discharge_wh} Wh in {hours} h"
        most_wh = charge_wh - discharge_wh + self.tolerance * (1.0 + charge_wh + discharge_wh)
        assert now.level_wh - before.level_wh <= most_wh, (
            f"the level went from {before.level_wh} to {now.level_wh} Wh by {accepted}"
        )

    def test_both_directions_at_once_are_refused_or_become_one(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            try:
                accepted = await plant.command(SetPoint(10.0, 10.0))
            except Refused:
                pass
            else:
                assert 0.0 in (accepted.charge_w, accepted.discharge_w), f"accepted {accepted}"

        self._with_plant(body)

    def test_what_is_no_power_is_refused_and_changes_nothing(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            reading = await plant.read()
            accepted = await plant.command(SetPoint(charge_w=reading.feasible_charge_w / 2.0))
            for wrong in (math.nan, -1.0):
                for set_point in (SetPoint(wrong), SetPoint(0.0, wrong), SetPoint(0.0, 0.0, wrong)):
                    with refused(Refused, ValueError):
                        await plant.command(set_point)
            await self._does(plant, accepted)

        self._with_plant(body)

    def test_nothing_leaves_the_site_where_nothing_may(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            await plant.command(SetPoint(export_limit_w=0.0))
            before = await self._pass(plant)
            now = await self._pass(plant)
            assert close(now.export_wh, before.export_wh, self.tolerance), f"exported {now.export_wh - before.export_wh} Wh"

        self._with_plant(body)

    def test_goes_on_with_its_last_set_point_while_nobody_is_connected(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            reading = await plant.read()
            accepted = await plant.command(SetPoint(discharge_w=reading.feasible_discharge_w / 4.0))
            before = await plant.read()
            await plant.close()
            await self.let_pass(self.duration_s)
            await plant.open()
            now = await plant.read()
            given_wh = accepted.discharge_w * (now.site_s - before.site_s) / 3600.0
            assert close(now.discharge_wh - before.discharge_wh, given_wh, self.tolerance), "it did something else"

        self._with_plant(body)

    def test_what_cannot_be_reached_is_unavailable_and_answers_again_afterwards(self) -> None:
        async def body(plant: EnergyPlant) -> None:
            before = await self._pass(plant)
            await self.drop()
            try:
                for _ in range(2):
                    with refused(Unavailable):
                        await plant.read()
                    with refused(Unavailable):
                        await plant.command(SetPoint())
            finally:
                await self.restore()
            now = await self._eventually(plant)
            if now.epoch == before.epoch:
                for name in ("charge_wh", "discharge_wh"):
                    assert getattr(now, name) >= getattr(before, name), f"{name} fell"
            accepted = await plant.command(SetPoint(charge_w=now.feasible_charge_w / 2.0))
            await self._does(plant, accepted)

        self._with_plant(body)

    async def _eventually(self, plant: EnergyPlant) -> PlantReading:
        """A reading, after as many attempts as its pauses take."""
        for _ in range(600):
            try:
                return await plant.read()
            except Unavailable:
                await asyncio.sleep(0.05)
        raise AssertionError("it did not come back")


async def _draw(plant: EnergyPlant, energy_wh: float) -> None:
    """Tell the load, where the plant has no cable to it."""
    if hasattr(plant, "draw"):
        await cast("EmulatedLoad", plant).draw(energy_wh)

"""Whatever interrupts a site, on a clock that the test moves: the rows are what the plant metered, once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.chaos import checking
from tests.driver.played import BATTERY, START_S, TICK_S, Played

from ecovisor.adapters.clocks import ManualClock
from ecovisor.adapters.devices.emulated import EmulatedPlant, PlantState
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.adapters.devices.in_process import InProcessPlant

SUN_W = (30.0, 0.0, 12.0, 25.0)


def interrupted(test: Callable[[Interrupted], Awaitable[None]]) -> None:
    """Run a test on a site of its own."""

    async def main(path: Path) -> None:
        site = Interrupted(path)
        await site.start()
        try:
            await test(site)
        finally:
            await site.played.close()

    path = Path(tempfile.mkdtemp(prefix="ecovisor-test-"))
    try:
        asyncio.run(main(path))
    finally:
        shutil.rmtree(path)


class Interrupted:
    """A played site that is interrupted, and goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.played = Played(path, solar_w=SUN_W)

    async def start(self) -> None:
        await self.played.start()
        await self.played.tick(1)
        baseline = checking.standing(self.path).baseline
        assert baseline is not None
        self.begin = baseline

    async def run(self, ticks: int) -> None:
        await self.played.tick(ticks)

    async def work(self, ratio: float) -> None:
        """What the containers do from now on."""
        for k, key in enumerate((("one", "c1"), ("one", "c2"), ("two", "c1"))):
            self.played.platform.busy[key] = ratio / (k + 1)

    async def charge(self, power_w: float) -> None:
        await self.played.ecovisor.change("one", lambda energy: energy.set_battery_charge_rate(power_w))

    async def sleep(self, ticks: float) -> None:
        """Nobody looks for a while."""
        await self.played.window_over()
        self.played.clock.advance_by(ticks * TICK_S)
        await self.played.settle()

    async def lose_plant(self, ticks: int) -> None:
        """The plant does not answer for a while."""
        self.played.plant.fault = "unplugged"
        await self.played.tick(ticks)
        self.played.plant.fault = None
        while self.played.app("one").stale:
            await self.played.tick(1)

    async def kill(self, ticks: float) -> None:
        """Killed, and started again after a while."""
        before = self.played
        before.kill()
        await asyncio.sleep(0.01)
        before.clock.advance_by(ticks * TICK_S)
        self.played = Played(self.path, solar_w=SUN_W, clock=before.clock, plant=before.plant, platform=before.platform)
        await self.played.start()

    def look(self) -> None:
        """After a gap: all that the plant metered is in the rows."""
        found = checking.steps(self.path)
        checking.time_is_whole(found)
        checking.no_energy_is_negative(found)
        end = checking.standing(self.path).baseline
        assert end is not None
        checking.rows_are_the_meters(found, self.begin, end)
        assert self.played.ecovisor.site_state().residual_wh < 1e-9


ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.integers(1, 4)),
    st.tuples(st.just("work"), st.floats(0.0, 1.0)),
    st.tuples(st.just("charge"), st.floats(0.0, 30.0)),
    st.tuples(st.just("sleep"), st.sampled_from([0.4, 1.7, 3.2, 30.5])),
    st.tuples(st.just("lose_plant"), st.integers(1, 4)),
    st.tuples(st.just("kill"), st.sampled_from([0.0, 0.3, 2.5, 40.0])),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(ACTIONS, max_size=8))
def test_rows_are_what_the_plant_metered_whatever_interrupts_the_site(actions: list[tuple[str, float]]) -> None:
    async def test(site: Interrupted) -> None:
        for name, value in actions:
            await getattr(site, name)(value)
        await site.kill(1.5)
        site.look()

    interrupted(test)


class Cabled:
    """A plant that meters the load itself: nobody has to tell it."""

    def __init__(self, inside: InProcessPlant) -> None:
        self.inside = inside
        self.open, self.close, self.read, self.command = inside.open, inside.close, inside.read, inside.command

    def describe(self) -> str:
        return "cabled"


def test_a_plant_with_a_meter_of_its_own_has_in_a_gap_what_it_metered_in_it(tmp_path: Path) -> None:
    """That the load differs from what the apps were billed is no energy of the gap."""

    async def main() -> None:
        clock = ManualClock(START_S)
        core = EmulatedPlant.starting(PlantBattery.like(BATTERY, cut_off_wh=60.0), None, site_s=START_S)
        cabled = Cabled(InProcessPlant(core, clock))

        def draw(power_w: float) -> None:
            core.draw(clock.site_s(), power_w * TICK_S / 3600.0)

        site = Played(tmp_path, solar_w=(0.0,), clock=clock, plant=cabled)  # type: ignore[arg-type]
        await site.start()
        try:
            for _ in range(4):
                await site.tick(1)
                draw(40.0)  # far more than the apps are metered with
            await site.window_over()
            before = core.read(clock.site_s())
            clock.advance_by(30 * TICK_S)
            draw(30 * 5.0)
            after = core.read(clock.site_s())
            await site.settle()
            gap = next(one for one in checking.steps(tmp_path) if one.kind == "gap")
            metered_wh = after.import_wh - before.import_wh
            assert gap.wh["import_w"] == pytest.approx(metered_wh, abs=40.0 * TICK_S / 3600.0)
            assert site.ecovisor.site_state().residual_wh == 0.0, "it is held against nothing"
        finally:
            await site.close()

    asyncio.run(main())


def test_a_gap_while_the_meters_start_anew_is_unknown_and_spoils_no_sum(tmp_path: Path) -> None:
    async def main() -> None:
        site = Interrupted(tmp_path)
        await site.start()
        await site.run(3)
        before = site.played.app("one").totals
        clock, old = site.played.clock, site.played.plant.core
        site.played.kill()
        await asyncio.sleep(0.01)
        clock.advance_by(5 * TICK_S)
        state = PlantState(site_s=clock.site_s(), level_wh=old.read(clock.site_s()).level_wh - 7.0)
        anew = EmulatedPlant(old.battery, old.solar, state=state, site_s=state.site_s, epoch="anew")
        site.played = Played(tmp_path, solar_w=SUN_W, clock=clock, plant=InProcessPlant(anew, clock))
        await site.played.start()
        try:
            gap = checking.steps(tmp_path)[-1]
            assert gap.kind == "gap"
            assert all(value != value for name, value in gap.wh.items() if name != "curtailed_w"), "unknown is not zero"
            snapshot = await site.played.tick(3)
            assert site.played.app("one").totals.load_wh > before.load_wh
            assert site.played.app("_site").totals.grid_to_load_wh >= 0.0
            assert snapshot.residual_wh < 1e-9
            levels_wh = sum(app.battery.level_wh for app in snapshot.apps)
            reading = await site.played.plant.read()
            assert levels_wh == pytest.approx(reading.level_wh - BATTERY.capacity_wh * BATTERY.empty_ratio, abs=0.6)
        finally:
            await site.played.close()

    asyncio.run(main())

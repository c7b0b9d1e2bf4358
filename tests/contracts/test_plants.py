"""The contracts of clocks and energy plants, applied to ours; and that they find what they are for."""

from __future__ import annotations

import asyncio
import math
import os
import signal
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from ecovisor.adapters.clocks import ManualClock, RealClock
from ecovisor.adapters.devices.emulated import EmulatedPlant, SolarTrace
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.adapters.devices.emulated_client import EmulatedPlantClient
from ecovisor.adapters.devices.in_process import InProcessPlant
from ecovisor.adapters.devices.plant_process import PlantProcess, launch_plant
from ecovisor.adapters.devices.plant_protocol import PlantConfig
from ecovisor.model.errors import Unavailable
from ecovisor.ports.live import Clock, EnergyPlant, PlantReading, SetPoint
from ecovisor.testing import ClockContract, EnergyPlantContract

# -- clocks


class TestRealClock(ClockContract):
    """Two hundred times as fast as the wall clock."""

    compression = 200.0

    def make(self) -> Clock:
        return RealClock.starting_at(1_790_000_000.0, self.compression)

    async def let_pass(self, clock: Clock, duration_s: float) -> None:
        until_s = clock.site_s() + duration_s
        while clock.site_s() < until_s:
            await asyncio.sleep(0.001)


class TestRealClockOnUvloop(TestRealClock):
    def run(self, main: Awaitable[None]) -> None:
        uvloop.run(main)  # type: ignore[arg-type]


class TestRealClockUncompressed(TestRealClock):
    compression = 1.0
    step_s = 0.05


class TestManualClock(ClockContract):
    def make(self) -> Clock:
        return ManualClock(1_790_000_000.0, 60.0)

    async def let_pass(self, clock: Clock, duration_s: float) -> None:
        assert isinstance(clock, ManualClock)
        await asyncio.sleep(0)
        clock.advance_by(duration_s)


# -- plants

SUN = SolarTrace(start_s=0.0, step_s=7.0, values_w=[0.0, 120.0, 45.0, 300.0])
BATTERY = PlantBattery(
    capacity_wh=1440.0,
    charge_c_rate=0.25,
    discharge_c_rate=1.0,
    charge_efficiency=0.95,
    discharge_efficiency=0.9,
    self_discharge_per_hour=0.001,
    initial_level_wh=900.0,
)


class TestInProcessPlant(EnergyPlantContract):
    tolerance = 1e-9

    def make(self) -> EnergyPlant:
        self.clock = ManualClock(1_790_000_000.0)
        core = EmulatedPlant.starting(BATTERY, SUN, site_s=self.clock.site_s())
        self.plant = InProcessPlant(core, self.clock)
        return self.plant

    async def let_pass(self, duration_s: float) -> None:
        self.clock.advance_by(duration_s)

    async def drop(self) -> None:
        self.plant.fault = "unplugged"
        self.clock.advance_by(100.0)

    async def restore(self) -> None:
        self.plant.fault = None


class _InItsOwnProcess(EnergyPlantContract):
    """Six hundred times as fast, so that a minute of its battery passes in a tenth of a second."""

    compression = 600.0
    duration_s = 12.0

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _process(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        cls.config = PlantConfig(battery=BATTERY, solar=SUN, site_start_s=1_790_000_000.0, compression=cls.compression)
        cls.process = launch_plant(cls.config, tmp_path_factory.mktemp("plant"))
        yield
        cls.process.stop()

    config: PlantConfig
    process: PlantProcess

    def make(self) -> EnergyPlant:
        return EmulatedPlantClient(self.process.socket_path, deadline_s=5.0)

    async def let_pass(self, duration_s: float) -> None:
        await asyncio.sleep(duration_s / self.compression)

    async def drop(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        os.waitpid(self.process.pid, 0)

    async def restore(self) -> None:
        type(self).process = launch_plant(self.config, self.process.state_dir)


class TestKilledPlantProcess(_InItsOwnProcess):
    pass


class TestStoppedPlantProcessOnUvloop(_InItsOwnProcess):
    """It answers nothing, and does not hang up either."""

    def make(self) -> EnergyPlant:
        self.client = EmulatedPlantClient(self.process.socket_path, deadline_s=5.0)
        return self.client

    def run(self, main: Awaitable[None]) -> None:
        uvloop.run(main)  # type: ignore[arg-type]

    async def drop(self) -> None:
        self.client.deadline_s = 0.05
        os.kill(self.process.pid, signal.SIGSTOP)

    async def restore(self) -> None:
        self.client.deadline_s = 5.0
        os.kill(self.process.pid, signal.SIGCONT)


# -- the suite finds what it is for


class _Wrong:
    """A driver with one fault."""

    def __init__(self, inner: InProcessPlant, fault: str) -> None:
        self.inner, self.fault = inner, fault

    async def open(self) -> None:
        await self.inner.open()

    async def close(self) -> None:
        if self.fault == "stops when nobody is connected":
            await self.inner.command(SetPoint())

    async def draw(self, energy_wh: float) -> None:
        await self.inner.draw(energy_wh)

    def describe(self) -> str:
        return "" if self.fault == "wordless" else self.inner.describe()

    async def read(self) -> PlantReading:
        try:
            reading = await self.inner.read()
        except Unavailable:
            if self.fault != "zero for unknown":
                raise
            return PlantReading(0.0, "0", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        changes: dict[str, dict[str, Any]] = {
            "not finite": {"solar_w": math.nan},
            "resets": {"import_wh": reading.import_wh % 0.5},
            "forgets losses": {"level_wh": reading.level_wh + reading.charge_wh * 0.2},
            "loses energy": {"import_wh": reading.import_wh * 0.99},
            "mixes directions": {"discharge_wh": reading.discharge_wh + 0.1 * reading.charge_wh},
        }
        return replace(reading, **changes.get(self.fault, {}))

    async def command(self, set_point: SetPoint) -> SetPoint:
        match self.fault:
            case "does not say what it clipped":
                await self.inner.command(set_point)
                return set_point
            case "takes anything":
                if not set_point.charge_w >= 0.0 or not set_point.discharge_w >= 0.0:
                    set_point = SetPoint()
            case "takes both":
                if set_point.charge_w > 0.0 and set_point.discharge_w > 0.0:
                    return set_point
            case "does half":
                accepted = await self.inner.command(set_point)
                await self.inner.command(SetPoint(accepted.charge_w / 2.0, accepted.discharge_w / 2.0, accepted.export_limit_w))
                return accepted
            case "exports":
                set_point = SetPoint(set_point.charge_w, set_point.discharge_w)
        return await self.inner.command(set_point)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("wordless", "test_describes_itself_in_one_line"),
        ("not finite", "test_a_reading_is_made_of_finite_amounts"),
        ("resets", "test_meters_only_grow"),
        ("loses energy", "test_what_comes_in_goes_out"),
        ("does half", "test_what_is_feasible_is_done_as_asked"),
        ("forgets losses", "test_what_is_feasible_is_done_as_asked"),
        ("mixes directions", "test_what_is_feasible_is_done_as_asked"),
        ("does not say what it clipped", "test_what_is_not_feasible_is_clipped_and_what_is_returned_is_done"),
        ("takes both", "test_both_directions_at_once_are_refused_or_become_one"),
        ("takes anything", "test_what_is_no_power_is_refused_and_changes_nothing"),
        ("exports", "test_nothing_leaves_the_site_where_nothing_may"),
        ("stops when nobody is connected", "test_goes_on_with_its_last_set_point_while_nobody_is_connected"),
        ("zero for unknown", "test_what_cannot_be_reached_is_unavailable_and_answers_again_afterwards"),
    ],
)
def test_a_driver_that_breaks_the_contract_is_found(fault: str, test: str) -> None:
    class Suite(TestInProcessPlant):
        __test__ = False

        def make(self) -> EnergyPlant:
            super().make()
            return _Wrong(self.plant, fault)

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()


class _WrongClock(ManualClock):
    fault = ""

    def site_s(self) -> float:
        if self.fault == "goes back":
            self._site_s -= 1e-3
        return super().site_s()

    def monotonic_s(self) -> float:
        return super().monotonic_s() * (0.5 if self.fault == "drifts" else 1.0)

    async def sleep_until(self, site_s: float) -> None:
        if self.fault == "wakes early":
            site_s -= 5.0
        await super().sleep_until(site_s)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("goes back", "test_site_time_never_goes_back"),
        ("drifts", "test_compression_scales_durations"),
        ("wakes early", "test_a_sleeper_wakes_when_its_instant_has_come_and_not_before"),
    ],
)
def test_a_clock_that_breaks_the_contract_is_found(fault: str, test: str) -> None:
    class Suite(TestManualClock):
        __test__ = False

        def make(self) -> Clock:
            clock = _WrongClock(1_790_000_000.0, 60.0)
            clock.fault = fault
            return clock

        async def let_pass(self, clock: Clock, duration_s: float) -> None:
            for _ in range(10):
                await super().let_pass(clock, duration_s / 10.0)

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()

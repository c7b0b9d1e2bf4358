"""Tick by tick, as a live site runs, the engine does what it does in one go; and a site that was stopped and restored goes on."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.build import Keep

from ecovisor.engine import checkpoint
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import Site
from ecovisor.model.errors import PolicyError, StoreError
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.ports import AppView, VirtualEnergy
from ecovisor.testing.sites import START_S, carbon_days_g_per_kwh, small_site, solar_days_w
from ecovisor.workloads.models import ConstantDemand, Metered

TICK_S = 900.0
TICKS = 120


class Drives:
    """Uses the battery by the hour."""

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        hour = int(energy.now_s // 3600) % 24
        energy.set_battery_charge_rate(20.0 if hour < 4 else 0.0)
        energy.set_battery_max_discharge(10.0 if hour > 15 else 0.0)
        if hour == 9:
            energy.set_carbon_budget(40.0)


def percentile() -> SuspendResume:
    return SuspendResume(Threshold(None, 40.0, 86400.0), None)


class Stepped:
    """Drives a site as the live driver does."""

    def __init__(self, site: Site, first: int = 0, solar_w: list[float] | None = None) -> None:
        self.site = site
        self.loop = Loop(site, policies_in_python=True)
        self.solar_w = solar_days_w(TICKS, TICK_S) if solar_w is None else solar_w
        self.intensity = carbon_days_g_per_kwh(TICKS, TICK_S)
        self.tick = first

    def run(self, ticks: int) -> None:
        for k in range(self.tick, self.tick + ticks):
            self.site.know(solar_w=0.0, carbon_intensity_g_per_kwh=self.intensity[k], price_per_kwh=0.0, traces={})
            self.loop.wake()
            self.site.know(solar_w=self.solar_w[k], carbon_intensity_g_per_kwh=self.intensity[k], price_per_kwh=0.0, traces={})
            self.loop.run(k + 1)
        self.tick += ticks


def equal_rows(one: Keep, two: Keep, *, leave: int = 0) -> None:
    for table in one.tables:
        rows, others = one.tables[table][-len(two.tables[table]) :], two.tables[table]
        assert len(rows) == len(others) > 0
        for row, other in zip(rows[leave:], others[leave:], strict=True):
            assert row.keys() == other.keys()
            for name, value in row.items():
                same = value == other[name] or (value != value and other[name] != other[name])
                assert same, f"{table}.{name} at {row['time']}: {value!r}, {other[name]!r}"


@pytest.mark.parametrize("policy", [Drives, percentile])
@pytest.mark.parametrize("compiled", [False, True])
def test_stepped_ticks_are_those_of_one_run_bit_for_bit(policy: type, compiled: bool) -> None:
    at_once, stepped = Keep(), Keep()
    Loop(small_site(policy, sink=at_once, days=TICKS * TICK_S / 86400.0), policies_in_python=True).run(TICKS)
    Stepped(small_site(policy, sink=stepped, days=TICKS * TICK_S / 86400.0, compiled=compiled)).run(TICKS)
    equal_rows(at_once, stepped)


@settings(max_examples=15, deadline=None)
@given(stop=st.integers(1, TICKS - 2), compiled=st.booleans())
def test_a_restored_site_goes_on_as_if_it_had_not_stopped(stop: int, compiled: bool) -> None:
    undisturbed, after = Keep(), Keep()
    Stepped(small_site(Drives, sink=undisturbed, days=TICKS * TICK_S / 86400.0)).run(TICKS)
    first = small_site(Drives, days=TICKS * TICK_S / 86400.0, sink=Keep())
    Stepped(first).run(stop)
    saved, own = checkpoint.save(first), checkpoint.settings_of(first.app("app"))
    second = small_site(Drives, days=TICKS * TICK_S / 86400.0, sink=after, compiled=compiled)
    checkpoint.restore(second, saved)
    checkpoint.restore_settings(second.app("app"), own)
    Stepped(second, stop).run(TICKS - stop)
    equal_rows(undisturbed, after)
    assert second.app("app").get_app_carbon() == pytest.approx(sum(undisturbed.of("app", "carbon_g")), rel=1e-12)


def test_energy_of_an_app_that_is_gone_after_a_restart_belongs_to_the_site() -> None:
    first = small_site(Drives, days=1, sink=Keep())
    Stepped(first).run(60)
    held = first.levels_wh()
    carbon = [first.get(k, "stored_carbon_g") for k in range(3)]
    assert held[0] > 0.0
    second = small_site(Drives, days=1, sink=Keep())
    second.leave("app")
    checkpoint.restore(second, checkpoint.save(first))
    assert math.fsum(second.levels_wh()) == pytest.approx(math.fsum(held), rel=1e-12)
    assert math.fsum(second.get(k, "stored_carbon_g") for k in range(2)) == pytest.approx(math.fsum(carbon), rel=1e-12)


def test_a_damaged_checkpoint_is_one_clear_error() -> None:
    with pytest.raises(StoreError, match="checkpoint"):
        checkpoint.restore(small_site(), b"\x93not one")
    with pytest.raises(StoreError, match="settings of app app"):
        checkpoint.restore_settings(small_site().app("app"), b"\x93not one")


def test_settings_outlive_the_process() -> None:
    first = small_site(Drives, workload=Metered(), days=1, sink=Keep())
    energy = first.app("app")
    energy.add_container(2.0)
    energy.suspend_container("c1")
    energy.set_container_powercap("c2", 3.5)
    energy.set_carbon_rate("c2", 50.0)
    energy.set_carbon_budget(7.0)
    energy.set_battery_charge_rate(4.0)
    saved = checkpoint.settings_of(energy)
    second = small_site(Drives, workload=Metered(), days=1, sink=Keep())
    other = second.app("app")
    checkpoint.restore_settings(other, saved)
    assert checkpoint.settings_of(other) == saved
    assert [(one.id, one.running) for one in other.list_containers()] == [("c1", False), ("c2", True), ("c3", True)]
    assert other.add_container(1.0) == "c4"


def test_metered_demand_beyond_the_supply_is_billed_and_told_as_overdraw() -> None:
    sink = Keep()
    site = small_site(workload=Metered(), days=1, sink=sink, grid_limit_w=10.0)
    stepped = Stepped(site)
    site.app("app").containers.set_metered_w({"c1": 6.0, "c2": 3.0})
    site.app("app").ask(9.0)
    stepped.run(1)
    row = sink.flows("app")[0]
    assert row["demand_w"] == 9.0
    assert (row["grid_to_load_w"], row["overdraw_w"], row["unserved_w"]) == (9.0, 4.0, 0.0)
    powers = {row["container"]: row["power_w"] for row in sink.tables["containers"] if row["app"] == "app"}
    assert powers == {"c1": 6.0, "c2": 3.0, "_battery": 0.0}
    assert site.get(0, "overdraw_total_wh") == 4.0 * TICK_S / 3600.0


def test_a_long_tick_has_its_own_length_and_the_next_begins_after_it() -> None:
    sink = Keep()
    site = small_site(workload=ConstantDemand(demand_w=8.0), days=1, sink=sink)
    stepped = Stepped(site)
    stepped.run(2)
    site.lengthen(3 * TICK_S)
    stepped.run(1)
    site.shorten(3 * TICK_S)
    stepped.run(2)
    rows = sink.flows("app")
    assert [row["dt_s"] for row in rows] == [TICK_S, TICK_S, 3 * TICK_S, TICK_S, TICK_S]
    assert [(row["time"] - START_S) / TICK_S for row in rows] == [0, 1, 2, 5, 6]
    assert site.get(0, "grid_to_load_total_wh") == pytest.approx(sum(row["grid_to_load_w"] * row["dt_s"] / 3600.0 for row in rows))


class Raises:
    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        raise ValueError("no plan")


def test_a_policy_that_raises_does_not_stop_the_others() -> None:
    site = small_site(Raises, days=1, sink=Keep())
    told: list[PolicyError] = []
    loop = Loop(site, policies_in_python=True, on_error=told.append)
    site.know(solar_w=0.0, carbon_intensity_g_per_kwh=100.0, price_per_kwh=0.0, traces={})
    loop.wake()
    loop.run(1)
    assert [str(error.cause) for error in told] == ["no plan"]


def test_a_node_meter_s_rest_is_the_site_s_own() -> None:
    sink = Keep()
    site = small_site(workload=Metered(), days=1, sink=sink)
    site.memory.set("metered_rest_w", 2.5)
    Stepped(site).run(1)
    assert sink.flows("_site")[0]["demand_w"] == 2.5

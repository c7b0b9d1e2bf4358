"""What happens between ticks: joins, leaves, changes of share, corrections, gaps, and handles that outlive them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest

from ecovisor.engine.loop import Loop
from ecovisor.engine.report import app_summaries, site_summary
from ecovisor.engine.site import Site
from ecovisor.model.errors import EcovisorError, Infeasible, SettingRefused
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.ports import AppView, Policy, VirtualEnergy
from ecovisor.presets import BatteryParameters
from ecovisor.workloads.models import BatchJob

from . import build
from .identities import containers_sum_to_their_app

FULL = BatteryParameters(1440.0, 0.3, 0.25, 1.0, 0.95, 0.95, 0.0, 1.0)


def calls_of(name: str, calls: list[tuple[str, int]]) -> Callable[[], Policy]:
    return build.scripted(lambda energy, _: calls.append((name, energy.effective_tick)))


def test_a_policy_leaves_with_its_app_and_a_new_one_comes_with_a_new_app_of_the_same_name() -> None:
    calls: list[tuple[str, int]] = []
    site = build.site(build.app("a", 0.1, policy=calls_of("old", calls)), build.app("b", 0.1, policy=calls_of("b", calls)))
    loop = Loop(site)
    loop.run(1)
    site.leave("a")
    loop.run(2)
    site.join(build.app("a", 0.1, policy=calls_of("new", calls)))
    loop.run(3)
    assert calls == [("old", 0), ("b", 0), ("b", 1), ("b", 2), ("new", 2)]


def test_a_threshold_that_is_taken_anew_stays_with_its_own_app() -> None:
    refreshed = SuspendResume(Threshold(50.0), refresh_s=build.TICK_S)
    kept = build.Keep()
    site = build.site(
        build.app("a", 0.1, demand_w=5.0, policy=lambda: refreshed),
        build.app("b", 0.1, demand_w=5.0, policy=lambda: SuspendResume(Threshold(500.0))),
        intensity=200.0,
        sink=kept,
    )
    loop = Loop(site)
    loop.run(2)
    site.leave("a")  # b moves to its place
    loop.run(6)
    assert kept.of("b", "demand_w") == [5.0] * 6
    assert kept.of("a", "demand_w") == [0.0] * 2


def test_containers_keep_their_power_when_apps_before_them_leave() -> None:
    kept = build.Keep()
    site = build.site(*(build.app(name, 0.1, demand_w=8.0, containers=2) for name in "abc"), sink=kept)
    site.app("b")  # the only one with a handle
    site.leave("a")
    build.run(site, 2)
    rows = [row for row in kept.tables["flows"] if row["time"] == 0.0]
    containers_sum_to_their_app(rows, [row for row in kept.tables["containers"] if row["time"] == 0.0])


def test_containers_that_change_between_runs_change_in_the_table() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 0.1, demand_w=8.0, containers=2), sink=kept)
    loop = Loop(site)
    loop.run(1)
    energy = site.app("a")
    assert energy.add_container(4.0) == "c3"
    energy.remove_container("c1")
    energy.add_container(8.0)
    loop.run(2)
    after = [(row["container"], row["power_w"]) for row in kept.containers("a") if row["time"] == build.TICK_S]
    assert after == [("c2", 2.0), ("c3", 2.0), ("c4", 4.0), ("_battery", 0.0)]


def test_a_handle_stays_with_its_app_while_others_come_and_go() -> None:
    site = build.site(build.app("a", 0.1), build.app("b", 0.2, demand_w=3.0), build.app("c", 0.1))
    energy = site.app("b")
    loop = Loop(site)
    loop.run(1)
    site.leave("a")
    site.join(build.app("d", 0.001, count=200))
    loop.run(2)
    assert energy.get_app_power() == 3.0
    assert energy is site.app("b")
    assert energy.battery_capacity_wh == pytest.approx(0.2 * site.usable_wh)


def test_energy_above_a_new_capacity_goes_to_the_site_with_its_carbon() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 0.5), battery=FULL, sink=kept)
    site.set(0, "stored_carbon_g", 8.0)
    site.set(1, "battery_level_wh", 0.0)
    site.memory.set("above_line_wh", sum(site.levels_wh()))
    site.set_shares({"a": build.shares(0.125)})
    build.run(site, 1)
    assert site.levels_wh() == [0.125 * site.usable_wh, 0.375 * site.usable_wh]
    assert [site.get(k, "stored_carbon_g") for k in range(2)] == [2.0, 6.0]
    assert kept.of("a", "transfer_out_wh") == kept.of("_site", "transfer_in_wh") == [0.375 * site.usable_wh]


def test_a_joiner_starts_at_0() -> None:
    site = build.site(battery=build.PAPER)
    site.join(build.app("a", 0.4))
    assert site.app("a").get_battery_charge_level() == 0.0


def test_all_that_a_leaving_app_held_is_the_site_s() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 0.5), solar_w=120.0, battery=FULL, sink=kept)
    loop = Loop(site)
    loop.run(1)
    site.leave("a")
    loop.run(2)
    assert kept.of("_site", "solar_w") == [0.0, 120.0]
    assert site.levels_wh() == [pytest.approx(site.usable_wh)]


def test_carbon_without_energy_goes_to_the_site_too() -> None:
    site = build.site(build.app("a", 0.5), battery=FULL)
    site.set(0, "stored_carbon_g", 8.0)
    site.adjust_battery(0.0)
    site.leave("a")
    assert site.get(0, "stored_carbon_g") == 8.0


def test_a_shortfall_falls_on_the_site_first_and_a_surplus_beyond_all_room_is_not_booked() -> None:
    site = build.site(build.app("a", 0.25), build.app("b", 0.5))
    levels = site.levels_wh()
    held_wh = sum(levels)
    assert site.adjust_battery(held_wh - levels[2] - 30.0) == pytest.approx(-levels[2] - 30.0)
    assert site.levels_wh() == pytest.approx([levels[0] - 10.0, levels[1] - 20.0, 0.0])
    booked_wh = site.adjust_battery(1e6)
    assert sum(site.levels_wh()) == pytest.approx(site.usable_wh)
    assert booked_wh == pytest.approx(site.usable_wh - held_wh + levels[2] + 30.0)


def test_a_correction_is_no_energy_that_went_astray() -> None:
    site = build.site(build.app("a", 0.5, demand_w=3.0), solar_w=30.0)
    initial_wh = site.memory.get("above_line_wh")
    loop = Loop(site)
    loop.run(5)
    site.adjust_battery(site.memory.get("above_line_wh") - 20.0)
    loop.run(20)
    summary = site_summary(site, initial_wh)
    assert summary.residual_wh == pytest.approx(0.0, abs=1e-9)
    assert summary.balance_residual_wh == pytest.approx(0.0, abs=1e-9)


def test_a_battery_filled_by_others_has_done_with_its_charge_rate() -> None:
    kept = build.Keep()
    small = BatteryParameters(20.0, 0.0, 3.0, 3.0, 1.0, 1.0, 0.0, 0.0)
    site = build.site(
        build.app("a", energy=1.0, power=1.0), build.app("b", solar=1.0), battery=small, solar_w=[60.0, 60.0, 60.0, 60.0, 0.0, 0.0],
        excess=("share",), grid_limit_w=0.0, sink=kept,
    )  # fmt: skip
    site.app("a").set_battery_charge_rate(5.0)
    loop = Loop(site)
    while site.get(0, "battery_level_wh") < site.get(0, "capacity_wh"):
        loop.run(int(site.memory.get("tick")) + 1)
    assert kept.of("a", "received_w")[1] > 0.0 == kept.of("a", "grid_to_battery_w")[1]
    site.adjust_battery(1.0)
    assert site.get(0, "charge_rate_w") == 0.0


def test_a_gap_belongs_to_the_site_and_time_goes_on_after_it() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 0.5, demand_w=30.0), sink=kept, start_s=1000.0)
    loop = Loop(site)
    initial_wh = site.memory.get("above_line_wh")
    loop.run(2)
    a_before, own_before = app_summaries(site)
    site.gap(7200.0, import_wh=50.0, export_wh=4.0, solar_wh=10.0, measured_level_wh=site.memory.get("above_line_wh") - 5.0)
    a_after, own_after = app_summaries(site)
    assert a_after == a_before
    assert own_after.grid_to_load_wh - own_before.grid_to_load_wh == pytest.approx(50.0)
    assert own_after.unknown_carbon_wh - own_before.unknown_carbon_wh == 50.0
    assert own_after.final_level_wh == pytest.approx(own_before.final_level_wh - 5.0)
    assert site.app("a").now_s == 1600.0 + 7200.0
    loop.run(3)
    assert kept.flows("a")[-1]["time"] == 1600.0 + 7200.0
    assert [event.kind for event in kept.events] == ["gap"]
    assert site_summary(site, initial_wh).residual_wh == pytest.approx(0.0, abs=1e-9)


def test_the_past_before_a_gap_stays_where_it_was() -> None:
    site = build.site(build.app("a", 0.5, demand_w=30.0, policy=build.scripted(lambda *_: None)))
    loop = Loop(site)
    loop.run(2)
    site.gap(7200.0, import_wh=50.0, export_wh=0.0, solar_wh=0.0, measured_level_wh=site.memory.get("above_line_wh"))
    loop.run(3)
    energy = site.app("a")
    assert list(energy.history("demand_w", 0.0, 600.0).values) == [30.0, 30.0]
    across = energy.history("demand_w", 300.0, 600.0 + 7200.0 + 300.0).values
    assert (across[0], across[-1], len(across)) == (30.0, 30.0, 26)
    assert all(math.isnan(value) for value in across[1:-1])  # nobody metered it


def test_between_runs_settings_are_for_the_next_tick() -> None:
    site = build.site(build.app("a", 0.5), start_s=1000.0, intensity=[100.0, 200.0])
    energy = site.app("a")
    assert (energy.effective_tick, energy.now_s) == (0, 1000.0)
    build.run(site, 7)
    assert (energy.effective_tick, energy.now_s, energy.get_grid_carbon()) == (7, 3100.0, 200.0)
    build.run(site, 50)
    assert math.isnan(energy.get_grid_carbon())  # the signal has ended


def test_shares_of_a_third_each_leave_nothing() -> None:
    site = build.site(*(build.app(name, 1 / 3) for name in "abc"))
    assert site.get(3, "capacity_wh") == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda site: site.join(build.app("c", grid=0.6)), "shares of grid sum to 1.1"),
        (lambda site: site.join(build.app("a", 0.0)), "'a'"),
        (lambda site: site.join(build.app("_site", 0.0)), "'_site'"),
        (lambda site: site.leave("zoe"), "'zoe' does not exist; known: a, b"),
        (lambda site: site.set_shares({"a": build.shares(energy=0.9)}), "battery energy sum to 1.15"),
        (lambda site: site.set_shares({"zoe": build.shares(0.1)}), "'zoe'"),
        (lambda site: site.app("a").history("colour", 0.0, 1.0), "unknown metric 'colour'"),
        (lambda site: site.app("a").forecast("wind", 1.0), "no forecast of 'wind'"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(act: Callable[[Site], object], message: str) -> None:
    site = build.site(build.app("a", 0.25), build.app("b", 0.25))
    names, levels = site.app_names, site.levels_wh()
    with pytest.raises(EcovisorError, match=message):
        act(site)
    assert (site.app_names, site.levels_wh()) == (names, levels)


def test_an_app_that_is_not_there_is_named() -> None:
    with pytest.raises(SettingRefused, match="'zoe'"):
        build.site(build.app("a", 0.25)).app("zoe")


def test_a_name_that_a_copy_has_is_taken() -> None:
    site = build.site(build.app("a", 0.1, count=2))
    with pytest.raises(Infeasible, match="a-1"):
        site.join(build.app("a-1", 0.1))


def test_boundary_functions_are_refused_within_a_tick() -> None:
    refused: list[str] = []

    def act(energy: VirtualEnergy, app: AppView) -> None:
        with pytest.raises(SettingRefused, match="between ticks") as caught:
            site.leave("a")
        refused.append(str(caught.value))

    site = build.site(build.app("a", 0.1, policy=build.scripted(act)))
    build.run(site, 2)
    assert len(refused) == 2
    site.leave("a")


class Own(CarbonAgnostic):
    def __init__(self) -> None:
        self.ticks = 0

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        self.ticks += 1


class Cautious(SuspendResume):
    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        energy.scale_containers(0.25)


def test_a_policy_derived_from_a_built_in_one_is_its_own() -> None:
    own = Own()
    kept = build.Keep()
    build.run(
        build.site(
            build.app("a", 0.1, demand_w=8.0, policy=lambda: own),
            build.app("b", 0.1, demand_w=8.0, policy=lambda: Cautious(Threshold(1e9))),
            sink=kept,
        ),
        3,
    )
    assert own.ticks == 3
    assert kept.of("b", "demand_w") == [2.0] * 3


def test_a_completion_is_told_once_however_the_run_is_cut() -> None:
    kept = build.Keep()
    loop = Loop(build.site(build.app("job", 1.0, workload=BatchJob(work_core_h=1.0, start_s=0.0)), sink=kept))
    for until in (2, 5, 10):
        loop.run(until)
    assert [(event.kind, event.time_s) for event in kept.events if event.kind == "completed"] == [("completed", 900.0)]


def test_a_battery_that_becomes_full_or_empty_is_an_event_at_the_end_of_that_tick() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 1.0), battery=dataclasses.replace(FULL, initial_ratio=0.9), sink=kept, ticks=100)
    loop = Loop(site)
    loop.run(2)
    site.app("a").ask(6000.0)
    site.app("_site").set_battery_max_discharge(0.0)
    loop.run(20)
    site.app("a").ask(0.0)
    site.app("a").set_battery_charge_rate(1e6)
    loop.run(90)
    told = [(event.kind, event.app) for event in kept.events]
    assert told == [("battery_empty", "a"), ("battery_full", "a")]
    emptied = next(row for row in kept.flows("a") if row["battery_level_wh"] == 0.0)
    assert kept.events[0].time_s == emptied["time"] + build.TICK_S


def test_a_battery_that_is_full_from_the_start_does_not_become_full() -> None:
    kept = build.Keep()
    build.run(build.site(build.app("a", 1.0), battery=FULL, sink=kept), 2)
    assert kept.events == []

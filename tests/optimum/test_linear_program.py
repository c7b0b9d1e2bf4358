"""With a battery the bound is a linear program; held against the merit order, other computations, and any prices at all."""

from __future__ import annotations

import math
from array import array
from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.model.errors import Infeasible, InputError
from ecovisor.model.series import Series
from ecovisor.optimum import AppBattery, BatchOptimum, Bound, NoBound, batch_bound
from ecovisor.optimum.linear_program import Pieces, build, certified_g
from ecovisor.optimum.speed import speed_curve
from ecovisor.optimum.steps import make_steps
from ecovisor.physics.battery import self_discharge_ratio
from ecovisor.physics.settlement import settle
from ecovisor.presets import BatteryParameters, ServerParameters
from ecovisor.workloads.models import BatchJob

HOUR_S = 3600.0
SERVER = ServerParameters(4.0, (1.35, 5.0))
LOSSLESS = AppBattery(capacity_wh=10.0, charge_limit_w=10.0, discharge_limit_w=10.0)
LOSSY = AppBattery(
    capacity_wh=6.0,
    charge_limit_w=3.0,
    discharge_limit_w=4.0,
    charge_efficiency=0.9,
    discharge_efficiency=0.8,
    self_discharge_per_hour=0.05,
    initial_wh=2.0,
)


def hourly(values: list[float], name: str = "carbon", unit: str = "g/kWh") -> Series:
    return Series(name, unit, 0.0, HOUR_S, array("d", values))


def bound(work_core_h: float, values: list[float], battery: AppBattery | None, **more: object) -> Bound:
    job = BatchJob(work_core_h=work_core_h, start_s=0.0, deadline_s=len(values) * HOUR_S)
    arguments: dict[str, object] = {"cores": 4.0, "server": SERVER, "carbon": hourly(values), "tick_s": HOUR_S, **more}
    found = batch_bound(job, battery=battery, **arguments)  # type: ignore[arg-type]
    assert isinstance(found, Bound)
    return found


def test_a_lossless_battery_buys_everything_in_the_cleanest_hour() -> None:
    found = bound(12.0, [50.0, 300.0, 301.0], LOSSLESS)
    assert found.carbon_g == pytest.approx(15.0 * 50.0 / 1000.0, rel=1e-6)
    assert list(found.schedule.import_w) == pytest.approx([15.0, 0.0, 0.0], abs=1e-6)
    assert list(found.schedule.battery_level_wh) == pytest.approx([10.0, 5.0, 0.0], abs=1e-6)
    assert found.status == "optimal"
    assert found.gap_g == pytest.approx(0.0, abs=1e-9)
    assert found.solver.startswith("HiGHS")


def test_a_lossy_battery_is_used_only_where_it_pays() -> None:
    battery = AppBattery(
        capacity_wh=10.0, charge_limit_w=10.0, discharge_limit_w=10.0, charge_efficiency=0.8, discharge_efficiency=0.8
    )
    never = bound(8.0, [100.0, 150.0], battery)
    assert never.carbon_g == pytest.approx(5.0 * 0.25, rel=1e-6)
    paid = bound(8.0, [100.0, 200.0], battery)
    assert paid.carbon_g == pytest.approx((5.0 + 5.0 / 0.64) * 0.1, rel=1e-6)


def test_what_the_battery_holds_at_the_start_is_free_and_at_the_end_worth_nothing() -> None:
    full = AppBattery(capacity_wh=10.0, charge_limit_w=10.0, discharge_limit_w=10.0, initial_wh=10.0)
    assert bound(8.0, [400.0, 400.0], full).carbon_g == pytest.approx(0.0, abs=1e-6)
    assert bound(12.0, [400.0, 400.0, 400.0], full).carbon_g == pytest.approx(5.0 * 0.4, rel=1e-6)


def test_the_sun_of_one_hour_serves_the_next_through_the_battery() -> None:
    solar = hourly([8.0, 0.0, 0.0], "solar", "W")
    found = bound(8.0, [100.0, 500.0, 500.0], LOSSLESS, solar=solar, solar_share=1.0)
    assert found.carbon_g == pytest.approx(2.0 * 0.1, rel=1e-6)  # 10 Wh; 8 Wh of them from the sun, that comes an hour late


def test_the_sun_of_others_reaches_the_battery_alone() -> None:
    solar = hourly([6.0, 0.0, 0.0], "solar", "W")
    no_charge = AppBattery(capacity_wh=10.0, charge_limit_w=0.0, discharge_limit_w=10.0)
    alone = {"solar": solar, "solar_share": 0.0}
    assert bound(8.0, [100.0] * 3, LOSSLESS, **alone).carbon_g == pytest.approx(1.0, rel=1e-6)
    given_all = bound(8.0, [100.0] * 3, LOSSLESS, **alone, others_solar_share=1.0)
    assert given_all.carbon_g == pytest.approx(0.4, rel=1e-6)
    assert "all sun of the others may reach the battery" in given_all.relaxations
    assert bound(8.0, [100.0] * 3, no_charge, **alone, others_solar_share=1.0).carbon_g == pytest.approx(1.0, rel=1e-6)


@given(st.lists(st.floats(1.0, 900.0), min_size=3, max_size=12), st.floats(0.05, 1.0), st.floats(0.0, 20.0))
@settings(deadline=None, max_examples=40)
def test_a_battery_that_cannot_be_used_is_no_battery(values: list[float], part: float, grid_w: float) -> None:
    dead = AppBattery(capacity_wh=5.0, charge_limit_w=0.0, discharge_limit_w=5.0)
    solar = hourly([3.0 * (k % 3) for k in range(len(values))], "solar", "W")
    work = part * len(values) * 2.0
    for more in ({"grid_limit_w": 5.0 + grid_w}, {"solar": solar, "solar_share": 0.7}):
        assert bound(work, values, dead, **more).carbon_g == pytest.approx(bound(work, values, None, **more).carbon_g, rel=1e-6)


@pytest.mark.parametrize("battery", [LOSSLESS, LOSSY])
def test_no_combination_of_running_and_charging_is_cheaper(battery: AppBattery) -> None:
    """Every schedule of four hours in which the job runs on 0, 2 or 4 cores and the battery is charged, used or held."""
    values, sun = [120.0, 90.0, 300.0, 250.0], [0.0, 4.0, 1.0, 0.0]
    charges, best = ((0.0, 0.0), (0.0, math.inf), (math.inf, 0.0), (1.5, 1.0)), math.inf
    loss = self_discharge_ratio(battery.self_discharge_per_hour, 1.0)
    for schedule in product(product((0.0, 2.0, 4.0), charges), repeat=4):
        if sum(cores for cores, _ in schedule) < 8.0:
            continue
        level_wh, carbon_g = battery.initial_wh, 0.0
        for (cores, (charge_w, discharge_w)), value, solar_w in zip(schedule, values, sun, strict=True):
            flows = settle(
                cores * 1.25,
                solar_w,
                level_wh,
                battery.capacity_wh,
                charge_w,
                discharge_w,
                battery.charge_limit_w,
                battery.discharge_limit_w,
                math.inf,
                battery.charge_efficiency,
                battery.discharge_efficiency,
                loss,
                1.0,
            )
            carbon_g += (flows[3] + flows[4]) * value / 1000.0
            level_wh = flows[-1]
        best = min(best, carbon_g)
    found = bound(8.0, values, battery, solar=hourly([4.0, 1.0, 0.0, 0.0], "solar", "W"), solar_share=1.0).carbon_g
    assert best * 0.8 < found <= best + 1e-9


def test_any_prices_prove_a_bound_and_none_more_than_the_optimum() -> None:
    values = [100.0 + 40.0 * ((7 * k) % 5) for k in range(24)]
    job = BatchJob(work_core_h=40.0, start_s=0.0, contention=0.1)
    steps = make_steps(hourly(values), start_s=0.0, job_start_s=0.0, deadline_s=24 * HOUR_S, tick_s=HOUR_S, step_s=None)
    curve = speed_curve(job, 8.0, SERVER)
    program, _ = build(steps, Pieces.of(curve), LOSSY, 40.0, 9.0, HOUR_S)
    best = bound(40.0, values, LOSSY, max_scale=2.0).carbon_g
    rng = np.random.default_rng(3)
    for spread in (0.0, 1e-3, 0.1, 10.0):
        assert certified_g(program, rng.normal(0.0, spread, program.height)) <= best * 1.5
    optimum = BatchOptimum(job, cores=8.0, server=SERVER, carbon=hourly(values), tick_s=HOUR_S, battery=LOSSY, grid_limit_w=9.0)
    found = optimum.bound(0.0, 24 * HOUR_S)
    assert isinstance(found, Bound)
    for spread in (0.0, 1e-3, 0.1, 10.0):
        assert certified_g(program, rng.normal(0.0, spread, program.height)) <= found.carbon_g


@pytest.mark.parametrize("hours", [2.0, 3.0, 6.0])
def test_coarser_steps_never_raise_the_bound(hours: float) -> None:
    values = [120.0, 90.0, 300.0, 250.0, 80.0, 200.0]
    more = {"solar": hourly([4.0, 1.0, 0.0, 0.0, 7.0, 0.0], "solar", "W"), "solar_share": 1.0}
    fine = bound(14.0, values, LOSSY, **more).carbon_g
    coarse = bound(14.0, values, LOSSY, step_s=hours * HOUR_S, **more)
    assert 0.0 <= coarse.carbon_g <= fine + 1e-9
    assert coarse.resolution_s == hours * HOUR_S


def test_hours_in_which_nothing_changes_are_one_step() -> None:
    values = [200.0] * 6 + [100.0] * 6
    merged = bound(20.0, values, LOSSLESS)
    assert len(merged.schedule.start_s) == 2
    assert merged.carbon_g == pytest.approx(bound(20.0, values, LOSSLESS, step_s=HOUR_S).carbon_g, rel=1e-9)


def test_the_battery_may_be_charged_before_the_job_begins() -> None:
    job = BatchJob(work_core_h=8.0, start_s=1.5 * HOUR_S, deadline_s=4 * HOUR_S)
    more = {"cores": 4.0, "server": SERVER, "carbon": hourly([50.0, 400.0, 400.0, 400.0]), "tick_s": HOUR_S, "battery": LOSSLESS}
    early = batch_bound(job, start_s=0.0, **more)  # type: ignore[arg-type]
    late = batch_bound(job, **more)  # type: ignore[arg-type]
    assert isinstance(early, Bound)
    assert isinstance(late, Bound)
    assert early.carbon_g == pytest.approx(10.0 * 0.05, rel=1e-6)
    assert late.carbon_g == pytest.approx(10.0 * 0.4, rel=1e-6)


def test_work_beyond_sun_battery_and_grid_is_refused_with_what_is_possible() -> None:
    full = AppBattery(capacity_wh=5.0, charge_limit_w=0.0, discharge_limit_w=10.0, initial_wh=5.0)
    with pytest.raises(Infeasible, match="more power than sun, battery and grid give: at most 8 core-h"):
        bound(12.0, [100.0] * 5, full, grid_limit_w=1.0)


def test_unknown_sun_in_the_window_leaves_no_bound() -> None:
    job = BatchJob(work_core_h=1.0, start_s=0.0, deadline_s=3 * HOUR_S)
    solar = hourly([1.0, math.nan, 1.0], "solar", "W")
    found = batch_bound(job, cores=4.0, server=SERVER, carbon=hourly([1.0] * 3), tick_s=HOUR_S, solar=solar, battery=LOSSY)
    assert found == NoBound("the solar power is unknown at 1970-01-01T02:00:00Z")


def test_a_missing_solver_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "highspy", None)
    with pytest.raises(InputError, match=r"highspy, which is not installed; pip install 'ecovisor\[optimum\]'"):
        bound(8.0, [100.0, 200.0], LOSSLESS)
    assert bound(8.0, [100.0, 200.0], None).carbon_g > 0.0


def test_a_share_of_a_battery_has_its_part_of_everything() -> None:
    paper = BatteryParameters(1440.0, 0.3, 0.25, 1.0, 0.95, 0.9, 0.001, 0.5)
    share = AppBattery.of(paper, 0.5, reserve_wh=8.0)
    assert asdict(share) == pytest.approx(
        {
            "capacity_wh": 500.0,
            "charge_limit_w": 180.0,
            "discharge_limit_w": 720.0,
            "charge_efficiency": 0.95,
            "discharge_efficiency": 0.9,
            "self_discharge_per_hour": 0.001,
            "initial_wh": 250.0,
        }
    )
    assert AppBattery.of(paper, 0.5, 0.25).charge_limit_w == 90.0

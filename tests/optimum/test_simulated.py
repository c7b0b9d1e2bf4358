"""No simulated policy emits less than the bound, whatever it does; and one that follows the bound's schedule emits as much.

`ECOVISOR_BOUND_EXAMPLES=3000` tries that many policies.
"""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from ecovisor.assembly import simulate
from ecovisor.model.errors import Infeasible
from ecovisor.model.series import Series
from ecovisor.model.summary import AppSummary
from ecovisor.optimum import AppBattery, Bound, batch_bound
from ecovisor.presets import ServerParameters
from ecovisor.settings import Scenario
from ecovisor.workloads.models import BatchJob

HOUR_S = 3600.0
TICK_S = 1200.0
START_S = 1577836800.0  # 2020-01-01T00:00Z
HOURS = 6
CURVE = (1.0, 2.5, 6.0)
EXAMPLES = int(os.environ.get("ECOVISOR_BOUND_EXAMPLES", "20"))
BATTERY = {
    "capacity_wh": 20.0,
    "empty_ratio": 0.25,
    "charge_c_rate": 0.3,
    "discharge_c_rate": 0.4,
    "charge_efficiency": 0.9,
    "discharge_efficiency": 0.85,
    "self_discharge_per_hour": 0.02,
}
OTHER = {"name": "other", "solar_share": 0.3, "battery_energy_share": 0.2, "workload": {"kind": "constant", "demand_w": 1.0}}
WILD = '''
class Wild:
    """Sets what it is told, tick by tick."""

    def __init__(self, actions):
        self.actions, self.next = actions, 0

    def tick(self, energy, app):
        scale, cap_w, charge_w, discharge_w, container_w = self.actions[self.next % len(self.actions)]
        self.next += 1
        energy.scale_containers(scale)
        energy.set_app_powercap(cap_w)
        energy.set_battery_charge_rate(charge_w)
        energy.set_battery_max_discharge(discharge_w)
        first = energy.list_containers()[0]
        energy.set_container_powercap(first.id, max(container_w, 2.0 * energy.idle_power_w))
'''

watts = st.sampled_from([0.0, 0.8, 1.5, 3.0, 6.0, 50.0])
actions = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 2.0]), watts, watts, watts, st.sampled_from([2.0, 50.0])), min_size=1, max_size=18
)
intensities = st.lists(st.sampled_from([20.0, 40.0, 90.0, 200.0, 350.0]), min_size=HOURS, max_size=HOURS)
suns = st.one_of(st.just([0.0] * 18), st.lists(st.sampled_from([0.0, 2.0, 9.0]), min_size=18, max_size=18))
workloads = st.fixed_dictionaries(
    {"work_core_hours": st.sampled_from([0.5, 2.0, 6.0])},
    optional={
        "usl_contention": st.sampled_from([0.1, 0.4]),
        "usl_coherency": st.sampled_from([0.02, 0.2]),
        "idle_when_starved": st.booleans(),
        "restart_duration": st.just("5min"),
        "start": st.sampled_from(["30min", "2h"]),
    },
).map(lambda chosen: {"kind": "batch", **chosen})


def series(name: str, unit: str, values: list[float]) -> Series:
    return Series(name, unit, START_S, HOURS * HOUR_S / len(values), array("d", values))


def run(
    folder: Path,
    carbon: list[float],
    sun: list[float],
    workload: dict[str, object],
    plan: list[tuple[float, ...]],
    app: dict[str, object],
    site: dict[str, object],
    others: bool = True,
) -> AppSummary:
    (folder / "wild.py").write_text(WILD)
    scenario = msgspec.convert(
        {
            "schema": 1,
            "site": {"server": {"cores": 4.0, "power_curve_w": list(CURVE)}, **site},
            "apps": [
                {
                    "name": "job",
                    "containers": 2,
                    "cores": 1.0,
                    "workload": workload,
                    "policy": {"kind": "wild.py:Wild", "options": {"actions": [list(one) for one in plan]}},
                    **app,
                },
                *([OTHER] if others else []),
            ],
            "run": {"start": "2020-01-01T00:00Z", "duration": f"{HOURS}h", "tick": "20min", "baseline": False, "record": "totals"},
        },
        Scenario,
    )
    given_series = {"carbon": series("carbon", "g/kWh", carbon), "solar": series("solar", "W", sun)}
    return simulate(scenario, folder, series=given_series).summary.apps[0]


def batch_job(workload: dict[str, object], work_core_h: float) -> BatchJob:
    delay_s = {"30min": 1800.0, "2h": 7200.0}.get(str(workload.get("start")), 0.0)
    return BatchJob(
        work_core_h=work_core_h,
        start_s=START_S + delay_s,
        contention=float(workload.get("usl_contention", 0.0)),  # type: ignore[arg-type]
        coherency=float(workload.get("usl_coherency", 0.0)),  # type: ignore[arg-type]
        idle_when_starved=bool(workload.get("idle_when_starved", False)),
    )


def least(
    carbon: list[float],
    sun: list[float],
    workload: dict[str, object],
    work_core_h: float,
    grid_limit_w: float | None,
    step_s: float | None,
    sharing: bool,
) -> Bound:
    """The bound of half of the site: battery, sun, and three quarters of the grid."""
    usable_wh = (20.0 * 0.75 - max(sun) * TICK_S / HOUR_S) * 0.5
    bound = batch_bound(
        batch_job(workload, work_core_h),
        cores=2.0,
        max_scale=2.0,
        server=ServerParameters(4.0, CURVE),
        carbon=series("carbon", "g/kWh", carbon),
        start_s=START_S,
        deadline_s=START_S + HOURS * HOUR_S,
        tick_s=TICK_S,
        step_s=step_s,
        solar=series("solar", "W", sun),
        solar_share=0.5,
        others_solar_share=0.5 if sharing else 0.0,
        battery=AppBattery(
            capacity_wh=usable_wh,
            charge_limit_w=3.0,
            discharge_limit_w=4.0,
            charge_efficiency=0.9,
            discharge_efficiency=0.85,
            self_discharge_per_hour=0.02,
            initial_wh=usable_wh * 0.3,
        ),
        grid_limit_w=float("inf") if grid_limit_w is None else grid_limit_w * 0.75,
    )
    assert isinstance(bound, Bound)
    return bound


def followed(bound: Bound) -> list[tuple[float, ...]]:
    """What a policy sets to do as the bound's schedule does, where its steps are ticks."""
    schedule = bound.schedule
    plan: list[tuple[float, ...]] = []
    for k in range(len(schedule.power_w)):
        power_w = float(schedule.power_w[k])
        scale = float(schedule.cores[k]) / 2.0 if power_w > 1e-9 else 0.0
        cap_w = max(power_w, scale * 2.0 / 4.0 * CURVE[0]) + 1e-9 if scale else 0.0
        plan.append((scale, cap_w, float(schedule.battery_charge_w[k]), float(schedule.battery_discharge_w[k]), 50.0))
    return plan


@given(
    intensities,
    suns,
    workloads,
    st.one_of(actions, st.none()),
    st.sampled_from([None, 4.0]),
    st.booleans(),
)
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_policy_emits_less_than_the_bound(
    tmp_path: Path,
    carbon: list[float],
    sun: list[float],
    workload: dict[str, object],
    plan: list[tuple[float, ...]] | None,
    grid_limit_w: float | None,
    sharing: bool,
) -> None:
    """Policies that do anything, and policies that do what the bound's schedule does tick by tick."""
    if plan is None:
        try:
            plan = followed(least(carbon, sun, workload, float(str(workload["work_core_hours"])), grid_limit_w, TICK_S, sharing))
        except Infeasible:
            reject()
    site: dict[str, object] = {
        "battery": {**BATTERY, "initial_ratio": 0.3},
        "excess": ["share", "curtail"] if sharing else ["curtail"],
    }
    if grid_limit_w is not None:
        site["grid_limit_w"] = grid_limit_w
    found = run(tmp_path, carbon, sun, workload, plan, {"grid_share": 0.75, "solar_share": 0.5, "battery_energy_share": 0.5}, site)
    for step_s in (TICK_S, HOUR_S, None):
        bound = least(carbon, sun, workload, found.work_done, grid_limit_w, step_s, sharing)
        assert found.carbon_g >= bound.carbon_g - 1e-6


@given(intensities, workloads, actions)
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_policy_without_a_battery_emits_less_than_the_bound(
    tmp_path: Path, carbon: list[float], workload: dict[str, object], plan: list[tuple[float, ...]]
) -> None:
    found = run(tmp_path, carbon, [0.0] * 18, workload, plan, {}, {})
    bound = batch_bound(
        batch_job(workload, found.work_done),
        cores=2.0,
        max_scale=2.0,
        server=ServerParameters(4.0, CURVE),
        carbon=series("carbon", "g/kWh", carbon),
        start_s=START_S,
        deadline_s=START_S + HOURS * HOUR_S,
        tick_s=TICK_S,
    )
    assert isinstance(bound, Bound)
    assert found.carbon_g >= bound.carbon_g - 1e-6


@pytest.mark.parametrize("self_discharge", [0.0, 0.02])
def test_a_policy_that_follows_the_schedule_reaches_the_bound(tmp_path: Path, self_discharge: float) -> None:
    carbon, sun = [210.0, 40.0, 350.0, 300.0, 60.0, 500.0], [0.0] * 6 + [4.0, 5.0, 3.0] + [0.0] * 9
    battery = {**BATTERY, "self_discharge_per_hour": self_discharge}
    usable_wh = 20.0 * 0.75 - 5.0 * TICK_S / HOUR_S
    bound = batch_bound(
        BatchJob(work_core_h=7.0, start_s=START_S),
        cores=2.0,
        server=ServerParameters(4.0, CURVE),
        carbon=series("carbon", "g/kWh", carbon),
        deadline_s=START_S + HOURS * HOUR_S,
        tick_s=TICK_S,
        step_s=TICK_S,
        solar=series("solar", "W", sun),
        battery=AppBattery(
            capacity_wh=usable_wh,
            charge_limit_w=6.0,
            discharge_limit_w=8.0,
            charge_efficiency=0.9,
            discharge_efficiency=0.85,
            self_discharge_per_hour=self_discharge,
        ),
    )
    assert isinstance(bound, Bound)
    plan = followed(bound)
    (tmp_path / "wild.py").write_text(WILD)
    scenario = msgspec.convert(
        {
            "schema": 1,
            "site": {"server": {"cores": 4.0, "power_curve_w": list(CURVE)}, "battery": battery},
            "apps": [
                {
                    "name": "job",
                    "cores": 2.0,
                    "workload": {"kind": "batch", "work_core_hours": 7.0},
                    "policy": {"kind": "wild.py:Wild", "options": {"actions": [list(one) for one in plan]}},
                    "share": 1.0,
                }
            ],
            "run": {"start": "2020-01-01T00:00Z", "duration": "6h", "tick": "20min", "baseline": False, "record": "totals"},
        },
        Scenario,
    )
    given_series = {"carbon": series("carbon", "g/kWh", carbon), "solar": series("solar", "W", sun)}
    found = simulate(scenario, tmp_path, series=given_series).summary.apps[0]
    assert found.work_done == pytest.approx(7.0, rel=1e-5)
    assert bound.carbon_g - 1e-6 <= found.carbon_g <= bound.carbon_g * 1.001


def alone(
    folder: Path, workload: dict[str, object], bound: Bound, carbon: list[float], battery: dict[str, float] | None
) -> AppSummary:
    """A run of the job that follows a schedule, on a site of its own without sun."""
    site: dict[str, object] = {"battery": battery} if battery else {}
    return run(folder, carbon, [0.0] * 18, workload, followed(bound), {"share": 1.0}, site, others=False)


@pytest.mark.parametrize("idle_when_starved", [False, True])
def test_a_job_that_scales_badly_reaches_the_bound_on_its_best_number_of_cores(tmp_path: Path, idle_when_starved: bool) -> None:
    carbon = [210.0, 40.0, 350.0, 300.0, 60.0, 500.0]
    workload: dict[str, object] = {
        "kind": "batch",
        "work_core_hours": 2.3,
        "scaling_table": [[1.0, 1.0], [2.0, 1.6]],
        "idle_when_starved": idle_when_starved,
    }
    bound = batch_bound(
        BatchJob(work_core_h=2.3, start_s=START_S, speed_table=((1.0, 1.0), (2.0, 1.6)), idle_when_starved=idle_when_starved),
        cores=2.0,
        server=ServerParameters(4.0, CURVE),
        carbon=series("carbon", "g/kWh", carbon),
        deadline_s=START_S + HOURS * HOUR_S,
        tick_s=TICK_S,
        step_s=TICK_S,
    )
    assert isinstance(bound, Bound)
    found = alone(tmp_path, workload, bound, carbon, None)
    assert found.work_done == pytest.approx(2.3, rel=1e-5)
    assert bound.carbon_g - 1e-6 <= found.carbon_g <= bound.carbon_g * 1.001


def test_longer_steps_allow_for_what_an_early_discharge_saves_of_the_self_discharge(tmp_path: Path) -> None:
    """A third of the level is lost in an hour, so what is discharged in its first tick is worth more than later."""
    carbon = [10.0, 500.0, 500.0, 500.0, 500.0, 500.0]
    battery = {**BATTERY, "self_discharge_per_hour": 0.3, "discharge_c_rate": 0.3}
    bounds = [
        batch_bound(
            BatchJob(work_core_h=4.0, start_s=START_S),
            cores=2.0,
            server=ServerParameters(4.0, CURVE),
            carbon=series("carbon", "g/kWh", carbon),
            deadline_s=START_S + HOURS * HOUR_S,
            tick_s=TICK_S,
            step_s=step_s,
            battery=AppBattery(
                capacity_wh=15.0,
                charge_limit_w=6.0,
                discharge_limit_w=6.0,
                charge_efficiency=0.9,
                discharge_efficiency=0.85,
                self_discharge_per_hour=0.3,
            ),
        )
        for step_s in (TICK_S, HOUR_S, None)
    ]
    fine, *coarse = [bound for bound in bounds if isinstance(bound, Bound)]
    found = alone(tmp_path, {"kind": "batch", "work_core_hours": 4.0}, fine, carbon, battery)
    assert found.work_done == pytest.approx(4.0, rel=1e-5)
    assert fine.carbon_g - 1e-6 <= found.carbon_g <= fine.carbon_g * 1.001
    assert len(coarse) == 2
    for bound in coarse:
        assert bound.carbon_g <= found.carbon_g + 1e-6


def test_a_job_that_runs_on_the_sun_that_others_left_emits_nothing_and_so_says_its_bound(tmp_path: Path) -> None:
    sun = [9.0] * 9 + [0.0] * 9
    waiting: list[tuple[float, ...]] = [*[(0.0, 0.0, 0.0, 50.0, 50.0)] * 12, *[(1.0, 3.0, 0.0, 50.0, 50.0)] * 6]
    app: dict[str, object] = {"grid_share": 0.75, "solar_share": 0.0, "battery_energy_share": 0.5}
    site: dict[str, object] = {"battery": BATTERY, "excess": ["share", "curtail"]}
    found = run(tmp_path, [300.0] * 6, sun, {"kind": "batch", "work_core_hours": 1.5}, waiting, app, site)
    assert found.received_wh > 1.0
    assert found.work_done == pytest.approx(1.5)
    assert found.carbon_g == pytest.approx(0.0)
    usable_wh = (20.0 * 0.75 - 9.0 * TICK_S / HOUR_S) * 0.5
    battery = AppBattery(
        capacity_wh=usable_wh, charge_limit_w=3.0, discharge_limit_w=4.0, charge_efficiency=0.9, discharge_efficiency=0.85
    )
    bounds = [
        batch_bound(
            BatchJob(work_core_h=1.5, start_s=START_S),
            cores=2.0,
            server=ServerParameters(4.0, CURVE),
            carbon=series("carbon", "g/kWh", [300.0] * 6),
            deadline_s=START_S + HOURS * HOUR_S,
            tick_s=TICK_S,
            solar=series("solar", "W", sun),
            solar_share=0.0,
            others_solar_share=others,
            battery=battery,
        )
        for others in (1.0, 0.0)
    ]
    assert [bound.carbon_g > 1e-6 for bound in bounds if isinstance(bound, Bound)] == [False, True]

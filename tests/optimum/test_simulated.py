"""No simulated policy emits less than the bound, whatever it does; and one that follows the bound's schedule emits as much.

`ECOVISOR_BOUND_EXAMPLES=3000` tries that many policies.
"""

from __future__ import annotations

import os
from array import array
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecovisor.assembly import simulate
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
intensities = st.lists(st.sampled_from([0.0, 40.0, 90.0, 200.0, 350.0]), min_size=HOURS, max_size=HOURS)
suns = st.lists(st.sampled_from([0.0, 2.0, 9.0]), min_size=3 * HOURS, max_size=3 * HOURS)
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
                {
                    "name": "other",
                    "solar_share": 0.3,
                    "battery_energy_share": 0.2,
                    "workload": {"kind": "constant", "demand_w": 1.0},
                },
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


@given(intensities, suns, workloads, actions, st.sampled_from([None, 4.0]), st.sampled_from([TICK_S, HOUR_S, None]))
@settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_policy_emits_less_than_the_bound(
    tmp_path: Path,
    carbon: list[float],
    sun: list[float],
    workload: dict[str, object],
    plan: list[tuple[float, ...]],
    grid_limit_w: float | None,
    step_s: float | None,
) -> None:
    site: dict[str, object] = {"battery": {**BATTERY, "initial_ratio": 0.3}, "excess": ["share", "curtail"]}
    if grid_limit_w is not None:
        site["grid_limit_w"] = grid_limit_w
    found = run(tmp_path, carbon, sun, workload, plan, {"grid_share": 0.75, "solar_share": 0.5, "battery_energy_share": 0.5}, site)
    usable_wh = (20.0 * 0.75 - max(sun) * TICK_S / HOUR_S) * 0.5
    bound = batch_bound(
        batch_job(workload, found.work_done),
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
        others_solar_share=0.5,
        battery=AppBattery(
            capacity_wh=usable_wh,
            charge_limit_w=3.0,
            discharge_limit_w=4.0,
            charge_efficiency=0.9,
            discharge_efficiency=0.85,
            self_discharge_per_hour=0.02,
            initial_wh=usable_wh * 0.3,
        ),
        grid_limit_w=float("inf") if grid_limit_w is None else 3.0,
    )
    assert isinstance(bound, Bound)
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
    schedule = bound.schedule
    idle_w = 2.0 / 4.0 * CURVE[0]
    plan = []
    for k in range(3 * HOURS):
        power_w = float(schedule.power_w[k])
        scale = float(schedule.cores[k]) / 2.0 if power_w > 1e-9 else 0.0
        cap_w = max(power_w, idle_w) if scale else 0.0
        plan.append((scale, cap_w + 1e-9, float(schedule.battery_charge_w[k]), float(schedule.battery_discharge_w[k]), 50.0))
    app = {"share": 1.0}
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
                    **app,
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

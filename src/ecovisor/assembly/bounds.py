"""The optimum beside each app of a finished run: what the bound needs to know of a scenario, or why there is none.

The bound itself, and what is relaxed in it, is in `optimum`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ecovisor.adapters.scenario_checks import Interval
from ecovisor.engine.site import Site
from ecovisor.engine.specification import SITE_APP, Group
from ecovisor.model.errors import Infeasible, InputError
from ecovisor.model.series import Series
from ecovisor.model.summary import AppSummary, Optimum
from ecovisor.settings import Policy, Scenario
from ecovisor.workloads.models import BatchJob

if TYPE_CHECKING:
    from ecovisor.optimum import AppBattery

#: With a battery, a program of more steps takes long: it is given longer ones.
MOST_STEPS = 9000
_STEPS_S = (60.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10800.0, 21600.0, 86400.0)


def demand_solver() -> None:
    """Say at once what is missing, not after a long run.

    Raises:
        InputError: a library is not installed.
    """
    missing = [name for name in ("numpy", "highspy") if find_spec(name) is None]
    if missing:
        raise InputError("--optimum", f"needs {' and '.join(missing)}, not installed", "pip install 'ecovisor[optimum]'")


def with_optimum(apps: Sequence[AppSummary], scenario: Scenario, site: Site, interval: Interval) -> list[AppSummary]:
    """Each app with its optimum; the site's own has none."""
    told = []
    for app, group, policy in zip(apps, site.all_groups, [*(one.policy for one in scenario.apps), None], strict=True):
        told.append(
            app if app.app == SITE_APP or policy is None else replace(app, optimum=_optimum(app, group, policy, site, interval))
        )
    return told


def _optimum(app: AppSummary, group: Group, policy: Policy, site: Site, interval: Interval) -> Optimum:
    """The bound of an app's job: until its deadline if it met it, else until the end of the run, for the work that it did."""
    from ecovisor.optimum import BatchOptimum, NoBound

    job = group.spec.workload
    if not isinstance(job, BatchJob):
        return Optimum(reason=f"a {app.workload} workload is no batch job")
    end_s = interval.start_s + interval.ticks * interval.tick_s
    until_s = min(job.deadline_s, end_s) if job.deadline_s is not None and app.deadline_met else end_s
    signals, shares = site.signals, group.spec.shares
    carbon = _series("carbon", "g/kWh", signals.carbon_intensity_g_per_kwh, interval)
    solar = _series("solar", "W", signals.solar_w, interval) if any(signals.solar_w) else None
    battery = _battery(group, site)
    optimum = BatchOptimum(
        job,
        cores=group.spec.containers * group.spec.cores,
        max_scale=_largest_scale(policy),
        server=site.server,
        carbon=carbon,
        tick_s=interval.tick_s,
        step_s=_step_s(signals.carbon_intensity_g_per_kwh, signals.solar_w, interval) if battery is not None else None,
        solar=solar,
        solar_share=shares.solar,
        others_solar_share=max(1.0 - shares.solar, 0.0) if "share" in site.physical.excess else 0.0,
        battery=battery,
        grid_limit_w=site.get(group.first, "grid_limit_w"),
    )
    done_core_h = min(app.work_done / app.count, job.work_core_h)
    try:
        found = optimum.bound(interval.start_s, until_s, job_start_s=job.start_s, work_core_h=done_core_h)
    except Infeasible:
        return Optimum(reason=f"the policy did more than {optimum.cores:g} cores can")
    if isinstance(found, NoBound):
        return Optimum(reason=found.reason)
    least_g = found.carbon_g * app.count
    return Optimum(
        carbon_g=least_g,
        ratio=app.carbon_g / least_g if least_g > 0.0 else None,
        work_core_h=done_core_h * app.count,
        cores=found.cores * app.count,
        until_s=until_s,
        resolution_s=found.resolution_s,
        gap_g=found.gap_g * app.count,
        solver=found.solver,
        status=found.status,
        relaxations=list(found.relaxations),
    )


def _series(name: str, unit: str, ticks: array[float], interval: Interval) -> Series:
    """A signal as the run had it, one value a tick."""
    return Series(name, unit, interval.start_s, interval.tick_s, ticks)


def _largest_scale(policy: Policy) -> float:
    """The largest factor on its cores that a policy uses; one in Python may use another, and is not bound then."""
    return (policy.scale or 2.0) if policy.kind == "wait-and-scale" else 1.0


def _battery(group: Group, site: Site) -> AppBattery | None:
    from ecovisor.optimum import AppBattery

    physical, capacity_wh = site.physical.battery, site.get(group.first, "capacity_wh")
    if physical is None or capacity_wh <= 0.0:
        return None
    return AppBattery(
        capacity_wh=capacity_wh,
        charge_limit_w=site.get(group.first, "charge_limit_w"),
        discharge_limit_w=site.get(group.first, "discharge_limit_w"),
        charge_efficiency=physical.charge_efficiency,
        discharge_efficiency=physical.discharge_efficiency,
        self_discharge_per_hour=physical.self_discharge_per_hour,
        initial_wh=capacity_wh * physical.initial_ratio,
    )


def _step_s(carbon: array[float], solar: array[float], interval: Interval) -> float | None:
    """Length of a step for a program that can be solved at once; None: from change to change. [s]"""
    changes = sum(carbon[k] != carbon[k - 1] or solar[k] != solar[k - 1] for k in range(1, interval.ticks))
    if changes < MOST_STEPS:
        return None
    length_s = interval.ticks * interval.tick_s
    fitting = [step_s for step_s in _STEPS_S if step_s % interval.tick_s == 0.0 and length_s / step_s <= MOST_STEPS]
    return fitting[0] if fitting else None

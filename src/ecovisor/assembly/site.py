"""From a scenario to a site with its apps joined: the same for a simulation and for a site that runs live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

from ecovisor.adapters.plugins import plugin_maker
from ecovisor.adapters.policies import policy_maker
from ecovisor.adapters.scenario_checks import Interval, moment_s, span_s
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Series
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import TableSink, Workload
from ecovisor.presets import resolve_battery, resolve_server, shares_of
from ecovisor.settings import App, Scenario
from ecovisor.settings import Workload as WorkloadSettings
from ecovisor.workloads.models import BatchJob, ConstantDemand, Metered, TracedDemand

INFINITY = float("inf")
WORKLOAD_KINDS = ("batch", "constant", "trace")
RATE_UNIT = "1/s"
_NO_SERIES: Mapping[str, Series] = MappingProxyType({})


def build_site(
    scenario: Scenario,
    folder: Path,
    signals: Signals,
    interval: Interval,
    *,
    series: Mapping[str, Series] = _NO_SERIES,
    sink: TableSink | None = None,
    compiled: bool | None = None,
    agnostic: bool = False,
    solar_peak_w: float | None = None,
) -> Site:
    """The site of a scenario with all its apps joined.

    Args:
        scenario: checked.
        folder: relative paths in it start here.
        signals: what drives the site.
        interval: its time.
        series: the signals as they came, by name, for workloads that take one of them whole.
        sink: where tables go.
        compiled: force machine code or plain Python; None chooses by size.
        agnostic: give every app the carbon-agnostic policy.
        solar_peak_w: largest output of the array; None: that of the signal. [W]

    Raises:
        InputError: something in the scenario cannot be used.
    """
    settings = scenario.site
    physical = PhysicalSite(
        battery=resolve_battery(settings.battery) if settings.battery else None,
        server=resolve_server(settings.server),
        servers=settings.servers,
        overhead_w=settings.overhead_w,
        grid_limit_w=INFINITY if settings.grid_limit_w is None else settings.grid_limit_w,
        export_limit_w=INFINITY if settings.export_limit_w is None else settings.export_limit_w,
        excess=tuple(settings.excess),
        solar_peak_w=max(signals.solar_w, default=0.0) if solar_peak_w is None else solar_peak_w,
    )
    site = Site(physical, signals, start_s=interval.start_s, tick_s=interval.tick_s, sink=sink, compiled=compiled)
    battery = physical.battery
    if battery is not None and site.usable_wh <= 0.0:
        raise SettingsError(
            "site.battery",
            f"the solar buffer of one tick ({site.reserve_wh:.0f} Wh) leaves nothing of the usable "
            f"{battery.capacity_wh * (1.0 - battery.empty_ratio):.0f} Wh",
            "shorten run.tick, or give a larger battery or a smaller array",
        )
    site.join(
        *(
            specification(app, f"apps[{k}]", folder, interval, series=series, agnostic=agnostic)
            for k, app in enumerate(scenario.apps)
        )
    )
    site.begin()
    return site


def specification(
    app: App, where: str, folder: Path, interval: Interval, *, series: Mapping[str, Series] = _NO_SERIES, agnostic: bool = False
) -> AppSpec:
    """What joins for an app of a scenario; ``where`` is its table, for errors."""
    shares = shares_of(app)
    if app.count > 1:
        shares = replace(
            shares,
            grid=shares.grid / app.count,
            solar=shares.solar / app.count,
            battery_energy=shares.battery_energy / app.count,
            battery_power=shares.battery_power / app.count,
        )
    return AppSpec(
        name=app.name,
        shares=shares,
        workload=_workload(app.workload, f"{where}.workload", folder, interval, series),
        policy=CarbonAgnostic if agnostic else policy_maker(app.policy, f"{where}.policy", folder),
        containers=app.containers if app.commands or app.workload.kind != "containers" else 0,
        cores=app.cores,
        count=app.count,
        commands=tuple(app.commands),
        workload_name=app.workload.kind,
        policy_name=app.policy.kind,
    )


def _workload(
    settings: WorkloadSettings, where: str, folder: Path, interval: Interval, series: Mapping[str, Series]
) -> BatchJob | ConstantDemand | Metered | TracedDemand | Callable[[], Workload]:
    if settings.kind == "containers":
        return Metered()
    start_s = moment_s(settings.start, interval.start_s, f"{where}.start") if settings.start else interval.start_s
    if settings.kind == "batch":
        table = settings.scaling_table
        interval_s = settings.checkpoint_interval
        return BatchJob(
            work_core_h=settings.work_core_hours or 0.0,
            start_s=start_s,
            deadline_s=moment_s(settings.deadline, start_s, f"{where}.deadline") if settings.deadline else None,
            contention=settings.usl_contention,
            coherency=settings.usl_coherency,
            speed_table=tuple((cores, speed) for cores, speed in table) if table else None,
            checkpoint_interval_s=span_s(interval_s, f"{where}.checkpoint_interval") if interval_s else 0.0,
            checkpoint_duration_s=span_s(settings.checkpoint_duration, f"{where}.checkpoint_duration"),
            restart_duration_s=span_s(settings.restart_duration, f"{where}.restart_duration"),
            idle_when_starved=settings.idle_when_starved,
        )
    if settings.kind == "constant":
        return ConstantDemand(demand_w=settings.demand_w or 0.0, start_s=start_s)
    if settings.kind == "trace":
        trace = series.get(settings.trace or "")
        if trace is not None and trace.unit not in ("W", "1"):
            raise SettingsError(
                f"{where}.trace", f"{settings.trace!r} is in {trace.unit}, a demand is in W or 1", "name another signal"
            )
        return TracedDemand(signal=settings.trace or "", start_s=start_s)
    make = plugin_maker("ecovisor.workloads", settings.kind, settings.options, folder, WORKLOAD_KINDS, where, ("demand_w", "run"))
    return cast("Callable[[], Workload]", make)

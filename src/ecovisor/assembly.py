"""From a scenario to a running system and its summary: the only place that wires concrete parts together.

The scenario has been read and checked by `adapters.scenario_files`; tables go to the sink that the caller gives.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from ecovisor.adapters.plugins import plugin_maker
from ecovisor.adapters.policies import policy_maker
from ecovisor.adapters.scenario_checks import Interval, interval_of, moment_s, span_s
from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.engine.loop import Loop
from ecovisor.engine.report import app_summaries, site_summary, with_baseline
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import SITE_APP, AppSpec
from ecovisor.model.errors import SettingsError
from ecovisor.model.summary import RunSummary
from ecovisor.model.units import human_duration
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import TableSink, Workload
from ecovisor.presets import resolve_battery, resolve_server, shares_of
from ecovisor.settings import App, Scenario
from ecovisor.settings import Workload as WorkloadSettings
from ecovisor.workloads.models import BatchJob, ConstantDemand, TracedDemand

INFINITY = float("inf")
WORKLOAD_KINDS = ("batch", "constant", "trace")
#: The solar buffer should not take more of the battery than this.
BUFFER_WARNING_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run."""

    summary: RunSummary
    run_info: dict[str, object]
    """For `run.json`: physics, shares, data files."""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """Signals as loaded, and what to say about them."""

    by_name: dict[str, LoadedSignal]
    signals: Signals
    notes: list[str]


def check(scenario: Scenario, folder: Path) -> list[str]:
    """Load everything that a run would load; returns notes.

    Raises:
        InputError: something cannot be used.
    """
    interval = interval_of(scenario.run)
    loaded = _load_signals(scenario, folder, interval)
    site = build_site(scenario, folder, loaded.signals, interval)
    return loaded.notes + _demand_notes(scenario) + _site_notes(site)


def simulate(
    scenario: Scenario,
    folder: Path,
    *,
    sink: TableSink | None = None,
    progress: Callable[[int, int], None] | None = None,
    compiled: bool | None = None,
    policies_in_python: bool = False,
) -> Result:
    """Run a scenario to its end.

    Args:
        scenario: checked.
        folder: relative paths in it start here.
        sink: where the tables go; None, or ``run.record = "totals"``: no tables.
        progress: called now and then with the ticks done and the ticks in all.
        compiled: force machine code or plain Python; None chooses by size.
        policies_in_python: run built-in policies through their `tick()`, for comparison.

    Raises:
        InputError: something in the scenario or its data cannot be used.
        PolicyError: a policy raised.
    """
    interval = interval_of(scenario.run)
    loaded = _load_signals(scenario, folder, interval)
    kept = sink if scenario.run.record == "all" else None
    site = build_site(scenario, folder, loaded.signals, interval, sink=kept, compiled=compiled)
    initial_level_wh = site.memory.get("above_line_wh")
    info = _run_info(scenario, site, loaded)
    both = scenario.run.baseline and any(app.policy.kind != "carbon-agnostic" for app in scenario.apps)
    total = interval.ticks * 2 if both else interval.ticks

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(done, total)

    Loop(site, policies_in_python=policies_in_python, progress=report).run(interval.ticks)
    apps = app_summaries(site)
    if scenario.run.baseline:
        agnostic = apps
        if both:

            def report_baseline(done: int, _: int) -> None:
                if progress is not None:
                    progress(interval.ticks + done, total)

            plain = build_site(scenario, folder, loaded.signals, interval, compiled=compiled, agnostic=True)
            Loop(plain, progress=report_baseline).run(interval.ticks)
            agnostic = app_summaries(plain)
        apps = with_baseline(apps, agnostic)
    summary = RunSummary(
        title=scenario.title or scenario.site.name,
        start_s=interval.start_s,
        tick_s=interval.tick_s,
        ticks=interval.ticks,
        apps=apps,
        site=site_summary(site, initial_level_wh),
        signals={name: _told(one) for name, one in loaded.by_name.items()},
        notes=loaded.notes + _demand_notes(scenario) + _site_notes(site) + _unmet_notes(apps),
    )
    return Result(summary, info)


# -- signals


def _told(one: LoadedSignal) -> str:
    """A signal's quality and origin, the quality first and once."""
    quality, origin = str(one.series.quality), one.series.origin
    return origin if origin.startswith(quality) else f"{quality}: {origin}"


def _load_signals(scenario: Scenario, folder: Path, interval: Interval) -> _Loaded:
    end_s = interval.start_s + interval.ticks * interval.tick_s
    by_name = {
        name: load_signal(
            name,
            signal,
            folder=folder,
            start_s=interval.start_s,
            end_s=end_s,
            tick_s=interval.tick_s,
            seed=scenario.run.seed,
        )
        for name, signal in scenario.signals.items()
    }
    notes = [f"signals.{name}: {note}" for name, one in by_name.items() for note in one.notes]
    if "carbon" not in by_name:
        notes.append("signals.carbon: not given, so the carbon of imports is unknown (unknown_carbon_wh)")
    traces = {
        name: (one.ticks, one.series.unit == "1") for name, one in by_name.items() if name not in ("carbon", "solar", "price")
    }

    def ticks_of(name: str, absent: float) -> array[float]:
        return by_name[name].ticks if name in by_name else array("d", [absent]) * interval.ticks

    signals = Signals(
        solar_w=ticks_of("solar", 0.0),
        carbon_intensity_g_per_kwh=ticks_of("carbon", math.nan),
        price_per_kwh=by_name["price"].ticks if "price" in by_name else None,
        traces=traces,
        forecasters={name: one.forecaster for name, one in by_name.items()},
    )
    return _Loaded(by_name, signals, notes)


# -- the site and its apps


def build_site(
    scenario: Scenario,
    folder: Path,
    signals: Signals,
    interval: Interval,
    *,
    sink: TableSink | None = None,
    compiled: bool | None = None,
    agnostic: bool = False,
) -> Site:
    """The site of a scenario with all its apps joined; ``agnostic`` gives every app the carbon-agnostic policy."""
    settings = scenario.site
    physical = PhysicalSite(
        battery=resolve_battery(settings.battery) if settings.battery else None,
        server=resolve_server(settings.server),
        servers=settings.servers,
        overhead_w=settings.overhead_w,
        grid_limit_w=INFINITY if settings.grid_limit_w is None else settings.grid_limit_w,
        export_limit_w=INFINITY if settings.export_limit_w is None else settings.export_limit_w,
        excess=tuple(settings.excess),
        solar_peak_w=max(signals.solar_w, default=0.0),
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
    site.join(*(_specification(app, f"apps[{k}]", scenario, folder, interval, agnostic) for k, app in enumerate(scenario.apps)))
    site.begin()
    return site


def _specification(app: App, where: str, scenario: Scenario, folder: Path, interval: Interval, agnostic: bool) -> AppSpec:
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
        workload=_workload(app.workload, f"{where}.workload", folder, interval),
        policy=CarbonAgnostic if agnostic else policy_maker(app.policy, f"{where}.policy", folder),
        containers=app.containers,
        cores=app.cores,
        count=app.count,
        workload_name=app.workload.kind,
        policy_name=app.policy.kind,
    )


def _workload(
    settings: WorkloadSettings, where: str, folder: Path, interval: Interval
) -> BatchJob | ConstantDemand | TracedDemand | Callable[[], Workload]:
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
        )
    if settings.kind == "constant":
        return ConstantDemand(demand_w=settings.demand_w or 0.0, start_s=start_s)
    if settings.kind == "trace":
        return TracedDemand(signal=settings.trace or "", start_s=start_s)
    make = plugin_maker("ecovisor.workloads", settings.kind, settings.options, folder, WORKLOAD_KINDS, where, ("demand_w", "run"))
    return cast("Callable[[], Workload]", make)


# -- notes and run.json


def _site_notes(site: Site) -> list[str]:
    notes = []
    battery = site.physical.battery
    if battery is not None and site.reserve_wh > 0.0:
        usable_wh = battery.capacity_wh * (1.0 - battery.empty_ratio)
        if site.reserve_wh > BUFFER_WARNING_RATIO * usable_wh:
            notes.append(
                f"site.battery: the solar buffer reserves {site.reserve_wh:.0f} Wh, {site.reserve_wh / usable_wh:.0%} of the "
                f"usable {usable_wh:.0f} Wh; a tick shorter than {human_duration(site.tick_s)} needs less"
            )
    if site.physical.grid_limit_w < INFINITY:
        without = [group.spec.name for group in site.groups if group.spec.shares.grid == 0.0]
        notes += [f"apps.{name}: no share of the grid, although site.grid_limit_w is set" for name in without]
    if site.physical.servers > 0:
        cores = sum(g.spec.count * g.spec.containers * g.spec.cores for g in site.groups)
        available = site.physical.servers * site.server.cores
        if cores > available:
            notes.append(f"site.servers: apps ask for {cores:g} cores, the servers have {available:g}")
    return notes


def _demand_notes(scenario: Scenario) -> list[str]:
    """Constant demands that the containers of the app could never draw."""
    notes = []
    server = resolve_server(scenario.site.server)
    for app in scenario.apps:
        most_w = app.containers * app.cores / server.cores * server.power_curve_w[-1]
        asked_w = app.workload.demand_w or 0.0
        if app.workload.kind == "constant" and asked_w > most_w:
            notes.append(
                f"apps.{app.name}.workload.demand_w: {asked_w:g} W is more than its {app.containers:g} container(s) of "
                f"{app.cores:g} cores draw at full load, {most_w:g} W; power caps below that do not slow it realistically"
            )
    return notes


def _unmet_notes(apps: list[Any]) -> list[str]:
    notes = []
    for app in apps:
        if app.deadline_met is False:
            notes.append(f"apps.{app.app}: deadline missed")
        if app.app != SITE_APP and app.work_total is not None and app.completed_s is None:
            notes.append(f"apps.{app.app}: not complete, {app.work_done / app.work_total:.0%} of its work is done")
        if app.unknown_carbon_wh > 0.0:
            notes.append(f"apps.{app.app}: {app.unknown_carbon_wh:.1f} Wh imported at unknown intensity")
    return notes


def _run_info(scenario: Scenario, site: Site, loaded: _Loaded) -> dict[str, object]:
    battery = site.physical.battery
    initial: dict[str, object] = {}
    shares: dict[str, object] = {}
    for group in site.all_groups:
        for copy, index in enumerate(group.indices):
            name = group.spec.name_of(copy)
            shares[name] = asdict(group.spec.shares)
            initial[name] = {
                "level_wh": site.get(index, "battery_level_wh"),
                "stored_carbon_g": site.get(index, "stored_carbon_g"),
            }
    physics: dict[str, object] = {
        "tick_s": site.tick_s,
        "excess": list(site.physical.excess),
        "grid_limit_w": _finite(site.physical.grid_limit_w),
        "export_limit_w": _finite(site.physical.export_limit_w) if "export" in site.physical.excess else 0.0,
        "battery": None
        if battery is None
        else {
            "capacity_wh": battery.capacity_wh,
            "empty_ratio": battery.empty_ratio,
            "charge_c_rate": battery.charge_c_rate,
            "discharge_c_rate": battery.discharge_c_rate,
            "charge_efficiency": battery.charge_efficiency,
            "discharge_efficiency": battery.discharge_efficiency,
            "self_discharge_per_hour": battery.self_discharge_per_hour,
            "reserve_wh": site.reserve_wh,
        },
        "server": {"cores": site.server.cores, "power_curve_w": list(site.server.power_curve_w)},
        "shares": shares,
        "initial": initial,
    }
    files = {path: checksum for one in loaded.by_name.values() for path, checksum in one.files}
    signals = {
        name: {"origin": one.series.origin, "quality": str(one.series.quality), "unit": one.series.unit}
        for name, one in loaded.by_name.items()
    }
    return {"physics": physics, "signals": signals, "files": files}


def _finite(value: float) -> float | None:
    return value if value < INFINITY else None

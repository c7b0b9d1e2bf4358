"""From a scenario to a site with its apps joined: the same for a simulation and for a site that runs live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import cast

from ecovisor.adapters import built_in
from ecovisor.adapters.plugins import plugin_maker
from ecovisor.adapters.policies import policy_maker
from ecovisor.adapters.scenario_checks import Interval, moment_s, span_s
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Series
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import ContainerWorkload, TableSink, Workload
from ecovisor.presets import ServerParameters, resolve_battery, resolve_server, shares_of
from ecovisor.settings import App, Scenario
from ecovisor.settings import Workload as WorkloadSettings
from ecovisor.workloads.models import BatchJob, ConstantDemand, Metered, TracedDemand

INFINITY = float("inf")
WORKLOAD_KINDS = ("batch", "constant", "trace", *built_in.WORKLOADS)
RATE_UNIT = "1/s"
_NO_SERIES: Mapping[str, Series] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What apps are made in."""

    folder: Path
    interval: Interval
    server: ServerParameters
    seed: int
    series: Mapping[str, Series]


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
    around = Surroundings(folder, interval, physical.server, scenario.run.seed, series)
    site.join(*(specification(app, f"apps[{k}]", around, agnostic=agnostic) for k, app in enumerate(scenario.apps)))
    site.begin()
    return site


def specification(app: App, where: str, around: Surroundings, *, agnostic: bool = False) -> AppSpec:
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
        workload=_workload(app.workload, f"{where}.workload", around),
        policy=CarbonAgnostic if agnostic else policy_maker(app.policy, f"{where}.policy", around.folder),
        start_s=_start_s(app.workload, f"{where}.workload", around),
        containers=app.containers if app.commands or app.workload.kind != "containers" else 0,
        cores=app.cores,
        count=app.count,
        commands=tuple(app.commands),
        workload_name=app.workload.kind,
        policy_name=app.policy.kind,
    )


def _start_s(settings: WorkloadSettings, where: str, around: Surroundings) -> float:
    start_s = around.interval.start_s
    return moment_s(settings.start, start_s, f"{where}.start") if settings.start else start_s


def _workload(
    settings: WorkloadSettings, where: str, around: Surroundings
) -> BatchJob | ConstantDemand | Metered | TracedDemand | Callable[[], Workload | ContainerWorkload]:
    start_s = _start_s(settings, where, around)
    match settings.kind:
        case "containers":
            return Metered()
        case "batch":
            table = settings.scaling_table
            job = BatchJob(
                work_core_h=settings.work_core_hours or 0.0,
                start_s=start_s,
                contention=settings.usl_contention,
                coherency=settings.usl_coherency,
                speed_table=tuple((cores, speed) for cores, speed in table) if table else None,
                idle_when_starved=settings.idle_when_starved,
            )
            return _with_checkpoints(job, settings, where)
        case "constant":
            return ConstantDemand(demand_w=settings.demand_w or 0.0, start_s=start_s)
        case "trace":
            trace = around.series.get(settings.trace or "")
            if trace is not None and trace.unit not in ("W", "1"):
                raise SettingsError(
                    f"{where}.trace", f"{settings.trace!r} is in {trace.unit}, a demand is in W or 1", "name another signal"
                )
            return TracedDemand(signal=settings.trace or "", start_s=start_s)
    if target := built_in.WORKLOADS.get(settings.kind):
        given: dict[str, Callable[[], object]] = {
            "server": lambda: around.server,
            "rate": lambda: _rate(settings, where, around),
            "seed": lambda: around.seed,
            "start_s": lambda: start_s,
        }
        make = built_in.built_in_maker(settings.kind, target, settings.options, where, given)
        if settings.kind not in built_in.BATCH_JOBS:
            return make
        scaling: built_in.ScalingModel = make()
        job = scaling.batch_job(work_core_h=settings.work_core_hours or 0.0, start_s=start_s)
        return _with_checkpoints(job, settings, where)
    roles = (("demand_w", "run"), ("demands_w", "run_containers"))
    make = plugin_maker("ecovisor.workloads", settings.kind, settings.options, around.folder, WORKLOAD_KINDS, where, roles)
    return cast("Callable[[], Workload | ContainerWorkload]", make)


def _with_checkpoints(job: BatchJob, settings: WorkloadSettings, where: str) -> BatchJob:
    """A batch job with what the schema says of every kind of them."""
    interval_s = settings.checkpoint_interval
    return replace(
        job,
        deadline_s=moment_s(settings.deadline, job.start_s, f"{where}.deadline") if settings.deadline else None,
        checkpoint_interval_s=span_s(interval_s, f"{where}.checkpoint_interval") if interval_s else 0.0,
        checkpoint_duration_s=span_s(settings.checkpoint_duration, f"{where}.checkpoint_duration"),
        restart_duration_s=span_s(settings.restart_duration, f"{where}.restart_duration"),
    )


def _rate(settings: WorkloadSettings, where: str, around: Surroundings) -> Series:
    """The request rate that a workload asks for by its trace."""
    trace = around.series.get(settings.trace or "")
    if trace is None:
        raise SettingsError(f"{where}.trace", f"{settings.kind} takes a whole trace, which a live site has not", "simulate it")
    if trace.unit != RATE_UNIT:
        raise SettingsError(
            f"{where}.trace", f"{settings.trace!r} is in {trace.unit}, {settings.kind} needs requests in {RATE_UNIT}",
            f'name a column in {RATE_UNIT}, or give its unit: unit = "{RATE_UNIT}"',
        )  # fmt: skip
    return trace

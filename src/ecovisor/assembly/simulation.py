"""Runs a scenario to its end and sums it up.

The scenario has been read and checked by `adapters.scenario_files`; tables go to the sink that the caller gives.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ecovisor.adapters import scenario_checks
from ecovisor.adapters.scenario_checks import Interval, interval_of
from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.adapters.signals.given import given_signal
from ecovisor.assembly.bounds import demand_solver, with_optimum
from ecovisor.assembly.notes import demand_notes, run_info, site_notes, unmet_notes
from ecovisor.assembly.site import RATE_UNIT, build_site
from ecovisor.engine.loop import Loop
from ecovisor.engine.report import app_summaries, site_summary, with_baseline
from ecovisor.engine.site import Signals
from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Series
from ecovisor.model.summary import RunSummary
from ecovisor.ports import Forecaster, TableSink
from ecovisor.settings import Scenario

INFINITY = float("inf")


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

    @property
    def series(self) -> dict[str, Series]:
        """For workloads that take a trace as it is."""
        return {name: one.series for name, one in self.by_name.items()}


def check(scenario: Scenario, folder: Path) -> list[str]:
    """Load everything that a run would load; returns notes.

    Raises:
        InputError: something cannot be used.
    """
    interval = interval_of(scenario.run)
    loaded = _load_signals(scenario, folder, interval)
    site = build_site(scenario, folder, loaded.signals, interval, series=loaded.series)
    return loaded.notes + demand_notes(scenario) + site_notes(site)


def simulate(
    scenario: Scenario,
    folder: Path,
    *,
    series: Mapping[str, Series] | None = None,
    forecasts: Mapping[str, Forecaster] | None = None,
    sink: TableSink | None = None,
    progress: Callable[[int, int], None] | None = None,
    compiled: bool | None = None,
    policies_in_python: bool = False,
    optimum: bool = False,
) -> Result:
    """Run a scenario to its end.

    Args:
        scenario: checked, unless there are ``series``: then it is checked here, with them.
        folder: relative paths in it start here.
        series: signals given in memory, by name, instead of `[signals.NAME]`: ``carbon`` in g/kWh, ``solar`` in W, ``price`` in 1/kWh,
            others in W, 1 or 1/s. One that is finer than the tick is averaged.
        forecasts: what answers for signals of ``series``; by default the series itself, a perfect forecast.
        sink: where the tables go; None, or ``run.record = "totals"``: no tables.
        progress: called now and then with the ticks done and the ticks in all.
        compiled: force machine code or plain Python; None chooses by size.
        policies_in_python: run built-in policies through their `tick()`, for comparison.
        optimum: also find the least carbon that each app's work could have had.

    Raises:
        InputError: something in the scenario or its data cannot be used.
        PolicyError: a policy raised.
    """
    if optimum:
        demand_solver()
    if series:
        scenario_checks.check(scenario, folder, given=series)
    interval = interval_of(scenario.run)
    loaded = _load_signals(scenario, folder, interval, series or {}, forecasts or {})
    kept = sink if scenario.run.record == "all" else None
    site = build_site(scenario, folder, loaded.signals, interval, series=loaded.series, sink=kept, compiled=compiled)
    initial_level_wh = site.memory.get("above_line_wh")
    info = run_info(site, loaded.by_name)
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

            plain = build_site(scenario, folder, loaded.signals, interval, series=loaded.series, compiled=compiled, agnostic=True)
            Loop(plain, progress=report_baseline).run(interval.ticks)
            agnostic = app_summaries(plain)
        apps = with_baseline(apps, agnostic)
    if optimum:
        apps = with_optimum(apps, scenario, site, interval)
    summary = RunSummary(
        title=scenario.title or scenario.site.name,
        start_s=interval.start_s,
        tick_s=interval.tick_s,
        ticks=interval.ticks,
        apps=apps,
        site=site_summary(site, initial_level_wh),
        signals={name: _told(one) for name, one in loaded.by_name.items()},
        notes=loaded.notes + demand_notes(scenario) + site_notes(site) + unmet_notes(apps),
    )
    return Result(summary, info)


# -- signals


def _told(one: LoadedSignal) -> str:
    """A signal's quality and origin, the quality first and once."""
    quality, origin = str(one.series.quality), one.series.origin
    return origin if origin.startswith(quality) else f"{quality}: {origin}"


def _load_signals(
    scenario: Scenario,
    folder: Path,
    interval: Interval,
    series: Mapping[str, Series] = MappingProxyType({}),
    forecasts: Mapping[str, Forecaster] = MappingProxyType({}),
) -> _Loaded:
    for k, app in enumerate(scenario.apps):
        if app.workload.kind == "containers":
            raise SettingsError(
                f"apps[{k}].workload.kind",
                f"{app.name!r} runs real containers, which cannot be simulated",
                f"serve the file, or give a workload: --set 'apps.{app.name}.workload={{kind=\"batch\", work_core_hours=10}}' "
                f"--set 'apps.{app.name}.commands=[]'",
            )
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
        if name not in series
    }
    by_name |= {
        name: given_signal(name, one, forecasts.get(name), start_s=interval.start_s, end_s=end_s, tick_s=interval.tick_s)
        for name, one in series.items()
    }
    notes = [f"signals.{name}: {note}" for name, one in by_name.items() for note in one.notes]
    if "carbon" not in by_name:
        notes.append("signals.carbon: not given, so the carbon of imports is unknown (unknown_carbon_wh)")
    traces = {
        name: (one.ticks, one.series.unit == "1")
        for name, one in by_name.items()
        if name not in ("carbon", "solar", "price") and one.series.unit != RATE_UNIT
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

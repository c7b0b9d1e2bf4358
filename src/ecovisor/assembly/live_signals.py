"""What drives a site that runs live: the sun of its emulated plant, its signals, and the engine's site upon them.

`live` makes a running site of it, `live_check` only looks whether it could be made.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ecovisor.adapters.scenario_checks import live_interval_of
from ecovisor.adapters.signals.live import PATIENCE_S, LiveSignal, plant_series
from ecovisor.assembly.site import build_site
from ecovisor.engine.site import Signals, Site
from ecovisor.model.series import Series
from ecovisor.model.units import duration_s
from ecovisor.ports import Forecaster, TableSink
from ecovisor.ports.live import Clock
from ecovisor.settings import Scenario, Serving


def sun_of(scenario: Scenario, folder: Path, tick_s: float) -> Series | None:
    """A year of the sun, or as much as there is."""
    signal = scenario.signals.get("solar")
    if signal is None:
        return None
    start_s = live_interval_of(scenario.run).start_s
    if scenario.run.start is None:
        start_s = time.time() // 86400.0 * 86400.0
    return plant_series(signal, folder=folder, start_s=start_s, tick_s=tick_s, seed=scenario.run.seed)


def signals_of(scenario: Scenario, serving: Serving, folder: Path, clock: Clock, tick_s: float) -> dict[str, LiveSignal]:
    """All signals, by name. In lockstep they are waited for, so that what is known does not depend on how long it takes to load."""
    return {
        name: LiveSignal(
            name,
            signal,
            folder=folder,
            clock=clock,
            tick_s=tick_s,
            seed=scenario.run.seed,
            max_age_s=duration_s(serving.max_age),
            patience_s=math.inf if serving.lockstep else PATIENCE_S,
        )
        for name, signal in scenario.signals.items()
    }


@dataclass(frozen=True, slots=True)
class _Sun:
    """What the sun is expected to be: the plant's own trace, which repeats."""

    series: Series

    def forecast(self, now_s: float, horizon_s: float) -> Series:
        """See `ports.Forecaster`."""
        series = self.series
        first = int((now_s - series.start_s) // series.step_s)
        count = max(1, -int(-(horizon_s + (now_s - series.start_s) - first * series.step_s) // series.step_s))
        values = array("d", (series.values[(first + k) % len(series.values)] for k in range(count)))
        return replace(series, start_s=series.start_s + first * series.step_s, values=values)


def site_of(
    scenario: Scenario,
    folder: Path,
    sink: TableSink | None,
    live_signals: Mapping[str, LiveSignal],
    clock: Clock,
    tick_s: float,
    sun: Series | None,
) -> Site:
    """The engine's site with the apps of the file joined; ``sink`` takes its tables."""
    forecasters: dict[str, Forecaster] = {name: one for name, one in live_signals.items() if name != "solar"}
    if sun is not None:
        forecasters["solar"] = _Sun(sun)
    traces = {
        name: (array("d", [0.0]), signal.unit == "1")
        for name, signal in scenario.signals.items()
        if name not in ("carbon", "solar", "price")
    }
    signals = Signals(
        solar_w=array("d", [0.0]), carbon_intensity_g_per_kwh=array("d", [float("nan")]), traces=traces, forecasters=forecasters
    )
    interval = live_interval_of(scenario.run)
    start_s = clock.site_s() if scenario.run.start is None else interval.start_s
    return build_site(
        scenario,
        folder,
        signals,
        replace(interval, start_s=start_s // tick_s * tick_s if scenario.run.start is None else start_s),
        sink=sink,
        solar_peak_w=0.0 if sun is None else max(sun.values),
    )

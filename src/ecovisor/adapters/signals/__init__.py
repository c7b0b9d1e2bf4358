"""Where signals come from: files, constants, models and plug-ins, each turned into a `Series` that covers the run.

`load_signal` is what `assembly` calls once a signal; the modules beside it hold one source each, and import what they need
(pyarrow, pvlib) when they are used. From here on signals are plain values, one a tick, and a forecaster.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from ecovisor.adapters.plugins import load_plugin
from ecovisor.adapters.signals.columns import fitting_units
from ecovisor.adapters.signals.constant import load_constant
from ecovisor.adapters.signals.files import load_file
from ecovisor.adapters.signals.modelled_carbon import load_modelled_carbon
from ecovisor.adapters.signals.modelled_solar import load_modelled_solar
from ecovisor.adapters.signals.pv import load_pv
from ecovisor.library.forecasts import ColumnForecaster, DayBeforeForecaster, PerfectForecaster, PersistenceForecaster
from ecovisor.model.errors import EcovisorError, SeriesError, SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.series import Series
from ecovisor.model.units import iso_utc
from ecovisor.ports import Forecaster
from ecovisor.settings import Signal

#: Built-in kinds.
KINDS = ("constant", "file", "modelled-carbon", "modelled-solar", "pvlib")
_FORECASTS = ("perfect", "persistence", "day-before", "column:NAME")


class SignalPlugin(Protocol):
    """A signal of one's own: an entry point in ``ecovisor.signals``, or ``file.py:Name``.

    It is called once, with the run's window and the signal's ``options`` as further keyword arguments, and answers with a
    series in the unit that the signal needs, covering ``[start_s, end_s)``.
    """

    def __call__(
        self, name: str, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int, **options: object
    ) -> Series: ...


@dataclass(frozen=True, slots=True)
class LoadedSeries:
    """A signal over a window.

    Attributes:
        series: the signal on its own step; it covers the window.
        forecaster: answers what it is expected to be.
        files: (path as given, SHA-256) of each file read.
        notes: what was chosen, estimated or moved, for people.
    """

    series: Series
    forecaster: Forecaster
    files: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LoadedSignal(LoadedSeries):
    """A signal, checked against the run.

    Attributes:
        ticks: its value in each tick of the run.
    """

    ticks: array[float] = field(default_factory=lambda: array("d"))


def load_signal(name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int) -> LoadedSignal:
    """Loads one signal for a run over ``[start_s, end_s)`` with ticks of ``tick_s`` seconds.

    Args:
        name: of the signal; `carbon` is in g/kWh, `solar` in W, `price` in 1/kWh, others in W, 1 or 1/s.
        signal: its settings.
        folder: folder of the scenario file; paths are relative to it.
        start_s: the run's first instant. [s since the epoch]
        end_s: first instant no longer in the run. [s since the epoch]
        tick_s: length of a tick. [s]
        seed: ``run.seed``; ``signal.seed`` overrides it.

    Raises:
        SettingsError: a setting is missing, unknown or out of bounds.
        SeriesError: the series cannot be used, or does not fit the run or its ticks.
    """
    loaded = load_series(name, signal, folder=folder, start_s=start_s, end_s=end_s, tick_s=tick_s, seed=seed)
    series = loaded.series
    ticks = series.on_ticks(start_s, tick_s, round((end_s - start_s) / tick_s), mean=signal.resample == "mean")
    return LoadedSignal(series, loaded.forecaster, loaded.files, loaded.notes, ticks)


def load_series(name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int) -> LoadedSeries:
    """Loads one signal over ``[start_s, end_s)``, on its own steps; arguments and errors as those of `load_signal`."""
    forecast_column: Series | None = None
    files: list[tuple[str, str]] = []
    notes: list[str] = []
    seed = seed if signal.seed is None else signal.seed
    if signal.options and signal.kind in KINDS and signal.kind != "file":
        raise SettingsError(f"signals.{name}.options", f"kind {signal.kind!r} has none", "remove it")
    if signal.kind == "constant":
        series = load_constant(name, signal, start_s=start_s, end_s=end_s, tick_s=tick_s)
    elif signal.kind == "file":
        loaded = load_file(name, signal, folder=folder, start_s=start_s, end_s=end_s)
        series, forecast_column, files, notes = loaded.series, loaded.forecast, loaded.files, loaded.notes
    elif signal.kind == "modelled-carbon":
        series = load_modelled_carbon(name, signal, start_s=start_s, end_s=end_s, seed=seed)
    elif signal.kind == "modelled-solar":
        series = load_modelled_solar(name, signal, start_s=start_s, end_s=end_s, tick_s=tick_s, seed=seed)
    elif signal.kind == "pvlib":
        series, files, notes = load_pv(name, signal, folder=folder, start_s=start_s, end_s=end_s, tick_s=tick_s)
    else:
        series = _from_plugin(name, signal, folder=folder, start_s=start_s, end_s=end_s, tick_s=tick_s, seed=seed)
    return LoadedSeries(series, _forecaster(name, signal, series, forecast_column), files, notes)


def _from_plugin(name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int) -> Series:
    where = f"signals.{name}.kind"
    plugin = load_plugin("ecovisor.signals", signal.kind, folder, KINDS, where)
    if not callable(plugin):
        raise SettingsError(where, f"{signal.kind!r} is a {type(plugin).__name__}, no callable", "name a function or class")
    call = cast("SignalPlugin", plugin)
    try:
        series = call(name, folder=folder, start_s=start_s, end_s=end_s, tick_s=tick_s, seed=seed, **signal.options)
    except EcovisorError:
        raise
    except Exception as error:
        told = " ".join(str(error).split())
        raise SeriesError(
            f"signals.{name} ({signal.kind})", f"raised {type(error).__name__}: {told}", "repair the plug-in"
        ) from error
    if not isinstance(series, Series):
        raise SeriesError(f"signals.{name} ({signal.kind})", f"gave a {type(series).__name__}", "return an ecovisor Series")
    check_series(name, series, start_s, end_s, signal.kind)
    return series


def check_series(name: str, series: Series, start_s: float, end_s: float, kind: str) -> None:
    """What files are held to, for a series that somebody else's code made.

    Raises:
        SeriesError: a unit that does not fit, or a value in the run that is not finite or is negative.
    """
    where = f"signals.{name} ({kind})"
    if series.unit not in fitting_units(name):
        raise SeriesError(where, f"is in {series.unit!r}, needs {' or '.join(fitting_units(name))}", "convert it")
    for k, value in enumerate(series.values):
        time_s = series.start_s + k * series.step_s
        if start_s - series.step_s < time_s < end_s and (not math.isfinite(value) or (value < 0.0 and name != "price")):
            raise SeriesError(
                where,
                f"{value:g} {series.unit} at {iso_utc(time_s)} is out of bounds, it must be finite and at least 0",
                "repair it",
            )


def _forecaster(name: str, signal: Signal, series: Series, forecast_column: Series | None) -> Forecaster:
    if forecast_column is not None:
        return ColumnForecaster(forecast_column)
    match signal.forecast:
        case "perfect":
            return PerfectForecaster(series)
        case "persistence":
            return PersistenceForecaster(series)
        case "day-before":
            return DayBeforeForecaster(series)
    where = f"signals.{name}.forecast"
    if signal.forecast.startswith("column:"):
        raise SettingsError(where, f"{signal.forecast!r} needs kind = 'file'", "choose perfect, persistence or day-before")
    raise SettingsError(where, f"unknown forecast {signal.forecast!r}", did_you_mean(signal.forecast, _FORECASTS))

"""A signal that is given in memory: a series that somebody has made or loaded already, held to what files are held to."""

from __future__ import annotations

from ecovisor.adapters.signals import LoadedSignal, check_series
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.model.series import Series
from ecovisor.ports import Forecaster


def given_signal(
    name: str, series: Series, forecaster: Forecaster | None, *, start_s: float, end_s: float, tick_s: float
) -> LoadedSignal:
    """A series as the signal of a run over ``[start_s, end_s)``; one that is finer than the tick is averaged.

    Args:
        name: of the signal: its unit has to fit.
        series: it covers the run.
        forecaster: answers what it is expected to be; None: the series itself, which is a perfect forecast.
        start_s, end_s: the run. [s since the epoch]
        tick_s: length of a tick. [s]

    Raises:
        SeriesError: it cannot be used, or does not fit the run or its ticks.
    """
    check_series(name, series, start_s, end_s, "given")
    ticks = series.on_ticks(start_s, tick_s, round((end_s - start_s) / tick_s), mean=tick_s > series.step_s)
    return LoadedSignal(series, forecaster or PerfectForecaster(series), ticks=ticks)

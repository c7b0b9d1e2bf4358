"""Forecasters: what a signal is expected to be, from its own past, its future (perfect) or a forecast that came with the trace.

Pure functions of a `Series` and an instant, shared by engine and client. A step's value counts as published when the step has
ended, so the honest ones look only at steps that ended by ``now_s``. `adapters.signals` picks the one a signal names.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace

from ecovisor.model.series import Quality, Series

_DAY_S = 86400.0
#: Instants are multiples of milliseconds at most; this much of a step is rounding.
_ROUNDING = 1e-6


def _first_step(series: Series, now_s: float) -> int:
    """Index of the step that holds at ``now_s``; may lie outside the series."""
    return math.floor((now_s - series.start_s) / series.step_s + _ROUNDING)


def _step_after(series: Series, end_s: float) -> int:
    """Index of the first step that starts at or after ``end_s``."""
    return math.ceil((end_s - series.start_s) / series.step_s - _ROUNDING)


def _answer(series: Series, first: int, values: array[float], method: str) -> Series:
    """``values`` from step ``first`` on, up to the first that is missing."""
    if math.isnan(sum(values)):
        values = values[: next(k for k, value in enumerate(values) if math.isnan(value))]
    return replace(
        series,
        start_s=series.start_s + first * series.step_s,
        values=values,
        quality=Quality.FORECAST,
        origin=f"{method} of {series.origin or series.name}",
    )


@dataclass(frozen=True, slots=True)
class PerfectForecaster:
    """Knows the future: answers with what the signal will be, up to the end of the trace."""

    series: Series

    def forecast(self, now_s: float, horizon_s: float) -> Series:
        """The signal itself over ``[now_s, now_s + horizon_s)``."""
        first = max(_first_step(self.series, now_s), 0)
        end = max(_step_after(self.series, now_s + horizon_s), first)
        return _answer(self.series, first, self.series.values[first:end], "perfect forecast")


@dataclass(frozen=True, slots=True)
class ColumnForecaster:
    """Answers with a forecast that was recorded beside the signal (a day-ahead forecast, say), published in good time.

    Attributes:
        series: the forecast for each step.
    """

    series: Series

    def forecast(self, now_s: float, horizon_s: float) -> Series:
        """The recorded forecast over ``[now_s, now_s + horizon_s)``."""
        first = max(_first_step(self.series, now_s), 0)
        end = max(_step_after(self.series, now_s + horizon_s), first)
        return _answer(self.series, first, self.series.values[first:end], "forecast column")


@dataclass(frozen=True, slots=True)
class PersistenceForecaster:
    """Expects that the last published value holds. Before the first is published it answers with no steps at all."""

    series: Series

    def forecast(self, now_s: float, horizon_s: float) -> Series:
        """The last published value over ``[now_s, now_s + horizon_s)``."""
        first = _first_step(self.series, now_s)
        count = max(_step_after(self.series, now_s + horizon_s) - first, 0)
        return _answer(self.series, first, array("d", [_last_published(self.series, first)]) * count, "persistence")


@dataclass(frozen=True, slots=True)
class DayBeforeForecaster:
    """Expects each value of the day before; where none is published, the last published value.

    For instants more than a day ahead it is the latest day that is known at the same time of day.
    """

    series: Series

    def forecast(self, now_s: float, horizon_s: float) -> Series:
        """The day before, over ``[now_s, now_s + horizon_s)``."""
        series = self.series
        first = _first_step(series, now_s)
        end = max(_step_after(series, now_s + horizon_s), first)
        day = max(round(_DAY_S / series.step_s), 1)
        fallback = _last_published(series, first)
        known = series.values
        expected = array("d")
        for k in range(first, end):
            before = k - day * ((k - first) // day + 1)
            value = known[before] if 0 <= before < len(known) else math.nan
            expected.append(fallback if math.isnan(value) else value)
        return _answer(series, first, expected, "day before")


def _last_published(series: Series, first: int) -> float:
    """The last value known before step ``first``; NaN where there is none."""
    for k in range(min(first, len(series.values)) - 1, -1, -1):
        value = series.values[k]
        if not math.isnan(value):
            return value
    return math.nan

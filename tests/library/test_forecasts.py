"""Forecasts: what each may know, and what it then says."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.library.forecasts import ColumnForecaster, DayBeforeForecaster, PerfectForecaster, PersistenceForecaster
from ecovisor.model.series import Quality, Series
from ecovisor.ports import Forecaster

HOUR = 3600.0
DAY = 86400.0


def hourly(values: list[float]) -> Series:
    return Series("carbon", "g/kWh", 0.0, HOUR, array("d", values))


THREE_DAYS = hourly([float(k) for k in range(72)])
ALL = [PerfectForecaster, ColumnForecaster, PersistenceForecaster, DayBeforeForecaster]


@pytest.mark.parametrize("kind", ALL)
def test_every_forecast_is_labelled_and_starts_with_the_step_that_holds_now(kind: type) -> None:
    forecaster = kind(THREE_DAYS)
    assert isinstance(forecaster, Forecaster)
    answer = forecaster.forecast(30 * HOUR + 100.0, 2 * HOUR)
    assert answer.quality is Quality.FORECAST
    assert (answer.start_s, answer.step_s, answer.unit) == (30 * HOUR, HOUR, "g/kWh")
    assert answer.end_s == 33 * HOUR


def test_a_perfect_forecast_is_the_signal_itself_and_ends_with_it() -> None:
    assert list(PerfectForecaster(THREE_DAYS).forecast(10 * HOUR, 3 * HOUR).values) == [10.0, 11.0, 12.0]
    assert list(PerfectForecaster(THREE_DAYS).forecast(70 * HOUR, DAY).values) == [70.0, 71.0]
    assert not PerfectForecaster(THREE_DAYS).forecast(80 * HOUR, DAY).values


def test_persistence_holds_the_last_value_that_was_published() -> None:
    assert list(PersistenceForecaster(THREE_DAYS).forecast(10 * HOUR, 3 * HOUR).values) == [9.0] * 3


def test_persistence_says_nothing_before_the_first_value_is_published() -> None:
    assert not PersistenceForecaster(THREE_DAYS).forecast(0.0, DAY).values


def test_the_day_before_repeats_yesterday_however_far_ahead() -> None:
    answer = DayBeforeForecaster(THREE_DAYS).forecast(48 * HOUR, 2 * DAY)
    assert list(answer.values) == [float(k) for k in range(24, 48)] * 2


def test_without_a_day_before_the_last_value_is_held() -> None:
    assert list(DayBeforeForecaster(THREE_DAYS).forecast(10 * HOUR, 2 * HOUR).values) == [9.0, 9.0]
    with_gap = hourly([1.0, math.nan, 3.0, *range(3, 30)])
    assert list(DayBeforeForecaster(with_gap).forecast(24 * HOUR, 3 * HOUR).values) == [1.0, 23.0, 3.0]


def test_a_recorded_forecast_is_given_as_recorded() -> None:
    assert list(ColumnForecaster(THREE_DAYS).forecast(5 * HOUR, 2 * HOUR).values) == [5.0, 6.0]


def test_a_forecast_ends_where_a_value_is_missing() -> None:
    assert list(PerfectForecaster(hourly([1.0, 2.0, math.nan, 4.0])).forecast(0.0, DAY).values) == [1.0, 2.0]


@given(now=st.integers(0, 71 * 60), horizon=st.integers(1, 72), change=st.integers(0, 71))
def test_an_honest_forecast_does_not_depend_on_the_future(now: int, horizon: int, change: int) -> None:
    now_s = now * 60.0
    other = list(THREE_DAYS.values)
    if (change + 1) * HOUR > now_s:
        other[change] += 1000.0
    for kind in (PersistenceForecaster, DayBeforeForecaster):
        told = kind(THREE_DAYS).forecast(now_s, horizon * HOUR)
        assert kind(hourly(other)).forecast(now_s, horizon * HOUR).values == told.values

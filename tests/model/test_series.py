"""A series on ticks: held or averaged, energy conserved, misalignment and shortness refused."""

from __future__ import annotations

import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.model.errors import SeriesError
from ecovisor.model.series import Series

HOUR = 3600.0
POWERS = st.lists(st.floats(0.0, 1e6), min_size=1, max_size=48)


def series(values: list[float], step_s: float = HOUR, start_s: float = 0.0) -> Series:
    return Series("solar", "W", start_s, step_s, array("d", values))


@given(values=POWERS, ticks_per_step=st.sampled_from([1, 2, 3, 4, 12, 60, 3600]))
def test_holding_a_step_over_its_ticks_conserves_energy(values: list[float], ticks_per_step: int) -> None:
    trace = series(values)
    tick_s = HOUR / ticks_per_step
    ticks = trace.on_ticks(0.0, tick_s, len(values) * ticks_per_step)
    assert math.fsum(ticks) * tick_s == pytest.approx(math.fsum(values) * HOUR, rel=1e-12)
    assert all(ticks[k] == values[k // ticks_per_step] for k in range(len(ticks)))


@given(values=POWERS, steps_per_tick=st.integers(1, 8))
def test_averaging_steps_into_a_tick_conserves_energy(values: list[float], steps_per_tick: int) -> None:
    count = len(values) // steps_per_tick
    if count:
        ticks = series(values).on_ticks(0.0, HOUR * steps_per_tick, count, mean=True)
        used = values[: count * steps_per_tick]
        assert math.fsum(ticks) * steps_per_tick == pytest.approx(math.fsum(used), rel=1e-12)


@given(values=st.lists(st.floats(0.0, 1e6), min_size=4, max_size=48), data=st.data())
def test_any_window_is_the_same_part_of_the_whole(values: list[float], data: st.DataObject) -> None:
    whole = series(values).on_ticks(0.0, 900.0, len(values) * 4)
    first = data.draw(st.integers(0, len(whole) - 1))
    count = data.draw(st.integers(1, len(whole) - first))
    assert series(values).on_ticks(first * 900.0, 900.0, count) == whole[first : first + count]


def test_a_missing_value_stays_missing_and_makes_a_mean_missing() -> None:
    trace = series([1.0, math.nan, 3.0, 4.0])
    assert [math.isnan(v) for v in trace.on_ticks(0.0, HOUR, 4)] == [False, True, False, False]
    means = trace.on_ticks(0.0, 2 * HOUR, 2, mean=True)
    assert math.isnan(means[0])
    assert means[1] == 3.5


def test_a_trace_shorter_than_the_run_is_refused() -> None:
    for start_s, count in ((0.0, 3), (-HOUR, 1)):
        with pytest.raises(SeriesError, match="covers 1970-01-01T00:00:00Z to 1970-01-01T02:00:00Z, the run needs"):
            series([1.0, 2.0]).on_ticks(start_s, HOUR, count)


def test_a_tick_that_does_not_divide_the_step_is_refused() -> None:
    with pytest.raises(SeriesError, match="the tick of 7 min does not divide its step of 1 h"):
        series([1.0]).on_ticks(0.0, 420.0, 2)


def test_a_start_off_the_grid_is_refused() -> None:
    with pytest.raises(SeriesError, match="is not a whole number of ticks after"):
        series([1.0, 2.0]).on_ticks(100.0, 900.0, 2)
    with pytest.raises(SeriesError, match="is not a whole number of its steps after"):
        series([1.0, 2.0, 3.0]).on_ticks(100.0, 2 * HOUR, 1, mean=True)


def test_a_trace_finer_than_the_tick_is_averaged_only_when_asked() -> None:
    with pytest.raises(SeriesError, match='set resample = "mean"'):
        series([1.0, 2.0]).on_ticks(0.0, 2 * HOUR, 1)
    with pytest.raises(SeriesError, match="is no whole number of its steps"):
        series([1.0, 2.0]).on_ticks(0.0, 1.5 * HOUR, 1, mean=True)


def test_the_error_names_signal_and_origin() -> None:
    trace = Series("solar", "W", 0.0, HOUR, array("d", [1.0]), origin="a.csv, column 'x'")
    with pytest.raises(SeriesError, match=r"signals\.solar \(a\.csv, column 'x'\)"):
        trace.on_ticks(0.0, HOUR, 2)

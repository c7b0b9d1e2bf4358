"""Traces laid over a run: repeated, moved by years, leap days accounted for."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.adapters.signals.grid import Grid
from ecovisor.adapters.signals.placement import Placement, place
from ecovisor.model.errors import SeriesError

HOUR = 3600.0


def at(*when: int) -> float:
    return datetime(*when, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc]


def trace(first: float, last: float, step_s: float = HOUR) -> Grid:
    count = round((last - first) / step_s)
    times = array("d", [first + k * step_s for k in range(count)])
    return Grid("t.csv", first, step_s, array("d", range(count)), times, range(2, count + 2))


def source(grid: Grid, placed: Placement, when: float) -> datetime:
    """The instant in the trace whose value stands at ``when``."""
    k = placed.indices[round((when - placed.start_s) // grid.step_s)]
    return datetime.fromtimestamp(grid.start_s + k * grid.step_s, UTC)


def test_a_trace_that_covers_the_run_is_not_moved() -> None:
    grid = trace(at(2019, 1, 1), at(2022, 1, 1))
    placed = place(grid, at(2020, 3, 1), at(2020, 4, 1), align_year=True, repeat=True)
    assert placed == Placement(grid.start_s, range(len(grid.values)))


@given(year=st.integers(1970, 2040), run_year=st.integers(1971, 2040), day=st.integers(0, 364), hour=st.integers(0, 23))
def test_every_value_keeps_its_calendar_day_and_hour(year: int, run_year: int, day: int, hour: int) -> None:
    grid = trace(at(year, 1, 1), at(year + 1, 1, 1))
    placed = place(grid, at(run_year, 1, 1), at(run_year + 1, 1, 1), align_year=True, repeat=False)
    when = datetime(run_year, 1, 1, tzinfo=UTC) + timedelta(days=day, hours=hour)
    taken = source(grid, placed, when.timestamp())
    expected_day = 28 if (when.month, when.day) == (2, 29) and taken.year % 4 else when.day
    assert (taken.year, taken.month, taken.day, taken.hour) == (year, when.month, expected_day, when.hour)
    assert placed.end_s(HOUR) == at(run_year + 1, 1, 1)


def test_the_leap_day_is_explained() -> None:
    longer = place(trace(at(2019, 1, 1), at(2020, 1, 1)), at(2020, 1, 1), at(2021, 1, 1), align_year=True, repeat=False)
    assert longer.notes == ("moved by +1 years, 29 February as the day before it",)
    shorter = place(trace(at(2016, 1, 1), at(2017, 1, 1)), at(2021, 1, 1), at(2022, 1, 1), align_year=True, repeat=False)
    assert shorter.notes == ("moved by +5 years, 29 February left out",)


@pytest.mark.parametrize("first", [at(2016, 1, 10), at(2016, 2, 29), at(2016, 2, 29, 12), at(2016, 3, 5)])
def test_a_part_of_a_leap_year_moves_too(first: float) -> None:
    grid = trace(first, at(2016, 6, 1))
    placed = place(grid, at(2021, 4, 1), at(2021, 5, 1), align_year=True, repeat=False)
    assert source(grid, placed, at(2021, 4, 1)) == datetime(2016, 4, 1, tzinfo=UTC)
    assert placed.end_s(HOUR) == at(2021, 6, 1)


def test_january_alone_loses_no_day() -> None:
    grid = trace(at(2016, 1, 1), at(2016, 2, 1))
    assert len(place(grid, at(2021, 1, 1), at(2021, 2, 1), align_year=True, repeat=False).indices) == 31 * 24


def test_a_step_that_does_not_fit_days_cannot_pass_a_leap_day() -> None:
    with pytest.raises(SeriesError, match="moving 2016 to 2021 meets 29 February"):
        place(trace(at(2016, 1, 1), at(2016, 6, 1), 7 * HOUR), at(2021, 1, 1), at(2021, 2, 1), align_year=True, repeat=False)


def test_the_move_that_covers_the_run_is_chosen() -> None:
    grid = trace(at(2019, 12, 20), at(2021, 1, 9))
    placed = place(grid, at(2023, 12, 25), at(2024, 1, 5), align_year=True, repeat=False)
    assert source(grid, placed, at(2023, 12, 25)).year in (2019, 2020)


@given(hours=st.integers(1, 50), offset=st.integers(0, 500), length=st.integers(1, 100))
def test_a_repeated_trace_starts_again_from_its_first_value(hours: int, offset: int, length: int) -> None:
    grid = trace(0.0, hours * HOUR)
    placed = place(grid, offset * HOUR, (offset + length) * HOUR, align_year=False, repeat=True)
    for k in range(offset, offset + length):
        assert placed.indices[round((k * HOUR - placed.start_s) / HOUR)] == k % hours


def test_a_repeat_is_noted_and_goes_on_after_the_run_for_forecasts() -> None:
    placed = place(trace(0.0, 48 * HOUR), 0.0, 96 * HOUR, align_year=False, repeat=True)
    assert placed.notes == ("repeated from its start every 2 d",)
    assert placed.end_s(HOUR) == (96 + 7 * 24) * HOUR


def test_a_run_before_the_trace_is_refused_even_when_it_repeats() -> None:
    with pytest.raises(SeriesError, match="covers 1970-01-02T00:00:00Z to 1970-01-03"):
        place(trace(24 * HOUR, 48 * HOUR), 0.0, 10 * HOUR, align_year=False, repeat=True)

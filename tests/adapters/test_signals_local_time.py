"""Local times with summer time: what the zone's rules and the order of rows tell is used, what they do not tell is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecovisor.adapters.signals.columns import ValueColumn
from ecovisor.adapters.signals.files import read_grid
from ecovisor.adapters.signals.grid import Grid, gaps
from ecovisor.adapters.signals.instants import read_instants
from ecovisor.adapters.signals.tables import Table
from ecovisor.model.errors import SeriesError

BERLIN = "Europe/Berlin"


def local(times: list[str], values: list[str] | None = None, zone: str = BERLIN) -> Grid:
    cells = {0: times, 1: values or [str(k) for k in range(len(times))]}
    table = Table("t.csv", ["time", "x"], range(2, len(times) + 2), "", lambda index: cells[index])
    return read_grid(table, 0, ValueColumn(1, "x", "W", 1.0), zone)


def test_the_same_hour_twice_is_first_summer_then_winter_time() -> None:
    grid = local(["2021-10-31T01:00", "2021-10-31T02:00", "2021-10-31T02:00", "2021-10-31T03:00"])
    assert list(grid.values) == [0.0, 1.0, 2.0, 3.0]
    assert grid.start_s == datetime(2021, 10, 30, 23, tzinfo=UTC).timestamp()
    assert grid.step_s == 3600.0


def test_half_hours_of_a_repeated_hour_are_told_apart_by_their_order() -> None:
    grid = local([f"2021-10-31T0{h}:{m:02d}" for h in (1, 2, 2, 3) for m in (0, 30)])
    assert grid.step_s == 1800.0
    assert len(grid.values) == 8
    assert not gaps(grid.values)


def test_a_repeated_hour_given_once_leaves_a_gap() -> None:
    grid = local([f"2021-10-31T0{h}:00" for h in range(5)])
    assert gaps(grid.values) == [(3, 1)]


def test_the_hour_skipped_in_spring_is_no_gap() -> None:
    grid = local(["2021-03-28T01:00", "2021-03-28T03:00", "2021-03-28T04:00"])
    assert list(grid.values) == [0.0, 1.0, 2.0]


def test_an_empty_row_in_the_skipped_hour_is_left_out() -> None:
    grid = local(["2021-03-28T01:00", "2021-03-28T02:00", "2021-03-28T03:00", "2021-03-28T04:00"], ["1", "", "3", "4"])
    assert list(grid.values) == [1.0, 3.0, 4.0]


def test_a_value_in_the_skipped_hour_is_refused() -> None:
    with pytest.raises(SeriesError, match=r"t\.csv: row 3, column 'time': 2021-03-28T02:00 never was in Europe/Berlin"):
        local(["2021-03-28T01:00", "2021-03-28T02:00", "2021-03-28T03:00"])


def test_a_series_that_starts_in_a_repeated_hour_is_refused() -> None:
    with pytest.raises(SeriesError, match=r"row 2, column 'time': .* happened twice"):
        local(["2021-10-31T02:00", "2021-10-31T03:00"])


@given(
    zone=st.sampled_from([BERLIN, "America/Los_Angeles", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    start=st.datetimes(datetime.fromisoformat("2015-01-01"), datetime.fromisoformat("2025-01-01")),
    step_min=st.sampled_from([5, 15, 30, 60]),
)
@example(zone="Australia/Lord_Howe", start=datetime(2016, 3, 26), step_min=60)
def test_local_times_of_a_regular_series_come_back_as_the_instants_they_were(zone: str, start: datetime, step_min: int) -> None:
    first = start.replace(minute=0, second=0, microsecond=0, tzinfo=UTC)
    instants = [first + timedelta(minutes=step_min * k) for k in range(200)]
    shown = [when.astimezone(ZoneInfo(zone)) for when in instants]
    cells = [when.replace(tzinfo=None).isoformat() for when in shown]
    if shown[0].replace(fold=0).utcoffset() != shown[0].replace(fold=1).utcoffset():
        with pytest.raises(SeriesError, match="happened twice"):
            read_instants(cells, range(200), "t.csv: column 'time'", zone=zone)
    else:
        read = read_instants(cells, range(200), "t.csv: column 'time'", zone=zone)
        assert list(read) == [when.timestamp() for when in instants]

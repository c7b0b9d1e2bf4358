"""Hours and days as clocks show them, the days on which clocks change among them."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.model.errors import InputError

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu")


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("zone", "date", "hours"),
    [
        ("Europe/Berlin", "2021-03-28", 23),
        ("Europe/Berlin", "2021-10-31", 25),
        ("Europe/Berlin", "2021-06-01", 24),
        ("America/New_York", "2021-03-14", 23),
        ("America/New_York", "2021-11-07", 25),
        ("America/Santiago", "2021-09-05", 23),  # without a midnight: the clocks go from 24:00 to 1:00
        ("Asia/Kolkata", "2021-03-28", 24),
        ("UTC", "2021-03-28", 24),
    ],
)
def test_the_day_on_which_clocks_change_has_23_or_25_hours(zone: str, date: str, hours: int) -> None:
    calendar = Calendar(zone)
    noon_s = datetime.fromisoformat(f"{date}T12:00").replace(tzinfo=ZoneInfo(zone)).timestamp()
    start_s = calendar.day_s(noon_s)
    end_s = calendar.day_s(start_s + 26 * 3600.0)
    assert (end_s - start_s) / 3600.0 == hours
    assert len(calendar.hours(start_s, end_s)) == hours + 1
    assert calendar.days(start_s, end_s) == [start_s, end_s]
    assert str(calendar.local(start_s).date()) == date


def test_the_day_with_half_an_hour_less_has_a_short_hour() -> None:
    calendar = Calendar("Australia/Lord_Howe")
    start_s = calendar.day_s(utc("2021-10-02T14:00"))
    edges = calendar.hours(start_s, calendar.day_s(start_s + 26 * 3600.0))
    lengths = [later - earlier for earlier, later in pairwise(edges)]
    assert sum(lengths) == 23.5 * 3600.0
    assert sorted(set(lengths)) in ([1800.0, 3600.0], [3600.0, 5400.0])


@given(st.sampled_from(ZONES), st.floats(0.0, 4e9), st.floats(1.0, 400_000.0))
def test_hours_and_days_contain_their_instants_and_follow_each_other(zone: str, time_s: float, span_s: float) -> None:
    calendar = Calendar(zone)
    assert calendar.hour_s(time_s) <= time_s < calendar.hour_s(time_s) + 5400.0
    assert calendar.day_s(time_s) <= time_s < calendar.day_s(time_s) + 26 * 3600.0
    assert calendar.hour_s(time_s) <= calendar.hour_s(time_s + span_s)
    assert calendar.day_s(time_s) <= calendar.day_s(time_s + span_s)
    for edges in (calendar.hours(time_s, time_s + span_s), calendar.days(time_s, time_s + span_s)):
        assert edges[0] == time_s
        assert edges[-1] == time_s + span_s
        assert edges == sorted(set(edges))
    assert calendar.local(calendar.hour_s(time_s)).second == 0


def test_hours_of_a_zone_half_an_hour_off_begin_at_half_past() -> None:
    calendar = Calendar("Asia/Kolkata")
    assert calendar.hour_s(utc("2021-03-01T10:29")) == utc("2021-03-01T09:30")
    assert calendar.hour_s(utc("2021-03-01T10:30")) == utc("2021-03-01T10:30")


@pytest.mark.parametrize("name", ["Nowhere/City", "", "../etc/passwd", "CET+1"])
def test_an_unknown_zone_is_one_line(name: str) -> None:
    with pytest.raises(InputError, match="timezone: .* is unknown here; give an IANA name"):
        Calendar(name)

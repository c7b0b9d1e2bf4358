"""Notifications from the ledger: all of them, once, in the order of their ids, from wherever a reader stopped."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.adapters.ledger import made
from tests.adapters.ledger.made import START_S, Made

from ecovisor import wire
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.model.errors import SettingRefused
from ecovisor.model.units import instant_s
from ecovisor.ports import Event


def told(tmp_path: Path) -> tuple[Ledger, list[wire.Notification]]:
    """A ledger with ticks, a gap and events, opened twice, and what its commits returned."""
    ticks = made.ticks(6)
    ticks[1].events = [Event(ticks[1].end_s, "a", "battery_full"), Event(ticks[1].end_s, "b", "budget_80", "8 of 10 g", 8.0)]
    ticks[3].events = [Event(ticks[3].end_s, "_site", "late", "by 3 s"), Event(ticks[3].end_s, "_site", "shares", "a: 0.5")]
    gap = Made(None, ticks[3].end_s, 300.0, [made.row(random.Random(1), "_site", 300.0, containers=())])
    gap.events = [Event(gap.start_s, "_site", "gap", "300 s"), Event(gap.end_s, "a", "container_exited", "c1")]
    rest = made.ticks(2, start_s=gap.end_s, first=4)
    rest[0].events = [Event(rest[0].end_s, "a", "battery_empty")]
    found: list[wire.Notification] = []
    with Ledger.open(tmp_path) as ledger:
        for one in ticks[:4]:
            found += ledger.commit(one.batch(ledger)).notifications
    ledger = Ledger.open(tmp_path)
    for one in (gap, *rest):
        found += ledger.commit(one.batch(ledger)).notifications
    return ledger, found


def key(one: wire.Notification) -> tuple[int, ...]:
    return tuple(map(int, one.id.split(".")))


def test_what_commits_returned_is_what_is_read_later(tmp_path: Path) -> None:
    ledger, found = told(tmp_path)
    with ledger:
        assert ledger.events(None) == found
        assert [one.id for one in found] == [
            "1.0", "2.0", "2.1", "2.2", "3.0", "4.0", "4.1", "4.2", "4.3", "4.4", "5.0", "5.1", "6.0",
        ]  # fmt: skip
        assert [key(one) for one in found] == sorted({key(one) for one in found})
        assert all(one.tick == key(one)[0] for one in found)
        assert found[3].value == 8.0
        assert found[3].detail == "8 of 10 g"


def test_a_tick_event_tells_the_coming_tick_and_when_it_begins(tmp_path: Path) -> None:
    ledger, found = told(tmp_path)
    with ledger:
        first = ledger.events("b", limit=1)[0]
        assert (first.kind, first.app, first.tick, first.detail, first.value) == ("tick", "b", 1, "", None)
        assert instant_s(first.time) == START_S + 60.0
        assert instant_s(first.wall_time) == START_S + 60.25
        assert found[0].app == "_site"


def test_an_app_sees_its_own_the_ticks_and_what_concerns_everybodys_time(tmp_path: Path) -> None:
    ledger, _ = told(tmp_path)
    with ledger:
        assert [(one.id, one.kind) for one in ledger.events("b") if one.kind != "tick"] == [
            ("2.2", "budget_80"),
            ("4.1", "late"),
            ("4.3", "gap"),
        ]
        assert [one.id for one in ledger.events("_site") if one.kind != "tick"] == ["4.1", "4.2", "4.3"]
        assert {one.app for one in ledger.events("nobody")} == {"nobody", "_site"}


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("app", [None, "a", "b"])
def test_a_reader_that_goes_on_from_its_last_id_misses_and_repeats_nothing(tmp_path: Path, app: str | None, limit: int) -> None:
    ledger, _ = told(tmp_path)
    with ledger:
        everything = ledger.events(app)
        found: list[wire.Notification] = []
        while part := ledger.events(app, found[-1].id if found else "", limit):
            assert len(part) <= limit
            found += part
            assert len(found) <= len(everything)
        assert found == everything
        assert ledger.events(app, "2.999")[0].id == "3.0"
        assert ledger.events(app, "99.0") == []


@pytest.mark.parametrize("text", ["x", "1", "1.", ".1", "1.2.3", "1e3.0", "9" * 400, "1.0\n", "1.0; DROP TABLE events"])
def test_what_is_no_id_is_refused(tmp_path: Path, text: str) -> None:
    with Ledger.open(tmp_path) as ledger, pytest.raises(SettingRefused, match="event id: .* is none"):
        ledger.events(None, text)


def test_events_before_the_first_tick_have_ids_too(tmp_path: Path) -> None:
    gap = Made(None, START_S, 60.0, [], events=[Event(START_S, "_site", "gap")])
    with Ledger.open(tmp_path) as ledger:
        assert [one.id for one in ledger.commit(gap.batch(ledger)).notifications] == ["0.1"]
        (tick,) = made.ticks(1, start_s=START_S + 60.0)
        ledger.commit(tick.batch(ledger))
        assert [one.id for one in ledger.events(None)] == ["0.1", "1.0"]
        assert [one.id for one in ledger.events(None, "0.1")] == ["1.0"]

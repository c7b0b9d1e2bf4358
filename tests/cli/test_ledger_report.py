"""`ecovisor report`: its numbers are those of the ticks, in the site's own hours and days, however it looks."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import re
import shutil
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import pytest
from tests.adapters.ledger import made
from tests.adapters.ledger.made import Made

from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.cli import run
from ecovisor.cli.ledger_report import interval
from ecovisor.model.errors import SettingsError

ZONE = "Europe/Berlin"
BERLIN = ZoneInfo(ZONE)


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def report(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    status = run(["report", *words])
    told = capsys.readouterr()
    assert status == 0, told.err
    return told.out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert run(["report", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: ")
    assert told.err.count("\n") == 1
    return told.err


def sun_at_noon(tick: Made) -> None:
    """From 12:00 to 13:00 of the clock all is served by the sun; at all other hours by the grid."""
    noon = datetime.fromtimestamp(tick.start_s, BERLIN).hour == 12
    for row in tick.rows:
        values = row.values | dict.fromkeys(made.POWERS, 0.0)
        values |= {"demand_w": 60.0, "solar_to_load_w": 60.0 if noon else 0.0, "grid_to_load_w": 0.0 if noon else 60.0}
        values["carbon_intensity_g_per_kwh"] = 250.0
        values["carbon_g"] = values["grid_to_load_w"] * tick.dt_s / 3.6e6 * 250.0
        row.values = values
    tick.price = 0.5


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine days around the end of summer time, at 30-minute ticks, with a gap of three hours."""
    ticks = made.ticks(9 * 48, dt_s=1800.0, start_s=at("2021-10-27"), apps=("web", "train", "_site"))
    for tick in ticks:
        sun_at_noon(tick)
    kept = [tick for tick in ticks if not at("2021-10-29T15:00") <= tick.start_s < at("2021-10-29T18:00")]
    for number, tick in enumerate(kept):
        tick.tick = number
    folder = tmp_path_factory.mktemp("state")
    with Ledger.open(folder / "ledger", site="Hof <1>", timezone=ZONE) as ledger:
        made.fill(ledger, kept)
    return folder


def test_the_day_on_which_the_clocks_change_has_25_hours_and_their_energy(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = report(capsys, "--state", str(state), "--from", "2021-10-30", "--to", "2021-11-02", "--format", "json")
    found = json.loads(text)
    assert (found["site"], found["timezone"], found["coverage_ratio"]) == ("Hof <1>", ZONE, 1.0)
    assert [day["all"]["load_wh"] / 180.0 for day in found["days"]] == pytest.approx([24.0, 25.0, 24.0])
    assert [day["start"] for day in found["days"]] == [
        "2021-10-30T00:00:00+02:00",
        "2021-10-31T00:00:00+02:00",
        "2021-11-01T00:00:00+01:00",
    ]
    sunny = [hour["start"] for hour in found["hours"] if hour["all"]["carbon_free_ratio"] == 1.0]
    assert sunny == ["2021-10-30T12:00:00+02:00", "2021-10-31T12:00:00+01:00", "2021-11-01T12:00:00+01:00"]
    twice = [hour["start"] for hour in found["hours"] if "T02:00" in hour["start"] and "10-31" in hour["start"]]
    assert twice == ["2021-10-31T02:00:00+02:00", "2021-10-31T02:00:00+01:00"]
    web = found["apps"]["web"]
    assert web["load_wh"] == pytest.approx(73 * 60.0)
    assert web["carbon_free_ratio"] == pytest.approx(3 / 73)
    assert web["carbon_g"] == pytest.approx(70 * 0.06 * 250.0)
    assert web["cost"] == pytest.approx(70 * 0.06 * 0.5)


def test_another_zone_has_its_own_hours(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--state", str(state), "--from", "2021-10-30", "--to", "2021-10-31", "--format", "json"]
    found = json.loads(report(capsys, *words, "--timezone", "Asia/Kolkata"))
    assert found["days"][0]["start"] == "2021-10-30T00:00:00+05:30"
    assert len(found["hours"]) == 24
    assert found["days"][0]["all"]["load_wh"] == pytest.approx(24 * 180.0)
    sunny = [hour["start"] for hour in found["hours"] if hour["all"]["carbon_free_ratio"]]
    assert sunny == ["2021-10-30T15:00:00+05:30", "2021-10-30T16:00:00+05:30"], "noon in Berlin, in halves of two hours"


def test_gaps_are_told_and_are_in_no_hour(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--state", str(state), "--from", "2021-10-29", "--to", "2021-10-30"]
    found = json.loads(report(capsys, *words, "--format", "json"))
    assert found["gaps"] == [{"start": "2021-10-29T15:00:00+02:00", "end": "2021-10-29T18:00:00+02:00"}]
    assert found["coverage_ratio"] == pytest.approx(21 / 24)
    assert [hour["start"][11:13] for hour in found["hours"] if hour["absent"]] == ["15", "16", "17"]
    assert all(hour["all"]["load_wh"] == 0.0 and hour["apps"] == {} for hour in found["hours"] if hour["absent"])
    table = report(capsys, *words)
    assert table.count("no ticks") == 4
    assert "note: there are no ticks for 3 h from Fri 29 Oct 2021 15:00; what meters counted meanwhile is _site's" in table
    assert "87.5 % of it metered" in table


def test_rows_of_a_file_are_the_sums_of_the_ledger(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "week.csv"
    assert (
        report(capsys, "--state", str(state), "--app", "web", "--from", "2021-10-28", "--to", "2021-11-04", "--out", str(out)) == ""
    )
    rows = list(csv.DictReader(io.StringIO(out.read_text("utf-8"))))
    assert {row["app"] for row in rows} == {"web"}
    with Ledger.open(state / "ledger", read_only=True) as ledger:
        usage = ledger.usage("web", at("2021-10-28"), at("2021-11-04"))
    assert usage.energies is not None
    for column in ("load_wh", "solar_to_load_wh", "grid_to_load_wh"):
        assert math.fsum(float(row[column]) for row in rows) == pytest.approx(getattr(usage.energies, column), rel=1e-12)
    assert math.fsum(float(row["carbon_g"]) for row in rows) == pytest.approx(usage.carbon_g, rel=1e-12)
    assert math.fsum(float(row["cost"]) for row in rows) == pytest.approx(usage.cost, rel=1e-12)
    first = rows[0]
    assert (first["start"], first["end"]) == ("2021-10-28T00:00:00+02:00", "2021-10-28T01:00:00+02:00")
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_unknown_carbon_is_empty_and_not_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known, unknown = made.ticks(2, dt_s=1800.0), made.ticks(2, dt_s=1800.0, start_s=made.START_S + 3600.0, first=2, known=False)
    for tick in (*known, *unknown):
        for row in tick.rows:
            row.values["grid_to_load_w"] = 50.0
    made.stored(tmp_path / "state" / "ledger", [*known, *unknown])
    rows = list(csv.DictReader(io.StringIO(report(capsys, "--state", str(tmp_path / "state"), "--app", "a", "--format", "csv"))))
    assert [row["carbon_g"] == "" for row in rows] == [False, True]
    assert [row["intensity_g_per_kwh"] == "" for row in rows] == [False, True]
    assert float(rows[1]["unknown_carbon_wh"]) >= 50.0
    table = report(capsys, "--state", str(tmp_path / "state"))
    assert "unknown" in table
    assert re.search(r"together .* ≥ ", table)
    assert "of import is unknown and in no sum" in table


def test_what_a_battery_gave_is_carbon_free_as_far_as_the_sun_charged_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ticks = made.ticks(4, dt_s=1800.0, apps=("a",))
    flows = [("solar_to_battery_w", 30.0), ("grid_to_battery_w", 10.0), ("battery_discharge_w", 20.0), ("grid_to_load_w", 20.0)]
    for tick, (column, power_w) in zip(ticks, flows, strict=True):
        tick.rows[0].values |= dict.fromkeys(made.POWERS, 0.0) | {column: power_w}
    made.stored(tmp_path / "ledger", ticks)
    found = json.loads(report(capsys, "--state", str(tmp_path), "--format", "json"))
    assert found["apps"]["a"]["carbon_free_ratio"] == pytest.approx(0.5 * 0.75)


# -- the page


class _Page(HTMLParser):
    """Checks that elements close in their order; collects addresses and texts."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "action", "data")]
        assert tag not in ("script", "iframe", "link", "object", "img")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_is_whole_and_needs_nothing_else(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "page.html"
    report(capsys, "--state", str(state), "--from", "2021-10-28", "--to", "2021-11-04", "--out", str(out))
    text = out.read_text("utf-8")
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.addresses == []
    assert re.findall(r"(?:https?:)?//[a-z]|url\((?!#)|@import", text) == []
    assert "Hof <1>: energy and carbon" in page.texts
    assert "<1>" not in text
    pictures = [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    assert len(pictures) == 3
    places = [one.attrib.get(name, "0") for picture in pictures for one in picture.iter() for name in ("x", "y", "width", "height")]
    assert all(math.isfinite(float(place)) and float(place) >= 0.0 for place in places)


@pytest.mark.parametrize("days", [1, 12])
def test_a_page_of_any_length_is_drawn(tmp_path: Path, days: int, capsys: pytest.CaptureFixture[str]) -> None:
    made.stored(tmp_path / "ledger", made.ticks(days * 4, dt_s=21_600.0, apps=("a", "_site")))
    page = _Page()
    page.feed(report(capsys, "--state", str(tmp_path), "--from", f"{days}d", "--format", "html"))
    assert page.open == []


# -- options


def test_the_defaults_are_all_apps_and_the_last_seven_days(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(report(capsys, "--state", str(state), "--format", "json"))
    assert (found["start"], found["end"]) == ("2021-10-29T00:00:00+02:00", "2021-11-04T23:00:00+01:00")
    assert list(found["apps"]) == ["train", "web", "_site"]
    assert len(found["days"]) == 7
    table = report(capsys, "--state", str(state))
    assert all(name in table for name in ("Hof <1>", "train", "web", "_site", "together", "By day"))


def test_the_folder_of_the_ledger_itself_may_be_named(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--from", "2021-10-30", "--to", "2021-10-31", "--format", "csv"]
    assert report(capsys, "--state", str(state), *words) == report(capsys, "--state", str(state / "ledger"), *words)


def test_a_report_beside_a_running_server(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(state, tmp_path / "state")
    with Ledger.open(tmp_path / "state" / "ledger") as ledger:
        last = ledger.last()
        assert last is not None
        (tick,) = made.ticks(1, dt_s=1800.0, start_s=last.end_s, first=10_000)
        ledger.commit(tick.batch(ledger))
        found = json.loads(report(capsys, "--state", str(tmp_path / "state"), "--format", "json"))
    assert found["end"] == "2021-11-04T23:30:00+01:00"


EXTENT = (at("2021-10-20T08:00"), at("2021-11-05T10:30"))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, ("2021-10-30", "2021-11-05T10:30")),
        ("36h", None, ("2021-11-03T22:30", "2021-11-05T10:30")),
        ("2021-11-01", "2021-11-02", ("2021-11-01", "2021-11-02")),
        ("2021-10-31", "2021-11-01", ("2021-10-31", "2021-11-01")),
        ("2021-11-01T06:00", "2021-11-01T07:30", ("2021-11-01T06:00", "2021-11-01T07:30")),
        ("2021-11-01T05:00Z", "2021-11-01T09:30+02:00", ("2021-11-01T06:00", "2021-11-01T08:30")),
        ("1d", "2021-11-02", ("2021-11-01", "2021-11-02")),
        (None, "2021-11-02", ("2021-10-26", "2021-11-02")),
        (None, "2021-10-22", ("2021-10-20T08:00", "2021-10-22")),
    ],
)
def test_what_options_mean(start: str | None, end: str | None, expected: tuple[str, str]) -> None:
    assert interval(start, end, EXTENT, Calendar(ZONE)) == (at(expected[0]), at(expected[1]))


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("yesterday", None, "--from: 'yesterday' is no time; write for example 2026-03-01"),
        ("2021-11-31", None, "--from: '2021-11-31' is no time"),
        (None, "soon", "--to: 'soon' is no time"),
        ("2021-11-02", "2021-11-01", "--to: 2021-10-31T23:00:00Z is not after --from 2021-11-01T23:00:00Z"),
        ("2022-01-01", "2022-02-01", "--from: nothing was recorded from .*; the ledger has 2021-10-20T06:00:00Z to"),
        ("2021-01-01", "2021-02-01", "--from: nothing was recorded from"),
    ],
)
def test_what_options_cannot_mean_is_one_line(start: str | None, end: str | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        interval(start, end, EXTENT, Calendar(ZONE))


def test_bad_words_are_one_line(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no app 'wbe' in the ledger; did you mean 'web'?" in refused(capsys, "--state", str(state), "--app", "wbe")
    assert "'Mars/Olympus' is unknown here; give an IANA name" in refused(
        capsys, "--state", str(state), "--timezone", "Mars/Olympus"
    )
    nowhere = refused(capsys, "--state", str(tmp_path / "nowhere"))
    assert "there is no ledger; name the state directory of a server" in nowhere
    there = refused(capsys, "--state", str(state), "--out", str(tmp_path / "no" / "page.html"))
    assert "page.html: cannot be written: No such file or directory; choose another place with --out" in there
    Ledger.open(tmp_path / "empty").close()
    assert "holds no ticks yet; let the site run for a tick" in refused(capsys, "--state", str(tmp_path / "empty"))


def test_many_apps_are_summed_and_the_largest_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rnd = random.Random(1)
    apps = [f"app{k}" for k in range(70)]
    rows = [made.row(rnd, app, 60.0) for app in (*apps, "_site")]
    made.stored(tmp_path / "ledger", [Made(0, made.START_S, 60.0, rows)])
    table = report(capsys, "--state", str(tmp_path))
    assert "and 31 more" in table
    assert len(json.loads(report(capsys, "--state", str(tmp_path), "--format", "json"))["apps"]) == 71
    assert "and 11 more apps with less load" in report(capsys, "--state", str(tmp_path), "--format", "html")

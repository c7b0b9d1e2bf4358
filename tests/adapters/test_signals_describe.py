"""What `ecovisor data` says of a file, and that it says something of every file."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.adapters.signals.describe import describe_file, zones
from ecovisor.model.units import instant_s

TEXT = "Datetime (UTC),Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle),load\n"


def write(folder: Path, text: str) -> Path:
    (folder / "s.csv").write_text(text, encoding="utf-8")
    return folder / "s.csv"


def test_range_step_zone_unit_and_extremes_are_told(tmp_path: Path) -> None:
    text = TEXT + "".join(f"2020-01-01 0{k}:00:00,{k},{100 + k},x\n" for k in range(4))
    found = describe_file(write(tmp_path, text), label="s.csv")
    assert not found.problems
    assert found.time_column == "Datetime (UTC)"
    assert found.zone == "UTC by the column's name"
    assert found.value_column == "Carbon intensity gCO₂eq/kWh (Life cycle)"
    assert found.unit == "g/kWh"
    assert found.columns["load"] == ""
    assert found.columns["Carbon intensity gCO₂eq/kWh (direct)"] == "g/kWh"
    assert (found.start_s, found.end_s) == (instant_s("2020-01-01T00:00Z"), instant_s("2020-01-01T04:00Z"))
    assert (found.step_s, found.steps, found.rows, found.missing) == (3600.0, 4, 4, 0)
    assert (found.minimum, found.mean, found.maximum) == (100.0, 101.5, 103.0)


def test_gaps_and_negative_values_are_told_with_their_place(tmp_path: Path) -> None:
    found = describe_file(write(tmp_path, "time,pv_kw\n0,1\n60,\n120,-2\n300,4\n"), label="s.csv")
    assert [(gap.start_s, gap.end_s, gap.steps, gap.place) for gap in found.gaps] == [
        (60.0, 120.0, 1, "row 3"),
        (180.0, 300.0, 2, "between rows 4 and 5"),
    ]
    assert found.missing == 3
    assert found.unit == "W"
    assert found.zone == "epoch seconds (UTC)"
    assert found.problems == [
        "s.csv: 3 values missing in 2 gaps, the longest 2 steps from 1970-01-01T00:03:00Z (between rows 4 and 5)",
        "s.csv: 1 values are negative, the first -2000 W (row 4)",
    ]


def test_naive_times_are_taken_as_utc_with_a_warning(tmp_path: Path) -> None:
    file = write(tmp_path, "time,pv_kw\n2020-01-01 00:00,1\n2020-01-01 01:00,2\n")
    found = describe_file(file)
    assert found.zone == "none given, taken as UTC"
    assert "names no time zone" in found.problems[0]
    assert found.start_s == instant_s("2020-01-01T00:00Z")
    with_zone = describe_file(file, timezone="Europe/Berlin")
    assert not with_zone.problems
    assert with_zone.start_s == instant_s("2019-12-31T23:00Z")
    assert with_zone.zone == "Europe/Berlin where none is given"


def test_without_a_value_column_the_times_are_still_told(tmp_path: Path) -> None:
    file = write(tmp_path, "time,a,b\n2020-01-01T00:00Z,x,1\n2020-01-01T01:00Z,y,2\n")
    found = describe_file(file)
    assert found.step_s == 3600.0
    assert found.value_column is None
    assert found.mean is None
    assert "no column's name carries" in found.problems[0]
    asked = describe_file(file, column="b")
    assert asked.mean == 1.5
    assert asked.unit == ""
    assert "carries no unit" in asked.problems[0]
    assert describe_file(file, column="b", unit="kW").mean == 1500.0
    assert "unknown unit" in describe_file(file, column="b", unit="stone").problems[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("a,b\n1,2\n2,3\nx,y\n", "no time column"),
        ("time,x_w\n60,1\n0,2\n", "comes after"),
        ("time,x_w\n0,1\n60,x\n", "'x' is no number"),
        ("time,x_w\n0,\n60,\n", "2 values missing in 1 gap"),
    ],
)
def test_a_fault_is_reported_and_not_raised(tmp_path: Path, text: str, told: str) -> None:
    assert any(told in problem for problem in describe_file(write(tmp_path, text)).problems)


def test_a_missing_file_is_reported_too(tmp_path: Path) -> None:
    assert "there is no such file" in describe_file(tmp_path / "none.csv").problems[0]


@given(st.text(st.sampled_from('time,x_w"\n\r\t;:-+.0129 TZaninfUTC'), max_size=120))
def test_no_text_at_all_makes_it_raise(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    file.write_text("time,x_w\n" + text, newline="")
    describe_file(file)
    file.write_text(text, newline="")
    describe_file(file)


def test_the_modelled_zones_are_listed_with_their_mean() -> None:
    known = zones()
    assert known["FR"] < known["US-CAL-CISO"] < known["DE"] < known["PL"]

"""Units and durations: one spelling, one number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.model.units import UNIT_FACTORS, duration_s, human_duration, instant_s, iso_utc, unit_factor


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5min", 300), ("1h 30min", 5400), ("2d", 172800), ("1w", 604800), ("0.5s", 0.5), ("90", None), (60, 60), (0.25, 0.25)],
)
def test_a_duration_is_read_as_seconds(text: str | float, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="is no duration"):
            duration_s(text)
    else:
        assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "min", "5 minutes", "-5min", "1h-", 0, -1.0, float("inf"), float("nan")])
def test_what_is_no_positive_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration_s(text)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="names no time zone"):
        instant_s("2020-01-01T00:00")
    assert instant_s("2020-01-01T01:00+01:00") == instant_s("2020-01-01T00:00Z") == 1577836800.0


@given(st.integers(0, 4_000_000_000))
def test_an_instant_survives_being_written_and_read(seconds: int) -> None:
    assert instant_s(iso_utc(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.5, "0.5 s"), (59, "59 s"), (720, "12 min"), (5400, "1 h 30 min"), (273600, "3 d 4 h"), (86400, "1 d")]
)
def test_a_duration_is_told_as_a_person_would(seconds: float, told: str) -> None:
    assert human_duration(seconds) == told


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [
        ("W", ("W", 1.0)),
        ("kW", ("W", 1e3)),
        ("MW", ("W", 1e6)),
        ("W/m^2", ("W/m2", 1.0)),
        ("W/m²", ("W/m2", 1.0)),
        ("gCO₂eq/kWh", ("g/kWh", 1.0)),
        ("gCO2/kWh", ("g/kWh", 1.0)),
        ("g CO2e / kWh", ("g/kWh", 1.0)),
        ("kgCO2eq/kWh", ("g/kWh", 1e3)),
        ("kg/MWh", ("g/kWh", 1.0)),
        ("lb/MWh", ("g/kWh", 0.45359237)),
        ("lbs/MWh", ("g/kWh", 0.45359237)),
        ("EUR/MWh", ("1/kWh", 1e-3)),
        ("€/kWh", ("1/kWh", 1.0)),
        ("percent", ("1", 0.01)),
    ],
)
def test_a_unit_is_known_in_the_spellings_of_files(spelling: str, expected: tuple[str, float]) -> None:
    assert unit_factor(spelling) == expected


def test_every_listed_unit_is_its_own_spelling() -> None:
    for spelling, expected in UNIT_FACTORS.items():
        assert unit_factor(spelling) == expected


@pytest.mark.parametrize("spelling", ["", "furlong", "Wh", "kWh"])
def test_an_unknown_unit_is_refused(spelling: str) -> None:
    with pytest.raises(ValueError, match="unknown unit"):
        unit_factor(spelling)


def test_a_milliwatt_is_not_taken_for_a_megawatt() -> None:
    with pytest.raises(ValueError, match="milliwatt"):
        unit_factor("mW")

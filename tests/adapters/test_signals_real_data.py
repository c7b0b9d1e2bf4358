"""The published series that the studies run on, with their traps: read right, or refused with the reason."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.model.errors import SeriesError
from ecovisor.model.series import Quality
from ecovisor.model.units import instant_s
from ecovisor.settings import Signal

DATA = Path(os.environ.get("ECOVISOR_DATA", Path(__file__).parents[3] / "shared/data"))
CALIFORNIA = "carbon/em_caiso_2020_2022_hourly_mix.csv.gz"
LYNGBY = "solar/dtu_lyngby_irradiance_1min_2016.csv.gz"
CAISO_LOCAL = "carbon/caiso_2021_5min_supply_co2.csv.gz"
PAPER = "carbon/ecovisor_repo_carbon_trace_48h.csv"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"real series not there: {DATA} (set ECOVISOR_DATA)")


def load(file: str, name: str = "carbon", *, start: str, end: str, tick_s: float = 60.0, **settings: Any) -> LoadedSignal:
    signal = Signal(kind="file", file=file, **settings)
    return load_signal(name, signal, folder=DATA, start_s=instant_s(start), end_s=instant_s(end), tick_s=tick_s, seed=0)


def test_california_2020_has_no_missing_hour_and_the_published_mean() -> None:
    loaded = load(CALIFORNIA, start="2020-01-01T00:00Z", end="2021-01-01T00:00Z", timezone="UTC")
    assert len(loaded.ticks) == 366 * 1440
    assert math.fsum(loaded.ticks) / len(loaded.ticks) == pytest.approx(278.1, abs=0.05)
    assert (min(loaded.ticks), max(loaded.ticks)) == (83.01, 447.41)
    assert loaded.series.quality is Quality.MEASURED
    assert loaded.series.unit == "g/kWh"


def test_california_2020_is_read_quickly() -> None:
    def once() -> float:
        begun = time.process_time()
        load(CALIFORNIA, start="2020-01-01T00:00Z", end="2021-01-01T00:00Z", timezone="UTC")
        return time.process_time() - begun

    assert min(once() for _ in range(3)) < 0.3  # about 0.08 s; the bound leaves room for coverage and a slow machine


def test_california_without_its_zone_is_refused() -> None:
    with pytest.raises(SeriesError, match=r"row 2, column 'datetime': 2020-01-01 00:00:00 names no time zone"):
        load(CALIFORNIA, start="2020-01-01T00:00Z", end="2021-01-01T00:00Z")


def test_the_seven_hours_missing_in_april_2021_are_found() -> None:
    with pytest.raises(SeriesError, match=r"row 11090, .*missing for 7 h from 2021-04-07T00:00:00Z"):
        load(CALIFORNIA, start="2021-01-01T00:00Z", end="2022-01-01T00:00Z", timezone="UTC")
    window: dict[str, Any] = {"start": "2021-01-01T00:00Z", "end": "2022-01-01T00:00Z", "timezone": "UTC", "fill": "previous"}
    with pytest.raises(SeriesError, match="the bound is max_gap = 1 h"):
        load(CALIFORNIA, **window)
    assert load(CALIFORNIA, **window, max_gap="7h").series.quality is Quality.ESTIMATED


@pytest.mark.slow
def test_a_minute_of_lyngby_irradiance_becomes_an_array_in_another_year() -> None:
    settings: dict[str, Any] = {"name": "solar", "column": "GHI", "unit": "W/m2", "scale_to_peak_w": 400.0, "align": "year"}
    run: dict[str, Any] = {"start": "2021-06-01T00:00Z", "end": "2021-07-01T00:00Z"}
    with pytest.raises(SeriesError, match=r"row 3, column 'GHI': -0\.1 W/m2 is negative"):
        load(LYNGBY, **run, **settings)
    loaded = load(LYNGBY, **run, **settings, options={"negative": "zero"}, fill="previous", max_gap="3h")
    assert loaded.series.unit == "W"
    assert min(loaded.ticks) == 0.0
    assert 300.0 < max(loaded.ticks) <= 400.0
    assert any("moved by +5 years, 29 February left out" in note for note in loaded.notes)
    coarse = load(
        LYNGBY, **run, **settings, options={"negative": "zero"}, fill="previous", max_gap="3h", tick_s=300.0, resample="mean"
    )
    assert math.fsum(coarse.ticks) * 5 == pytest.approx(math.fsum(loaded.ticks), rel=1e-12)


def test_local_pacific_times_are_read_through_the_change_to_summer_time() -> None:
    loaded = load(
        CAISO_LOCAL,
        start="2021-03-14T09:00Z",
        end="2021-03-14T11:00Z",
        tick_s=300.0,
        timezone="America/Los_Angeles",
        column="ci_kg_per_mwh",
    )
    assert len(loaded.ticks) == 24
    assert not any(map(math.isnan, loaded.ticks))


def test_the_autumn_hour_that_was_not_recorded_is_a_gap() -> None:
    run: dict[str, Any] = {
        "start": "2021-11-07T00:00Z",
        "end": "2021-11-08T00:00Z",
        "tick_s": 300.0,
        "timezone": "America/Los_Angeles",
    }
    with pytest.raises(SeriesError, match="missing for 1 h from 2021-11-07T09:00:00Z"):
        load(CAISO_LOCAL, **run)
    assert "12 of 288 values" in load(CAISO_LOCAL, **run, fill="previous").notes[0]


def test_the_authors_trace_replays_from_its_first_second() -> None:
    loaded = load(PAPER, start="2020-01-01T00:00Z", end="2020-01-03T00:00Z", unit="g/kWh", align="year")
    assert loaded.series.step_s == 180.0
    assert loaded.ticks[:4].tolist() == [87.483, 87.483, 87.483, 87.483]
    assert 41.0 < min(loaded.ticks) < max(loaded.ticks) < 155.0


def test_two_records_on_one_line_are_refused() -> None:
    with pytest.raises(SeriesError, match="row 2: has 2 cells, the first line has 3"):
        load(PAPER.replace(".csv", "_inverted.csv"), start="2020-01-01T00:00Z", end="2020-01-02T00:00Z", unit="g/kWh")


def test_an_unsorted_file_is_refused_at_its_first_unsorted_row() -> None:
    with pytest.raises(SeriesError, match=r"row 1398: 2022-08-03T19:00:00Z comes after 2022-10-01"):
        load(
            "carbon/casper_repo_carbon_intensities.csv",
            start="2022-08-05T00:00Z",
            end="2022-08-06T00:00Z",
            column="us-west-1",
            unit="g/kWh",
        )


def test_the_day_ahead_forecast_of_a_file_is_what_forecast_answers() -> None:
    loaded = load(
        "carbon/carboncast_CISO_2019_2022_hourly_with_forecast.csv.gz",
        start="2019-01-01T00:00Z",
        end="2019-01-02T00:00Z",
        forecast="column:avg_carbon_intensity_forecast",
    )
    assert loaded.ticks[0] == 164.27
    assert loaded.forecaster.forecast(instant_s("2019-01-01T00:00Z"), 7200.0).values.tolist() == [84.46084, 112.97123]

"""The series of studies: they are what they say, real where the data sets are, modelled and the same every time where not."""

from __future__ import annotations

import csv
import gzip
import math
import os
from collections.abc import Callable
from datetime import datetime
from functools import cache
from pathlib import Path

import pytest

from ecovisor.model.errors import InputError
from ecovisor.model.series import Quality, Series
from ecovisor.studies.traces import FILES, STUDY_START_S, Traces

DATA = Path(os.environ.get("ECOVISOR_DATA", Path(__file__).parents[3] / "shared/data"))
needs_data = pytest.mark.skipif(
    not all((DATA / file).is_file() for file in FILES), reason=f"data sets not there: {DATA} (set ECOVISOR_DATA)"
)
ALL: dict[str, Callable[[Traces], Series]] = {
    "year": lambda traces: traces.carbon_year(),
    "year of a zone": lambda traces: traces.carbon_year("DE", 2022),
    "direct": lambda traces: traces.carbon_year_direct(),
    "actual": lambda traces: traces.carbon_with_day_ahead()[0],
    "day ahead": lambda traces: traces.carbon_with_day_ahead()[1],
    "5 min": lambda traces: traces.carbon_5min_2021(),
    "48 h": lambda traces: traces.carbon_48h(),
    "a day of sun": lambda traces: traces.solar_day(100.0),
    "days of sun": lambda traces: traces.solar_days(3, 400.0),
    "requests": lambda traces: traces.requests_48h(0, 30.0),
    "other requests": lambda traces: traces.requests_48h(1, 30.0),
    "bursts": lambda traces: traces.requests_48h(2, 30.0),
    "requests by day": lambda traces: traces.requests_daytime(20.0, days=2),
}


@cache
def of(folder: Path | None) -> Traces:
    """The series of a folder, each file of which is read once in all tests."""
    return Traces(folder)


@pytest.fixture(params=[pytest.param(DATA, marks=needs_data, id="real"), pytest.param(None, id="modelled")])
def traces(request: pytest.FixtureRequest) -> Traces:
    return of(request.param)


@pytest.mark.parametrize("which", ALL)
def test_every_series_is_whole_and_says_where_it_comes_from(traces: Traces, which: str) -> None:
    series = ALL[which](traces)
    assert series.values
    assert all(math.isfinite(value) and value >= 0.0 for value in series.values)
    assert series.origin.startswith("modelled") == traces.modelled
    allowed = {Quality.MODELLED, Quality.FORECAST} if traces.modelled else {Quality.MEASURED, Quality.ESTIMATED, Quality.FORECAST}
    assert series.quality in allowed
    assert (series.quality is Quality.FORECAST) == (which == "day ahead")


def test_a_year_has_all_its_hours(traces: Traces) -> None:
    assert len(traces.carbon_year().values) == 8784
    assert len(traces.carbon_year("FR", 2022).values) == 8760
    assert traces.carbon_year().start_s == 1_577_836_800.0
    assert "FR" in traces.zones()
    assert len(traces.carbon_5min_2021().values) == 105_120


def test_series_of_some_days_begin_at_one_instant_and_keep_their_peak_or_mean(traces: Traces) -> None:
    for which in ("48 h", "a day of sun", "days of sun", "requests", "other requests", "bursts", "requests by day"):
        assert ALL[which](traces).start_s == STUDY_START_S
    assert max(traces.solar_day(100.0).values) == pytest.approx(100.0)
    assert max(traces.solar_days(3, 400.0).values) == pytest.approx(400.0)
    for service in range(3):
        requests = traces.requests_48h(service, 30.0).values
        assert len(requests) == 2880
        assert math.fsum(requests) / 2880 == pytest.approx(30.0)
    assert list(traces.requests_48h(0, 30.0).values) != list(traces.requests_48h(1, 30.0).values)


def test_a_service_that_sleeps_has_no_requests_at_night(traces: Traces) -> None:
    values = traces.requests_daytime(20.0, days=2, from_h=9.0, to_h=17.0).values
    hours = [[math.fsum(values[day * 1440 + hour * 60 :][:60]) for hour in range(24)] for day in range(2)]
    for day in hours:
        assert all((requests > 0.0) == (9 <= hour < 17) for hour, requests in enumerate(day))
    assert math.fsum(map(math.fsum, hours)) / (2 * 8 * 60) == pytest.approx(20.0)


def test_the_day_ahead_forecast_is_on_the_actual_hours_and_errs(traces: Traces) -> None:
    actual, forecast = traces.carbon_with_day_ahead()
    assert (actual.start_s, actual.step_s, len(actual.values)) == (forecast.start_s, forecast.step_s, len(forecast.values))
    error = [abs(one - other) / other for one, other in zip(forecast.values, actual.values, strict=True)]
    assert 0.05 < math.fsum(error) / len(error) < 0.6


def test_modelled_series_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    for which, make in ALL.items():
        assert make(Traces(seed=3)) == make(Traces(seed=3)), which
        assert make(Traces(seed=3)).values != make(Traces(seed=4)).values, which


def test_a_zone_that_is_not_there_is_named(traces: Traces) -> None:
    with pytest.raises(InputError, match=r"'DEX'.*did you mean"):
        traces.carbon_year("DEX", 2022)


def test_a_missing_file_is_one_line_with_the_file_and_what_to_do(tmp_path: Path) -> None:
    for make in ALL.values():
        with pytest.raises(InputError, match=r"(carbon|solar|requests)/.*there is no such file; docs/studies\.md lists"):
            make(Traces(tmp_path))


@needs_data
def test_the_year_of_california_is_that_of_the_file() -> None:
    with gzip.open(DATA / FILES[0], "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["datetime"].startswith("2020")]
    assert list(of(DATA).carbon_year().values) == [float(row["carbon_intensity_avg"]) for row in rows]


@needs_data
def test_five_minutes_of_2021_lose_the_outlier_and_keep_the_lost_hour_of_spring_out() -> None:
    with gzip.open(DATA / "carbon/caiso_2021_5min_supply_co2.csv.gz", "rt") as file:
        rows = {row["datetime_local_pacific"]: row["ci_kg_per_mwh"] for row in csv.DictReader(file)}
    series = of(DATA).carbon_5min_2021()

    def at(utc: str) -> float:
        return series.values[round((datetime.fromisoformat(utc).timestamp() - series.start_s) / 300.0)]

    assert at("2021-03-14T09:55+00:00") == float(rows["2021-03-14 01:55"])
    assert at("2021-03-14T10:00+00:00") == float(rows["2021-03-14 03:00"])
    assert at("2021-07-01T12:00+00:00") == float(rows["2021-07-01 05:00"])
    assert "13 of 105120 values" in series.origin


@needs_data
def test_a_file_is_read_once_and_its_digest_is_that_of_the_published_list() -> None:
    traces = of(DATA)
    for make in ALL.values():
        make(traces)
    listed = dict(line.split()[::-1] for line in (DATA / "SHA256SUMS").read_text().splitlines())
    assert set(traces.digests) == set(FILES)
    assert all(listed[f"./{file}"] == digest for file, digest in traces.digests.items())
    assert traces.solar_days(2, 100.0).values[:1440] != traces.solar_days(2, 50.0).values[:1440], "what is kept is what was read"


@needs_data
def test_the_day_of_sun_has_its_noon_and_no_power_at_night() -> None:
    values = of(DATA).solar_day(1269.9).values
    assert len(values) == 1440
    assert math.fsum(values[: 4 * 60]) == 0.0
    assert max(range(1440), key=values.__getitem__) // 60 == 11

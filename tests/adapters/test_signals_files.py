"""Signals from files: what is recognised, converted and checked, and the one line that each fault is told in."""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.model.errors import InputError, SeriesError, SettingsError
from ecovisor.model.series import Quality
from ecovisor.model.units import instant_s
from ecovisor.settings import Signal

HOUR = 3600.0
START = "2020-01-01T00:00Z"
Load = Callable[..., LoadedSignal]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a file with the given text as a signal, for a run of some hours."""

    def _load(
        text: str | bytes, name: str = "carbon", *, start: str = START, hours: float = 3, tick_s: float = HOUR, **kw: Any
    ) -> LoadedSignal:
        file = kw.setdefault("file", "s.csv")
        (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
        start_s = instant_s(start)
        signal = Signal(kind="file", **kw)
        return load_signal(name, signal, folder=tmp_path, start_s=start_s, end_s=start_s + hours * HOUR, tick_s=tick_s, seed=0)

    return _load


def rows(*values: object, header: str = "datetime_utc,ci_g_per_kwh", step_min: int = 60) -> str:
    lines = [f"2020-01-01T{k * step_min // 60:02d}:{k * step_min % 60:02d}:00Z,{value}" for k, value in enumerate(values)]
    return "\n".join([header, *lines]) + "\n"


# What is recognised


@pytest.mark.parametrize(
    "column",
    [
        "time",
        "datetime",
        "timestamp",
        "datetime_utc",
        "Datetime (UTC)",
        "UTC time",
        "Time",
        "measured_on",
        "datetime_local_pacific",
    ],
)
def test_the_time_column_is_known_by_its_name(load: Load, column: str) -> None:
    loaded = load(rows(1, 2, 3, header=f"{column},x_g_per_kwh"))
    assert list(loaded.ticks) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("header", "note"),
    [
        ("carbon_intensity_avg", None),
        ("Carbon_Intensity_AVG", None),
        ("carbonIntensity", None),
        ("Carbon Intensity gCO₂eq/kWh (LCA)", "life cycle carbon intensity"),
        ("Carbon intensity gCO₂eq/kWh (Life cycle)", "life cycle carbon intensity"),
        ("CARBON INTENSITY GCO2EQ/KWH (DIRECT)", "direct carbon intensity"),
        ("Carbon intensity gCO₂eq/kWh (direct)", "direct carbon intensity"),
    ],
)
def test_every_generation_of_electricity_maps_exports_is_recognised(load: Load, header: str, note: str | None) -> None:
    text = f"Datetime (UTC),Country,Zone name,{header},Renewable percentage\n"
    text += "".join(f"2020-01-01 0{k}:00:00,Germany,Germany,{300 + k},40\n" for k in range(3))
    loaded = load(text)
    assert list(loaded.ticks) == [300.0, 301.0, 302.0]
    assert loaded.series.unit == "g/kWh"
    assert loaded.series.quality is Quality.MEASURED
    assert (note is None and not loaded.notes) or (note is not None and note in loaded.series.origin)


def test_life_cycle_is_preferred_to_direct_intensity_and_the_origin_says_so(load: Load) -> None:
    loaded = load(
        "Datetime (UTC),Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle)\n"
        "2020-01-01 00:00:00,1,10\n2020-01-01 01:00:00,2,20\n",
        hours=2,
    )
    assert list(loaded.ticks) == [10.0, 20.0]
    assert "life cycle" in loaded.series.origin


def test_the_first_generation_uses_its_epoch_column_and_not_the_production_intensity(load: Load) -> None:
    text = "timestamp,datetime,carbon_intensity_avg,carbon_intensity_production_avg,carbon_intensity_import_avg\n"
    text += "".join(f"{1577836800 + 3600 * k},2020-01-01 0{k}:00:00,{k},9,9\n" for k in range(3))
    assert list(load(text).ticks) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "column", "unit", "factor", "canonical"),
    [
        ("solar", "pv_w", None, 1.0, "W"),
        ("solar", "pv_kw", None, 1e3, "W"),
        ("solar", "pv", "MW", 1e6, "W"),
        ("solar", "AC power [kW]", None, 1e3, "W"),
        ("carbon", "ci_kg_per_mwh", None, 1.0, "g/kWh"),
        ("carbon", "moer_lbs_per_mwh", None, 0.45359237, "g/kWh"),
        ("carbon", "moer", "kg/kWh", 1e3, "g/kWh"),
        ("price", "eur_per_mwh", None, 1e-3, "1/kWh"),
        ("price", "price (EUR/kWh)", None, 1.0, "1/kWh"),
        ("load", "use_ratio", None, 1.0, "1"),
        ("load", "use", "%", 0.01, "1"),
    ],
)
def test_values_are_converted_once_into_the_canonical_unit(
    load: Load, name: str, column: str, unit: str | None, factor: float, canonical: str
) -> None:
    loaded = load(rows(1, 2, 3, header=f"time,{column}"), name, unit=unit)
    assert list(loaded.ticks) == pytest.approx([factor, 2 * factor, 3 * factor], rel=1e-15)
    assert loaded.series.unit == canonical


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_separators_blank_lines_and_a_byte_order_mark_do_not_matter(load: Load, delimiter: str) -> None:
    text = "\ufeff" + rows(1, 2, 3).replace(",", delimiter).replace("\n", "\r\n") + "\r\n"
    assert list(load(text).ticks) == [1.0, 2.0, 3.0]


def test_a_compressed_file_is_read_and_its_checksum_is_of_the_bytes_on_disk(load: Load, tmp_path: Path) -> None:
    import hashlib

    loaded = load(gzip.compress(rows(1, 2, 3).encode()), file="s.csv.gz")
    assert list(loaded.ticks) == [1.0, 2.0, 3.0]
    assert loaded.files == [("s.csv.gz", hashlib.sha256((tmp_path / "s.csv.gz").read_bytes()).hexdigest())]


def test_a_file_without_a_header_has_numbered_columns(load: Load) -> None:
    text = "".join(f"{1577836800 + 3600 * k},{k}.5\n" for k in range(3))
    assert list(load(text, unit="g/kWh").ticks) == [0.5, 1.5, 2.5]
    assert list(load(text, unit="g/kWh", column="2", time_column="1").ticks) == [0.5, 1.5, 2.5]


@pytest.mark.parametrize("zoned", [True, False])
def test_parquet_gives_the_same_series_as_csv(load: Load, tmp_path: Path, zoned: bool) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    from datetime import UTC, datetime

    times = [datetime(2020, 1, 1, hour, tzinfo=UTC if zoned else None) for hour in range(3)]
    table = pa.table({"time": pa.array(times, pa.timestamp("ns", tz="UTC" if zoned else None)), "ci_g_per_kwh": [1.0, None, 3.0]})
    pq.write_table(table, tmp_path / "t.parquet")
    loaded = load((tmp_path / "t.parquet").read_bytes(), file="s.parquet", timezone=None if zoned else "UTC", fill="previous")
    assert list(loaded.ticks) == [1.0, 1.0, 3.0]


def test_power_on_finer_ticks_keeps_its_energy(load: Load) -> None:
    loaded = load(rows(100, 200, 300, header="time,pv_w"), "solar", tick_s=60.0)
    assert len(loaded.ticks) == 180
    assert math.fsum(loaded.ticks) * 60.0 == pytest.approx(600.0 * HOUR)


def test_a_trace_finer_than_the_tick_is_averaged_when_asked(load: Load) -> None:
    text = rows(*range(12), header="time,pv_w", step_min=15)
    assert list(load(text, "solar", resample="mean").ticks) == [1.5, 5.5, 9.5]


def test_irradiance_is_scaled_to_the_arrays_peak(load: Load) -> None:
    loaded = load(rows(0, 500, 250, header="time,GHI (W/m^2)"), "solar", scale_to_peak_w=2000.0)
    assert list(loaded.ticks) == [0.0, 2000.0, 1000.0]
    assert loaded.series.unit == "W"


def test_a_forecast_column_is_what_the_forecaster_answers(load: Load) -> None:
    text = "UTC time,carbon_intensity,avg_carbon_intensity_forecast\n"
    text += "".join(f"2020-01-01 0{k}:00:00,{k},{10 * k}\n" for k in range(3))
    loaded = load(text, forecast="column:avg_carbon_intensity_forecast")
    assert list(loaded.ticks) == [0.0, 1.0, 2.0]
    answer = loaded.forecaster.forecast(instant_s(START), 2 * HOUR)
    assert list(answer.values) == [0.0, 10.0]
    assert answer.quality is Quality.FORECAST


# Gaps


def test_a_gap_is_closed_with_the_value_before_it_only_when_asked(load: Load) -> None:
    loaded = load(rows(1, "", 3), fill="previous")
    assert list(loaded.ticks) == [1.0, 1.0, 3.0]
    assert loaded.series.quality is Quality.ESTIMATED
    assert "1 of 3 values were missing" in loaded.notes[0]
    assert "1 of 3" in loaded.series.origin


def test_a_missing_row_is_a_gap_too(load: Load) -> None:
    text = rows(1, 2, 3, 4, 5)
    without = "".join(line for line in text.splitlines(keepends=True) if "T02:00" not in line)
    assert list(load(without, hours=5, fill="previous").ticks) == [1.0, 2.0, 2.0, 4.0, 5.0]
    with pytest.raises(
        SeriesError, match=r"between rows 3 and 4, column 'ci_g_per_kwh': the value is missing for 1 h from 2020-01-01T02:00:00Z"
    ):
        load(without, hours=5)


def test_a_gap_longer_than_the_bound_stays_an_error(load: Load) -> None:
    with pytest.raises(SeriesError, match=r"row 3.*missing for 2 h .*the bound is max_gap = 1 h; raise max_gap"):
        load(rows(1, "", "", 4), hours=4, fill="previous")
    assert list(load(rows(1, "", "", 4), hours=4, fill="previous", max_gap="2h").ticks) == [1.0, 1.0, 1.0, 4.0]


def test_a_gap_at_the_very_start_has_nothing_to_take(load: Load) -> None:
    with pytest.raises(SeriesError, match="none before it to take; start the run later"):
        load(rows("", 2, 3), fill="previous")


def test_a_gap_outside_the_run_does_no_harm_and_ends_the_forecast(load: Load) -> None:
    loaded = load(rows(1, 2, 3, "NaN", 5))
    assert list(loaded.ticks) == [1.0, 2.0, 3.0]
    assert loaded.series.quality is Quality.MEASURED
    assert list(loaded.forecaster.forecast(instant_s(START), 5 * HOUR).values) == [1.0, 2.0, 3.0]


def test_values_that_the_publisher_estimated_are_labelled_so(load: Load) -> None:
    text = "Datetime (UTC),Carbon intensity gCO₂eq/kWh (Life cycle),Data source,Data estimated,Data estimation method\n"
    text += "".join(f"2020-01-01 0{k}:00:00,{k},entsoe,{k == 1},TSA\n" for k in range(3))
    loaded = load(text)
    assert loaded.series.quality is Quality.ESTIMATED
    assert loaded.notes[1] == "1 of 3 values were estimated by the publisher"
    assert load(text.replace("True", "false")).series.quality is Quality.MEASURED


# Negative values


def test_negative_power_is_refused_unless_taken_as_zero(load: Load) -> None:
    text = rows(5, -0.5, 7, header="time,pv_w")
    with pytest.raises(
        SeriesError, match=r"s\.csv: row 3, column 'pv_w': -0\.5 W is negative, the bound is 0; .*negative = \"zero\""
    ):
        load(text, "solar")
    loaded = load(text, "solar", options={"negative": "zero"})
    assert list(loaded.ticks) == [5.0, 0.0, 7.0]
    assert loaded.notes == ["1 negative values, down to -0.5 W, taken as 0"]


def test_a_price_may_be_negative(load: Load) -> None:
    assert list(load(rows(-10, 20, 30, header="time,eur_per_mwh"), "price").ticks) == pytest.approx([-0.01, 0.02, 0.03])


# Every fault in one line: file, row, column, value, bound, remedy

FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "an empty file": ("", {}, r"^s\.csv: is empty; "),
    "a header alone": ("time,ci_g_per_kwh\n", {}, r"^s\.csv: has a header but no rows; "),
    "a single row": (rows(1), {}, r"^s\.csv: has a single row, which tells no step; "),
    "a ragged row": (rows(1, "2,2", 3), {}, r"^s\.csv: row 3: has 3 cells, the first line has 2; "),
    "text for a number": (rows(1, 2, "x"), {}, r"^s\.csv: row 4, column 'ci_g_per_kwh': 'x' is no number; "),
    "a decimal comma": (
        rows(1, '"2,5"', 3),
        {},
        r"row 3, column 'ci_g_per_kwh': '2,5' is no number; write it with a decimal point",
    ),
    "NaN": (rows(1, "NaN", 3), {}, r"^s\.csv: row 3, column 'ci_g_per_kwh': the value is missing for 1 h from 2020-01-01T01"),
    "an empty cell": (rows(1, 2, ""), {}, r"^s\.csv: row 4, column 'ci_g_per_kwh': the value is missing"),
    "infinity": (rows(1, "inf", 3), {}, r"^s\.csv: row 3, column 'ci_g_per_kwh': inf is infinite; "),
    "negative carbon": (rows(1, 2, -3), {}, r"^s\.csv: row 4, column 'ci_g_per_kwh': -3 g/kWh is negative, the bound is 0; "),
    "a row out of order": (
        rows(1, 2, 3) + "2020-01-01T00:30:00Z,4\n",
        {},
        r"^s\.csv: row 5: 2020-01-01T00:30:00Z comes after 2020-01-01T02:00:00Z, rows must be in the order of time; ",
    ),
    "a duplicate row": (rows(1, 2) + "2020-01-01T01:00:00Z,4\n", {}, r"^s\.csv: row 4: 2020-01-01T01:00:00Z stands twice; "),
    "an irregular step": (
        rows(1, 2, 3) + "2020-01-01T02:20:00Z,4\n2020-01-01T03:00:00Z,4\n",
        {},
        r"^s\.csv: row 5: 2020-01-01T02:20:00Z is 20 min after the row before, the step is 1 h; ",
    ),
    "a time far away": (
        "time,x_w\n0,1\n60,2\n120,3\n90000000000,4\n",
        {"name": "solar"},
        r"row 5: 4821-12-26T16:00:00Z is 1041666 d 15 h after the row before, the step is 1 min; repair the time",
    ),
    "a time before all calendars": (
        "time,x_g_per_kwh\n-90000000000,1\n60,2\n",
        {},
        "row 2, column 'time': -90000000000 is no instant",
    ),
    "no time": (
        rows(1, 2, 3).replace("2020-01-01T01:00:00Z", "yesterday"),
        {},
        r"^s\.csv: row 3, column 'datetime_utc': 'yesterday' is no ISO",
    ),
    "a time left out": (
        rows(1, 2, 3).replace("2020-01-01T01:00:00Z", ""),
        {},
        r"row 3, column 'datetime_utc': the time is missing",
    ),
    "a naive time": (
        rows(1, 2, 3, header="time,ci_g_per_kwh").replace("Z", ""),
        {},
        r"^s\.csv: row 2, column 'time': 2020-01-01T00:00:00 names no time zone; set timezone = \"UTC\"",
    ),
    "naive and aware times": (
        rows(1, 2, 3).replace("01:00:00Z", "01:00:00"),
        {},
        r"^s\.csv: row 3, column 'datetime_utc': 2020-01-01T01:00:00 has no time zone, the rows before have a time zone; ",
    ),
    "epoch and ISO times": (
        "time,x_g_per_kwh\n1577836800,1\n2020-01-01T01:00Z,2\n",
        {},
        r"row 3, column 'time': '2020-01-01T01:00Z' is no number",
    ),
    "milliseconds": (
        "time,x_g_per_kwh\n1577836800000,1\n1577840400000,2\n",
        {},
        r"row 2, column 'time': 1577836800000 .*milliseconds",
    ),
    "a compact date": ("date,x_g_per_kwh\n20200101,1\n20200102,2\n", {}, r"row 2, column 'date': 20200101 looks like a date"),
    "an unknown zone": (
        rows(1, 2, 3, header="time,ci_g_per_kwh").replace("Z", ""),
        {"timezone": "Europe/Berln"},
        r"no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'",
    ),
    "UTC by name, another zone by setting": (
        rows(1, 2, 3).replace("Z", ""),
        {"timezone": "Europe/Berlin"},
        "name says UTC, the settings say timezone = 'Europe/Berlin'",
    ),
    "no time column": ("a,x_g_per_kwh\n1,2\n2,3\n", {}, r"^s\.csv: no time column among a, x_g_per_kwh; name it: time_column"),
    "an unknown column": (
        rows(1, 2, 3),
        {"column": "ci_g_per_kw"},
        r"^s\.csv: column 'ci_g_per_kw': there is no such column; did you mean 'ci_g_per_kwh'",
    ),
    "an unknown time column": (
        rows(1, 2, 3),
        {"time_column": "datetime"},
        r"^s\.csv: column 'datetime': there is no such column; did you mean 'datetime_utc'",
    ),
    "no value column": (
        rows("1,1", "2,2", "3,3", header="time,a,b"),
        {},
        r"^s\.csv: no column's name carries g/kWh: a, b; choose one: column =",
    ),
    "two value columns": (
        rows("1,1", "2,2", "3,3", header="time,a_g_per_kwh,b_g_per_kwh"),
        {},
        r"several columns could be signals\.carbon: a_g_per_kwh, b_g_per_kwh",
    ),
    "no unit": (
        rows(1, 2, 3, header="time,a"),
        {"column": "a"},
        r"^s\.csv: column 'a': its name carries no unit; give one: unit = \"g/kWh\"",
    ),
    "an unknown unit": (rows(1, 2, 3, header="time,a"), {"column": "a", "unit": "stone"}, r"column 'a': unknown unit 'stone'; "),
    "a unit that does not fit": (
        rows(1, 2, 3, header="time,a_kw"),
        {"column": "a_kw"},
        r"column 'a_kw': is in kw \(W\), signals\.carbon needs g/kWh; ",
    ),
    "units that contradict": (
        rows(1, 2, 3, header="time,a_kg_per_kwh"),
        {"unit": "g/kWh"},
        r"its name says 'kg/kwh', the settings say unit = 'g/kWh'",
    ),
    "a short trace": (
        rows(1, 2, 3),
        {"hours": 4},
        r"^s\.csv: covers 2020-01-01T00:00:00Z to 2020-01-01T03:00:00Z, the run needs .* to 2020-01-01T04:00:00Z; .*repeat = true",
    ),
    "another year": (rows(1, 2, 3), {"start": "2021-01-01T00:00Z"}, r"align = \"year\" moves it by whole years"),
    "a tick that does not divide the step": (
        rows(1, 2, 3),
        {"tick_s": 420.0, "hours": 0.7},
        r"the tick of 7 min does not divide its step of 1 h",
    ),
    "a trace finer than the tick": (
        rows(*range(12), step_min=15),
        {},
        r"its step of 15 min is finer than the tick of 1 h; .*resample = \"mean\"",
    ),
    "broken gzip": (gzip.compress(rows(1, 2, 3).encode())[:40].decode("latin1"), {}, "is no complete gzip file"),
    "an open quote": (rows(1, 2, 3) + '2020-01-01T03:00:00Z,"4\n', {}, "row 5"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_in_one_line_with_its_place_and_remedy(load: Load, fault: str) -> None:
    text, settings, told = FAULTS[fault]
    with pytest.raises(SeriesError, match=told) as error:
        load(text.encode("latin1") if fault == "broken gzip" else text, **settings)
    assert "\n" not in str(error.value)
    assert error.value.remedy


def test_solar_in_another_unit_is_told_how_to_become_power(load: Load) -> None:
    with pytest.raises(SeriesError, match=r"is in W/m\^2 \(W/m2\), signals\.solar needs W; set scale_to_peak_w"):
        load(rows(1, 2, 3, header="time,GHI (W/m^2)"), "solar", column="GHI (W/m^2)")


def test_a_missing_file_is_answered_with_the_nearest_name(load: Load, tmp_path: Path) -> None:
    load(rows(1, 2, 3), file="carbon.csv")
    signal = Signal(kind="file", file="carbn.csv")
    with pytest.raises(SeriesError, match=r"carbn\.csv: there is no such file .*; did you mean 'carbon\.csv'"):
        load_signal("carbon", signal, folder=tmp_path, start_s=0.0, end_s=HOUR, tick_s=HOUR, seed=0)


def test_what_is_no_text_is_refused(load: Load) -> None:
    with pytest.raises(SeriesError, match="is no text in UTF-8"):
        load(b"\xff\xfe\x00time")
    pytest.importorskip("pyarrow")
    with pytest.raises(SeriesError, match="is no readable Parquet file"):
        load(b"PAR1 but no more", file="s.parquet")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SeriesError, match="cannot be read"):
        load_signal("carbon", Signal(kind="file", file="."), folder=tmp_path, start_s=0.0, end_s=HOUR, tick_s=HOUR, seed=0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"file": None}, r"signals\.carbon\.file: is missing"),
        ({"max_gap": "soon"}, r"signals\.carbon\.max_gap: 'soon' is no duration"),
        ({"options": {"negativ": "zero"}}, r"signals\.carbon\.options\.negativ: unknown option; did you mean 'negative'"),
        ({"options": {"negative": "drop"}}, r"signals\.carbon\.options\.negative: 'drop' is unknown"),
        ({"scale_to_peak_w": 5.0}, r"signals\.carbon\.scale_to_peak_w: 5 W does not fit carbon"),
        ({"forecast": "persistance"}, r"signals\.carbon\.forecast: unknown forecast 'persistance'; did you mean 'persistence'"),
    ],
)
def test_a_wrong_setting_is_named_by_its_field(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    (tmp_path / "s.csv").write_text(rows(1, 2, 3))
    signal = Signal(kind="file", **{"file": "s.csv", **settings})
    start_s = instant_s(START)
    with pytest.raises(SettingsError, match=told):
        load_signal("carbon", signal, folder=tmp_path, start_s=start_s, end_s=start_s + HOUR, tick_s=HOUR, seed=0)


def test_nothing_above_zero_cannot_be_scaled(load: Load) -> None:
    with pytest.raises(InputError, match="has no value above 0 to scale"):
        load(rows(0, 0, 0, header="time,pv_w"), "solar", scale_to_peak_w=10.0)

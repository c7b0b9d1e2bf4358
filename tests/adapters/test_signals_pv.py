"""The array's output: night is dark, the rated power bounds it, energy is kept on every step, hours are where they belong."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.model.errors import SeriesError, SettingsError
from ecovisor.model.series import Quality
from ecovisor.model.units import instant_s
from ecovisor.settings import Signal

pvlib = pytest.importorskip("pvlib")

DAY = 86400.0


def load(
    start: str = "2020-06-01T00:00Z", days: int = 4, *, tick_s: float = 3600.0, folder: Path = Path(), **settings: Any
) -> LoadedSignal:
    start_s = instant_s(start)
    signal = Signal(kind="pvlib", **{"peak_w": 1000.0, **settings})
    return load_signal("solar", signal, folder=folder, start_s=start_s, end_s=start_s + days * DAY, tick_s=tick_s, seed=0)


def noon_utc(ticks: Any, step_s: float) -> float:
    """Centre of the day's energy. [h, UTC]"""
    total = math.fsum(ticks)
    return math.fsum(value * (k + 0.5) * step_s / 3600.0 for k, value in enumerate(ticks)) / total


def test_output_is_modelled_power_between_zero_and_the_rated_one() -> None:
    loaded = load()
    assert loaded.series.quality is Quality.MODELLED
    assert loaded.series.unit == "W"
    assert min(loaded.ticks) == 0.0
    assert 300.0 < max(loaded.ticks) <= 1000.0
    assert "pvlib" in loaded.series.origin
    assert "Greensboro" in loaded.series.origin
    assert loaded.files[0][0] == "pvlib/data/723170TYA.CSV"
    assert len(loaded.files[0][1]) == 64


def test_a_typical_year_yields_what_such_an_array_does() -> None:
    year = load("2021-01-01T00:00Z", 365)
    assert 1200.0 < math.fsum(year.ticks) / 1000.0 < 1600.0  # kWh per kW; PVWatts gives about 1,400 for Greensboro


def test_output_is_proportional_to_the_rated_power() -> None:
    assert list(load(peak_w=500.0).ticks) == pytest.approx([value / 2 for value in load().ticks])


@pytest.mark.parametrize("tick_s", [60.0, 300.0, 900.0, 1800.0])
def test_energy_is_the_same_on_every_tick(tick_s: float) -> None:
    hourly, fine = load().ticks, load(tick_s=tick_s).ticks
    per_hour = round(3600.0 / tick_s)
    assert len(fine) == len(hourly) * per_hour
    for k, power in enumerate(hourly):
        assert math.fsum(fine[k * per_hour : (k + 1) * per_hour]) / per_hour == pytest.approx(power, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("tick_s", [7.0, 60.0, 420.0, 3000.0])
def test_any_tick_and_any_start_have_their_series(tick_s: float) -> None:
    start_s = instant_s("2020-06-01T12:00:10Z")
    count = round(43200 / tick_s)
    signal = Signal(kind="pvlib", peak_w=1000.0)
    loaded = load_signal("solar", signal, folder=Path(), start_s=start_s, end_s=start_s + count * tick_s, tick_s=tick_s, seed=0)
    assert len(loaded.ticks) == count
    assert max(loaded.ticks) > 100.0
    hourly = load(days=1).series
    expected = math.fsum(hourly.on_ticks(instant_s("2020-06-01T12:00Z"), 3600.0, 12))
    assert math.fsum(loaded.ticks) * tick_s / 3600.0 == pytest.approx(expected, rel=0.03)


def test_a_tick_longer_than_an_hour_is_the_mean_of_its_hours() -> None:
    assert list(load(tick_s=7200.0, resample="mean").ticks) == pytest.approx(
        [(a + b) / 2 for a, b in zip(load().ticks[::2], load().ticks[1::2], strict=True)]
    )


def test_the_sun_culminates_when_astronomy_says() -> None:
    # 80° W: mean solar noon at 17:20 UTC; the equation of time is +2 min on 1 June.
    clear = load(days=1, tick_s=300.0, weather="clear-sky", latitude=36.1, longitude=-80.0)
    assert noon_utc(clear.ticks, 300.0) == pytest.approx(17.3, abs=0.05)
    # A typical year has clouds, which over a whole one favour neither morning nor afternoon by much.
    year = load("2021-01-01T00:00Z", 365).ticks
    mean_day = [math.fsum(year[h::24]) for h in range(24)]
    assert noon_utc(mean_day[5:] + mean_day[:5], 3600.0) + 5.0 == pytest.approx(17.35, abs=0.25)


def test_hours_are_taken_as_ending_at_their_label() -> None:
    file = Path(pvlib.__file__).parent / "data/723170TYA.CSV"
    frame, _ = pvlib.iotools.read_tmy3(str(file), coerce_year=2021, map_variables=True)
    start_s = instant_s("2021-06-10T05:00Z")  # midnight in local standard time
    flat = load("2021-06-10T00:00Z", 2, tilt_deg=0.0)
    power = flat.series.on_ticks(start_s, 3600.0, 24)
    labels = [row for row in range(len(frame)) if (frame.index[row].month, frame.index[row].day) == (6, 10)]
    # Labels 01:00 to 23:00 are the hours 00 to 22.
    irradiance = [float(frame["ghi"].iloc[row]) for row in labels if frame.index[row].hour]
    assert max(range(23), key=lambda k: power[k]) == max(range(23), key=lambda k: irradiance[k])
    assert all(
        (light > 0.0) == (watts > 0.0) for light, watts in zip(irradiance, power, strict=False) if light == 0.0 or light > 20.0
    )


def test_the_leap_day_takes_the_weather_of_the_day_before() -> None:
    days = load("2020-02-28T05:00Z", 2).ticks
    assert math.fsum(days[24:]) == pytest.approx(math.fsum(days[:24]), rel=0.03)


def test_the_southern_array_faces_north() -> None:
    south = load("2020-01-01T00:00Z", 1, weather="clear-sky", latitude=-33.0, longitude=0.0)
    wrong = load("2020-07-01T00:00Z", 1, weather="clear-sky", latitude=-33.0, longitude=0.0, azimuth_deg=180.0)
    right = load("2020-07-01T00:00Z", 1, weather="clear-sky", latitude=-33.0, longitude=0.0)
    assert math.fsum(south.ticks) > math.fsum(right.ticks) > 2 * math.fsum(wrong.ticks)


def test_weather_elsewhere_keeps_its_local_hours_and_says_so() -> None:
    california = load("2021-06-01T00:00Z", 30, latitude=37.0, longitude=-119.0)
    assert "weather of Greensboro" in california.notes[0]
    assert "37, -119" in california.series.origin
    mean_day = [math.fsum(california.ticks[h::24]) for h in range(24)]
    assert noon_utc(mean_day[8:] + mean_day[:8], 3600.0) + 8.0 == pytest.approx(19.95, abs=0.4)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"peak_w": None}, r"signals\.solar\.peak_w: is missing"),
        ({"weather": "clear-sky"}, r"signals\.solar\.weather: 'clear-sky' needs latitude and longitude"),
        ({"step": "2h"}, r"signals\.solar\.step: 2h is out of bounds, 1min to 1h"),
        ({"step": "1s"}, r"signals\.solar\.step: 1s is out of bounds, 1min to 1h"),
        ({"step": "x"}, r"signals\.solar\.step: 'x' is no duration"),
    ],
)
def test_wrong_settings_are_named_by_their_field(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load(**fields)


def test_carbon_is_no_power() -> None:
    with pytest.raises(SettingsError, match=r"signals\.carbon\.kind: 'pvlib' gives W"):
        load_signal("carbon", Signal(kind="pvlib", peak_w=1.0), folder=Path(), start_s=0.0, end_s=DAY, tick_s=3600.0, seed=0)


def test_a_weather_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("time,ghi\n2020-01-01T00:00Z,1\n")
    with pytest.raises(SeriesError, match=r"w\.csv: is no TMY3 file"):
        load(folder=tmp_path, weather="w.csv")
    with pytest.raises(SeriesError, match=r"v\.csv: cannot be read"):
        load(folder=tmp_path, weather="v.csv")


def test_a_weather_file_of_ones_own_is_read_like_the_shipped_one(tmp_path: Path) -> None:
    shipped = Path(pvlib.__file__).parent / "data/723170TYA.CSV"
    (tmp_path / "w.csv").write_bytes(shipped.read_bytes())
    assert load(folder=tmp_path, weather="w.csv").ticks == load().ticks
    (tmp_path / "short.csv").write_bytes(b"".join(shipped.read_bytes().splitlines(keepends=True)[:50]))
    with pytest.raises(SeriesError, match="has 48 rows, a typical year has 8760 hours"):
        load(folder=tmp_path, weather="short.csv")


def test_the_window_reaches_beyond_the_run_for_forecasts() -> None:
    loaded = load()
    assert loaded.series.start_s == datetime(2020, 5, 31, tzinfo=UTC).timestamp()
    assert loaded.series.end_s == datetime(2020, 6, 6, tzinfo=UTC).timestamp()

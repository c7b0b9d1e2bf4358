"""The modelled sun: pvlib's clear sky within a stated tolerance, clouds that depend on seed, place and instant alone."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecovisor.adapters.signals import load_series, load_signal
from ecovisor.adapters.signals.modelled_solar import Clouds, Panel, clear_irradiance, modelled_solar
from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Quality, Series
from ecovisor.settings import Signal

#: Examples may take their time: the machine has others to serve.
untimed = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

DAY = 86400.0
HERE = Panel(latitude=36.1, longitude=-119.95, tilt_deg=36.1, azimuth_deg=180.0, peak_w=200.0)
START = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
SIGNAL = Signal(kind="modelled-solar", peak_w=200.0, latitude=36.1, longitude=-119.95)


def load(signal: Signal = SIGNAL, *, days: float = 2.0, start_s: float = START, tick_s: float = 300.0, seed: int = 0) -> Series:
    return load_series("solar", signal, folder=Path(), start_s=start_s, end_s=start_s + days * DAY, tick_s=tick_s, seed=seed).series


@pytest.mark.parametrize(("latitude", "longitude"), [(36.1, -119.95), (0.0, 10.0), (-33.9, 151.2), (60.0, 25.0)])
@pytest.mark.parametrize(("tilt_deg", "azimuth_deg"), [(None, None), (0.0, 180.0), (30.0, 90.0)])
def test_a_clear_day_is_pvlibs_within_six_percent_of_the_peak_at_any_time(
    latitude: float, longitude: float, tilt_deg: float | None, azimuth_deg: float | None
) -> None:
    """pvlib's is the simplified Solis sky with refraction, an independent computation; energy of a bright day: within 4 %."""
    for month in (3, 6, 12):
        start_s = datetime(2026, month, 21, tzinfo=UTC).timestamp()
        pvlib, ours = (
            load_signal(
                "solar",
                Signal(
                    kind=kind,
                    peak_w=200.0,
                    latitude=latitude,
                    longitude=longitude,
                    tilt_deg=tilt_deg,
                    azimuth_deg=azimuth_deg,
                    weather="clear-sky",
                ),
                folder=Path(),
                start_s=start_s,
                end_s=start_s + DAY,
                tick_s=900.0,
                seed=0,
            ).ticks
            for kind in ("pvlib", "modelled-solar")
        )
        assert max(abs(a - b) for a, b in zip(pvlib, ours, strict=True)) <= 0.06 * 200.0
        if sum(pvlib) / 4.0 > 3.0 * 200.0:
            assert sum(ours) == pytest.approx(sum(pvlib), rel=0.04)


@untimed
@given(
    st.floats(-90.0, 90.0),
    st.floats(-180.0, 180.0),
    st.floats(0.0, 90.0),
    st.floats(0.0, 360.0),
    st.floats(0.0, 4e9),
    st.integers(),
)
def test_irradiance_is_finite_everywhere_and_at_all_times(
    latitude: float, longitude: float, tilt_deg: float, azimuth_deg: float, time_s: float, seed: int
) -> None:
    irradiance = clear_irradiance(Panel(latitude, longitude, tilt_deg, azimuth_deg, 1.0), time_s)
    assert 0.0 <= irradiance < 1500.0
    assert 0.25 - 1e-9 <= Clouds(seed, latitude, longitude).left_ratio(time_s) <= 1.0


def test_the_sun_is_highest_about_noon_and_shines_longest_at_the_solstice() -> None:
    """Noon by the place's longitude, give or take the equation of time; the sun's centre, without refraction, is up for this long."""
    for month, hours in ((3, 12.0), (6, 16.6), (12, 7.4)):
        start_s = datetime(2026, month, 21, tzinfo=UTC).timestamp()
        flat = Panel(latitude=52.5, longitude=0.0, tilt_deg=0.0, azimuth_deg=180.0, peak_w=1.0)
        minutes = [clear_irradiance(flat, start_s + minute * 60.0) for minute in range(1440)]
        assert minutes.index(max(minutes)) == pytest.approx(720, abs=10)
        assert sum(irradiance > 0.0 for irradiance in minutes) / 60.0 == pytest.approx(hours, abs=0.2)


@pytest.mark.parametrize(("month", "day", "noon_min"), [(2, 11, 734.2), (5, 14, 716.3), (7, 26, 726.5), (11, 3, 703.6)])
def test_noon_follows_the_equation_of_time(month: int, day: int, noon_min: float) -> None:
    """Its extremes in an almanac: a quarter of an hour late in February, early in November."""
    start_s = datetime(2026, month, day, tzinfo=UTC).timestamp()
    flat = Panel(latitude=52.5, longitude=0.0, tilt_deg=0.0, azimuth_deg=180.0, peak_w=1.0)
    seconds = [clear_irradiance(flat, start_s + k * 10.0) for k in range(8640)]
    assert seconds.index(max(seconds)) / 6.0 == pytest.approx(noon_min, abs=1.0)


def test_nothing_shines_at_night_and_nothing_exceeds_the_peak() -> None:
    series = load(days=365.0, tick_s=3600.0)
    assert min(series.values) == 0.0
    assert 0.6 * 200.0 < max(series.values) <= 200.0
    assert sum(value == 0.0 for value in series.values) / len(series.values) == pytest.approx(0.5, abs=0.04)
    polar_night = load(Signal(kind="modelled-solar", peak_w=1.0, latitude=80.0, longitude=0.0), start_s=START + 290 * DAY)
    assert set(polar_night.values) == {0.0}


def test_clouds_take_about_a_fifth_of_the_energy_and_vary_from_day_to_day() -> None:
    cloudy, clear = (
        modelled_solar("solar", HERE, start_s=START, end_s=START + 120.0 * DAY, step_s=1800.0, seed=seed) for seed in (4, None)
    )
    assert 0.7 < sum(cloudy.values) / sum(clear.values) < 0.9
    per_day = [sum(cloudy.values[k : k + 48]) / sum(clear.values[k : k + 48]) for k in range(0, 120 * 48, 48)]
    assert min(per_day) < 0.5
    assert max(per_day) > 0.97
    assert all(a <= b + 1e-9 for a, b in zip(cloudy.values, clear.values, strict=True))


@pytest.mark.parametrize("first", [0, 1, 7, 22, 40, 47])
def test_a_value_depends_on_seed_place_and_instant_and_not_on_the_run(first: int) -> None:
    start_s = START + first * 21600.0
    whole = modelled_solar("solar", HERE, start_s=START, end_s=START + 12 * DAY, step_s=3600.0, seed=9)
    part = modelled_solar("solar", HERE, start_s=start_s, end_s=start_s + DAY / 4.0, step_s=3600.0, seed=9)
    begin_s, end_s = max(whole.start_s, part.start_s), min(whole.end_s, part.end_s)
    count = round((end_s - begin_s) / 3600.0)
    assert whole.on_ticks(begin_s, 3600.0, count) == part.on_ticks(begin_s, 3600.0, count)


def test_another_seed_or_place_has_another_sky_and_the_same_sun() -> None:
    one, other_seed = load(seed=1), load(seed=2)
    assert one != other_seed
    assert load(seed=1) == one
    assert Clouds(1, 36.1, -119.95).left_ratio(START) != Clouds(1, 36.1, -119.0).left_ratio(START)
    clear = Signal(kind="modelled-solar", peak_w=200.0, latitude=36.1, longitude=-119.95, weather="clear-sky")
    assert load(clear, seed=1).values == load(clear, seed=2).values
    assert load(Signal(kind="modelled-solar", peak_w=200.0, latitude=36.1, longitude=-119.95, seed=1), seed=5) == one


@pytest.mark.parametrize("tick_s", [1.0, 7.0, 60.0, 300.0, 900.0, 3600.0, 7200.0])
def test_its_steps_fit_any_tick(tick_s: float) -> None:
    loaded = (
        load_signal("solar", SIGNAL, folder=Path(), start_s=START, end_s=START + 360 * tick_s, tick_s=tick_s, seed=0)
        if (tick_s <= 3600.0)
        else load_signal(
            "solar",
            Signal(kind="modelled-solar", peak_w=200.0, latitude=36.1, longitude=-119.95, resample="mean"),
            folder=Path(),
            start_s=START,
            end_s=START + 360 * tick_s,
            tick_s=tick_s,
            seed=0,
        )
    )
    assert len(loaded.ticks) == 360
    assert loaded.series.step_s <= 3600.0
    assert loaded.series.quality is Quality.MODELLED


@pytest.mark.parametrize("step", ["1min", "5min", "1h"])
def test_a_steps_value_is_its_mean(step: str) -> None:
    fine = modelled_solar("solar", HERE, start_s=START, end_s=START + DAY, step_s=30.0, seed=2)
    coarse = load(Signal(kind="modelled-solar", peak_w=200.0, latitude=36.1, longitude=-119.95, step=step), days=1.0, seed=2)
    means = fine.on_ticks(START, coarse.step_s, round(DAY / coarse.step_s), mean=True)
    ours = coarse.on_ticks(START, coarse.step_s, round(DAY / coarse.step_s))
    assert list(ours) == pytest.approx(list(means), abs=0.5)


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("carbon", {}, r"signals\.carbon\.kind: 'modelled-solar' gives W"),
        ("solar", {"peak_w": None}, r"signals\.solar\.peak_w: is missing"),
        ("solar", {"latitude": None}, r"signals\.solar\.latitude: is missing"),
        ("solar", {"longitude": None}, r"signals\.solar\.longitude: is missing"),
        ("solar", {"weather": "tmy3"}, r"'tmy3' is unknown; choose 'changeable' or 'clear-sky'"),
        ("solar", {"step": "2h"}, r"2h is out of bounds, 1min to 1h"),
        ("solar", {"step": "soon"}, r"signals\.solar\.step"),
        ("solar", {"options": {"a": 1}}, r"signals\.solar\.options"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_remedy(name: str, changes: dict[str, object], told: str) -> None:
    fields = {"kind": "modelled-solar", "peak_w": 200.0, "latitude": 1.0, "longitude": 1.0} | changes
    with pytest.raises(SettingsError, match=told):
        load_series(name, Signal(**fields), folder=Path(), start_s=START, end_s=START + DAY, tick_s=60.0, seed=0)  # type: ignore[arg-type]


def test_it_needs_nothing_but_the_standard_library() -> None:
    script = (
        "import sys; from ecovisor.adapters.signals.modelled_solar import *;"
        "modelled_solar('solar', Panel(50.0, 8.0, 30.0, 180.0, 1.0), start_s=0.0, end_s=86400.0, step_s=300.0, seed=0);"
        "print(*(m for m in ('numpy', 'pandas', 'pvlib', 'scipy') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_angles_of_incidence_agree_with_a_computation_by_vectors() -> None:
    """The array's normal and the sun's direction as vectors (east, north, up); their product is the cosine of the incidence."""
    for hour in range(24):
        time_s = datetime(2026, 5, 3, hour, 20, tzinfo=UTC).timestamp()
        flat = Panel(47.0, 8.0, 0.0, 180.0, 1.0)
        walls = [Panel(47.0, 8.0, 90.0, azimuth, 1.0) for azimuth in (0.0, 90.0, 180.0, 270.0)]
        if clear_irradiance(flat, time_s) == 0.0:
            assert all(clear_irradiance(wall, time_s) == 0.0 for wall in walls)
            continue
        tilted = Panel(47.0, 8.0, 40.0, 130.0, 1.0)
        north, east, south, west = (clear_irradiance(wall, time_s) for wall in walls)
        whole = clear_irradiance(flat, time_s)
        # Opposite walls see the same diffuse light and of the direct one what comes from their side.
        dark = min(north, east, south, west)
        east_direct, north_direct = east - west, north - south
        diffuse = 2.0 * (dark - 0.25 * whole / 2.0)
        up_direct = whole - diffuse
        tilt, turn = math.radians(40.0), math.radians(130.0)
        direct = up_direct * math.cos(tilt) + math.sin(tilt) * (east_direct * math.sin(turn) + north_direct * math.cos(turn))
        expected = max(direct, 0.0) + diffuse * (1 + math.cos(tilt)) / 2 + 0.25 * whole * (1 - math.cos(tilt)) / 2
        assert clear_irradiance(tilted, time_s) == pytest.approx(expected, rel=1e-9)

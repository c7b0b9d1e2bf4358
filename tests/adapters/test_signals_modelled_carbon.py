"""Modelled carbon intensity: like the real grid in its statistics, the same for everybody, never taken for measured."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import math
import os
from collections import defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.adapters.signals import load_signal
from ecovisor.adapters.signals.modelled_carbon import modelled_carbon, zone_statistics
from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import instant_s
from ecovisor.settings import Signal

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("ECOVISOR_DATA", ROOT.parent / "shared/data"))
HOUR = 3600.0
DAY = 86400.0


def year(zone: str, number: int = 2022, *, seed: int = 0, step_s: float = HOUR) -> Series:
    start_s, end_s = (datetime(y, 1, 1, tzinfo=UTC).timestamp() for y in (number, number + 1))
    series = modelled_carbon("carbon", zone_statistics()[zone], start_s=start_s, end_s=end_s, step_s=step_s, seed=seed)
    first, count = round((start_s - series.start_s) / step_s), round((end_s - start_s) / step_s)
    return Series("carbon", "g/kWh", start_s, step_s, series.values[first : first + count])


def shape(values: list[float]) -> tuple[float, float, float]:
    """Mean, range of the mean day, lag-1 autocorrelation, of hourly values from midnight UTC on."""
    mean = math.fsum(values) / len(values)
    hours = [math.fsum(values[h::24]) / len(values[h::24]) for h in range(24)]
    variance = math.fsum((v - mean) ** 2 for v in values) / len(values)
    lag1 = math.fsum((a - mean) * (b - mean) for a, b in pairwise(values)) / (len(values) - 1) / variance
    return mean, max(hours) - min(hours), lag1


def real_hours(zone: str) -> list[float]:
    file, column = (
        ("em_hourly_2022_123zones", zone) if zone != "US-CAL-CISO" else ("em_caiso_2020_2022_hourly_mix", "carbon_intensity_avg")
    )
    path = DATA / f"carbon/{file}.csv.gz"
    if not path.is_file():
        pytest.skip(f"real series not there: {path} (set ECOVISOR_DATA)")
    with gzip.open(path, "rt", newline="") as stream:
        return [float(row[column]) for row in csv.DictReader(stream) if row[column] and "2022-" in next(iter(row.values()))]


@pytest.mark.parametrize("zone", sorted(zone_statistics()))
@pytest.mark.parametrize("seed", [0, 1])
def test_mean_daily_range_and_persistence_are_those_of_the_real_grid(zone: str, seed: int) -> None:
    real = shape(real_hours(zone))
    made = shape(list(year(zone, seed=seed).values))
    # California's statistics are of three years, of which 2022 was 3.5 % below the mean.
    assert made[0] == pytest.approx(real[0], rel=0.05 if zone == "US-CAL-CISO" else 0.02)
    assert made[1] == pytest.approx(real[1], rel=0.07, abs=0.3)
    assert made[2] == pytest.approx(real[2], abs=0.025)


def test_the_table_is_what_the_script_computes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_hours("DE")
    spec = importlib.util.spec_from_file_location("carbon_statistics", ROOT / "scripts/carbon_statistics.py")
    assert spec is not None
    assert spec.loader is not None
    script: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr("sys.argv", ["carbon_statistics.py", str(DATA), "--out", str(tmp_path / "table.json")])
    script.main()
    assert (tmp_path / "table.json").read_text() == script.TABLE.read_text()


def test_the_table_carries_its_attribution_and_licence() -> None:
    folder = ROOT / "src/ecovisor/adapters/signals"
    table = json.loads((folder / "carbon_statistics.json").read_text())
    assert "Data from Electricity Maps" in table["attribution"]
    assert "ODbL" in table["licence"]
    assert "Data from [Electricity Maps]" in (folder / "carbon_statistics.md").read_text()
    assert {"US-CAL-CISO", "DE", "FR", "PL", "SE-SE1"} <= set(table["zones"])


def test_the_monthly_means_are_those_of_the_table() -> None:
    for zone, statistics in zone_statistics().items():
        months = defaultdict(list)
        series = year(zone, seed=3)
        for k, value in enumerate(series.values):
            months[datetime.fromtimestamp(series.start_s + k * HOUR, UTC).month].append(value)
        for month, values in months.items():
            expected = sum(statistics.mean_g_per_kwh[month - 1]) / 24
            assert math.fsum(values) / len(values) == pytest.approx(expected, rel=0.06), (zone, month)


@settings(max_examples=20)
@given(
    first=st.integers(0, 3000),
    days=st.integers(1, 40),
    more_before=st.integers(0, 40),
    more_after=st.integers(0, 40),
    step=st.sampled_from([HOUR, 900.0, 300.0]),
)
def test_a_value_depends_on_its_instant_and_not_on_the_run(
    first: int, days: int, more_before: int, more_after: int, step: float
) -> None:
    zone = zone_statistics()["DE"]
    start_s, end_s = first * DAY, (first + days) * DAY
    run = modelled_carbon("carbon", zone, start_s=start_s, end_s=end_s, step_s=step, seed=1)
    longer = modelled_carbon(
        "carbon", zone, start_s=start_s - more_before * DAY, end_s=end_s + more_after * DAY, step_s=step, seed=1
    )
    count = round(days * DAY / step)
    assert run.on_ticks(start_s, step, count) == longer.on_ticks(start_s, step, count)


def test_five_minute_values_pass_through_the_hourly_ones() -> None:
    hourly, fine = year("FR"), year("FR", step_s=300.0)
    assert list(fine.values[::12]) == list(hourly.values)
    assert math.fsum(fine.values) / len(fine.values) == pytest.approx(math.fsum(hourly.values) / len(hourly.values), rel=1e-3)


def test_the_noise_joins_smoothly_from_month_to_month() -> None:
    zone = zone_statistics()["GB"]
    values = year("GB").values
    steps = [abs(b - a) for a, b in pairwise(values)]
    january_end = 31 * 24 - 1
    climate = abs(zone.mean_g_per_kwh[1][0] - zone.mean_g_per_kwh[0][23])
    assert steps[january_end] <= climate + max(steps[: january_end - 1]) * 2


def test_seeds_and_zones_give_different_courses() -> None:
    assert year("DE", seed=0).values != year("DE", seed=1).values
    assert year("DE", seed=0).values == year("DE", seed=0).values


def test_the_course_is_the_same_on_every_platform() -> None:
    assert list(year("US-CAL-CISO", 2020, seed=0).values[:3]) == [293.57, 339.83, 348.84]


def test_it_is_always_positive_and_labelled_modelled() -> None:
    start_s = instant_s("2020-06-01T00:00Z")
    loaded = load_signal(
        "carbon",
        Signal(kind="modelled-carbon", zone="SE-SE1", step="5min"),
        folder=Path(),
        start_s=start_s,
        end_s=start_s + 7 * DAY,
        tick_s=60.0,
        seed=11,
    )
    assert min(loaded.ticks) > 0.0
    assert loaded.series.quality is Quality.MODELLED
    assert loaded.series.unit == "g/kWh"
    assert "modelled" in loaded.series.origin
    assert "SE-SE1" in loaded.series.origin
    assert "seed 11" in loaded.series.origin
    assert loaded.series.start_s <= start_s - DAY
    assert loaded.series.end_s >= start_s + 9 * DAY


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("carbon", {}, r"signals\.carbon\.zone: is missing; choose one of"),
        ("carbon", {"zone": "US-CAL-CSIO"}, "unknown zone 'US-CAL-CSIO'; did you mean 'US-CAL-CISO'"),
        ("carbon", {"zone": "DE", "step": "7min"}, r"signals\.carbon\.step: 7min is no whole part of an hour"),
        ("carbon", {"zone": "DE", "step": "2h"}, r"signals\.carbon\.step: 2h is no whole part of an hour"),
        ("carbon", {"zone": "DE", "step": "often"}, r"signals\.carbon\.step: 'often' is no duration"),
        ("solar", {"zone": "DE"}, r"signals\.solar\.kind: 'modelled-carbon' gives g/kWh"),
    ],
)
def test_wrong_settings_are_named_by_their_field(name: str, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_signal(name, Signal(kind="modelled-carbon", **fields), folder=Path(), start_s=0.0, end_s=DAY, tick_s=HOUR, seed=0)

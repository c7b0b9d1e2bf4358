"""A signal of one's own: hourly irradiance as the National Solar Radiation Database exports it, as the output of a flat array."""

from __future__ import annotations

import csv
import gzip
from array import array
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ecovisor.model.errors import SeriesError
from ecovisor.model.series import Quality, Series

_STANDARD_TIME = timedelta(hours=-8)  # of the station; the export has no daylight saving time
_HOUR_S = 3600.0


def flat_array(
    name: str, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int, file: str, peak_w: float
) -> Series:
    """`peak_w` at 1000 W/m2. Each row is the middle of an hour; 29 February, which the export leaves out, is the day before."""
    known: dict[datetime, float] = {}
    with gzip.open(folder / file, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            year, month, day, hour = (int(row[field]) for field in ("Year", "Month", "Day", "Hour"))
            known[datetime(year, month, day, hour, tzinfo=UTC) - _STANDARD_TIME] = float(row["GHI"])
    values = array("d")
    first_s = start_s - start_s % _HOUR_S
    hours = round((end_s - first_s) / _HOUR_S + 0.499)
    for k in range(hours):
        hour = datetime.fromtimestamp(first_s + k * _HOUR_S, UTC)
        local = hour + _STANDARD_TIME
        leap_day = (local.month, local.day) == (2, 29)
        ghi = known.get(hour - timedelta(days=1) if leap_day else hour)
        if ghi is None:
            raise SeriesError(f"signals.{name} ({file})", f"has no hour {hour.isoformat()}", "choose a run within 2019 to 2021")
        values.append(ghi / 1000.0 * peak_w)
    origin = f"{file}: GHI on a flat array of {peak_w:g} W, 29 February repeats the 28th"
    return Series(name, "W", first_s, _HOUR_S, values, Quality.ESTIMATED, origin)

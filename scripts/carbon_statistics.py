"""Computes the committed statistics of carbon intensity from hourly Electricity Maps series; standard library only.

    python scripts/carbon_statistics.py DATA_FOLDER [--out FILE]

``DATA_FOLDER`` holds ``carbon/em_hourly_2022_123zones.csv.gz`` and ``carbon/em_caiso_2020_2022_hourly_mix.csv.gz``. What each
number is, and the licence that follows from the source, stands beside the table in ``carbon_statistics.md``.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

TABLE = Path(__file__).parents[1] / "src/ecovisor/adapters/signals/carbon_statistics.json"
MANY_ZONES = "carbon/em_hourly_2022_123zones.csv.gz"
CALIFORNIA = "carbon/em_caiso_2020_2022_hourly_mix.csv.gz"
#: Coal-heavy (PL, IN-WE, AU-NSW), mixed (DE, GB, US-TEX-ERCO, US-MIDA-PJM), clean (FR, SE-SE1, CA-ON, US-NW-BPAT).
ZONES = ["AU-NSW", "CA-ON", "DE", "FR", "GB", "IN-WE", "PL", "SE-SE1", "US-MIDA-PJM", "US-NW-BPAT", "US-TEX-ERCO"]

Hourly = list[tuple[datetime, float]]


def read_column(file: Path, column: str) -> Hourly:
    """(instant, g/kWh) of each hour that has a value; times without a zone are in UTC."""
    with gzip.open(file, "rt", encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        index = next(reader).index(column)
        return [(datetime.fromisoformat(row[0]).replace(tzinfo=UTC), float(row[index])) for row in reader if row[index]]


def statistics(rows: Hourly, source: str) -> dict[str, object]:
    """Mean and spread per month and UTC hour, and the lag-1 autocorrelation of the standardised deviations.

    Deviations are taken from the mean of their own year, month and hour, so that a trend over the years is no spread.
    """
    cells: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    for when, value in rows:
        cells[when.year, when.month, when.hour].append(value)
    own_mean = {cell: math.fsum(values) / len(values) for cell, values in cells.items()}
    squares: dict[tuple[int, int], list[float]] = defaultdict(list)
    for when, value in rows:
        squares[when.month, when.hour].append((value - own_mean[when.year, when.month, when.hour]) ** 2)
    spread = {cell: math.sqrt(math.fsum(values) / len(values)) for cell, values in squares.items()}
    years = sorted({when.year for when, _ in rows})
    mean = {
        (month, hour): math.fsum(own_mean[year, month, hour] for year in years) / len(years)
        for month in range(1, 13)
        for hour in range(24)
    }
    deviation = {when: (value - own_mean[when.year, when.month, when.hour]) / spread[when.month, when.hour] for when, value in rows}
    hour = timedelta(hours=1)
    products = [d * deviation[when + hour] for when, d in deviation.items() if when + hour in deviation]
    lag1 = math.fsum(products) / len(products) / (math.fsum(d * d for d in deviation.values()) / len(deviation))
    values = [value for _, value in rows]
    return {
        "source": source,
        "years": f"{years[0]}-{years[-1]}" if len(years) > 1 else str(years[0]),
        "lowest_g_per_kwh": min(values),
        "highest_g_per_kwh": max(values),
        "lag1": round(lag1, 4),
        "mean_g_per_kwh": [[round(mean[month, hour], 1) for hour in range(24)] for month in range(1, 13)],
        "spread_g_per_kwh": [[round(spread[month, hour], 1) for hour in range(24)] for month in range(1, 13)],
    }


def as_text(table: dict[str, object]) -> str:
    """JSON with one month's row of hours a line, so that a change reads well."""
    text = json.dumps(table, indent=1, ensure_ascii=False)
    lines: list[str] = []
    row: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if bare.rstrip(",").replace(".", "").replace("-", "").isdigit():
            row.append(bare)
        elif row:
            lines[-1] += " ".join(row) + bare
            row = []
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder with the series")
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    zones = {"US-CAL-CISO": statistics(read_column(arguments.data / CALIFORNIA, "carbon_intensity_avg"), CALIFORNIA)}
    for zone in ZONES:
        zones[zone] = statistics(read_column(arguments.data / MANY_ZONES, zone), MANY_ZONES)
    table: dict[str, object] = {
        "attribution": "Data from Electricity Maps (https://www.electricitymaps.com), aggregated",
        "licence": "ODbL-1.0 (https://opendatacommons.org/licenses/odbl/1-0/)",
        "zones": dict(sorted(zones.items())),
    }
    arguments.out.write_text(as_text(table), encoding="utf-8")
    print(f"{arguments.out}: {len(zones)} zones")


if __name__ == "__main__":
    main()

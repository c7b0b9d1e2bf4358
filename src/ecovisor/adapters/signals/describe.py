"""What a data file holds, for people: columns, range, step, gaps, unit, zone, extremes. It reports problems, it does not raise them.

Uses the same readers as `files`, so what it finds is what a scenario would meet. `ecovisor data` prints it.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecovisor.adapters.signals.columns import ValueColumn, carbon_basis, names_utc, time_index, unit_in_name, value_column
from ecovisor.adapters.signals.files import read_grid
from ecovisor.adapters.signals.grid import Grid, gaps
from ecovisor.adapters.signals.modelled_carbon import zone_statistics
from ecovisor.adapters.signals.tables import Table, open_table
from ecovisor.model.errors import SeriesError
from ecovisor.model.units import UNIT_FACTORS, iso_utc, unit_factor

_ALL_UNITS = tuple(dict.fromkeys(canonical for canonical, _ in UNIT_FACTORS.values()))


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without values: start and end [s since the epoch], number of steps, place in the file."""

    start_s: float
    end_s: float
    steps: int
    place: str


@dataclass(slots=True)
class SeriesDescription:
    """A file as the readers see it; None where it could not be told.

    Attributes:
        file: as given.
        sha256: of its bytes.
        rows: number of data rows.
        columns: names found, with the unit that each name carries (empty: none).
        time_column: the column taken for the time.
        zone: how its times name their zone.
        value_column: the column taken for the value.
        unit: canonical unit of the figures below; empty where unknown.
        start_s: start of the first step. [s since the epoch]
        end_s: end of the last step. [s since the epoch]
        step_s: [s]
        steps: number of steps from start to end.
        missing: how many of them have no value.
        gaps: where.
        minimum: smallest value, in ``unit``.
        mean: mean of the values that are there.
        maximum: largest value.
        problems: what a scenario would refuse, one line each.
    """

    file: str
    sha256: str | None = None
    rows: int | None = None
    columns: dict[str, str] = field(default_factory=dict)
    time_column: str | None = None
    zone: str | None = None
    value_column: str | None = None
    unit: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    step_s: float | None = None
    steps: int | None = None
    missing: int | None = None
    gaps: list[Gap] = field(default_factory=list)
    minimum: float | None = None
    mean: float | None = None
    maximum: float | None = None
    problems: list[str] = field(default_factory=list)


def describe_file(
    path: Path,
    *,
    column: str | None = None,
    time_column: str | None = None,
    unit: str | None = None,
    timezone: str | None = None,
    label: str | None = None,
) -> SeriesDescription:
    """Describes a CSV or Parquet file.

    Args:
        path: the file.
        column: value column; default the only one whose name tells what it is.
        time_column: default recognised by name.
        unit: of the value column, where its name does not say it.
        timezone: of naive times; without it they are taken as UTC, and that is a problem noted.
        label: how to name the file; default the path.
    """
    found = SeriesDescription(label or str(path))
    try:
        table = open_table(path, found.file)
    except SeriesError as error:
        found.problems.append(str(error))
        return found
    found.sha256, found.rows = table.sha256, len(table.lines)
    found.columns = {name: _unit(name) for name in table.names}
    try:
        time = time_index(table, time_column)
        found.time_column = table.names[time]
        value = _value(table, time, column, unit, found)
        grid = _grid(table, time, value, timezone, found)
    except SeriesError as error:
        found.problems.append(str(error))
        return found
    found.start_s, found.end_s, found.step_s, found.steps = grid.start_s, grid.end_s, grid.step_s, len(grid.values)
    if value is None:
        return found
    found.value_column, found.unit = value.name, value.unit
    for first, steps in gaps(grid.values):
        start_s = grid.start_s + first * grid.step_s
        found.gaps.append(Gap(start_s, start_s + steps * grid.step_s, steps, grid.place(first)))
    _figures(grid, value, found)
    return found


def zones() -> dict[str, float]:
    """The zones that `modelled-carbon` knows, with their mean intensity. [g/kWh]"""
    return {zone: statistics.average_g_per_kwh for zone, statistics in zone_statistics().items()}


def _unit(name: str) -> str:
    unit = unit_in_name(name)
    return unit_factor(unit)[0] if unit else "g/kWh" if carbon_basis(name) else ""


def _value(table: Table, time: int, column: str | None, unit: str | None, found: SeriesDescription) -> ValueColumn | None:
    """The column of most interest: what is asked for, a carbon intensity, the only one with a unit, or the only one."""
    others = [i for i in range(len(table.names)) if i != time]
    try:
        return value_column(table, "carbon", time, asked=column, unit=unit, fitting=_ALL_UNITS)
    except SeriesError as error:
        index = table.index(column) if column is not None else others[0] if len(others) == 1 else None
        if index is None or unit is not None:
            found.problems.append(str(error))
            return None
    name = table.names[index]
    found.problems.append(f"{table.label}: column {name!r}: its name carries no unit; give one in the scenario")
    return ValueColumn(index, name, "", 1.0)


def _grid(table: Table, time: int, value: ValueColumn | None, timezone: str | None, found: SeriesDescription) -> Grid:
    """The grid of the value column; without one, of the times alone."""
    cells = table.read(time)
    if timezone is not None:
        found.zone = f"{timezone} where none is given"
    elif isinstance(cells[0], (int, float)) or str(cells[0]).strip().lstrip("-").replace(".", "").isdigit():
        found.zone = "epoch seconds (UTC)"
    else:
        found.zone = "UTC by the column's name" if names_utc(table.names[time]) else "given with each time"
    try:
        return _read(table, time, value, timezone)
    except SeriesError as error:
        if "names no time zone" not in error.problem:
            raise
        found.problems.append(str(error))
        found.zone = "none given, taken as UTC"
        return _read(table, time, value, "UTC")


def _read(table: Table, time: int, value: ValueColumn | None, timezone: str | None) -> Grid:
    if value is not None:
        return read_grid(table, time, value, timezone)
    alone = replace(
        table, names=[table.names[time], "row"], read=lambda k: table.read(time) if k == 0 else [0.0] * len(table.lines)
    )
    return read_grid(alone, 0, ValueColumn(1, "row", "", 1.0), timezone)


def _figures(grid: Grid, value: ValueColumn, found: SeriesDescription) -> None:
    values = array("d", [v for v in grid.values if not math.isnan(v)])
    found.missing = len(grid.values) - len(values)
    if found.missing:
        longest = max(found.gaps, key=lambda gap: gap.steps)
        found.problems.append(
            f"{grid.label}: {found.missing} values missing in {len(found.gaps)} {'gap' if len(found.gaps) == 1 else 'gaps'}, "
            f"the longest {longest.steps} steps from {iso_utc(longest.start_s)} ({longest.place})"
        )
    if not values:
        return
    found.minimum, found.mean, found.maximum = min(values), math.fsum(values) / len(values), max(values)
    if found.minimum < 0.0 and value.unit not in ("1/kWh", ""):
        first = next(k for k, v in enumerate(grid.values) if v < 0.0)
        count = sum(v < 0.0 for v in values)
        found.problems.append(
            f"{grid.label}: {count} values are negative, the first {grid.values[first]:g} {value.unit} ({grid.place(first)})"
        )

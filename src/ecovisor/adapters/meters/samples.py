"""Samples of a server's load and power from a CSV or Parquet file, for `ecovisor calibrate --from`.

Owns which column is which, and the units: those in the columns' names, as `adapters.signals.columns` reads them, or those given. A row
with a missing value is passed over and counted. `library.calibration` fits the curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecovisor.adapters.signals.columns import plain, unit_in_name
from ecovisor.adapters.signals.numbers import read_numbers
from ecovisor.adapters.signals.tables import Table, open_table
from ecovisor.library.calibration import PowerSample
from ecovisor.model.errors import SeriesError, SettingsError
from ecovisor.model.units import unit_factor

#: Loads this little above 1 are rounding of who measured them.
_ROUNDING_RATIO = 0.01
_UNITS = {"load": "1", "power": "W"}
_EXAMPLES = {"load": "%", "power": "W"}
_WORDS = {"load": ("load", "utilisation", "utilization", "busy", "usage"), "power": ("power", "watts", "watt")}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which column, and its unit; None: by name."""

    column: str | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class SampleFile:
    """What a file gave."""

    samples: list[PowerSample]
    load_column: str
    power_column: str
    rows_without_value: int
    rows_left_out: int
    """By the filters."""


def read_samples(path: Path, *, load: Asked = Asked(), power: Asked = Asked(), only: Sequence[tuple[str, str]] = ()) -> SampleFile:
    """The samples in a file.

    Args:
        path: a CSV (also .gz) or Parquet file.
        load: the column of loads.
        power: the column of powers.
        only: (column, value): keep the rows that hold this text there; all of them must.

    Raises:
        SeriesError: the file cannot be read, or a column or unit cannot be told, or a value is out of bounds.
        SettingsError: a filter keeps no row.
    """
    if not path.exists():
        raise SeriesError(str(path), "there is no such file", "check the path")
    table = open_table(path, str(path))
    load_index, load_factor = _column(table, "load", load)
    power_index, power_factor = _column(table, "power", power)
    keep = _kept(table, only)
    loads = _read(table, load_index, load_factor)
    powers = _read(table, power_index, power_factor)
    samples, missing = [], 0
    for k in keep:
        load_ratio, power_w = loads[k], powers[k]
        if math.isnan(load_ratio) or math.isnan(power_w):
            missing += 1
            continue
        where = f"{table.label}: row {table.lines[k]}"
        if not 0.0 <= load_ratio <= 1.0 + _ROUNDING_RATIO:
            remedy = "is it in percent? then --load-unit %" if load_ratio <= 100.0 * (1.0 + _ROUNDING_RATIO) else "repair the row"
            raise SeriesError(f"{where}, column {table.names[load_index]!r}", f"a load of {load_ratio:g}, must be 0 to 1", remedy)
        if power_w < 0.0:
            raise SeriesError(
                f"{where}, column {table.names[power_index]!r}", f"a power of {power_w:g} W, must be at least 0", "repair the row"
            )
        samples.append(PowerSample(min(load_ratio, 1.0), power_w))
    names = table.names[load_index], table.names[power_index]
    return SampleFile(samples, *names, missing, len(table.lines) - len(keep))


def _column(table: Table, what: str, asked: Asked) -> tuple[int, float]:
    """Position of a column, and the factor into our unit."""
    index = table.index(asked.column) if asked.column is not None else _choose(table, what)
    name = table.names[index]
    told = _unit_told(name)
    try:
        canonical, factor = unit_factor(asked.unit or told or "")
    except ValueError as error:
        problem = str(error) if asked.unit else "its name carries no unit"
        raise SeriesError(f"{table.label}: column {name!r}", problem, f"give one: --{what}-unit {_EXAMPLES[what]}") from None
    if asked.unit and told and unit_factor(told) != (canonical, factor):
        raise SeriesError(
            f"{table.label}: column {name!r}", f"its name says {told!r}, --{what}-unit says {asked.unit!r}", "leave the option out"
        )
    if canonical != _UNITS[what]:
        raise SeriesError(
            f"{table.label}: column {name!r}",
            f"is in {asked.unit or told}, {what} needs {_UNITS[what] if what == 'power' else '% or ratio'}",
            f"choose another: --{what}-column NAME",
        )
    return index, factor


def _choose(table: Table, what: str) -> int:
    """The column whose name carries the unit; of several or none, the one whose name says what it is."""
    by_unit = [i for i, name in enumerate(table.names) if _fits(name, what)]
    named = [i for i in by_unit or range(len(table.names)) if _says(table.names[i], what)]
    for found in (by_unit, named):
        if len(found) == 1:
            return found[0]
    names = ", ".join(table.names[i] for i in named or by_unit or range(len(table.names)))[:200]
    problem = f"several columns could be the {what}" if named or by_unit else f"no column's name says that it is the {what}"
    raise SeriesError(table.label, f"{problem}: {names}", f"choose one: --{what}-column NAME")


def _fits(name: str, what: str) -> bool:
    told = _unit_told(name)
    return told is not None and unit_factor(told)[0] == _UNITS[what]


def _unit_told(name: str) -> str | None:
    told = unit_in_name(name)
    return "%" if told is None and name.strip().endswith("%") else told


def _says(name: str, what: str) -> bool:
    words = plain(name).replace("%", "").split("_")
    return any(word in _WORDS[what] for word in words)


def _kept(table: Table, only: Sequence[tuple[str, str]]) -> list[int]:
    keep = list(range(len(table.lines)))
    for column, value in only:
        cells = table.read(table.index(column))
        kept = [k for k in keep if str(cells[k]).strip() == value]
        if not kept:
            held = sorted({str(cells[k]).strip() for k in keep})
            raise SettingsError(
                f"--only {column}={value}", f"no row of {table.label} has it", f"there are: {', '.join(held)[:200]}"
            )
        keep = kept
    return keep


def _read(table: Table, index: int, factor: float) -> Sequence[float]:
    return read_numbers(table.read(index), table.lines, table.label, table.names[index], factor)

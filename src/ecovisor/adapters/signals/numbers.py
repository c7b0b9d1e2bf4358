"""Reads a value column: numbers in a file's unit to floats in the canonical one; a missing value becomes NaN, never zero.

`grid` takes over with instants and values; which missing values matter is decided in `files`, where the run is known.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from ecovisor.adapters.signals.tables import Cell
from ecovisor.model.errors import SeriesError

#: How files write a value that is not there.
_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none", "nil", "-", "--"})


def is_missing(cell: Cell) -> bool:
    """True for an empty cell and for the words that stand for one."""
    return cell is None or str(cell).strip().lower() in _MISSING


def read_numbers(cells: Sequence[Cell], lines: Sequence[int], label: str, column: str, factor: float) -> array[float]:
    """The values of a column times ``factor``; NaN where they are missing.

    Raises:
        SeriesError: a cell is neither a number nor missing, or infinite.
    """
    try:
        values = array("d", map(float, cells))
    except (ValueError, TypeError):
        values = array("d", [_number(cell, line, label, column) for cell, line in zip(cells, lines, strict=True)])
    if math.inf in values or -math.inf in values:
        k = next(k for k, value in enumerate(values) if math.isinf(value))
        raise SeriesError(f"{label}: row {lines[k]}, column {column!r}", f"{cells[k]} is infinite", "repair or empty the cell")
    return values if factor == 1.0 else array("d", [value * factor for value in values])


def _number(cell: Cell, line: int, label: str, column: str) -> float:
    if is_missing(cell):
        return math.nan
    try:
        return float(cell)
    except (ValueError, TypeError):
        remedy = "write it with a decimal point" if "," in str(cell) else "repair or empty the cell"
        raise SeriesError(f"{label}: row {line}, column {column!r}", f"{cell!r} is no number", remedy) from None

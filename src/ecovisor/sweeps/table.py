"""The table of a sweep: a row for each combination and app, and one for its site, as CSV and as Parquet.

Owns columns and their types. A combination that failed is one row with its error. Rows are in the order of the sweep, and nothing in them
depends on where or how fast they were computed: the same sweep gives the same bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ecovisor.adapters.scenario_keys import value_of
from ecovisor.sweeps.outcomes import APP_COLUMNS, SITE_COLUMNS, Outcome
from ecovisor.sweeps.varying import SEED

CSV, PARQUET = "sweep.csv", "sweep.parquet"
Cell = str | float | int | bool | None


def columns_of(keys: Sequence[str]) -> tuple[str, ...]:
    """The table's columns; the varied keys come first."""
    varied = (key for key in keys if key != SEED)
    return ("combination", *varied, "seed", "start_s", "tick_s", "ticks", "scope", "app", *APP_COLUMNS, *SITE_COLUMNS, "error")


def rows_of(outcome: Outcome, keys: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """The rows of one combination; what a row does not say is absent."""
    values = {key: setting.partition("=")[2] for key, setting in zip(keys, outcome.settings, strict=True)}
    common: dict[str, Cell] = {"combination": outcome.index}
    common |= {key: _cell(text) for key, text in values.items() if key != SEED}
    common |= {"seed": outcome.seed if outcome.seed is not None else _cell(values.get(SEED, ""))}
    if outcome.error is not None:
        yield {**common, "scope": "failed", "error": outcome.error}
        return
    common |= {"start_s": outcome.start_s, "tick_s": outcome.tick_s, "ticks": outcome.ticks}
    for app in outcome.apps:
        yield {**common, "scope": "app", **app}
    yield {**common, "scope": "site", **outcome.site}


def write_tables(folder: Path, outcomes: Iterable[Outcome], keys: Sequence[str]) -> list[Path]:
    """Write `sweep.csv`, and `sweep.parquet` where pyarrow is installed; the files written.

    Raises:
        OSError: the disk refuses.
    """
    names = columns_of(keys)
    rows = [row for outcome in outcomes for row in rows_of(outcome, keys)]
    written = [folder / CSV]
    partial = folder / f".{CSV}.partial"
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_text(row.get(name)) for name in names] for row in rows)
    partial.replace(written[0])
    if find_spec("pyarrow") is not None:
        written.append(folder / PARQUET)
        _write_parquet(written[1], rows, names)
    return written


def _write_parquet(path: Path, rows: Sequence[dict[str, Cell]], names: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: [row.get(name) for row in rows] for name in names}
    arrays = [pa.array(*_typed(values, pa)) for values in columns.values()]
    partial = path.with_name(f".{path.name}.partial")
    pq.write_table(pa.table(arrays, names=list(names)), partial, compression="zstd")
    partial.replace(path)


def _typed(values: Sequence[Cell], pa: Any) -> tuple[list[Cell], Any]:
    """A column's values, and its type: the narrowest that holds them all."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} and kinds:
        return list(values), pa.bool_()
    if kinds <= {int} and kinds:
        return list(values), pa.int64()
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values], pa.float64()
    return [None if value is None else _text(value) for value in values], pa.string()


def _cell(text: str) -> Cell:
    """A varied value: a number or truth value as such, anything else as it was written."""
    value = value_of(text) if text else None
    return value if isinstance(value, (bool, int, float, str)) else text or None


def _text(value: Cell) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)

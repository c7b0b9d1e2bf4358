"""Sums over an interval, or over each of many in a row: pieces from the roll-ups and from the rows of ticks, added up exactly.

`math.fsum` adds the pieces, so that the result does not depend on their order; an interval of whole hours is the same sum of the same
numbers before and after its ticks were deleted. ``usage`` and the report make answers of them.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ecovisor.adapters.stores.ledger.bundles import Stretch, stretches
from ecovisor.adapters.stores.ledger.catalog import load_catalog, text_ids
from ecovisor.adapters.stores.ledger.measures import QUALITIES, ROLLED_BY_TABLE, Kind, Rolled, sql
from ecovisor.adapters.stores.ledger.pieces import STEPS, Piece, bounds, pieces

_METERED = (Kind.DURATION, Kind.QUALITY)

Totals = dict[str, float]
"""By measure; a level that is unknown is NaN."""
Key = tuple[int, ...]
Row = Sequence[Any]
"""Numbers of the keys, then the measures; None: unknown."""


@dataclass(frozen=True, slots=True)
class Interval:
    """What lies between two edges."""

    start_s: float
    end_s: float
    """[s since the epoch]"""
    totals: Mapping[Key, Totals]
    """By key: numbers of the app (and container)."""


class Summing:
    """Answers of one state of the ledger.

    Args:
        db: in a read transaction.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.catalog = load_catalog(db)
        self._text_ids = text_ids(db, ["_battery", *map(str, QUALITIES)])

    def intervals(self, table: str, edges: Sequence[float], key: Key = (), *, gaps: bool = True) -> list[Interval]:
        """Sums between each edge and the next; the outer bounds are the true ones.

        Args:
            table: `flows`, `site` or `containers`.
            edges: at least two, rising. [s since the epoch]
            key: of the rows that count: those of an app, or of one of its containers. Empty: all.
            gaps: with what cumulative meters booked over gaps.
        """
        rolled = ROLLED_BY_TABLE[table]
        found = pieces(self.db, edges)
        parts: list[dict[Key, list[Row]]] = [{} for _ in edges[1:]]
        for one, rows in self._rows(rolled, found, key):
            for row in rows:
                parts[one].setdefault(tuple(row[: len(rolled.keys)]), []).append(row[len(rolled.keys) :])
        start_s, end_s = bounds(found, edges[0], edges[-1])
        edges = [start_s, *edges[1:-1], end_s]
        for one, name, part in self._gap_parts(rolled, edges, key) if gaps else ():
            parts[one].setdefault(name, []).append(part)
        return [
            Interval(edges[k], edges[k + 1], {name: _total(rolled, rows) for name, rows in part.items()})
            for k, part in enumerate(parts)
        ]

    def steps(self, table: str, first: int, last: int, key: Key = ()) -> list[Row]:
        """Sums of the ticks in a range of steps: the keys, then the measures; a row for each key and stretch."""
        return [row for stretch in stretches(self.db, first, last) for row in self._sum(table, stretch, key, "NOT NULL")]

    def gap(self, table: str, step: int, key: Key = ()) -> list[Row]:
        """What was booked over a gap, by key."""
        return self._sum(table, Stretch(step, step, None), key, "NULL")

    def _sum(self, table: str, stretch: Stretch, key: Key, tick: str) -> list[Row]:
        rolled = ROLLED_BY_TABLE[table]
        columns = self.catalog.layout(table).columns
        if table not in self.catalog.tables:
            return []
        flows = self.catalog.layout("flows").columns
        keys = [f"r.{name}" for name in rolled.keys]
        # Beside a lone MAX(), SQLite takes bare columns from the row that has it: levels are those of the last tick.
        values = [sql(measure, rolled, columns, flows, self._text_ids) for measure in rolled.measures]
        beside = ""
        if table == "containers" and flows:
            same = "f.step = r.step AND f.app = r.app" + (" AND f.bundle = r.bundle" if stretch.bundles else "")
            beside = f" LEFT JOIN {stretch.table('flows')} f ON {same}"
        rows = stretch.rows(table, _where(rolled, key)).replace(" WHERE ", f"{beside} WHERE ")
        statement = (
            f"SELECT {', '.join((*keys, *values))}, MAX(s.step) {rows} AND s.tick IS {tick} "
            f"GROUP BY {', '.join(keys or ('s.tick IS NULL',))}"
        )
        return [tuple(row[:-1]) for row in self.db.execute(statement, (*key, *stretch.steps))]

    def bucket(self, table: str, piece: Piece, key: Key = ()) -> dict[Key, Totals]:
        """Sums of one closed day or hour, by key."""
        rolled = ROLLED_BY_TABLE[table]
        split = len(rolled.keys)
        return {tuple(row[:split]): _total(rolled, [row[split:]]) for _, rows in self._rows(rolled, [piece], key) for row in rows}

    def _rows(self, rolled: Rolled, found: Sequence[Piece], key: Key) -> Iterable[tuple[int, Iterable[Row]]]:
        """Rows of keys and measures, with the interval that they belong to."""
        names = ", ".join(f"r.{name}" for name in (*rolled.keys, *rolled.names))
        for run in _runs(found):
            if run[0].kind == STEPS:
                yield run[0].interval, self.steps(rolled.table, run[0].first, run[0].last, key)
                continue
            span, where = run[0].kind, _where(rolled, key)
            intervals = {piece.first: piece.interval for piece in run}
            for row in self.db.execute(
                f"SELECT b.{span}_s, {names} FROM {span}s b CROSS JOIN {span}_{rolled.table} r "  # noqa: S608 - names of measures
                f"ON r.{span}_s = b.{span}_s{where} WHERE b.{span}_s BETWEEN ? AND ?",
                (*key, run[0].first, run[-1].last),
            ):
                yield intervals[row[0]], (row[1:],)

    def _gap_parts(self, rolled: Rolled, edges: Sequence[float], key: Key) -> Iterable[tuple[int, Key, Sequence[float | None]]]:
        """What the cumulative meters booked over gaps, to each interval by the part of the gap that lies in it. It is not metered time."""
        for step, start_s, end_s in self.db.execute(
            "SELECT step, start_s, end_s FROM gaps WHERE step IS NOT NULL AND end_s > ? AND start_s < ?", (edges[0], edges[-1])
        ).fetchall():
            for row in self.gap(rolled.table, step, key):
                split = len(rolled.keys)
                for k, (from_s, to_s) in enumerate(pairwise(edges)):
                    part = (min(end_s, to_s) - max(start_s, from_s)) / (end_s - start_s)
                    if part > 0.0:
                        values = zip(rolled.measures, row[split:], strict=True)
                        yield k, tuple(row[:split]), [_part(measure.kind, value, part) for measure, value in values]


def _part(kind: Kind, value: float | None, part: float) -> float | None:
    if value is None or kind is Kind.LAST:
        return None
    return 0.0 if kind in _METERED else value * part


def _where(rolled: Rolled, key: Key) -> str:
    return "".join(f" AND r.{name} = ?" for name, _ in zip(rolled.keys, key, strict=False))


def _runs(found: Sequence[Piece]) -> Iterable[list[Piece]]:
    """Pieces of one kind that follow each other; ranges of ticks one by one."""
    run: list[Piece] = []
    for piece in found:
        if run and (piece.kind != run[-1].kind or piece.kind == STEPS):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _total(rolled: Rolled, rows: Sequence[Row]) -> Totals:
    totals = {}
    for measure, column in zip(rolled.measures, zip(*rows, strict=True), strict=True):
        if measure.kind is Kind.LAST:
            totals[measure.name] = next((value for value in reversed(column) if value is not None), math.nan)
        else:
            totals[measure.name] = math.fsum(value for value in column if value is not None)
    return totals

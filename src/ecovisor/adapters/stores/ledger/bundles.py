"""Where the rows of ticks lie in the file: by tick while an hour runs, by app once it is over.

A tick is written in one stroke, so its rows lie together in `raw_NAME`. A question is about one app over many ticks, and would touch a
page for each of them; so the ticks of a closed hour are moved into `kept_NAME`, a bundle of them at a time, where the rows of one app
lie together. Every commit moves some thousand rows at most, in its own transaction. Ticks of very many rows stay where they are, and
gaps do; `bundles` lists those too, as not moved.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ecovisor.adapters.stores.ledger.catalog import Catalog, kept, raw

#: Rows that a commit moves, at most, and ticks that are worth it, at least.
ROWS_AT_ONCE = 20_000
LEAST_TICKS = 4


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps whose rows lie in one place."""

    first: int
    last: int
    bundles: tuple[int, int] | None
    """First and last bundle in which they are; None: by tick."""

    def table(self, name: str) -> str:
        """Where rows of a table are."""
        return raw(name) if self.bundles is None else kept(name)

    def rows(self, name: str, where: str) -> str:
        """`FROM … WHERE …` over rows `r` and their steps `s`; its parameters are those of `where`, then `steps`.

        Args:
            name: of the table.
            where: conditions on keys of `r`, with ` AND ` before each.
        """
        if self.bundles is None:
            return f"FROM steps s CROSS JOIN {raw(name)} r ON r.step = s.step{where} WHERE s.step BETWEEN ? AND ?"
        return (
            f"FROM bundles b CROSS JOIN {kept(name)} r ON r.bundle = b.first_step{where} AND r.step BETWEEN ? AND ? "
            f"CROSS JOIN steps s ON s.step = r.step WHERE b.moved AND b.first_step BETWEEN {self.bundles[0]} AND {self.bundles[1]}"
        )

    @property
    def steps(self) -> tuple[int, int]:
        """The first and the last."""
        return (self.first, self.last)


def stretches(db: sqlite3.Connection, first: int, last: int) -> list[Stretch]:
    """Where the ticks of a range of steps are, in the order of time."""
    found: list[Stretch] = []
    at = first
    for bundle, end in db.execute(
        "SELECT first_step, last_step FROM bundles WHERE moved AND first_step <= ? AND "
        "first_step >= COALESCE((SELECT MAX(first_step) FROM bundles WHERE first_step <= ?), 0) ORDER BY first_step",
        (last, first),
    ):
        if end < first:
            continue
        if bundle > at:
            found.append(Stretch(at, bundle - 1, None))
        before = found[-1] if found else None
        if before is not None and before.bundles is not None and before.last == bundle - 1:
            found[-1] = Stretch(before.first, min(end, last), (before.bundles[0], bundle))
        else:
            found.append(Stretch(max(bundle, first), min(end, last), (bundle, bundle)))
        at = end + 1
    if at <= last:
        found.append(Stretch(at, last, None))
    return found


def bundle_some(db: sqlite3.Connection, catalog: Catalog) -> None:
    """Move the oldest ticks of closed hours that lie by tick, inside the caller's transaction."""
    until = (db.execute("SELECT last_step FROM bundles ORDER BY first_step DESC LIMIT 1").fetchone() or (0,))[0]
    closed = (db.execute("SELECT last_step FROM hours ORDER BY hour_s DESC LIMIT 1").fetchone() or (0,))[0]
    if closed <= until:
        return
    hour = db.execute(
        "SELECT first_step, last_step FROM hours WHERE last_step > ? AND raw ORDER BY hour_s LIMIT 1", (until,)
    ).fetchone()
    if hour is None:
        return
    first, last = max(hour[0], until + 1), hour[1]
    gap = db.execute("SELECT MIN(step) FROM gaps WHERE step BETWEEN ? AND ?", (first, last)).fetchone()[0]
    ticks = ROWS_AT_ONCE // max(1, sum(_count(db, table, first) for table in catalog.tables))
    if gap == first or ticks < LEAST_TICKS:
        db.execute("INSERT INTO bundles VALUES (?, ?, 0)", (first, first if gap == first else last))
        return
    last = min(last, first + ticks - 1, last if gap is None else gap - 1)
    for table, layout in catalog.tables.items():
        keys = "".join(f'"{name}", ' for name in layout.keys)
        names = ", ".join(f'"{name}"' for name in (*layout.keys, "step", *layout.numbers, *layout.texts))
        where = f"FROM {raw(table)} WHERE step BETWEEN ? AND ?"
        db.execute(
            f"INSERT INTO {kept(table)} (bundle, {names}) SELECT {first}, {names} {where} ORDER BY {keys}step",
            (first, last),
        )
        db.execute(f"DELETE {where}", (first, last))
    db.execute("INSERT INTO bundles VALUES (?, ?, 1)", (first, last))


def _count(db: sqlite3.Connection, table: str, step: int) -> int:
    found: int = db.execute(f"SELECT COUNT(*) FROM {raw(table)} WHERE step = ?", (step,)).fetchone()[0]  # noqa: S608 - catalog
    return found

"""Letting go of old ticks, and of old hours: the sums stay, to the last bit.

Only what is in a closed hour (or day) goes, oldest first, in transactions of some thousand rows, so that ticks are committed in between.
An hour is marked before its ticks are deleted; what a crash leaves of them is deleted the next time. Gaps stay: nothing else knows what
they came to. The file keeps its size; new rows take the room.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from ecovisor.adapters.stores.ledger.bundles import ROWS_AT_ONCE, Stretch, stretches
from ecovisor.adapters.stores.ledger.catalog import kept, load_catalog, raw
from ecovisor.adapters.stores.ledger.measures import ROLLED
from ecovisor.adapters.stores.ledger.writing import Writer


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was let go of."""

    ticks: int
    hours: int


def prune(writer: Writer, *, ticks_before_s: float, hours_before_s: float | None = None) -> Pruned:
    """Delete the ticks of hours that ended before an instant, and the hours of days that did.

    Args:
        writer: of the ledger.
        ticks_before_s: site time. [s since the epoch]
        hours_before_s: of hours whose ticks are gone too; None: none. [s since the epoch]

    Raises:
        StoreError: the disk refuses; what was deleted until then is deleted.
    """
    with writer.change() as db:
        db.execute("UPDATE hours SET raw = 0 WHERE raw = 1 AND end_s <= ?", (ticks_before_s,))
        if hours_before_s is not None:
            # The newest hour stays: it tells where the running one begins.
            db.execute(
                "UPDATE days SET hourly = 0 WHERE hourly = 1 AND end_s <= ? "
                "AND day_s < (SELECT day_s FROM hours ORDER BY hour_s DESC LIMIT 1)",
                (min(hours_before_s, ticks_before_s),),
            )
    ticks = hours = 0
    while deleted := _delete_ticks(writer):
        ticks += deleted
    while _delete_hour(writer):
        hours += 1
    return Pruned(ticks, hours)


def _delete_ticks(writer: Writer) -> int:
    """Some ticks of hours that are marked; returns how many."""
    with writer.change() as db:
        gone = db.execute("SELECT COALESCE(MAX(last_step), 0) FROM hours WHERE raw = 0").fetchone()[0]
        oldest = db.execute("SELECT MIN(step) FROM steps WHERE step <= ? AND tick IS NOT NULL", (gone,)).fetchone()[0]
        if oldest is None:
            return 0
        tables = load_catalog(db).tables
        stretch = stretches(db, oldest, gone)[0]
        if stretch.bundles is None:
            steps = _some_steps(db, tables, stretch)
        else:
            bundle = stretch.bundles[0]
            steps = [
                row[0]
                for row in db.execute(
                    "SELECT s.step FROM bundles b JOIN steps s "
                    "ON s.step BETWEEN b.first_step AND b.last_step WHERE b.first_step = ?",
                    (bundle,),
                )
            ]
            for table in tables:
                db.execute(f"DELETE FROM {kept(table)} WHERE bundle = ?", (bundle,))  # noqa: S608 - catalog name
            db.execute("DELETE FROM bundles WHERE first_step = ?", (bundle,))
        for name in ("events", "steps"):
            db.executemany(f"DELETE FROM {name} WHERE step = ?", ((step,) for step in steps))  # noqa: S608 - two tables
        return len(steps)


def _some_steps(db: sqlite3.Connection, tables: Iterable[str], stretch: Stretch) -> list[int]:
    """Delete the rows of the first ticks that lie by tick; returns their steps."""
    steps = [
        row[0]
        for row in db.execute(
            "SELECT step FROM steps WHERE step BETWEEN ? AND ? AND tick IS NOT NULL ORDER BY step LIMIT ?",
            (*stretch.steps, ROWS_AT_ONCE),
        )
    ]
    per_step = sum(_count(db, table, steps[0]) for table in tables)
    steps = steps[: max(1, ROWS_AT_ONCE // max(1, per_step))]
    for table in tables:
        db.executemany(f"DELETE FROM {raw(table)} WHERE step = ?", ((step,) for step in steps))  # noqa: S608 - catalog name
    return steps


def _count(db: sqlite3.Connection, table: str, step: int) -> int:
    found: int = db.execute(f"SELECT COUNT(*) FROM {raw(table)} WHERE step = ?", (step,)).fetchone()[0]  # noqa: S608 - catalog name
    return found


def _delete_hour(writer: Writer) -> bool:
    """The oldest hour of a day that is marked, if there is one."""
    with writer.change() as db:
        row = db.execute(
            "SELECT h.hour_s FROM days d JOIN hours h ON h.day_s = d.day_s WHERE d.hourly = 0 ORDER BY h.hour_s LIMIT 1"
        ).fetchone()
        if row is None:
            return False
        for rolled in ROLLED:
            db.execute(f"DELETE FROM hour_{rolled.table} WHERE hour_s = ?", row)  # noqa: S608 - a rolled table
        db.execute("DELETE FROM hours WHERE hour_s = ?", row)
        return True

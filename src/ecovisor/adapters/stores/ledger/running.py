"""The running hour of a ledger that is opened: summed again from the rows of its ticks."""

from __future__ import annotations

import math
import sqlite3

from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.measures import ROLLED, Kind, Rolled
from ecovisor.adapters.stores.ledger.rollups import RunningHour, TableSums
from ecovisor.adapters.stores.ledger.sums import Row, Summing


def load_running_hour(db: sqlite3.Connection, calendar: Calendar) -> RunningHour | None:
    """The hour of the ticks that are in no closed one; None if there are none."""
    closed = db.execute("SELECT hour_s, day_s, last_step FROM hours ORDER BY hour_s DESC LIMIT 1").fetchone()
    first, last, start_s, last_start_s, end_s, ticks = db.execute(
        "SELECT MIN(step), MAX(step), MIN(start_s), MAX(start_s), MAX(start_s + dt_s), COUNT(*) FROM steps "
        "WHERE step > ? AND tick IS NOT NULL",
        (closed[2] if closed else 0,),
    ).fetchone()
    if not ticks:
        return None
    hour_s, day_s = calendar.hour_s(start_s), calendar.day_s(start_s)
    if closed:  # the site's zone may have been changed
        hour_s, day_s = max(hour_s, closed[0] + 1), max(day_s, closed[1])
    summing = Summing(db)
    tables = {rolled.table: _sums(rolled, summing.steps(rolled.table, first, last)) for rolled in ROLLED}
    kept = {table: sums for table, sums in tables.items() if sums is not None}
    return RunningHour(hour_s, day_s, first, last, start_s, last_start_s, end_s, ticks, kept)


def _sums(rolled: Rolled, rows: list[Row]) -> TableSums | None:
    if not rows:
        return None
    columns = list(zip(*rows, strict=True))
    split = len(rolled.keys)
    keys = list(zip(*columns[:split], strict=True)) if split else [()]
    values = {
        measure.name: [(math.nan if measure.kind is Kind.LAST else 0.0) if value is None else value for value in column]
        for measure, column in zip(rolled.measures, columns[split:], strict=True)
    }
    return TableSums(keys, values)

"""What one transaction stores of a tick or a gap: its rows, its events, its place in time, the checkpoint, and the hour that it closes.

Functions over a connection that is in a transaction, and over the memory of the writer (``writing``), which they give back changed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecovisor import wire
from ecovisor.adapters.stores.ledger.batch import GAP, Batch, Rows
from ecovisor.adapters.stores.ledger.bundles import bundle_some
from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.catalog import Catalog, Layout, Texts, extend, load_catalog, load_texts, raw
from ecovisor.adapters.stores.ledger.fingerprints import Columns, bytes_fingerprint, step_fingerprint
from ecovisor.adapters.stores.ledger.notifications import SITE_APP, tick_notification, told_notification
from ecovisor.adapters.stores.ledger.rollups import Key, RunningHour, close_day, insert, note_gap
from ecovisor.adapters.stores.ledger.running import load_running_hour
from ecovisor.model.errors import StoreError
from ecovisor.model.units import iso_utc

#: Starts may differ from the end before by rounding, not by more. [s]
SLACK_S = 1e-3


@dataclass(frozen=True, slots=True)
class Memory:
    """What the writer knows of the file."""

    commits: int
    step: int
    tick: int
    """Number of the last tick; -1: none yet."""
    end_s: float | None
    """Of the last step. [s since the epoch]"""
    event: tuple[int, int]
    """Id of the last event."""
    catalog: Catalog
    texts: Texts
    hour: RunningHour | None


def load_memory(db: sqlite3.Connection, calendar: Calendar) -> Memory:
    """From the file."""
    last = db.execute("SELECT step, start_s + dt_s FROM steps ORDER BY step DESC LIMIT 1").fetchone() or (0, None)
    return Memory(
        commits=db.execute("SELECT commits FROM counter").fetchone()[0],
        step=last[0],
        tick=db.execute("SELECT COALESCE(MAX(tick), -1) FROM steps").fetchone()[0],
        end_s=last[1],
        event=db.execute("SELECT tick, number FROM events ORDER BY tick DESC, number DESC LIMIT 1").fetchone() or (-1, 0),
        catalog=load_catalog(db),
        texts=Texts(load_texts(db)),
        hour=load_running_hour(db, calendar),
    )


def check_order(path: Path, batch: Batch, before: Memory) -> None:
    """Time goes on, and no tick is stored twice.

    Raises:
        StoreError: it would not, or one would.
    """
    if batch.tick is not None and batch.tick <= before.tick:
        raise StoreError(
            f"{path}: tick {batch.tick} is not stored: the last one is {before.tick}, and numbers rise; go on from there"
        )
    if before.end_s is not None and batch.start_s < before.end_s - SLACK_S:
        what = f"tick {batch.tick}" if batch.tick is not None else "a gap"
        raise StoreError(
            f"{path}: {what} at {iso_utc(batch.start_s)} is not stored: all until {iso_utc(before.end_s)} is, and site time does not "
            "go back; go on from there"
        )


def store(db: sqlite3.Connection, batch: Batch, before: Memory, calendar: Calendar) -> Memory:
    """Write all of a batch; what to remember once the transaction has succeeded."""
    step, texts = before.step + 1, before.texts.copy()
    catalog = extend(db, before.catalog, {table: _layout(rows) for table, rows in batch.tables.items()})
    keys = {table: _keys(rows, texts) for table, rows in batch.tables.items()}
    columns = {table: _columns(table, rows, keys[table], catalog, texts) for table, rows in batch.tables.items()}
    ids = event_ids(batch, before)
    events = [
        (tick, number, step, float(event.time_s), texts.id(event.app), texts.id(event.kind), event.detail, _number(event.value))
        for (tick, number), event in zip(ids, batch.events, strict=True)
    ]
    texts.write(db)
    head = (batch.tick, batch.kind, batch.start_s, batch.dt_s, batch.wall_s, batch.late_s, batch.price_per_kwh)
    crc = step_fingerprint(head, columns, events)
    db.execute("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (step, *head, crc))
    for table, rows in columns.items():
        insert(db, raw(table), "step", step, rows)
    db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", events)
    checked = bytes_fingerprint(str(step), batch.checkpoint, batch.plant)
    db.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?)", (step, batch.checkpoint, batch.plant, checked))
    _note_gaps(db, batch, before, step)
    hour = before.hour
    if batch.tick is not None:
        hour = _running(db, batch, before.hour, step, calendar).with_tick(step, batch, keys)
        bundle_some(db, catalog)
    return replace(
        before,
        step=step,
        tick=before.tick if batch.tick is None else batch.tick,
        end_s=batch.end_s,
        event=ids[-1] if ids else before.event,
        catalog=catalog,
        texts=texts,
        hour=hour,
    )


def notifications(batch: Batch, before: Memory) -> list[wire.Notification]:
    """What a stored batch is told as: the same as ``notifications.events`` reads."""
    found = [] if batch.tick is None else [tick_notification(SITE_APP, batch.tick + 1, batch.end_s, batch.wall_s)]
    for (tick, number), event in zip(event_ids(batch, before), batch.events, strict=True):
        found.append(told_notification(tick, number, event.app, event.kind, event.time_s, batch.wall_s, event.value, event.detail))
    return found


def event_ids(batch: Batch, before: Memory) -> list[tuple[int, int]]:
    """Coming tick and number of each event: after a gap the same tick is coming as before it."""
    coming = (before.tick if batch.tick is None else batch.tick) + 1
    used = before.event[1] if before.event[0] == coming else 0
    return [(coming, used + k) for k in range(1, len(batch.events) + 1)]


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)


def _layout(rows: Rows) -> Layout:
    return Layout(tuple(rows.keys), tuple(rows.numbers), tuple(rows.texts))


def _keys(rows: Rows, texts: Texts) -> list[Key]:
    """The keys of rows as numbers, in the order of the rows."""
    if not rows.keys:
        return [()]
    return list(zip(*(texts.of(values) for values in rows.keys.values()), strict=True))


def _columns(table: str, rows: Rows, keys: Sequence[Key], catalog: Catalog, texts: Texts) -> Columns:
    """The rows in the order of their keys, the columns in that of the catalog."""
    layout = catalog.layout(table)
    order = sorted(range(len(keys)), key=keys.__getitem__)
    moved = order != list(range(len(keys)))

    def ordered(values: Sequence[float]) -> Sequence[float]:
        return [values[k] for k in order] if moved else values

    found = list(zip(*(keys[k] for k in order), strict=True)) or [() for _ in layout.keys]
    integers = list(zip(layout.keys, found, strict=False))
    for name in layout.texts:
        if name in rows.texts:
            one = rows.texts[name]
            numbers = [texts.id(one)] * rows.count if isinstance(one, str) else texts.of(one)
            integers.append((name, [numbers[k] for k in order] if moved else numbers))  # type: ignore[arg-type]
    return Columns(table, integers, [(name, ordered(rows.numbers[name])) for name in layout.numbers if name in rows.numbers])


def _note_gaps(db: sqlite3.Connection, batch: Batch, before: Memory, step: int) -> None:
    """Time without ticks: what lies between the step before and this one, and this one if it is a gap."""
    if before.end_s is not None and batch.start_s > before.end_s + SLACK_S:
        note_gap(db, before.end_s, batch.start_s, None)
    if batch.kind == GAP:
        note_gap(db, batch.start_s, batch.end_s, step)


def _running(db: sqlite3.Connection, batch: Batch, hour: RunningHour | None, step: int, calendar: Calendar) -> RunningHour:
    """The hour that a tick belongs to; a later one closes that before it, and with the last of a day the day."""
    hour_s = calendar.hour_s(batch.start_s)
    if hour is None:
        return RunningHour.beginning(hour_s, calendar.day_s(batch.start_s), step, batch.start_s)
    if hour_s <= hour.hour_s:
        return hour
    hour.write(db)
    day_s = max(hour.day_s, calendar.day_s(batch.start_s))
    if day_s > hour.day_s:
        close_day(db, hour.day_s)
    return RunningHour.beginning(hour_s, day_s, step, batch.start_s)

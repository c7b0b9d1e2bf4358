"""The reading side of a ledger: every question sees one state of it, whatever is committed meanwhile.

Answers for clients are those of `wire`; the report and the driver get plain numbers. ``usage``, ``history`` and ``notifications`` answer.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from ecovisor import wire
from ecovisor.adapters.stores.ledger import history, notifications, usage
from ecovisor.adapters.stores.ledger.bundles import stretches
from ecovisor.adapters.stores.ledger.catalog import load_catalog, text_ids
from ecovisor.adapters.stores.ledger.checks import REMEDY
from ecovisor.adapters.stores.ledger.connection import Readers
from ecovisor.adapters.stores.ledger.facts import read_facts
from ecovisor.adapters.stores.ledger.fingerprints import bytes_fingerprint
from ecovisor.adapters.stores.ledger.sums import Summing, Totals
from ecovisor.adapters.stores.ledger.usage import Gap, check_interval
from ecovisor.model.errors import StoreError
from ecovisor.ports import Block, Event

_STEPS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick, or a gap, in the ledger."""

    tick: int | None
    """None: a gap."""
    kind: str
    start_s: float
    """[s since the epoch, site time]"""
    dt_s: float
    """[s]"""
    wall_s: float
    """When it was recorded. [s since the epoch]"""
    late_s: float
    """[s]"""
    price_per_kwh: float | None


@dataclass(frozen=True, slots=True)
class Last:
    """Where to go on."""

    tick: int | None
    """Number of the last tick; None: none yet, only gaps."""
    start_s: float
    dt_s: float
    end_s: float
    """Of the last tick or gap. [s since the epoch, site time]"""
    wall_s: float
    """When it was recorded. [s since the epoch]"""
    checkpoint: bytes
    plant: bytes


@dataclass(frozen=True, slots=True)
class AppSums:
    """What lies between two instants."""

    start_s: float
    end_s: float
    """[s since the epoch]"""
    apps: Mapping[str, Totals]
    """By app; the measures are those of `measures.FLOWS`."""


class Questions:
    """Asks a ledger's file.

    Args:
        readers: connections.
        path: of the file.
    """

    def __init__(self, readers: Readers, path: Path) -> None:
        self.path = path
        self._readers = readers

    def facts(self) -> dict[str, str]:
        """What was set when it was opened: `site` and `timezone`, and `ledger`, its identity."""
        with self._readers.reading() as db:
            return read_facts(db)

    def apps(self) -> list[str]:
        """Names of all apps that have a row, `_site` among them."""
        with self._readers.reading() as db:
            if "flows" not in load_catalog(db).tables:
                return []
            # The newest hour of ticks, and every app of the days and hours before.
            statement = (
                "SELECT DISTINCT t.text FROM (SELECT app FROM day_flows UNION SELECT app FROM hour_flows UNION "
                "SELECT app FROM raw_flows WHERE step > COALESCE((SELECT MAX(last_step) FROM hours), 0)) a "
                "JOIN texts t ON t.id = a.app ORDER BY t.text"
            )
            return [row[0] for row in db.execute(statement)]

    def last(self) -> Last | None:
        """The last tick or gap, with what the engine and the plant need to go on; None: nothing has been stored.

        Raises:
            StoreError: the checkpoint is damaged.
        """
        with self._readers.reading() as db:
            row = db.execute(
                "SELECT s.start_s, s.dt_s, s.wall_s, c.step, c.checkpoint, c.plant, c.crc FROM state c "
                "JOIN steps s ON s.step = c.step"
            ).fetchone()
            tick = db.execute("SELECT MAX(tick) FROM steps").fetchone()[0]
        if row is None:
            return None
        start_s, dt_s, wall_s, step, checkpoint, plant, crc = row
        if bytes_fingerprint(str(step), checkpoint, plant) != crc:
            raise StoreError(f"{self.path}: the checkpoint changed on the disk; {REMEDY}")
        return Last(tick, start_s, dt_s, start_s + dt_s, wall_s, checkpoint, plant)

    def usage(self, app: str, start_s: float, end_s: float, container: str | None = None) -> wire.Usage:
        """Of an app, or one of its containers, over ``[start_s, end_s)``, snapped outward to ticks.

        An app that the ledger does not know has used nothing, with no coverage.

        Raises:
            SettingRefused: this is no interval.
        """
        with self._readers.reading() as db:
            return usage.usage(db, app, start_s, end_s, container)

    def usage_of_all(self, start_s: float, end_s: float) -> dict[str, wire.Usage]:
        """Of every app, `_site` among them, by name; raises as `usage` does."""
        with self._readers.reading() as db:
            return usage.usage_of_all(db, start_s, end_s)

    def history(self, app: str, metric: str, start_s: float, end_s: float, step_s: float | None = None) -> wire.History:
        """A column of `flows` over time; see `history.history` for what it raises."""
        with self._readers.reading() as db:
            return history.history(db, app, metric, start_s, end_s, step_s)

    def events(self, app: str | None, after_id: str = "", limit: int = 1000) -> list[wire.Notification]:
        """Later than an id, oldest first; None: of all apps. Raises `SettingRefused` if that is no id."""
        with self._readers.reading() as db:
            return notifications.events(db, app, after_id, limit)

    def ticks(self, start_s: float, end_s: float) -> list[Tick]:
        """Ticks and gaps that overlap ``[start_s, end_s)``, in their order, as far as they are kept."""
        check_interval(start_s, end_s)
        with self._readers.reading() as db:
            rows = db.execute(
                "SELECT tick, kind, start_s, dt_s, wall_s, late_s, price_per_kwh FROM steps "
                "WHERE start_s < ? AND start_s + dt_s > ? ORDER BY step",
                (end_s, start_s),
            )
            return [Tick(*row) for row in rows]

    def gaps(self, start_s: float, end_s: float) -> list[Gap]:
        """Time without ticks within an interval."""
        check_interval(start_s, end_s)
        with self._readers.reading() as db:
            return usage.gaps(db, start_s, end_s)

    def extent(self) -> tuple[float, float] | None:
        """Start of the oldest tick or gap, and end of the newest, as far as sums reach; None: nothing is stored. [s since the epoch]"""
        with self._readers.reading() as db:
            ends = db.execute("SELECT start_s + dt_s FROM steps ORDER BY step DESC LIMIT 1").fetchone()
            oldest = [
                db.execute(f"SELECT start_s FROM {table} ORDER BY {key} LIMIT 1").fetchone()  # noqa: S608 - three tables
                for table, key in (("steps", "step"), ("hours", "hour_s"), ("days", "day_s"))
            ]
        return None if ends is None else (min(row[0] for row in oldest if row is not None), ends[0])

    def sums(self, edges: Sequence[float], app: str | None = None) -> list[AppSums]:
        """Sums of `flows` between each edge and the next, of an app or of all. Raises `SettingRefused` if that is no interval."""
        check_interval(edges[0], edges[-1])
        with self._readers.reading() as db:
            key = () if app is None else (text_ids(db, [app]).get(app, -1),)
            found = Summing(db).intervals("flows", edges, key)
            names = usage.app_names(db, [key[0] for interval in found for key in interval.totals])
        return [AppSums(one.start_s, one.end_s, {names[key[0]]: totals for key, totals in one.totals.items()}) for one in found]

    def blocks(self, table: str) -> Iterator[Block]:
        """A table as it was written, a block a tick, as far as ticks are kept; rows in the order in which names first came."""
        after = 0
        while True:
            before = after
            with self._readers.reading() as db:
                found, after = _blocks(db, table, after)
            yield from found
            if after == before:
                return

    def told(self) -> Iterator[Event]:
        """All events that are kept, as they were written."""
        with self._readers.reading() as db:
            rows = db.execute(
                "SELECT e.time_s, a.text, k.text, e.detail, e.value FROM events e JOIN texts a ON a.id = e.app "
                "JOIN texts k ON k.id = e.kind ORDER BY e.tick, e.number"
            ).fetchall()
        return (Event(*row) for row in rows)


def _blocks(db: sqlite3.Connection, table: str, after: int) -> tuple[list[Block], int]:
    """Some blocks of steps later than ``after``, and the last step looked at."""
    last = db.execute(
        "SELECT MAX(step), COUNT(*) FROM (SELECT step FROM steps WHERE step > ? ORDER BY step LIMIT ?)", (after, _STEPS_AT_ONCE)
    ).fetchone()
    layout = load_catalog(db).layout(table)
    if not last[1] or not layout.columns:
        return [], after
    names = ", ".join(f'r."{name}"' for name in layout.columns)
    order = ", ".join(("r.step", *(f'r."{name}"' for name in layout.keys)))
    texts = dict(db.execute("SELECT id, text FROM texts"))
    rows: list[tuple[Any, ...]] = []
    for stretch in stretches(db, after + 1, last[0]):
        statement = f"SELECT r.step, s.start_s, {names} {stretch.rows(table, '')} ORDER BY {order}"
        rows += db.execute(statement, stretch.steps).fetchall()
    found = []
    for _, group in groupby(rows, key=itemgetter(0)):
        columns = list(zip(*group, strict=True))
        by_name = dict(zip(layout.columns, columns[2:], strict=True))
        found.append(
            Block(
                table,
                [columns[1][0]],
                {name: [texts[one] for one in by_name[name]] for name in layout.keys},
                {name: [math.nan if value is None else value for value in by_name[name]] for name in layout.numbers},
                {},
                {name: [texts.get(one, "") for one in by_name[name]] for name in layout.texts},
            )
        )
    return found, last[0]

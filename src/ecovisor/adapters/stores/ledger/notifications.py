"""What happened, as notifications: the events of ticks and, derived from the steps, the tick events themselves.

An id is `TICK.NUMBER`: the tick that was coming when it was told, and a number that rises within it. Number 0 is the tick event: the tick
before has been recorded. Ids rise, in the order in which things were told, across restarts too.
"""

from __future__ import annotations

import re
import sqlite3

from ecovisor import wire
from ecovisor.adapters.stores.ledger.batch import GAP
from ecovisor.adapters.stores.ledger.catalog import text_ids
from ecovisor.model.errors import SettingRefused
from ecovisor.model.units import iso_utc

SITE_APP = "_site"
#: Events of the site that every app is told: they are about its time too.
FOR_ALL = (GAP, "late", "solar_change", "carbon_change")
_ID = re.compile(r"(-?\d{1,15})\.(\d{1,15})")


def events(db: sqlite3.Connection, app: str | None, after_id: str, limit: int) -> list[wire.Notification]:
    """Those later than an id, oldest first.

    Args:
        db: in a read transaction.
        app: whose, and of the site's those that are for all; None: everybody's.
        after_id: the last one known; empty: from the oldest that is kept.
        limit: most of them.

    Raises:
        SettingRefused: this is no id.
    """
    after = parse_id(after_id)
    found = [*_told(db, app, after, limit), *_ticks(db, app, after, limit)]
    found.sort(key=lambda pair: pair[0])
    return [notification for _, notification in found[:limit]]


def parse_id(text: str) -> tuple[int, int]:
    """Tick and number of an id; of nothing, those before all.

    Raises:
        SettingRefused: this is no id.
    """
    if not text:
        return (-1, -1)
    match = _ID.fullmatch(text)
    if match is None:
        raise SettingRefused(f"event id: {text[:40]!r} is none; give one that was told, TICK.NUMBER")
    return int(match[1]), int(match[2])


def tick_notification(app: str, coming: int, time_s: float, wall_s: float) -> wire.Notification:
    """The event that a tick begins, and that the one before is on the disk."""
    return wire.Notification(id=f"{coming}.0", kind="tick", app=app, tick=coming, time=iso_utc(time_s), wall_time=iso_utc(wall_s))


def _ticks(
    db: sqlite3.Connection, app: str | None, after: tuple[int, int], limit: int
) -> list[tuple[tuple[int, int], wire.Notification]]:
    rows = db.execute(
        "SELECT tick + 1, start_s + dt_s, wall_s FROM steps WHERE tick >= ? ORDER BY tick LIMIT ?",
        (after[0] - 1 if after[1] < 0 else after[0], limit),
    )
    return [((coming, 0), tick_notification(app or SITE_APP, coming, time_s, wall_s)) for coming, time_s, wall_s in rows]


def _told(
    db: sqlite3.Connection, app: str | None, after: tuple[int, int], limit: int
) -> list[tuple[tuple[int, int], wire.Notification]]:
    columns = (
        "e.tick, e.number, a.text, k.text, e.time_s, COALESCE(s.wall_s, e.time_s), e.value, e.detail FROM events e "
        "CROSS JOIN texts a ON a.id = e.app CROSS JOIN texts k ON k.id = e.kind LEFT JOIN steps s ON s.step = e.step"
    )
    order = "ORDER BY e.tick, e.number LIMIT ?"
    later = "(e.tick, e.number) > (?, ?)"
    if app is None:
        rows = db.execute(f"SELECT {columns} WHERE {later} {order}", (*after, limit)).fetchall()
    else:
        ids = text_ids(db, (app, SITE_APP, *FOR_ALL))
        own = (ids.get(app, -1), *after, limit)
        rows = db.execute(f"SELECT {columns} WHERE e.app = ? AND {later} {order}", own).fetchall()
        if app != SITE_APP:
            kinds = [ids.get(kind, -1) for kind in FOR_ALL]
            shared = (ids.get(SITE_APP, -1), *kinds, *after, limit)
            rows += db.execute(
                f"SELECT {columns} WHERE e.app = ? AND e.kind IN ({', '.join('?' * len(kinds))}) AND {later} {order}",
                shared,
            ).fetchall()
    return [((row[0], row[1]), told_notification(*row)) for row in rows]


def told_notification(
    coming: int, number: int, app: str, kind: str, time_s: float, wall_s: float, value: float | None, detail: str
) -> wire.Notification:
    """An event of a tick."""
    return wire.Notification(
        id=f"{coming}.{number}",
        kind=kind,
        app=app,
        tick=coming,
        time=iso_utc(time_s),
        wall_time=iso_utc(wall_s),
        value=value,
        detail=detail,
    )

"""The tables of a ledger's file, and how a file of an earlier version becomes one of this.

A step is what one transaction stored of time: a tick, which has a number, or a gap, which has none. `steps` has a row for each; what the
blocks brought is in `raw_NAME`, whose columns are made as they come (``catalog``). Apps, containers and qualities are numbers there,
their texts are in `texts`. `hour_NAME` and `day_NAME` are the sums of ``measures``; `hours` and `days` say which ticks are in them.

    meta        facts: site, time zone, the ledger's own identity
    counter     how many changes were committed
    state       the last step, its checkpoint and the plant's reading
    registry    small facts of the server: tokens, callbacks, settings
    texts       number → text
    columns     of the raw tables: what their columns hold
    steps       ticks and gaps, in the order of time
    gaps        time without ticks
    events      what happened, by the coming tick and a number
    raw_…       rows of ticks, by tick
    kept_…      the same of closed hours, by app; `bundles` says which ticks are there
    hours days  the closed buckets; hour_… day_…  their sums

Version 1 had no days, no bundles, no prices, no list of gaps and no checksums.
"""

from __future__ import annotations

import sqlite3
from itertools import pairwise

from ecovisor.adapters.stores.ledger.bundles import Stretch
from ecovisor.adapters.stores.ledger.catalog import load_catalog, make_kept
from ecovisor.adapters.stores.ledger.checks import stored_fingerprints
from ecovisor.adapters.stores.ledger.facts import write_facts
from ecovisor.adapters.stores.ledger.fingerprints import bytes_fingerprint, fingerprint
from ecovisor.adapters.stores.ledger.measures import FLOWS, ROLLED, Rolled
from ecovisor.adapters.stores.ledger.rollups import HOUR_HEAD, bucket_columns, close_day, note_gap

VERSION = 2
#: In the file's header: `ECOv`.
APPLICATION_ID = 0x45434F76

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counter (one INTEGER PRIMARY KEY CHECK (one = 1), commits INTEGER NOT NULL);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1), step INTEGER NOT NULL, checkpoint BLOB NOT NULL, plant BLOB NOT NULL,
    crc INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE registry (
    kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, crc INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (kind, key)
) WITHOUT ROWID;
CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE columns (
    place INTEGER PRIMARY KEY, tbl TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, UNIQUE (tbl, name)
);
CREATE TABLE steps (
    step INTEGER PRIMARY KEY, tick INTEGER UNIQUE, kind TEXT NOT NULL, start_s REAL NOT NULL, dt_s REAL NOT NULL, wall_s REAL NOT NULL,
    late_s REAL NOT NULL, price_per_kwh REAL, crc INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX steps_by_start ON steps (start_s);
CREATE TABLE events (
    tick INTEGER NOT NULL, number INTEGER NOT NULL, step INTEGER NOT NULL, time_s REAL NOT NULL, app INTEGER NOT NULL,
    kind INTEGER NOT NULL, detail TEXT NOT NULL, value REAL, PRIMARY KEY (tick, number)
) WITHOUT ROWID;
CREATE INDEX events_by_app ON events (app, tick, number);
CREATE INDEX events_by_step ON events (step);
CREATE TABLE hours (
    hour_s INTEGER PRIMARY KEY, day_s INTEGER NOT NULL, first_step INTEGER NOT NULL, last_step INTEGER NOT NULL,
    start_s REAL NOT NULL, last_start_s REAL NOT NULL DEFAULT 0, end_s REAL NOT NULL, ticks INTEGER NOT NULL,
    raw INTEGER NOT NULL DEFAULT 1, crc INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX hours_by_day ON hours (day_s);
"""
_SINCE_2 = """
CREATE TABLE bundles (first_step INTEGER PRIMARY KEY, last_step INTEGER NOT NULL, moved INTEGER NOT NULL);
CREATE TABLE gaps (start_s REAL PRIMARY KEY, end_s REAL NOT NULL, step INTEGER, crc INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE days (
    day_s INTEGER PRIMARY KEY, start_s REAL NOT NULL, last_start_s REAL NOT NULL, end_s REAL NOT NULL, ticks INTEGER NOT NULL,
    hourly INTEGER NOT NULL DEFAULT 1, crc INTEGER NOT NULL
);
"""


def create(db: sqlite3.Connection) -> None:
    """Make all tables in an empty file, inside the caller's transaction."""
    _run(db, _TABLES + _SINCE_2)
    for rolled in ROLLED:
        db.execute(_roll_up("hour", rolled))
        db.execute(_roll_up("day", rolled))
    db.execute("INSERT INTO counter VALUES (1, 0)")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def upgrade(db: sqlite3.Connection, version: int) -> None:
    """Bring the tables of an earlier version to this one, inside the caller's transaction."""
    for step in range(version, VERSION):
        _UPGRADES[step](db)
    db.execute(f"PRAGMA user_version = {VERSION}")


def _from_1_to_2(db: sqlite3.Connection) -> None:
    """Days, bundles, gaps, prices, and a checksum for everything that is there."""
    _run(db, _SINCE_2)
    for table, column in (
        ("state", "crc INTEGER NOT NULL DEFAULT 0"),
        ("registry", "crc INTEGER NOT NULL DEFAULT 0"),
        ("steps", "price_per_kwh REAL"),
        ("steps", "crc INTEGER NOT NULL DEFAULT 0"),
        ("hours", "last_start_s REAL NOT NULL DEFAULT 0"),
        ("hours", "crc INTEGER NOT NULL DEFAULT 0"),
    ):
        db.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    for name in ("cost", "priced_s"):
        assert name in {measure.name for measure in FLOWS}
        db.execute(f"ALTER TABLE hour_flows ADD COLUMN {name} REAL NOT NULL DEFAULT 0")
    for rolled in ROLLED:
        db.execute(_roll_up("day", rolled))
    write_facts(db, dict(db.execute("SELECT name, value FROM meta").fetchall()))
    _list_gaps(db)
    for step, checkpoint, plant in db.execute("SELECT step, checkpoint, plant FROM state").fetchall():
        db.execute("UPDATE state SET crc = ?", (bytes_fingerprint(str(step), checkpoint, plant),))
    for kind, key, value in db.execute("SELECT kind, key, value FROM registry").fetchall():
        crc = bytes_fingerprint(kind, key, value)
        db.execute("UPDATE registry SET crc = ? WHERE kind = ? AND key = ?", (crc, kind, key))
    catalog = load_catalog(db)
    for table, layout in catalog.tables.items():
        make_kept(db, table, layout)
    for (step,) in db.execute("SELECT step FROM steps").fetchall():
        found = stored_fingerprints(db, catalog, Stretch(step, step, None))
        db.execute("UPDATE steps SET crc = ? WHERE step = ?", (found[step], step))
    db.execute(
        "UPDATE hours SET last_start_s = (SELECT MAX(s.start_s) FROM steps s WHERE s.step BETWEEN first_step AND last_step "
        "AND s.tick IS NOT NULL)"
    )
    for row in db.execute(f"SELECT {HOUR_HEAD} FROM hours").fetchall():  # noqa: S608 - names of columns
        db.execute("UPDATE hours SET crc = ? WHERE hour_s = ?", (fingerprint(row, bucket_columns(db, "hour", row[0])), row[0]))
    days = [row[0] for row in db.execute("SELECT DISTINCT day_s FROM hours ORDER BY day_s")]
    for day_s in days[:-1]:  # the last one may go on
        close_day(db, day_s)


def _list_gaps(db: sqlite3.Connection) -> None:
    rows = db.execute("SELECT step, tick, start_s, start_s + dt_s FROM steps ORDER BY step").fetchall()
    for step, tick, start_s, end_s in rows:
        if tick is None:
            note_gap(db, start_s, end_s, step)
    for (_, _, _, end_s), (_, _, start_s, _) in pairwise(rows):
        if start_s > end_s + 1e-3:
            note_gap(db, end_s, start_s, None)


_UPGRADES = {1: _from_1_to_2}


def _roll_up(span: str, rolled: Rolled) -> str:
    keys = "".join(f", {name} INTEGER NOT NULL" for name in rolled.keys)
    last = set(rolled.last)
    sums = "".join(f", {name} REAL" + ("" if name in last else " NOT NULL DEFAULT 0") for name in rolled.names)
    primary = ", ".join((f"{span}_s", *rolled.keys))
    return f"CREATE TABLE {span}_{rolled.table} ({span}_s INTEGER NOT NULL{keys}{sums}, PRIMARY KEY ({primary})) WITHOUT ROWID"


def _run(db: sqlite3.Connection, script: str) -> None:
    """One statement at a time: `executescript` would commit."""
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)

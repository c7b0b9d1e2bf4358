"""Is what the file says what was written? Checksums formed again from what is read.

Found are: a damaged structure (SQLite's own check), values that changed on the disk (the fingerprints of steps, hours, days, facts and
the checkpoint), a file that was cut, and changes that were committed and are not there any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecovisor.adapters.stores.ledger.catalog import Catalog, load_catalog, raw
from ecovisor.adapters.stores.ledger.connection import store_errors
from ecovisor.adapters.stores.ledger.fingerprints import Columns, bytes_fingerprint, fingerprint, step_fingerprint
from ecovisor.adapters.stores.ledger.rollups import DAY_HEAD, HOUR_HEAD, bucket_columns
from ecovisor.model.errors import StoreError
from ecovisor.model.units import iso_utc

REMEDY = "restore a backup with 'ecovisor restore'"
#: A larger file is not read through when a server starts, only its newest rows; a backup checks all. [bytes]
READ_THROUGH_BYTES = 256 << 20
_NEWEST_ROWS = 20_000


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """A value that is of another kind than was written is damage too."""
    try:
        with store_errors(path):
            yield
    except (TypeError, ValueError, OverflowError, LookupError) as error:
        raise StoreError(f"{path}: is damaged: a value is of the wrong kind ({error}); {REMEDY}") from error


def check_structure(db: sqlite3.Connection, path: Path) -> None:
    """Read every page, and compare the indexes with their tables.

    Raises:
        StoreError: SQLite finds damage.
    """
    with _damage(path):
        said = [row[0] for row in db.execute("PRAGMA integrity_check(1)")]
    if said != ["ok"]:
        raise StoreError(f"{path}: is damaged: {' '.join(said[0].split())}; {REMEDY}")


def check_newest(db: sqlite3.Connection, path: Path) -> None:
    """The checkpoint, and the newest steps.

    Raises:
        StoreError: a value changed on the disk.
    """
    with _damage(path):
        check_state(db, path)
        catalog, rows = load_catalog(db), 0
        for (step,) in db.execute("SELECT step FROM steps ORDER BY step DESC"):
            rows += check_step(db, path, catalog, step)
            if rows > _NEWEST_ROWS:
                break


def check_all(db: sqlite3.Connection, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Everything.

    Args:
        db: in a read transaction.
        path: of the file, for messages.
        progress: told the steps read, and how many there are.

    Raises:
        StoreError: something is damaged.
    """
    check_structure(db, path)
    with _damage(path):
        check_state(db, path)
        for kind, key, value, crc in db.execute("SELECT kind, key, value, crc FROM registry"):
            if bytes_fingerprint(kind, key, value) != crc:
                raise StoreError(f"{path}: registry {kind}/{key}: the value changed on the disk; {REMEDY}")
        for *row, crc in db.execute("SELECT start_s, end_s, step, crc FROM gaps"):
            if fingerprint(row, ()) != crc:
                raise StoreError(f"{path}: the gap at {iso_utc(row[0])} changed on the disk; {REMEDY}")
        _check_buckets(db, path, "hour", HOUR_HEAD)
        _check_buckets(db, path, "day", DAY_HEAD)
        catalog = load_catalog(db)
        steps = [row[0] for row in db.execute("SELECT step FROM steps ORDER BY step")]
        for k, step in enumerate(steps):
            check_step(db, path, catalog, step)
            if progress is not None:
                progress(k + 1, len(steps))


def check_state(db: sqlite3.Connection, path: Path) -> None:
    """The checkpoint is whole, and of the last step.

    Raises:
        StoreError: it is not.
    """
    row = db.execute("SELECT step, checkpoint, plant, crc FROM state").fetchone()
    newest = db.execute("SELECT MAX(step) FROM steps").fetchone()[0]
    if (row[0] if row else None) != newest:
        raise StoreError(
            f"{path}: is damaged: the checkpoint is of step {row[0] if row else None}, the last step is {newest}; {REMEDY}"
        )
    if row is not None and bytes_fingerprint(str(row[0]), row[1], row[2]) != row[3]:
        raise StoreError(f"{path}: the checkpoint changed on the disk; {REMEDY}")


def check_step(db: sqlite3.Connection, path: Path, catalog: Catalog, step: int) -> int:
    """The rows of a step; returns how many there are.

    Raises:
        StoreError: they are not those that were written.
    """
    tick, start_s, crc = db.execute("SELECT tick, start_s, crc FROM steps WHERE step = ?", (step,)).fetchone()
    tables = {table: _rows(db, catalog, table, step) for table in catalog.tables}
    if _fingerprint(db, step, tables) != crc:
        what = f"tick {tick}" if tick is not None else "the gap"
        raise StoreError(f"{path}: {what} at {iso_utc(start_s)} changed on the disk; {REMEDY}")
    return 1 + sum(len(rows.integers[0][1]) for rows in tables.values() if rows is not None and rows.integers)


def stored_step_fingerprint(db: sqlite3.Connection, catalog: Catalog, step: int) -> int:
    """Of a step as it is in the file."""
    return _fingerprint(db, step, {table: _rows(db, catalog, table, step) for table in catalog.tables})


def _fingerprint(db: sqlite3.Connection, step: int, tables: dict[str, Columns | None]) -> int:
    head = db.execute(
        "SELECT tick, kind, start_s, dt_s, wall_s, late_s, price_per_kwh FROM steps WHERE step = ?", (step,)
    ).fetchone()
    events = db.execute(
        "SELECT tick, number, step, time_s, app, kind, detail, value FROM events WHERE step = ? ORDER BY tick, number", (step,)
    ).fetchall()
    return step_fingerprint(head, {table: rows for table, rows in tables.items() if rows is not None}, events)


def _rows(db: sqlite3.Connection, catalog: Catalog, table: str, step: int) -> Columns | None:
    layout = catalog.layout(table)
    names = ", ".join(f'"{name}"' for name in (*layout.keys, *layout.texts, *layout.numbers))
    order = ", ".join(f'"{name}"' for name in layout.keys) or "step"
    rows = db.execute(f"SELECT {names} FROM {raw(table)} WHERE step = ? ORDER BY {order}", (step,)).fetchall()  # noqa: S608
    if not rows:
        return None
    columns = list(zip(*rows, strict=True))
    split = len(layout.keys) + len(layout.texts)
    return Columns(
        table,
        list(zip((*layout.keys, *layout.texts), columns[:split], strict=True)),
        list(zip(layout.numbers, columns[split:], strict=True)),
    )


def _check_buckets(db: sqlite3.Connection, path: Path, span: str, head: str) -> None:
    for row in db.execute(f"SELECT {head}, crc FROM {span}s").fetchall():  # noqa: S608 - hours and days
        if fingerprint(row[:-1], bucket_columns(db, span, row[0])) != row[-1]:
            raise StoreError(f"{path}: the {span} from {iso_utc(row[0])} changed on the disk; {REMEDY}")

"""Is what the file says what was written? Checksums formed again from what is read.

Found are: a damaged structure (SQLite's own check), values that changed on the disk (the fingerprints of steps, hours, days, facts and
the checkpoint), a file that was cut, and changes that were committed and are not there any more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from ecovisor.adapters.stores.ledger.bundles import Stretch, stretches
from ecovisor.adapters.stores.ledger.catalog import Catalog, load_catalog
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
        for stretch in reversed(_parts(db, _NEWEST_ROWS)):
            rows += _check_stretch(db, path, catalog, stretch)
            if rows > _NEWEST_ROWS:
                break


def check_all(db: sqlite3.Connection, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Everything.

    Args:
        db: in a read transaction.
        path: of the file, for messages.
        progress: told how much has been read, and of how much.

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
        catalog, parts = load_catalog(db), _parts(db)
        for k, stretch in enumerate(parts):
            _check_stretch(db, path, catalog, stretch)
            if progress is not None:
                progress(k + 1, len(parts))


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


def stored_fingerprints(db: sqlite3.Connection, catalog: Catalog, stretch: Stretch) -> dict[int, int]:
    """Of steps as they are in the file."""
    tables = {table: _columns(db, catalog, table, stretch) for table in catalog.tables}
    found = {}
    for step, *head in db.execute(
        "SELECT step, tick, kind, start_s, dt_s, wall_s, late_s, price_per_kwh FROM steps WHERE step BETWEEN ? AND ?", stretch.steps
    ):
        events = db.execute(
            "SELECT tick, number, step, time_s, app, kind, detail, value FROM events WHERE step = ? ORDER BY tick, number", (step,)
        ).fetchall()
        found[step] = step_fingerprint(head, {table: rows[step] for table, rows in tables.items() if step in rows}, events)
    return found


def _parts(db: sqlite3.Connection, newest: int | None = None) -> list[Stretch]:
    """All steps, or as many of the newest, in stretches of some rows."""
    first, last = db.execute("SELECT COALESCE(MIN(step), 1), COALESCE(MAX(step), 0) FROM steps").fetchone()
    first = first if newest is None else max(first, last - newest)
    found = []
    for stretch in stretches(db, first, last):
        if stretch.bundles is None:
            steps = [row[0] for row in db.execute("SELECT step FROM steps WHERE step BETWEEN ? AND ?", stretch.steps)]
            found += [Stretch(step, step, None) for step in steps]
        else:
            ranges = db.execute("SELECT first_step, last_step FROM bundles WHERE first_step BETWEEN ? AND ?", stretch.bundles)
            found += [Stretch(bundle, end, (bundle, bundle)) for bundle, end in ranges]
    return found


def _check_stretch(db: sqlite3.Connection, path: Path, catalog: Catalog, stretch: Stretch) -> int:
    """Compare the steps of a stretch with what was written; returns roughly how many rows there are."""
    found = stored_fingerprints(db, catalog, stretch)
    for step, tick, start_s, crc in db.execute(
        "SELECT step, tick, start_s, crc FROM steps WHERE step BETWEEN ? AND ?", stretch.steps
    ):
        if found[step] != crc:
            what = f"tick {tick}" if tick is not None else "the gap"
            raise StoreError(f"{path}: {what} at {iso_utc(start_s)} changed on the disk; {REMEDY}")
    widest = max((_rows_in(db, table, stretch) for table in catalog.tables), default=0)
    return max(1, widest)


def _rows_in(db: sqlite3.Connection, table: str, stretch: Stretch) -> int:
    found: int = db.execute(f"SELECT COUNT(*) {stretch.rows(table, '')}", stretch.steps).fetchone()[0]
    return found


def _columns(db: sqlite3.Connection, catalog: Catalog, table: str, stretch: Stretch) -> dict[int, Columns]:
    """The rows of a table by step."""
    layout = catalog.layout(table)
    integers, numbers = (*layout.keys, *layout.texts), layout.numbers
    names = ", ".join(("r.step", *(f'r."{name}"' for name in (*integers, *numbers))))
    order = ", ".join(("r.step", *(f'r."{name}"' for name in layout.keys)))
    found = {}
    rows = db.execute(f"SELECT {names} {stretch.rows(table, '')} ORDER BY {order}", stretch.steps)
    for step, group in groupby(rows, key=itemgetter(0)):
        columns = list(zip(*group, strict=True))[1:]
        found[step] = Columns(
            table,
            list(zip(integers, columns[: len(integers)], strict=True)),
            list(zip(numbers, columns[len(integers) :], strict=True)),
        )
    return found


def _check_buckets(db: sqlite3.Connection, path: Path, span: str, head: str) -> None:
    for row in db.execute(f"SELECT {head}, crc FROM {span}s").fetchall():  # noqa: S608 - hours and days
        if fingerprint(row[:-1], bucket_columns(db, span, row[0])) != row[-1]:
            raise StoreError(f"{path}: the {span} from {iso_utc(row[0])} changed on the disk; {REMEDY}")

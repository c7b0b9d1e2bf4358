"""A file becomes a ledger that may be written to: made, or brought to this version, and checked for what a crash or a disk did to it."""

from __future__ import annotations

import os
import secrets
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from ecovisor.adapters.stores.ledger import schema
from ecovisor.adapters.stores.ledger.checks import READ_THROUGH_BYTES, check_newest, check_structure
from ecovisor.adapters.stores.ledger.connection import WAL, store_errors
from ecovisor.adapters.stores.ledger.facts import read_facts, write_facts
from ecovisor.adapters.stores.ledger.state_lock import StateLock
from ecovisor.model.errors import StoreError


def prepare(db: sqlite3.Connection, path: Path, lock: StateLock, *, accept_loss: bool) -> None:
    """Make the file's tables, or bring them to this version and check them.

    Raises:
        StoreError: the file is no ledger, is damaged, is from a newer version, or has lost what was committed.
    """
    with store_errors(path):
        empty = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        if empty and lock.commits and not accept_loss:
            raise StoreError(
                f"{path}: is empty or new, but {lock.commits} changes were committed to a ledger here; restore a backup with "
                f"'ecovisor restore', or remove {lock.path} to begin anew"
            )
        if empty:
            _create(db)
        else:
            version = check_version(db, path)
            check_size(db, path)
            if path.stat().st_size <= READ_THROUGH_BYTES:
                check_structure(db, path)
            if version < schema.VERSION:
                _upgrade(db, path, version)
        facts = read_facts(db)
        _check_commits(db, path, lock, facts["ledger"], accept_loss=accept_loss)
        check_newest(db, path)


def check_version(db: sqlite3.Connection, path: Path, *, exactly: bool = False) -> int:
    """The version of the file's tables.

    Raises:
        StoreError: the file is something else, or newer than this program (or, with ``exactly``, older).
    """
    application = db.execute("PRAGMA application_id").fetchone()[0]
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if application != schema.APPLICATION_ID:
        raise StoreError(f"{path}: is no ledger of ecovisor; choose another state directory")
    if version > schema.VERSION:
        raise StoreError(f"{path}: is of version {version}, this program knows {schema.VERSION}; use a newer ecovisor")
    if exactly and version < schema.VERSION:
        raise StoreError(
            f"{path}: is of version {version}, this program reads {schema.VERSION}; start the server once to upgrade it"
        )
    return version


def check_size(db: sqlite3.Connection, path: Path) -> None:
    """Nothing was cut off the end of the file.

    Raises:
        StoreError: it is shorter than it says.
    """
    with suppress(sqlite3.OperationalError):  # a full disk, or a reader that holds the log: the log is read as it is
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    wal = path.with_name(WAL)
    if wal.exists() and wal.stat().st_size:
        return
    pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if path.stat().st_size < pages * size:
        raise StoreError(
            f"{path}: is damaged: {path.stat().st_size} bytes of {pages * size}; restore a backup with 'ecovisor restore'"
        )


def _create(db: sqlite3.Connection) -> None:
    db.execute("BEGIN IMMEDIATE")
    schema.create(db)
    write_facts(db, {"ledger": secrets.token_hex(16)})
    db.execute("COMMIT")


def _upgrade(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the file, then change it in one transaction; what fails leaves the old version."""
    copy = path.with_name(f"ledger.version-{version}.sqlite")
    with suppress(FileNotFoundError):
        copy.unlink()
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(copy)) as target:
        db.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")
    handle = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    db.execute("BEGIN IMMEDIATE")
    try:
        schema.upgrade(db, version)
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise


def _check_commits(db: sqlite3.Connection, path: Path, lock: StateLock, identity: str, *, accept_loss: bool) -> None:
    """All that was committed is there: the write-ahead log may have been lost, or damaged in the middle."""
    commits = db.execute("SELECT commits FROM counter").fetchone()[0]
    if lock.identity not in ("", identity) and not accept_loss:
        raise StoreError(
            f"{path}: is another ledger than the one this directory had; put that back, or remove {lock.path} to accept this one"
        )
    if lock.identity == identity and commits < lock.commits and not accept_loss:
        last = db.execute("SELECT MAX(tick) FROM steps").fetchone()[0]
        raise StoreError(
            f"{path}: {lock.commits} changes were committed and {commits} are here (the last tick is {last}): its write-ahead log was "
            f"lost or damaged; restore a backup with 'ecovisor restore', or remove {lock.path} to go on without them"
        )

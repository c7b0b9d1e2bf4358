"""Backup and restore: a ledger as one file, taken while a server runs, checked before it counts, and put back.

A backup goes through SQLite's backup interface, from a reader that holds one state: ticks are committed meanwhile and are not in it. It is
read through (``checks``), forced to the disk and only then given its name. Nothing that exists is replaced unless that is asked for.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ecovisor.adapters.stores.ledger.checks import check_all, check_structure
from ecovisor.adapters.stores.ledger.connection import FILE, WAL, Readers, open_reader, open_writer, store_errors
from ecovisor.adapters.stores.ledger.facts import read_facts
from ecovisor.adapters.stores.ledger.opening import check_version
from ecovisor.adapters.stores.ledger.schema import VERSION
from ecovisor.adapters.stores.ledger.state_lock import FILE as LOCK
from ecovisor.adapters.stores.ledger.state_lock import StateLock, committed
from ecovisor.model.errors import StoreError

Progress = Callable[[str, int, int], None]
"""Told what is being done, how much of it, and of how much."""
_PAGES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Copied:
    """What is in a backup."""

    path: Path
    bytes: int
    ticks: int
    """Whose rows are kept."""
    tick: int | None
    """Number of the last one."""
    end_s: float | None
    """Of the last tick or gap. [s since the epoch]"""
    site: str


def back_up(state_dir: Path, target: Path, *, overwrite: bool = False, progress: Progress | None = None) -> Copied:
    """Copy the ledger of a state directory into one file, while a server may run.

    Raises:
        StoreError: the target exists, the disk refuses, the ledger is damaged, or it has lost what was committed; nothing is left of it.
    """
    _refuse_existing(target, overwrite)
    path = state_dir / FILE
    noted, identity = committed(state_dir)  # before the ledger is read: the count is written after a commit
    with _partial(target) as partial:
        with closing(open_reader(path, 5.0)) as source, store_errors(path):
            check_version(source, path)
            source.execute("BEGIN")
            facts = read_facts(source)
            commits = source.execute("SELECT commits FROM counter").fetchone()[0]
            if identity == facts["ledger"] and commits < noted:
                raise StoreError(
                    f"{path}: {noted} changes were committed and {commits} are here: its write-ahead log was lost or damaged; "
                    "keep the directory as it is, and an older backup"
                )
            _copy(source, partial, progress)
        found = checked(partial, progress)
        with store_errors(target):
            _sync(partial)
            _give_name(partial, target, overwrite)
            _sync(target.parent)
    return Copied(target, found.bytes, found.ticks, found.tick, found.end_s, found.site)


def restore(source: Path, state_dir: Path, *, overwrite: bool = False, progress: Progress | None = None) -> Copied:
    """Make a backup the ledger of a state directory.

    Raises:
        StoreError: the backup is damaged or no backup, a server runs on the directory, or it is not empty.
    """
    if not source.is_file():
        raise StoreError(f"{source}: there is no such file; name a backup")
    found = checked(source, progress)
    with store_errors(state_dir):
        if not overwrite and state_dir.is_dir() and any(path.name != LOCK for path in state_dir.iterdir()):
            raise StoreError(f"{state_dir}: is not empty; choose another directory, or replace its ledger with --overwrite")
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = StateLock.take(state_dir)
    try:
        with _partial(state_dir / FILE) as partial, closing(open_reader(source, 5.0)) as db, store_errors(state_dir):
            _copy(db, partial, progress)
            identity = read_facts(db)["ledger"]
            commits = db.execute("SELECT commits FROM counter").fetchone()[0]
            _sync(partial)
            _retire(state_dir)
            partial.replace(state_dir / FILE)
            _sync(state_dir)
            lock.note(identity, commits)
    finally:
        lock.release()
    return Copied(state_dir / FILE, found.bytes, found.ticks, found.tick, found.end_s, found.site)


def checked(path: Path, progress: Progress | None = None) -> Copied:
    """Read a backup through; one of an earlier version as far as that had checks.

    Raises:
        StoreError: it is none, or it is damaged.
    """
    readers = Readers(path, 5.0)
    with closing(readers), readers.reading() as db:
        if check_version(db, path) < VERSION:
            check_structure(db, path)
        else:
            check_all(db, path, None if progress is None else lambda done, total: progress("checking ticks", done, total))
        ticks, tick = db.execute("SELECT COUNT(tick), MAX(tick) FROM steps").fetchone()
        end = db.execute("SELECT start_s + dt_s FROM steps ORDER BY step DESC LIMIT 1").fetchone()
        site = read_facts(db).get("site", "")
    return Copied(path, path.stat().st_size, ticks, tick, end[0] if end else None, site)


def _copy(source: sqlite3.Connection, target: Path, progress: Progress | None) -> None:
    def told(status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress("copying pages", total - remaining, total)

    with closing(sqlite3.connect(target)) as db:
        source.backup(db, pages=_PAGES_AT_ONCE, progress=told)
        db.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """An empty file of our own beside the target; removed unless it was given its name."""
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    with store_errors(target):
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600))
    try:
        yield partial
    finally:
        for end in ("", "-journal", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                partial.with_name(partial.name + end).unlink()


def _give_name(partial: Path, target: Path, overwrite: bool) -> None:
    if overwrite:
        partial.replace(target)
        return
    try:
        os.link(partial, target)  # fails where the name was taken meanwhile
    except FileExistsError:
        _refuse_existing(target, overwrite)


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if overwrite and not target.is_dir():
        return
    if os.path.lexists(target):
        raise StoreError(f"{target}: exists already; choose another name, or replace it with --overwrite")


def _retire(state_dir: Path) -> None:
    """The ledger that is to be replaced, without its log: a log that outlives its database would be taken for the new one's."""
    path = state_dir / FILE
    if path.exists():
        with suppress(StoreError):  # damaged, perhaps: that is why it is replaced
            open_writer(path, 0.0).close()
    for name in (WAL, f"{FILE}-shm"):
        with suppress(FileNotFoundError):
            (state_dir / name).unlink()


def _sync(path: Path) -> None:
    """Force a file, or the names in a directory, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

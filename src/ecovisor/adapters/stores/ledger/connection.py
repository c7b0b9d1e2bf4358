"""Connections to a ledger's file: how they are opened, and how what SQLite says becomes one line for people.

The writer's connection is durable (`synchronous=FULL` on a write-ahead log); readers have connections of their own and see one state
for as long as a question takes, while ticks are committed. ``ledger`` owns the connections.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, LifoQueue
from urllib.parse import quote

from ecovisor.model.errors import StoreError

FILE = "ledger.sqlite"
WAL = f"{FILE}-wal"
#: Pages that a writer and each reader keep in memory. [KiB]
_CACHE_KIB = 16_384
#: The write-ahead log is cut to this after it has been copied into the database. [bytes]
_WAL_BYTES = 64 << 20
_READERS_KEPT = 4


def open_writer(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A durable connection; the file is made if need be, for its owner only.

    Raises:
        StoreError: it cannot be opened.
    """
    with store_errors(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = _connect(f"file:{quote(str(path))}?mode=rw", timeout_s)
        try:
            mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            if mode != "wal":
                raise StoreError(f"{path}: this file system has no write-ahead log; choose a local disk for the state directory")
            for pragma in ("synchronous = FULL", f"cache_size = -{_CACHE_KIB}", f"journal_size_limit = {_WAL_BYTES}"):
                db.execute(f"PRAGMA {pragma}")
            db.execute("PRAGMA secure_delete = OFF")
            db.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            db.close()
            raise
    return db


def open_reader(path: Path, timeout_s: float) -> sqlite3.Connection:
    """A connection that cannot write.

    Where even the log's index cannot be made (a read-only disk), a file that was closed in good order is read as it is.

    Raises:
        StoreError: it cannot be opened.
    """
    with store_errors(path):
        if not path.is_file():
            raise StoreError(f"{path}: there is no ledger; name the state directory of a server")
        db = _connect(f"file:{quote(str(path))}?mode=ro", timeout_s)
        try:
            db.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError:
            db.close()
            log = path.with_name(path.name + "-wal")
            if os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
                raise
            db = _connect(f"file:{quote(str(path))}?mode=ro&immutable=1", timeout_s)
    return db


def _connect(uri: str, timeout_s: float) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False, cached_statements=512)


class Readers:
    """A few connections for questions, each used by one thread at a time."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._idle: LifoQueue[sqlite3.Connection] = LifoQueue(_READERS_KEPT)
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the ledger, for as long as the block lasts.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            db = self._idle.get_nowait()
        except Empty:
            db = open_reader(self._path, self._timeout_s)
        try:
            with store_errors(self._path):
                db.execute("BEGIN")
                yield db
                db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        self._give_back(db)

    def close(self) -> None:
        """Close those that are idle; those in use close when they are given back."""
        self._closed = True
        with suppress(Empty):
            while True:
                self._idle.get_nowait().close()

    def _give_back(self, db: sqlite3.Connection) -> None:
        if self._closed or self._idle.full():
            db.close()
        else:
            self._idle.put(db)


# -- what goes wrong

_SAID = {
    "SQLITE_FULL": "the disk is full; free some space",
    "SQLITE_READONLY": "is read-only; check the disk and the permissions",
    "SQLITE_BUSY": "is locked by another process; end it",
    "SQLITE_LOCKED": "is locked by another process; end it",
    "SQLITE_CORRUPT": "is damaged; restore a backup with 'ecovisor restore'",
    "SQLITE_NOTADB": "is no ledger, or is damaged; restore a backup with 'ecovisor restore'",
    "SQLITE_CANTOPEN": "cannot be opened; check the directory and its permissions",
    "SQLITE_IOERR": "the disk refused to read or write; check the disk and its space",
}


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk say into one line.

    Raises:
        StoreError: instead of theirs.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {told(error)}") from error
    except UnicodeDecodeError as error:  # a message of SQLite's, or a text, with damage in it
        raise StoreError(f"{path}: {_SAID['SQLITE_CORRUPT']} ({error.reason})") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; check the disk and the permissions") from error


def told(error: sqlite3.Error) -> str:
    """What went wrong and what to do, with SQLite's own words."""
    name = getattr(error, "sqlite_errorname", "") or ""
    said = " ".join(str(error).split())
    for known, text in _SAID.items():
        if name.startswith(known):
            return f"{text} ({said})"
    if "malformed" in said or "not a database" in said:
        return f"{_SAID['SQLITE_CORRUPT']} ({said})"
    return said

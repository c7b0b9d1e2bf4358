"""Probes of the state directory: can a ledger be kept there, is there room, does a server hold it, are its sockets' names short enough."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from ecovisor.adapters.probes import Finding, State, human_time

#: A month of 1-minute ticks of 100 apps takes about this much. [bytes]
_SPACE_WANTED = 1_000_000_000
_SPACE_NEEDED = 50_000_000
#: A commit is one or two of these. [s]
_SLOW_FSYNC_S = 0.1
#: `sun_path` of a Unix socket's address holds 108 bytes, the last of them 0; 104 on other systems. [bytes]
_LONGEST_SOCKET = 107
_REMEDY = "name another folder with server.state_dir, or put its permissions right"


def probe_state_dir(path: Path) -> list[Finding]:
    """Whether a ledger can be kept in a folder: really writes, forces to the disk, and commits to a database of its own."""
    folder = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    subject, where = "state directory", str(path) if path.is_dir() else f"{path} (to be made)"
    try:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder")
        with tempfile.TemporaryDirectory(prefix=".ecovisor-doctor-", dir=folder) as scratch:
            fsync_s = _fsync_s(Path(scratch) / "file")
            mode = _journal_mode(Path(scratch) / "ledger.db")
    except (OSError, sqlite3.Error) as error:
        problem = f"{where}: {getattr(error, 'strerror', None) or error}"
        return [Finding(subject, State.MISSING, problem, "the ledger cannot be kept", _REMEDY, blocks_serve=True)]
    found = f"{where}: writable, a forced write takes {human_time(fsync_s)} (median of 5)"
    if mode != "wal":
        follows = f"SQLite keeps its journal as {mode!r} here: readers and the ledger wait for each other"
        written = Finding(subject, State.LIMITED, found, follows, "choose a folder on a local disk")
    elif fsync_s > _SLOW_FSYNC_S:
        follows = "every tick is forced to the disk before it is told: notifications come late"
        written = Finding(subject, State.LIMITED, found, follows, "choose a folder on a faster disk, or longer ticks")
    else:
        written = Finding(subject, State.OK, found)
    return [written, probe_space(shutil.disk_usage(folder).free)]


def _fsync_s(path: Path) -> float:
    """Median time of a small write that is forced to the disk. [s]"""
    taken_s = []
    with path.open("wb", buffering=0) as file:
        for _ in range(5):
            begin_s = time.perf_counter()
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
            taken_s.append(time.perf_counter() - begin_s)
    return statistics.median(taken_s)


def _journal_mode(path: Path) -> str:
    """How SQLite keeps its journal there, after a commit. Raises sqlite3.Error."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        mode = str(database.execute("PRAGMA journal_mode=WAL").fetchone()[0])
        database.execute("PRAGMA synchronous=FULL")
        with database:
            database.execute("CREATE TABLE tried (tick INTEGER)")
            database.execute("INSERT INTO tried VALUES (1)")
    return mode


def probe_space(free_bytes: int) -> Finding:
    """Whether there is room for a ledger."""
    found = f"{free_bytes / 1e9:.1f} GB free"
    if free_bytes < _SPACE_NEEDED:
        return Finding("disk space", State.MISSING, found, "the ledger fills the disk", "make room", blocks_serve=True)
    if free_bytes < _SPACE_WANTED:
        follows = "a month of 100 apps by the minute may not fit"
        return Finding("disk space", State.LIMITED, found, follows, "make room, or lower server.keep_ticks")
    return Finding("disk space", State.OK, found)


def running_server(lock: Path) -> str | None:
    """The pid of the server that holds a ledger's lock file, as text; None where none does."""
    try:
        import fcntl

        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        held = re.search(rb"pid\s+(\d+)", os.read(handle, 200))
        return held[1].decode() if held else "unknown"
    finally:
        os.close(handle)
    return None


def probe_sockets(state_dir: Path, apps: Iterable[str]) -> Finding:
    """Whether the names of the sockets of a site's apps are short enough."""
    longest = max(
        (state_dir.resolve() / "sockets" / f"{app}.sock" for app in ("_operator", *apps)), key=lambda path: len(os.fsencode(path))
    )
    length = len(os.fsencode(longest))
    if length > _LONGEST_SOCKET:
        found = f"{longest} has {length} bytes, a Unix socket's path at most {_LONGEST_SOCKET}"
        return Finding(
            "sockets", State.MISSING, found, "serve cannot start", "choose a shorter server.state_dir", blocks_serve=True
        )
    return Finding("sockets", State.OK, f"their longest path has {length} of {_LONGEST_SOCKET} bytes")

"""The one connection that writes: a tick, or a fact of the registry, is one durable transaction.

One lock makes transactions follow each other: ticks come from the caller's writer thread, facts from any. What the writer remembers of
the file (``storing.Memory``) changes only when a transaction has succeeded, so that after a full disk the next attempt starts from the
same state.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ecovisor import wire
from ecovisor.adapters.stores.ledger.batch import Batch
from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.connection import store_errors
from ecovisor.adapters.stores.ledger.storing import Memory, check_order, load_memory, notifications, store


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit stored."""

    step: int
    notifications: Sequence[wire.Notification]
    """The tick event (as the site's) and the events of the batch, with their ids."""


class Writer:
    """Writes to a ledger.

    Args:
        db: the durable connection.
        path: of the file, for messages.
        calendar: of the site.
        note: told the number of changes after every one of them.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, calendar: Calendar, note: Callable[[int], None]) -> None:
        self._db = db
        self._path = path
        self._calendar = calendar
        self._note = note
        self._lock = threading.Lock()
        with store_errors(path):
            self._memory: Memory = load_memory(db, calendar)

    def commit(self, batch: Batch) -> Committed:
        """Store a tick or a gap; returns when it is on the disk.

        Raises:
            StoreError: it is not, and nothing has changed; the same batch may be tried again.
            ValueError: a table has other keys than before.
        """
        with self._lock:
            before = self._memory
            check_order(self._path, batch, before)
            with self._transaction() as commits:
                after = store(self._db, batch, before, self._calendar)
            self._memory = replace(after, commits=commits)
            self._note(commits)
        return Committed(after.step, notifications(batch, before))

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """A durable transaction for what is no tick.

        Raises:
            StoreError: nothing has changed.
        """
        with self._lock:
            with self._transaction() as commits:
                yield self._db
            self._memory = replace(self._memory, commits=commits)
            self._note(commits)

    def close(self) -> None:
        """Close the connection; the last one to close copies the log into the database."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[int]:
        """One durable transaction, with the number of the change; on any error nothing of it stays."""
        with store_errors(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                commits = self._memory.commits + 1
                self._db.execute("UPDATE counter SET commits = ?", (commits,))
                yield commits
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # it may have been rolled back already
                    self._db.execute("ROLLBACK")
                raise

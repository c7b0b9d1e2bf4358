"""The ledger of a site: every tick of every app and container on the disk before anybody is told, and questions over any interval.

`Ledger` owns the state directory's lock and the connections. A tick goes through `tables` (a `ports.TableSink`), `seal` and `commit`;
questions (`Questions`) may be asked from any thread meanwhile. ``storing`` says what a commit writes, ``rollups`` and ``sums`` how hours
and days are formed, ``retention`` what is let go of, ``checks`` what damage is found.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ecovisor.adapters.stores.ledger import retention
from ecovisor.adapters.stores.ledger.batch import Batch, TickTables
from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.connection import FILE, Readers, open_writer, store_errors
from ecovisor.adapters.stores.ledger.facts import read_facts, write_facts
from ecovisor.adapters.stores.ledger.opening import check_version, prepare
from ecovisor.adapters.stores.ledger.questions import Questions
from ecovisor.adapters.stores.ledger.registry import LedgerRegistry
from ecovisor.adapters.stores.ledger.retention import Pruned
from ecovisor.adapters.stores.ledger.state_lock import StateLock
from ecovisor.adapters.stores.ledger.writing import Committed, Writer
from ecovisor.model.errors import StoreError

UTC = "UTC"


class Ledger(Questions):
    """A ledger; make it with `open`, and `close` it (or use it in a `with` statement).

    Attributes:
        tables: takes the blocks and events of the running tick.
        registry: small durable facts.
        site: name of the site.
        timezone: its IANA zone: hours and days are those of its clocks.
    """

    def __init__(self, path: Path, readers: Readers, writer: Writer | None, lock: StateLock | None, facts: dict[str, str]) -> None:
        super().__init__(readers, path)
        self.tables = TickTables()
        self.registry = LedgerRegistry(readers, writer, path)
        self.site = facts.get("site", "")
        self.timezone = facts.get("timezone", UTC)
        self._writer = writer
        self._lock = lock

    @classmethod
    def open(
        cls,
        state_dir: Path,
        *,
        site: str | None = None,
        timezone: str | None = None,
        timeout_s: float = 5.0,
        read_only: bool = False,
        accept_loss: bool = False,
    ) -> Self:
        """Open the ledger of a state directory; it is made if need be, for its owner only.

        Args:
            state_dir: holds `ledger.sqlite`, its log and `ledger.lock`.
            site: name of the site; None: as it was.
            timezone: IANA name; None: as it was, at first UTC. What is already in hours and days stays there.
            timeout_s: how long to wait for another process that has locked the file. [s]
            read_only: ask questions only, while a server may run.
            accept_loss: go on although committed changes are missing.

        Raises:
            StoreError: it is in use, cannot be made or read, is damaged, is of another version, or has lost what was committed.
            InputError: there is no such zone.
        """
        path = state_dir / FILE
        if timezone is not None:
            Calendar(timezone)
        if read_only:
            return cls._open_to_read(path, timeout_s)
        with ExitStack() as undo:
            with store_errors(state_dir):
                state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = StateLock.take(state_dir)
            undo.callback(lock.release)
            db = open_writer(path, timeout_s)
            undo.callback(db.close)
            prepare(db, path, lock, accept_loss=accept_loss)
            facts = read_facts(db)
            calendar = Calendar(timezone or facts.get("timezone", UTC))
            writer = Writer(db, path, calendar, lambda commits: lock.note(facts["ledger"], commits))
            given = {"timezone": calendar.timezone} | ({} if site is None else {"site": site})
            if given.items() - facts.items():
                facts |= given
                with writer.change() as changing:
                    write_facts(changing, facts)
            undo.pop_all()
        return cls(path, Readers(path, timeout_s), writer, lock, facts)

    @classmethod
    def _open_to_read(cls, path: Path, timeout_s: float) -> Self:
        readers = Readers(path, timeout_s)
        try:
            with readers.reading() as db:
                check_version(db, path, exactly=True)
                facts = read_facts(db)
        except BaseException:
            readers.close()
            raise
        return cls(path, readers, None, None, facts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let others have the directory. What was not committed is gone."""
        self._readers.close()
        if self._writer is not None:
            self._writer.close()
        if self._lock is not None:
            self._lock.release()

    def seal(
        self,
        *,
        tick: int | None,
        start_s: float,
        dt_s: float,
        wall_s: float,
        kind: str = "tick",
        late_s: float = 0.0,
        checkpoint: bytes = b"",
        plant: bytes = b"",
        price_per_kwh: float | None = None,
    ) -> Batch:
        """Make a batch of what `tables` holds of one tick; see `TickTables.seal`."""
        return self.tables.seal(
            tick=tick,
            start_s=start_s,
            dt_s=dt_s,
            wall_s=wall_s,
            kind=kind,
            late_s=late_s,
            checkpoint=checkpoint,
            plant=plant,
            price_per_kwh=price_per_kwh,
        )

    def commit(self, batch: Batch) -> Committed:
        """Store a batch in one durable transaction: its rows and events, the checkpoint, and the hour that it closes.

        Batches come one after the other, in the order of time, from one thread at a time.

        Returns:
            When it is on the disk: the notifications that may now be told.

        Raises:
            StoreError: it is not on the disk, and nothing has changed; the same batch may be tried again.
            ValueError: a table has other keys than before.
        """
        return self._writing().commit(batch)

    def prune(self, *, ticks_before_s: float, hours_before_s: float | None = None) -> Pruned:
        """Delete old ticks, and old hours; sums stay what they were. Slow: not on the thread that commits. See `retention.prune`."""
        return retention.prune(self._writing(), ticks_before_s=ticks_before_s, hours_before_s=hours_before_s)

    def _writing(self) -> Writer:
        if self._writer is None:
            raise StoreError(f"{self.path}: was opened for reading; only the server changes it")
        return self._writer

"""The folder that a run leaves behind: `run.json` and its tables, whole or not at all.

Owns the folder's life: everything is written into a hidden folder beside the target, which takes the target's name only when the
run has finished. Implements ``ports.TableSink``. The formats are in ``parquet_tables`` and ``csv_tables``; ``ecovisor.runs`` reads
the folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import msgspec

from ecovisor.adapters.stores.folder_swap import replace_folder
from ecovisor.model.errors import EcovisorError, SettingsError
from ecovisor.ports import Block, Event

INFO = "run.json"
EVENTS = "events"
_EVENTS_KEPT = 10_000


class _Table(Protocol):
    rows: int
    path: Path

    def write(self, block: Block) -> None: ...

    def write_events(self, events: Sequence[Event]) -> None: ...

    def close(self) -> None: ...


class RunFolder:
    """A run folder being written; a context manager that leaves nothing behind unless `finish` was reached.

    Args:
        target: the folder to be; its parents are made.
        table_format: `auto` is Parquet where pyarrow and NumPy are installed, else CSV.
        overwrite: replace an existing run folder (one with a `run.json`) when this one is finished, not before.

    Raises:
        SettingsError: the target exists (or is no run folder), cannot be made, or Parquet is asked for and not installed.
    """

    def __init__(self, target: Path, *, table_format: Literal["auto", "parquet", "csv"] = "auto", overwrite: bool = False) -> None:
        self.target = target
        self.format: Literal["parquet", "csv"] = _chosen(table_format)
        self._overwrite = overwrite
        self._tables: dict[str, _Table] = {}
        self._events: list[Event] = []
        self._open = False
        _refuse_existing(target, overwrite)
        self._made_parents = [parent for parent in (target.parent, *target.parent.parents) if not parent.exists()]
        self._partial = target.parent / f".{target.name}.partial-{os.getpid()}"
        with self._disk():
            self._partial.mkdir(parents=True)
        self._open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.abort()

    def write(self, block: Block) -> None:
        """Append a block to its table.

        Raises:
            SettingsError: the disk is full or refuses; nothing will be left.
            EcovisorError: the folder is already finished or given up.
        """
        with self._disk():
            self._table(block.table).write(block)

    def write_event(self, event: Event) -> None:
        """Append to the events; raises as `write` does."""
        self._events.append(event)
        if len(self._events) >= _EVENTS_KEPT:
            self._flush_events()

    def finish(self, info: Mapping[str, object]) -> Path:
        """Close the tables, write `run.json`, put everything safely on the disk and give the folder its name.

        Args:
            info: what `run.json` shall hold; `tables` (rows and file of each) is added.

        Returns:
            The target.

        Raises:
            SettingsError: the disk is full or refuses, or the target exists by now; nothing is left.
        """
        self._flush_events()
        with self._disk():
            for table in self._tables.values():
                table.close()
            tables = {name: {"file": table.path.name, "rows": table.rows} for name, table in self._tables.items()}
            text = msgspec.json.format(msgspec.json.encode({**info, "tables": tables}), indent=2)
            (self._partial / INFO).write_bytes(text + b"\n")
            for path in (*self._partial.iterdir(), self._partial):
                _sync(path)
            _refuse_existing(self.target, self._overwrite)
            if os.path.lexists(self.target):
                replace_folder(self.target, self._partial)
            else:
                self._partial.rename(self.target)
            self._open = False
            _sync(self.target.parent)
        return self.target

    def abort(self) -> None:
        """Give up: remove what was written. Does nothing after `finish`."""
        if not self._open:
            return
        self._open = False
        for table in self._tables.values():
            with suppress(OSError):
                table.close()
        shutil.rmtree(self._partial, ignore_errors=True)
        for parent in self._made_parents:
            with suppress(OSError):
                parent.rmdir()

    def _table(self, name: str) -> _Table:
        if not self._open:
            raise EcovisorError(f"{self.target}: the run folder is closed; nothing more can be written to it")
        if name not in self._tables:
            self._tables[name] = self._new_table(name)
        return self._tables[name]

    def _new_table(self, name: str) -> _Table:
        if self.format == "parquet":
            from ecovisor.adapters.stores import parquet_tables

            return parquet_tables.ParquetTable(self._partial / f"{name}{parquet_tables.SUFFIX}")
        from ecovisor.adapters.stores import csv_tables

        return csv_tables.CsvTable(self._partial / f"{name}{csv_tables.SUFFIX}")

    def _flush_events(self) -> None:
        with self._disk():
            self._table(EVENTS).write_events(self._events)
            self._events.clear()

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Turn what the disk refuses into one line, and leave nothing behind."""
        try:
            yield
        except OSError as error:
            self.abort()
            told = error.strerror or " ".join(str(error).split())
            reason = told.rpartition("] ")[2]  # pyarrow wraps it: "… Detail: [errno 28] No space left on device"
            remedy = "free some space" if "space" in reason else "check its permissions"
            raise SettingsError(
                str(self.target), f"cannot be written: {reason}", f"{remedy}, or choose another place with --out"
            ) from error


def _chosen(table_format: Literal["auto", "parquet", "csv"]) -> Literal["parquet", "csv"]:
    if table_format == "csv":
        return "csv"
    if find_spec("pyarrow") is not None and find_spec("numpy") is not None:
        return "parquet"
    if table_format == "parquet":
        raise SettingsError(
            "run.format", "Parquet needs pyarrow and NumPy", "pip install 'ecovisor[fast]', or set run.format = \"csv\""
        )
    return "csv"


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise SettingsError(str(target), "exists already", "choose another folder, or replace it with --overwrite")
    if target.is_symlink() or not (target / INFO).is_file():
        raise SettingsError(str(target), f"is no run folder (it has no {INFO}), so it is not overwritten", "choose another folder")


def _sync(path: Path) -> None:
    """Put a file or folder on the disk; folders cannot be synchronised everywhere."""
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)

"""The journal of a sweep: one line for each combination that is done, which a crash cannot take back.

Owns the file `done.jsonl` and the lock on a sweep's folder. A line is handed to the system as soon as its combination is done, so it
stays when the sweep is killed; it is forced to the disk every quarter of a second, so a loss of power costs that much work, which is done
again. A torn or unreadable line is dropped, and so is its combination.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from ecovisor.model.errors import InputError
from ecovisor.sweeps.outcomes import Outcome, decoded, encoded

FILE = "done.jsonl"
_LOCK = ".lock"
_FORCED_EVERY_S = 0.25


class Journal:
    """A journal that is open for writing.

    Args:
        folder: exists, and is locked.

    Attributes:
        found: what is done already.

    Raises:
        OSError: the disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.found = self._read()
        self._file = self.path.open("ab", buffering=0)
        self._forced_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def append(self, outcome: Outcome) -> None:
        """Keep an outcome. Raises `OSError`: the disk refuses."""
        line = memoryview(encoded(outcome) + b"\n")
        while line:
            line = line[self._file.write(line) :]
        if time.monotonic() - self._forced_s >= _FORCED_EVERY_S:
            self.force()

    def force(self) -> None:
        """Put what was appended on the disk."""
        os.fsync(self._file.fileno())
        self._forced_s = time.monotonic()

    def close(self) -> None:
        """Force, and close the file."""
        if not self._file.closed:
            try:
                self.force()
            finally:
                self._file.close()

    def _read(self) -> list[Outcome]:
        """What is done already; lines that cannot be read are removed from the file."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        kept, found = [], []
        for line in lines[:-1]:
            try:
                found.append(decoded(line))
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            kept.append(line)
        if len(kept) != len(lines) - 1 or lines[-1]:
            partial = self.path.with_suffix(".partial")
            with partial.open("wb") as file:
                file.write(b"".join(line + b"\n" for line in kept))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self.path)
        return found


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder is this process's meanwhile; the system gives it back however the process ends.

    Raises:
        InputError: another sweep writes there.
        OSError: the disk refuses.
    """
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        with suppress(ImportError):  # where there is none, two sweeps at once would both do all the work
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(str(folder), "another sweep is writing here", "wait for it, or choose another --out") from None
        yield
    finally:
        os.close(handle)

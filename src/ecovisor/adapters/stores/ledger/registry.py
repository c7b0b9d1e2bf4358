"""Small durable facts of the server by kind and key: tokens, callbacks, shares, settings. What `api.backend.Registry` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ecovisor.adapters.stores.ledger.connection import Readers
from ecovisor.adapters.stores.ledger.fingerprints import bytes_fingerprint
from ecovisor.adapters.stores.ledger.writing import Writer
from ecovisor.model.errors import StoreError


class LedgerRegistry:
    """Facts in a ledger. Each change is a durable transaction of its own; calls may come from any thread, and block it."""

    def __init__(self, readers: Readers, writer: Writer | None, path: Path) -> None:
        self._readers = readers
        self._writer = writer
        self._path = path

    def get(self, kind: str, key: str) -> bytes | None:
        """The value, or None.

        Raises:
            StoreError: the file cannot be read, or the value is damaged.
        """
        with self._readers.reading() as db:
            row = db.execute("SELECT value, crc FROM registry WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return None if row is None else self._checked(kind, key, *row)

    def items(self, kind: str) -> Sequence[tuple[str, bytes]]:
        """All of a kind, by key.

        Raises:
            StoreError: the file cannot be read, or a value is damaged.
        """
        with self._readers.reading() as db:
            rows = db.execute("SELECT key, value, crc FROM registry WHERE kind = ? ORDER BY key", (kind,)).fetchall()
        return [(key, self._checked(kind, key, value, crc)) for key, value, crc in rows]

    def put(self, kind: str, key: str, value: bytes) -> None:
        """Set.

        Raises:
            StoreError: nothing has changed.
        """
        row = (kind, key, value, bytes_fingerprint(kind, key, value))
        with self._changing().change() as db:
            db.execute("INSERT OR REPLACE INTO registry VALUES (?, ?, ?, ?)", row)

    def delete(self, kind: str, key: str) -> None:
        """Remove, if it is there.

        Raises:
            StoreError: nothing has changed.
        """
        with self._changing().change() as db:
            db.execute("DELETE FROM registry WHERE kind = ? AND key = ?", (kind, key))

    def _changing(self) -> Writer:
        if self._writer is None:
            raise StoreError(f"{self._path}: was opened for reading; only the server changes it")
        return self._writer

    def _checked(self, kind: str, key: str, value: bytes, crc: int) -> bytes:
        if bytes_fingerprint(kind, key, value) != crc:
            raise StoreError(
                f"{self._path}: registry {kind}/{key}: the value is damaged; restore a backup with 'ecovisor restore', or set it anew"
            )
        return value

"""What a ledger knows of itself: `ledger`, its identity; `site`, its name; `timezone`, whose hours and days it keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from ecovisor.adapters.stores.ledger.fingerprints import bytes_fingerprint
from ecovisor.model.errors import StoreError

_CHECK = "check"
#: Version of the file from which on facts have a checksum.
_SINCE = 2


def read_facts(db: sqlite3.Connection) -> dict[str, str]:
    """All of them.

    Raises:
        StoreError: they changed on the disk.
    """
    facts: dict[str, str] = dict(db.execute("SELECT name, value FROM meta").fetchall())
    check = facts.pop(_CHECK, None)
    if db.execute("PRAGMA user_version").fetchone()[0] < _SINCE:
        return facts
    if check != _checksum(facts):
        raise StoreError("ledger: what it knows of itself changed on the disk; restore a backup with 'ecovisor restore'")
    return facts


def write_facts(db: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    """Replace them, inside the caller's transaction."""
    db.execute("DELETE FROM meta")
    db.executemany("INSERT INTO meta VALUES (?, ?)", [*facts.items(), (_CHECK, _checksum(facts))])


def _checksum(facts: Mapping[str, str]) -> str:
    return str(bytes_fingerprint(*(text for pair in sorted(facts.items()) for text in pair)))

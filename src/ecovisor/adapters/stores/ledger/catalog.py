"""Which columns the raw tables have: they come with the blocks, and a ledger keeps what it has never seen before as it keeps the rest.

Owns the `columns` and `texts` tables. Names are checked here, once, because they become names in SQL. A catalog does not change: a
commit works on an extended copy, which counts once the commit has succeeded.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

KEY, NUMBER, TEXT = "key", "number", "text"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = ("step", "time", "bundle")


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one raw table, each in the order in which they came."""

    keys: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, as a row is read."""
        return (*self.keys, *self.numbers, *self.texts)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The raw tables by name."""

    tables: Mapping[str, Layout] = field(default_factory=dict)

    def layout(self, table: str) -> Layout:
        """Of a table; without columns if there is none."""
        return self.tables.get(table, Layout())


def load_catalog(db: sqlite3.Connection) -> Catalog:
    """As it is in the file."""
    found: dict[str, dict[str, list[str]]] = {}
    for table, name, role in db.execute("SELECT tbl, name, role FROM columns ORDER BY place"):
        found.setdefault(table, {KEY: [], NUMBER: [], TEXT: []})[role].append(name)
    return Catalog({table: Layout(*(tuple(names) for names in roles.values())) for table, roles in found.items()})


def check_name(name: str) -> str:
    """A name that may stand in SQL.

    Raises:
        ValueError: it may not.
    """
    if _NAME.fullmatch(name) is None or name in _RESERVED:
        raise ValueError(
            f"{name!r}: names of tables and columns are lower-case letters, digits and underscores, and not step, time or bundle"
        )
    return name


def raw(table: str) -> str:
    """Where the rows of a table are by tick."""
    return f'"raw_{check_name(table)}"'


def kept(table: str) -> str:
    """Where the rows of a table are by key, in bundles of ticks."""
    return f'"kept_{check_name(table)}"'


def extend(db: sqlite3.Connection, catalog: Catalog, wanted: Mapping[str, Layout]) -> Catalog:
    """Make the tables and columns that are missing, inside the caller's transaction.

    Returns:
        The catalog of all.

    Raises:
        ValueError: a table would get other keys.
    """
    tables = dict(catalog.tables)
    for table, layout in wanted.items():
        have = tables.get(table)
        if have is None:
            _make(db, table, layout)
            tables[table] = layout
            continue
        if set(layout.columns) <= set(have.columns) and layout.keys == have.keys:
            continue
        if layout.keys != have.keys:
            raise ValueError(f"{table}: keys {list(layout.keys)}, after rows with {list(have.keys)}")
        numbers = [name for name in layout.numbers if name not in have.columns]
        texts = [name for name in layout.texts if name not in have.columns]
        for name, role in (*((name, NUMBER) for name in numbers), *((name, TEXT) for name in texts)):
            for place in (raw(table), kept(table)):
                db.execute(f"ALTER TABLE {place} ADD COLUMN {_column(name, role)}")
            _note(db, table, name, role)
        tables[table] = Layout(have.keys, (*have.numbers, *numbers), (*have.texts, *texts))
    return Catalog(tables)


def _make(db: sqlite3.Connection, table: str, layout: Layout) -> None:
    roles = [(name, KEY) for name in layout.keys] + [(name, NUMBER) for name in layout.numbers]
    roles += [(name, TEXT) for name in layout.texts]
    columns = "".join(f", {_column(name, role)}" for name, role in roles)
    keys = "".join(f', "{name}"' for name in layout.keys)
    db.execute(f"CREATE TABLE {raw(table)} (step INTEGER NOT NULL{columns}, PRIMARY KEY (step{keys})) WITHOUT ROWID")
    make_kept(db, table, layout)
    for name, role in roles:
        _note(db, table, name, role)


def make_kept(db: sqlite3.Connection, table: str, layout: Layout) -> None:
    """Make the table of bundles, inside the caller's transaction."""
    roles = [(name, KEY) for name in layout.keys] + [(name, NUMBER) for name in layout.numbers]
    columns = "".join(f", {_column(name, role)}" for name, role in [*roles, *((name, TEXT) for name in layout.texts)])
    keys = "".join(f'"{name}", ' for name in layout.keys)
    db.execute(
        f"CREATE TABLE {kept(table)} (bundle INTEGER NOT NULL, step INTEGER NOT NULL{columns}, PRIMARY KEY (bundle, {keys}step)) "
        "WITHOUT ROWID"
    )


def _column(name: str, role: str) -> str:
    kind = {KEY: "INTEGER NOT NULL", NUMBER: "REAL", TEXT: "INTEGER"}[role]
    return f'"{check_name(name)}" {kind}'


def _note(db: sqlite3.Connection, table: str, name: str, role: str) -> None:
    db.execute("INSERT INTO columns (tbl, name, role) VALUES (?, ?, ?)", (table, name, role))


# -- texts

#: Rows of a tick are kept by the numbers of their keys: in the order in which names first came, and these two last, as they are written.
_LAST = {"_battery": (1 << 31) - 2, "_site": (1 << 31) - 1}


class Texts:
    """Numbers for texts: those in the file, and those that the running transaction added.

    Args:
        ids: of the texts in the file.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self.ids = dict(ids)
        self._new: list[tuple[int, str]] = []
        self._next = len(self.ids) - sum(text in self.ids for text in _LAST) + 1

    def copy(self) -> Texts:
        """For a transaction that may fail."""
        return Texts(self.ids)

    def id(self, text: str) -> int:
        """The number of a text, a new one if need be."""
        found = self.ids.get(text)
        if found is None:
            found = _LAST.get(text, self._next)
            self._next += text not in _LAST
            self.ids[text] = found
            self._new.append((found, text))
        return found

    def of(self, texts: Sequence[str]) -> list[int]:
        """The numbers of texts."""
        try:
            return [self.ids[text] for text in texts]
        except KeyError:
            return [self.id(text) for text in texts]

    def write(self, db: sqlite3.Connection) -> None:
        """Store those that are new."""
        if self._new:
            db.executemany("INSERT INTO texts VALUES (?, ?)", self._new)
            self._new = []


def load_texts(db: sqlite3.Connection) -> dict[str, int]:
    """All texts, by their text."""
    return {text: number for number, text in db.execute("SELECT id, text FROM texts")}


def text_ids(db: sqlite3.Connection, texts: Iterable[str]) -> dict[str, int]:
    """The numbers of some texts; those that the file does not know are left out."""
    found: dict[str, int] = {}
    for text in texts:
        row = db.execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()
        if row is not None:
            found[text] = row[0]
    return found

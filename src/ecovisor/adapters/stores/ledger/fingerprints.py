"""A checksum over what was stored, so that a bit that changes on the disk is found and not summed.

SQLite finds damage to its structure, and the write-ahead log has checksums of its own; a value that changes within a page is found by
neither. So every step and every bucket carries a CRC-32 of its rows, formed of columns in the order of the rows' keys: once from what is
about to be written, and again, by ``checks``, from what is read.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Numbers = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows of one table, in the order of their keys."""

    table: str
    integers: Sequence[tuple[str, Sequence[int | None]]]
    """Keys and texts, as numbers; None is absent."""
    numbers: Sequence[tuple[str, Numbers]]
    """NaN or None is absent. A column that is absent in all rows does not count."""


def fingerprint(head: Sequence[object], tables: Iterable[Columns]) -> int:
    """Of some facts, compared by `repr`, and of the rows of tables."""
    crc = zlib.crc32(repr(tuple(head)).encode())
    for one in tables:
        crc = zlib.crc32(one.table.encode(), crc)
        for name, integers in one.integers:
            if all(value is None for value in integers):
                continue
            crc = zlib.crc32(name.encode(), crc)
            crc = zlib.crc32(array("q", [-1 if value is None else value for value in integers]).tobytes(), crc)
        for name, numbers in one.numbers:
            column = _column(numbers)
            if column is not None:
                crc = zlib.crc32(name.encode(), crc)
                crc = zlib.crc32(column.tobytes(), crc)
    return crc


def step_fingerprint(head: Sequence[object], tables: Mapping[str, Columns], events: Sequence[Sequence[object]]) -> int:
    """Of a step: its place in time, its rows by table, its events as they are stored (the step's own number is not part of it)."""
    told = [(*event[:2], *event[3:]) for event in events]
    return fingerprint((*head, *told), [tables[name] for name in sorted(tables)])


def bytes_fingerprint(*parts: bytes | str) -> int:
    """Of some values, and of where each ends."""
    crc = 0
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        crc = zlib.crc32(len(data).to_bytes(8, "little"), crc)
        crc = zlib.crc32(data, crc)
    return crc


def _column(values: Numbers) -> array[float] | None:
    """Doubles as the file gives them back: one NaN, no negative zero. None: nothing is known."""
    try:
        known = [value + 0.0 for value in values]  # type: ignore[operator]  # None is the exception
    except TypeError:
        known = [math.nan if value is None else value + 0.0 for value in values]
    if math.isnan(sum(known)):
        known = [value if value == value else math.nan for value in known]
        if all(value != value for value in known):
            return None
    return array("d", known)

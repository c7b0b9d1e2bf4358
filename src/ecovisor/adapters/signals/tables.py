"""Opens a data file as named columns of cells, each with its line: CSV (also .gz, with or without a header) or Parquet.

Nothing is interpreted here: `columns` chooses the time and value columns, `instants` and `numbers` read their cells.
CSV needs the standard library alone; pyarrow is imported when a Parquet file is opened.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ecovisor.model.errors import SeriesError
from ecovisor.model.nearest import did_you_mean

#: A cell: text from CSV; from Parquet a number, an instant (datetime, naive or with zone), text, or None.
Cell = Any


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of one data file.

    Attributes:
        label: the file as its user named it, for messages.
        names: column names; ``1``, ``2``, … where the file has no header.
        lines: line number in the file of each row (the header is line 1); for Parquet the row's number from 1.
        sha256: of the file's bytes.
        read: cells of the column with an index, one a row.
    """

    label: str
    names: list[str]
    lines: Sequence[int]
    sha256: str
    read: Callable[[int], Sequence[Cell]]

    def index(self, name: str) -> int:
        """Position of a column.

        Raises:
            SeriesError: there is no such column.
        """
        if name not in self.names:
            raise SeriesError(f"{self.label}: column {name!r}", "there is no such column", did_you_mean(name, self.names))
        return self.names.index(name)


def open_table(path: Path, label: str, *, skip_lines: int = 0) -> Table:
    """Opens a CSV (``.csv``, ``.csv.gz``, ``.tsv`` and the like) or Parquet (``.parquet``) file.

    Args:
        path: of the file.
        label: the file as its user named it, for messages.
        skip_lines: lines of a CSV file before its header (one in TMY3, which names the station).

    Raises:
        SeriesError: missing, empty, no text in UTF-8, or with rows of unequal length.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        siblings = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")] if path.parent.is_dir() else []
        remedy = did_you_mean(path.name, siblings) if len(siblings) in range(1, 9) else "paths are relative to the scenario file"
        raise SeriesError(label, f"there is no such file ({path})", remedy) from None
    except OSError as error:
        raise SeriesError(label, f"cannot be read ({error.strerror})", "give a CSV or Parquet file") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if content[:4] == b"PAR1":
        return _open_parquet(content, label, sha256)
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise SeriesError(label, f"is no complete gzip file ({error})", "fetch it again") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SeriesError(label, f"is no text in UTF-8 (byte {error.start})", "give a CSV or Parquet file") from None
    return _open_csv(text, label, sha256, skip_lines)


def _open_csv(text: str, label: str, sha256: str, skip_lines: int) -> Table:
    for _ in range(skip_lines):
        text = text.partition("\n")[2]
    head = text[: text.find("\n") if "\n" in text else len(text)]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise SeriesError(f"{label}: row {reader.line_num + skip_lines}", f"is no CSV ({error})", "repair the line") from None
    lines: Sequence[int] = range(1 + skip_lines, len(rows) + 1 + skip_lines)
    if reader.line_num != len(rows) or [] in rows:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        numbered = [(reader.line_num + skip_lines, row) for row in reader if row]
        lines, rows = [line for line, _ in numbered], [row for _, row in numbered]
    if not rows:
        raise SeriesError(label, "is empty", "give a file with a header and rows")
    if all(map(_is_number, rows[0])):
        names = [str(i + 1) for i in range(len(rows[0]))]
    else:
        names = [name.strip() for name in rows[0]]
        rows, lines = rows[1:], lines[1:]
    if not rows:
        raise SeriesError(label, "has a header but no rows", "give a file with data")
    width = len(names)
    if set(map(len, rows)) != {width}:
        k = next(k for k, row in enumerate(rows) if len(row) != width)
        raise SeriesError(
            f"{label}: row {lines[k]}", f"has {len(rows[k])} cells, the first line has {width}", "repair or remove the line"
        )
    return Table(label, names, lines, sha256, lambda index: [row[index] for row in rows])


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _open_parquet(content: bytes, label: str, sha256: str) -> Table:
    try:
        pa: Any = import_module("pyarrow")  # it ships no types
        pq: Any = import_module("pyarrow.parquet")
    except ImportError:
        raise SeriesError(label, "is a Parquet file, and pyarrow is not installed", "pip install 'ecovisor[fast]'") from None
    try:
        table: Any = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise SeriesError(label, f"is no readable Parquet file ({' '.join(str(error).split())})", "write it again") from None
    if table.num_rows == 0:
        raise SeriesError(label, "has no rows", "give a file with data")

    def read(index: int) -> list[Cell]:
        column = table.column(index)
        if pa.types.is_timestamp(column.type):  # nanoseconds have no datetime without pandas
            column = column.cast(pa.timestamp("us", tz=column.type.tz), safe=False)
        cells: list[Cell] = column.to_pylist()
        return cells

    return Table(label, list(table.column_names), range(1, table.num_rows + 1), sha256, read)

"""One table of a run as a CSV file: nothing but the standard library, and nothing lost.

Owns the text form: floats by `repr` (they come back bit for bit), times in ISO 8601 UTC, an absent value empty, infinity `inf`.
``run_folder`` decides where the file is; ``ecovisor.runs`` reads it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import IO, Any

from ecovisor.model.units import iso_utc
from ecovisor.ports import Block, Event

SUFFIX = ".csv"


class CsvTable:
    """A table being written.

    Args:
        path: the file; it is made at the first block.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._file: IO[str] | None = None
        self._writer: Any = None

    def write(self, block: Block) -> None:
        """Append a block.

        Raises:
            OSError: the disk refuses.
            ValueError: a column has another length than ticks × rows.
        """
        ticks = len(block.times_s)
        width = len(next(iter(block.keys.values()), ("",)))
        rows = ticks * width
        if self._file is None:
            self._open(["time", *block.keys, *block.columns, *block.texts, *block.constants])
        times = chain.from_iterable(repeat(iso_utc(time_s), width) for time_s in block.times_s)
        keys = [chain.from_iterable(repeat(values, ticks)) for values in block.keys.values()]
        columns = [_cells(values) for values in block.columns.values()]
        constants = [repeat(text, rows) for text in block.constants.values()]
        self._writer.writerows(zip(times, *keys, *columns, *block.texts.values(), *constants, strict=True))
        self.rows += rows

    def write_events(self, events: Sequence[Event]) -> None:
        """Append events; an empty sequence still makes the file."""
        if self._file is None:
            self._open(["time", "app", "kind", "detail"])
        self._writer.writerows((iso_utc(event.time_s), event.app, event.kind, event.detail) for event in events)
        self.rows += len(events)

    def close(self) -> None:
        """Flush and close."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def _open(self, names: list[str]) -> None:
        self._file = self.path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(names)


def _cells(values: Any) -> list[float | str]:
    """Python floats (`csv` writes them by `repr`); NaN as an empty cell."""
    plain = values.tolist() if hasattr(values, "tolist") else values
    return ["" if value != value else float(value) for value in plain]

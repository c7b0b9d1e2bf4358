"""A run's tables in memory: a `ports.TableSink` for tests and notebooks, where a run folder would be in the way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ecovisor.model.units import iso_utc
from ecovisor.ports import Block, Event

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, float | str]


class MemorySink:
    """Keeps every block as columns; absent values are NaN, times seconds since the epoch.

    Attributes:
        events: in the order in which they came.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._tables: dict[str, dict[str, list[Any]]] = {}

    def write(self, block: Block) -> None:
        """Append a block. Its columns are copied: they may be memory that the recorder uses again.

        Raises:
            ValueError: a column has another length than ticks × rows.
        """
        ticks = len(block.times_s)
        width = len(next(iter(block.keys.values()), ("",)))
        rows = ticks * width
        for name, values in (*block.keys.items(), *block.columns.items(), *block.texts.items()):
            expected = width if name in block.keys else rows
            if len(values) != expected:
                raise ValueError(f"{block.table}.{name}: {len(values)} values, expected {expected}")
        table = self._tables.setdefault(block.table, {})
        added: dict[str, list[Any]] = {"time": [time_s for time_s in block.times_s for _ in range(width)]}
        added |= {name: list(values) * ticks for name, values in block.keys.items()}
        added |= {name: [float(value) for value in values] for name, values in block.columns.items()}
        added |= {name: list(values) for name, values in block.texts.items()}
        added |= {name: [text] * rows for name, text in block.constants.items()}
        if table and list(table) != list(added):
            raise ValueError(f"{block.table}: columns {list(added)}, after blocks with {list(table)}")
        for name, values in added.items():
            table.setdefault(name, []).extend(values)

    def write_event(self, event: Event) -> None:
        """Append to the events."""
        self.events.append(event)

    @property
    def tables(self) -> list[str]:
        """Names of the tables so far."""
        return list(self._tables)

    def column(self, table: str, name: str, app: str | None = None) -> list[Any]:
        """A column, of all rows or of one app."""
        values = self._tables[table][name]
        if app is None:
            return list(values)
        return [value for value, owner in zip(values, self._tables[table]["app"], strict=True) if owner == app]

    def rows(self, table: str) -> list[Row]:
        """A table row by row."""
        columns = self._tables.get(table, {})
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def row(self, table: str, tick: int, app: str | None = None) -> Row:
        """The row of a tick, counted from the first one written (and of an app)."""
        times = list(dict.fromkeys(self._tables[table]["time"]))
        found = [row for row in self.rows(table) if row["time"] == times[tick] and app in (None, row.get("app"))]
        if len(found) != 1:
            raise KeyError(f"{table}: {len(found)} rows at {iso_utc(times[tick])} of {app}")
        return found[0]

    def frame(self, table: str) -> pd.DataFrame:
        """A table as a DataFrame, its `time` as timestamps; needs pandas."""
        import pandas as pd

        frame = pd.DataFrame(self._tables[table])
        frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True)
        return frame

    def total(self, table: str, power_column: str, app: str | None = None) -> float:
        """Energy of a power column. [Wh]"""
        power_w = self.column(table, power_column, app)
        duration_s = self.column(table, "dt_s", app)
        return math.fsum(w * s / 3600.0 for w, s in zip(power_w, duration_s, strict=True))

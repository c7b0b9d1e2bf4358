"""A run's tables in memory, as NumPy columns: a `ports.TableSink` for studies and sweeps, which look at a run once and keep none of it.

`run_folder` keeps a run on the disk; `testing.MemorySink` has rows, and needs no NumPy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecovisor.ports import Block, Event

if TYPE_CHECKING:
    import numpy as np

    Columns = Mapping[str, np.ndarray[Any, Any]]
    """Name → values, one a row; `time` in seconds since the epoch, absent values NaN, texts as objects."""


class InMemoryTables:
    """Keeps every table as columns.

    Attributes:
        events: in the order in which they came.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._parts: dict[str, list[dict[str, Any]]] = {}
        self._tables: dict[str, Columns] = {}

    def write(self, block: Block) -> None:
        """Append a block. Its columns are copied: they may be memory that the recorder uses again.

        Raises:
            ValueError: a column has another length than ticks × rows, or the table has other columns.
        """
        import numpy as np

        ticks = len(block.times_s)
        width = len(next(iter(block.keys.values()), ("",)))
        part: dict[str, Any] = {"time": np.repeat(np.array(block.times_s, dtype=float), width)}
        part |= {name: np.tile(_texts(values), ticks) for name, values in block.keys.items()}
        part |= {name: np.array(values, dtype=float) for name, values in block.columns.items()}
        part |= {name: _texts(values) for name, values in block.texts.items()}
        part |= {name: np.full(ticks * width, text, dtype=object) for name, text in block.constants.items()}
        for name, values in part.items():
            if len(values) != ticks * width:
                raise ValueError(f"{block.table}.{name}: {len(values)} values, expected {ticks * width}")
        parts = self._parts.setdefault(block.table, [])
        if parts and list(parts[0]) != list(part):
            raise ValueError(f"{block.table}: columns {list(part)}, after blocks with {list(parts[0])}")
        parts.append(part)
        self._tables.pop(block.table, None)

    def write_event(self, event: Event) -> None:
        """Append to the events."""
        self.events.append(event)

    @property
    def flows(self) -> Columns:
        """A row for each tick and app. [W, Wh, g, g/kWh]"""
        return self.table("flows")

    @property
    def site(self) -> Columns:
        """A row for each tick. [W, Wh]"""
        return self.table("site")

    @property
    def containers(self) -> Columns:
        """A row for each tick and container. [W, g]"""
        return self.table("containers")

    def table(self, name: str) -> Columns:
        """A whole table; without columns as long as nothing has been written to it."""
        import numpy as np

        if name not in self._tables:
            parts = self._parts.get(name, [])
            whole = {column: np.concatenate([part[column] for part in parts]) for column in (parts[0] if parts else ())}
            self._tables[name] = whole
            if parts:
                self._parts[name] = [whole]
        return self._tables[name]

    def of(self, table: str, *, app: str | None = None, container: str | None = None) -> Columns:
        """The rows of a table that belong to an app, to a container, or to both; in the order of time.

        Raises:
            KeyError: no such app or container; the message names those that there are.
        """
        import numpy as np

        whole = self.table(table)
        chosen = np.ones(len(whole.get("time", ())), dtype=bool)
        for key, wanted in (("app", app), ("container", container)):
            if wanted is not None:
                known = whole.get(key, ())
                chosen = chosen & (known == wanted) if len(known) else chosen[:0]
                if not chosen.any():
                    raise KeyError(f"{table}: no {key} {wanted!r}; there are {', '.join(sorted(set(known))) or 'none'}")
        return {name: values[chosen] for name, values in whole.items()}


def _texts(values: Sequence[str]) -> np.ndarray[Any, Any]:
    """Texts as objects: one pointer each, whatever their length."""
    import numpy as np

    return np.array(values, dtype=object)

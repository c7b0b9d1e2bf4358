"""The tables of one tick on their way to the disk: a sink that copies what the recorder hands it, and the batch that is made of it.

The recorder uses its memory again, so everything is copied when it comes. A batch does not change any more; it may wait in a queue while
the disk is slow, and be committed again when a commit failed. ``writing`` stores it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecovisor.adapters.stores.ledger.catalog import check_name
from ecovisor.model.units import iso_utc
from ecovisor.ports import Block, Event

GAP = "gap"


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one table in one tick, as columns."""

    keys: Mapping[str, Sequence[str]]
    numbers: Mapping[str, Sequence[float]]
    texts: Mapping[str, Sequence[str] | str]
    """A text a row, or one for all."""
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """All that is known of one tick or gap."""

    tick: int | None
    """None: a gap."""
    start_s: float
    """[s since the epoch, site time]"""
    dt_s: float
    """[s]"""
    wall_s: float
    """When it was recorded. [s since the epoch]"""
    kind: str
    late_s: float
    """By how much the tick ended too late. [s, site time]"""
    price_per_kwh: float | None
    """Of imported energy in this tick; None: unknown. [per kWh]"""
    tables: Mapping[str, Rows]
    events: Sequence[Event]
    checkpoint: bytes
    """What the engine needs to go on after this."""
    plant: bytes
    """The reading of the plant at its end."""

    @property
    def end_s(self) -> float:
        """[s since the epoch, site time]"""
        return self.start_s + self.dt_s


class TickTables:
    """A `ports.TableSink` that holds rows until they are sealed; blocks of several ticks may be sealed tick by tick."""

    def __init__(self) -> None:
        self._rows: dict[float, dict[str, Rows]] = {}
        self._events: list[Event] = []

    def write(self, block: Block) -> None:
        """Copy a block.

        Raises:
            ValueError: a column has another length than ticks × rows, or a name that no table can have.
        """
        for name in (block.table, *block.keys, *block.columns, *block.texts, *block.constants):
            check_name(name)
        ticks = len(block.times_s)
        width = len(next(iter(block.keys.values()), ("",)))
        for name, values in (*block.keys.items(), *block.columns.items(), *block.texts.items()):
            expected = width if name in block.keys else width * ticks
            if len(values) != expected:
                raise ValueError(f"{block.table}.{name}: {len(values)} values, expected {expected}")
        keys = {name: tuple(values) for name, values in block.keys.items()}
        numbers = {name: _plain(values) for name, values in block.columns.items()}
        for k, time_s in enumerate(block.times_s):
            first, last = k * width, (k + 1) * width
            texts: dict[str, Sequence[str] | str] = {name: values[first:last] for name, values in block.texts.items()}
            one = numbers if ticks == 1 else {name: values[first:last] for name, values in numbers.items()}
            tables = self._rows.setdefault(time_s, {})
            if block.table in tables:
                raise ValueError(f"{block.table}: two blocks for the tick at {iso_utc(time_s)}")
            tables[block.table] = Rows(keys, one, {**texts, **block.constants}, width)

    def write_event(self, event: Event) -> None:
        """Keep an event."""
        self._events.append(event)

    def discard(self) -> None:
        """Forget what was not sealed."""
        self._rows.clear()
        self._events.clear()

    def seal(
        self,
        *,
        tick: int | None,
        start_s: float,
        dt_s: float,
        wall_s: float,
        kind: str,
        late_s: float,
        checkpoint: bytes,
        plant: bytes,
        price_per_kwh: float | None = None,
    ) -> Batch:
        """Take the rows of the tick that began at ``start_s``, and the events so far.

        While rows of later ticks wait, only the events up to this tick's end are taken.

        Raises:
            ValueError: rows of an earlier tick wait, their length is another, or a gap has a number (or a tick has none).
        """
        if (tick is None) != (kind == GAP):
            raise ValueError(f"tick {tick} of kind {kind!r}: a tick has a number, a gap has none")
        if not dt_s > 0.0:
            raise ValueError(f"tick {tick}: dt_s is {dt_s!r}, and time goes on")
        early = min(self._rows, default=start_s)
        if early < start_s:
            raise ValueError(f"tick {tick} at {iso_utc(start_s)}: the rows of {iso_utc(early)} wait to be sealed first")
        tables = self._rows.get(start_s, {})
        for name, rows in tables.items():
            if any(value != dt_s for value in rows.numbers.get("dt_s", ())):
                raise ValueError(f"{name}.dt_s: not the {dt_s!r} s of tick {tick}")
        self._rows.pop(start_s, None)
        taken: list[Event] = []
        kept: list[Event] = []
        for event in self._events:
            (taken if not self._rows or event.time_s <= start_s + dt_s else kept).append(event)
        self._events = kept
        price = None if price_per_kwh is None or price_per_kwh != price_per_kwh else float(price_per_kwh)
        times = (float(start_s), float(dt_s), float(wall_s))
        return Batch(tick, *times, kind, float(late_s), price, tables, taken, checkpoint, plant)


def _plain(values: Any) -> list[float]:
    """Python floats, of lists, arrays and NumPy arrays alike."""
    return values.tolist() if hasattr(values, "tolist") else list(values)

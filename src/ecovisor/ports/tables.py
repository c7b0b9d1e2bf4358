"""Where a run's tables go: blocks of ticks and events, and the sink that takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Block:
    """Some ticks of a table: ``len(times_s)`` ticks of as many rows each as the keys have; tick-major.

    Row ``r`` of tick ``k`` stands at ``k·rows + r`` of every column.
    """

    table: str
    times_s: Sequence[float]
    """Start of each tick. [s since the epoch]"""
    keys: Mapping[str, Sequence[str]]
    """Key columns besides `time`: name → the value for each row of a tick, the same in all ticks. Empty: one row a tick."""
    columns: Mapping[str, Sequence[float]]
    """Value columns: flat sequences of floats (lists, arrays or NumPy arrays); NaN is an absent value."""
    constants: Mapping[str, str]
    """Text columns with one value for the whole block (`quality`)."""
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Text columns with a value a row, laid out as `columns` are: a live tick's `quality`, which differs from app to app."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at an instant: for the `events` table and for people."""

    time_s: float
    app: str
    kind: str
    detail: str = ""
    value: float | None = None
    """For readers of notifications: the new solar power, intensity or level. [W, g/kWh, Wh]"""


class TableSink(Protocol):
    """Where a run's tables go."""

    def write(self, block: Block) -> None:
        """Append a block to its table. Blocks of one table come in the order of time, with the same columns; keys may change."""
        ...

    def write_event(self, event: Event) -> None:
        """Append to the `events` table."""
        ...

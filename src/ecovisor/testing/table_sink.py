"""What every sink of a run's tables must do: see `TableSinkContract`."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from ecovisor.engine.loop import Loop
from ecovisor.ports import Block, Event, TableSink
from ecovisor.testing.expectations import refused
from ecovisor.testing.memory_sink import MemorySink, Row
from ecovisor.testing.sites import small_site

_START_S = 1_590_969_600.0
_TABLES = ("flows", "site", "containers")


def _block(first: int, ticks: int, apps: Sequence[str], make: Callable[[list[float]], Any] = list) -> Block:
    """`ticks` ticks of a small table, with an absent and an infinite value in it."""
    numbers = [float(first * 10 + k) + 0.1 for k in range(ticks * len(apps))]
    strange = [math.nan if k % 3 == 0 else math.inf if k % 3 == 1 else 1.0 / (k + 3) for k in range(ticks * len(apps))]
    times_s = [_START_S + 300.0 * (first + k) for k in range(ticks)]
    columns = {"power_w": make(numbers), "strange_w": make(strange)}
    return Block("small", times_s, {"app": list(apps)}, columns, {"quality": "modelled"})


class TableSinkContract:
    """Inherit, and give `make()`, `finish(sink)`, `read(table)`, `abort(sink)` and `remains()`.

    Blocks come out in the order in which they went in, with their columns in order and every float as it was, absent values absent;
    apps may come and go between blocks; events keep their order; what is given up leaves nothing.
    """

    def make(self) -> TableSink:
        """A new sink."""
        raise NotImplementedError("give make()")

    def finish(self, sink: Any) -> None:
        """The run is over: put everything where `read` finds it."""
        raise NotImplementedError("give finish()")

    def read(self, table: str) -> list[Row]:
        """The rows of a table of the sink last finished: `time` in s since the epoch, absent values NaN, in the sink's order of columns."""
        raise NotImplementedError("give read()")

    def abort(self, sink: Any) -> None:
        """Give up."""
        raise NotImplementedError("give abort()")

    def remains(self) -> bool:
        """Whether anything is left of the sink last made."""
        raise NotImplementedError("give remains()")

    def _written(self, *blocks: Block) -> list[Row]:
        sink = self.make()
        for block in blocks:
            sink.write(block)
        self.finish(sink)
        return self.read("small")

    def test_blocks_come_out_in_order_and_unchanged(self) -> None:
        blocks = [_block(0, 3, ["a", "b"]), _block(3, 2, ["a", "b"])]
        rows = self._written(*blocks)
        expected = MemorySink()
        for block in blocks:
            expected.write(block)
        _same(rows, expected.rows("small"))
        assert list(rows[0]) == ["time", "app", "power_w", "strange_w", "quality"]

    def test_takes_lists_and_arrays_alike(self) -> None:
        plain = self._written(_block(0, 4, ["a", "b"]))
        _same(self._written(_block(0, 4, ["a", "b"], lambda values: array("d", values))), plain)

    def test_apps_may_come_and_go(self) -> None:
        rows = self._written(_block(0, 2, ["a"]), _block(2, 1, ["a", "b"]), _block(3, 1, ["b"]))
        assert [row["app"] for row in rows] == ["a", "a", "a", "b", "b"]

    def test_text_may_differ_from_row_to_row(self) -> None:
        block = _block(0, 2, ["a", "b"])
        qualities = ["measured", "stale", "stale", "modelled"]
        rows = self._written(Block(block.table, block.times_s, block.keys, block.columns, {}, {"quality": qualities}))
        assert [row["quality"] for row in rows] == qualities

    def test_a_block_of_the_wrong_length_is_refused(self) -> None:
        block = _block(0, 2, ["a", "b"])
        short = Block(block.table, block.times_s, block.keys, {"power_w": [1.0]}, block.constants)
        sink = self.make()
        with refused(Exception):
            sink.write(short)
        self.abort(sink)

    def test_events_keep_their_order(self) -> None:
        events = [Event(_START_S, "a", "joined"), Event(_START_S + 1.5, "b", "battery_full", 'x, "y"\nz')]
        sink = self.make()
        sink.write(_block(0, 1, ["a"]))
        for event in events:
            sink.write_event(event)
        self.finish(sink)
        found = [Event(float(row["time"]), str(row["app"]), str(row["kind"]), str(row["detail"])) for row in self.read("events")]
        assert found == events

    def test_takes_a_whole_run(self) -> None:
        sink, expected = self.make(), MemorySink()
        for each in (sink, expected):
            Loop(small_site(days=1.0, sink=each)).run(96)
        self.finish(sink)
        for table in _TABLES:
            _same(self.read(table), expected.rows(table))

    def test_what_is_given_up_leaves_nothing(self) -> None:
        sink = self.make()
        sink.write(_block(0, 2, ["a"]))
        sink.write_event(Event(_START_S, "a", "joined"))
        self.abort(sink)
        assert not self.remains(), "something is left of a run that was given up"


def _same(rows: Sequence[Row], expected: Sequence[Row]) -> None:
    assert len(rows) == len(expected), f"{len(rows)} rows, expected {len(expected)}"
    for k, (row, other) in enumerate(zip(rows, expected, strict=True)):
        assert list(row) == list(other), f"row {k}: columns {list(row)}, expected {list(other)}"
        for name, value in other.items():
            found = row[name]
            absent = value != value and found != found
            assert absent or found == value, f"row {k}: {name} is {found!r}, expected {value!r}"

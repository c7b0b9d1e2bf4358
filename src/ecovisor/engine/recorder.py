"""The recorder: owns the block that the loop fills, and hands it on when it is full, to the tables of a run and to the history.

The loop writes floats into one flat block (`kernel.record`, laid out by `layout`); `tables` and `history` make something of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ecovisor.engine.history import History
from ecovisor.engine.layout import Layout
from ecovisor.engine.memory import Memory
from ecovisor.engine.tables import TableWriter
from ecovisor.model.series import Quality
from ecovisor.ports import Event, TableSink

#: Largest block in floats: 32 MB.
BLOCK_FLOATS = 4_000_000
MAX_ROWS = 16384


class Recorder:
    """Owns the block of a memory.

    Args:
        sink: where tables go, or None.
        keep_s: how far back the history reaches. [s]
        start_s, tick_s: of tick 0. [s]
        quality: of the flows.
    """

    def __init__(
        self, sink: TableSink | None, *, keep_s: float, start_s: float, tick_s: float, quality: Quality = Quality.MODELLED
    ) -> None:
        self.sink = sink
        self.history = History(keep_s=keep_s, start_s=start_s, tick_s=tick_s, quality=quality)
        self.wanted = sink is not None
        self._tables = TableWriter(sink, tick_s, quality) if sink is not None else None
        self._memory: Memory | None = None
        self._layout = Layout([], [], 0, 1)
        self._first_tick = 0

    def attach(self, memory: Memory, apps: Sequence[str], containers: Sequence[tuple[int, str, int]], slots: int) -> None:
        """Prepare a memory's block; the one before must have been flushed."""
        self._memory = memory
        self._first_tick = int(memory.get("tick"))
        rows = max(1, min(MAX_ROWS, BLOCK_FLOATS // Layout(apps, containers, slots, 1).width))
        self._layout = Layout(apps, containers, slots, rows)
        self.history.follow(memory, self._layout, self._first_tick)
        memory.set("recording", 1.0 if self.wanted else 0.0)
        memory.set("container_slots", slots)
        memory.set("row", 0)
        memory.set("rows", rows)
        memory.allocate_block(self._layout.width * rows if self.wanted else 1)

    def flush(self) -> None:
        """Send what the block holds to the tables and to the history, and begin a new one."""
        memory = self._memory
        if memory is None:
            return
        ticks = int(memory.get("row"))
        memory.set("row", 0)
        first, self._first_tick = self._first_tick, self._first_tick + ticks
        if self.wanted and ticks > 0:
            if self._tables is not None:
                self._tables.write(memory, self._layout, self.history.time_s(first), ticks)
            if self.history.keep_s > 0.0:
                self.history.keep(memory, first, ticks)
        self.history.follow(memory, self._layout, self._first_tick)

    def write_gap(self, duration_s: float, flows: Mapping[str, float], site: Mapping[str, float], detail: str) -> None:
        """Write the rows of time that nobody metered, and let the coming tick begin after it."""
        if self._memory is None:
            return
        tick = int(self._memory.get("tick"))
        if self._tables is not None:
            self._tables.write_gap(self.history.time_s(tick), duration_s, flows, site, detail)
        self.history.skip(duration_s)

    def set_length(self, dt_s: float) -> None:
        """The ticks from now on take this long; what came before must have been flushed. [s]"""
        if self._tables is not None:
            self._tables.tick_s = dt_s

    def set_qualities(self, qualities: Mapping[str, Quality]) -> None:
        """How the flows of apps come to be known; of those not named as the recorder's."""
        if self._tables is not None:
            self._tables.qualities = qualities

    def set_levels(self, levels: Mapping[str, tuple[float, float]]) -> None:
        """Levels and capacities before the first tick, so that a battery is told to be full only when it becomes so. [Wh]"""
        if self._tables is not None:
            self._tables.set_levels(levels)

    def tell(self, event: Event) -> None:
        """Record an event, if there are tables."""
        if self.sink is not None:
            self.sink.write_event(event)

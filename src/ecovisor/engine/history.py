"""The history that policies can ask for: blocks that are over, the one being filled, and the gaps between ticks.

`recorder` hands over what it has filled; nothing here computes energy.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from ecovisor.engine.columns import RECORDED, SITE_RECORDED
from ecovisor.engine.layout import RENAMED, Layout
from ecovisor.engine.memory import Memory
from ecovisor.library.intervals import tick_range
from ecovisor.model.errors import Infeasible
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import human_duration, iso_utc

#: Largest history in floats: 256 MB.
HISTORY_FLOATS = 32_000_000
_INTENSITY = SITE_RECORDED.index("intensity_g_per_kwh")


@dataclass(frozen=True, slots=True)
class _Past:
    """A block that is over."""

    first_tick: int
    ticks: int
    layout: Layout
    values: array[float]


class History:
    """What was recorded, back to a time.

    Args:
        keep_s: how far back it reaches. [s]
        start_s, tick_s: of tick 0. [s]
        quality: of the flows.
    """

    def __init__(self, *, keep_s: float, start_s: float, tick_s: float, quality: Quality) -> None:
        self.keep_s = keep_s
        self.tick_s = tick_s
        self.quality = quality
        self._begin_s = start_s
        self._gaps: list[tuple[int, float]] = []
        self._past: deque[_Past] = deque()
        self._memory: Memory | None = None
        self._layout = Layout([], [], 0, 1)
        self._first_tick = 0

    def follow(self, memory: Memory, layout: Layout, first_tick: int) -> None:
        """The block that is being filled, from a tick on."""
        self._memory, self._layout, self._first_tick = memory, layout, first_tick

    def keep(self, memory: Memory, first: int, ticks: int) -> None:
        """Keep the first ``ticks`` rows of the block, as of tick ``first``, and forget what is too old."""
        layout = replace(self._layout, rows=ticks)
        values = array("d")
        for start, length in self._layout.parts(ticks):
            part = memory.block(start, length)
            if memory.compiled:
                values.frombytes(memoryview(part).cast("B"))  # type: ignore[arg-type]  # an array is a buffer
            else:
                values.extend(part)
        self._past.append(_Past(first, ticks, layout, values))
        ticks_kept = self.keep_s / self.tick_s
        floats = sum(past.layout.width * past.layout.rows for past in self._past)
        while len(self._past) > 1 and (
            self._past[0].first_tick + self._past[0].ticks < first + ticks - ticks_kept or floats > HISTORY_FLOATS
        ):
            gone = self._past.popleft()
            floats -= gone.layout.width * gone.layout.rows

    def series(self, app: int, metric: str, start_s: float, end_s: float) -> Series:
        """A recorded column of an app over ``[start_s, end_s)``, bounds snapped outward to ticks; NaN within gaps.

        Raises:
            Infeasible: no such metric, or the interval is not (or no longer) recorded.
        """
        names = {RENAMED.get(name, name): k for k, name in enumerate(RECORDED)}
        if metric != "carbon_intensity_g_per_kwh" and metric not in names:
            raise Infeasible(f"history: unknown metric {metric!r}; known: {', '.join(sorted(names))}")

        def place(layout: Layout) -> tuple[int, int]:
            if metric in names:
                return layout.flow(names[metric])[0] + app, len(layout.apps)
            return layout.site(_INTENSITY)[0], 1

        first, values = self._read(place, start_s, end_s)
        unit = {"w": "W", "wh": "Wh", "g": "g", "kwh": "g/kWh"}[metric.rsplit("_", 1)[-1]]
        return Series(metric, unit, self.time_s(first), self.tick_s, values, self.quality)

    def container_power(self, slot: int, start_s: float, end_s: float) -> array[float]:
        """Power of a container over ``[start_s, end_s)``, one value a tick. [W]"""
        return self._read(lambda layout: (layout.power_start + slot, layout.slots), start_s, end_s)[1]

    def _read(self, place: Callable[[Layout], tuple[int, int]], start_s: float, end_s: float) -> tuple[int, array[float]]:
        """The first tick, and the values that stand at ``offset + tick·stride`` of every block in the interval."""
        memory = self._memory
        now = self._first_tick + (int(memory.get("row")) if memory is not None else 0)
        oldest = self._past[0].first_tick if self._past else self._first_tick
        first, last = tick_range(self._without_gaps_s(start_s), self._without_gaps_s(end_s), self._begin_s, self.tick_s)
        if first < oldest or last > now:
            raise Infeasible(
                f"history: {iso_utc(start_s)} to {iso_utc(end_s)} is not within what is kept, {iso_utc(self.time_s(oldest))} to "
                f"{iso_utc(self.time_s(now))} (at most {human_duration(self.keep_s)})"
            )
        values = array("d")
        for past in self._past:
            begin, end = max(first, past.first_tick) - past.first_tick, min(last - past.first_tick, past.ticks)
            offset, stride = place(past.layout)
            values.extend(array("d", past.values[offset + begin * stride : offset + end * stride : stride]) if begin < end else ())
        if memory is not None and last > self._first_tick:
            begin, end = max(first, self._first_tick) - self._first_tick, last - self._first_tick
            offset, stride = place(self._layout)
            values.extend(array("d", memory.block(offset + begin * stride, (end - begin) * stride)[::stride]))
        for tick, duration_s in reversed(self._gaps):
            if first < tick < last:
                values[tick - first : tick - first] = array("d", [math.nan]) * round(duration_s / self.tick_s)
        return first, values

    # -- gaps

    def restart(self, start_s: float) -> None:
        """Nothing is known from before; tick 0 would have been at ``start_s``."""
        self._begin_s = start_s
        self._gaps.clear()
        self._past.clear()

    def skip(self, duration_s: float) -> None:
        """The coming tick begins later by a gap."""
        if self._memory is not None:
            self._gaps.append((int(self._memory.get("tick")), duration_s))

    def time_s(self, tick: int) -> float:
        """Start of a tick. [s since the epoch]"""
        return self._begin_s + tick * self.tick_s + sum(duration_s for gap, duration_s in self._gaps if gap <= tick)

    def _without_gaps_s(self, time_s: float) -> float:
        """An instant on a clock that stands still during gaps. [s]"""
        skipped_s = 0.0
        for tick, duration_s in self._gaps:
            into_s = time_s - skipped_s - (self._begin_s + tick * self.tick_s)
            if into_s > 0.0:
                skipped_s += min(into_s, duration_s)
        return time_s - skipped_s

"""The recorder: blocks of ticks as the loop fills them, to the tables of a run, to events, and to the history that policies can ask for.

The loop writes floats into one flat block (`kernel.record`); a full block goes to the sink in one piece. Nothing here computes energy.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ecovisor.engine.columns import RECORDED, SITE_RECORDED
from ecovisor.engine.memory import Memory
from ecovisor.engine.specification import SITE_APP
from ecovisor.library.intervals import tick_range
from ecovisor.model.errors import Infeasible
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import human_duration, iso_utc
from ecovisor.ports import Block, Event, TableSink

#: Largest block and largest history in floats: 32 MB and 256 MB.
BLOCK_FLOATS, HISTORY_FLOATS = 4_000_000, 32_000_000
MAX_ROWS = 8192

#: Names of the `flows` table where they differ from the columns'.
_RENAMED = {"charge_rate_in_force_w": "charge_rate_setting_w", "max_discharge_w": "max_discharge_setting_w"}
_SITE_TABLE = SITE_RECORDED[:-1]  # the intensity stands in `flows`


@dataclass(frozen=True)
class Layout:
    """Who stands where in a block."""

    apps: Sequence[str]
    containers: Sequence[tuple[int, str, int]]
    """App's number, container, record; in the order of the table."""
    slots: int
    rows: int

    @property
    def width(self) -> int:
        """Floats a tick."""
        return len(RECORDED) * len(self.apps) + len(SITE_RECORDED) + 2 * self.slots

    def flow(self, column: int) -> tuple[int, int]:
        """Start of a column of `flows`, and its length."""
        return column * self.rows * len(self.apps), self.rows * len(self.apps)

    def site(self, column: int) -> tuple[int, int]:
        """Start of a column of `site`, and its length."""
        return (len(RECORDED) * len(self.apps) + column) * self.rows, self.rows

    def parts(self, ticks: int) -> list[tuple[int, int]]:
        """Start and length of what the first ``ticks`` rows fill, in the order of a block with as many rows."""
        apps = len(self.apps)
        flows = [(self.flow(column)[0], ticks * apps) for column in range(len(RECORDED))]
        site = [(self.site(column)[0], ticks) for column in range(len(SITE_RECORDED))]
        containers = [(self.power_start + half * self.rows * self.slots, ticks * self.slots) for half in (0, 1)]
        return flows + site + containers

    @cached_property
    def container_rows(self) -> list[tuple[str, str]]:
        """App and container of each row of a tick in the `containers` table."""
        rows: list[tuple[str, str]] = []
        containers = iter((*self.containers, (-1, "", 0)))
        owner, name, _ = next(containers)
        for app, app_name in enumerate(self.apps):
            while owner == app:
                rows.append((app_name, name))
                owner, name, _ = next(containers)
            rows.append((app_name, "_battery"))
        return rows

    @property
    def power_start(self) -> int:
        """Start of the containers' powers; their caps follow."""
        return (len(RECORDED) * len(self.apps) + len(SITE_RECORDED)) * self.rows


@dataclass(frozen=True, slots=True)
class _Past:
    """A block that is over."""

    first_tick: int
    ticks: int
    layout: Layout
    values: array[float]


class Recorder:
    """Owns the block of a memory and what becomes of it.

    Args:
        sink: where tables go, or None.
        keep_s: how far back `history` reaches. [s]
        start_s, tick_s: of tick 0. [s]
        quality: of the flows.
    """

    def __init__(
        self, sink: TableSink | None, *, keep_s: float, start_s: float, tick_s: float, quality: Quality = Quality.MODELLED
    ) -> None:
        self.sink = sink
        self.keep_s = keep_s
        self._begin_s = start_s
        self._gaps: list[tuple[int, float]] = []
        self.tick_s = tick_s
        self.quality = quality
        self.wanted = sink is not None
        self._past: deque[_Past] = deque()
        self._memory: Memory | None = None
        self._layout = Layout([], [], 0, 1)
        self._first_tick = 0
        self._levels: dict[str, tuple[float, float]] = {}
        self._intensity_column = SITE_RECORDED.index("intensity_g_per_kwh")

    def attach(self, memory: Memory, apps: Sequence[str], containers: Sequence[tuple[int, str, int]], slots: int) -> None:
        """Prepare a memory's block; the one before must have been flushed."""
        self._memory = memory
        self._first_tick = int(memory.get("tick"))
        layout = Layout(apps, containers, slots, 1)
        rows = max(1, min(MAX_ROWS, BLOCK_FLOATS // layout.width))
        self._layout = Layout(apps, containers, slots, rows)
        memory.set("recording", 1.0 if self.wanted else 0.0)
        memory.set("container_slots", slots)
        memory.set("row", 0)
        memory.set("rows", rows)
        memory.allocate_block(layout.width * rows if self.wanted else 1)

    def flush(self) -> None:
        """Send what the block holds to the sink and to the history, and begin a new one."""
        memory = self._memory
        if memory is None:
            return
        ticks = int(memory.get("row"))
        memory.set("row", 0)
        first, self._first_tick = self._first_tick, self._first_tick + ticks
        if not self.wanted or ticks == 0:
            return
        if self.sink is not None:
            begin_s, tick_s = self._time_s(first), self.tick_s
            self._write(memory, _times_s(begin_s, tick_s, ticks, memory.compiled))
        if self.keep_s > 0.0:
            self._keep(memory, first, ticks)

    # -- history

    def _keep(self, memory: Memory, first: int, ticks: int) -> None:
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
            self._past[0].first_tick + self._past[0].ticks < self._first_tick - ticks_kept or floats > HISTORY_FLOATS
        ):
            gone = self._past.popleft()
            floats -= gone.layout.width * gone.layout.rows

    def history(self, app: int, metric: str, start_s: float, end_s: float) -> Series:
        """A recorded column of an app over ``[start_s, end_s)``, bounds snapped outward to ticks; NaN within gaps.

        Raises:
            Infeasible: no such metric, or the interval is not (or no longer) recorded.
        """
        names = {_RENAMED.get(name, name): k for k, name in enumerate(RECORDED)}
        if metric != "carbon_intensity_g_per_kwh" and metric not in names:
            raise Infeasible(f"history: unknown metric {metric!r}; known: {', '.join(sorted(names))}")

        def place(layout: Layout) -> tuple[int, int]:
            if metric in names:
                return layout.flow(names[metric])[0] + app, len(layout.apps)
            return layout.site(self._intensity_column)[0], 1

        first, values = self._read(place, start_s, end_s)
        unit = {"w": "W", "wh": "Wh", "g": "g", "kwh": "g/kWh"}[metric.rsplit("_", 1)[-1]]
        return Series(metric, unit, self._time_s(first), self.tick_s, values, self.quality)

    def container_history(self, slot: int, start_s: float, end_s: float) -> array[float]:
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
                f"history: {iso_utc(start_s)} to {iso_utc(end_s)} is not within what is kept, {iso_utc(self._time_s(oldest))} to "
                f"{iso_utc(self._time_s(now))} (at most {human_duration(self.keep_s)})"
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

    def skip(self, duration_s: float) -> None:
        """The coming tick begins later by a gap."""
        if self._memory is not None:
            self._gaps.append((int(self._memory.get("tick")), duration_s))

    def _time_s(self, tick: int) -> float:
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

    # -- tables

    def set_levels(self, levels: Mapping[str, tuple[float, float]]) -> None:
        """Levels and capacities before the first tick, so that a battery is told to be full only when it becomes so. [Wh]"""
        self._levels.update(levels)

    def write_gap(self, duration_s: float, flows: Mapping[str, float], site: Mapping[str, float]) -> None:
        """Write the rows of time that nobody metered: one of `_site`, one of the site; columns that are not given are 0."""
        memory = self._memory
        if self.sink is None or memory is None:
            return
        begin_s = [self._time_s(int(memory.get("tick")))]
        columns: dict[str, Sequence[float]] = {"dt_s": [duration_s]}
        for name in RECORDED:
            columns[_RENAMED.get(name, name)] = [flows.get(name, 0.0)]
            if name == "unserved_w":
                columns["overdraw_w"] = [0.0]
            if name == "battery_adjust_wh":
                columns["carbon_intensity_g_per_kwh"] = [math.nan]
        self.sink.write(Block("flows", begin_s, {"app": [SITE_APP]}, columns, {"quality": str(Quality.ESTIMATED)}))
        rows = {name: [site.get(name, 0.0)] for name in _SITE_TABLE}
        self.sink.write(Block("site", begin_s, {}, {"dt_s": [duration_s], **rows}, {}))

    def _write(self, memory: Memory, times_s: Sequence[float]) -> None:
        assert self.sink is not None
        layout, ticks = self._layout, len(times_s)
        apps = len(layout.apps)

        def flow(name: str) -> Sequence[float]:
            return memory.block(layout.flow(RECORDED.index(name))[0], ticks * apps)

        site = {name: memory.block(layout.site(k)[0], ticks) for k, name in enumerate(SITE_RECORDED)}
        intensity = _repeated(site["intensity_g_per_kwh"], apps, memory.compiled)
        columns: dict[str, Sequence[float]] = {"dt_s": _constant(self.tick_s, ticks * apps, memory.compiled)}
        for name in RECORDED:
            columns[_RENAMED.get(name, name)] = flow(name)
            if name == "unserved_w":
                columns["overdraw_w"] = _constant(0.0, ticks * apps, memory.compiled)
            if name == "battery_adjust_wh":
                columns["carbon_intensity_g_per_kwh"] = intensity
        quality = {"quality": str(self.quality)}
        self.sink.write(Block("flows", times_s, {"app": layout.apps}, columns, quality))
        site_columns: dict[str, Sequence[float]] = {"dt_s": _constant(self.tick_s, ticks, memory.compiled)}
        site_columns |= {name: site[name] for name in _SITE_TABLE}
        self.sink.write(Block("site", times_s, {}, site_columns, {}))
        self._write_containers(memory, times_s, columns)
        self._write_events(memory, times_s, columns)

    def _write_containers(self, memory: Memory, times_s: Sequence[float], flows: Mapping[str, Sequence[float]]) -> None:
        assert self.sink is not None
        layout, ticks = self._layout, len(times_s)
        slots = layout.slots
        power = memory.block(layout.power_start, ticks * slots)
        cap = memory.block(layout.power_start + layout.rows * slots, ticks * slots)
        rows = layout.container_rows
        write = _containers_compiled if memory.compiled else _containers_plain
        power_w, carbon_g, cap_w = write(layout, ticks, power, cap, flows, self.tick_s)
        keys = {"app": [app for app, _ in rows], "container": [name for _, name in rows]}
        columns = {
            "dt_s": _constant(self.tick_s, ticks * len(rows), memory.compiled),
            "power_w": power_w,
            "carbon_g": carbon_g,
            "cap_w": cap_w,
        }
        self.sink.write(Block("containers", times_s, keys, columns, {}))

    def _write_events(self, memory: Memory, times_s: Sequence[float], flows: Mapping[str, Sequence[float]]) -> None:
        """Batteries that became full or empty: at the end of the tick that made them so."""
        assert self.sink is not None
        detect = _edges_compiled if memory.compiled else _edges_plain
        apps = self._layout.apps
        first = list(zip(flows["battery_level_wh"][: len(apps)], flows["capacity_wh"][: len(apps)], strict=True))
        before = [self._levels.get(name, known) for name, known in zip(apps, first, strict=True)]
        edges, after = detect(len(apps), before, flows["battery_level_wh"], flows["capacity_wh"])
        self._levels = dict(zip(apps, after, strict=True))
        for tick, app, kind in edges:
            self.sink.write_event(Event(times_s[tick] + self.tick_s, apps[app], kind))


_Edges = tuple[list[tuple[int, int, str]], list[tuple[float, float]]]


def _edges_plain(apps: int, before: list[tuple[float, float]], levels: Sequence[float], capacities: Sequence[float]) -> _Edges:
    """Where a battery became full or empty: (tick, app, kind), and the level and capacity of each app at the end."""
    edges: list[tuple[int, int, str]] = []
    last = list(before)
    for at, (level_wh, capacity_wh) in enumerate(zip(levels, capacities, strict=True)):
        tick, app = divmod(at, apps)
        last_level, last_capacity = last[app]
        if level_wh != last_level and capacity_wh > 0.0:
            if level_wh >= capacity_wh and last_level < (last_capacity or capacity_wh):
                edges.append((tick, app, "battery_full"))
            elif level_wh <= 0.0 < last_level:
                edges.append((tick, app, "battery_empty"))
        last[app] = (level_wh, capacity_wh)
    return edges, last


def _edges_compiled(apps: int, before: list[tuple[float, float]], levels: Any, capacities: Any) -> _Edges:
    """The same as `_edges_plain`, on arrays."""
    import numpy

    level, capacity = levels.reshape(-1, apps), capacities.reshape(-1, apps)
    first = numpy.array(before)
    last_level = numpy.vstack([first[:, 0], level[:-1]])
    last_capacity = numpy.vstack([first[:, 1], capacity[:-1]])
    last_capacity = numpy.where(last_capacity == 0.0, capacity, last_capacity)
    moved = (level != last_level) & (capacity > 0.0)
    full = moved & (level >= capacity) & (last_level < last_capacity)
    empty = moved & ~full & (level <= 0.0) & (last_level > 0.0)
    edges = [
        (int(tick), int(app), "battery_full" if full[tick, app] else "battery_empty") for tick, app in numpy.argwhere(full | empty)
    ]
    return edges, list(zip(level[-1].tolist(), capacity[-1].tolist(), strict=True))


def _times_s(begin_s: float, tick_s: float, count: int, compiled: bool) -> Sequence[float]:
    if not compiled:
        return [begin_s + k * tick_s for k in range(count)]
    import numpy

    return array("d", (begin_s + numpy.arange(count) * tick_s).tobytes())


def _constant(value: float, count: int, compiled: bool) -> Sequence[float]:
    if not compiled:
        return [value] * count
    import numpy

    column: Sequence[float] = numpy.full(count, value)  # type: ignore[assignment]
    return column


def _repeated(values: Sequence[float], times: int, compiled: bool) -> Sequence[float]:
    if not compiled:
        return [value for value in values for _ in range(times)]
    import numpy

    column: Sequence[float] = numpy.repeat(values, times)  # type: ignore[assignment]
    return column


def _containers_plain(
    layout: Layout, ticks: int, power: Sequence[float], cap: Sequence[float], flows: Mapping[str, Sequence[float]], tick_s: float
) -> tuple[Sequence[float], Sequence[float], Sequence[float]]:
    """Rows of the `containers` table: power, carbon on import, cap."""
    hours_h = tick_s / 3600.0
    apps, slots = len(layout.apps), layout.slots
    by_app = [[slot for owner, _, slot in layout.containers if owner == app] for app in range(apps)]
    powers: list[float] = []
    carbons: list[float] = []
    caps: list[float] = []
    for k in range(ticks):
        for app in range(apps):
            at = k * apps + app
            intensity = flows["carbon_intensity_g_per_kwh"][at]
            served_w = flows["demand_w"][at] - flows["unserved_w"][at]
            load_g = flows["grid_to_load_w"][at] * hours_h / 1000.0 * intensity
            for slot in by_app[app]:
                power_w = power[k * slots + slot]
                powers.append(power_w)
                carbons.append(power_w * (load_g / served_w if served_w > 0.0 else load_g * 0.0))
                caps.append(cap[k * slots + slot])
            grid_w = flows["grid_to_battery_w"][at]
            powers.append(grid_w + flows["solar_to_battery_w"][at])
            carbons.append(grid_w * hours_h / 1000.0 * intensity)
            caps.append(math.inf)
    return powers, carbons, caps


def _containers_compiled(
    layout: Layout, ticks: int, power: Any, cap: Any, flows: Mapping[str, Any], tick_s: float
) -> tuple[Any, Any, Any]:
    """The same as `_containers_plain`, on arrays."""
    import numpy

    apps = len(layout.apps)
    hours_h = tick_s / 3600.0

    def table(name: str) -> Any:
        return numpy.asarray(flows[name]).reshape(ticks, apps)

    owners = numpy.array([owner for owner, _, _ in layout.containers], dtype=int)
    slots = numpy.array([slot for _, _, slot in layout.containers], dtype=int)
    intensity = table("carbon_intensity_g_per_kwh")
    served_w = table("demand_w") - table("unserved_w")
    load_g = table("grid_to_load_w") * hours_h / 1000.0 * intensity
    per_w = numpy.divide(load_g, served_w, out=load_g * 0.0, where=served_w > 0.0)
    power_w = power.reshape(ticks, layout.slots)[:, slots]
    # The rows of an app's containers, then its `_battery`.
    counts = numpy.bincount(owners, minlength=apps)
    battery_at = numpy.cumsum(counts + 1) - 1
    container_at = numpy.arange(len(owners)) + owners
    width = len(owners) + apps
    powers, carbons = numpy.empty((ticks, width)), numpy.empty((ticks, width))
    caps = numpy.full((ticks, width), numpy.inf)
    powers[:, container_at] = power_w
    carbons[:, container_at] = power_w * per_w[:, owners]
    caps[:, container_at] = cap.reshape(ticks, layout.slots)[:, slots]
    grid_w = table("grid_to_battery_w")
    powers[:, battery_at] = grid_w + table("solar_to_battery_w")
    carbons[:, battery_at] = grid_w * hours_h / 1000.0 * intensity
    return powers.reshape(-1), carbons.reshape(-1), caps.reshape(-1)

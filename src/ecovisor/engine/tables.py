"""From the recorder's blocks to the tables of a run: `flows`, `site`, `containers`, and the events that flows tell of.

What each column means is on the page about tables in the docs. Plain and compiled memory give the same values; only the way there differs.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from ecovisor.engine.columns import RECORDED, SITE_RECORDED
from ecovisor.engine.layout import RENAMED, Layout
from ecovisor.engine.memory import Memory
from ecovisor.engine.specification import SITE_APP
from ecovisor.model.series import Quality
from ecovisor.ports import Block, Event, TableSink

_SITE_TABLE = SITE_RECORDED[:-1]  # the intensity stands in `flows`


class TableWriter:
    """Writes blocks to a sink.

    Args:
        sink: where tables go.
        tick_s: length of a tick. [s]
        quality: of the flows.
    """

    def __init__(self, sink: TableSink, tick_s: float, quality: Quality) -> None:
        self.sink = sink
        self.tick_s = tick_s
        self.quality = quality
        self.qualities: Mapping[str, Quality] = {}
        self._levels: dict[str, tuple[float, float]] = {}

    def set_levels(self, levels: Mapping[str, tuple[float, float]]) -> None:
        """Levels and capacities before the first tick, so that a battery is told to be full only when it becomes so. [Wh]"""
        self._levels.update(levels)

    def write_gap(
        self, begin_s: float, duration_s: float, flows: Mapping[str, float], site: Mapping[str, float], detail: str
    ) -> None:
        """Write the rows of time that nobody metered: one of `_site`, one of the site; columns that are not given are 0."""
        columns: dict[str, Sequence[float]] = {"dt_s": [duration_s]}
        for name in RECORDED:
            columns[RENAMED.get(name, name)] = [flows.get(name, 0.0)]
            if name == "battery_adjust_wh":
                columns["carbon_intensity_g_per_kwh"] = [math.nan]
        self.sink.write(Block("flows", [begin_s], {"app": [SITE_APP]}, columns, {"quality": str(Quality.ESTIMATED)}))
        rows = {name: [site.get(name, 0.0)] for name in _SITE_TABLE}
        self.sink.write(Block("site", [begin_s], {}, {"dt_s": [duration_s], **rows}, {}))
        self.sink.write_event(Event(begin_s, SITE_APP, "gap", detail))

    def write(self, memory: Memory, layout: Layout, begin_s: float, ticks: int) -> None:
        """Write the first ``ticks`` rows of a memory's block, the first of which begins at ``begin_s``."""
        times_s = _times_s(begin_s, self.tick_s, ticks, memory.compiled)
        apps = len(layout.apps)

        def flow(name: str) -> Sequence[float]:
            return memory.block(layout.flow(RECORDED.index(name))[0], ticks * apps)

        site = {name: memory.block(layout.site(k)[0], ticks) for k, name in enumerate(SITE_RECORDED)}
        intensity = _repeated(site["intensity_g_per_kwh"], apps, memory.compiled)
        columns: dict[str, Sequence[float]] = {"dt_s": _constant(self.tick_s, ticks * apps, memory.compiled)}
        for name in RECORDED:
            columns[RENAMED.get(name, name)] = flow(name)
            if name == "battery_adjust_wh":
                columns["carbon_intensity_g_per_kwh"] = intensity
        constants, texts = self._quality(layout.apps, ticks)
        self.sink.write(Block("flows", times_s, {"app": layout.apps}, columns, constants, texts))
        site_columns: dict[str, Sequence[float]] = {"dt_s": _constant(self.tick_s, ticks, memory.compiled)}
        site_columns |= {name: site[name] for name in _SITE_TABLE}
        self.sink.write(Block("site", times_s, {}, site_columns, {}))
        self._write_containers(memory, layout, times_s, columns)
        self._write_events(memory, layout, times_s, columns)

    def _write_containers(
        self, memory: Memory, layout: Layout, times_s: Sequence[float], flows: Mapping[str, Sequence[float]]
    ) -> None:
        ticks, slots = len(times_s), layout.slots
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
        _, texts = self._quality(keys["app"], ticks)
        self.sink.write(Block("containers", times_s, keys, columns, {}, texts))

    def _quality(self, apps: Sequence[str], ticks: int) -> tuple[Mapping[str, str], Mapping[str, Sequence[str]]]:
        """The column `quality`: one for the whole block, or, where apps differ, a text for every row."""
        if not self.qualities:
            return {"quality": str(self.quality)}, {}
        one = [str(self.qualities.get(app, self.quality)) for app in apps]
        return {}, {"quality": one * ticks}

    def _write_events(self, memory: Memory, layout: Layout, times_s: Sequence[float], flows: Mapping[str, Sequence[float]]) -> None:
        """Batteries that became full or empty: at the end of the tick that made them so."""
        detect = _edges_compiled if memory.compiled else _edges_plain
        apps = layout.apps
        first = list(zip(flows["battery_level_wh"][: len(apps)], flows["capacity_wh"][: len(apps)], strict=True))
        before = [self._levels.get(name, known) for name, known in zip(apps, first, strict=True)]
        edges, after = detect(len(apps), before, flows["battery_level_wh"], flows["capacity_wh"])
        self._levels = dict(zip(apps, after, strict=True))
        for tick, app, kind in edges:
            level_wh = flows["battery_level_wh"][tick * len(apps) + app]
            self.sink.write_event(Event(times_s[tick] + self.tick_s, apps[app], kind, value=float(level_wh)))


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

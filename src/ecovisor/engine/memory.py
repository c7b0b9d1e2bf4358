"""Where the state of a run lives: Python lists, or NumPy records that compiled code works on. The rest of the engine sees no difference.

A column of a tile is a mutable sequence of floats (a list, or a memoryview of the record), so that policies read and write in place
what the loop uses next.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, MutableSequence, Sequence
from typing import Any, Protocol

from ecovisor.engine import columns, kernel

_TICK, _INTENSITY = columns.SITE.index("tick"), columns.SITE.index("intensity_g_per_kwh")

#: Below this many app-ticks, plain Python finishes before compiled code is loaded.
COMPILED_FROM_APP_TICKS = 100_000


class Memory(Protocol):
    """Storage for one arrangement of apps and containers, and the loop that runs on it."""

    compiled: bool

    def column(self, tile: int, name: str) -> MutableSequence[float]:
        """A tile's column, to read and to write."""
        ...

    def get(self, name: str) -> float:
        """A field of the site's record."""
        ...

    def set(self, name: str, value: float) -> None:
        """Set a field of the site's record."""
        ...

    def clock(self) -> tuple[int, float]:
        """The number of the coming tick and its carbon intensity. [g/kWh]"""
        ...

    def set_array(self, name: str, values: Sequence[float], row: int | None = None) -> None:
        """Fill an array of the site's record from its start (``row`` of a two-dimensional one)."""
        ...

    def get_array(self, name: str, row: int | None = None) -> list[float]:
        """An array of the site's record."""
        ...

    def set_container(self, slot: int, cores: float, cap_w: float) -> None:
        """Set a container's record."""
        ...

    def set_own_w(self, slot: int, power_w: float) -> None:
        """Set what is known of a container alone: metered, or asked for by its workload. [W]"""
        ...

    def set_containers(self, first: int, count: int, step: int, cores: float) -> None:
        """Set ``count`` records, ``step`` apart: uncapped."""
        ...

    def set_signals(self, signals: Sequence[array[float]]) -> None:
        """Set the signals, one value a tick each."""
        ...

    def fill(self, first: int, count: int, name: str, value: float, step: float = 0.0) -> None:
        """Set a column of the apps numbered from ``first``: to ``value``, ``value + step``, …"""
        ...

    def values(self, first: int, count: int, name: str) -> Sequence[float]:
        """A copy of a column of the apps numbered from ``first``."""
        ...

    def copy_site(self, other: Memory) -> None:
        """Take over the site's record."""
        ...

    def copy_apps(self, other: Memory, source: int, target: int, count: int) -> None:
        """Take over all columns of ``count`` apps, from number ``source`` there to ``target`` here."""
        ...

    def copy_lane(self, other: Memory, source: tuple[int, int], target: tuple[int, int]) -> None:
        """Take over all columns of one app, by tile and lane."""
        ...

    def allocate_block(self, length: int) -> None:
        """Make room for ``length`` recorded floats."""
        ...

    def block(self, start: int, length: int) -> Sequence[float]:
        """A part of the recorder's block."""
        ...

    def advance(self, callback: Callable[[int], int]) -> int:
        """Run the loop, see `kernel.advance`."""
        ...


class _Copying:
    """What both memories do the same way, column by column."""

    def column(self, tile: int, name: str) -> MutableSequence[float]:
        raise AssertionError("implemented by both memories")

    def fill(self, first: int, count: int, name: str, value: float, step: float = 0.0) -> None:
        for tile, begin, end in _spans(first, count):
            column = self.column(tile, name)
            for lane in range(begin, end):
                column[lane] = value
                value += step

    def values(self, first: int, count: int, name: str) -> Sequence[float]:
        return [value for tile, begin, end in _spans(first, count) for value in self.column(tile, name)[begin:end]]

    def copy_site(self, other: Memory) -> None:
        for name in columns.SITE:
            if name != "working_copy":
                self.set(name, other.get(name))
        for name, shape in columns.SITE_ARRAYS.items():
            rows: list[int | None] = [None] if len(shape) == 1 else list(range(shape[0]))
            for row in rows:
                self.set_array(name, other.get_array(name, row), row)

    def copy_apps(self, other: Memory, source: int, target: int, count: int) -> None:
        for offset in range(count):
            self.copy_lane(other, divmod(source + offset, columns.TILE), divmod(target + offset, columns.TILE))

    def copy_lane(self, other: Memory, source: tuple[int, int], target: tuple[int, int]) -> None:
        for name in columns.COLUMNS:
            self.column(target[0], name)[target[1]] = other.column(source[0], name)[source[1]]

    def set(self, name: str, value: float) -> None:
        raise AssertionError("implemented by both memories")

    def set_array(self, name: str, values: Sequence[float], row: int | None = None) -> None:
        raise AssertionError("implemented by both memories")


def _spans(first: int, count: int) -> list[tuple[int, int, int]]:
    """The tiles and lanes that ``count`` apps from ``first`` stand on: (tile, first lane, last lane + 1)."""
    spans = []
    while count > 0:
        tile, lane = divmod(first, columns.TILE)
        part = min(count, columns.TILE - lane)
        spans.append((tile, lane, lane + part))
        first, count = first + part, count - part
    return spans


class PlainMemory(_Copying):
    """Lists and objects; the loop as Python runs it."""

    compiled = False

    def __init__(self, counts: Sequence[int], containers: int) -> None:
        self._tiles = [columns.Tile(count) for count in (*counts, 0)]
        self._columns = [[getattr(tile, name) for name in columns.RECORDED] for tile in self._tiles]
        self._site = columns.SiteState()
        self._containers = [columns.ContainerState() for _ in range(containers)]
        self._signals: Sequence[array[float]] = []
        self._block: list[float] = []

    def column(self, tile: int, name: str) -> MutableSequence[float]:
        values: list[float] = getattr(self._tiles[tile], name)
        return values

    def get(self, name: str) -> float:
        return float(getattr(self._site, name))

    def set(self, name: str, value: float) -> None:
        setattr(self._site, name, float(value))

    def clock(self) -> tuple[int, float]:
        return int(self._site.tick), self._site.intensity_g_per_kwh  # type: ignore[attr-defined]

    def set_array(self, name: str, values: Sequence[float], row: int | None = None) -> None:
        target = getattr(self._site, name)
        target = target if row is None else target[row]
        target[: len(values)] = map(float, values)

    def get_array(self, name: str, row: int | None = None) -> list[float]:
        values = getattr(self._site, name)
        return list(values if row is None else values[row])

    def set_container(self, slot: int, cores: float, cap_w: float) -> None:
        self._containers[slot].cores = cores
        self._containers[slot].cap_w = cap_w

    def set_own_w(self, slot: int, power_w: float) -> None:
        self._containers[slot].own_w = power_w

    def set_containers(self, first: int, count: int, step: int, cores: float) -> None:
        for slot in range(first, first + count * step, max(step, 1)):
            self.set_container(slot, cores, float("inf"))

    def set_signals(self, signals: Sequence[array[float]]) -> None:
        self._signals = signals

    def allocate_block(self, length: int) -> None:
        self._block = [0.0] * length

    def block(self, start: int, length: int) -> Sequence[float]:
        return self._block[start : start + length]

    def advance(self, callback: Callable[[int], int]) -> int:
        return kernel.advance([self._site], self._tiles, self._columns, self._signals, self._containers, self._block, callback)


class CompiledMemory(_Copying):
    """NumPy records; the same loop as machine code."""

    compiled = True

    def __init__(self, counts: Sequence[int], containers: int) -> None:
        import numpy

        self._numpy = numpy
        self._tiles = numpy.zeros(len(counts) + 1, columns.tile_dtype())
        self._tiles["count"][:-1] = counts
        width = len(columns.COLUMNS)
        flat = self._tiles.view(numpy.float64).reshape(len(counts) + 1, -1)
        self._columns = flat[:, : width * columns.TILE].reshape(len(counts) + 1, width, columns.TILE)
        self._site = numpy.zeros(1, columns.site_dtype())
        self._site["working_copy"] = 1.0
        flat_site: Any = self._site.view(numpy.float64)
        self._fields: Any = memoryview(flat_site)
        self._index = {name: i for i, name in enumerate(columns.SITE)}
        self._containers = numpy.zeros(max(containers, 1), columns.container_dtype())
        own_w: Any = self._containers["own_w"]
        self._own_w: Any = memoryview(own_w)
        self._signals = numpy.zeros((columns.FIRST_TRACE, 1))
        self._block: Any = numpy.zeros(1)
        self._views: dict[tuple[int, str], memoryview] = {}
        self._advance = compiled_advance()

    def column(self, tile: int, name: str) -> MutableSequence[float]:
        view = self._views.get((tile, name))
        if view is None:  # one view for all apps of a tile: a thousand policies then fit in the cache
            view = self._views[tile, name] = memoryview(self._tiles[tile][name])
        return view  # type: ignore[return-value]

    def get(self, name: str) -> float:
        return float(self._fields[self._index[name]])

    def set(self, name: str, value: float) -> None:
        self._fields[self._index[name]] = value

    def clock(self) -> tuple[int, float]:
        fields = self._fields
        return int(fields[_TICK]), fields[_INTENSITY]

    def set_array(self, name: str, values: Sequence[float], row: int | None = None) -> None:
        target = self._site[name][0] if row is None else self._site[name][0][row]
        target[: len(values)] = values

    def get_array(self, name: str, row: int | None = None) -> list[float]:
        values = self._site[name][0]
        return [float(value) for value in (values if row is None else values[row])]

    def fill(self, first: int, count: int, name: str, value: float, step: float = 0.0) -> None:
        rising = self._numpy.arange(columns.TILE) * step
        for tile, begin, end in _spans(first, count):
            self._tiles[name][tile, begin:end] = rising[: end - begin] + value if step else value
            value += step * (end - begin)

    def values(self, first: int, count: int, name: str) -> Sequence[float]:
        parts = [self._tiles[name][tile, begin:end] for tile, begin, end in _spans(first, count)]
        joined: Any = self._numpy.concatenate(parts)
        return joined  # type: ignore[no-any-return]

    def copy_apps(self, other: Memory, source: int, target: int, count: int) -> None:
        for name in columns.COLUMNS:
            values = other.values(source, count, name)
            for tile, begin, end in _spans(target, count):
                done = tile * columns.TILE + begin - target
                self._tiles[name][tile, begin:end] = values[done : done + end - begin]

    def set_containers(self, first: int, count: int, step: int, cores: float) -> None:
        self._containers[first : first + count * step : max(step, 1)] = (cores, float("inf"), 0.0)

    def set_container(self, slot: int, cores: float, cap_w: float) -> None:
        self._containers[slot]["cores"] = cores
        self._containers[slot]["cap_w"] = cap_w

    def set_own_w(self, slot: int, power_w: float) -> None:
        self._own_w[slot] = power_w

    def set_signals(self, signals: Sequence[array[float]]) -> None:
        self._signals = self._numpy.array([self._numpy.asarray(values) for values in signals])

    def allocate_block(self, length: int) -> None:
        self._block = self._numpy.zeros(max(length, 1))

    def block(self, start: int, length: int) -> Sequence[float]:
        part: Sequence[float] = self._block[start : start + length]
        return part

    def advance(self, callback: Callable[[int], int]) -> int:
        from ecovisor.physics.compiled import Callback

        pointer = Callback(callback)
        return int(
            self._advance(self._site, self._tiles, self._columns, self._signals, self._containers, self._block, pointer.address)
        )


#: Makes a memory: apps of each tile, container records.
MemoryKind = Callable[[Sequence[int], int], Memory]

_COMPILED: list[Any] = []


def compiled_advance() -> Any:
    """The loop as machine code, compiled once a process and kept on disk."""
    if not _COMPILED:
        from ecovisor.physics.compiled import CALL_BACK, compile_graph

        _COMPILED.append(compile_graph(kernel.advance, CALL_BACK))
    return _COMPILED[0]


def choose_memory(app_ticks: int, compiled: bool | None = None) -> type[PlainMemory | CompiledMemory]:
    """Plain for small runs and where numba is not installed, compiled for large ones; ``compiled`` decides where it is not None."""
    if compiled is None:
        compiled = app_ticks >= COMPILED_FROM_APP_TICKS
        if compiled:
            from importlib.util import find_spec

            compiled = find_spec("numba") is not None and find_spec("numpy") is not None
    return CompiledMemory if compiled else PlainMemory

"""Lays rows on a regular grid of time, or says which row breaks it: unsorted, duplicate, irregular. Rows left out become NaN.

`placement` then chooses the part of the grid that a run uses.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import sub

from ecovisor.model.errors import SeriesError
from ecovisor.model.units import human_duration, iso_utc

#: Instants this close are the same. [s]
_CLOSE_S = 1e-3
#: A file whose rows would be lost among this many times as many gaps has a wrong time in it.
_MOST_STEPS_PER_ROW = 1000


@dataclass(frozen=True, slots=True)
class Grid:
    """The values of a file on a regular grid.

    Attributes:
        label: the file, for messages.
        start_s: start of the first step. [s since the epoch]
        step_s: length of a step. [s]
        values: one a step; NaN where the row or its value is missing.
        times: instants of the file's rows. [s since the epoch]
        lines: line of each row.
    """

    label: str
    start_s: float
    step_s: float
    values: array[float]
    times: array[float]
    lines: Sequence[int]

    @property
    def end_s(self) -> float:
        """End of the last step. [s since the epoch]"""
        return self.start_s + self.step_s * len(self.values)

    def place(self, index: int) -> str:
        """Where step ``index`` stands in the file: ``row 17``, or ``between rows 16 and 17`` where the row is missing."""
        time_s = self.start_s + index * self.step_s
        k = bisect_left(self.times, time_s - _CLOSE_S)
        if k < len(self.times) and abs(self.times[k] - time_s) <= _CLOSE_S:
            return f"row {self.lines[k]}"
        return f"between rows {self.lines[k - 1]} and {self.lines[k]}"


def lay_on_grid(times: array[float], values: array[float], lines: Sequence[int], label: str) -> Grid:
    """The grid whose step is the usual distance of the rows.

    Raises:
        SeriesError: fewer than two rows, rows not in the order of time, the same time twice, or a distance that is no
            multiple of the step.
    """
    if len(times) < 2:
        raise SeriesError(label, "has a single row, which tells no step", 'give at least two rows, or kind = "constant"')
    distances = array("d", map(sub, times[1:], times))
    shortest_s = min(distances)
    if shortest_s <= 0.0:
        k = next(k for k, distance in enumerate(distances) if distance <= 0.0)
        found = f"{iso_utc(times[k + 1])} " + (
            "stands twice" if distances[k] == 0.0 else f"comes after {iso_utc(times[k])}, rows must be in the order of time"
        )
        raise SeriesError(f"{label}: row {lines[k + 1]}", found, "remove duplicates and sort the file by time")
    if max(distances) - shortest_s <= _CLOSE_S:
        step_s = _round_step((times[-1] - times[0]) / len(distances))
        return Grid(label, times[0], step_s, values, times, lines)
    step_s = Counter(round(distance, 3) for distance in distances).most_common(1)[0][0]
    if (times[-1] - times[0]) / step_s > _MOST_STEPS_PER_ROW * len(times):
        k = max(range(len(distances)), key=distances.__getitem__)
        raise SeriesError(
            f"{label}: row {lines[k + 1]}",
            f"{iso_utc(times[k + 1])} is {human_duration(distances[k])} after the row before, the step is {human_duration(step_s)}",
            "repair the time, or split the file there",
        )
    filled = array("d", values[:1])
    for k, distance in enumerate(distances):
        steps = round(distance / step_s)
        if abs(distance - steps * step_s) > _CLOSE_S:
            raise SeriesError(
                f"{label}: row {lines[k + 1]}",
                f"{iso_utc(times[k + 1])} is {human_duration(distance)} after the row before, the step is {human_duration(step_s)}",
                "bring the file onto one step, or split it where the step changes",
            )
        if steps > 1:
            filled.extend([math.nan] * (steps - 1))
        filled.append(values[k + 1])
    return Grid(label, times[0], step_s, filled, times, lines)


def _round_step(step_s: float) -> float:
    return float(round(step_s)) if abs(step_s - round(step_s)) < _CLOSE_S else step_s


def gaps(values: Iterable[float]) -> list[tuple[int, int]]:
    """Runs of missing values, as (first index, number of steps)."""
    found: list[tuple[int, int]] = []
    for k in (k for k, value in enumerate(values) if math.isnan(value)):
        if found and sum(found[-1]) == k:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((k, 1))
    return found


def fill_gaps(grid: Grid, max_gap_s: float) -> tuple[Grid, set[int]]:
    """The grid with each gap of up to ``max_gap_s`` taking the value before it, and the indices that were filled."""
    values, filled = array("d", grid.values), set[int]()
    for first, count in gaps(grid.values):
        if first > 0 and count * grid.step_s <= max_gap_s + _CLOSE_S:
            values[first : first + count] = array("d", [values[first - 1]]) * count
            filled.update(range(first, first + count))
    return Grid(grid.label, grid.start_s, grid.step_s, values, grid.times, grid.lines), filled

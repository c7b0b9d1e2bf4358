"""Chooses which step of a trace stands at which step of the run: as recorded, moved by whole years, or repeated.

A placement is a list of indices into the trace, so that whatever is wrong with a value can be told with its row in the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ecovisor.adapters.signals.grid import Grid
from ecovisor.model.errors import SeriesError
from ecovisor.model.units import human_duration, iso_utc

#: A repeated trace also holds this much before and after the run, for forecasts. [s]
_MARGIN_S = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Placement:
    """A trace laid over the time of the run.

    Attributes:
        start_s: start of the first step. [s since the epoch]
        indices: for each step, the step of the trace that stands there.
        notes: what was done, for people.
    """

    start_s: float
    indices: Sequence[int]
    notes: tuple[str, ...] = ()

    def end_s(self, step_s: float) -> float:
        """End of the last step. [s since the epoch]"""
        return self.start_s + len(self.indices) * step_s


def place(grid: Grid, start_s: float, end_s: float, *, align_year: bool, repeat: bool) -> Placement:
    """The trace over ``[start_s, end_s)`` and, where it has more, around it.

    Raises:
        SeriesError: it does not cover the run, or cannot be moved by years.
    """
    placed = Placement(grid.start_s, range(len(grid.values)))
    if align_year:
        placed = _on_the_runs_year(grid, start_s, end_s)
    if repeat and placed.end_s(grid.step_s) < end_s:
        placed = _repeated(placed, grid.step_s, start_s, end_s)
    if start_s < placed.start_s or end_s > placed.end_s(grid.step_s):
        remedy = "shorten the run, move its start, or give a longer trace"
        if not repeat and start_s >= placed.start_s and placed.end_s(grid.step_s) > start_s:
            remedy += "; repeat = true starts the trace again"
        elif not align_year:
            remedy += '; align = "year" moves it by whole years'
        raise SeriesError(
            grid.label,
            f"covers {iso_utc(placed.start_s)} to {iso_utc(placed.end_s(grid.step_s))}, "
            f"the run needs {iso_utc(start_s)} to {iso_utc(end_s)}",
            remedy,
        )
    return placed


def _repeated(placed: Placement, step_s: float, start_s: float, end_s: float) -> Placement:
    length = len(placed.indices)
    first = max(math.floor((start_s - _MARGIN_S - placed.start_s) / step_s), 0)
    last = math.ceil((end_s + _MARGIN_S - placed.start_s) / step_s)
    indices = [placed.indices[k % length] for k in range(first, last)]
    note = f"repeated from its start every {human_duration(length * step_s)}"
    return Placement(placed.start_s + first * step_s, indices, (*placed.notes, note))


def _on_the_runs_year(grid: Grid, start_s: float, end_s: float) -> Placement:
    """Of the moves onto the run's year, the smallest that covers the run, or else covers most of it."""
    wanted = _utc(start_s).year
    years = range(_utc(grid.start_s).year, _utc(grid.end_s - grid.step_s).year + 1)
    best, best_covered_s = None, -math.inf
    for move in sorted((wanted - year for year in years), key=abs):
        placed = _moved(grid, move)
        covered_s = min(placed.end_s(grid.step_s), end_s) - max(placed.start_s, start_s)
        if covered_s > best_covered_s:
            best, best_covered_s = placed, covered_s
        if placed.start_s <= start_s and end_s <= placed.end_s(grid.step_s):
            break
    assert best is not None, "a grid spans at least one year"
    return best


def _moved(grid: Grid, years: int) -> Placement:
    """The trace moved by whole years, every value keeping its calendar day.

    29 February is left out where the new year has none, and takes the day before where only the new year has one.
    """
    if years == 0:
        return Placement(grid.start_s, range(len(grid.values)))
    first = _utc(grid.start_s)
    dropped = inserted = False
    indices: list[int] = []
    start_s: float | None = None
    done = 0
    for year in range(first.year, _utc(grid.end_s - grid.step_s).year + 1):
        leap_day, march = (_index(grid, datetime(year, 3, 1, tzinfo=UTC) - timedelta(days=d)) for d in (1, 0))
        until = _index(grid, datetime(year + 1, 1, 1, tzinfo=UTC))
        if _is_leap(year) and not _is_leap(year + years) and leap_day < march:
            _check_day(grid, year, years)
            indices.extend(range(done, leap_day))
            dropped = True
            if leap_day == 0:
                start_s = datetime(year + years, 3, 1, tzinfo=UTC).timestamp()
            done = march
        elif _is_leap(year + years) and not _is_leap(year) and done <= leap_day < march < len(grid.values):
            day = _check_day(grid, year, years)
            indices.extend(range(done, march))
            if march - done >= day:
                indices.extend(range(march - day, march))
                inserted = True
            done = march
        indices.extend(range(done, until))
        done = until
    if start_s is None:
        start_s = first.replace(year=first.year + years).timestamp()
    note = f"moved by {years:+d} years"
    if dropped:
        note += ", 29 February left out"
    if inserted:
        note += ", 29 February as the day before it"
    return Placement(start_s, indices, (note,))


def _check_day(grid: Grid, year: int, years: int) -> int:
    """Steps in a day, where days begin on the grid."""
    per_day = 86400.0 / grid.step_s
    offset = (datetime(year, 3, 1, tzinfo=UTC).timestamp() - grid.start_s) / grid.step_s
    if per_day != round(per_day) or abs(offset - round(offset)) > 1e-6:
        raise SeriesError(
            grid.label,
            f"moving {year} to {year + years} meets 29 February, and its step of {human_duration(grid.step_s)} does not fit days",
            "choose a run in a year like the trace's",
        )
    return round(per_day)


def _index(grid: Grid, when: datetime) -> int:
    return min(max(math.ceil((when.timestamp() - grid.start_s) / grid.step_s), 0), len(grid.values))


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _utc(time_s: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_s)

"""Which days, hours and single ticks make up an interval: the largest buckets that fit, and the rows of ticks at its edges.

A tick belongs to the interval in which it begins. The outer bounds snap outward: a tick that spans the start is in, and where only an
hour (or a day) is left of the ticks, all of it is. ``sums`` adds up the pieces.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

#: Instants nearer to each other than this are one: sums of floats differ by some fractions of a microsecond. [s]
SAME_S = 1e-5

DAY, HOUR, STEPS = "day", "hour", "steps"
_ALL = 1 << 62


@dataclass(frozen=True, slots=True)
class Piece:
    """A closed day, a closed hour, or a range of ticks."""

    kind: str
    first: int
    """The bucket, or the first step."""
    last: int
    """The bucket, or the last step."""
    start_s: float
    end_s: float
    """[s since the epoch]"""
    interval: int
    """Which of the intervals it belongs to."""


def pieces(db: sqlite3.Connection, edges: Sequence[float], *, fine: bool = False) -> list[Piece]:
    """What lies between the first edge and the last, in the order of time, each piece in one of the intervals between edges.

    Args:
        db: in a read transaction.
        edges: at least two, rising. [s since the epoch]
        fine: take ticks wherever they are kept.
    """
    return _Split(db, edges, fine).all()


def bounds(found: Sequence[Piece], start_s: float, end_s: float) -> tuple[float, float]:
    """The true bounds: as asked, or those of the outermost ticks where these reach beyond."""
    if not found:
        return start_s, end_s
    first_s, last_s = found[0].start_s, found[-1].end_s
    return (first_s if first_s < start_s - SAME_S else start_s, last_s if last_s > end_s + SAME_S else end_s)


class _Split:
    """Takes an interval apart, from days down to ticks."""

    def __init__(self, db: sqlite3.Connection, edges: Sequence[float], fine: bool) -> None:
        self.db = db
        self.fine = fine
        self.inner = [edge - SAME_S for edge in edges[1:-1]]
        self.start_s = edges[0] + SAME_S
        self.end_s = edges[-1] - SAME_S
        self.found: list[Piece] = []

    def all(self) -> list[Piece]:
        day_s = -1
        for day_s, start_s, last_start_s, end_s, hourly in self.db.execute(
            "SELECT day_s, start_s, last_start_s, end_s, hourly FROM days WHERE end_s > ? AND start_s < ? ORDER BY day_s",
            (self.start_s, self.end_s),
        ):
            if self._fits(start_s, last_start_s) or not hourly:
                self._add(DAY, day_s, day_s, start_s, end_s)
            else:
                self._hours(day_s, day_s)
        newest = self.db.execute("SELECT MAX(day_s) FROM days").fetchone()[0]
        self._hours(-_ALL if newest is None else newest + 1, _ALL)
        row = self.db.execute("SELECT last_step FROM hours ORDER BY hour_s DESC LIMIT 1").fetchone()
        self._steps(row[0] + 1 if row else 1, _ALL)
        return self.found

    def _hours(self, first_day_s: int, last_day_s: int) -> None:
        """Closed hours of these days, or their ticks."""
        for hour_s, start_s, last_start_s, end_s, raw, first, last in self.db.execute(
            "SELECT hour_s, start_s, last_start_s, end_s, raw, first_step, last_step FROM hours "
            "WHERE day_s BETWEEN ? AND ? AND end_s > ? AND start_s < ? ORDER BY hour_s",
            (first_day_s, last_day_s, self.start_s, self.end_s),
        ):
            if self._fits(start_s, last_start_s) or not raw:
                self._add(HOUR, hour_s, hour_s, start_s, end_s)
            else:
                self._steps(first, last)

    def _steps(self, first: int, last: int) -> None:
        """Ticks in a range of steps, as few ranges as intervals need."""
        where = "FROM steps WHERE step BETWEEN ? AND ? AND tick IS NOT NULL AND start_s + dt_s > ? AND start_s < ?"
        bounds = (first, last, self.start_s, self.end_s)
        if not self.inner:
            row = self.db.execute(f"SELECT MIN(step), MAX(step), MIN(start_s), MAX(start_s + dt_s) {where}", bounds).fetchone()
            if row[0] is not None:
                self._add_steps(row[0], row[1], row[2], row[3], 0)
            return
        run: list[tuple[int, float, float]] = []
        of = -1
        for row in self.db.execute(f"SELECT step, start_s, start_s + dt_s {where} ORDER BY step", bounds):
            interval = self._interval(row[1])
            if run and interval != of:
                self._add_steps(run[0][0], run[-1][0], run[0][1], run[-1][2], of)
                run = []
            of = interval
            run.append(row)
        if run:
            self._add_steps(run[0][0], run[-1][0], run[0][1], run[-1][2], of)

    def _add_steps(self, first: int, last: int, start_s: float, end_s: float, interval: int) -> None:
        """A range of ticks; one that follows another in the same interval lengthens it."""
        before = self.found[-1] if self.found else None
        if before is not None and before.kind == STEPS and before.interval == interval:
            self.found[-1] = replace(before, last=last, end_s=end_s)
        else:
            self.found.append(Piece(STEPS, first, last, start_s, end_s, interval))

    def _fits(self, start_s: float, last_start_s: float) -> bool:
        """Whether all ticks of a bucket begin in one interval, and none of them before the start; where ticks are wanted, never."""
        return (
            not self.fine
            and start_s > self.start_s - 2 * SAME_S
            and last_start_s < self.end_s
            and self._interval(start_s) == self._interval(last_start_s)
        )

    def _add(self, kind: str, first: int, last: int, start_s: float, end_s: float) -> None:
        self.found.append(Piece(kind, first, last, start_s, end_s, self._interval(start_s)))

    def _interval(self, start_s: float) -> int:
        return bisect_right(self.inner, start_s)

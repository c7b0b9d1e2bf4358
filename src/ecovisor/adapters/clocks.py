"""Where a running site takes its time from: the monotonic clock of the machine, or a hand that moves it.

Site time is what the ledger is in. On a real clock it is a straight line through an anchor, over the system's monotonic clock, so that
no change of the wall clock moves it and processes that share an anchor read the same. A manual clock stands until it is moved: for
tests, and for lockstep with a simulated platform.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable

import msgspec

#: A sleeper looks at the clock at least this often. [s, wall time]
_LONGEST_NAP_S = 3600.0
#: Event loops count timers in milliseconds; shorter naps would only spin. [s, wall time]
_SHORTEST_NAP_S = 0.001


class Anchor(msgspec.Struct, frozen=True):
    """A point that the line of site time goes through, and its slope. Valid on one machine until it starts anew."""

    monotonic_s: float
    """An instant of the system's monotonic clock. [s]"""
    site_s: float
    """Site time at that instant. [s since the epoch]"""
    compression: float = 1.0
    """Seconds of site time in a second of wall time. [1]"""


class RealClock:
    """Implements `ecovisor.ports.live.Clock`: site time passes by itself.

    Args:
        anchor: what site time is; share it to share site time.
        monotonic: a clock that only measures durations, the same for all processes of a machine. [s]
        wall: what calendars show; may be set. [s since the epoch]

    Raises:
        ValueError: the compression is no positive number, or an instant is not finite.
    """

    def __init__(
        self, anchor: Anchor, *, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        _check(anchor.compression, anchor.site_s, anchor.monotonic_s)
        self.anchor = anchor
        self._monotonic = monotonic
        self._wall = wall
        self._wall_ahead_s = wall() - monotonic()

    @classmethod
    def starting_at(cls, site_s: float | None = None, compression: float = 1.0) -> RealClock:
        """A clock that shows ``site_s`` now; without it, the wall clock's time. [s since the epoch]"""
        return cls(Anchor(time.monotonic(), time.time() if site_s is None else site_s, compression))

    @property
    def compression(self) -> float:
        """Seconds of site time in a second of wall time. [1]"""
        return self.anchor.compression

    def site_s(self) -> float:
        """Site time. [s since the epoch]"""
        return self.anchor.site_s + (self._monotonic() - self.anchor.monotonic_s) * self.anchor.compression

    def wall_s(self) -> float:
        """Wall time. [s since the epoch]"""
        return self._wall()

    def monotonic_s(self) -> float:
        """The system's monotonic clock. [s]"""
        return self._monotonic()

    def wall_step_s(self) -> float:
        """How far the wall clock has been moved since this clock was made; positive: forward. Suspending the machine counts too. [s]"""
        return self._wall() - self._monotonic() - self._wall_ahead_s

    async def sleep_until(self, site_s: float) -> None:
        """Return once site time has reached ``site_s``: for the past after others had a turn, for infinity never.

        Raises:
            ValueError: not a number.
        """
        _check_instant(site_s)
        nap_s = 0.0
        while True:
            await asyncio.sleep(nap_s)
            left_s = (site_s - self.site_s()) / self.anchor.compression
            if left_s <= 0.0:
                return
            nap_s = min(max(left_s, _SHORTEST_NAP_S), _LONGEST_NAP_S)


class ManualClock:
    """Implements `ecovisor.ports.live.Clock`: time passes when `advance` says so, and only then.

    Wall and monotonic time move along, by the duration over the compression. Belongs to one event loop.

    Args:
        site_s: site time at first. [s since the epoch]
        compression: seconds of site time in a second of wall time. [1]
        wall_s: wall time at first; default: site time. [s since the epoch]

    Raises:
        ValueError: the compression is no positive number, or an instant is not finite.
    """

    def __init__(self, site_s: float = 0.0, compression: float = 1.0, *, wall_s: float | None = None) -> None:
        _check(compression, site_s)
        self._compression = compression
        self._site_s = self._start_s = site_s
        self._wall_start_s = site_s if wall_s is None else wall_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def compression(self) -> float:
        """Seconds of site time in a second of wall time. [1]"""
        return self._compression

    def site_s(self) -> float:
        """Site time. [s since the epoch]"""
        return self._site_s

    def wall_s(self) -> float:
        """Wall time. [s since the epoch]"""
        return self._wall_start_s + self.monotonic_s()

    def monotonic_s(self) -> float:
        """Wall time since this clock was made. [s]"""
        return (self._site_s - self._start_s) / self._compression

    def next_wake_s(self) -> float:
        """The earliest instant that somebody sleeps until; infinite if nobody does. [s since the epoch]"""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else math.inf

    def advance(self, site_s: float) -> None:
        """Move site time to an instant. Whoever sleeps until then or earlier wakes in the order of instants, then of falling asleep.

        They run when the event loop next does, and all see the new time; `advance(next_wake_s())` goes from one to the next.

        Raises:
            ValueError: the instant lies in the past, or is not finite.
        """
        if not self._site_s <= site_s < math.inf:
            raise ValueError(f"site_s is {site_s!r}, it must be finite and at least {self._site_s!r}: time does not go back")
        self._site_s = site_s
        while self.next_wake_s() <= site_s:
            heapq.heappop(self._sleepers)[2].set_result(None)

    def advance_by(self, duration_s: float) -> None:
        """Move site time on by a duration. [s, site time]"""
        self.advance(self._site_s + duration_s)

    async def sleep_until(self, site_s: float) -> None:
        """Return once site time has been moved to ``site_s``: for the past after others had a turn, for infinity never.

        Raises:
            ValueError: not a number.
        """
        _check_instant(site_s)
        if site_s <= self._site_s:
            await asyncio.sleep(0)
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (site_s, next(self._order), waiting))
        await waiting


def _check(compression: float, *instants_s: float) -> None:
    if not 0.0 < compression < math.inf:
        raise ValueError(f"compression is {compression!r}, it must be a number above 0")
    for instant_s in instants_s:
        if not math.isfinite(instant_s):
            raise ValueError(f"an instant is {instant_s!r}, it must be finite")


def _check_instant(site_s: float) -> None:
    if math.isnan(site_s):
        raise ValueError("cannot sleep until nan, which is no instant")

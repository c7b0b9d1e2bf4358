"""What was told, tick by tick: kept in memory for readers who keep up, taken from the ledger for those who come back later.

An event's id is ``TICK.NUMBER``: the tick that was coming when it was told, and a number that rises within it; the tick event itself is
number 0. Ids rise, so a reader that remembers the last one misses nothing. The ledger gives the same ids to the same events.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ecovisor import wire
from ecovisor.adapters.stores.ledger.notifications import FOR_ALL, parse_id
from ecovisor.model.units import iso_utc
from ecovisor.ports import Block, Event, TableSink

#: Ticks whose events stay in memory.
KEPT_TICKS = 512
_FROM_LEDGER = 1000


@dataclass(frozen=True, slots=True)
class ToldTick:
    """The events that a tick began with, or those of a gap."""

    tick: int
    """The coming one; the one before has been recorded."""
    end_s: float
    """Start of the coming tick. [s since the epoch]"""
    wall_s: float
    events: Sequence[Event]
    first: int = 0
    """Number of the first: 0, the tick event itself; of a gap the next one, because the same tick is coming as before it."""

    def notifications(self, app: str | None, after: tuple[int, int]) -> list[wire.Notification]:
        """As readers see them: of an app, or of all."""
        told = []
        if self.first == 0 and (self.tick, 0) > after:
            told.append(self._notification(0, Event(self.end_s, app or "_site", "tick")))
        for number, event in enumerate(self.events, start=max(self.first, 1)):
            if (self.tick, number) > after and (app in (None, event.app) or event.kind in FOR_ALL):
                told.append(self._notification(number, event))
        return told

    def _notification(self, number: int, event: Event) -> wire.Notification:
        return wire.Notification(
            id=f"{self.tick}.{number}",
            kind=event.kind,
            app=event.app,
            tick=self.tick,
            time=iso_utc(event.time_s),
            wall_time=iso_utc(self.wall_s),
            value=event.value,
            detail=event.detail,
        )


class Tap:
    """A sink that passes everything on, and remembers the events of the tick."""

    def __init__(self, sink: TableSink) -> None:
        self._sink = sink
        self._events: list[Event] = []

    def write(self, block: Block) -> None:
        """See `ports.TableSink`."""
        self._sink.write(block)

    def write_event(self, event: Event) -> None:
        """See `ports.TableSink`."""
        self._sink.write_event(event)
        self._events.append(event)

    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events


class EventLog:
    """The newest ticks, and whoever waits for the next.

    Args:
        from_ledger: events of an app (None: of all) after an id, oldest first, at most so many; runs in a thread.
    """

    def __init__(self, from_ledger: Callable[[str | None, str, int], Sequence[wire.Notification]]) -> None:
        self._from_ledger = from_ledger
        self._ticks: deque[ToldTick] = deque(maxlen=KEPT_TICKS)
        self._published = asyncio.Event()
        self._tick = -1

    def publish(self, told: ToldTick | None, tick: int) -> None:
        """A tick or a gap has been recorded (None: in another process), and the snapshot of the coming tick can be read."""
        if told is not None:
            self._ticks.append(told)
        self._tick = tick
        published, self._published = self._published, asyncio.Event()
        published.set()

    async def wait(self, after_tick: int) -> int:
        """Wait until a later tick than this has been published; the newest."""
        while self._tick <= after_tick:
            await self._published.wait()
        return self._tick

    async def since(self, app: str | None, after: str, limit: int) -> list[wire.Notification]:
        """Events after an id, oldest first.

        Raises:
            SettingRefused: no id.
        """
        position = parse_id(after)
        if self._ticks and position >= (self._ticks[0].tick, max(self._ticks[0].first - 1, 0)):
            told = [one for tick in self._ticks if tick.tick >= position[0] for one in tick.notifications(app, position)]
            return told[:limit]
        return list(await asyncio.to_thread(self._from_ledger, app, after, min(limit, _FROM_LEDGER)))

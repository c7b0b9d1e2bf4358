"""The stream of events, followed through broken connections and restarts: every event once, in order.

Owns the position in the stream. Coming back is the business of `persistence`, what events mean for the app that of `application`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from ecovisor import wire
from ecovisor.client.exchange import Exchange
from ecovisor.client.persistence import Patience, persist
from ecovisor.client.sse import Message, Parser
from ecovisor.client.transport import Dropped, Incoming
from ecovisor.model.errors import Unavailable

TICK, MISSED = "tick", "missed"
_NOWHERE = (-1, 0)


class Event(wire.Notification, kw_only=True, frozen=True):
    """What happened; `tick` is the kind of a tick's own event.

    The kind `missed` is the client's own: ticks that the server, after an interruption, no longer tells of; ``tick`` is the first.
    """

    late: bool = False
    """A later tick had been published when this came: nothing can be set for its own any more."""


_decode = msgspec.json.Decoder(Event).decode


class Following:
    """Reads one app's events.

    Args:
        exchange: the server.
        patience: how it comes back.
        current: the event of the newest published tick, asked for whenever the stream has been opened.
    """

    def __init__(self, exchange: Exchange, patience: Patience, current: Callable[[], Awaitable[Event]]) -> None:
        self._exchange = exchange
        self._patience = patience
        self._current = current
        self._waiting: deque[Event] = deque()
        self._tick: int | None = None  # the last that was told
        self._position = _NOWHERE  # the last event's id
        self._stream: Incoming | None = None
        self._parser = Parser()

    async def next(self) -> Event:
        """The next event; first that of the newest tick.

        Raises:
            Ended: the app was closed.
            AuthenticationError: the token is no longer accepted.
            Unavailable: there was no contact for longer than patience has.
        """
        while not self._waiting:
            await persist(self._exchange, self._patience, self._receive, lambda: self._parser.retry_s or 0.0)
        return self._waiting.popleft()

    async def leave(self) -> None:
        """Let go of the stream; the position stays."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with contextlib.suppress(Unavailable):
                await stream.close()

    async def _receive(self) -> None:
        """Take what comes next: events, or only a sign of life."""
        try:
            if self._stream is None:
                self._parser = Parser()
                self._stream = await self._exchange.events(_text(self._position))
                await self._begin()
                return
            chunk = await self._stream.read()
            if not chunk:
                raise Dropped("the stream of events ended")
            for message in self._parser.feed(chunk):
                self._take(message)
        except BaseException:
            await self.leave()
            raise

    async def _begin(self) -> None:
        """The stream is open; where nothing is known to go on from, begin with the present tick.

        What is told from now on waits in the stream, so no tick is lost between the two.
        """
        current = await self._current()
        if self._tick is not None and current.tick < self._tick:  # the site began anew: open the stream at its beginning
            self._tick, self._position = None, _NOWHERE
            await self.leave()
        elif self._position == _NOWHERE:
            self._position = _parsed(current.id)
            self._take_tick(current)

    def _take(self, message: Message) -> None:
        try:
            event = _decode(message.data)
            position = _parsed(event.id)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(f"the stream of events has something that is no event: {message.data[:80]!r}") from error
        if position <= self._position:
            return
        self._position = position
        if event.kind == TICK:
            self._take_tick(event)
        else:
            self._waiting.append(event)

    def _take_tick(self, event: Event) -> None:
        if self._tick is not None:
            if event.tick <= self._tick:
                return
            if event.tick > self._tick + 1:
                self._waiting.append(_missed(self._tick + 1, event))
        self._tick = event.tick
        self._waiting.append(event)


def _parsed(event_id: str) -> tuple[int, int]:
    tick, number = event_id.split(".")
    return int(tick), int(number)


def _text(position: tuple[int, int]) -> str:
    """As `Last-Event-ID`; empty before the first event of a site."""
    tick, number = position
    return f"{tick}.{number}" if tick >= 0 else ""


def _missed(first: int, found: Event) -> Event:
    detail = f"ticks {first} to {found.tick - 1} were not told"
    return msgspec.structs.replace(found, kind=MISSED, tick=first, detail=detail, late=True)

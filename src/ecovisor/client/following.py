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


class Event(wire.Notification, kw_only=True, frozen=True):
    """What happened; `tick` is the kind of a tick's own event.

    The kind `missed` is the client's: ticks of which the server, after an interruption, tells no more; ``tick`` is the first of them.
    """

    late: bool = False
    """A later tick had been published when this came: nothing can be set for its own any more."""


_decode = msgspec.json.Decoder(Event).decode


class Following:
    """Reads one app's events.

    Args:
        exchange: the server.
        patience: how it comes back.
        current: the event of the newest published tick, asked for whenever the stream is opened.
    """

    def __init__(self, exchange: Exchange, patience: Patience, current: Callable[[], Awaitable[Event]]) -> None:
        self._exchange = exchange
        self._patience = patience
        self._current = current
        self._waiting: deque[Event] = deque()
        self._position: tuple[int, int] | None = None
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
        if self._stream is None:
            current = await self._current()
            if self._position is None or current.tick < self._position[0]:  # at first, or the site began anew
                self._position = (current.tick, 0)
                self._waiting.append(current)
                return
            self._stream = await self._exchange.events("{}.{}".format(*self._position))
            self._parser = Parser()
        try:
            chunk = await self._stream.read()
            if not chunk:
                raise Dropped("the stream of events ended")
            for message in self._parser.feed(chunk):
                self._take(message)
        except BaseException:
            await self.leave()
            raise

    def _take(self, message: Message) -> None:
        try:
            event = _decode(message.data)
            tick, number = (int(part) for part in event.id.split("."))
        except (msgspec.MsgspecError, ValueError) as error:
            raise Unavailable(f"the stream of events has something that is no event: {message.data[:80]!r}") from error
        if self._position is not None:
            if (tick, number) <= self._position:
                return
            first = self._position[0] + 1
            if event.kind == TICK and event.tick > first:
                self._waiting.append(_missed(first, event))
        self._position = (tick, number)
        self._waiting.append(event)


def _missed(first: int, found: Event) -> Event:
    detail = f"ticks {first} to {found.tick - 1} were not told"
    return msgspec.structs.replace(found, id=f"{first}.0", kind=MISSED, tick=first, detail=detail, late=True)

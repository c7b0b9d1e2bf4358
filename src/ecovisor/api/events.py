"""Streams of events: server-sent events that go on where their reader stopped.

Nothing is queued for a reader. Its handler waits until a tick has been published, reads the events later than the last one it sent, and
sends them; a reader that is slow is simply behind, and one that is gone is noticed by its connection. `Last-Event-ID` (or ``?after=``)
says where to go on.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import msgspec
from starlette.types import Receive, Send

from ecovisor import wire
from ecovisor.api.calls import Call, Stream
from ecovisor.api.decoding import event_id
from ecovisor.api.problems import Rejected
from ecovisor.model.errors import EcovisorError

logger = logging.getLogger("ecovisor.api")

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
_RETRY_MS = 1000
_BATCH = 1000
_MANY = 999_999_999
"""More events than any tick has."""


async def stream_events(call: Call) -> Stream:
    """``GET /v1/events``."""
    call.backend.snapshot(call.app)  # raises for an app that is no more, while there is no answer yet
    return _stream(call, call.app)


async def stream_site_events(call: Call) -> Stream:
    """``GET /v1/admin/events``."""
    return _stream(call, None)


def _stream(call: Call, app: str | None) -> Stream:
    after = _start(call)
    kinds: frozenset[str] | None = call.query["kinds"]

    async def run(receive: Receive, send: Send) -> None:
        with call.api.streams.opened(call.principal) as end:
            await _Reader(call, app, after, kinds, end).run(receive, send)

    return Stream(run)


def _start(call: Call) -> str:
    """The id after which to begin; without one, the last that was told."""
    last = call.headers.get(b"last-event-id")
    if last:
        try:
            return event_id(last.decode("ascii", "replace"))
        except ValueError as error:
            raise Rejected(422, "invalid", f"last-event-id: {error}", field="last-event-id", remedy="write TICK.NUMBER") from None
    return call.query["after"] or last_told(call.backend.tick)


def last_told(tick: int) -> str:
    """An id after all events told so far: they bear the numbers of the coming tick, ``tick``, and of those before."""
    return f"{tick}.{_MANY}"


class _Reader:
    """One client's stream."""

    def __init__(self, call: Call, app: str | None, after: str, kinds: frozenset[str] | None, end: asyncio.Future[None]) -> None:
        self._end = end
        self._call = call
        self._backend = call.backend
        self._app = app
        self._after = after
        self._kinds = kinds

    async def run(self, receive: Receive, send: Send) -> None:
        """Send until the client is gone, the server stops, the app is no more, or its token is no longer valid."""
        await self._backend.events_since(self._app, self._after, limit=1)  # raises while there still is an answer to refuse with
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await _write(send, b"retry: %d\n\n" % _RETRY_MS)
            while not self._ended(gone):
                tick = self._backend.tick
                if not await self._send_batch(send):
                    await self._wait(gone, tick, send)
        except EcovisorError as error:
            logger.warning("a stream of events ends: %s", error)
        finally:
            await _cancelled(gone)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _ended(self, gone: asyncio.Future[None]) -> bool:
        principal = self._call.principal
        return gone.done() or self._end.done() or (principal is not None and not self._call.api.tokens.holds(principal))

    async def _wait(self, gone: asyncio.Future[None], tick: int, send: Send) -> None:
        """Until something is published after a tick, with signs of life meanwhile."""
        heartbeat_s = self._call.api.limits.heartbeat_s
        published = asyncio.ensure_future(self._backend.wait_published(tick))
        try:
            while not self._ended(gone):
                watched: set[asyncio.Future[Any]] = {gone, published, self._end}
                await asyncio.wait(watched, timeout=heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if published.done():
                    published.result()
                    return
                if not gone.done() and not self._end.done():
                    await _write(send, b":\n\n")
        finally:
            await _cancelled(published)

    async def _send_batch(self, send: Send) -> bool:
        """Send what is new; True if there may be more."""
        events = await self._backend.events_since(self._app, self._after, limit=_BATCH)
        if not events:
            return False
        text = b"".join(_event(event) for event in events if self._kinds is None or event.kind in self._kinds)
        if text:
            await _write(send, text)
        self._after = events[-1].id
        return len(events) >= _BATCH


_encoder = msgspec.json.Encoder()


def _event(event: wire.Notification) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.kind.encode(), _encoder.encode(event))


async def _write(send: Send, text: bytes) -> None:
    await send({"type": "http.response.body", "body": text, "more_body": True})


async def _cancelled(waiting: asyncio.Future[Any]) -> None:
    waiting.cancel()
    with suppress(asyncio.CancelledError, EcovisorError):
        await waiting


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

"""uvicorn's HTTP protocol with the bounds it does not have: header time and size, number of connections, clients that read nothing.

What goes wrong before there is a request (no HTTP, too long, too late, too many) is answered as a problem too, and the connection closed.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ecovisor import wire
from ecovisor.api.limits import Limits


class TooMuch(Exception):
    """The headers of a request are beyond a limit."""


class Guarded(HttpToolsProtocol):
    """One connection. `bounded` makes the class for a listener."""

    limits: Limits
    header_timer: asyncio.TimerHandle | None = None
    send_timer: asyncio.TimerHandle | None = None
    received = 0
    refusal: tuple[int, str, str] | None = None

    # -- connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it if there are too many; expect a request soon."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503, "connections", "too many connections are open")
        else:
            self.header_timer = self.loop.call_later(self.limits.header_timeout_s, self._headers_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all timers."""
        for timer in (self.header_timer, self.send_timer, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        self.header_timer = self.send_timer = None
        super().connection_lost(exc)

    # -- receiving

    def data_received(self, data: bytes) -> None:
        """Keep the headers' time: it runs while something has arrived that is no request yet, or no longer one."""
        if self.transport.is_closing():
            return
        if self._between_requests():
            self.received += len(data)
        super().data_received(data)
        if self._between_requests():
            if self.received > self.limits.max_header_bytes:
                self._refuse(431, "headers", f"the headers are larger than {self.limits.max_header_bytes} bytes")
            elif self.header_timer is None and not self.transport.is_closing():
                self.header_timer = self.loop.call_later(self.limits.header_timeout_s, self._headers_late)
        else:
            self.received = 0
            if self.header_timer is not None:
                self.header_timer.cancel()
                self.header_timer = None

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _headers_late(self) -> None:
        self.header_timer = None
        if not self.transport.is_closing():
            if self.received:
                self._refuse(408, "slow", f"the headers did not arrive within {self.limits.header_timeout_s:g} s")
            else:
                self.transport.close()

    def on_headers_complete(self) -> None:
        """Refuse what is too long, before anybody looks at it. Raises `TooMuch`, which the parser passes on as its own error."""
        limits = self.limits
        if len(self.url) > limits.max_url_bytes:
            self.refusal = (414, "url", f"the address is longer than {limits.max_url_bytes} bytes")
            raise TooMuch
        if len(self.headers) > limits.max_headers:
            self.refusal = (431, "headers", f"there are more than {limits.max_headers} header lines")
            raise TooMuch
        if self.received > limits.max_header_bytes:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > limits.max_header_bytes:
                self.refusal = (431, "headers", f"the headers are larger than {limits.max_header_bytes} bytes")
                raise TooMuch
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What the parser refused."""
        self._refuse(*(self.refusal or (400, "malformed", "this is no HTTP request")))

    # -- sending

    def pause_writing(self) -> None:
        """The client does not read what was sent."""
        super().pause_writing()
        if self.send_timer is None:
            self.send_timer = self.loop.call_later(self.limits.send_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self.send_timer is not None:
            self.send_timer.cancel()
            self.send_timer = None

    def _refuse(self, status: int, kind: str, detail: str) -> None:
        title = HTTPStatus(status).phrase
        body = msgspec.json.encode(wire.Problem(type=f"tag:{kind}", title=title, status=status, detail=detail))
        lines = [f"HTTP/1.1 {status} {title}", "content-type: application/problem+json", f"content-length: {len(body)}"]
        lines += ["retry-after: 1"] if status == 503 else []
        lines += ["connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode() + body)
        self.transport.close()


def bounded(limits: Limits) -> type[asyncio.Protocol]:
    """The protocol class of a listener with these limits."""
    made: Any = type("BoundedProtocol", (Guarded,), {"limits": limits})
    return made  # type: ignore[no-any-return]

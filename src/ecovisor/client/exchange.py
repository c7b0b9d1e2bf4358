"""One request and its answer: encode, send, decode, and raise what the server says is wrong.

Owns the token, and what is tried again at once: a request whose connection broke, if asking twice does no harm. Longer waits are the
business of `following`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ecovisor import wire
from ecovisor.client.endpoints import ENERGY, EVENTS, Endpoint, encode
from ecovisor.client.problems import problem_error
from ecovisor.client.transport import Answer, Dropped, Incoming, Target, Transport
from ecovisor.model.errors import Unavailable

A = TypeVar("A")
_NOT_MODIFIED = 304
_SENT_AGAIN = frozenset({"GET", "PUT", "PATCH"})
_JSON = "application/json"
_STREAM = "text/event-stream"


class Exchange:
    """A server, as one app sees it.

    Args:
        transport: the network.
        target: where the server is, for messages.
        token: of the app; None through a socket of its own.
    """

    def __init__(self, transport: Transport, target: Target, token: str | None) -> None:
        self.transport = transport
        self.closed = False
        self._where = str(target)
        self._headers = {"accept": _JSON, "accept-encoding": "identity"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._sending = self._headers | {"content-type": _JSON}

    async def ask(
        self, endpoint: Endpoint[A], body: msgspec.Struct | None = None, *, query: Mapping[str, str] | None = None, **parts: str
    ) -> A:
        """Ask, and decode the answer.

        Args:
            endpoint: what.
            body: an instance of its request struct.
            query: its query parameters.
            parts: of its path.

        Raises:
            EcovisorError: what the server says is wrong; `Unavailable` if it does not answer, or not sensibly.
        """
        path = endpoint.path.format_map({name: quote(part, safe="") for name, part in parts.items()})
        if query:
            path += "?" + urlencode(query)
        headers = self._headers if body is None else self._sending
        answer = await self._send(endpoint.method, path, headers, None if body is None else encode(body))
        return self._value(endpoint, answer)

    async def snapshot(self, etag: str) -> tuple[wire.Snapshot, str] | None:
        """The snapshot of now and its tag; None if it is still the one with that tag."""
        headers = self._headers | {"if-none-match": etag} if etag else self._headers
        answer = await self._send("GET", ENERGY.path, headers, None)
        if answer.status == _NOT_MODIFIED and etag:
            return None
        return self._value(ENERGY, answer), answer.headers.get("etag", "")

    async def events(self, after: str) -> Incoming:
        """The stream of events later than an id; empty: from now on.

        Raises:
            EcovisorError: the server does not answer, or says what is wrong.
        """
        self._must_be_open()
        headers = self._headers | {"accept": _STREAM} | ({"last-event-id": after} if after else {})
        stream = await self.transport.open(EVENTS.path, headers)
        media = stream.headers.get("content-type", "").partition(";")[0].strip().lower()
        if stream.status == 200 and media == _STREAM:
            return stream
        body = b""
        try:
            while len(body) < 65536 and (part := await stream.read()):
                body += part
        finally:
            await stream.close()
        raise problem_error(self._where, False, stream.status, stream.headers, body)

    def end(self) -> None:
        """Whatever waits, ends; nothing more is asked."""
        self.closed = True
        self.transport.wake()

    def _must_be_open(self) -> None:
        if self.closed:
            raise Unavailable(f"the connection to {self._where} has been closed here")

    async def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        self._must_be_open()
        try:
            return await self.transport.send(method, path, headers, body)
        except Dropped:
            # A kept connection may have been closed by the server just now.
            if method not in _SENT_AGAIN or self.closed:
                raise
            return await self.transport.send(method, path, headers, body)

    def _value(self, endpoint: Endpoint[A], answer: Answer) -> A:
        if not 200 <= answer.status < 300:
            raise problem_error(self._where, endpoint.changes, answer.status, answer.headers, answer.body)
        try:
            return endpoint.decode(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            text = " ".join(str(error).split())[:200]
            raise Unavailable(
                f"{self._where}: {endpoint.method} {endpoint.path} is not answered as ecovisor does: {text}"
            ) from error

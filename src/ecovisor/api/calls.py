"""One request, as handlers see it, and what they answer with when it is not a struct."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.types import Receive, Send

from ecovisor.api.backend import Backend, Published
from ecovisor.api.tokens import Principal

if TYPE_CHECKING:
    from ecovisor.api.application import Interface


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes, as they are sent."""

    body: bytes = b""
    status: int = 200
    media: bytes = b"application/json"
    headers: Sequence[tuple[bytes, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer without an end; ``run`` sends it and returns when the client, or the server, has had enough."""

    run: Callable[[Receive, Send], Awaitable[None]]


@dataclass(slots=True)
class Call:
    """A request whose sender may make it, decoded."""

    api: Interface
    principal: Principal | None
    """None only on routes that are open to anyone."""
    app: str
    """Whose resources it is about; empty where the route is no app's."""
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any
    """An instance of the route's request struct."""
    headers: Mapping[bytes, bytes]
    request_id: str

    @property
    def backend(self) -> Backend:
        """The running system."""
        return self.api.backend

    def json(self, answer: object, *, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
        """A struct with a status or headers of its own."""
        return Reply(msgspec.json.encode(answer), status, headers=headers)

    def of_snapshot(self, published: Published, body: bytes) -> Reply:
        """A part of a snapshot, with the tick and the tag of the whole; 304 if the client has it."""
        return snapshot_reply(published, body, self.headers.get(b"if-none-match"))


def snapshot_reply(published: Published, body: bytes, if_none_match: bytes | None) -> Reply:
    """A snapshot or a part of it. The tag is the snapshot's: it changes whenever any part does."""
    etag = published.etag.encode()
    headers = ((b"etag", etag), (b"ecovisor-tick", b"%d" % published.tick), (b"cache-control", b"private, no-cache"))
    if if_none_match is not None and matches(if_none_match, etag):
        return Reply(status=304, headers=headers)
    return Reply(body, headers=headers)


def matches(if_none_match: bytes, etag: bytes) -> bool:
    """Whether `If-None-Match` names an entity tag; weak ones compare alike (RFC 9110, 13.1.2)."""
    if if_none_match == etag:
        return True
    if if_none_match.strip() == b"*":
        return True
    return any(part.strip().removeprefix(b"W/") == etag for part in if_none_match.split(b","))

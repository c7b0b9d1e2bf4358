"""What the client needs of a network. `on_httpx` has it in two colours: one that blocks, one that awaits.

Everything above a transport is written once, as coroutines. On the one that blocks they never suspend, so `blocking.complete` has their
result at once; on the other they run in an event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ecovisor.model.errors import Unavailable


class Dropped(Unavailable):
    """The connection broke before the answer was complete: nobody knows whether the request has acted."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the server is."""

    url: str
    """Scheme and host; of a Unix socket `http://localhost`."""
    socket_path: str | None = None
    ca_file: str | None = None
    """Certificates to trust instead of the system's, PEM."""

    def __str__(self) -> str:
        return self.url if self.socket_path is None else f"socket {self.socket_path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Incoming(Protocol):
    """A stream that a server writes to; its status and headers are known."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    async def read(self) -> bytes:
        """The next bytes, empty at the end. Raises `Unavailable` after too long a silence."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Transport(Protocol):
    """A network, and the time that goes with it."""

    def monotonic_s(self) -> float:
        """A clock that measures durations. [s]"""
        ...

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Ask, and wait for the whole answer. Raises `Unavailable`, `Dropped` among it."""
        ...

    async def open(self, path: str, headers: Mapping[str, str]) -> Incoming:
        """Begin to read a stream. Raises `Unavailable`."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Wait, or until somebody wakes."""
        ...

    def wake(self) -> None:
        """End what waits now, in `sleep` or in a stream's `read`."""
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...

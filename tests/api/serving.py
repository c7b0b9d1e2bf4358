"""The interface of a played ecovisor on a real server in a thread of its own, and ways to talk to it that no client library allows."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from starlette.routing import BaseRoute
from tests.api.played import APPS, PlayedBackend

from ecovisor.api.application import Interface, create_app
from ecovisor.api.callbacks import Callbacks
from ecovisor.api.limits import Limits
from ecovisor.api.listening import Listener, Tcp
from ecovisor.api.server import Server, loop_factory
from ecovisor.api.tokens import Tokens

T = TypeVar("T")


@dataclass
class Site:
    """A server under test."""

    backend: PlayedBackend
    tokens: Tokens
    interface: Interface
    server: Server
    loop: asyncio.AbstractEventLoop
    token: dict[str | None, str] = field(default_factory=dict)
    """By app; None: the operator's."""

    @property
    def url(self) -> str:
        return self.server.addresses[0]

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """In the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def call(self, function: Callable[[], T]) -> T:
        """In the server's loop, without waiting inside."""

        async def calling() -> T:
            return function()

        return self.run(calling())

    def client(self, app: str | None = "app", **more: Any) -> httpx.Client:
        """A client with an app's token, or the operator's (None); ``app=""``: without any."""
        headers = {} if app == "" else {"Authorization": f"Bearer {self.token[app]}"}
        return httpx.Client(
            base_url=self.url, headers=headers | more.pop("headers", {}), trust_env=False, timeout=20, verify=False, **more
        )

    def raw(self, *parts: bytes, timeout_s: float = 20.0, half_close: bool = False) -> bytes:
        """Send bytes as they are, and read until the server closes the connection."""
        with socket.create_connection(self.address, timeout=timeout_s) as connection:
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    connection.sendall(part)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Until the other side closes, in whichever way."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


@contextlib.contextmanager
def serving(
    listeners: Sequence[Listener] = (Tcp(),),
    *,
    limits: Limits | None = None,
    callbacks: Callable[[PlayedBackend], Callbacks] | None = None,
    extra_routes: Sequence[BaseRoute] = (),
    allow_insecure: bool = False,
) -> Iterator[Site]:
    """A server of a played ecovisor while the block runs."""
    loop = loop_factory()()
    thread = threading.Thread(target=loop.run_forever, name="server")
    thread.start()

    async def start() -> Site:
        backend = PlayedBackend()
        tokens = Tokens(backend.registry, backend.clock.wall_s)
        token: dict[str | None, str] = {app: tokens.issue(app) for app in (*APPS, None)}
        known = None if callbacks is None else callbacks(backend)
        interface = create_app(backend, tokens=tokens, callbacks=known, extra_routes=extra_routes, limits=limits)
        server = Server(interface, listeners, allow_insecure=allow_insecure)
        await server.start()
        return Site(backend, tokens, interface, server, loop, token)

    with contextlib.ExitStack() as ending:
        ending.callback(loop.close)
        ending.callback(thread.join)
        ending.callback(loop.call_soon_threadsafe, loop.stop)
        ending.callback(lambda: asyncio.run_coroutine_threadsafe(_settle(), loop).result(30))
        running = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
        ending.callback(lambda: running.run(running.server.stop()))
        yield running


async def _settle() -> None:
    """Let what was cancelled end, so that nothing is left when the loop closes."""
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()

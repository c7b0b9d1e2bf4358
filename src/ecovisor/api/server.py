"""Runs the interface on its listeners, with uvicorn, inside an event loop that is running already.

Each listener is a uvicorn server of its own, with the identity of those who come through it; `guard` has the bounds of connections. Signals
stay with the caller: `start` and `stop` are all there is. The loop is best made by `loop_factory`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Generator, Sequence

import uvicorn
from starlette.types import Receive, Scope, Send

from ecovisor.api.application import Interface
from ecovisor.api.guard import bounded
from ecovisor.api.identity import PRINCIPAL
from ecovisor.api.listening import Listener, Tcp, Unix, address_of, bind
from ecovisor.api.tokens import principal_of
from ecovisor.model.errors import SettingsError

logger = logging.getLogger("ecovisor.api")

_DATE_S = 1.0
"""Resolution of the Date header. [s]"""
_METRICS_PATHS = {"/metrics", "/healthz", "/readyz"}


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the fastest event loop there is: for ``asyncio.Runner(loop_factory=…)``."""
    try:
        import uvloop
    except ImportError:  # not on Windows
        return asyncio.new_event_loop
    return uvloop.new_event_loop


class Server:
    """The interface on its listeners.

    Args:
        app: made by `create_app`; its limits are those of the connections too.
        listeners: where to listen at first.
        allow_insecure: listen beyond loopback without TLS.
    """

    def __init__(self, app: Interface, listeners: Sequence[Listener], *, allow_insecure: bool = False) -> None:
        self._app = app
        self._first = tuple(listeners)
        self._allow_insecure = allow_insecure
        self._running: list[_Running] = []

    @property
    def addresses(self) -> list[str]:
        """What clients connect to, in the order of the listeners."""
        return [running.address for running in self._running]

    async def start(self) -> None:
        """Listen. Returns once connections are accepted.

        Raises:
            SettingsError: an address cannot be had, or may not be; then none is listened on.
        """
        try:
            for listener in self._first:
                await self.listen(listener)
        except BaseException:
            await self.stop()
            raise

    async def listen(self, listener: Listener) -> str:
        """Listen on one more (the socket of an app that has joined); returns its address. Raises `SettingsError`."""
        bound = bind(listener, allow_insecure=self._allow_insecure)
        try:
            context = _tls(listener)
        except BaseException:
            bound.close()
            raise
        running = _Running(self._app, listener, bound, context)
        await running.start()
        self._running.append(running)
        logger.info("listening on %s", running.address)
        return running.address

    async def unlisten(self, app: str) -> None:
        """Close the sockets of an app that has left, and end its streams."""
        self._app.streams.close(app)
        leaving = [one for one in self._running if isinstance(one.listener, Unix) and one.listener.app == app]
        self._running = [one for one in self._running if one not in leaving]
        for one in leaving:
            await one.stop()

    async def stop(self) -> None:
        """End streams, let requests under way finish for a while, and close everything."""
        running, self._running = self._running, []
        for one in running:
            one.close()
        await self._app.finish()
        await asyncio.gather(*(one.stop() for one in running))


class _Running:
    """One listener."""

    def __init__(self, app: Interface, listener: Listener, bound: socket.socket, context: ssl.SSLContext | None) -> None:
        limits = app.limits
        config = uvicorn.Config(
            _MetricsOnly(app) if isinstance(listener, Tcp) and listener.metrics_only else app,
            http=bounded(limits),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            workers=1,
            backlog=limits.backlog,
            timeout_keep_alive=limits.keep_alive_s,  # type: ignore[arg-type]  # goes to call_later
            timeout_graceful_shutdown=limits.stop_timeout_s,  # type: ignore[arg-type]  # goes to wait_for
        )
        state: dict[str, object] = {PRINCIPAL: principal_of(listener.app)} if isinstance(listener, Unix) else {}
        self.address = address_of(listener, bound)
        self._server = _Uvicorn(config, state, bound, context, limits.header_timeout_s)
        self.listener = listener
        self._bound = bound
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve([self._bound]))
        ready = asyncio.ensure_future(self._server.ready.wait())
        await asyncio.wait({self._task, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._task.done():
            self._close_socket()
            await self._task

    def close(self) -> None:
        """Take no new connections."""
        self._server.exit()

    async def stop(self) -> None:
        self.close()
        if self._task is not None:
            await self._task
        self._close_socket()

    def _close_socket(self) -> None:
        self._bound.close()
        if isinstance(self.listener, Unix):
            self.listener.path.unlink(missing_ok=True)


class _Uvicorn(uvicorn.Server):
    """uvicorn's server on one bound socket, within somebody else's program: no signals, no exit."""

    def __init__(
        self,
        config: uvicorn.Config,
        state: dict[str, object],
        bound: socket.socket,
        context: ssl.SSLContext | None,
        handshake_timeout_s: float,
    ) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._exiting = asyncio.Event()
        self._state = state
        self._bound = bound
        self._context = context
        self._handshake_timeout_s = handshake_timeout_s
        self.servers = []

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the caller's."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on the socket, with TLS if it has any."""
        config = self.config

        def protocol() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self._state
            )

        server = await asyncio.get_running_loop().create_server(
            protocol,
            sock=self._bound,
            ssl=self._context,
            backlog=config.backlog,
            ssl_handshake_timeout=None if self._context is None else self._handshake_timeout_s,
        )
        self.servers = [server]
        self.started = True
        self.ready.set()

    async def main_loop(self) -> None:
        """Keep the Date header; uvicorn's own loop wakes ten times as often to look whether it shall end."""
        while not self._exiting.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._exiting.wait(), _DATE_S)

    def exit(self) -> None:
        """Stop accepting at once, and end soon."""
        for server in self.servers:
            server.close()
        self._exiting.set()


class _MetricsOnly:
    """The interface as its metrics listener shows it: what scrapers and probes need, as if the operator asked."""

    def __init__(self, app: Interface) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/metrics":
            scope["state"][PRINCIPAL] = principal_of(None)
        if scope["path"] in _METRICS_PATHS:
            await self._app(scope, receive, send)
        else:
            await self._app.nothing_here(scope, receive, send)


def _tls(listener: Listener) -> ssl.SSLContext | None:
    """Raises `SettingsError` for a certificate that cannot be used."""
    if not isinstance(listener, Tcp) or listener.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listener.certificate, listener.key)
    except (OSError, ssl.SSLError) as error:
        where = f"server.tls_certificate {listener.certificate}"
        raise SettingsError(where, f"cannot be used: {error}", "give a PEM chain, and its key as tls_key") from error
    return context

"""The two colours of `Transport` on httpx; it is imported here and nowhere else in the client.

No proxies and no other settings of httpx's from the environment: a site's server is near, and its token is for nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping

import httpx

from ecovisor.client.persistence import Patience
from ecovisor.client.transport import Answer, Dropped, Target
from ecovisor.model.errors import SettingsError, Unavailable

#: Longest answer that is taken from a server: a history of a year of minutes, several times over. [bytes]
LONGEST_ANSWER = 64 << 20
#: Connections are kept from one tick of a minute to the next, and for less long than the server keeps them.
_LIMITS = httpx.Limits(max_keepalive_connections=8, keepalive_expiry=65.0)


def _verify(target: Target) -> ssl.SSLContext | bool:
    if not target.url.startswith("https:"):
        return False  # no certificates on the way; reading the trusted ones would cost 20 ms
    if target.ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=target.ca_file)
    except OSError as error:
        raise SettingsError(f"ca_file {target.ca_file}", f"cannot be used: {error}", "name a PEM file of certificates") from None


@contextlib.contextmanager
def _telling(target: Target, patience: Patience) -> Iterator[None]:
    """The errors of httpx as ours."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unavailable(f"{target} cannot be reached: {str(error) or 'no answer'}; is the server running there?") from error
    except httpx.TimeoutException as error:
        raise Unavailable(f"{target} did not answer within {patience.timeout_s:g} s") from error
    except httpx.TransportError as error:
        raise Dropped(f"{target} broke the connection: {str(error) or type(error).__name__}") from error


def _silent(target: Target, patience: Patience) -> Unavailable:
    return Unavailable(f"{target} gave no sign of life for {patience.silence_s:g} s")


class Blocking:
    """A transport whose coroutines never suspend: they return when they are done.

    One thread uses it at a time; `wake` and `close` may come from any.
    """

    def __init__(self, target: Target, patience: Patience) -> None:
        self._target = target
        self._patience = patience
        transport = httpx.HTTPTransport(verify=_verify(target), uds=target.socket_path, limits=_LIMITS)
        self._client = httpx.Client(base_url=target.url, transport=transport, timeout=patience.timeout_s, trust_env=False)
        self._awake = threading.Event()
        self._reading: httpx.Response | None = None
        self._knock_at = target.socket_path

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        target, patience = self._target, self._patience
        deadline_s = time.monotonic() + patience.timeout_s
        with self._telling(), self._client.stream(method, path, headers=headers, content=body) as response:
            parts, length = [], 0
            for part in response.iter_raw():
                parts.append(part)
                length += len(part)
                if time.monotonic() > deadline_s or length > LONGEST_ANSWER:
                    raise Unavailable(f"{target} did not end its answer within {patience.timeout_s:g} s and {LONGEST_ANSWER} bytes")
            return Answer(response.status_code, response.headers, b"".join(parts))

    async def open(self, path: str, headers: Mapping[str, str]) -> _BlockingStream:
        timeout = httpx.Timeout(self._patience.timeout_s, read=self._patience.silence_s)
        request = self._client.build_request("GET", path, headers=headers, timeout=timeout)
        with self._telling():
            response = self._client.send(request, stream=True)
        self._reading = response
        return _BlockingStream(response, self._target, self._patience)

    async def sleep(self, delay_s: float) -> None:
        self._awake.wait(delay_s)

    def wake(self) -> None:
        self._awake.set()
        if self._reading is not None:
            stream = self._reading.extensions.get("network_stream")
            connection = None if stream is None else stream.get_extra_info("socket")
            if connection is not None:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        self._client.close()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        with _telling(self._target, self._patience):
            if self._knock_at is not None:
                _knock(self._knock_at, self._patience.timeout_s)
            self._knock_at = self._target.socket_path
            yield
        self._knock_at = None


def _knock(path: str, timeout_s: float) -> None:
    """See whether anybody listens on a socket: httpcore leaves its own open when nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(timeout_s)
        try:
            knocking.connect(path)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error


class _BlockingStream:
    def __init__(self, response: httpx.Response, target: Target, patience: Patience) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._target = target
        self._patience = patience
        self._parts = response.iter_raw()

    async def read(self) -> bytes:
        with _telling(self._target, self._patience):
            try:
                return next(self._parts, b"")
            except httpx.ReadTimeout:
                raise _silent(self._target, self._patience) from None

    async def close(self) -> None:
        self._response.close()


class Awaiting:
    """A transport for an event loop of asyncio."""

    def __init__(self, target: Target, patience: Patience) -> None:
        self._target = target
        self._patience = patience
        transport = httpx.AsyncHTTPTransport(verify=_verify(target), uds=target.socket_path, limits=_LIMITS)
        self._client = httpx.AsyncClient(base_url=target.url, transport=transport, timeout=httpx.Timeout(None), trust_env=False)
        self._waiting: set[asyncio.Timeout] = set()

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        target, patience = self._target, self._patience
        try:
            async with asyncio.timeout(patience.timeout_s):
                with _telling(target, patience):
                    async with self._client.stream(method, path, headers=headers, content=body) as response:
                        parts, length = [], 0
                        async for part in response.aiter_raw():
                            parts.append(part)
                            length += len(part)
                            if length > LONGEST_ANSWER:
                                raise Unavailable(f"{target} answers with more than {LONGEST_ANSWER} bytes")
                        return Answer(response.status_code, response.headers, b"".join(parts))
        except TimeoutError:
            raise Unavailable(f"{target} did not answer within {patience.timeout_s:g} s") from None

    async def open(self, path: str, headers: Mapping[str, str]) -> _AwaitingStream:
        request = self._client.build_request("GET", path, headers=headers)
        try:
            async with asyncio.timeout(self._patience.timeout_s):
                with _telling(self._target, self._patience):
                    response = await self._client.send(request, stream=True)
        except TimeoutError:
            raise Unavailable(f"{self._target} did not answer within {self._patience.timeout_s:g} s") from None
        return _AwaitingStream(response, self, self._target, self._patience)

    async def sleep(self, delay_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with self.until_woken(delay_s):
                await asyncio.get_running_loop().create_future()

    @contextlib.asynccontextmanager
    async def until_woken(self, longest_s: float) -> AsyncIterator[None]:
        """The body ends with `TimeoutError` after a while, or when somebody wakes."""
        async with asyncio.timeout(longest_s) as waiting:
            self._waiting.add(waiting)
            try:
                yield
            finally:
                self._waiting.discard(waiting)

    def wake(self) -> None:
        for waiting in self._waiting:
            waiting.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        await self._client.aclose()


class _AwaitingStream:
    def __init__(self, response: httpx.Response, transport: Awaiting, target: Target, patience: Patience) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._transport = transport
        self._target = target
        self._patience = patience
        self._parts = response.aiter_raw()

    async def read(self) -> bytes:
        try:
            async with self._transport.until_woken(self._patience.silence_s):
                with _telling(self._target, self._patience):
                    return await anext(self._parts, b"")
        except TimeoutError:
            raise _silent(self._target, self._patience) from None

    async def close(self) -> None:
        await self._response.aclose()

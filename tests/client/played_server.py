"""A server that plays the REST interface on a plain socket, in a thread of its own, and fails on demand.

Time is moved by hand (`tick`), or by the client's answers (``lockstep``). Faults are real ones of the wire: connections cut in the middle,
a port that nobody listens on, bytes that are no HTTP, answers that never come.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import trustme
from tests.client.played_site import PlayedSite

from ecovisor import wire
from ecovisor.model.errors import EcovisorError, Infeasible, Refused, SettingRefused
from ecovisor.model.units import iso_utc
from ecovisor.testing.sites import APP

TOKEN = "eco_app_played"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Faults:
    """What goes wrong next."""

    problems: list[tuple[int, str, bytes]] = field(default_factory=list)
    """Answers to the next requests: status, header lines, body."""
    raw: list[bytes] = field(default_factory=list)
    """Bytes instead of the next answers; then the connection is closed."""
    silent: bool = False
    """Requests are read and never answered."""
    cut_streams_after: int | None = None
    """Streams break after so many events."""
    forget_events: bool = False
    """A new stream begins with what is told after its opening, whatever its reader has last heard of."""
    repeat_events: bool = False
    """A new stream begins with the very first event, whatever its reader has last heard of."""
    only: str = ""
    """Only requests whose path begins so are struck by problems and raw bytes."""


class PlayedServer:
    """Serves one app of a `PlayedSite`.

    Args:
        site: what is served.
        lockstep: a tick is run as soon as the client has answered the one before; up to ``ticks``.
        heartbeat_s: between signs of life in streams.
        socket_path: listen there instead of on a port.
        certificate: speak TLS.
    """

    def __init__(
        self,
        site: PlayedSite,
        *,
        lockstep: int = 0,
        heartbeat_s: float = 0.05,
        socket_path: Path | None = None,
        certificate: trustme.LeafCert | None = None,
    ) -> None:
        self.site = site
        self.faults = Faults()
        self.asked: list[Asked] = []
        self.events: list[wire.Notification] = []
        self.on_stream: Callable[[], None] | None = None
        """Called once, when the next stream has been opened."""
        self.port = 0
        self.token = TOKEN
        self._socket_path = socket_path
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(self._tls)
        self._ticks_in_lockstep = lockstep
        self._heartbeat_s = heartbeat_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="played server")
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self._streams: set[asyncio.StreamWriter] = set()
        self._news = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    def paths(self, method: str = "") -> list[str]:
        """Paths of the requests that came, in order."""
        return [one.path for one in self.asked if method in ("", one.method)]

    def call(self, function: Callable[[], T]) -> T:
        """Run something in the server's thread."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    # -- what the test does to it

    def start(self) -> None:
        """Listen, on the port that it had before."""

        async def listen() -> None:
            if self._socket_path is not None:
                self._server = await asyncio.start_unix_server(self._serve, self._socket_path)
            else:
                self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._tls)
                self.port = self._server.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(30)

    def down(self) -> None:
        """End at once: nobody listens, all connections are gone."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            for handler in self._handlers:
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(30)

    def restart(self, ticks_away: int = 0) -> None:
        """End, and come back on the same port after some ticks."""
        self.down()
        self.tick(ticks_away)
        self.start()

    def drop_streams(self) -> None:
        """Cut all streams of events."""

        def cut() -> None:
            for writer in self._streams:
                writer.transport.abort()

        self.call(cut)

    def tick(self, ticks: int = 1) -> None:
        """Let ticks pass, each with its event."""

        def advance() -> None:
            for _ in range(ticks):
                self.tick_here()

        self.call(advance)

    def tell(self, kind: str, value: float | None = None) -> None:
        """An event of the present tick."""
        self.call(lambda: self._tell(kind, value))

    def begin_anew(self, site: PlayedSite) -> None:
        """Forget everything."""
        self.site = site
        self.events.clear()

    def tick_here(self) -> None:
        """Let a tick pass; for the server's own thread."""
        self.site.advance()
        self._tell("tick", None)

    def _tell(self, kind: str, value: float | None) -> None:
        told_with = self.site.tick - 1
        number = sum(event.id.startswith(f"{told_with}.") for event in self.events)
        time = iso_utc(self.site.energy.now_s)
        self.events.append(
            wire.Notification(
                id=f"{told_with}.{number}", kind=kind, app=APP, tick=self.site.tick, time=time, wall_time=time, value=value
            )
        )
        self._news.set()
        self._news = asyncio.Event()

    # -- connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._handlers.discard(task)
            self._streams.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")[:-2]
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        asked = Asked(method, unquote(parts.path), dict(parse_qsl(parts.query)), headers, body)
        self.asked.append(asked)
        if self.faults.silent:
            await asyncio.Event().wait()
        if asked.path.startswith(self.faults.only):
            if self.faults.raw:
                writer.write(self.faults.raw.pop(0))
                await writer.drain()
                return False
            if self.faults.problems:
                status, more, text = self.faults.problems.pop(0)
                writer.write(_answer(status, text, more))
                return True
        if headers.get("authorization") != f"Bearer {self.token}" and self._socket_path is None:
            writer.write(_problem(401, "unauthorised", "the token is not accepted"))
            return True
        if asked.path == "/v1/events":
            await self._stream(asked, writer)
            return False
        writer.write(self._answered(asked))
        await writer.drain()
        return True

    def _answered(self, asked: Asked) -> bytes:
        try:
            return self._routed(asked)
        except SettingRefused as error:
            kind = "unknown-container" if "does not exist" in str(error) else "setting-refused"
            return _problem(404 if kind == "unknown-container" else 422, kind, str(error))
        except Infeasible as error:
            return _problem(422, "infeasible", str(error))
        except Refused as error:
            return _problem(409, "refused", str(error))
        except msgspec.ValidationError as error:
            return _problem(422, "invalid", str(error))
        except EcovisorError as error:
            return _problem(503, "unavailable", str(error))

    def _routed(self, asked: Asked) -> bytes:
        site, query = self.site, asked.query
        match asked.method, asked.path.removeprefix("/v1/").split("/"):
            case "GET", ["energy"]:
                body = msgspec.json.encode(site.snapshot())
                etag = f'"{site.tick}-{hashlib.blake2b(body, digest_size=8).hexdigest()}"'
                if asked.headers.get("if-none-match") == etag:
                    return _answer(304, b"", f"etag: {etag}\r\n")
                return _answer(200, body, f"etag: {etag}\r\n")
            case "GET", ["app"]:
                return _json(site.load())
            case "GET", ["containers"]:
                return _json(site.containers())
            case "GET", ["usage"]:
                return _json(site.usage(float(query["start"]), float(query["end"]), query.get("container")))
            case "GET", ["history"]:
                return _json(site.history(query["metric"], float(query["start"]), float(query["end"])))
            case "GET", ["forecast", signal]:
                return _json(site.forecast(signal, float(query["horizon"])))
            case "GET", ["containers", name, "logs"]:
                return _answer(200, f"{name} says héllo\n".encode(), "content-type: text/plain\r\n")
            case "GET", ["callbacks"]:
                return _json([self._callback("http://example.org/", ["tick"])])
            case "POST", ["callbacks"]:
                hook = msgspec.json.decode(asked.body, type=wire.AddCallback)
                if not hook.url.startswith("https://allowed/"):
                    raise Refused(f"{hook.url} is not allowed")
                return _json(self._callback(hook.url, hook.events), 201)
            case "DELETE", ["callbacks", _]:
                return _answer(204, b"")
            case method, path:
                return self._changed(method, path, asked)

    def _changed(self, method: str, path: list[str], asked: Asked) -> bytes:
        site, energy = self.site, self.site.energy
        match method, path:
            case "PATCH", ["battery"]:
                wanted = msgspec.json.decode(asked.body, type=wire.ChangeBattery)
                return _json(site.answer(site.change_battery(wanted), msgspec.json.decode(asked.body)))
            case "PATCH", ["app"]:
                return _json(site.answer(site.change_app(msgspec.json.decode(asked.body, type=wire.ScaleApp))))
            case "PATCH", ["containers", name]:
                request = msgspec.json.decode(asked.body, type=wire.ChangeContainer)
                return _json(site.answer(site.change_container(name, request)))
            case "POST", ["containers"]:
                cores = msgspec.json.decode(asked.body, type=wire.AddContainer).cores
                return _json(site.answer({}, id=energy.add_container(cores)), 201)
            case "DELETE", ["containers", name]:
                energy.remove_container(name)
                return _json(site.answer({}, id=name))
            case "PUT", ["carbon", "budget"]:
                energy.set_carbon_budget(msgspec.json.decode(asked.body, type=wire.SetBudget).budget_g)
                return _json(site.answer({}))
            case "PUT", ["carbon", "rate"]:
                rate = msgspec.json.decode(asked.body, type=wire.SetRate).carbon_rate_g_per_h
                energy.set_carbon_rate(asked.query["container"], rate)
                return _json(site.answer({}))
            case "PUT", ["app", "metrics"]:
                told = msgspec.json.decode(asked.body, type=wire.AppMetrics)
                site.metrics = told.metrics
                if told.work_done is not None:
                    energy.report_progress(told.work_done, told.work_total or 0.0)
                return _answer(204, b"")
            case "PUT", ["app", "tick"]:
                done = msgspec.json.decode(asked.body, type=wire.TickDone).tick
                if done == site.tick < self._ticks_in_lockstep:
                    self.tick_here()
                return _answer(204, b"")
            case _:
                return _problem(404, "not-found", f"{asked.path} does not exist")

    def _callback(self, url: str, events: list[str]) -> wire.CallbackState:
        return wire.CallbackState(id="h1", url=url, events=events, threshold_ratio=0.1, failures=0, dead=False, last_error="")

    async def _stream(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self._streams.add(writer)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n")
        after, left = asked.headers.get("last-event-id", ""), self.faults.cut_streams_after
        sent = len(self.events)
        if self.faults.repeat_events:
            sent = 0
        elif after and not self.faults.forget_events:
            sent = sum(_position(event.id) <= _position(after) for event in self.events)
        _chunk(writer, b"retry: 10\n\n")
        hook, self.on_stream = self.on_stream, None
        if hook is not None:
            hook()
        while True:
            news = self._news
            for event in self.events[sent:]:
                if left is not None:
                    left -= 1
                    if left < 0:
                        writer.transport.abort()
                        return
                sent += 1
                _chunk(
                    writer,
                    b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.kind.encode(), msgspec.json.encode(event)),
                )
            await writer.drain()
            try:
                await asyncio.wait_for(news.wait(), self._heartbeat_s)
            except TimeoutError:
                if not self.faults.silent:
                    _chunk(writer, b":\n\n")


def _position(event_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in event_id.split("."))


def _chunk(writer: asyncio.StreamWriter, text: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(text), text))


def _json(value: Any, status: int = 200) -> bytes:
    return _answer(status, msgspec.json.encode(value), "content-type: application/json\r\n")


def _problem(status: int, kind: str, detail: str) -> bytes:
    body = msgspec.json.encode(wire.Problem(type=f"tag:{kind}", title="", status=status, detail=detail))
    return _answer(status, body, "content-type: application/problem+json\r\n")


def _answer(status: int, body: bytes, more: str = "") -> bytes:
    length = "" if status in (204, 304) else f"content-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} X\r\n{more}{length}\r\n".encode() + body

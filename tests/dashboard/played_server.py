"""The REST interface of a played site, and a server of it that can go away and come back."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from tests.dashboard.played import OPERATOR_TOKEN, PlayedSite, token_of

from ecovisor import dashboard, wire


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail


@dataclass
class PlayedApi:
    """Answers of a played site to HTTP requests; notes what was asked."""

    site: PlayedSite
    not_ready: list[str] = field(default_factory=list)
    events: bool = True
    """False: the stream of events is refused, so that readers must poll."""
    asked: list[str] = field(default_factory=list)
    closing: Callable[[], bool] = lambda: False
    answer_changes: Callable[[Request], Response | None] = lambda request: None
    """Before anything else: an answer that replaces the right one (a fault), or None."""
    body: bytes = b""
    """Of the last request."""

    def application(self) -> Starlette:
        """The ASGI application, the dashboard included."""
        routes = [
            Route("/v1/admin/site", self._guarded(self._site)),
            Route("/v1/admin/sun", self._guarded(self._sun), methods=["PUT"]),
            Route("/v1/admin/apps", self._guarded(self._apps)),
            Route("/v1/energy", self._guarded(self._energy)),
            Route("/v1/history", self._guarded(self._history)),
            Route("/v1/usage", self._guarded(self._usage)),
            Route("/v1/forecast/{signal}", self._guarded(self._forecast)),
            Route("/v1/events", self._guarded(self._events)),
            Route("/v1/admin/events", self._guarded(self._site_events)),
            Route("/readyz", self._ready),
        ]
        return Starlette(routes=[*routes, *dashboard.routes()])

    def _guarded(self, answer: Callable[[Request], Response]) -> Callable[[Request], object]:
        async def endpoint(request: Request) -> Response:
            self.asked.append(f"{request.method} {request.url.path}?{request.url.query}")
            try:
                self.body = await request.body()
                return self.answer_changes(request) or answer(request)
            except _Refused as refused:
                problem = wire.Problem(type="about:blank", title="refused", status=refused.status, detail=refused.detail)
                return Response(msgspec.json.encode(problem), refused.status, media_type="application/problem+json")

        return endpoint

    def _who(self, request: Request) -> str | None:
        """The app of the token; None: the operator."""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token == OPERATOR_TOKEN:
            return None
        for app in self.site.apps:
            if token == token_of(app):
                return app
        raise _Refused(401, "wrong or missing token")

    def _operator(self, request: Request) -> None:
        if self._who(request) is not None:
            raise _Refused(403, "for the operator only")

    def _app(self, request: Request) -> str:
        app, asked = self._who(request), request.query_params.get("app")
        if app is None:
            if asked is None:
                raise _Refused(422, "app: name it")
            return asked
        if asked not in (None, app):
            raise _Refused(403, "another app's")
        return app

    def _json(self, answer: msgspec.Struct, request: Request) -> Response:
        etag = f'"{self.site.tick}-{self.site.sun_ratio:g}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        return Response(msgspec.json.encode(answer), media_type="application/json", headers={"etag": etag})

    def _site(self, request: Request) -> Response:
        self._operator(request)
        return self._json(self.site.site_snapshot(), request)

    def _energy(self, request: Request) -> Response:
        return self._json(self.site.snapshot(self._app(request)), request)

    def _history(self, request: Request) -> Response:
        asked = request.query_params
        step = asked.get("step")
        start_s, end_s = _instant(asked["start"]), _instant(asked["end"])
        return self._json(
            self.site.history(self._app(request), asked["metric"], start_s, end_s, float(step) if step else None), request
        )

    def _usage(self, request: Request) -> Response:
        asked = request.query_params
        return self._json(self.site.usage(self._app(request), _instant(asked["start"]), _instant(asked["end"])), request)

    def _forecast(self, request: Request) -> Response:
        app = self._app(request)
        return self._json(self.site.forecast(request.path_params["signal"], app, 24 * 3600.0), request)

    def _apps(self, request: Request) -> Response:
        self._operator(request)
        part = 1.0 / len(self.site.apps)
        shares = wire.Shares(grid=part, solar=part, battery_energy=part, battery_power=part)
        entries = [wire.AppEntry(name=name, shares=shares, webhook_allow=[]) for name in self.site.names]
        return Response(msgspec.json.encode(entries), media_type="application/json")

    def _sun(self, request: Request) -> Response:
        self._operator(request)
        self.site.sun_ratio = float(msgspec.json.decode(self.body)["sun_ratio"])
        return Response(msgspec.json.encode({"sun_ratio": self.site.sun_ratio}), media_type="application/json")

    async def _ready(self, request: Request) -> Response:
        operator = request.headers.get("authorization") == f"Bearer {OPERATOR_TOKEN}"
        health = wire.Health(ok=not self.not_ready, reasons=self.not_ready if operator else [])
        return Response(msgspec.json.encode(health), 503 if self.not_ready else 200, media_type="application/json")

    def _events(self, request: Request) -> Response:
        return self._streamed(request, self._app(request))

    def _site_events(self, request: Request) -> Response:
        self._operator(request)
        return self._streamed(request, None)

    def _streamed(self, request: Request, app: str | None) -> Response:
        if not self.events:
            raise _Refused(503, "no stream")
        last = request.headers.get("last-event-id")
        after = tuple(map(int, last.split("."))) if last else (self.site.tick, 0)
        told = next((k for k, event in enumerate(self.site.events) if tuple(map(int, event.id.split("."))) > after), None)
        return StreamingResponse(self._stream(app, len(self.site.events) if told is None else told), media_type="text/event-stream")

    async def _stream(self, app: str | None, told: int) -> AsyncIterator[bytes]:
        yield b": hello\n\n"
        while not self.closing():
            news, told = self.site.events[told:], len(self.site.events)
            for event in news:
                if event.app == app or (app is None and (event.kind != "tick" or event.app == "_site")):
                    yield f"id: {event.id}\nevent: {event.kind}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n"
            await asyncio.sleep(0.02)


def _instant(text: str) -> float:
    """ISO 8601, or seconds since the epoch."""
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text).timestamp()


class PlayedServer:
    """A played API on an ephemeral port of the loopback, or a Unix socket, in a thread of its own; may be stopped and started again."""

    def __init__(self, api: PlayedApi, port: int = 0, unix: Path | None = None) -> None:
        self.api = api
        self.unix = unix
        self._socket: socket.socket | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; answers when this returns."""
        if self.unix is not None:
            listening = socket.socket(socket.AF_UNIX)
            listening.bind(str(self.unix))
        else:
            listening = socket.socket()
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(("127.0.0.1", self.port))
            self.port = listening.getsockname()[1]
        settings = uvicorn.Config(
            self.api.application(), log_level="error", lifespan="off", loop="asyncio", timeout_graceful_shutdown=2
        )
        server = uvicorn.Server(settings)
        self.api.closing = lambda: server.should_exit
        self._thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        self._thread.start()
        while not server.started:
            time.sleep(0.005)
        self._server, self._socket = server, listening

    def stop(self) -> None:
        """Close all connections and the port."""
        if self._socket is not None:
            self._server.should_exit = True
            self._thread.join()
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def main() -> None:
    """Serve a played site to a person: `python -m tests.dashboard.played_server [APPS [PORT]]`, a tick a second."""
    apps = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    names = [f"app-{k:02d}" for k in range(apps)] if apps != 3 else ["render", "train", "web"]
    site = PlayedSite(names=names, compression=300.0)
    with PlayedServer(PlayedApi(site), port=int(sys.argv[2]) if len(sys.argv) > 2 else 0) as server:
        print(f"{server.url}/#token={OPERATOR_TOKEN}", flush=True)
        while True:
            time.sleep(1.0)
            site.advance()


if __name__ == "__main__":
    main()

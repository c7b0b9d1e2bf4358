"""The interface as an ASGI application: finds the route, asks who it is, decodes, calls the handler, and sends what came of it.

Reads of whole snapshots come often, so they have a path of their own: one dictionary for the route, one for the token, one for the bytes
that all readers of a tick share. Whatever is out of the ordinary there (no token, a query, a limit) goes the general way.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Router
from starlette.routing import Route as StarletteRoute
from starlette.types import Message, Receive, Scope, Send

from ecovisor import wire
from ecovisor.api.backend import Backend, Published
from ecovisor.api.callbacks import Callbacks, NoCallbacks
from ecovisor.api.calls import Call, Reply, Stream, matches
from ecovisor.api.decoding import body_value, query_values, read_body
from ecovisor.api.docs_page import render_page
from ecovisor.api.identity import Identity
from ecovisor.api.limits import Limits
from ecovisor.api.logs import request_context
from ecovisor.api.metrics import Metrics
from ecovisor.api.openapi import document
from ecovisor.api.problems import Headers, Rejected, problem_of
from ecovisor.api.routes import PATH_PARAMETERS, ROUTES, Route, Who
from ecovisor.api.streams import Streams
from ecovisor.api.tokens import Principal, Tokens
from ecovisor.model.errors import UnknownApp

access = logging.getLogger("ecovisor.api.access")
logger = logging.getLogger("ecovisor.api")

_HOT = {"/v1/energy", "/v1/admin/site"}
_NO_SNIFF = (b"x-content-type-options", b"nosniff")
_ID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def create_app(
    backend: Backend,
    *,
    tokens: Tokens,
    callbacks: Callbacks | None = None,
    extra_routes: Sequence[BaseRoute] = (),
    limits: Limits | None = None,
    monotonic_s: Callable[[], float] = time.monotonic,
) -> Interface:
    """The REST interface of a running ecovisor, an ASGI application.

    Args:
        backend: the running system.
        tokens: who may come in; loaded by the caller.
        callbacks: who delivers webhooks; None: nobody.
        extra_routes: Starlette routes beside the table's, open to anyone (the dashboard's page and files).
        limits: what one client may take.
        monotonic_s: the clock of rate limits; real time, whatever the site's clock does. [s]
    """
    return Interface(
        backend, tokens, NoCallbacks() if callbacks is None else callbacks, extra_routes, limits or Limits(), monotonic_s
    )


class Interface:
    """An ASGI application; see `create_app`."""

    def __init__(
        self,
        backend: Backend,
        tokens: Tokens,
        callbacks: Callbacks,
        extra_routes: Sequence[BaseRoute],
        limits: Limits,
        monotonic_s: Callable[[], float],
    ) -> None:
        self.backend = backend
        self.tokens = tokens
        self.callbacks = callbacks
        self.limits = limits
        self.streams = Streams(limits.max_streams)
        self.metrics = Metrics()
        specification = document(ROUTES)
        self.openapi = msgspec.json.encode(specification)
        self.docs_page = render_page(specification)
        self._identity = Identity(tokens, limits, monotonic_s)
        self._monotonic_s = monotonic_s
        self._unfinished: set[asyncio.Task[Any]] = set()
        self._router = Router([*_starlette_routes(self._answer), *extra_routes], redirect_slashes=False, default=_not_found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"the interface speaks HTTP only, not {scope['type']}")
        if scope["path"] in _HOT and scope["method"] == "GET" and not scope["query_string"]:
            published, if_none_match = self._hot(scope)
            if published is not None:
                await self._send_snapshot(send, published, if_none_match)
                return
        await self._general(scope, receive, send)

    async def nothing_here(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 404, whatever is asked."""
        await self._general({**scope, "path": ""}, receive, send)

    async def finish(self) -> None:
        """End all streams, and wait for changes that are still being made; for when the server stops."""
        self.streams.close_all()
        if self._unfinished:
            await asyncio.wait(self._unfinished, timeout=self.limits.stop_timeout_s)

    # -- whole snapshots

    def _hot(self, scope: Scope) -> tuple[Published | None, bytes | None]:
        """The snapshot that is asked for, by somebody who may; None if the general way has to look closer."""
        principal, if_none_match = self._identity.quick(scope)
        if principal is None:
            return None, None
        try:
            if scope["path"] == "/v1/energy":
                published = None if principal.app is None else self.backend.snapshot(principal.app)
            else:
                published = self.backend.site_snapshot() if principal.app is None else None
        except Exception:  # told by the general way, which meets it again
            return None, None
        if published is None or self._identity.wait_s(principal) > 0.0:
            return None, None
        return published, if_none_match

    async def _send_snapshot(self, send: Send, published: Published, if_none_match: bytes | None) -> None:
        etag = published.etag.encode()
        if if_none_match is not None and matches(if_none_match, etag):
            await send({"type": "http.response.start", "status": 304, "headers": _snapshot_headers(published)})
            await send({"type": "http.response.body"})
            return
        headers = [*_snapshot_headers(published), (b"content-length", b"%d" % len(published.body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": published.body})

    # -- everything else

    async def _general(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = self._monotonic_s()
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        context: dict[str, Any] = {"request_id": _request_id(scope), "app": None, "tick": self.backend.tick}
        token = request_context.set(context)
        scope["ecovisor.context"] = context
        try:
            await self._router(scope, receive, noting)
        except Exception as error:
            principal: Principal | None = scope.get("ecovisor.principal")
            operator = principal is not None and principal.app is None
            problem, headers = problem_of(error, context["request_id"], operator=operator)
            if status:
                logger.error("an answer that had begun was broken off", exc_info=error)
                return  # the server closes the connection
            await send_reply(noting, _problem_reply(problem, headers), context["request_id"])
        finally:
            level = logging.DEBUG if status < 400 and scope["method"] in {"GET", "HEAD"} else logging.INFO
            if access.isEnabledFor(level):
                took_ms = (self._monotonic_s() - began_s) * 1e3
                client = scope.get("client")
                access.log(
                    level,
                    "%s %s %d",
                    scope["method"],
                    scope["path"][:200],
                    status,
                    extra={"peer": client[0] if client else "socket", "took_ms": round(took_ms, 2)},
                )
            request_context.reset(token)

    async def _answer(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by a row of the table."""
        context = scope["ecovisor.context"]
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        principal = self._identity.admit(route.who, scope, headers)
        scope["ecovisor.principal"] = principal
        if route.who is not Who.ANYONE and self.backend.tick < 0:
            raise Rejected(
                503, "starting", "the site is starting", remedy="try again in a moment", headers=[(b"retry-after", b"1")]
            )
        context["app"] = principal.app if principal is not None else None
        query = query_values(scope["query_string"], route.parameters)
        app = self._app_of(route, principal, query)
        context["app"] = app or context["app"]
        path = _path_parameters(scope)
        body = None
        if route.request is not None:
            body = body_value(headers, await read_body(headers, receive, self.limits), route.request)
        call = Call(self, principal, app, path, query, body, headers, context["request_id"])
        answer = await self._within_time(route, call)
        if isinstance(answer, Stream):
            if scope["method"] == "HEAD":
                answer = Reply(media=route.media.encode())
            else:
                await answer.run(receive, send)
                return
        reply = answer if isinstance(answer, Reply) else Reply(msgspec.json.encode(answer), route.status)
        await send_reply(send, reply, context["request_id"])

    def _app_of(self, route: Route, principal: Principal | None, query: Mapping[str, Any]) -> str:
        """Whose resource is asked for; empty where the route is no app's."""
        if route.who is not Who.APP or principal is None:
            return ""
        asked: str | None = query.get("app")
        if principal.app is not None:
            if asked not in {None, principal.app}:
                raise Rejected(403, "forbidden", "app: an app sees only itself", field="app", remedy="leave it out")
            return principal.app
        if not route.reads:
            raise Rejected(403, "forbidden", "the operator reads an app's resources; only the app itself changes them")
        if asked is None:
            raise Rejected(422, "invalid", "app: the operator says whose resource", field="app", remedy="append ?app=NAME")
        if asked not in self.backend.apps() and asked != "_site":
            raise UnknownApp(f"there is no app {asked!r}")
        return asked

    async def _within_time(self, route: Route, call: Call) -> Any:
        """What the handler returns. A read is given up after a while; a change goes on, and only its answer is given up."""
        limit_s = self.limits.answer_timeout_s
        if route.reads:
            try:
                async with asyncio.timeout(limit_s):
                    return await route.handler(call)
            except TimeoutError:
                raise _late("try again later, or ask for less") from None
        task = asyncio.ensure_future(_made(route.handler(call)))
        self._unfinished.add(task)
        task.add_done_callback(self._unfinished.discard)
        await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            task.add_done_callback(_log_late)
            raise _late("it may still be made: read what is in force before you try again")
        return task.result()


async def _made(handling: Awaitable[Any]) -> Any:
    return await handling


def _log_late(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a change failed after its answer was given up", exc_info=task.exception())


def _late(remedy: str) -> Rejected:
    return Rejected(503, "late", "no answer in time", remedy=remedy, headers=[(b"retry-after", b"5")])


# -- sending


def _snapshot_headers(published: Published) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", b"application/json"),
        (b"etag", published.etag.encode()),
        (b"ecovisor-tick", b"%d" % published.tick),
        (b"cache-control", b"private, no-cache"),
        _NO_SNIFF,
    ]


async def send_reply(send: Send, reply: Reply, request_id: str) -> None:
    """Send bytes with their headers."""
    headers = [(b"x-request-id", request_id.encode()), _NO_SNIFF, *reply.headers]
    if reply.status not in {204, 304}:
        headers += [(b"content-type", reply.media), (b"content-length", b"%d" % len(reply.body))]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def _problem_reply(problem: wire.Problem, headers: Headers) -> Reply:
    kept = [header for header in headers if header[0] not in {b"content-type", b"content-length"}]
    return Reply(msgspec.json.encode(problem), problem.status, b"application/problem+json", kept)


def _request_id(scope: Scope) -> str:
    """The client's own, if it is a decent one, so that its log and ours meet; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            if 0 < len(text) <= 64 and _ID.issuperset(text):
                return text
    return secrets.token_hex(8)


# -- routing

_Answer = Callable[[Route, Scope, Receive, Send], Awaitable[None]]


class _Path:
    """All methods of a path, so that a wrong one is told the right ones."""

    def __init__(self, routes: Sequence[Route], answer: _Answer) -> None:
        self._by_method = {route.method: route for route in routes}
        if "GET" in self._by_method:
            self._by_method["HEAD"] = self._by_method["GET"]
        self._allow = ", ".join(sorted(self._by_method)).encode()
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._by_method.get(scope["method"])
        if route is None:
            detail = f"{scope['method'][:20]} is not among the methods of this path"
            raise Rejected(405, "method", detail, remedy=f"use {self._allow.decode()}", headers=[(b"allow", self._allow)])
        await self._answer(route, scope, receive, send)


def _starlette_routes(answer: _Answer) -> list[BaseRoute]:
    paths: dict[str, list[Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, []).append(route)
    return [StarletteRoute(path, _Path(routes, answer)) for path, routes in paths.items()]


def _path_parameters(scope: Scope) -> dict[str, str]:
    """What stands in the path, for names that exist at all; others are not found."""
    found: dict[str, str] = scope["path_params"]
    for name, value in found.items():
        listed = PATH_PARAMETERS[name][1]
        if (listed and value not in listed) or not 0 < len(value) <= 63 or not _ID.issuperset(value):
            raise HTTPException(404)
    return found


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    raise HTTPException(404, "there is nothing at this path")

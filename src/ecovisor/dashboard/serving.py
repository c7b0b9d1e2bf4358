"""How the dashboard's files reach a browser: one page that is always asked for anew, everything else under an address that has its hash.

Owns addresses, caching and the content security policy. The page needs no other origin: the chart library comes from the installed
`plotly` wheel, whose path is looked up without importing it. Nothing here is secret, so nothing asks for a token; the page does.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

#: Scripts, styles, pictures and requests from this origin only; no inline script or style, no plug-in, no frame around the page.
#: Plotly draws its hover labels' icons from `data:` addresses.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_SECURITY = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_PAGE = "page.html"
_HASH_DIGITS = 16


@dataclass(slots=True)
class _Asset:
    """A file that never changes under its address; compressed once, when a browser first asks for it."""

    path: Path
    compressed: bytes | None = field(default=None, repr=False)

    async def answer(self, request: Request) -> Response:
        headers = {**_SECURITY, **_FOREVER, "Vary": "Accept-Encoding"}
        kind = _TYPES[self.path.suffix]
        if "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(await asyncio.to_thread(self.path.read_bytes), media_type=kind, headers=headers)
        if self.compressed is None:
            self.compressed = await asyncio.to_thread(lambda: gzip.compress(self.path.read_bytes(), 6, mtime=0))
        return Response(self.compressed, media_type=kind, headers={**headers, "Content-Encoding": "gzip"})


def routes() -> list[Route]:
    """The page and its files: `/` and `/dashboard/…`, for the server to mount beside the interface that the page reads."""
    folder = Path(str(files("ecovisor.dashboard") / "static"))
    own = sorted(path for path in folder.iterdir() if path.suffix in _TYPES)
    version = _hash(*own)
    assets = {(version, path.name): _Asset(path) for path in own}
    plotly, script = _plotly(), ""
    if plotly is not None:
        hashed = _hash(plotly)
        assets[hashed, plotly.name] = _Asset(plotly)
        script = f'<script defer src="/dashboard/{hashed}/{plotly.name}"></script>'
    text = (folder / _PAGE).read_text(encoding="utf-8")
    page = text.replace("{{assets}}", f"/dashboard/{version}").replace("{{plotly}}", script).encode()
    return [Route("/", _page(page)), Route("/dashboard/{version}/{name}", _file(assets))]


def _page(body: bytes) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def page(request: Request) -> Response:
        return Response(body, media_type="text/html; charset=utf-8", headers={**_SECURITY, "Cache-Control": "no-cache"})

    return page


def _file(assets: Mapping[tuple[str, str], _Asset]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def file(request: Request) -> Response:
        asset = assets.get((request.path_params["version"], request.path_params["name"]))
        if asset is None:
            return Response("no such file; load the page again", 404, media_type="text/plain", headers=_SECURITY)
        return await asset.answer(request)

    return file


def _plotly() -> Path | None:
    """The chart library's script in its wheel; None: the wheel is not installed, and the page says so in place of charts."""
    spec = find_spec("plotly")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "package_data" / "plotly.min.js"
    return path if path.is_file() else None


def _hash(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:_HASH_DIGITS]

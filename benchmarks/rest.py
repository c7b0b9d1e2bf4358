"""A snapshot over REST against a bare Starlette route with the same bytes: CPU time of the process that serves both, taking turns."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

_BODY = b'{"app":"web","tick":4711,"filler":"' + b"x" * 1500 + b'"}'
_WARM_UP = 500
_REQUESTS = 3000
_TURNS = 5


class _StandIn:
    """As much of a running ecovisor as a snapshot needs."""

    tick = 4711

    def __init__(self) -> None:
        from ecovisor.adapters.clocks import RealClock
        from ecovisor.api.backend import Published

        self.clock = RealClock.starting_at()
        self.registry = self
        self._published = Published(_BODY, '"4711-abc"', 4711)

    def put(self, kind: str, key: str, value: bytes) -> None:
        """Kept nowhere."""

    def snapshot(self, app: str) -> Any:
        return self._published


async def _serve() -> None:
    """Both servers on one loop; prints ports and token, then the CPU time so far for every line read."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from ecovisor.api.application import create_app
    from ecovisor.api.backend import Backend
    from ecovisor.api.limits import Limits
    from ecovisor.api.listening import Tcp
    from ecovisor.api.server import Server
    from ecovisor.api.tokens import Tokens

    async def bare(request: Request) -> Response:
        return Response(_BODY, media_type="application/json")

    backend = cast("Backend", _StandIn())
    tokens = Tokens(backend.registry, backend.clock.wall_s)
    token = tokens.issue("web")
    ours = Server(create_app(backend, tokens=tokens, limits=Limits(requests_per_s=1e9, requests_burst=1e9)), [Tcp()])
    await ours.start()
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Starlette(routes=[Route("/bare", bare)]), http="httptools", lifespan="off", log_config=None, access_log=False
    )
    peer = uvicorn.Server(config)
    serving = asyncio.create_task(peer.serve(sockets=[bound]))
    loop = asyncio.get_running_loop()
    print(ours.addresses[0].rpartition(":")[2], bound.getsockname()[1], token, flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time(), flush=True)
    peer.should_exit = True
    await serving
    await ours.stop()


def serve() -> None:
    """The server's process."""
    from ecovisor.api.server import loop_factory

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve())


def snapshot_get() -> dict[str, float]:
    """CPU of the server for each GET of a snapshot, with a token, and of the bare route: a tenth of a second's work each, in turns."""
    command = [sys.executable, "-c", "from benchmarks.rest import serve; serve()"]
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port, bare_port, token = server.stdout.readline().split()

            def cpu_s() -> float:
                print(file=server.stdin, flush=True)
                return float(server.stdout.readline())  # type: ignore[union-attr]

            requests = {
                "ours": (int(port), f"GET /v1/energy HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n".encode()),
                "bare": (int(bare_port), b"GET /bare HTTP/1.1\r\nhost: x\r\n\r\n"),
            }
            spent_s = dict.fromkeys(requests, 0.0)
            for turn in range(_TURNS + 1):
                for name, (to, request) in requests.items():
                    before_s = cpu_s()
                    _get(to, request, _REQUESTS if turn else _WARM_UP)
                    spent_s[name] += cpu_s() - before_s if turn else 0.0
        finally:
            server.stdin.close()
    count = _REQUESTS * _TURNS
    return {
        "cpu_ratio": spent_s["ours"] / spent_s["bare"],
        "cpu_us_per_get": spent_s["ours"] / count * 1e6,
        "bare_cpu_us_per_get": spent_s["bare"] / count * 1e6,
    }


def _get(port: int, request: bytes, count: int) -> None:
    """One after the other, on one connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        for _ in range(count):
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b'"}'):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
            assert answer.endswith(_BODY)

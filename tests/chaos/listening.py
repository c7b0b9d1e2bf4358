"""Those who are told: readers of the event stream that come back with the last id, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import msgspec

from ecovisor import wire

#: A reader that hears nothing for so long asks again. [s]
_QUIET_S = 3.0
_PAUSE_S = 0.1


@dataclass(slots=True)
class Reader:
    """Follows a stream, whatever happens to the server.

    Args:
        path: of the stream.
        address: where the server is now.
        token: that is valid now.
        first: id to begin after; empty: what is told from now on.
    """

    path: str
    address: Callable[[], str]
    token: Callable[[], str]
    told: list[wire.Notification] = field(default_factory=list)
    connections: int = 0
    refusals: set[int] = field(default_factory=set)

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                async with httpx.AsyncClient(base_url=self.address(), timeout=httpx.Timeout(30.0, read=_QUIET_S)) as client:
                    await self._follow(client)
            except httpx.HTTPError:
                pass
            await asyncio.sleep(_PAUSE_S)

    async def _follow(self, client: httpx.AsyncClient) -> None:
        headers = {"authorization": f"Bearer {self.token()}"}
        if self.told:
            headers["last-event-id"] = self.told[-1].id
        async with client.stream("GET", self.path, headers=headers) as answer:
            if answer.status_code != 200:
                self.refusals.add(answer.status_code)
                return
            self.connections += 1
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    self.told.append(msgspec.json.decode(line[6:], type=wire.Notification))


class Receiver:
    """Takes webhooks, and remembers what came."""

    def __init__(self) -> None:
        self.ids: dict[str, list[str]] = {}
        """By path."""
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ", 2)[1].decode()
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
                body = await reader.readexactly(int(fields[b"content-length"]))
                self.ids.setdefault(path, []).append(msgspec.json.decode(body, type=wire.Notification).id)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

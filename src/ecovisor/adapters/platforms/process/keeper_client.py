"""The server's line to the keeper: finds it, starts it where there is none, asks it, and says so when it does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import ecovisor
from ecovisor.adapters.platforms.process.keeper import SOCKET, Config
from ecovisor.adapters.platforms.process.protocol import LENGTH, Message, framed, peer_pid, short_path
from ecovisor.model.errors import Refused, Unavailable

#: To start a keeper, or to see one end. [s]
_START_S = 15.0

_ATTEMPTS = 50
_PAUSE_S = 0.1


class _Ended(Unavailable):
    """The keeper has gone while it was asked."""


class KeeperClient:
    """Of one server.

    Args:
        root: folder of the platform.
        config: what the keeper is to do; one that does anything else is replaced.
    """

    def __init__(self, root: Path, config: Config) -> None:
        self._root = root
        self._config = config
        self._numbers = itertools.count()
        self._pending: dict[int, asyncio.Future[Message]] = {}
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Find or start the keeper. Raises `Unavailable`."""
        async with self._connecting:
            for _ in range(_ATTEMPTS):
                if self._writer is not None:
                    return
                try:
                    await self._connect()
                except OSError:  # nobody there, or just leaving
                    await self._start()
        raise Unavailable(
            f"{self._root}: the keeper of containers ends as soon as it is started; see {self._root / 'keeper' / 'log'}"
        )

    async def _connect(self) -> None:
        """Raises OSError if there is none that wants what we want."""
        line = socket.socket(socket.AF_UNIX)
        try:
            line.setblocking(False)  # a keeper that hangs must not make us hang
            with short_path(self._root / "keeper", SOCKET) as path:
                line.connect(path)
            pid = peer_pid(line)
            reader, writer = await asyncio.open_unix_connection(sock=line)
        except BaseException:
            line.close()
            raise
        self._writer = writer
        self._listening = asyncio.create_task(self._listen(reader, writer))
        try:
            hello = await self._ask("hello", _START_S, {})
        except _Ended as ended:  # it was about to leave, or was killed a moment ago
            await self.close()
            raise ConnectionResetError(str(ended)) from ended
        except BaseException:
            await self.close()
            raise
        if hello.get("ok", {}).get("config") != json.loads(self._config.text()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            await self._ended()
            raise ConnectionResetError(f"keeper {pid} was to do something else")

    async def _start(self) -> None:
        """Start one. It leaves us at once, so that it never ends with us."""
        command = [sys.executable, "-s", "-S", "-P", "-m", "ecovisor.adapters.platforms.process.keeper", self._config.text()]
        environment = {"PYTHONPATH": str(Path(ecovisor.__file__).parents[1]), "PYTHONUTF8": "1"}
        started = await asyncio.to_thread(_run, command, environment)
        if started.returncode == 3:  # one has the lock, and is about to listen or to leave
            await asyncio.sleep(_PAUSE_S)
        elif started.returncode != 0:
            lines = started.stderr.decode(errors="replace").strip().splitlines()
            raise Unavailable(
                f"{self._root}: the keeper of containers cannot be started: {lines[-1] if lines else started.returncode}"
            )

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = LENGTH.unpack(await reader.readexactly(LENGTH.size))[0]
                answer = json.loads(await reader.readexactly(length))
                future = self._pending.get(answer["n"])
                if future is not None and not future.done():
                    future.set_result(answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            if self._writer is writer:
                self._writer = None
            writer.close()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(_Ended(f"{self._root}: the keeper of containers has ended"))

    async def _ask(self, do: str, deadline_s: float, fields: Message) -> Message:
        if self._writer is None:
            raise _Ended(f"{self._root}: the keeper of containers has ended")
        number = next(self._numbers)
        future = self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(framed({"n": number, "do": do, **fields}))
            async with asyncio.timeout(deadline_s):
                answer: Message = await future
                return answer
        except TimeoutError:
            raise Unavailable(f"{self._root}: the keeper of containers did not answer `{do}` within {deadline_s:g} s") from None
        finally:
            del self._pending[number]

    async def ask(self, do: str, *, deadline_s: float, **fields: Any) -> Message:
        """Send a request and return what was answered.

        Raises:
            Refused: it will not do that, and says why.
            Unavailable: it cannot now, or does not answer.
        """
        await self.connect()
        answer = await self._ask(do, deadline_s, fields)
        if "refused" in answer:
            raise Refused(answer["refused"])
        if "unavailable" in answer:
            raise Unavailable(answer["unavailable"])
        ok: Message = answer["ok"]
        return ok

    async def _ended(self) -> None:
        """Wait until the other end has hung up."""
        if self._listening is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_START_S):
                    await asyncio.shield(self._listening)

    async def end(self) -> None:
        """Have the keeper end; there are no containers any more."""
        with contextlib.suppress(Unavailable, Refused):
            await self.ask("end", deadline_s=_START_S)
        await self._ended()
        await self.close()

    async def close(self) -> None:
        """Hang up; the keeper goes on if there is something to keep."""
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None


def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - our own program
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_START_S,
            check=False,
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, b"", str(error).encode())

"""Talks to a plant process: what the driver of a running site holds in place of inverter, battery and meter.

Every call has a deadline. A connection that has gone is made anew, with growing pauses in which calls fail at once; energy whose
draw was not confirmed is told again with the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ecovisor.adapters.clocks import Anchor
from ecovisor.adapters.devices.plant_protocol import (
    LONGEST_LINE,
    Accepted,
    Command,
    Done,
    Draw,
    Hello,
    Read,
    Reply,
    Request,
    Settle,
    State,
    Sun,
    Welcome,
    connected,
    line_of,
    reason,
    reply_of,
)
from ecovisor.model.errors import Refused, Unavailable
from ecovisor.ports.live import PlantReading, SetPoint

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0

R = TypeVar("R", Welcome, State, Accepted, Done)


class EmulatedPlantClient:
    """Implements `EnergyPlant` and `EmulatedLoad` of `ecovisor.ports.live`. Calls may overlap; they are sent one by one.

    Args:
        socket_path: the plant's socket.
        deadline_s: of a call, waiting for others' included. [s]
        monotonic: measures the pauses. [s]
    """

    def __init__(self, socket_path: Path, *, deadline_s: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.socket_path = socket_path
        self.deadline_s = deadline_s
        self._monotonic = monotonic
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()
        self._client = uuid.uuid4().hex
        self._total_wh = self._confirmed_wh = 0.0
        self._failures = 0
        self._retry_s = -math.inf
        self._why = ""
        self._description = "emulated plant"

    async def open(self) -> None:
        """Connect. Raises `Unavailable`."""
        await self.welcome()

    async def close(self) -> None:
        """Disconnect; the plant goes on with its last set-point."""
        if self._streams is not None:
            writer = self._streams[1]
            self._hang_up()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def welcome(self) -> Welcome:
        """Who is there: process, epoch, anchor, battery. Raises `Unavailable`."""
        welcome = await self._call(Hello(), Welcome)
        self._description = f"{welcome.description}, process {welcome.pid}"
        return welcome

    async def anchor(self) -> Anchor:
        """Of the plant's site time: a `RealClock` with it reads the same. Raises `Unavailable`."""
        return (await self.welcome()).anchor

    async def read(self) -> PlantReading:
        """Meters and state now. Raises `Unavailable`."""
        return (await self._call(Read(), State)).reading

    async def command(self, set_point: SetPoint) -> SetPoint:
        """Set, and return what was accepted. Raises `Refused`, `Unavailable`."""
        for name in ("charge_w", "discharge_w"):
            if not math.isfinite(power_w := getattr(set_point, name)):  # JSON could not say it
                raise Refused(f"{name} is {power_w!r} W, it must be finite and at least 0")
        if math.isnan(set_point.export_limit_w):
            raise Refused("export_limit_w is nan W, it must be at least 0")
        limit_w = set_point.export_limit_w if set_point.export_limit_w < math.inf else None
        accepted = await self._call(Command(set_point.charge_w, set_point.discharge_w, limit_w), Accepted)
        limit_w = accepted.export_limit_w
        return SetPoint(accepted.charge_w, accepted.discharge_w, math.inf if limit_w is None else limit_w)

    async def draw(self, energy_wh: float) -> PlantReading:
        """The cluster drew this since the last call, failed ones included: their energy is not lost, it goes with the next. [Wh]

        Raises:
            Refused: no energy (NaN, infinite, negative); nothing was booked.
            Unavailable: not confirmed yet.
        """
        if not 0.0 <= energy_wh < math.inf:
            raise Refused(f"energy_wh is {energy_wh!r} Wh, it must be finite and at least 0")
        self._total_wh += energy_wh
        total_wh = self._total_wh
        state = await self._call(Draw(self._client, total_wh, self._confirmed_wh), State)
        self._confirmed_wh = max(self._confirmed_wh, total_wh)
        return state.reading

    async def settle(self) -> PlantReading:
        """The load that was assumed since the last draw is taken for the true one. Raises `Unavailable`."""
        return (await self._call(Settle(), State)).reading

    async def set_sun(self, ratio: float) -> None:
        """Scale the emulated sun. [1] Raises `Refused`, `Unavailable`."""
        if not math.isfinite(ratio):
            raise Refused(f"the sun's ratio is {ratio!r}, it must be finite and at least 0")
        await self._call(Sun(ratio), Done)

    def describe(self) -> str:
        """One line for people."""
        return f"{self._description} at {self.socket_path}"

    async def _call(self, request: Request, kind: type[R]) -> R:
        ours = False
        try:
            async with asyncio.timeout(self.deadline_s), self._lock:
                ours = True
                pause_s = self._retry_s - self._monotonic()
                if pause_s > 0.0:
                    raise self._unavailable(f"{self._why}; next try in {pause_s:.2f} s")
                reply = await self._exchange(request)
        except TimeoutError as error:
            raise self._failed(error) if ours else self._unavailable("busy with other calls") from None
        if not isinstance(reply, kind):
            raise self._unavailable(f"answered {type(request).__name__} with {type(reply).__name__}")
        return reply

    async def _exchange(self, request: Request) -> Reply:
        """Send and receive; whatever goes wrong, the connection goes with it, so that no late answer is taken for another's."""
        had_connection = self._streams is not None
        try:
            line = await self._line(request)
            if not line and had_connection:  # it ended some time ago; the plant may be there again
                self._hang_up()
                line = await self._line(request)
            if not line:
                raise ConnectionError("hung up without an answer")
        except (OSError, ValueError) as error:
            raise self._failed(error) from None
        except BaseException:
            self._hang_up()
            raise
        try:
            reply = reply_of(line)
        except Unavailable as error:
            raise self._failed(error) from None
        except Refused:
            self._works()
            raise
        self._works()
        return reply

    async def _line(self, request: Request) -> bytes:
        """The answer's line; empty if the other side has hung up."""
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(sock=connected(self.socket_path), limit=LONGEST_LINE)
        reader, writer = self._streams
        try:
            writer.write(line_of(request))
            await writer.drain()
            line = await reader.readline()
        except ConnectionError:
            return b""
        return line if line.endswith(b"\n") else b""

    def _failed(self, error: BaseException) -> Unavailable:
        """Hang up, and pause before the next try."""
        self._hang_up()
        self._why = reason(error)
        pause_s = min(_FIRST_PAUSE_S * 2.0**self._failures, _LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 16)
        self._retry_s = self._monotonic() + pause_s
        return self._unavailable(self._why)

    def _works(self) -> None:
        self._failures, self._retry_s = 0, -math.inf

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(f"plant at {self.socket_path}: {why}")

    def _hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

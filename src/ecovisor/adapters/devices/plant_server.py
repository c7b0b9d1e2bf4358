"""The emulated plant as a server on a Unix socket, paced by a real clock: it goes on whoever comes, goes or is killed.

Owns its state directory while it runs (a lock): the socket, and the state it writes down once a second. It ends on `Stop`, on SIGTERM,
and when its socket is taken from under it. `plant_process` starts and finds it; `emulated_client` talks to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ecovisor.adapters.clocks import Anchor, RealClock
from ecovisor.adapters.devices.emulated import EmulatedPlant, PlantState
from ecovisor.adapters.devices.plant_protocol import (
    LONGEST_LINE,
    Accepted,
    Command,
    Done,
    Draw,
    Failed,
    Hello,
    PlantConfig,
    Read,
    Reply,
    Request,
    Settle,
    State,
    Stop,
    Sun,
    Welcome,
    address_of,
    line_of,
)
from ecovisor.model.errors import EcovisorError, Refused
from ecovisor.ports.live import SetPoint

SOCKET, LOCK, STATE, CONFIG, LOG = "plant.sock", "plant.lock", "plant.state.json", "plant.json", "plant.log"

_HOUSEKEEPING_S = 1.0
_FAREWELL_S = 0.2
#: Clients whose running totals are remembered.
_MOST_CLIENTS = 16

#: Somebody who looks whether a plant runs holds the lock for an instant.
_LOCK_ATTEMPTS, _LOCK_PAUSE_S = 10, 0.02

_decode_request = msgspec.json.Decoder(Request).decode


class Saved(msgspec.Struct, frozen=True):
    """What a plant writes down: its state, and how to find site time again."""

    state: PlantState
    anchor: Anchor
    boot: str
    """The machine's run that the anchor is valid in."""
    wall_s: float
    """[s since the epoch]"""


def boot_id() -> str:
    """Names the time since the machine was started; empty where it has no name."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def anchor_for(config: PlantConfig, saved: Saved | None, *, boot: str, monotonic_s: float, wall_s: float) -> Anchor:
    """Where site time goes on: by the old anchor, after a restart of the machine by the wall clock, at first as configured."""
    if saved is None:
        return Anchor(monotonic_s, wall_s if config.site_start_s is None else config.site_start_s, config.compression)
    old = saved.anchor
    if boot == saved.boot and monotonic_s >= old.monotonic_s:
        if config.compression == old.compression:
            return old
        site_s = old.site_s + (monotonic_s - old.monotonic_s) * old.compression
    else:
        site_s = saved.state.site_s + max(wall_s - saved.wall_s, 0.0) * old.compression
    return Anchor(monotonic_s, site_s, config.compression)


class PlantServer:
    """Answers requests from a plant that follows a clock."""

    def __init__(self, plant: EmulatedPlant, clock: RealClock, boot: str = "") -> None:
        self.plant, self.clock, self.boot = plant, clock, boot
        self.stopped = asyncio.Event()
        self._totals_wh: dict[str, float] = {}
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def answer(self, line: bytes) -> Reply:
        """The reply to a line, whatever it holds."""
        try:
            request: Request = _decode_request(line)
        except msgspec.DecodeError as error:
            return Failed("refused", f"no request: {error}")
        try:
            return self._answer(request, self.clock.site_s())
        except EcovisorError as error:
            return Failed("refused" if isinstance(error, Refused) else "unavailable", str(error))

    def _answer(self, request: Request, now_s: float) -> Reply:
        plant = self.plant
        match request:
            case Hello():
                return Welcome(
                    os.getpid(), plant.epoch, self.clock.anchor, plant.battery, plant.state().sun_ratio, plant.describe()
                )
            case Read():
                return State(plant.read(now_s))
            case Command(charge_w, discharge_w, limit_w):
                accepted = plant.command(now_s, SetPoint(charge_w, discharge_w, math.inf if limit_w is None else limit_w))
                return Accepted(accepted.charge_w, accepted.discharge_w, limit_w)
            case Draw():
                self._draw(request, now_s)
                return State(plant.read(now_s))
            case Settle():
                plant.settle(now_s)
                return State(plant.read(now_s))
            case Sun(ratio):
                plant.set_sun(now_s, ratio)
            case Stop():
                self.stopped.set()
        return Done()

    def _draw(self, draw: Draw, now_s: float) -> None:
        booked_wh = self._totals_wh.get(draw.client, draw.confirmed_wh)
        self.plant.draw(now_s, draw.total_wh - booked_wh)
        self._totals_wh.pop(draw.client, None)
        self._totals_wh[draw.client] = draw.total_wh
        while len(self._totals_wh) > _MOST_CLIENTS:
            del self._totals_wh[next(iter(self._totals_wh))]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it hangs up or writes a line without end; half a line at the end is nothing."""
        task = asyncio.current_task()
        assert task is not None, "a stream is served by a task"
        self._clients[task] = writer
        try:
            while (line := await reader.readline()).endswith(b"\n"):
                writer.write(line_of(self.answer(line)))
                await writer.drain()
        except (OSError, ValueError):
            pass
        finally:
            del self._clients[task]
            writer.close()

    async def hang_up(self) -> None:
        """Let go of all clients, once they have what was written to them, or do not take it."""
        for end in (asyncio.StreamWriter.close, lambda writer: writer.transport.abort()):
            for writer in self._clients.values():
                end(writer)
            if self._clients:
                await asyncio.wait(list(self._clients), timeout=_FAREWELL_S)


async def run_plant(config: PlantConfig, state_dir: Path) -> None:
    """Run the plant of a state directory until it is told to end.

    Raises:
        Refused: another process has the directory, or what an earlier plant wrote down cannot be read.
        OSError: the directory cannot be used.
    """
    with _owned(state_dir):
        saved = _restore(state_dir / STATE) if config.persist else None
        boot = boot_id()
        clock = RealClock(anchor_for(config, saved, boot=boot, monotonic_s=time.monotonic(), wall_s=time.time()))
        epoch = uuid.uuid4().hex[:12]
        if saved is None:
            plant = EmulatedPlant.starting(config.battery, config.solar, site_s=clock.site_s(), epoch=epoch)
        else:
            plant = EmulatedPlant(config.battery, config.solar, state=saved.state, site_s=clock.site_s(), epoch=epoch)
        server = PlantServer(plant, clock, boot)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stopped.set)
        listening = await asyncio.start_unix_server(server.serve, sock=_listen(state_dir / SOCKET), limit=LONGEST_LINE)
        try:
            await _keep(server, state_dir, persist=config.persist)
        finally:
            listening.close()
            await server.hang_up()


async def _keep(server: PlantServer, state_dir: Path, *, persist: bool) -> None:
    """Let the plant's time pass and write its state down, until it is stopped or its socket is gone."""
    path = state_dir / SOCKET
    socket_id = _identity(path)
    complained = ""
    while _identity(path) == socket_id:
        problem = ""
        try:
            server.plant.advance(server.clock.site_s())
            if persist:
                _save(state_dir / STATE, server)
        except (OSError, EcovisorError) as error:
            problem = str(error)
        if problem and problem != complained:
            print(problem, file=sys.stderr, flush=True)
        complained = problem
        if server.stopped.is_set():
            path.unlink(missing_ok=True)
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.stopped.wait(), _HOUSEKEEPING_S)


def _save(path: Path, server: PlantServer) -> None:
    saved = Saved(server.plant.state(), server.clock.anchor, server.boot, server.clock.wall_s())
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(msgspec.json.encode(saved))
    part.replace(path)


def _restore(path: Path) -> Saved | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Saved)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Refused(f"{path} cannot be read: {error}; remove it, and the plant starts anew") from None


@contextlib.contextmanager
def _owned(state_dir: Path) -> Iterator[None]:
    """Hold the directory's lock, our process's id in it."""
    lock = os.open(state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for attempt in range(_LOCK_ATTEMPTS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == _LOCK_ATTEMPTS - 1:
                    raise Refused(f"{state_dir}: another plant runs here") from None
                time.sleep(_LOCK_PAUSE_S)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(lock)


def _listen(path: Path) -> socket.socket:
    """A socket bound to ``path``, in place of what a plant that was killed left there; for our user alone."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address_of(path) as address:
            listening.bind(address)
        path.chmod(0o600)
        listening.listen(16)
    except BaseException:
        listening.close()
        raise
    return listening


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino

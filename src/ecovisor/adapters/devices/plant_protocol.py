"""What a plant process and those who talk to it have in common: its configuration, its messages, and how its socket is found.

A line of JSON each way, over a Unix socket. Every request but `Stop` may be repeated without harm, so that a reply that was lost can be
asked for again: a draw carries a running total, of which the plant books what it has not seen.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from ecovisor.adapters.clocks import Anchor
from ecovisor.adapters.devices.emulated import SolarTrace
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.model.errors import Refused, Unavailable
from ecovisor.ports.live import PlantReading

#: Longest line of a request or reply. [bytes]
LONGEST_LINE = 65536
#: Longest path that a Unix socket's address holds everywhere. [bytes]
_LONGEST_ADDRESS = 100


class PlantConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plant that runs by itself. Instants are used the first time; later it continues what its directory holds."""

    battery: PlantBattery | None = None
    """None: there is none."""
    solar: SolarTrace | None = None
    """None: there is none."""
    site_start_s: float | None = None
    """Site time when it is first started; None: wall time. [s since the epoch]"""
    compression: float = 1.0
    """Seconds of site time in a second of wall time. [1]"""
    persist: bool = True
    """Write its state down once a second, to continue from there when it is started again."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Asks who is there; answered by `Welcome`."""


class Read(msgspec.Struct, frozen=True, tag="read"):
    """Asks for meters and state; answered by `State`."""


class Command(msgspec.Struct, frozen=True, tag="command"):
    """A set-point; answered by `Accepted`."""

    charge_w: float
    discharge_w: float
    export_limit_w: float | None
    """None: unlimited."""


class Draw(msgspec.Struct, frozen=True, tag="draw"):
    """Energy drawn by the cluster; answered by `State`. The plant books ``total_wh`` less what it has booked for this client."""

    client: str
    total_wh: float
    """All that this client has told so far."""
    confirmed_wh: float
    """As much of it as the client knows to be booked; for a plant that has started anew since."""


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """The load that was assumed since the last draw is taken for the true one; answered by `State`."""


class Sun(msgspec.Struct, frozen=True, tag="sun"):
    """Scales the solar trace; answered by `Done`."""

    ratio: float


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Ends the plant; answered by `Done`."""


Request = Hello | Read | Command | Draw | Settle | Sun | Stop


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """Who is there."""

    pid: int
    epoch: str
    anchor: Anchor
    battery: PlantBattery | None
    sun_ratio: float
    description: str


class State(msgspec.Struct, frozen=True, tag="state"):
    """Meters and state."""

    reading: PlantReading


class Accepted(msgspec.Struct, frozen=True, tag="accepted"):
    """The set-point in force."""

    charge_w: float
    discharge_w: float
    export_limit_w: float | None


class Done(msgspec.Struct, frozen=True, tag="done"):
    """It was done."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It was not."""

    kind: Literal["refused", "unavailable"]
    message: str


Reply = Welcome | State | Accepted | Done | Failed

_decode_reply = msgspec.json.Decoder(Reply).decode


def line_of(message: Request | Reply) -> bytes:
    """A message as it travels."""
    return msgspec.json.encode(message) + b"\n"


def reply_of(line: bytes) -> Reply:
    """The answer in a line.

    Raises:
        Refused: the plant will not do it.
        Unavailable: the plant cannot do it now, or the line is no reply.
    """
    try:
        reply: Reply = _decode_reply(line)
    except msgspec.DecodeError as error:
        raise Unavailable(f"not the answer of a plant ({error})") from None
    if isinstance(reply, Failed):
        raise (Refused if reply.kind == "refused" else Unavailable)(reply.message)
    return reply


@contextlib.contextmanager
def address_of(path: Path) -> Iterator[str]:
    """The path of a Unix socket in a form that fits into an address, however long it is; valid within the context.

    Raises:
        Refused: too long, on a system that knows no way around.
        OSError: its directory cannot be opened.
    """
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    if not sys.platform.startswith("linux") or len(os.fsencode(path.name)) > 60:
        raise Refused(f"{path}: too long for a Unix socket ({_LONGEST_ADDRESS} bytes); choose a shorter directory")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def connected(path: Path) -> socket.socket:
    """A socket that is connected to the plant at ``path``; connecting to a Unix socket does not wait.

    Raises:
        OSError: nobody listens there.
        Refused: the path is too long.
    """
    plant = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plant.setblocking(False)
        with address_of(path) as address:
            plant.connect(address)
    except BaseException:
        plant.close()
        raise
    return plant


def ask(path: Path, request: Request, timeout_s: float) -> Reply:
    """One request on a connection of its own; blocks.

    Raises:
        Refused: the plant will not do it, or the path is too long.
        Unavailable: nobody answers, or not usefully.
    """
    try:
        with connected(path) as plant:
            plant.settimeout(timeout_s)
            plant.sendall(line_of(request))
            with plant.makefile("rb") as lines:
                line = lines.readline(LONGEST_LINE)
    except OSError as error:
        raise Unavailable(f"plant at {path}: {reason(error)}") from None
    if not line.endswith(b"\n"):
        raise Unavailable(f"plant at {path}: hung up without an answer")
    return reply_of(line)


def reason(error: BaseException) -> str:
    """Why a call failed, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__

"""What a running site stands on: clock, containers, meters and energy devices. Asynchronous, because each of them may be slow or fail.

Every call may raise `Unavailable` (it did not answer, or not usefully); the driver gives each a deadline, goes on with the last good
value marked stale, and tries again. Counters only grow while their `epoch` stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ecovisor.model.series import Quality


@dataclass(frozen=True, slots=True)
class Reading:
    """A value that knows how it came to be known."""

    value: float
    quality: Quality
    age_s: float = 0.0
    """Wall time since it was taken. [s]"""


# -- time


class Clock(Protocol):
    """Two times: the ledger is in site time, which a demonstration may compress; deadlines and signatures are in wall time."""

    @property
    def compression(self) -> float:
        """Seconds of site time in a second of wall time. It scales durations, never power. [1]"""
        ...

    def site_s(self) -> float:
        """Site time; never goes back, whatever happens to the wall clock. [s since the epoch]"""
        ...

    def wall_s(self) -> float:
        """Wall time. [s since the epoch]"""
        ...

    def monotonic_s(self) -> float:
        """A clock that only measures durations of wall time. [s]"""
        ...

    async def sleep_until(self, site_s: float) -> None:
        """Return once `site_s()` has reached an instant of site time."""
        ...


# -- containers


class ContainerState(StrEnum):
    """What a container is doing."""

    RUNNING = "running"
    SUSPENDED = "suspended"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Command:
    """What the operator allows to be started, by name."""

    argv: Sequence[str]
    directory: str | None = None
    """Working directory; None: the container's own."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """A container to be started."""

    app: str
    id: str
    command: Command
    cores_limit: float = float("inf")
    """CPU time over wall time that it may use from its first instant on; infinite: no limit. [cores]"""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the command's."""


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """One container, with its CPU time so far."""

    app: str
    id: str
    state: ContainerState
    cpu_s: float
    """CPU time used since it was started, by everything in it, ended children included. [s]"""
    cores_limit: float
    """The limit in force; infinite: none. [cores]"""
    exit_code: int | None = None
    """Set once it has exited; negative: ended by that signal."""
    started_wall_s: float = 0.0
    """[s since the epoch]"""


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a platform really does, for people (`doctor`) and for every answer that depends on it."""

    platform: str
    """`process`, `simulated`, …"""
    cap_mechanism: str
    """`cgroup-v2`, `cgroup-v1`, `duty-cycle`, `simulated`, `none`."""
    separate_users: bool
    """Each app's containers run under an unprivileged user of their own."""
    notes: Sequence[str] = ()
    """What is missing, each with what to do about it (`no isolation: not root, so all apps' containers run as user alice`)."""


class Platform(Protocol):
    """Runs containers. Ids are the app's; (app, id) is unique at a time."""

    async def open(self) -> None:
        """Get ready, and take over the containers that an earlier process of ours left running."""
        ...

    async def close(self, *, stop_containers: bool) -> None:
        """Let go of everything; containers end, or go on under their last limits."""
        ...

    def isolation(self) -> Isolation:
        """What is enforced and what is not."""
        ...

    async def start(self, request: ContainerRequest) -> None:
        """Start a container. Raises `Refused` if it cannot be started, with the reason; nothing is left of it then."""
        ...

    async def stop(self, app: str, container_id: str, *, grace_s: float = 5.0) -> None:
        """Ask it to end, end it after ``grace_s``, and forget it. Nothing happens if there is no such container."""
        ...

    async def set_cores_limit(self, app: str, container_id: str, cores_limit: float) -> float:
        """Limit CPU time over wall time; returns the limit in force (a platform has a smallest one). [cores]"""
        ...

    async def suspend(self, app: str, container_id: str) -> None:
        """Freeze it: no CPU time from now on, its memory kept."""
        ...

    async def resume(self, app: str, container_id: str) -> None:
        """Let it go on."""
        ...

    async def status(self) -> Sequence[ContainerStatus]:
        """All containers, those that exited included until they are stopped. One pass over the machine, whatever their number."""
        ...

    async def logs(self, app: str, container_id: str, *, max_bytes: int = 65536) -> bytes:
        """The last of what it wrote, standard output and error together."""
        ...


# -- meters and devices


@dataclass(frozen=True, slots=True)
class EnergyCounter:
    """A cumulative energy counter."""

    energy_j: float
    """Since the counter's epoch. [J]"""
    quality: Quality
    epoch: str = ""
    """Changes when the counter starts anew; differences across epochs mean nothing."""


class NodeMeter(Protocol):
    """Measures the energy of the machine that containers run on."""

    async def read(self) -> EnergyCounter | None:
        """The counter now; None where this machine has none ("not available", which is not zero)."""
        ...

    def describe(self) -> str:
        """One line for people: what is measured, or why not."""
        ...


@dataclass(frozen=True, slots=True)
class PlantReading:
    """The physical energy system at an instant: cumulative meters since its epoch, and its state."""

    site_s: float
    """[s since the epoch, site time]"""
    epoch: str
    """Changes when the meters start anew."""
    solar_wh: float
    """Collected, after curtailment. [Wh]"""
    import_wh: float
    """[Wh]"""
    export_wh: float
    """[Wh]"""
    charge_wh: float
    """Into the battery, at its terminals. [Wh]"""
    discharge_wh: float
    """Out of the battery, at its terminals. [Wh]"""
    load_wh: float
    """Drawn by the cluster, as far as it has been told or has metered. [Wh]"""
    curtailed_wh: float
    """Solar energy that could have been collected and was not. [Wh]"""
    level_wh: float
    """Energy in the battery, above empty by its chemistry, not by the operator's line. [Wh]"""
    solar_w: float
    """Output of the array at this instant. [W]"""
    feasible_charge_w: float
    """[W]"""
    feasible_discharge_w: float
    """[W]"""
    quality: Quality = Quality.MEASURED


@dataclass(frozen=True, slots=True)
class SetPoint:
    """What a plant is told to do from now on; directions are separate and at least 0."""

    charge_w: float = 0.0
    discharge_w: float = 0.0
    export_limit_w: float = float("inf")
    """Solar power that would go beyond it is curtailed. [W]"""


class EnergyPlant(Protocol):
    """Battery, solar array and grid connection of a site. A driver implements what it can and says what it cannot."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Disconnect; the plant goes on with its last set-point."""
        ...

    async def read(self) -> PlantReading:
        """Meters and state now."""
        ...

    async def command(self, set_point: SetPoint) -> SetPoint:
        """Set, and return what was accepted after clipping."""
        ...

    def describe(self) -> str:
        """One line for people."""
        ...


class EmulatedLoad(Protocol):
    """An emulated plant has no cable to the cluster: it is told what was drawn."""

    async def draw(self, energy_wh: float) -> PlantReading:
        """The cluster drew this since the last call, evenly; the meters at that instant. Until told otherwise it goes on so. [Wh]"""
        ...

    async def settle(self) -> PlantReading:
        """Nobody measured what was drawn since the last call: what was assumed is taken for it; the meters at that instant."""
        ...

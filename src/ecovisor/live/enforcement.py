"""Makes a platform run what the apps want, within what they may draw: containers started, stopped, suspended, their CPU time limited.

The engine's containers are what is wanted; this module compares them with what it last told the platform and does the difference, app by
app. It owns no numbers of energy: limits come from `library.grants`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ecovisor.engine.containers import WantedContainer
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.library.grants import Demander, cores_limit, split_cap_w
from ecovisor.model.errors import EcovisorError, Refused, Unavailable
from ecovisor.ports.live import Command, ContainerRequest, ContainerState, ContainerStatus, Platform
from ecovisor.presets import ServerParameters

#: A limit that differs by less than this part is the same.
_SAME_RATIO = 1e-9
#: What a container is given when it may draw no more than idle: the platform raises it to its smallest limit. [cores]
_LEAST_CORES = 1e-3


@dataclass(slots=True)
class _Told:
    """What the platform was last told of a container."""

    cores_limit: float
    suspended: bool = False
    cores: float = 0.0
    """It stands on so many, as scaled."""
    failure: str | None = None
    exit_code: int | None = None
    exited: bool = False


@dataclass(slots=True)
class Enforcement:
    """Tells the platform.

    Args:
        platform: runs the containers.
        server: cores and power curve of the node.
        commands: what may be run, by name.
        environment: what an app's containers are told of the ecovisor.
        tell: app, kind and detail of something to be told to people: a container that exited or could not be started.
    """

    platform: Platform
    server: ServerParameters
    commands: Mapping[str, Command]
    environment: Callable[[str], Mapping[str, str]]
    tell: Callable[[str, str, str], None]
    _told: dict[str, dict[str, _Told]] = field(default_factory=dict)
    _unsure: set[tuple[str, str]] = field(default_factory=set)
    _locks: dict[str, asyncio.Lock] = field(default_factory=dict)

    def adopt(self, statuses: Iterable[ContainerStatus], energies: Mapping[str, VirtualEnergySystem]) -> None:
        """Containers from before the process began. The end of one that its app still runs has not been told yet."""
        for one in statuses:
            told = _Told(one.cores_limit, suspended=one.state is ContainerState.SUSPENDED)
            running = one.app in energies and any(own.id == one.id and own.running for own in energies[one.app].containers.wanted())
            if one.state is ContainerState.EXITED and not running:
                told.exited, told.exit_code = True, one.exit_code
            self._told.setdefault(one.app, {})[one.id] = told

    def apps(self) -> list[str]:
        """Apps of which there are containers."""
        return list(self._told)

    def cores_of(self, app: str, container: str) -> float | None:
        """Cores that a container stands on; None where it is not known."""
        told = self._told.get(app, {}).get(container)
        return None if told is None else told.cores

    def state(self, app: str, container: str) -> tuple[str, int | None] | None:
        """State and exit code of a real container, for people."""
        told = self._told.get(app, {}).get(container)
        if told is None:
            return None
        if told.failure is not None:
            return "failed", None
        if told.exited:
            return str(ContainerState.EXITED), told.exit_code
        return str(ContainerState.SUSPENDED if told.suspended else ContainerState.RUNNING), None

    def observe(
        self, energies: Mapping[str, VirtualEnergySystem], statuses: Mapping[tuple[str, str], ContainerStatus]
    ) -> dict[str, bool]:
        """Notice containers that have exited: their app no longer runs them.

        Returns:
            The apps of which some have; True for those all of whose containers ended well.
        """
        ended: set[str] = set()
        for app, containers in list(self._told.items()):  # others may change it meanwhile
            for container, told in list(containers.items()):
                status = statuses.get((app, container))
                if told.exited or told.failure is not None or status is None or status.state is not ContainerState.EXITED:
                    continue
                told.exited, told.exit_code = True, status.exit_code
                if app in energies and container in energies[app].container_ids:
                    energies[app].suspend_container(container)
                code = "unknown" if status.exit_code is None else str(status.exit_code)
                self.tell(app, "container_exited", f"{container}: exit code {code}")
                ended.add(app)
        return {app: all(told.exited and told.exit_code == 0 for told in list(self._told[app].values())) for app in ended}

    async def apply(self, app: str, energy: VirtualEnergySystem, limit_w: float) -> bool:
        """Make an app's containers what it wants them to be, together within ``limit_w``. Failures are told, and shown as a state.

        Returns:
            Whether the platform took all of it; if not, ask again.
        """
        taken = True
        async with self._locks.setdefault(app, asyncio.Lock()):
            told = self._told.setdefault(app, {})
            wanted = {one.id: one for one in energy.containers.wanted()}
            for container in [one for one in told if one not in wanted]:
                if await self._guarded(app, container, self.platform.stop(app, container)):
                    del told[container]
                else:
                    taken = False
            scale = energy.scale_ratio
            containers = list(wanted.values())
            demanders = [Demander(one.cores * scale if one.running else 0.0, one.cap_w) for one in containers]
            caps = split_cap_w(self.server.power_curve_w, self.server.cores, demanders, limit_w)
            for one, demander, cap_w in zip(containers, demanders, caps, strict=True):
                taken = await self._apply_one(app, energy, one, demander.cores, cap_w) and taken
        return taken

    async def _apply_one(self, app: str, energy: VirtualEnergySystem, one: WantedContainer, cores: float, cap_w: float) -> bool:
        told = self._told[app].get(one.id)
        limit = 0.0 if cores <= 0.0 else cores_limit(self.server.power_curve_w, self.server.cores, cores, cap_w)
        idle_w = self.server.power_curve_w[0] * cores / self.server.cores
        runs = cores > 0.0 and (limit > 0.0 or cap_w >= idle_w)
        limit = max(limit, _LEAST_CORES)
        if told is not None and (told.failure is not None or told.exited):
            if not one.running:
                return True
            if not await self._guarded(app, one.id, self.platform.stop(app, one.id)):  # the app wants it to run again
                return False
            told = None
        if told is None:
            return not runs or await self._start(app, energy, one, cores, limit)
        told.cores = cores if runs else told.cores
        taken = True
        if runs and abs(limit - told.cores_limit) > _SAME_RATIO * limit:
            taken = await self._guarded(app, one.id, self._limit(app, one.id, told, limit))
        if runs == told.suspended:
            change = self.platform.resume if runs else self.platform.suspend
            if await self._guarded(app, one.id, change(app, one.id)):
                told.suspended = not runs
            else:
                taken = False
        return taken

    async def _limit(self, app: str, container: str, told: _Told, limit: float) -> None:
        await self.platform.set_cores_limit(app, container, limit)
        told.cores_limit = limit

    async def _start(self, app: str, energy: VirtualEnergySystem, one: WantedContainer, cores: float, limit: float) -> bool:
        command = self.commands.get(one.command)
        if (app, one.id) in self._unsure and not await self._guarded(app, one.id, self.platform.stop(app, one.id)):
            return False
        self._unsure.discard((app, one.id))
        told = self._told[app][one.id] = _Told(limit, cores=cores)
        try:
            if command is None:
                raise Refused(f"command {one.command!r} is not among the site's commands")
            await self.platform.start(ContainerRequest(app, one.id, command, limit, self.environment(app)))
        except Unavailable as error:
            del self._told[app][one.id]
            self._unsure.add((app, one.id))  # it may run: what was asked may have been done
            self.tell(app, "container_trouble", f"{one.id}: {error}")
            return False
        except EcovisorError as error:
            told.failure = str(error)
            energy.suspend_container(one.id)
            self.tell(app, "container_failed", f"{one.id}: {error}")
        return True

    def failure(self, app: str, container: str) -> str | None:
        """Why a container could not be started."""
        told = self._told.get(app, {}).get(container)
        return None if told is None else told.failure

    async def _guarded(self, app: str, container: str, action: Awaitable[object]) -> bool:
        try:
            await action
        except EcovisorError as error:
            self.tell(app, "container_trouble", f"{container}: {error}")
            return False
        return True

    async def forget(self, app: str) -> None:
        """Stop all containers of an app that leaves."""
        for container in self._told.pop(app, {}):
            await self._guarded(app, container, self.platform.stop(app, container))
        self._locks.pop(app, None)

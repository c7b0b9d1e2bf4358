"""An app's containers in simulation: their cores and caps, and which of them run; the loop works on the records that this module fills.

The same functions that a container platform has (paper, section 3: list, add, remove, resize, suspend, resume), on simulated servers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ecovisor.engine.columns import BATCH, METERED, PER_CONTAINER
from ecovisor.engine.host import Host
from ecovisor.engine.saved_settings import ContainerSettings
from ecovisor.model.errors import Infeasible, SettingRefused
from ecovisor.physics.server_power import power_at_w
from ecovisor.ports import ContainerInfo
from ecovisor.workloads.containers import group_power_w

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class WantedContainer:
    """A container as a platform is to run it."""

    id: str
    cores: float
    cap_w: float
    """Its own cap and its carbon rate's, the lower; infinite: none. [W]"""
    running: bool
    command: str
    floor_w: float
    """Its idle power. [W]"""


@dataclass(slots=True)
class _Container:
    id: str
    cores: float
    cap_w: float = INFINITY  # as the app asked
    ceiling_w: float = INFINITY  # from its carbon rate
    running: bool = True
    command: str = ""
    own_w: float = 0.0  # metered, or asked for by a workload that asks container by container

    @property
    def limit_w(self) -> float:
        return self.cap_w if self.cap_w < self.ceiling_w else self.ceiling_w


class Containers:
    """The containers of one app."""

    def __init__(self, site: Host, index: int) -> None:
        self._site = site
        self._index = index
        group = site.group_of(index)
        commands = group.spec.commands or ("",)
        self._commands = commands
        self._items = [_Container(f"c{k + 1}", group.spec.cores, command=commands[0]) for k in range(group.spec.containers)]
        self._made = len(self._items)
        self.version = 0
        """Rises with every change that a platform has to follow."""
        self._capacity = group.container_slots

    def bind(self, index: int) -> None:
        """Find the app's records, anew after apps or containers have come or gone."""
        self._index = index
        self._tile, self._i = self._site.place(index)
        column = self._site.memory.column
        self._first = int(column(self._tile, "first_container")[self._i])
        self._capacity = self._site.group_of(index).container_slots
        self._store()

    def _find(self, container_id: str) -> _Container:
        for item in self._items:
            if item.id == container_id:
                return item
        known = ", ".join(item.id for item in self._items) or "none"
        raise SettingRefused(f"container {container_id!r} does not exist; this app has: {known}")

    def _store(self) -> None:
        """Write the records that the loop reads, as far as there is room; the site makes more before the tick runs."""
        self.version += 1
        memory = self._site.memory
        for k, item in enumerate(self._items[: self._capacity]):
            memory.set_container(self._first + k, item.cores if self._runs(item) else 0.0, item.limit_w)
            memory.set_own_w(self._first + k, item.own_w)
        running = math.fsum(item.cores for item in self._items if self._runs(item))
        memory.column(self._tile, "cores")[self._i] = running
        memory.column(self._tile, "container_count")[self._i] = float(min(len(self._items), self._capacity))
        capped = any(item.limit_w < INFINITY for item in self._items)
        memory.column(self._tile, "container_caps")[self._i] = 1.0 if capped else 0.0

    def _store_one(self, item: _Container) -> None:
        """Write one container's record: a policy may set each container's cap, and who runs, every tick."""
        self.version += 1
        k, limit_w = next(k for k, one in enumerate(self._items) if one is item), item.limit_w
        if k < self._capacity:
            self._site.memory.set_container(self._first + k, item.cores if self._runs(item) else 0.0, limit_w)
        capped = limit_w < INFINITY or any(one.limit_w < INFINITY for one in self._items)
        self._site.memory.column(self._tile, "container_caps")[self._i] = 1.0 if capped else 0.0

    def _runs(self, item: _Container) -> bool:
        """A container whose ceiling lies below its idle power cannot run: it is suspended for as long."""
        return item.running and (item.ceiling_w == INFINITY or item.ceiling_w >= self._idle_w(item.cores))

    @property
    def wanted_slots(self) -> int:
        """Records that the containers need."""
        return len(self._items)

    @property
    def ids(self) -> list[str]:
        """The containers' ids, in the order of their records."""
        return [item.id for item in self._items]

    @property
    def made(self) -> int:
        """Containers made so far."""
        return self._made

    def saved(self) -> list[ContainerSettings]:
        """The containers as the app wants them, for `AppSettings`."""
        return [
            ContainerSettings(
                id=item.id,
                cores=item.cores,
                cap_w=item.cap_w if item.cap_w < INFINITY else None,
                running=item.running,
                command=item.command,
            )
            for item in self._items
        ]

    def restore(self, saved: Sequence[ContainerSettings], made: int) -> None:
        """Have these containers instead."""
        self._items = [
            _Container(one.id, one.cores, INFINITY if one.cap_w is None else one.cap_w, INFINITY, one.running, one.command)
            for one in saved
        ]
        self._made = made
        self._site.containers_changed()
        self._store()

    def wanted(self) -> list[WantedContainer]:
        """What a platform is to run: cores, the cap that acts on each alone, and whether it runs."""
        return [
            WantedContainer(item.id, item.cores, item.limit_w, self._runs(item), item.command, self._idle_w(item.cores))
            for item in self._items
        ]

    def slot(self, container_id: str) -> int:
        """The container's record."""
        return self._first + self._items.index(self._find(container_id))

    def add(self, cores: float, command: str | None) -> str:
        """See `ports.VirtualEnergy.add_container`."""
        _check_cores("add_container", cores)
        if command is not None and command not in self._commands:
            known = ", ".join(name for name in self._commands if name) or "none"
            raise SettingRefused(f"add_container: command {command!r} is not allowed for this app; allowed: {known}")
        self._made += 1
        self._items.append(_Container(f"c{self._made}", cores, command=command or self._commands[0]))
        self._site.containers_changed()
        self._store()
        return self._items[-1].id

    def remove(self, container_id: str) -> None:
        """See `ports.VirtualEnergy.remove_container`."""
        self._items.remove(self._find(container_id))
        self._site.containers_changed()
        self._store()

    def resize(self, container_id: str, cores: float) -> None:
        """See `ports.VirtualEnergy.resize_container`."""
        _check_cores("resize_container", cores)
        self._find(container_id).cores = cores
        self._store()

    def set_running(self, container_id: str, running: bool) -> None:
        """Suspend or resume."""
        item = self._find(container_id)
        item.running = running
        self._store_one(item)
        cores = math.fsum(item.cores for item in self._items if self._runs(item))
        self._site.memory.column(self._tile, "cores")[self._i] = cores

    def set_cap_w(self, container_id: str, cap_w: float) -> float:
        """See `ports.VirtualEnergy.set_container_powercap`; returns the cap that acts."""
        item = self._find(container_id)
        if not cap_w >= 0.0:
            raise SettingRefused(f"set_container_powercap: {cap_w!r} W for {container_id}; give a power of at least 0")
        floor_w = self._idle_w(item.cores)
        if cap_w < floor_w:
            raise Infeasible(
                f"set_container_powercap: {cap_w:g} W for {container_id} is below its idle power of {floor_w:g} W; "
                f"cap it at that or more, or suspend it",
                floor_w,
            )
        item.cap_w = cap_w
        self._store_one(item)
        return self.cap_in_force_w(container_id)

    def set_metered_w(self, power_w: Mapping[str, float]) -> float:
        """What was metered of each container in the tick that ended; returns their sum. [W]"""
        memory = self._site.memory
        for k, item in enumerate(self._items):
            item.own_w = power_w.get(item.id, 0.0)
            if k < self._capacity:
                memory.set_own_w(self._first + k, item.own_w)
        return math.fsum(item.own_w for item in self._items)

    def offered(self, app_power_w: float) -> list[ContainerInfo]:
        """The containers as they run in the coming tick, for a workload that asks container by container: cores as scaled."""
        scale = self._column("scale_ratio")
        as_they_are = scale == 1.0 and all(item.ceiling_w == INFINITY for item in self._items)
        return (
            self.list(app_power_w)
            if as_they_are
            else [
                replace(info, cores=info.cores * scale, running=scale > 0.0 and self._runs(item))
                for info, item in zip(self.list(app_power_w), self._items, strict=True)
            ]
        )

    def ask(self, demands_w: Sequence[float]) -> float:
        """What a workload asks for container by container, in their order, each under its own cap; returns the sum. [W]

        Raises:
            ValueError: another number of demands than containers, or one that is not finite or below 0.
        """
        if len(demands_w) != len(self._items):
            raise ValueError(f"the workload asked for {len(demands_w)} containers; there are {len(self._items)}")
        memory, total_w = self._site.memory, 0.0
        for k, (item, asked_w) in enumerate(zip(self._items, demands_w, strict=True)):
            if not 0.0 <= asked_w < INFINITY:
                raise ValueError(f"the workload asked for {float(asked_w)!r} W for {item.id}; a demand is finite and at least 0")
            item.own_w = min(float(asked_w), item.limit_w) if self._runs(item) else 0.0
            total_w += item.own_w
            if k < self._capacity:
                memory.set_own_w(self._first + k, item.own_w)
        return total_w

    def granted_w(self, ids: Sequence[str], app_power_w: float) -> list[float]:
        """What of the app's power these containers got, as the tables have it; those that are gone got nothing. [W]"""
        weights, total = dict(zip(self.ids, self._weights(), strict=True)), 0.0
        for weight in weights.values():  # one by one, as the loop adds them up
            total += weight
        scale = app_power_w / total if total > 0.0 else 0.0
        return [weights.get(name, 0.0) * scale for name in ids]

    def set_ceiling_w(self, container_id: str, ceiling_w: float) -> None:
        """Limit from a carbon rate; below its idle power the container is suspended."""
        item = self._find(container_id)
        if item.ceiling_w != ceiling_w:
            item.ceiling_w = ceiling_w
            self._store()

    def cap_in_force_w(self, container_id: str) -> float:
        """The container's own cap, or the one on the whole app if that is lower. [W]"""
        return min(self._find(container_id).limit_w, self._column("app_cap_w"), self._column("ceiling_w"))

    def part_ratio(self, container_id: str) -> float:
        """The container's part of the app's power: by cores, or by power where containers have caps of their own. [1]"""
        weights = self._weights()
        total = math.fsum(weights)
        return weights[self._items.index(self._find(container_id))] / total if total > 0.0 else 0.0

    def _weights(self) -> list[float]:
        kind = self._column("workload_kind")
        if kind in (METERED, PER_CONTAINER):
            return [item.own_w for item in self._items]
        cores = [item.cores if self._runs(item) else 0.0 for item in self._items]
        total, wanted_w = math.fsum(cores), self._column("wanted_w")
        if all(item.limit_w == INFINITY for item in self._items) or wanted_w <= 0.0 or total <= 0.0:
            return cores
        if kind != BATCH:
            return [min(wanted_w * (part / total), item.limit_w) for part, item in zip(cores, self._items, strict=True)]
        server = self._site.server
        scale, load = self._column("scale_ratio"), self._column("load_ratio")
        return [
            group_power_w(
                server.power_curve_w,
                len(server.power_curve_w),
                server.cores,
                part * scale,
                load,
                item.limit_w,
            )
            for part, item in zip(cores, self._items, strict=True)
        ]

    def _column(self, name: str) -> float:
        return self._site.memory.column(self._tile, name)[self._i]

    def _idle_w(self, cores: float) -> float:
        server = self._site.server
        return cores / server.cores * power_at_w(server.power_curve_w, len(server.power_curve_w), 0.0)

    def idle_w(self) -> float:
        """Idle power of the running containers. [W]"""
        return self._idle_w(self._column("cores"))

    def list(self, app_power_w: float) -> list[ContainerInfo]:
        """See `ports.VirtualEnergy.list_containers`."""
        weights = self._weights()
        total, group_cap_w = math.fsum(weights), min(self._column("app_cap_w"), self._column("ceiling_w"))
        return [
            ContainerInfo(
                item.id,
                item.cores,
                item.running,
                app_power_w * (weight / total) if total > 0.0 else 0.0,
                min(item.limit_w, group_cap_w),
            )
            for item, weight in zip(self._items, weights, strict=True)
        ]


def _check_cores(function: str, cores: float) -> None:
    if not 0.0 < cores < INFINITY:
        raise SettingRefused(f"{function}: {cores!r} cores; give a finite number above 0")

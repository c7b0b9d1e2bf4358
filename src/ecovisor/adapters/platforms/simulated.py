"""Containers that nobody starts: their load is made up, everything else is as on a real platform. For tests, lockstep and many apps.

A container's environment says what it does, so that commands in a site file work here too; tests change it with `set_load`:

| variable | meaning | default |
|---|---|---|
| `ECOVISOR_SIMULATED_CORES` | cores that it keeps busy while it may | its limit; 1 if it has none |
| `ECOVISOR_SIMULATED_CPU_S` | CPU time after which it exits | never |
| `ECOVISOR_SIMULATED_EXIT_CODE` | what it exits with then | 0 |
| `ECOVISOR_SIMULATED_OUTPUT` | what it writes when it is started | nothing |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ecovisor.model.errors import Refused, SettingRefused
from ecovisor.ports.live import Clock, ContainerRequest, ContainerState, ContainerStatus, Isolation

Load = float | Callable[[float], float]
"""Busy cores: a number, or a function of the wall time since the container was started [s]. A function is asked at the beginning of
every stretch between two calls to the platform, and holds over it."""

_PREFIX = "ECOVISOR_SIMULATED_"


class _Container:
    __slots__ = (
        "busy_cores",
        "cpu_s",
        "end_cpu_s",
        "exit_code",
        "limit_cores",
        "load",
        "output",
        "since_s",
        "start_s",
        "state",
        "wall_s",
    )

    def __init__(
        self, load: Load | None, limit_cores: float, end_cpu_s: float, exit_code: int, now_s: float, wall_s: float
    ) -> None:
        self.load = load
        self.limit_cores = limit_cores
        self.end_cpu_s = end_cpu_s
        self.exit_code = exit_code
        self.state = ContainerState.RUNNING
        self.cpu_s = 0.0
        self.since_s = self.start_s = now_s
        self.wall_s = wall_s
        self.output = b""
        self.busy_cores = 0.0
        self.changed()

    def changed(self) -> None:
        """Find out what it uses from now on."""
        load = self.load
        if load is None:
            self.busy_cores = self.limit_cores if self.limit_cores < math.inf else 1.0
        else:
            self.busy_cores = min(load(self.since_s - self.start_s) if callable(load) else load, self.limit_cores)

    def settle(self, now_s: float) -> None:
        """Account for the time until now."""
        if self.state is ContainerState.RUNNING:
            self.cpu_s += self.busy_cores * (now_s - self.since_s)
            if self.cpu_s >= self.end_cpu_s:
                self.cpu_s = self.end_cpu_s
                self.state = ContainerState.EXITED
        self.since_s = now_s
        if callable(self.load):
            self.changed()


class SimulatedPlatform:
    """Accumulates ``min(load, limit)`` over wall time.

    Args:
        clock: tells wall time.
        smallest_cores: the smallest limit that it can enforce. [cores]
    """

    def __init__(self, clock: Clock, *, smallest_cores: float = 0.0) -> None:
        self._clock = clock
        self._smallest_cores = smallest_cores
        self._containers: dict[tuple[str, str], _Container] = {}

    async def open(self) -> None:
        """There is nothing to take over."""

    async def close(self, *, stop_containers: bool) -> None:
        if stop_containers:
            self._containers.clear()

    def isolation(self) -> Isolation:
        return Isolation("simulated", "simulated", separate_users=True, notes=["no process is started: CPU time is made up"])

    async def start(self, request: ContainerRequest) -> None:
        key = (request.app, request.id)
        if key in self._containers:
            raise Refused(f"container {request.id} of app {request.app}: there is one already; stop it first")
        if not request.command.argv:
            raise Refused("argv: there is no command")
        variables = {**request.command.environment, **request.environment}
        load = _number(variables, "CORES", math.nan)
        container = _Container(
            None if math.isnan(load) else load,
            self._in_force(request.cores_limit),
            _number(variables, "CPU_S", math.inf),
            int(_number(variables, "EXIT_CODE", 0.0)),
            self._clock.monotonic_s(),
            self._clock.wall_s(),
        )
        container.output = variables.get(f"{_PREFIX}OUTPUT", "").encode()
        self._containers[key] = container

    async def stop(self, app: str, container_id: str, *, grace_s: float = 5.0) -> None:
        self._containers.pop((app, container_id), None)

    async def set_cores_limit(self, app: str, container_id: str, cores_limit: float) -> float:
        container = self._settled(app, container_id)
        container.limit_cores = self._in_force(cores_limit)
        container.changed()
        return container.limit_cores

    async def suspend(self, app: str, container_id: str) -> None:
        container = self._settled(app, container_id)
        if container.state is ContainerState.RUNNING:
            container.state = ContainerState.SUSPENDED

    async def resume(self, app: str, container_id: str) -> None:
        container = self._settled(app, container_id)
        if container.state is ContainerState.SUSPENDED:
            container.state = ContainerState.RUNNING

    async def status(self) -> Sequence[ContainerStatus]:
        now_s = self._clock.monotonic_s()
        exited = ContainerState.EXITED
        found = []
        for (app, container_id), one in self._containers.items():
            one.settle(now_s)
            exit_code = one.exit_code if one.state is exited else None
            found.append(ContainerStatus(app, container_id, one.state, one.cpu_s, one.limit_cores, exit_code, one.wall_s))
        return found

    async def logs(self, app: str, container_id: str, *, max_bytes: int = 65536) -> bytes:
        output = self._settled(app, container_id).output
        return output[max(0, len(output) - max_bytes) :]

    # -- for tests

    def set_load(self, app: str, container_id: str, load: Load) -> None:
        """What a container does from now on. Raises `Refused` if there is none of this name."""
        container = self._settled(app, container_id)
        container.load = load
        container.changed()

    def write(self, app: str, container_id: str, output: bytes) -> None:
        """A container writes something. Raises `Refused` if there is none of this name."""
        self._settled(app, container_id).output += output

    def exit(self, app: str, container_id: str, exit_code: int = 0) -> None:
        """A container ends now; negative: by that signal. Raises `Refused` if there is none of this name."""
        container = self._settled(app, container_id)
        container.exit_code = exit_code
        container.state = ContainerState.EXITED

    def _settled(self, app: str, container_id: str) -> _Container:
        container = self._containers.get((app, container_id))
        if container is None:
            raise Refused(f"container {container_id} of app {app}: there is none of this name")
        container.settle(self._clock.monotonic_s())
        return container

    def _in_force(self, cores_limit: float) -> float:
        if math.isnan(cores_limit) or cores_limit < 0.0:
            raise SettingRefused(f"limit of {cores_limit!r} cores: it must be at least 0")
        return max(cores_limit, self._smallest_cores)


def _number(variables: Mapping[str, str], name: str, default: float) -> float:
    text = variables.get(_PREFIX + name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number) or (number < 0.0 and name != "EXIT_CODE"):
        raise Refused(f"environment: {_PREFIX}{name}={text!r} is no number of at least 0")
    return number

"""From CPU time to watts: what each container drew in a tick, held against the node's meter where there is one.

A container's power follows from the CPU time that it used, through the server's power curve (`library.grants.container_power_w`), its
part of the idle power by allocated cores included. Where the node has a meter, the containers are scaled to it and a positive rest is
`_site`'s (`physics.attribution`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ecovisor.library.grants import container_power_w
from ecovisor.model.series import Quality
from ecovisor.physics.attribution import attributed_w
from ecovisor.ports.live import ContainerState, ContainerStatus, EnergyCounter
from ecovisor.presets import ServerParameters

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Metered:
    """What containers drew over a tick."""

    power_w: Mapping[str, Mapping[str, float]]
    """App → container → mean power. [W]"""
    node_rest_w: float | None
    """What the node's meter read beyond them; None: no meter. [W]"""
    quality: Quality
    """`estimated` where a measured node power was split by a model, else `modelled`."""


@dataclass(slots=True)
class ContainerMeter:
    """Remembers counters between ticks.

    Args:
        server: cores and power curve of the node.
        cores_of: cores that an app's container stands on, as scaled; None: it is not known any more.
    """

    server: ServerParameters
    cores_of: Callable[[str, str], float | None]
    _cpu_s: dict[Key, float] = field(default_factory=dict)
    _read_s: float | None = None
    _node: EnergyCounter | None = None

    def restart(self, statuses: Sequence[ContainerStatus] | None, node: EnergyCounter | None, now_s: float) -> None:
        """Begin to count here, or, where the containers could not be read, with the next reading: what was before is not metered."""
        self._cpu_s = {(one.app, one.id): one.cpu_s for one in statuses or ()}
        self._node, self._read_s = node, None if statuses is None else now_s

    def read(self, statuses: Sequence[ContainerStatus], node: EnergyCounter | None, now_s: float) -> Metered:
        """What was drawn since the last call.

        Args:
            statuses: all containers, now.
            node: the node's counter, now; None: not available.
            now_s: monotonic instant of the statuses. [s]
        """
        elapsed_s = now_s - self._read_s if self._read_s is not None else 0.0
        powers: dict[str, dict[str, float]] = {}
        keys: list[Key] = []
        drawn: list[float] = []
        curve, server_cores = self.server.power_curve_w, self.server.cores
        cpu_s = self._cpu_s
        counters: dict[Key, float] = {}
        for one in statuses:
            key = (one.app, one.id)
            counters[key] = one.cpu_s
            used_s = max(0.0, one.cpu_s - cpu_s.get(key, 0.0))
            idle = one.state is not ContainerState.RUNNING
            if elapsed_s <= 0.0 or (idle and used_s <= 0.0):
                continue
            cores = self.cores_of(one.app, one.id)
            if cores is None or cores <= 0.0:
                cores = used_s / elapsed_s
            keys.append(key)
            drawn.append(container_power_w(curve, server_cores, cores, used_s / elapsed_s))
        node_w = self._node_power_w(node, elapsed_s)
        rest_w = None
        if node_w is not None:
            drawn, rest_w = attributed_w(drawn, node_w)
        for (app, container), power_w in zip(keys, drawn, strict=True):
            powers.setdefault(app, {})[container] = power_w
        self._cpu_s, self._node, self._read_s = counters, node, now_s
        return Metered(powers, rest_w, Quality.MODELLED if node_w is None else Quality.ESTIMATED)

    def _node_power_w(self, node: EnergyCounter | None, elapsed_s: float) -> float | None:
        before = self._node
        if node is None or before is None or node.epoch != before.epoch or elapsed_s <= 0.0:
            return None
        return (node.energy_j - before.energy_j) / elapsed_s

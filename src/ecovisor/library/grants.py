"""What an app may draw, and how its containers share it: from supply and caps to a limit on each container's CPU time.

Pure functions of numbers; the driver of a live site enforces what they say (DESIGN: the tick, step 3). A container with ``cores`` of a
server's cores is that part of the server, idle power included (`physics.server_power`), so a cap in watts becomes a limit in cores
through the inverse of the server's power curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ecovisor.physics.server_power import power_at_w, utilisation_at_ratio

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Demander:
    """A container that wants to run."""

    cores: float
    """As scaled by its app. [cores]"""
    cap_w: float
    """Its own cap; infinite: none. [W]"""


def supply_w(
    solar_w: float, level_wh: float, max_discharge_w: float, discharge_limit_w: float, efficiency: float, hours_h: float,
    grid_limit_w: float, charge_rate_w: float,
) -> float:  # fmt: skip
    """Largest power that an app's sun, battery and grid connection can serve in the coming tick. [W]

    While the grid charges the battery, the battery gives nothing (step 4 of the settlement), unless the grid has nothing to spare.
    """
    if grid_limit_w == INFINITY:
        return INFINITY
    battery_w = min(max_discharge_w, discharge_limit_w, level_wh * efficiency / hours_h)
    if charge_rate_w > 0.0:
        return solar_w + max(grid_limit_w, battery_w)
    return solar_w + battery_w + grid_limit_w


def container_power_w(power_curve_w: Sequence[float], server_cores: float, cores: float, used_cores: float) -> float:
    """Power of a container that runs on ``cores`` and keeps ``used_cores`` of them busy. [W]"""
    if cores <= 0.0:
        return 0.0
    return cores / server_cores * power_at_w(power_curve_w, len(power_curve_w), used_cores / cores)


def cores_limit(power_curve_w: Sequence[float], server_cores: float, cores: float, cap_w: float) -> float:
    """CPU time over wall time at which a container on ``cores`` reaches ``cap_w``; at most ``cores``. [cores]

    The result is 0 where the cap lies below the container's idle power: it has to be suspended.
    """
    if cap_w == INFINITY:
        return cores
    whole_w = cap_w * server_cores / cores
    if whole_w < power_curve_w[0]:
        return 0.0
    return cores * utilisation_at_ratio(power_curve_w, len(power_curve_w), whole_w)


def split_cap_w(power_curve_w: Sequence[float], server_cores: float, containers: Sequence[Demander], limit_w: float) -> list[float]:
    """Caps of an app's containers that together keep within ``limit_w``, in proportion to their cores. [W]

    A container that its own cap keeps below its part leaves the rest to the others. Where the limit lies below what all of them draw
    idle, the last ones are suspended (cap 0) until the others fit: energy for idling buys no work.
    """
    caps = [min(one.cap_w, container_power_w(power_curve_w, server_cores, one.cores, one.cores)) for one in containers]
    if math.fsum(caps) <= limit_w:
        return [one.cap_w for one in containers]
    floors = [container_power_w(power_curve_w, server_cores, one.cores, 0.0) for one in containers]
    running = [k for k, cap in enumerate(caps) if cap >= floors[k] and containers[k].cores > 0.0]
    while running and math.fsum(floors[k] for k in running) > limit_w:
        running.pop()
    result = [0.0] * len(containers)
    left_w, open_ = limit_w, list(running)
    while open_:
        cores = math.fsum(containers[k].cores for k in open_)
        full = [k for k in open_ if caps[k] <= left_w * containers[k].cores / cores]
        if not full:
            for k in open_:
                result[k] = left_w * containers[k].cores / cores
            break
        for k in full:
            result[k] = caps[k]
        left_w -= math.fsum(caps[k] for k in full)
        open_ = [k for k in open_ if k not in set(full)]
    return result

"""A group of containers under one load: what it draws, and how many cores' worth of work a granted power does.

Every container is ``cores / server_cores`` of a server, idle power included. Containers that are suspended have 0 cores here.
`batch` and `demand` say what load there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ecovisor.physics.server_power import power_at_w, utilisation_at_ratio


def group_power_w(
    power_curve_w: Sequence[float], points: float, server_cores: float, cores: float, utilisation_ratio: float, cap_w: float
) -> float:
    """Power of ``cores`` at one utilisation under one cap: of a container, or of a group that is capped as a whole. [W]"""
    power_w = cores / server_cores * power_at_w(power_curve_w, points, utilisation_ratio)
    return power_w if power_w < cap_w else cap_w


def effective_cores(power_curve_w: Sequence[float], points: float, server_cores: float, cores: float, power_w: float) -> float:
    """Cores' worth of full-speed work that ``cores`` do at ``power_w``: none at or below their idle power. [cores]"""
    if cores <= 0.0:
        return 0.0
    return cores * utilisation_at_ratio(power_curve_w, points, power_w * server_cores / cores)


def capped_power_w(
    power_curve_w: Sequence[float],
    points: float,
    server_cores: float,
    containers: Sequence[Any],
    first: int,
    count: int,
    scale: float,
    utilisation_ratio: float,
) -> float:
    """Power of containers ``first`` to ``first + count`` with a cap each, their cores scaled by ``scale``. [W]"""
    total_w = 0.0
    for c in range(first, first + count):
        total_w += group_power_w(
            power_curve_w, points, server_cores, containers[c].cores * scale, utilisation_ratio, containers[c].cap_w
        )
    return total_w


def capped_effective_cores(
    power_curve_w: Sequence[float],
    points: float,
    server_cores: float,
    containers: Sequence[Any],
    first: int,
    count: int,
    scale: float,
    utilisation_ratio: float,
    served_ratio: float,
) -> float:
    """Cores' worth of work of containers with a cap each, when each gets ``served_ratio`` of what it asks for at a utilisation. [cores]"""
    total = 0.0
    for c in range(first, first + count):
        cores = containers[c].cores * scale
        wanted_w = group_power_w(power_curve_w, points, server_cores, cores, utilisation_ratio, containers[c].cap_w)
        total += effective_cores(power_curve_w, points, server_cores, cores, wanted_w * served_ratio)
    return total

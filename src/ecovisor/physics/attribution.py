"""Node power to containers: idle power by rule, the rest by use, never more than the node's reading.

What no container owns is `_site`'s. `settlement` works per app; this module splits a node's meter among containers before it, and an
app's served demand among its containers after it (in proportion to power).
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def idle_by_cores_w(node_idle_w: float, cores: Sequence[float], node_cores: float) -> list[float]:
    """Idle power by allocated cores over *all* cores of the node; what is not allocated stays `_site`'s. [W]"""
    return [node_idle_w * part / node_cores for part in cores]


def idle_equal_w(node_idle_w: float, count: int) -> list[float]:
    """Idle power split equally among the node's containers. [W]"""
    return [node_idle_w / count] * count


def idle_by_use_w(node_idle_w: float, dynamic_w: Sequence[float]) -> list[float]:
    """Idle power in proportion to dynamic power; where nobody uses the node all of it stays `_site`'s. [W]"""
    total_w = math.fsum(dynamic_w)
    if total_w <= 0.0:
        return [0.0] * len(dynamic_w)
    return [node_idle_w * part / total_w for part in dynamic_w]


def attributed_w(container_w: Sequence[float], node_w: float) -> tuple[list[float], float]:
    """Containers' modelled powers held against the node's reading.

    Returns:
        The containers' powers, scaled down in proportion if together they exceed ``node_w`` [W], and the positive remainder, which is
        `_site`'s [W]. They sum to ``node_w``.
    """
    total_w = math.fsum(container_w)
    if total_w > node_w:
        return [part * (node_w / total_w) for part in container_w], 0.0
    return list(container_w), node_w - total_w


def split_w(served_w: float, container_w: Sequence[float]) -> list[float]:
    """An app's served demand split among its containers in proportion to their power. [W]"""
    total_w = math.fsum(container_w)
    if total_w <= 0.0:
        return [0.0] * len(container_w)
    return [served_w * (part / total_w) for part in container_w]

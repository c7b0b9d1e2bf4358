"""Values between Python and the wire: what may be sent, and what null means where it comes back. Pure.

JSON has no NaN and no infinity, so both are caught or turned into null here; nothing else in the client sends a number.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence

import msgspec

from ecovisor import wire
from ecovisor.model.errors import Infeasible, SettingRefused, Unavailable
from ecovisor.model.series import Quality

INFINITY = float("inf")
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_UNITS = {"w": "W", "wh": "Wh", "g": "g", "kwh": "g/kWh"}


# -- what may be sent


def finite(function: str, value: float, unit: str, kind: str) -> float:
    """A finite amount of at least 0. Raises `SettingRefused`."""
    if not 0.0 <= value < INFINITY:
        raise SettingRefused(f"{function}: {value!r} {unit}; give a finite {kind} of at least 0")
    return float(value)


def power_w(function: str, value_w: float) -> float | None:
    """A power of at least 0, None for infinite. [W] Raises `SettingRefused`."""
    if not value_w >= 0.0:
        raise SettingRefused(f"{function}: {value_w!r} W; give a power of at least 0")
    return float(value_w) if value_w < INFINITY else None


def some_cores(function: str, cores: float) -> float:
    """A finite number of cores above 0. Raises `SettingRefused`."""
    if not 0.0 < cores < INFINITY:
        raise SettingRefused(f"{function}: {cores!r} cores; give a finite number above 0")
    return float(cores)


def container(container_id: str) -> str:
    """What can be the id of a container. Raises `SettingRefused`."""
    if not _ID.fullmatch(container_id):
        raise SettingRefused(f"container {container_id!r} does not exist; ids are letters, digits, '_', '.' and '-'")
    return container_id


# -- what comes back


def unlimited(value: float | None) -> float:
    """Null is infinite."""
    return INFINITY if value is None else value


def known(value: float | None) -> float:
    """Null is NaN."""
    return math.nan if value is None else value


def in_force(answer: wire.SettingAnswer, field: str) -> float:
    """What a setting came to; null is infinite. Raises `Unavailable` if the server does not say."""
    if field not in answer.in_force:
        raise Unavailable(f"the server does not say what {field} came to")
    return unlimited(answer.in_force[field])


def values(wired: Sequence[float | None]) -> array[float]:
    """Values of a series; null is NaN."""
    return array("d", [known(value) for value in wired])


def quality(wired: str) -> Quality:
    """The quality of a series; one that this version does not know counts as the least."""
    try:
        return Quality(wired)
    except ValueError:
        return Quality.STALE


def unit_of(metric: str) -> str:
    """The unit that a column's name ends with. Raises `Infeasible`."""
    suffix = metric.rsplit("_", 1)[-1]
    if suffix not in _UNITS:
        raise Infeasible(f"history: unknown metric {metric!r}")
    return _UNITS[suffix]


def complete(usage: wire.Usage) -> wire.Usage:
    """The usage, with NaN instead of its sums if a part of the interval was not metered."""
    if usage.coverage_ratio < 1.0:
        return msgspec.structs.replace(usage, load_wh=math.nan, carbon_g=math.nan)
    return usage

"""Shares of one physical system: each app's limits, what `_site` is left with, and what moves when shares or measurements change.

Pure arithmetic on plain values; `ecovisor.engine.site` applies it at tick boundaries. Paper, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecovisor.model.errors import Infeasible
from ecovisor.presets import AppShares, BatteryParameters

#: Shares may sum to this much over 1: what rounding of thirds leaves.
SHARE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class PhysicalLimits:
    """What is there to be shared."""

    usable_wh: float
    """Usable capacity, without the solar buffer's reserve. [Wh]"""
    charge_limit_w: float
    """The smaller of C-rate × nominal capacity and what the device reports. [W]"""
    discharge_limit_w: float
    """[W]"""
    grid_limit_w: float
    """Infinite where unlimited; then it is not multiplied. [W]"""


def physical_limits(
    battery: BatteryParameters | None,
    usable_wh: float,
    grid_limit_w: float,
    feasible_charge_w: float = float("inf"),
    feasible_discharge_w: float = float("inf"),
) -> PhysicalLimits:
    """Limits of the site, derated to the range that the device reports."""
    if battery is None:
        return PhysicalLimits(0.0, 0.0, 0.0, grid_limit_w)
    return PhysicalLimits(
        usable_wh,
        min(battery.charge_c_rate * battery.capacity_wh, feasible_charge_w),
        min(battery.discharge_c_rate * battery.capacity_wh, feasible_discharge_w),
        grid_limit_w,
    )


def app_limits(shares: AppShares, limits: PhysicalLimits) -> dict[str, float]:
    """Columns of an app with these shares."""
    unlimited = limits.grid_limit_w == float("inf")
    grid_limit_w = limits.grid_limit_w if unlimited else limits.grid_limit_w * shares.grid
    return {
        "solar_share_ratio": shares.solar,
        "capacity_wh": limits.usable_wh * shares.battery_energy,
        "charge_limit_w": limits.charge_limit_w * shares.battery_power,
        "discharge_limit_w": limits.discharge_limit_w * shares.battery_power,
        "grid_limit_w": grid_limit_w,
        "grid_share_limit_w": grid_limit_w,
    }


def remaining_shares(shares: Iterable[tuple[AppShares, int]]) -> AppShares:
    """What (shares, copies) leave for `_site`.

    Raises:
        Infeasible: the shares of a resource sum to more than 1.
    """
    left = {"grid": 1.0, "solar": 1.0, "battery_energy": 1.0, "battery_power": 1.0}
    for share, copies in shares:
        for resource in left:
            left[resource] -= getattr(share, resource) * copies
    for resource, rest in left.items():
        if rest < -SHARE_TOLERANCE:
            raise Infeasible(f"shares of {resource.replace('_', ' ')} sum to {1.0 - rest:g}, more than 1; lower one of them")
    return AppShares(**{resource: rest if rest > SHARE_TOLERANCE else 0.0 for resource, rest in left.items()})


def adjustments_wh(levels_wh: Sequence[float], rooms_wh: Sequence[float], difference_wh: float) -> list[float]:
    """How a measured difference of the physical level is booked.

    Args:
        levels_wh: levels of all apps, `_site`'s last. [Wh]
        rooms_wh: room left in each battery, in the same order. [Wh]
        difference_wh: measured less booked. [Wh]

    Returns:
        What is added to each level [Wh]: a shortfall comes from `_site` first, then from all others in proportion to their levels; a
        surplus goes to `_site`'s room first, then to all others' in proportion. What exceeds all of it stays unbooked.
    """
    sign, available = (1.0, rooms_wh) if difference_wh >= 0.0 else (-1.0, levels_wh)
    amount_wh = abs(difference_wh)
    own_wh = min(amount_wh, available[-1])
    changes = [0.0] * (len(levels_wh) - 1) + [sign * own_wh]
    amount_wh -= own_wh
    others_wh = math.fsum(available[:-1])
    if amount_wh > 0.0 and others_wh > 0.0:
        part = min(1.0, amount_wh / others_wh)
        for i, wh in enumerate(available[:-1]):
            changes[i] = sign * wh * part
    return changes

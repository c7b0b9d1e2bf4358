"""What each app may draw in the coming tick, and what its battery is expected to do: read from the engine's columns, nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass

from ecovisor.engine.site import Site
from ecovisor.library.grants import supply_w
from ecovisor.physics.settlement import charge_rate_in_force_w, settle

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Efficiencies:
    """Of the physical battery. [1]"""

    charge: float
    discharge: float


def limit_w(site: Site, index: int, efficiencies: Efficiencies, hours_h: float) -> float:
    """The largest power that an app's containers may draw together: its caps, its budget, and what can serve it. [W]"""
    solar_w = site.get(index, "buffer_wh") / hours_h
    supply = supply_w(
        solar_w,
        site.get(index, "battery_level_wh"),
        site.get(index, "max_discharge_w"),
        site.get(index, "discharge_limit_w"),
        efficiencies.discharge,
        hours_h,
        site.get(index, "grid_limit_w"),
        site.get(index, "charge_rate_w"),
    )
    return min(supply, site.get(index, "app_cap_w"), site.get(index, "ceiling_w"))


def expected_battery_w(site: Site, efficiencies: Efficiencies, loss_ratio: float, hours_h: float) -> tuple[float, float]:
    """What all batteries would be charged and discharged with if every app drew in the coming tick what it drew in the last. [W]"""
    charge_w = discharge_w = 0.0
    columns = {
        name: site.everyone(name)
        for name in (
            "demand_w",
            "unserved_w",
            "buffer_wh",
            "battery_level_wh",
            "capacity_wh",
            "charge_rate_w",
            "max_discharge_w",
            "charge_limit_w",
            "discharge_limit_w",
            "grid_limit_w",
            "app_cap_w",
            "ceiling_w",
        )
    }
    for demand, unserved, buffer, level, capacity, rate, most, charge, discharge, grid, cap, ceiling in zip(
        *columns.values(), strict=True
    ):
        if capacity <= 0.0:
            continue
        flows = settle(
            min(demand - unserved, cap, ceiling),
            buffer / hours_h,
            level,
            capacity,
            charge_rate_in_force_w(rate, level, capacity),
            most,
            charge,
            discharge,
            grid,
            efficiencies.charge,
            efficiencies.discharge,
            loss_ratio,
            hours_h,
        )
        charge_w += flows[1] + flows[4]
        discharge_w += flows[2]
    return charge_w, discharge_w

"""One app, one tick: which source serves the demand, what charges the battery, what is left over.

The order is the Ecovisor paper's (section 3.1): virtual solar first; its excess charges the battery, supplemented by the grid up to the
charge rate that the app set; a deficit is met by the battery up to the discharge rate it allows, and finally by the grid. `sharing` takes
over with what the app could not use.
"""

from __future__ import annotations

from ecovisor.physics.battery import charge_room_w, discharge_room_w, snapped_level_wh


def charge_rate_in_force_w(charge_rate_w: float, level_wh: float, capacity_wh: float) -> float:
    """The charge rate that governs the tick [W]: the setting is "until full", so on a full battery it is 0 at once."""
    return charge_rate_w if level_wh < capacity_wh else 0.0


def settle(
    demand_w: float,
    solar_w: float,
    level_wh: float,
    capacity_wh: float,
    charge_rate_w: float,
    max_discharge_w: float,
    charge_limit_w: float,
    discharge_limit_w: float,
    grid_limit_w: float,
    charge_efficiency: float,
    discharge_efficiency: float,
    loss_ratio: float,
    hours_h: float,
) -> tuple[float, float, float, float, float, float, float, float, float, float]:
    """Settle one app over one tick (steps 1 to 5 of the design). Pure; all powers are means over the tick at the battery's terminals.

    Args:
        demand_w: power asked for. [W]
        solar_w: the app's solar power in this tick. [W]
        level_wh: battery level before the tick, above the empty line. [Wh]
        capacity_wh: usable capacity of the app's battery. [Wh]
        charge_rate_w: setting in force (see `charge_rate_in_force_w`). [W]
        max_discharge_w: setting; may be infinite. [W]
        charge_limit_w, discharge_limit_w: the app's part of the physical limits. [W]
        grid_limit_w: the app's part of the grid connection; may be infinite. [W]
        charge_efficiency, discharge_efficiency: ηc and ηd. [1]
        loss_ratio: part of the level lost in the tick, see `battery.self_discharge_ratio`. [1]
        hours_h: length of the tick. [h]

    Returns:
        ``solar_to_load_w, solar_to_battery_w, battery_discharge_w, grid_to_load_w, grid_to_battery_w, unserved_w, excess_w`` [W],
        ``self_discharge_wh, drawn_wh, level_after_wh`` [Wh]; ``drawn_wh`` is what the discharge took from the store.
    """
    self_discharge_wh = level_wh * loss_ratio
    start_wh = level_wh - self_discharge_wh

    solar_to_load_w = solar_w if solar_w < demand_w else demand_w
    excess_w = solar_w - solar_to_load_w
    deficit_w = demand_w - solar_to_load_w

    charge_cap_w = charge_room_w(start_wh, capacity_wh, charge_efficiency, hours_h)
    if charge_limit_w < charge_cap_w:
        charge_cap_w = charge_limit_w
    solar_to_battery_w = excess_w if excess_w < charge_cap_w else charge_cap_w
    excess_w -= solar_to_battery_w

    # The grid serves the load before the battery.
    wanted_w = charge_rate_w if charge_rate_w < charge_cap_w else charge_cap_w
    wanted_w -= solar_to_battery_w
    spare_w = grid_limit_w - deficit_w
    grid_to_battery_w = wanted_w if wanted_w < spare_w else spare_w
    battery_discharge_w = 0.0
    if grid_to_battery_w <= 0.0:
        grid_to_battery_w = 0.0
        battery_discharge_w = discharge_room_w(start_wh, discharge_efficiency, hours_h)
        if deficit_w < battery_discharge_w:
            battery_discharge_w = deficit_w
        if max_discharge_w < battery_discharge_w:
            battery_discharge_w = max_discharge_w
        if discharge_limit_w < battery_discharge_w:
            battery_discharge_w = discharge_limit_w
        deficit_w -= battery_discharge_w
    grid_to_load_w = deficit_w if deficit_w < grid_limit_w else grid_limit_w
    unserved_w = deficit_w - grid_to_load_w

    drawn_wh = battery_discharge_w * hours_h / discharge_efficiency
    level_after_wh = start_wh + charge_efficiency * (solar_to_battery_w + grid_to_battery_w) * hours_h - drawn_wh
    level_after_wh = snapped_level_wh(level_after_wh, level_wh, capacity_wh)
    return (
        solar_to_load_w,
        solar_to_battery_w,
        battery_discharge_w,
        grid_to_load_w,
        grid_to_battery_w,
        unserved_w,
        excess_w,
        self_discharge_wh,
        drawn_wh,
        level_after_wh,
    )

"""Settling a tile of apps, each as if it were alone: the equations of `physics` on whole columns.

Written as a few plain loops so that compiled code can take several apps at a time: one that computes, one that sums in order, and one for
each total. The loops work on a copy of the tile, whose columns then lie in one small piece of memory that nothing else overlaps; plain
Python works on the tile itself. `kernel` shares the excess among the tiles afterwards.
"""

from __future__ import annotations

from typing import Any

from ecovisor.engine.columns import SHARE
from ecovisor.physics.carbon import imported_carbon_g, released_carbon_g
from ecovisor.physics.settlement import charge_rate_in_force_w, settle
from ecovisor.physics.sharing import acceptance_w


def settle_tile(tile: Any, work: Any, count: int, site: Any, copying: bool) -> None:
    """Settle every app of a tile; excess solar counts as curtailed until the site dispatches it.

    Args:
        tile: the apps.
        work: the tile to work in; the same one where ``copying`` is false.
        count: apps in the tile.
        site: the site's record; its sums grow.
        copying: flows go back only where somebody will read them: a recorder, a policy (``site.keep``), or whoever looks after the
            last tick. For a million apps, memory is what a tick waits for.
    """
    if copying:
        load_state(tile, work, count)
    settle_apps(work, count, site)
    if site.buffer_wh > 0.0 and (site.first_excess_policy == SHARE or site.second_excess_policy == SHARE):  # noqa: PLR1714
        accept(work, count, site)
        if copying:
            copy_column(work.acceptance_w, tile.acceptance_w, count)
    if copying:
        store_state(work, tile, count)
        if site.keep > 0.0 or site.tick + 1.0 >= site.last_tick:
            store_flows(work, tile, count)
    add_up(tile, work, count, site)


def load_state(tile: Any, work: Any, count: int) -> None:
    """Copy what the settlement needs."""
    copy_column(tile.demand_w, work.demand_w, count)
    copy_column(tile.buffer_wh, work.buffer_wh, count)
    copy_column(tile.battery_level_wh, work.battery_level_wh, count)
    copy_column(tile.capacity_wh, work.capacity_wh, count)
    copy_column(tile.charge_rate_w, work.charge_rate_w, count)
    copy_column(tile.max_discharge_w, work.max_discharge_w, count)
    copy_column(tile.charge_limit_w, work.charge_limit_w, count)
    copy_column(tile.discharge_limit_w, work.discharge_limit_w, count)
    copy_column(tile.grid_limit_w, work.grid_limit_w, count)
    copy_column(tile.stored_carbon_g, work.stored_carbon_g, count)
    copy_column(tile.solar_share_ratio, work.solar_share_ratio, count)
    copy_column(tile.metered, work.metered, count)


def store_state(work: Any, tile: Any, count: int) -> None:
    """Copy back what the next tick and the excess need."""
    copy_column(work.unserved_w, tile.unserved_w, count)
    copy_column(work.curtailed_w, tile.curtailed_w, count)
    copy_column(work.battery_level_wh, tile.battery_level_wh, count)
    copy_column(work.stored_carbon_g, tile.stored_carbon_g, count)
    copy_column(work.charge_rate_w, tile.charge_rate_w, count)
    copy_column(work.buffer_wh, tile.buffer_wh, count)


def store_flows(work: Any, tile: Any, count: int) -> None:
    """Copy back what a reader of this tick's flows needs."""
    copy_column(work.solar_w, tile.solar_w, count)
    copy_column(work.solar_to_load_w, tile.solar_to_load_w, count)
    copy_column(work.solar_to_battery_w, tile.solar_to_battery_w, count)
    copy_column(work.battery_discharge_w, tile.battery_discharge_w, count)
    copy_column(work.grid_to_load_w, tile.grid_to_load_w, count)
    copy_column(work.grid_to_battery_w, tile.grid_to_battery_w, count)
    copy_column(work.overdraw_w, tile.overdraw_w, count)
    copy_column(work.exported_w, tile.exported_w, count)
    copy_column(work.shared_w, tile.shared_w, count)
    copy_column(work.received_w, tile.received_w, count)
    copy_column(work.self_discharge_wh, tile.self_discharge_wh, count)
    copy_column(work.carbon_g, tile.carbon_g, count)
    copy_column(work.carbon_on_use_g, tile.carbon_on_use_g, count)
    copy_column(work.charge_rate_in_force_w, tile.charge_rate_in_force_w, count)


def copy_column(source: Any, target: Any, count: int) -> None:
    """Copy a column."""
    for i in range(count):
        target[i] = source[i]


def settle_apps(work: Any, count: int, site: Any) -> None:
    """Steps 1 to 5 and 7 of the design for every app of a tile."""
    hours_h = site.hours_h
    charge_efficiency = site.charge_efficiency
    discharge_efficiency = site.discharge_efficiency
    loss_ratio = site.loss_ratio
    intensity = site.intensity_g_per_kwh
    known_intensity = intensity if intensity == intensity else 0.0
    collected_wh = site.solar_collected_w * hours_h
    for i in range(count):
        level_wh = work.battery_level_wh[i]
        capacity_wh = work.capacity_wh[i]
        stored_g = work.stored_carbon_g[i]
        solar_w = work.buffer_wh[i] / hours_h
        rate_w = charge_rate_in_force_w(work.charge_rate_w[i], level_wh, capacity_wh)
        (
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
        ) = settle(
            work.demand_w[i],
            solar_w,
            level_wh,
            capacity_wh,
            rate_w,
            work.max_discharge_w[i],
            work.charge_limit_w[i],
            work.discharge_limit_w[i],
            work.grid_limit_w[i],
            charge_efficiency,
            discharge_efficiency,
            loss_ratio,
            hours_h,
        )
        overdraw_w = unserved_w * work.metered[i]
        grid_to_load_w += overdraw_w
        unserved_w -= overdraw_w
        released_g = released_carbon_g(stored_g, drawn_wh, level_wh - self_discharge_wh, level_after_wh)
        to_load_g = imported_carbon_g(grid_to_load_w, hours_h, known_intensity)
        to_battery_g = imported_carbon_g(grid_to_battery_w, hours_h, known_intensity)
        work.solar_w[i] = solar_w
        work.solar_to_load_w[i] = solar_to_load_w
        work.solar_to_battery_w[i] = solar_to_battery_w
        work.battery_discharge_w[i] = battery_discharge_w
        work.grid_to_load_w[i] = grid_to_load_w
        work.grid_to_battery_w[i] = grid_to_battery_w
        work.unserved_w[i] = unserved_w
        work.overdraw_w[i] = overdraw_w
        work.exported_w[i] = 0.0
        work.shared_w[i] = 0.0
        work.curtailed_w[i] = excess_w
        work.received_w[i] = 0.0
        work.self_discharge_wh[i] = self_discharge_wh
        work.battery_level_wh[i] = level_after_wh
        work.carbon_g[i] = imported_carbon_g(grid_to_load_w + grid_to_battery_w, hours_h, intensity)
        work.carbon_on_use_g[i] = released_g + to_load_g
        work.stored_carbon_g[i] = stored_g - released_g + to_battery_g
        work.charge_rate_in_force_w[i] = rate_w
        work.charge_rate_w[i] = charge_rate_in_force_w(rate_w, level_after_wh, capacity_wh)
        work.buffer_wh[i] = work.solar_share_ratio[i] * collected_wh
        work.start_level_wh[i] = level_wh - self_discharge_wh


def accept(work: Any, count: int, site: Any) -> None:
    """How much each battery would still take from others."""
    hours_h = site.hours_h
    charge_efficiency = site.charge_efficiency
    for i in range(count):
        work.acceptance_w[i] = acceptance_w(
            work.start_level_wh[i],
            work.capacity_wh[i],
            work.solar_to_battery_w[i] + work.grid_to_battery_w[i],
            work.battery_discharge_w[i],
            work.charge_limit_w[i],
            charge_efficiency,
            hours_h,
        )
    accepted_w = 0.0
    for i in range(count):
        accepted_w += work.acceptance_w[i]
    site.sum_acceptance_w += accepted_w


def add_up(tile: Any, work: Any, count: int, site: Any) -> None:
    """The tile's part of the site's sums, in the order of the apps; and each app's totals, where there is something to add."""
    hours_h = site.hours_h
    solar_sum = demand_sum = unserved_sum = charge_sum = discharge_sum = 0.0
    grid_charge_sum = import_sum = excess_sum = level_sum = overdraw_sum = 0.0
    for i in range(count):
        grid_to_battery_w = work.grid_to_battery_w[i]
        solar_sum += work.solar_w[i]
        demand_sum += work.demand_w[i]
        unserved_sum += work.unserved_w[i]
        charge_sum += work.solar_to_battery_w[i] + grid_to_battery_w
        discharge_sum += work.battery_discharge_w[i]
        grid_charge_sum += grid_to_battery_w
        import_sum += work.grid_to_load_w[i] + grid_to_battery_w
        excess_sum += work.curtailed_w[i]
        level_sum += work.battery_level_wh[i]
        overdraw_sum += work.overdraw_w[i]
    site.sum_solar_w += solar_sum
    site.sum_demand_w += demand_sum
    site.sum_unserved_w += unserved_sum
    site.sum_charge_w += charge_sum
    site.sum_discharge_w += discharge_sum
    site.sum_import_w += import_sum
    site.sum_excess_w += excess_sum
    site.sum_level_wh += level_sum

    if solar_sum > 0.0:
        add_energy(tile.solar_to_load_total_wh, work.solar_to_load_w, count, hours_h)
        if charge_sum > 0.0:
            add_energy(tile.solar_to_battery_total_wh, work.solar_to_battery_w, count, hours_h)
    if discharge_sum > 0.0:
        add_energy(tile.battery_discharge_total_wh, work.battery_discharge_w, count, hours_h)
    if grid_charge_sum > 0.0:
        add_energy(tile.grid_to_battery_total_wh, work.grid_to_battery_w, count, hours_h)
    if unserved_sum > 0.0:
        add_energy(tile.unserved_total_wh, work.unserved_w, count, hours_h)
    if overdraw_sum > 0.0:
        add_energy(tile.overdraw_total_wh, work.overdraw_w, count, hours_h)
    if site.loss_ratio > 0.0:
        add_column(tile.self_discharge_total_wh, work.self_discharge_wh, count)
    if import_sum > 0.0:
        add_energy(tile.grid_to_load_total_wh, work.grid_to_load_w, count, hours_h)
        if site.intensity_g_per_kwh == site.intensity_g_per_kwh:
            add_column(tile.carbon_total_g, work.carbon_g, count)
        else:
            add_energy(tile.unknown_carbon_total_wh, work.grid_to_load_w, count, hours_h)
            add_energy(tile.unknown_carbon_total_wh, work.grid_to_battery_w, count, hours_h)
        if site.price_per_kwh != 0.0:
            add_energy(tile.cost_total, work.grid_to_load_w, count, hours_h * site.price_per_kwh / 1000.0)
            add_energy(tile.cost_total, work.grid_to_battery_w, count, hours_h * site.price_per_kwh / 1000.0)
    if import_sum > 0.0 or discharge_sum > 0.0 or site.loss_ratio > 0.0:
        add_column(tile.carbon_on_use_total_g, work.carbon_on_use_g, count)


def add_energy(total: Any, power_w: Any, count: int, factor: float) -> None:
    """``total += power·factor``, app by app."""
    for i in range(count):
        total[i] += power_w[i] * factor


def add_column(total: Any, added: Any, count: int) -> None:
    """``total += added``, app by app."""
    for i in range(count):
        total[i] += added[i]

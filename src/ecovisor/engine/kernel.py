"""The tick loop over all apps: wake policies, ask workloads, settle every app, share the excess, sum to the physical site, record.

Plain Python that is compiled as it stands by `physics.compiled` for large runs; both give the same bits. Sums are formed per tile and then
over tiles, in one order. `demand` holds policies and workloads, `physics` the equations, `site` the objects around the loop.
"""

from __future__ import annotations

from typing import Any

from ecovisor.engine.columns import (
    EXPORT,
    INTENSITY,
    PRICE,
    RECORDED_COUNT,
    SHARE,
    SITE_RECORDED_COUNT,
    SOLAR,
)
from ecovisor.engine.demand import container_cap_w, container_weight, decide_tile, progress_tile, request_tile
from ecovisor.engine.settling import settle_tile
from ecovisor.physics.battery import snapped_level_wh
from ecovisor.physics.settlement import charge_rate_in_force_w
from ecovisor.physics.sharing import metered_flows, netting, part_ratio

#: Why the loop calls back into Python.
WAKE, FULL_BLOCK = 0, 1


def call_back(callback: Any, reason: int) -> int:
    """Call Python from the loop; not 0 means stop. Compiled code has its own way of doing this."""
    return int(callback(reason))


def advance(site_state: Any, tiles: Any, columns: Any, signals: Any, containers: Any, block: Any, callback: Any) -> int:
    """Run ticks until ``last_tick`` or until a callback says stop; return the callback's code, 0 at the end.

    Args:
        site_state: sequence with the site's record alone (see `columns.SITE`).
        tiles: tiles of apps, then `_site` alone in one, then one to work in (see `settling`).
        columns: the same memory as ``columns[tile][column][app]``.
        signals: ``signals[signal][tick]``: `SOLAR`, `INTENSITY`, `PRICE`, then the traces of workloads.
        containers: records with the ``cores`` (0: suspended) and ``cap_w`` of every container.
        block: the recorder's flat memory, see `record`.
        callback: called with `WAKE` before ticks that policies asked for, with `FULL_BLOCK` when the recorder's rows are used up.
    """
    site = site_state[0]
    while site.tick < site.last_tick:
        if site.row >= site.rows:
            code = call_back(callback, FULL_BLOCK)
            if code != 0:
                return code
        if site.woken_tick < site.tick and (site.wake > 0.0 or site.tick >= site.next_wake_tick):
            begin_tick(site, signals)
            site.woken_tick = site.tick
            code = call_back(callback, WAKE)
            if code != 0:
                return code
        run_tick(site, tiles, columns, signals, containers, block)
        site.tick += 1.0
    return 0


def begin_tick(site: Any, signals: Any) -> None:
    """Make the signals of the coming tick known."""
    tick = int(site.tick - site.signals_tick)
    site.intensity_g_per_kwh = signals[INTENSITY][tick]
    site.price_per_kwh = signals[PRICE][tick]
    site.solar_collected_w = signals[SOLAR][tick]


def run_tick(site: Any, tiles: Any, columns: Any, signals: Any, containers: Any, block: Any) -> None:
    """One tick: decide, ask, settle and progress tile by tile; then what concerns the site as a whole."""
    begin_tick(site, signals)
    clear_sums(site)
    last = int(site.tile_count) - 1
    work = tiles[last + 1]
    copying = site.working_copy > 0.0
    for k in range(last + 1):
        tile = tiles[k]
        count = int(tile.count)
        if k == last:
            tile.asked_w[0] = own_demand_w(site)
        elif site.has_policies > 0.0:
            decide_tile(tile, count, site)
        request_tile(tile, count, site, signals, containers)
        settle_tile(tile, work if copying else tile, count, site, copying)
        progress_tile(tile, count, site, containers)
    if site.sum_excess_w > 0.0:
        dispatch_excess(site, tiles)
    close_site(site, tiles[last])
    if site.recording > 0.0:
        record(site, tiles, columns, containers, block)
    site.row += 1.0
    if site.clear_boundary > 0.0:
        end_boundary(site, tiles)


def clear_sums(site: Any) -> None:
    """Start the sums of a tick at 0."""
    site.sum_solar_w = 0.0
    site.sum_demand_w = 0.0
    site.sum_unserved_w = 0.0
    site.sum_charge_w = 0.0
    site.sum_discharge_w = 0.0
    site.sum_import_w = 0.0
    site.sum_excess_w = 0.0
    site.sum_acceptance_w = 0.0
    site.sum_received_w = 0.0
    site.sum_exported_w = 0.0
    site.sum_curtailed_w = 0.0
    site.sum_level_wh = 0.0
    site.sum_cores = 0.0


def own_demand_w(site: Any) -> float:
    """`_site`'s demand: the overhead, and the idle power of cores without an app, or what a meter read beyond all containers. [W]"""
    if site.metered_rest_w >= 0.0:
        return float(site.overhead_w + site.metered_rest_w)
    spare_cores = site.site_cores - site.sum_cores
    if spare_cores <= 0.0:
        return float(site.overhead_w)
    return float(site.overhead_w + spare_cores / site.server_cores * site.power_curve_w[0])


def dispatch_excess(site: Any, tiles: Any) -> None:
    """Share, export and curtail the excess in the site's order, pro rata and for all apps at once (step 6 of the design)."""
    share_first = site.first_excess_policy == SHARE
    sharing = share_first or site.second_excess_policy == SHARE
    exporting = site.first_excess_policy == EXPORT or site.second_excess_policy == EXPORT  # noqa: PLR1714
    excess_w = site.sum_excess_w
    export_limit_w = site.export_limit_w
    acceptance_sum_w = site.sum_acceptance_w
    share_ratio = export_ratio = receive_ratio = 0.0
    if share_first:
        share_ratio = part_ratio(acceptance_sum_w, excess_w)
        receive_ratio = part_ratio(excess_w, acceptance_sum_w)
        if exporting:
            export_ratio = part_ratio(export_limit_w, excess_w - excess_w * share_ratio)
    else:
        if exporting:
            export_ratio = part_ratio(export_limit_w, excess_w)
        if sharing:
            left_w = excess_w - excess_w * export_ratio
            share_ratio = part_ratio(acceptance_sum_w, left_w)
            receive_ratio = part_ratio(left_w, acceptance_sum_w)
    for k in range(int(site.tile_count)):
        dispatch_excess_tile(tiles[k], int(tiles[k].count), site, share_first, share_ratio, export_ratio, receive_ratio)


def dispatch_excess_tile(
    tile: Any, count: int, site: Any, share_first: bool, share_ratio: float, export_ratio: float, receive_ratio: float
) -> None:
    """Apply the site's ratios to the apps of a tile."""
    hours_h = site.hours_h
    received_sum = exported_sum = curtailed_sum = gained_sum = 0.0
    for i in range(count):
        excess_w = tile.curtailed_w[i]
        if excess_w > 0.0:
            if share_first:
                shared_w = excess_w * share_ratio
                exported_w = (excess_w - shared_w) * export_ratio
            else:
                exported_w = excess_w * export_ratio
                shared_w = (excess_w - exported_w) * share_ratio
            curtailed_w = excess_w - shared_w - exported_w
            if curtailed_w < 0.0:
                curtailed_w = 0.0
            tile.shared_w[i] = shared_w
            tile.exported_w[i] = exported_w
            tile.curtailed_w[i] = curtailed_w
            tile.shared_total_wh[i] += shared_w * hours_h
            tile.exported_total_wh[i] += exported_w * hours_h
            tile.curtailed_total_wh[i] += curtailed_w * hours_h
            exported_sum += exported_w
            curtailed_sum += curtailed_w
        if receive_ratio > 0.0 and tile.acceptance_w[i] > 0.0:
            received_w = tile.acceptance_w[i] * receive_ratio
            before_wh = tile.battery_level_wh[i]
            level_wh = snapped_level_wh(before_wh + site.charge_efficiency * received_w * hours_h, before_wh, tile.capacity_wh[i])
            tile.battery_level_wh[i] = level_wh
            tile.charge_rate_w[i] = charge_rate_in_force_w(tile.charge_rate_w[i], level_wh, tile.capacity_wh[i])
            tile.received_w[i] = received_w
            tile.received_total_wh[i] += received_w * hours_h
            received_sum += received_w
            gained_sum += level_wh - before_wh
    site.sum_received_w += received_sum
    site.sum_exported_w += exported_sum
    site.sum_curtailed_w += curtailed_sum
    site.sum_level_wh += gained_sum


def close_site(site: Any, own: Any) -> None:
    """From the virtual flows to the physical ones: netting, `_site`'s credit, set-points, meters, the physical battery, totals."""
    hours_h = site.hours_h
    room_wh = own.capacity_wh[0] - own.battery_level_wh[0]
    charge_w, discharge_w, relief_w, credit_wh, spilled_wh = netting(
        site.sum_charge_w + site.sum_received_w,
        site.sum_discharge_w,
        room_wh if room_wh > 0.0 else 0.0,
        site.charge_efficiency,
        site.discharge_efficiency,
        hours_h,
    )
    own.netting_credit_wh[0] = credit_wh
    if credit_wh > 0.0:
        before_wh = own.battery_level_wh[0]
        own.battery_level_wh[0] = snapped_level_wh(before_wh + credit_wh, before_wh, own.capacity_wh[0])
        own.charge_rate_w[0] = charge_rate_in_force_w(own.charge_rate_w[0], own.battery_level_wh[0], own.capacity_wh[0])
        site.sum_level_wh += own.battery_level_wh[0] - before_wh
    import_w, export_w, relief_curtailed_w = metered_flows(site.sum_import_w, site.sum_exported_w, relief_w)

    stored_before_wh = site.above_line_wh + site.below_line_wh
    above_wh = site.above_line_wh * (1.0 - site.loss_ratio)
    above_wh += site.charge_efficiency * charge_w * hours_h - discharge_w * hours_h / site.discharge_efficiency
    site.above_line_wh = above_wh
    site.below_line_wh *= 1.0 - site.loss_ratio
    site.buffer_wh = site.solar_collected_w * hours_h
    site.import_w = import_w
    site.export_w = export_w
    site.battery_charge_w = charge_w
    site.battery_discharge_w = discharge_w
    site.physical_level_wh = above_wh + site.buffer_wh
    site.curtailed_w = site.sum_curtailed_w + relief_curtailed_w
    site.netting_spilled_wh = spilled_wh
    site.netting_relief_w = relief_w
    site.node_power_w = site.sum_demand_w - site.sum_unserved_w
    residual_wh = abs(site.sum_level_wh - above_wh)
    if residual_wh > site.residual_wh:
        site.residual_wh = residual_wh

    site.solar_collected_total_wh += site.solar_collected_w * hours_h
    site.solar_used_total_wh += site.sum_solar_w * hours_h
    site.import_total_wh += import_w * hours_h
    site.export_total_wh += export_w * hours_h
    site.charge_total_wh += charge_w * hours_h
    site.discharge_total_wh += discharge_w * hours_h
    stored_wh = site.above_line_wh + site.below_line_wh - stored_before_wh
    site.loss_total_wh += charge_w * hours_h - discharge_w * hours_h - stored_wh
    site.curtailed_total_wh += site.curtailed_w * hours_h
    site.credit_total_wh += credit_wh
    site.spilled_total_wh += spilled_wh
    site.relief_total_wh += relief_w * hours_h
    site.load_total_wh += site.node_power_w * hours_h


def record(site: Any, tiles: Any, columns: Any, containers: Any, block: Any) -> None:
    """Copy the tick into the recorder's block: every app's flows, the site's, every container's power and cap.

    The block is flat: ``flows[column][row][app]``, then ``site[column][row]``, ``power_w[row][container]``, ``cap_w[row][container]``.
    """
    row = int(site.row)
    rows = int(site.rows)
    apps = int(site.app_count)
    slots = int(site.container_slots)
    site_start = RECORDED_COUNT * rows * apps
    power_start = site_start + SITE_RECORDED_COUNT * rows + row * slots
    cap_start = power_start + rows * slots
    first = 0
    for k in range(int(site.tile_count)):
        tile = tiles[k]
        count = int(tile.count)
        for c in range(RECORDED_COUNT):
            source = columns[k][c]
            start = (c * rows + row) * apps + first
            for i in range(count):
                block[start + i] = source[i]
        record_containers(tile, count, site, containers, block, power_start, cap_start)
        first += count
    record_site(site, block, site_start + row, rows)


def record_site(site: Any, block: Any, start: int, rows: int) -> None:
    """Store the site's row, in the order of `columns.SITE_RECORDED`."""
    block[start] = site.solar_collected_w
    block[start + rows] = site.buffer_wh
    block[start + 2 * rows] = site.import_w
    block[start + 3 * rows] = site.export_w
    block[start + 4 * rows] = site.battery_charge_w
    block[start + 5 * rows] = site.battery_discharge_w
    block[start + 6 * rows] = site.physical_level_wh
    block[start + 7 * rows] = site.below_line_wh
    block[start + 8 * rows] = site.charge_limit_w
    block[start + 9 * rows] = site.discharge_limit_w
    block[start + 10 * rows] = site.export_limit_w
    block[start + 11 * rows] = site.curtailed_w
    block[start + 12 * rows] = site.netting_spilled_wh
    block[start + 13 * rows] = site.netting_relief_w
    block[start + 14 * rows] = site.node_power_w
    block[start + 15 * rows] = site.intensity_g_per_kwh


def record_containers(tile: Any, count: int, site: Any, containers: Any, block: Any, power_start: int, cap_start: int) -> None:
    """Split each app's served demand among its containers in proportion to their power."""
    for i in range(count):
        served_w = tile.demand_w[i] - tile.unserved_w[i]
        first = int(tile.first_container[i])
        last = first + int(tile.container_count[i])
        total = 0.0
        for c in range(first, last):
            weight = container_weight(tile, i, c, site, containers)
            block[power_start + c] = weight
            total += weight
        scale = served_w / total if total > 0.0 else 0.0
        for c in range(first, last):
            block[power_start + c] *= scale
            block[cap_start + c] = container_cap_w(tile, i, c, containers)


def end_boundary(site: Any, tiles: Any) -> None:
    """Transfers and adjustments belong to one tick."""
    for k in range(int(site.tile_count)):
        tile = tiles[k]
        for i in range(int(tile.count)):
            tile.transfer_in_wh[i] = 0.0
            tile.transfer_out_wh[i] = 0.0
            tile.battery_adjust_wh[i] = 0.0
    site.clear_boundary = 0.0

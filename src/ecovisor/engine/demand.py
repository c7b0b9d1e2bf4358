"""What built-in policies set and what built-in workloads ask for and achieve, app by app in a tile.

The scalar models are in `policies` and `workloads`; this module fetches their arguments from a tile's columns and stores what they return.
`kernel` calls it before and after the settlement of each tile.
"""

from __future__ import annotations

from typing import Any

from ecovisor.engine.columns import (
    BATCH,
    BATTERY_ARBITRAGE,
    CONSTANT,
    METERED,
    NO_POLICY,
    PER_CONTAINER,
    STATIC_CARBON_RATE,
    SUSPEND_RESUME,
    TRACE_RATIO,
    TRACE_W,
    WAIT_AND_SCALE,
)
from ecovisor.library.budgets import rate_ceiling_w
from ecovisor.policies.battery_arbitrage import battery_settings_w
from ecovisor.policies.static_carbon_rate import cap_scale
from ecovisor.policies.suspend_resume import run_scale as suspend_resume_scale
from ecovisor.policies.wait_and_scale import run_scale as wait_and_scale_scale
from ecovisor.workloads.batch import (
    COMPLETION_RATIO,
    busy_ratio,
    checkpointing_ratio,
    load_ratio,
    progress_core_h,
    table_speed_cores,
    usl_speed_cores,
)
from ecovisor.workloads.containers import capped_effective_cores, capped_power_w, effective_cores, group_power_w


def decide_tile(tile: Any, count: int, site: Any) -> None:
    """Let the built-in policies of a tile set what governs the coming tick."""
    intensity = site.intensity_g_per_kwh
    for i in range(count):
        kind = tile.policy_kind[i]
        if kind == NO_POLICY:
            continue
        if kind == SUSPEND_RESUME:
            tile.scale_ratio[i] = suspend_resume_scale(intensity, tile.threshold_g_per_kwh[i])
        elif kind == WAIT_AND_SCALE:
            tile.scale_ratio[i] = wait_and_scale_scale(intensity, tile.threshold_g_per_kwh[i], tile.policy_value[i])
        elif kind == BATTERY_ARBITRAGE:
            charge_w, discharge_w = battery_settings_w(
                intensity, tile.threshold_g_per_kwh[i], tile.upper_threshold_g_per_kwh[i], tile.policy_value[i]
            )
            tile.charge_rate_w[i] = charge_w
            tile.max_discharge_w[i] = discharge_w
        elif kind == STATIC_CARBON_RATE:
            cap_w = rate_ceiling_w(tile.policy_value[i], intensity, tile.buffer_wh[i] / site.hours_h)
            tile.app_cap_w[i] = cap_w
            tile.scale_ratio[i] = cap_scale(cap_w, tile.cores[i] / site.server_cores * site.power_curve_w[0])


def request_tile(tile: Any, count: int, site: Any, signals: Any, containers: Any) -> None:
    """Demand of every app of a tile for the coming tick; adds the cores that run to the site's sum."""
    now_s = site.start_s + site.tick * site.tick_s
    tick = int(site.tick - site.signals_tick)
    cores_sum = 0.0
    for i in range(count):
        kind = tile.workload_kind[i]
        cores = tile.cores[i] * tile.scale_ratio[i]
        if kind == METERED:
            tile.demand_w[i] = tile.asked_w[i]
            cores_sum += tile.cores[i]
            continue
        if cores <= 0.0 or now_s < tile.start_s[i] or now_s >= tile.end_s[i]:
            tile.demand_w[i] = 0.0
            tile.busy_ratio[i] = 0.0
            if tile.running[i] > 0.0:
                tile.running[i] = 0.0
                tile.work_saved[i] = tile.work_done[i]  # suspended in order: what was done is kept
                tile.checkpoint_age_s[i] = 0.0
            continue
        cores_sum += cores
        if kind == BATCH:
            request_batch(tile, i, cores, site, containers)
            continue
        asked_w = tile.asked_w[i]  # a plug-in has been told the cores as scaled
        if kind == CONSTANT:
            asked_w *= tile.scale_ratio[i]
        elif kind == TRACE_W:
            asked_w = signals[int(tile.trace[i])][tick] * tile.scale_ratio[i]
        elif kind == TRACE_RATIO:
            utilisation = signals[int(tile.trace[i])][tick]
            asked_w = group_power_w(
                site.power_curve_w, site.power_curve_points, site.server_cores, cores, utilisation, float("inf")
            )
        if tile.container_caps[i] > 0.0 and kind != PER_CONTAINER:  # which has asked for no more than its containers' caps
            tile.wanted_w[i] = asked_w
            asked_w = _under_container_caps_w(tile, i, asked_w, containers)
        cap_w = group_cap_w(tile, i)
        tile.demand_w[i] = asked_w if asked_w < cap_w else cap_w
    site.sum_cores += cores_sum


def _under_container_caps_w(tile: Any, i: int, asked_w: float, containers: Any) -> float:
    """Demand in watts spread over the containers by cores, each under its own cap. [W]"""
    first = int(tile.first_container[i])
    total_w = 0.0
    for c in range(first, first + int(tile.container_count[i])):
        part_w = asked_w * (containers[c].cores / tile.cores[i])
        total_w += part_w if part_w < containers[c].cap_w else containers[c].cap_w
    return total_w


def container_weight(tile: Any, i: int, c: int, site: Any, containers: Any) -> float:
    """What container ``c``'s part of its app's power is proportional to: its cores, or power where it has a cap or demand of its own."""
    if tile.workload_kind[i] == METERED or tile.workload_kind[i] == PER_CONTAINER:
        return float(containers[c].own_w)
    cores = containers[c].cores
    if tile.container_caps[i] <= 0.0 or tile.cores[i] <= 0.0:
        return float(cores)
    if tile.workload_kind[i] == BATCH:
        return group_power_w(
            site.power_curve_w,
            site.power_curve_points,
            site.server_cores,
            cores * tile.scale_ratio[i],
            tile.load_ratio[i],
            containers[c].cap_w,
        )
    part_w = tile.wanted_w[i] * (cores / tile.cores[i])
    return float(part_w if part_w < containers[c].cap_w else containers[c].cap_w)


def container_cap_w(tile: Any, i: int, c: int, containers: Any) -> float:
    """The cap in force on container ``c``: its own, or the one on the whole app if that is lower. [W]"""
    cap_w = group_cap_w(tile, i)
    return float(containers[c].cap_w if containers[c].cap_w < cap_w else cap_w)


def group_cap_w(tile: Any, i: int) -> float:
    """The cap in force on the whole app: its policy's, or its carbon budget's if that is lower. [W]"""
    return float(tile.app_cap_w[i] if tile.app_cap_w[i] < tile.ceiling_w[i] else tile.ceiling_w[i])


def request_batch(tile: Any, i: int, cores: float, site: Any, containers: Any) -> None:
    """Demand of a batch job: all its containers at full speed, for as much of the tick as its work needs."""
    work_left = tile.work_total[i] - tile.work_done[i]
    if tile.idle_when_starved[i] > 0.0:
        tile.load_ratio[i] = load_ratio(cores, full_speed_cores(tile, i, cores, site))
    if tile.container_caps[i] > 0.0:
        full_w = capped_power_w(
            site.power_curve_w,
            site.power_curve_points,
            site.server_cores,
            containers,
            int(tile.first_container[i]),
            int(tile.container_count[i]),
            tile.scale_ratio[i],
            tile.load_ratio[i],
        )
    else:
        full_w = group_power_w(
            site.power_curve_w, site.power_curve_points, site.server_cores, cores, tile.load_ratio[i], float("inf")
        )
    wanted_w = full_w
    cap_w = group_cap_w(tile, i)
    if cap_w < full_w:
        wanted_w = cap_w
        if wanted_w < cores / site.server_cores * site.power_curve_w[0]:  # not even idle: suspended
            tile.demand_w[i] = 0.0
            tile.busy_ratio[i] = 0.0
            if tile.running[i] > 0.0:
                tile.running[i] = 0.0
                tile.work_saved[i] = tile.work_done[i]
                tile.checkpoint_age_s[i] = 0.0
            return
    if tile.running[i] == 0.0:
        tile.restart_left_s[i] = tile.restart_duration_s[i]
    tile.running[i] = 1.0
    served_ratio = wanted_w / full_w if full_w > 0.0 else 0.0
    tile.wanted_w[i] = full_w
    speed_cores = batch_speed_cores(tile, i, cores, served_ratio, site, containers)
    busy = busy_ratio(work_left, speed_cores, tile.restart_left_s[i], site.tick_s)
    tile.speed_cores[i] = speed_cores
    tile.busy_ratio[i] = busy
    tile.demand_w[i] = wanted_w * busy


def batch_speed_cores(tile: Any, i: int, cores: float, served_ratio: float, site: Any, containers: Any) -> float:
    """Progress per hour of a batch job that gets ``served_ratio`` of its full power, checkpoints written. [core-h/h]"""
    if tile.container_caps[i] > 0.0:
        working = capped_effective_cores(
            site.power_curve_w,
            site.power_curve_points,
            site.server_cores,
            containers,
            int(tile.first_container[i]),
            int(tile.container_count[i]),
            tile.scale_ratio[i],
            tile.load_ratio[i],
            served_ratio,
        )
    elif served_ratio >= 1.0:
        working = cores
    else:
        working = effective_cores(
            site.power_curve_w, site.power_curve_points, site.server_cores, cores, tile.wanted_w[i] * served_ratio
        )
    if tile.load_ratio[i] < 1.0:  # what waits does not count as working
        speed = full_speed_cores(tile, i, cores, site)
        speed = working if working < speed else speed
    else:
        speed = full_speed_cores(tile, i, working, site)
    return speed * checkpointing_ratio(tile.checkpoint_interval_s[i], tile.checkpoint_duration_s[i])


def full_speed_cores(tile: Any, i: int, cores: float, site: Any) -> float:
    """Progress per hour of a batch job on ``cores`` that lack no power. [core-h/h]"""
    table = int(tile.speed_table[i])
    if table >= 0:
        return table_speed_cores(cores, site.table_cores[table], site.table_speed[table], int(site.table_points[table]))
    return usl_speed_cores(cores, tile.contention[i], tile.coherency[i])


def progress_tile(tile: Any, count: int, site: Any, containers: Any) -> None:
    """What the batch jobs of a tile achieved in the tick with the power granted to them."""
    for i in range(count):
        if tile.workload_kind[i] != BATCH or tile.busy_ratio[i] <= 0.0:
            continue
        speed_cores = tile.speed_cores[i]
        if tile.unserved_w[i] > 0.0:
            cores = tile.cores[i] * tile.scale_ratio[i]
            served_ratio = (tile.demand_w[i] - tile.unserved_w[i]) / (tile.wanted_w[i] * tile.busy_ratio[i])
            idle_w = cores / site.server_cores * site.power_curve_w[0]
            if tile.wanted_w[i] * served_ratio < idle_w:  # power lost: back to the last checkpoint, and start again
                tile.work_done[i] = tile.work_saved[i]
                tile.checkpoint_age_s[i] = 0.0
                tile.running[i] = 0.0
                continue
            speed_cores = batch_speed_cores(tile, i, cores, served_ratio, site, containers)
        busy_s = tile.busy_ratio[i] * site.tick_s
        done = progress_core_h(tile.work_total[i] - tile.work_done[i], speed_cores, tile.restart_left_s[i], busy_s)
        tile.work_done[i] += done
        left_s = tile.restart_left_s[i] - busy_s
        tile.restart_left_s[i] = left_s if left_s > 0.0 else 0.0
        age_s = tile.checkpoint_age_s[i] + busy_s
        if age_s >= tile.checkpoint_interval_s[i]:
            tile.work_saved[i] = tile.work_done[i]
            age_s = 0.0
        tile.checkpoint_age_s[i] = age_s
        if tile.work_done[i] >= tile.work_total[i] * (1.0 - COMPLETION_RATIO):
            tile.work_done[i] = tile.work_total[i]
            tile.completed_s[i] = site.start_s + site.tick * site.tick_s + busy_s
            tile.end_s[i] = tile.completed_s[i]
            tile.running[i] = 0.0

"""The state of all apps, column by column, in tiles of 128 apps: one definition for plain Python and for machine code.

In plain Python a tile is an object with a list per column, in compiled code a NumPy record with an array per column; ``tile.demand_w[i]``
reads the same in both. `kernel` computes on tiles, `ecovisor.engine.site` owns them.
"""

from __future__ import annotations

from typing import Any

#: Apps in a tile: a few dozen columns of them stay in the second-level cache.
TILE = 128

#: What the `flows` table holds of an app and tick, in the order of the recorder's block. These columns come first in a tile.
RECORDED = (
    "demand_w",
    "solar_w",
    "solar_to_load_w",
    "solar_to_battery_w",
    "battery_discharge_w",
    "grid_to_load_w",
    "grid_to_battery_w",
    "unserved_w",
    "overdraw_w",  # metered apps: drawn beyond the supply, within grid_to_load_w
    "exported_w",
    "shared_w",
    "curtailed_w",
    "received_w",
    "battery_level_wh",
    "capacity_wh",
    "charge_limit_w",
    "discharge_limit_w",
    "grid_limit_w",
    "self_discharge_wh",
    "transfer_in_wh",
    "transfer_out_wh",
    "netting_credit_wh",
    "battery_adjust_wh",
    "carbon_g",
    "carbon_on_use_g",
    "stored_carbon_g",
    "charge_rate_in_force_w",
    "max_discharge_w",
)

#: Sums over the run. Demand and solar are not among them: they follow from these by the balance of a row.
TOTALS = (
    "solar_to_load_total_wh",
    "solar_to_battery_total_wh",
    "battery_discharge_total_wh",
    "grid_to_load_total_wh",
    "grid_to_battery_total_wh",
    "unserved_total_wh",
    "overdraw_total_wh",
    "exported_total_wh",
    "shared_total_wh",
    "curtailed_total_wh",
    "received_total_wh",
    "self_discharge_total_wh",
    "carbon_total_g",
    "carbon_on_use_total_g",
    "unknown_carbon_total_wh",
    "cost_total",
)

#: Everything else: shares, settings, workload and policy.
STATE = (
    "charge_rate_w",  # setting, as asked
    "solar_share_ratio",
    "buffer_wh",  # solar collected in the tick before
    "start_level_wh",  # after self-discharge, while a tick is settled
    "acceptance_w",  # charge that the battery would still take from others
    # containers
    "first_container",
    "container_count",
    "cores",  # of all running containers, unscaled
    "scale_ratio",  # factor on the cores; 0 suspends
    "app_cap_w",  # cap on the group, by its policy
    "ceiling_w",  # cap on the group, by its carbon budget
    "grid_share_limit_w",  # the app's part of the connection; a carbon budget may lower the limit in force
    "container_caps",  # 1: containers have caps of their own
    # workload
    "workload_kind",
    "metered",  # 1: the demand was measured after it was served, so it is never unserved
    "start_s",
    "end_s",
    "asked_w",  # constant or external demand
    "trace",
    "work_total",
    "work_done",
    "work_saved",
    "contention",
    "coherency",
    "speed_table",  # -1: universal scalability law
    "idle_when_starved",  # 1: cores that wait idle
    "load_ratio",  # utilisation of its cores at full speed
    "checkpoint_interval_s",
    "checkpoint_duration_s",
    "checkpoint_age_s",
    "restart_duration_s",
    "restart_left_s",
    "running",  # 1: ran in the tick before, 0: did not, -1: never ran
    "wanted_w",  # power while it runs, before the grant
    "speed_cores",  # progress per hour at that power
    "busy_ratio",  # part of the tick for which it runs
    "completed_s",
    # policy
    "policy_kind",
    "threshold_g_per_kwh",
    "upper_threshold_g_per_kwh",
    "policy_value",
)
COLUMNS = RECORDED + TOTALS + STATE

# Kinds of workload and policy that the kernel runs itself.
EXTERNAL, CONSTANT, TRACE_W, TRACE_RATIO, BATCH, METERED, PER_CONTAINER = 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0
NO_POLICY, SUSPEND_RESUME, WAIT_AND_SCALE, BATTERY_ARBITRAGE, STATIC_CARBON_RATE = 0.0, 1.0, 2.0, 3.0, 4.0

#: The site's own state, one record.
SITE = (
    "tick",
    "last_tick",
    "woken_tick",  # tick whose policies have been called
    "signals_tick",  # tick of the first value of the signals
    "start_s",  # of tick 0 in this run
    "tick_s",
    "hours_h",
    "wake",  # 1: call back before every tick
    "next_wake_tick",  # call back before this tick
    "row",  # of the recorder's block
    "rows",
    "container_slots",
    "recording",  # 1: write rows
    "working_copy",  # 1: settle in a copy of each tile
    "keep",  # 1: every tick's flows are read by somebody
    "tile_count",
    "app_count",  # with `_site`
    "has_policies",  # 1: some app has a built-in policy
    "clear_boundary",  # 1: transfers and adjustments of this tick end with it
    # physical
    "charge_efficiency",
    "discharge_efficiency",
    "loss_ratio",
    "charge_limit_w",
    "discharge_limit_w",
    "export_limit_w",
    "first_excess_policy",
    "second_excess_policy",
    "power_curve_points",
    "server_cores",
    "site_cores",  # of all powered servers
    "overhead_w",
    "metered_rest_w",  # what a node meter read beyond all containers; negative: no meter
    "intensity_g_per_kwh",
    "price_per_kwh",
    "solar_collected_w",
    "buffer_before_wh",
    "buffer_wh",
    "above_line_wh",  # the physical battery, stepped by set-points
    "below_line_wh",
    # sums over the apps of one tick
    "sum_solar_w",
    "sum_demand_w",
    "sum_unserved_w",
    "sum_charge_w",
    "sum_discharge_w",
    "sum_import_w",
    "sum_excess_w",
    "sum_acceptance_w",
    "sum_received_w",
    "sum_exported_w",
    "sum_curtailed_w",
    "sum_level_wh",
    "sum_cores",
    # recorded
    "import_w",
    "export_w",
    "battery_charge_w",
    "battery_discharge_w",
    "physical_level_wh",
    "curtailed_w",
    "netting_spilled_wh",
    "netting_relief_w",
    "node_power_w",
    "residual_wh",
    # totals
    "solar_collected_total_wh",
    "solar_used_total_wh",
    "import_total_wh",
    "export_total_wh",
    "charge_total_wh",
    "discharge_total_wh",
    "loss_total_wh",
    "curtailed_total_wh",
    "credit_total_wh",
    "spilled_total_wh",
    "relief_total_wh",
    "load_total_wh",
    "adjust_total_wh",
)

#: What the `site` table holds, in the order of the recorder's block.
SITE_RECORDED = (
    "solar_collected_w",
    "buffer_wh",
    "import_w",
    "export_w",
    "battery_charge_w",
    "battery_discharge_w",
    "physical_level_wh",
    "below_line_wh",
    "charge_limit_w",
    "discharge_limit_w",
    "export_limit_w",
    "curtailed_w",
    "netting_spilled_wh",
    "netting_relief_w",
    "node_power_w",
    "intensity_g_per_kwh",
)

RECORDED_COUNT = len(RECORDED)
SITE_RECORDED_COUNT = len(SITE_RECORDED)

#: Arrays in the site's record: name → shape. Power curve of a server; measured speed-up tables of workloads.
MAX_CURVE_POINTS, MAX_TABLES, MAX_TABLE_POINTS = 21, 16, 16
SITE_ARRAYS = {
    "power_curve_w": (MAX_CURVE_POINTS,),
    "table_points": (MAX_TABLES,),
    "table_cores": (MAX_TABLES, MAX_TABLE_POINTS),
    "table_speed": (MAX_TABLES, MAX_TABLE_POINTS),
}

#: Rows of the signals; the traces of workloads follow.
SOLAR, INTENSITY, PRICE, FIRST_TRACE = 0, 1, 2, 3

#: Excess policies besides `curtail`.
NONE, SHARE, EXPORT = 0.0, 1.0, 2.0


class Tile:
    """A tile in plain Python: ``count`` apps, a list per column."""

    __slots__ = (*COLUMNS, "count")

    def __init__(self, count: int) -> None:
        self.count = count
        for name in COLUMNS:
            setattr(self, name, [0.0] * count)


class SiteState:
    """The site's record in plain Python."""

    __slots__ = (*SITE, *SITE_ARRAYS)

    def __init__(self) -> None:
        for name in SITE:
            setattr(self, name, 0.0)
        for name, shape in SITE_ARRAYS.items():
            rows = [[0.0] * shape[-1] for _ in range(shape[0])]
            setattr(self, name, rows if len(shape) == 2 else [0.0] * shape[0])


class ContainerState:
    """A container's record in plain Python."""

    __slots__ = ("cap_w", "cores", "own_w")

    def __init__(self) -> None:
        self.cores = 0.0
        self.cap_w = 0.0
        self.own_w = 0.0  # known of this container alone: metered, or asked for by its workload


def tile_dtype() -> Any:
    """NumPy dtype of a tile: every column as 128 floats."""
    import numpy

    return numpy.dtype([(name, numpy.float64, (TILE,)) for name in COLUMNS] + [("count", numpy.float64)])


def site_dtype() -> Any:
    """NumPy dtype of the site's record."""
    import numpy

    fields: list[Any] = [(name, numpy.float64) for name in SITE]
    return numpy.dtype(fields + [(name, numpy.float64, shape) for name, shape in SITE_ARRAYS.items()])


def container_dtype() -> Any:
    """NumPy dtype of a container's record."""
    import numpy

    return numpy.dtype([("cores", numpy.float64), ("cap_w", numpy.float64), ("own_w", numpy.float64)])

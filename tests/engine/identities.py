"""The identities of the design, demanded of rows that a run recorded: of every row, every tick and across ticks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from ecovisor.presets import BatteryParameters

from .build import Keep, Rows

SLACK = 1e-9


def near(one: float, other: float, scale: float = 0.0) -> bool:
    return one == other or abs(one - other) <= SLACK * (abs(one) + abs(other) + scale) + 1e-12


def known(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def demand_identities(
    kept: Keep,
    battery: BatteryParameters | None,
    levels_wh: Mapping[str, float],
    left_wh: float,
    excess: tuple[str, ...],
) -> dict[str, float]:
    """Check all rows kept; returns the levels at their end.

    Args:
        battery: the physical one.
        levels_wh: of every app before the first tick, before transfers.
        left_wh: what apps held that left before the first tick.
        excess: the site's policies for excess.
    """
    flows, containers = by_time(kept.tables["flows"]), by_time(kept.tables["containers"])
    before = dict(levels_wh)
    for site in kept.site:
        rows = flows[site["time"]]
        hours_h = site["dt_s"] / 3600.0
        for row in rows:
            row_balances(row)
            limits_kept(row)
            level_follows(row, before.get(row["app"], 0.0), battery, hours_h)
            carbon_of_import(row, hours_h)
        site_sums(site, rows, excess, hours_h)
        moved_wh = math.fsum(row["transfer_out_wh"] for row in rows) + left_wh
        assert near(math.fsum(row["transfer_in_wh"] for row in rows), moved_wh, 1.0)
        left_wh = 0.0
        containers_sum_to_their_app(rows, containers[site["time"]])
        before = {row["app"]: row["battery_level_wh"] for row in rows}
    return before


def by_time(rows: Rows) -> dict[float, Rows]:
    sorted_: dict[float, Rows] = defaultdict(list)
    for row in rows:
        sorted_[row["time"]].append(row)
    return sorted_


def row_balances(row: dict[str, float]) -> None:
    gone = row["demand_w"] - row["unserved_w"] + row["solar_to_battery_w"] + row["grid_to_battery_w"]
    gone += row["exported_w"] + row["shared_w"] + row["curtailed_w"]
    come = row["solar_w"] + row["battery_discharge_w"] + row["grid_to_load_w"] + row["grid_to_battery_w"]
    assert near(gone, come, row["demand_w"]), row


def limits_kept(row: dict[str, float]) -> None:
    for column, value in row.items():
        if column not in ("app", "time", "battery_adjust_wh", "carbon_g", "carbon_intensity_g_per_kwh"):
            assert value >= 0.0, (column, row)
    slack = 1 + 1e-12
    charge_w = row["solar_to_battery_w"] + row["grid_to_battery_w"] + row["received_w"]
    assert charge_w <= row["charge_limit_w"] * slack, row
    assert row["battery_discharge_w"] <= min(row["discharge_limit_w"], row["max_discharge_setting_w"]), row
    assert row["grid_to_load_w"] + row["grid_to_battery_w"] <= row["grid_limit_w"] * slack, row
    assert row["battery_level_wh"] <= row["capacity_wh"] * (1 + SLACK) + 1e-12, row
    assert charge_w == 0.0 or row["battery_discharge_w"] == 0.0, row
    assert row["battery_discharge_w"] == 0.0 or row["grid_to_battery_w"] == 0.0, row


def level_follows(row: dict[str, float], before_wh: float, battery: BatteryParameters | None, hours_h: float) -> None:
    if battery is None:
        assert row["battery_level_wh"] == row["capacity_wh"] == row["charge_limit_w"] == 0.0
        return
    start_wh = before_wh + row["transfer_in_wh"] - row["transfer_out_wh"] + row["battery_adjust_wh"]
    lost_wh = start_wh * (1 - (1 - battery.self_discharge_per_hour) ** hours_h)
    assert near(row["self_discharge_wh"], lost_wh, 1e-3), row
    charge_w = row["solar_to_battery_w"] + row["grid_to_battery_w"] + row["received_w"]
    gained_wh = battery.charge_efficiency * charge_w * hours_h + row["netting_credit_wh"]
    after_wh = start_wh - lost_wh + gained_wh - row["battery_discharge_w"] * hours_h / battery.discharge_efficiency
    assert abs(row["battery_level_wh"] - after_wh) <= 3 * SLACK * (row["capacity_wh"] + 1.0), (row, before_wh, after_wh)


def carbon_of_import(row: dict[str, float], hours_h: float) -> None:
    carbon_g = (row["grid_to_load_w"] + row["grid_to_battery_w"]) * hours_h / 1000.0 * row["carbon_intensity_g_per_kwh"]
    assert math.isnan(carbon_g) == math.isnan(row["carbon_g"])
    assert math.isnan(carbon_g) or near(row["carbon_g"], carbon_g)


def site_sums(site: dict[str, float], rows: Rows, excess: tuple[str, ...], hours_h: float) -> None:
    def total(*columns: str) -> float:
        return math.fsum(row[column] for row in rows for column in columns)

    levels_wh = total("battery_level_wh")
    # Every snap to full or empty may take or give a billionth of a capacity.
    snaps_wh = 400 * SLACK * total("capacity_wh")
    assert abs(levels_wh + site["buffer_wh"] - site["physical_level_wh"]) <= snaps_wh + 1e-9, site
    assert near(total("shared_w"), total("received_w"), 1.0), site
    assert "share" in excess or total("shared_w") == 0.0
    assert total("exported_w") <= site["export_limit_w"] * (1 + 1e-12)
    assert near(site["node_power_w"], total("demand_w") - total("unserved_w"), 1.0)
    assert min(site["battery_charge_w"], site["battery_discharge_w"]) == 0.0
    assert min(site["import_w"], site["export_w"]) == 0.0
    assert near(total("charge_limit_w"), site["charge_limit_w"])
    metered_w = total("grid_to_load_w", "grid_to_battery_w") - total("exported_w")
    absorbed_w = site["netting_relief_w"] - (site["curtailed_w"] - total("curtailed_w"))
    assert near(metered_w, site["import_w"] - site["export_w"] + absorbed_w, 10.0), site
    gone = site["node_power_w"] + site["battery_charge_w"] + site["export_w"] + site["curtailed_w"]
    come = total("solar_w") + site["import_w"] + site["battery_discharge_w"]
    assert near(gone, come, 10.0), site
    assert near(site["buffer_wh"], site["solar_collected_w"] * hours_h)


def containers_sum_to_their_app(rows: Rows, containers: Rows) -> None:
    power_w: dict[str, float] = defaultdict(float)
    carbon_g: dict[str, float] = defaultdict(float)
    for one in containers:
        power_w[one["app"]] += one["power_w"]
        carbon_g[one["app"]] += one["carbon_g"]
        assert one["power_w"] >= 0.0
        assert one["power_w"] <= one["cap_w"] * (1 + 1e-9), one
    for row in rows:
        served_w = row["demand_w"] - row["unserved_w"] + row["solar_to_battery_w"] + row["grid_to_battery_w"]
        assert near(power_w[row["app"]], served_w, 1e-3), (row, containers)
        if not math.isnan(row["carbon_g"]):
            assert near(carbon_g[row["app"]], row["carbon_g"], 1e-3), (row, containers)

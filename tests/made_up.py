"""A made-up run for tests of what comes after the engine: blocks of the real columns, and a summary to go with them."""

from __future__ import annotations

import math
from array import array

from ecovisor.model.summary import AppSummary, RunSummary, SiteSummary
from ecovisor.ports import Block

START_S = 1_590_994_800.0
TICK_S = 300.0
APPS = ("job", "service", "_site")
COLUMNS = [
    "dt_s",
    "demand_w",
    "solar_w",
    "solar_to_load_w",
    "solar_to_battery_w",
    "battery_discharge_w",
    "grid_to_load_w",
    "grid_to_battery_w",
    "unserved_w",
    "overdraw_w",
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
    "carbon_intensity_g_per_kwh",
    "carbon_g",
    "carbon_on_use_g",
    "stored_carbon_g",
    "charge_rate_setting_w",
    "max_discharge_setting_w",
]


def flows(first: int, ticks: int, *, known_carbon: bool = True) -> Block:
    """`ticks` ticks of `flows` from tick `first`, with a day's rhythm; NaN and infinity in it."""
    columns = {name: array("d", [0.0]) * (ticks * len(APPS)) for name in COLUMNS}
    for k in range(ticks):
        phase = 2 * math.pi * (first + k) / 288
        for r in range(len(APPS)):
            row = k * len(APPS) + r
            sun = max(0.0, 40 * math.sin(phase))
            values = {
                "dt_s": TICK_S,
                "demand_w": 20.0 + r / 3,
                "solar_w": sun,
                "solar_to_load_w": min(sun, 20.0),
                "solar_to_battery_w": max(sun - 20.0, 0.0),
                "grid_to_load_w": max(20.0 - sun, 0.0),
                "capacity_wh": 100.0,
                "battery_level_wh": 50.0 + 40 * math.sin(phase - 1),
                "grid_limit_w": math.inf,
                "carbon_intensity_g_per_kwh": 250 - 100 * math.sin(phase) if known_carbon else math.nan,
                "carbon_g": 0.1 + first + k if known_carbon else math.nan,
            }
            for name, value in values.items():
                columns[name][row] = value
    times = [START_S + TICK_S * (first + k) for k in range(ticks)]
    return Block("flows", times, {"app": APPS}, columns, {"quality": "modelled"})


def site(first: int, ticks: int) -> Block:
    """The rows of `site` that go with `flows`."""
    times = [START_S + TICK_S * (first + k) for k in range(ticks)]
    level = [150 + 120 * math.sin(2 * math.pi * (first + k) / 288 - 1) for k in range(ticks)]
    return Block("site", times, {}, {"dt_s": [TICK_S] * ticks, "physical_level_wh": level}, {})


def app_summary(name: str, **changes: object) -> AppSummary:
    """One app's sums."""
    values: dict[str, object] = {
        "app": name, "workload": "batch", "policy": "suspend-resume", "work_done": 160.0, "work_total": 160.0, "work_unit": "core-h",
        "completed_s": START_S + 90_000, "runtime_s": 90_000.0, "deadline_met": True, "demand_wh": 4000.0, "solar_wh": 900.0,
        "solar_to_load_wh": 700.0, "solar_to_battery_wh": 100.0, "battery_discharge_wh": 90.0, "grid_to_load_wh": 3200.0,
        "grid_to_battery_wh": 20.0, "unserved_wh": 10.0, "exported_wh": 0.0, "shared_wh": 50.0, "curtailed_wh": 50.0, "received_wh": 0.0,
        "self_discharge_wh": 0.1, "final_level_wh": 12.0, "carbon_g": 640.0, "carbon_on_use_g": 630.0, "stored_carbon_g": 10.0,
        "unknown_carbon_wh": 0.0, "battery_cycles": 1.2, "cost": 0.64, "baseline_carbon_g": 800.0, "baseline_runtime_s": 60_000.0,
    }  # fmt: skip
    return AppSummary(**(values | changes))  # type: ignore[arg-type]


def summary(*apps: AppSummary, ticks: int = 576, notes: tuple[str, ...] = ()) -> RunSummary:
    """A run's sums."""
    totals = SiteSummary(
        solar_collected_wh=1800.0, solar_used_wh=1600.0, import_wh=6400.0, export_wh=0.0, battery_charge_wh=220.0,
        battery_discharge_wh=180.0, battery_loss_wh=20.0, below_line_loss_wh=0.0, initial_level_wh=0.0, final_level_wh=24.0,
        final_buffer_wh=0.5, adjusted_wh=0.0,
        curtailed_wh=100.0, netting_credit_wh=0.0, netting_spilled_wh=0.0, netting_relief_wh=0.0, load_wh=8056.0, residual_wh=1e-12,
        balance_residual_wh=-3e-11,
    )  # fmt: skip
    everybody = [*(apps or (app_summary("job"), app_summary("service", completed_s=None, runtime_s=None, work_total=None)))]
    everybody.append(
        app_summary("_site", workload="", policy="", completed_s=None, runtime_s=None, work_total=None, battery_cycles=0.0)
    )
    return RunSummary(
        title="Made up: for tests", start_s=START_S, tick_s=TICK_S, ticks=ticks, apps=everybody, site=totals,
        signals={"carbon": "constant 200 g/kWh, modelled"}, notes=list(notes),
    )  # fmt: skip

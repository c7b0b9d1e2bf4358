"""What is said of a run besides its numbers: notes for people, and the part of `run.json` that an independent script needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ecovisor.adapters.signals import LoadedSignal
from ecovisor.engine.site import Site
from ecovisor.engine.specification import SITE_APP
from ecovisor.model.units import human_duration
from ecovisor.presets import resolve_server
from ecovisor.settings import Scenario

INFINITY = float("inf")
#: The solar buffer should not take more of the battery than this.
BUFFER_WARNING_RATIO = 0.05


def site_notes(site: Site) -> list[str]:
    """What looks odd about a site: a large solar buffer, apps without a share of the grid, more cores than there are."""
    notes = []
    battery = site.physical.battery
    if battery is not None and site.reserve_wh > 0.0:
        usable_wh = battery.capacity_wh * (1.0 - battery.empty_ratio)
        if site.reserve_wh > BUFFER_WARNING_RATIO * usable_wh:
            notes.append(
                f"site.battery: the solar buffer reserves {site.reserve_wh:.0f} Wh, {site.reserve_wh / usable_wh:.0%} of the "
                f"usable {usable_wh:.0f} Wh; a tick shorter than {human_duration(site.tick_s)} needs less"
            )
    if site.physical.grid_limit_w < INFINITY:
        without = [group.spec.name for group in site.groups if group.spec.shares.grid == 0.0]
        notes += [f"apps.{name}: no share of the grid, although site.grid_limit_w is set" for name in without]
    if site.physical.servers > 0:
        cores = sum(g.spec.count * g.spec.containers * g.spec.cores for g in site.groups)
        available = site.physical.servers * site.server.cores
        if cores > available:
            notes.append(f"site.servers: apps ask for {cores:g} cores, the servers have {available:g}")
    return notes


def demand_notes(scenario: Scenario) -> list[str]:
    """Constant demands that the containers of the app could never draw."""
    notes = []
    server = resolve_server(scenario.site.server)
    for app in scenario.apps:
        most_w = app.containers * app.cores / server.cores * server.power_curve_w[-1]
        asked_w = app.workload.demand_w or 0.0
        if app.workload.kind == "constant" and asked_w > most_w:
            notes.append(
                f"apps.{app.name}.workload.demand_w: {asked_w:g} W is more than its {app.containers:g} container(s) of "
                f"{app.cores:g} cores draw at full load, {most_w:g} W; power caps below that do not slow it realistically"
            )
    return notes


def unmet_notes(apps: list[Any]) -> list[str]:
    """What apps did not achieve, and what is not known of them."""
    notes = []
    for app in apps:
        if app.deadline_met is False:
            notes.append(f"apps.{app.app}: deadline missed")
        if app.app != SITE_APP and app.work_total is not None and app.completed_s is None:
            notes.append(f"apps.{app.app}: not complete, {app.work_done / app.work_total:.0%} of its work is done")
        if app.unknown_carbon_wh > 0.0:
            notes.append(f"apps.{app.app}: {app.unknown_carbon_wh:.1f} Wh imported at unknown intensity")
    return notes


def run_info(site: Site, loaded: Mapping[str, LoadedSignal]) -> dict[str, object]:
    """Physics, signals and files of a run, for `run.json`."""
    battery = site.physical.battery
    initial: dict[str, object] = {}
    shares: dict[str, object] = {}
    for group in site.all_groups:
        for copy, index in enumerate(group.indices):
            name = group.spec.name_of(copy)
            shares[name] = asdict(group.spec.shares)
            initial[name] = {
                "level_wh": site.get(index, "battery_level_wh"),
                "stored_carbon_g": site.get(index, "stored_carbon_g"),
            }
    physics: dict[str, object] = {
        "tick_s": site.tick_s,
        "excess": list(site.physical.excess),
        "grid_limit_w": _finite(site.physical.grid_limit_w),
        "export_limit_w": _finite(site.physical.export_limit_w) if "export" in site.physical.excess else 0.0,
        "battery": None
        if battery is None
        else {
            "capacity_wh": battery.capacity_wh,
            "empty_ratio": battery.empty_ratio,
            "charge_c_rate": battery.charge_c_rate,
            "discharge_c_rate": battery.discharge_c_rate,
            "charge_efficiency": battery.charge_efficiency,
            "discharge_efficiency": battery.discharge_efficiency,
            "self_discharge_per_hour": battery.self_discharge_per_hour,
            "reserve_wh": site.reserve_wh,
        },
        "server": {"cores": site.server.cores, "power_curve_w": list(site.server.power_curve_w)},
        "shares": shares,
        "initial": initial,
    }
    files = {path: checksum for one in loaded.values() for path, checksum in one.files}
    signals = {
        name: {"origin": one.series.origin, "quality": str(one.series.quality), "unit": one.series.unit}
        for name, one in loaded.items()
    }
    return {"physics": physics, "signals": signals, "files": files}


def _finite(value: float) -> float | None:
    return value if value < INFINITY else None

"""What a run came to: the sums in the columns, as `model.summary` has them. Reads the state of a site, changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

from ecovisor.engine.site import Site
from ecovisor.engine.specification import Group
from ecovisor.model.summary import AppSummary, SiteSummary
from ecovisor.workloads.models import BatchJob

#: Unit of the work of a workload that has no other.
_ENERGY = "Wh"
_FLOWS = (
    "solar_to_load",
    "solar_to_battery",
    "battery_discharge",
    "grid_to_load",
    "grid_to_battery",
    "unserved",
    "exported",
    "shared",
    "curtailed",
    "received",
    "self_discharge",
)


def app_summaries(site: Site) -> list[AppSummary]:
    """One for each group of copies, `_site` last."""
    return [app_summary(site, group) for group in site.all_groups]


def app_summary(site: Site, group: Group) -> AppSummary:
    """Sums over the copies of a group."""
    spec = group.spec

    def total(column: str) -> float:
        return math.fsum(site.values(group, column))

    energy_wh = {f"{flow}_wh": total(f"{flow}_total_wh") for flow in _FLOWS}
    used_wh = energy_wh["solar_to_load_wh"] + energy_wh["battery_discharge_wh"] + energy_wh["grid_to_load_wh"]
    excess_wh = energy_wh["exported_wh"] + energy_wh["shared_wh"] + energy_wh["curtailed_wh"]
    capacity_wh = total("capacity_wh")
    work = spec.workload
    work_total = total("work_total")
    unit = "core-h" if isinstance(work, BatchJob) else _work_unit(site, group, ends=work_total > 0.0)
    ends_s = site.values(group, "completed_s") if work_total > 0.0 else [math.nan]
    complete = not any(end_s != end_s for end_s in ends_s)
    completed_s = float(max(ends_s)) if complete else None
    return AppSummary(
        app=spec.name,
        count=spec.count,
        workload=spec.workload_name or type(work).__name__,
        policy=spec.policy_name,
        work_done=used_wh if unit == _ENERGY else total("work_done"),
        work_total=work_total if work_total > 0.0 else None,
        work_unit=unit,
        completed_s=completed_s,
        runtime_s=None if completed_s is None else completed_s - (spec.begins_s if spec.begins_s > -math.inf else site.start_s),
        deadline_met=_deadline_met(work, completed_s) if isinstance(work, BatchJob) else None,
        demand_wh=used_wh + energy_wh["unserved_wh"],
        solar_wh=energy_wh["solar_to_load_wh"] + energy_wh["solar_to_battery_wh"] + excess_wh,
        final_level_wh=total("battery_level_wh"),
        carbon_g=total("carbon_total_g"),
        carbon_on_use_g=total("carbon_on_use_total_g"),
        stored_carbon_g=total("stored_carbon_g"),
        unknown_carbon_wh=total("unknown_carbon_total_wh"),
        battery_cycles=energy_wh["battery_discharge_wh"] / capacity_wh if capacity_wh > 0.0 else 0.0,
        cost=total("cost_total") if site.signals.price_per_kwh is not None else None,
        optimum=None,
        **energy_wh,
    )


def _work_unit(site: Site, group: Group, *, ends: bool) -> str:
    """What a workload says its work is in; of one that says nothing and has no end it is the energy that it used."""
    handle = site.handles.get(group.first)
    told = None if handle is None else handle.work_unit
    return told or ("units" if ends else _ENERGY)


def _deadline_met(work: BatchJob, completed_s: float | None) -> bool | None:
    if work.deadline_s is None:
        return None
    return completed_s is not None and completed_s <= work.deadline_s


def with_baseline(apps: list[AppSummary], baseline: list[AppSummary]) -> list[AppSummary]:
    """Each app beside the same app run carbon-agnostic."""
    return [
        replace(
            app,
            baseline_carbon_g=other.carbon_g,
            baseline_carbon_on_use_g=other.carbon_on_use_g,
            baseline_runtime_s=other.runtime_s,
        )
        for app, other in zip(apps, baseline, strict=True)
    ]


def site_summary(site: Site, initial_level_wh: float) -> SiteSummary:
    """The physical system over the run so far, and how far the sum over apps lies from it."""
    get = site.memory.get
    final_wh, buffer_wh = get("above_line_wh"), get("buffer_wh")
    below_wh = get("below_line_wh")
    battery = site.physical.battery
    below_start_wh = battery.capacity_wh * battery.empty_ratio if battery else 0.0
    stored_wh = final_wh + buffer_wh - initial_level_wh
    loss_wh = get("loss_total_wh") - (below_start_wh - below_wh)
    balance_wh = (
        get("solar_collected_total_wh")
        + get("import_total_wh")
        + get("adjust_total_wh")
        - get("export_total_wh")
        - get("load_total_wh")
        - get("curtailed_total_wh")
        - loss_wh
        - stored_wh
    )
    return SiteSummary(
        solar_collected_wh=get("solar_collected_total_wh"),
        solar_used_wh=get("solar_used_total_wh"),
        import_wh=get("import_total_wh"),
        export_wh=get("export_total_wh"),
        battery_charge_wh=get("charge_total_wh"),
        battery_discharge_wh=get("discharge_total_wh"),
        battery_loss_wh=loss_wh,
        below_line_loss_wh=below_start_wh - below_wh,
        initial_level_wh=initial_level_wh,
        final_level_wh=final_wh + buffer_wh,
        final_buffer_wh=buffer_wh,
        adjusted_wh=get("adjust_total_wh"),
        curtailed_wh=get("curtailed_total_wh"),
        netting_credit_wh=get("credit_total_wh"),
        netting_spilled_wh=get("spilled_total_wh"),
        netting_relief_wh=get("relief_total_wh"),
        load_wh=get("load_total_wh"),
        residual_wh=get("residual_wh"),
        balance_residual_wh=balance_wh,
    )

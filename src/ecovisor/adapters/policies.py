"""From the settings of a policy to what makes it: the built-in ones by their kind, others as plug-ins.

`assembly` takes one for each app of a scenario, `cli.run_policy` one to drive a live app with.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from ecovisor.adapters.plugins import plugin_maker
from ecovisor.model.units import duration_s
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import Policy
from ecovisor.settings import Policy as PolicySettings

POLICY_KINDS = ("carbon-agnostic", "remote", "suspend-resume", "wait-and-scale", "battery-arbitrage", "static-carbon-rate")


def policy_maker(settings: PolicySettings, where: str, folder: Path) -> Callable[[], Policy]:
    """What makes a new policy, each time that it is called.

    Args:
        settings: checked by `scenario_checks` where they come from a file.
        where: file and table that hold them, for error messages.
        folder: `file.py:Name` is relative to it.

    Raises:
        SettingsError: a plug-in cannot be found, loaded or made.
    """
    refresh_s = duration_s(settings.refresh) if settings.refresh else None

    def threshold(fixed: float | None, percent: float) -> Threshold:
        window_s = duration_s(settings.window or "48h")
        return Threshold(fixed, settings.percentile if settings.percentile is not None else percent, window_s)

    match settings.kind:
        case "carbon-agnostic" | "remote":
            return CarbonAgnostic
        case "suspend-resume":
            return lambda: SuspendResume(threshold(settings.threshold_g_per_kwh, 30.0), refresh_s)
        case "wait-and-scale":
            return lambda: WaitAndScale(threshold(settings.threshold_g_per_kwh, 30.0), settings.scale or 2.0, refresh_s)
        case "battery-arbitrage":
            below = Threshold(settings.charge_below_g_per_kwh, 25.0, duration_s(settings.window or "48h"))
            above = Threshold(settings.discharge_above_g_per_kwh, 75.0, duration_s(settings.window or "48h"))
            return lambda: BatteryArbitrage(below, above, settings.charge_rate_w, refresh_s)
        case "static-carbon-rate":
            return lambda: StaticCarbonRate(settings.carbon_rate_g_per_h or 0.0)
    make = plugin_maker("ecovisor.policies", settings.kind, settings.options, folder, POLICY_KINDS, where, ("tick",))
    return cast("Callable[[], Policy]", make)

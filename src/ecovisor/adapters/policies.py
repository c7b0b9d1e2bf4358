"""From the settings of a policy to what makes it: the built-in ones by their kind, others as plug-ins.

`assembly` takes one for each app of a scenario, `cli.run_policy` one to drive a live app with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from ecovisor.adapters import built_in, scenario_checks, scenario_schema
from ecovisor.adapters.plugins import plugin_maker, policies_in
from ecovisor.model.errors import SettingsError
from ecovisor.model.units import duration_s
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import Policy
from ecovisor.settings import Policy as PolicySettings

_IN_THE_LOOP = ("carbon-agnostic", "remote", "suspend-resume", "wait-and-scale", "battery-arbitrage", "static-carbon-rate")
POLICY_KINDS = (*_IN_THE_LOOP, *built_in.POLICIES)


def policy_maker(settings: PolicySettings, where: str, folder: Path) -> Callable[[], Policy]:
    """What makes a new policy, each time that it is called.

    Args:
        settings: checked by `scenario_checks` where they come from a file.
        where: file and table that hold them, for error messages.
        folder: `file.py:Name` is relative to it.

    Raises:
        SettingsError: a plug-in cannot be found, loaded or made, or an option is wrong.
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
    if target := built_in.POLICIES.get(settings.kind):
        return built_in.built_in_maker(settings.kind, target, settings.options, where, {})
    make = plugin_maker("ecovisor.policies", settings.kind, settings.options, folder, POLICY_KINDS, where, [("tick",)])
    return cast("Callable[[], Policy]", make)


def named_policy(name: str, options: Mapping[str, object], folder: Path) -> tuple[str, Callable[[], Policy]]:
    """A policy that somebody names outside of any scenario.

    Args:
        name: ``file.py:Name``, ``file.py`` if it defines one policy only, a built-in kind, or the name of an entry point.
        options: of a built-in kind its fields in a scenario or the keywords of its class, of any other the keyword arguments of its class.
        folder: the file is relative to it.

    Returns:
        Its full name, and what makes it.

    Raises:
        SettingsError: it cannot be found, loaded or made, or an option is not one of its own.
    """
    path = name.rpartition(":")[0] if not name.endswith(".py") else name
    if path.endswith(".py") and not (folder / path).is_file():
        raise SettingsError(name, f"there is no file {path!r} in {folder}", "check the path")
    if name == "remote":
        raise SettingsError(name, "says that an app drives itself, and is no policy", "name a policy file or a built-in policy")
    if name.endswith(".py"):
        found = policies_in(name, folder, name)
        if len(found) != 1:
            problem = f"defines {len(found)} policies" if found else "defines no class with tick(energy, app), and no function tick"
            remedy = "name one: " + ", ".join(f"{name}:{one}" for one in found) if found else "add one"
            raise SettingsError(name, problem, remedy)
        name = f"{name}:{found[0]}"
    settings = _checked(
        {"kind": name, **options} if name in _IN_THE_LOOP else {"kind": name, "options": dict(options)}, name, folder
    )
    return name, policy_maker(settings, name, folder)


def _checked(table: Mapping[str, object], name: str, folder: Path) -> PolicySettings:
    """The settings that a table ``[apps.policy]`` holds, by the rules of scenarios: in the smallest one that there is."""
    scenario = {
        "schema": 1,
        "signals": {"carbon": {"kind": "constant", "value": 0.0}},
        "apps": [{"name": "app", "workload": {"kind": "constant", "demand_w": 0.0}, "policy": dict(table)}],
        "run": {"start": "1970-01-01T00:00:00Z", "duration": "1h"},
    }
    try:
        decoded = scenario_schema.decode(scenario)
        scenario_checks.check(decoded, folder)
    except SettingsError as error:
        field = error.where.removeprefix("apps[0].policy").removeprefix(".").removeprefix("options.")
        raise SettingsError(
            name if field in {"kind", "", "options"} else f"--option {field}", error.problem, error.remedy
        ) from None
    return decoded.apps[0].policy

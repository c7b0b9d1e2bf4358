"""Apps that the operator has added, removed, or given other shares while the site ran: the ledger remembers them beside the site file."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ecovisor import wire
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.engine.specification import AppSpec
from ecovisor.live.ecovisor import kept_shares
from ecovisor.model.errors import Refused
from ecovisor.presets import AppShares
from ecovisor.settings import App, Policy, Scenario, Workload
from ecovisor.workloads.models import Metered


def with_registered(scenario: Scenario, ledger: Ledger) -> Scenario:
    """The apps of the file, with those that the operator has added, without those that were removed, with the shares last set."""
    apps = {app.name: app for app in scenario.apps}
    for name, value in ledger.registry.items("apps"):
        request = msgspec.json.decode(value, type=wire.AddApp | None)
        if request is None:
            apps.pop(name, None)
        elif name not in apps:
            apps[name] = _app_of(request)
    for name, shares in kept_shares(ledger.registry).items():
        if name in apps:
            apps[name] = msgspec.structs.replace(
                apps[name],
                share=None,
                grid_share=shares.grid,
                solar_share=shares.solar,
                battery_energy_share=shares.battery_energy,
                battery_power_share=shares.battery_power,
            )
    return msgspec.structs.replace(scenario, apps=list(apps.values()))


def _app_of(request: wire.AddApp) -> App:
    """An app that was added at run time, as the file would have it."""
    return App(
        name=request.name,
        grid_share=request.shares.grid,
        solar_share=request.shares.solar,
        battery_energy_share=request.shares.battery_energy,
        battery_power_share=request.shares.battery_power,
        containers=request.containers if request.commands else 0,
        cores=request.cores,
        commands=list(request.commands),
        webhook_allow=list(request.webhook_allow),
        workload=Workload(kind="containers"),
        policy=Policy(kind="remote"),
    )


def added(request: wire.AddApp, commands: Collection[str]) -> AppSpec:
    """What joins for an app that the operator adds, of the site's commands."""
    unknown = [name for name in request.commands if name not in commands]
    if unknown:
        known = ", ".join(commands) or "none"
        remedy = f"add [server.commands.{unknown[0]}] to the site file and send SIGHUP"
        raise Refused(f"command {unknown[0]!r} is not among the site's commands ({known}); {remedy}")
    shares = request.shares
    return AppSpec(
        name=request.name,
        shares=AppShares(shares.grid, shares.solar, shares.battery_energy, shares.battery_power),
        workload=Metered(),
        containers=request.containers if request.commands else 0,
        cores=request.cores,
        commands=tuple(request.commands),
        workload_name="containers",
        policy_name="remote",
    )

"""Reading a site file again while the site runs: what changed, and what of it can act without a restart.

Shares, apps that come and go, commands, where callbacks may go, and whether budgets are enforced act at once or at the next tick; the rest
is told as waiting for a restart. A file that cannot be used changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ecovisor import wire
from ecovisor.live.ecovisor import Ecovisor
from ecovisor.ports.live import Command
from ecovisor.presets import shares_of
from ecovisor.settings import App, Scenario

_LIVE_APP_FIELDS = {"share", "grid_share", "solar_share", "battery_energy_share", "battery_power_share", "webhook_allow"}


def flattened(value: object, path: str = "") -> dict[str, str]:
    """A file's fields by their path, as text; apps by their name."""
    if isinstance(value, Mapping):
        inner = {f"{path}.{key}" if path else str(key): one for key, one in value.items()}
    elif isinstance(value, list) and all(isinstance(one, Mapping) and "name" in one for one in value):
        inner = {f"{path}.{one['name']}": one for one in value}
    else:
        return {path: repr(value)}
    return {key: text for name, one in inner.items() for key, text in flattened(one, name).items()}


async def reload(ecovisor: Ecovisor, before: Scenario, after: Scenario, commands: Mapping[str, Command]) -> list[str]:
    """Apply what can be applied; a line for each difference.

    Args:
        ecovisor: runs.
        before: the file as it was read last.
        after: the file now.
        commands: of the file now.

    Raises:
        EcovisorError: something new cannot be used; nothing has changed then, unless a disk or a socket failed half-way.
    """
    old, new = flattened(msgspec.to_builtins(before)), flattened(msgspec.to_builtins(after))
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    old_apps, new_apps = {app.name: app for app in before.apps}, {app.name: app for app in after.apps}
    before_commands = ecovisor.allow_commands(commands)
    try:
        acting = await _apply_apps(ecovisor, old_apps, new_apps) | {"server.commands"}
    except BaseException:
        ecovisor.allow_commands(before_commands)
        raise
    if before.server is not None and after.server is not None and before.server.enforce_budgets != after.server.enforce_budgets:
        ecovisor.enforce_budgets(after.server.enforce_budgets)
        acting.add("server.enforce_budgets")
    lines = []
    for key in changed:
        kept = any(key == one or key.startswith(f"{one}.") for one in acting)
        told = f"{key}: {old.get(key, 'not given')} → {new.get(key, 'not given')}"
        lines.append(told if kept else f"{told} (waits for a restart)")
    return lines


async def _apply_apps(ecovisor: Ecovisor, old: Mapping[str, App], new: Mapping[str, App]) -> set[str]:
    """Returns the paths that act now. What cannot be done is found before anything is."""
    running = set(ecovisor.shares())
    gone = [name for name in old.keys() - new.keys() if name in running]
    come = {name: new[name] for name in new.keys() - old.keys() if _can_join(new[name]) and name not in running}
    both = old.keys() & new.keys() & running
    shares = {name: _shares(new[name]) for name in both if shares_of(old[name]) != shares_of(new[name])}
    ecovisor.check_arrangement(gone, shares, [_request(app) for app in come.values()])
    for name in gone:
        await ecovisor.remove_app(name)
    if shares:
        await ecovisor.set_shares(shares)
    for app in come.values():
        await ecovisor.add_app(_request(app))
    acting = {f"apps.{name}" for name in (*gone, *come)}
    for name in both:
        if old[name].webhook_allow != new[name].webhook_allow:
            ecovisor.allow_webhooks(name, new[name].webhook_allow)
        acting |= {f"apps.{name}.{field}" for field in _LIVE_APP_FIELDS}
    return acting


def _can_join(app: App) -> bool:
    """Others need a restart."""
    return app.workload.kind == "containers" and app.policy.kind == "remote"


def _shares(app: App) -> wire.Shares:
    shares = shares_of(app)
    return wire.Shares(
        grid=shares.grid, solar=shares.solar, battery_energy=shares.battery_energy, battery_power=shares.battery_power
    )


def _request(app: App) -> wire.AddApp:
    return wire.AddApp(
        name=app.name,
        shares=_shares(app),
        commands=list(app.commands),
        containers=app.containers,
        cores=app.cores,
        webhook_allow=list(app.webhook_allow),
    )

"""Whether a site could be started, without starting anything: its signals loaded, its apps joined, its commands looked for."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ecovisor.adapters.callbacks.targets import allowed_target
from ecovisor.adapters.clocks import ManualClock
from ecovisor.adapters.platforms.process.spawn import PATH
from ecovisor.adapters.scenario_checks import live_interval_of
from ecovisor.adapters.signals.live import LiveSignal
from ecovisor.assembly.live_signals import signals_of, site_of, sun_of
from ecovisor.assembly.notes import demand_notes, site_notes
from ecovisor.model.errors import SettingRefused, SettingsError
from ecovisor.settings import Command, Scenario, Serving


def check_live(scenario: Scenario, folder: Path) -> list[str]:
    """Load everything that `serve` would load; returns notes.

    Args:
        scenario: checked, with a table `[server]`.
        folder: relative paths in it start here.

    Raises:
        EcovisorError: something cannot be used.
    """
    serving = scenario.server
    if serving is None:
        raise SettingsError("server", "missing", "add a table [server]; 'ecovisor init --live' writes one")
    _check_files(serving, folder)
    _check_webhooks(scenario)
    for name, command in serving.commands.items():
        _check_command(f"server.commands.{name}", command, folder)
    interval = live_interval_of(scenario.run)
    clock = ManualClock(time.time() if scenario.run.start is None else interval.start_s)
    signals = signals_of(scenario, serving, folder, clock, interval.tick_s)
    sun = sun_of(scenario, folder, interval.tick_s)
    site = site_of(scenario, folder, None, signals, clock, interval.tick_s, sun)

    used = [signal for name, signal in signals.items() if name != "solar"]
    asyncio.run(_load(used))
    origins = [signal.describe() for signal in used] + ([] if sun is None else [f"solar: {sun.origin}"])
    return [*origins, *_notes(scenario), *demand_notes(scenario), *site_notes(site)]


async def _load(signals: Sequence[LiveSignal]) -> None:
    for signal in signals:
        await signal.open()
        await signal.close()


def _check_files(serving: Serving, folder: Path) -> None:
    for field in ("tls_certificate", "tls_key"):
        name = getattr(serving, field)
        if name is not None and not os.access(folder / name, os.R_OK):
            raise SettingsError(f"server.{field}", f"{name} cannot be read", "name a PEM file")


def _check_webhooks(scenario: Scenario) -> None:
    for k, app in enumerate(scenario.apps):
        for target in app.webhook_allow:
            try:
                allowed_target(target)
            except SettingRefused as error:
                raise SettingsError(f"apps[{k}].webhook_allow", str(error).removeprefix("webhook_allow: ")) from None


def _check_command(where: str, command: Command, folder: Path) -> None:
    """What a container would not start with: no such folder, no such program, no such script of our own Python."""
    directory = None if command.directory is None else (folder / command.directory).resolve()
    if directory is not None and not directory.is_dir():
        raise SettingsError(f"{where}.directory", f"{directory} is no folder", "name one that exists, relative to this file")
    program, *arguments = command.argv
    if program == "{python}":
        if arguments and not arguments[0].startswith("-"):
            _found(f"{where}.argv[1]", arguments[0], directory)
    elif "/" in program:
        found = _found(f"{where}.argv[0]", program, directory)
        if not os.access(found, os.X_OK):
            raise SettingsError(f"{where}.argv[0]", f"{found} may not be run", f"chmod +x {found}, or name its interpreter first")
    else:
        path = command.environment.get("PATH", PATH)
        if shutil.which(program, path=path) is None:
            raise SettingsError(f"{where}.argv[0]", f"there is no {program!r} in {path}", "give its whole path")


def _found(where: str, name: str, directory: Path | None) -> Path:
    """A file that a command names."""
    if directory is None and not Path(name).is_absolute():
        remedy = 'write directory = "." beside argv, or its whole path'
        raise SettingsError(where, f"{name!r} is looked for in a folder of the container's own", remedy)
    found = (directory or Path()) / name
    if not found.is_file():
        raise SettingsError(where, f"there is no file {found}", "name one that exists")
    return found


def _notes(scenario: Scenario) -> Iterator[str]:
    if "carbon" not in scenario.signals:
        yield "signals.carbon: not given, so the carbon of imports is unknown (unknown_carbon_wh)"
    if not scenario.apps:
        yield "apps: there are none yet; 'ecovisor apps add' lets one join while the site runs"

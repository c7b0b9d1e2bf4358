"""The parts of a live site, from its file: state directory, plant and clock, platform, meter, the driver's settings, listeners."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

from ecovisor.adapters.clocks import ManualClock, RealClock
from ecovisor.adapters.devices.emulated import EmulatedPlant, PlantState, SolarTrace
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.adapters.devices.emulated_client import EmulatedPlantClient
from ecovisor.adapters.devices.in_process import InProcessPlant
from ecovisor.adapters.devices.plant_process import PlantProcess, launch_plant
from ecovisor.adapters.devices.plant_protocol import PlantConfig
from ecovisor.adapters.meters import choose_meter
from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.adapters.platforms.process.users import DEFAULT_UIDS
from ecovisor.adapters.platforms.simulated import SimulatedPlatform
from ecovisor.adapters.scenario_checks import live_interval_of
from ecovisor.adapters.sockets import socket_path
from ecovisor.adapters.stores.ledger import Last
from ecovisor.api.listening import Listener, Tcp, Unix
from ecovisor.live.grants import Efficiencies
from ecovisor.live.plant_account import last_reading
from ecovisor.live.settings import LiveApp, LiveSettings
from ecovisor.model.errors import SettingsError, StoreError
from ecovisor.model.series import Series
from ecovisor.model.units import duration_s
from ecovisor.ports.live import Clock, Command, EnergyPlant, NodeMeter, Platform
from ecovisor.presets import AppShares, resolve_battery, shares_of
from ecovisor.settings import App, Scenario, Serving
from ecovisor.settings import Command as CommandSettings

INFINITY = float("inf")
#: Longest path of the folder of sockets: the rest is an app's name. [bytes]
_LONGEST_SOCKETS_PATH = 60
#: Ticks that may pass before one is a gap, unless the file says otherwise.
_GAP_TICKS = 10


def make_state_dir(state_dir: Path) -> None:
    """Containers' users pass through it to what is theirs, and see nothing else."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        state_dir.chmod(0o711)
        sockets = state_dir / "sockets"
        if len(os.fsencode(sockets)) > _LONGEST_SOCKETS_PATH and not sockets.exists():
            sockets.unlink(missing_ok=True)  # a link that leads nowhere any more
            sockets.symlink_to(tempfile.mkdtemp(prefix="ecovisor-"))  # a Unix socket's address is short
        sockets.mkdir(exist_ok=True)
        sockets.chmod(0o711)
    except OSError as error:
        where = error.filename or state_dir
        raise SettingsError("server.state_dir", f"{where}: {error.strerror}", "name a folder that can be written") from error


async def plant_and_clock(
    scenario: Scenario, serving: Serving, state_dir: Path, sun: Series | None, last: Last | None
) -> tuple[EnergyPlant, Clock, PlantProcess | None]:
    """The plant, the clock that it is read by, and its process if it has one of its own.

    Site time goes on where the ledger ends, if it would begin before that. Raises `EcovisorError`: the plant does not start.
    """
    battery = None
    if scenario.site.battery is not None:
        parameters = resolve_battery(scenario.site.battery)
        battery = PlantBattery.like(parameters, cut_off_wh=parameters.capacity_wh * parameters.empty_ratio)
    trace = None if sun is None else SolarTrace(start_s=sun.start_s, step_s=sun.step_s, values_w=list(sun.values))
    start_s = None if scenario.run.start is None else live_interval_of(scenario.run).start_s
    if last is not None:
        start_s = max(time.time() if start_s is None else start_s, last.end_s)
    if serving.plant.kind == "emulated":
        config = PlantConfig(battery=battery, solar=trace, site_start_s=start_s, compression=serving.compression)
        try:
            process = await asyncio.to_thread(launch_plant, config, state_dir / "plant")
        except OSError as error:
            where = error.filename or state_dir / "plant"
            raise StoreError(f"{where}: {error.strerror}; check the disk and the permissions") from error
        return EmulatedPlantClient(process.socket_path), RealClock(process.anchor), process
    clock = (
        ManualClock(start_s or 0.0, serving.compression)
        if serving.lockstep
        else RealClock.starting_at(start_s, serving.compression)
    )
    core = EmulatedPlant.starting(battery, trace, site_s=clock.site_s(), epoch=secrets.token_hex(6))
    reading = None if last is None else last_reading(last.plant)
    if reading is not None:
        state = PlantState(site_s=clock.site_s(), level_wh=reading.level_wh)
        core = EmulatedPlant(battery, trace, state=state, site_s=state.site_s, epoch=core.epoch)
    return InProcessPlant(core, clock), clock, None


def platform_of(serving: Serving, state_dir: Path, clock: Clock) -> Platform:
    """What runs the containers."""
    if serving.platform == "simulated":
        return SimulatedPlatform(clock)
    return ProcessPlatform(
        state_dir / "containers", mechanism=serving.cap_mechanism, uids=DEFAULT_UIDS if serving.separate_users else None
    )


async def meter_of(serving: Serving, folder: Path) -> tuple[NodeMeter | None, list[str]]:
    """The first of the configured meters that works, and why those before it did not."""
    choice = await choose_meter(serving.meters, folder=folder)
    return choice.meter, [f"meter {name}: {reason}" for name, reason in choice.failures]


def live_settings(scenario: Scenario, serving: Serving, folder: Path, tick_s: float) -> LiveSettings:
    """What the driver is told."""
    battery = resolve_battery(scenario.site.battery) if scenario.site.battery is not None else None
    exports = "export" in scenario.site.excess
    return LiveSettings(
        name=scenario.site.name,
        timezone=scenario.site.timezone,
        tick_s=tick_s,
        gap_after_s=duration_s(serving.gap_after) if serving.gap_after else _GAP_TICKS * tick_s,
        max_age_s=duration_s(serving.max_age),
        enforce_budgets=serving.enforce_budgets,
        lockstep=serving.lockstep,
        export_limit_w=(INFINITY if scenario.site.export_limit_w is None else scenario.site.export_limit_w)
        if exports
        else INFINITY,
        below_line_wh=0.0 if battery is None else battery.capacity_wh * battery.empty_ratio,
        efficiencies=Efficiencies(1.0, 1.0)
        if battery is None
        else Efficiencies(battery.charge_efficiency, battery.discharge_efficiency),
        has_battery=battery is not None,
        keep_ticks_s=duration_s(serving.keep_ticks),
        commands=commands_of(serving, folder),
        apps=[_live_app(app, copy) for app in scenario.apps for copy in range(app.count)],
    )


def commands_of(serving: Serving, folder: Path) -> dict[str, Command]:
    """What containers may run, by name."""
    return {name: _command(command, folder) for name, command in serving.commands.items()}


def _command(command: CommandSettings, folder: Path) -> Command:
    argv = [sys.executable if part == "{python}" else part for part in command.argv]
    return Command(argv, None if command.directory is None else str((folder / command.directory).resolve()), command.environment)


def _live_app(app: App, copy: int) -> LiveApp:
    whole = shares_of(app)
    shares = AppShares(*(getattr(whole, name) / app.count for name in ("grid", "solar", "battery_energy", "battery_power")))
    return LiveApp(
        name=app.name if app.count == 1 else f"{app.name}-{copy + 1}",
        shares=shares,
        remote=app.policy.kind == "remote",
        real=app.workload.kind == "containers",
        webhook_allow=tuple(app.webhook_allow),
    )


def listeners_of(serving: Serving, folder: Path, state_dir: Path) -> list[Listener]:
    """Where the REST interface listens at first; apps get sockets of their own when they join."""
    host, _, port = serving.listen.rpartition(":")
    certificate = None if serving.tls_certificate is None else folder / serving.tls_certificate
    key = None if serving.tls_key is None else folder / serving.tls_key
    listeners: list[Listener] = [Tcp(host.strip("[]"), int(port), certificate, key)]
    if serving.metrics_listen is not None:
        host, _, port = serving.metrics_listen.rpartition(":")
        listeners.append(Tcp(host.strip("[]"), int(port), metrics_only=True))
    listeners.append(Unix(socket_path(state_dir, None), None))
    return listeners

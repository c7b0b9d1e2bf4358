"""From a site file to a site that runs live: state directory, ledger, plant, platform, signals, driver, REST interface.

`open_site` builds it and begins the first tick; `LiveSite.run` ticks until it is stopped. The command line adds signals and printing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from ecovisor import wire
from ecovisor.adapters.callbacks.webhooks import WebhookLimits, Webhooks
from ecovisor.adapters.clocks import ManualClock, RealClock
from ecovisor.adapters.devices.emulated import EmulatedPlant, SolarTrace
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
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.api.application import create_app
from ecovisor.api.listening import Listener, Tcp, Unix
from ecovisor.api.server import Server
from ecovisor.api.tokens import Tokens
from ecovisor.assembly.doors import Doors
from ecovisor.assembly.live_signals import signals_of, site_of, sun_of
from ecovisor.assembly.reload import reload
from ecovisor.dashboard import routes as dashboard_routes
from ecovisor.engine.loop import Loop
from ecovisor.engine.specification import AppSpec
from ecovisor.live.ecovisor import Ecovisor
from ecovisor.live.events import Tap
from ecovisor.live.grants import Efficiencies
from ecovisor.live.settings import LiveApp, LiveSettings
from ecovisor.live.signals import Signal as LiveSignalPort
from ecovisor.live.signals import SiteSignals
from ecovisor.live.ticking import Ticker
from ecovisor.model.errors import PolicyError, Refused, SettingsError, StoreError
from ecovisor.model.series import Series
from ecovisor.model.units import duration_s
from ecovisor.ports.live import Clock, Command, EnergyPlant, NodeMeter, Platform
from ecovisor.presets import AppShares, resolve_battery, shares_of
from ecovisor.settings import App, Policy, Scenario, Serving, Workload
from ecovisor.settings import Command as CommandSettings
from ecovisor.workloads.models import Metered

log = logging.getLogger("ecovisor")
INFINITY = float("inf")
#: Longest path of the folder of sockets: the rest is an app's name. [bytes]
_LONGEST_SOCKETS_PATH = 60
#: How often old ticks are removed. [s, wall time]
_PRUNE_EVERY_S = 600.0
#: Ticks after which all that lasts has been made.
_SETTLED_TICKS = 3
#: Ticks that may pass before one is a gap, unless the file says otherwise.
_GAP_TICKS = 10


def freeze_memory() -> None:
    """What has been made so far stays: the garbage collector does not walk through it again, which takes long with many apps."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@dataclass(slots=True)
class LiveSite:
    """A site that runs.

    Attributes:
        ecovisor: the driver.
        server: the REST interface; None: none was wanted.
        tokens: who may come in.
        new_tokens: made because there were none; app or `_operator` → token. Told once.
        plant_process: the emulated plant's, if it is one.
        notes: what people should know.
    """

    ecovisor: Ecovisor
    server: Server | None
    tokens: Tokens
    new_tokens: Mapping[str, str]
    state_dir: Path
    plant_process: PlantProcess | None
    notes: Sequence[str]
    _scenario: Scenario
    _ledger: Ledger
    _webhooks: Webhooks | None

    @property
    def url(self) -> str:
        """Of the REST interface and the dashboard."""
        return "" if self.server is None else self.server.addresses[0]

    def socket_of(self, app: str | None) -> Path:
        """The Unix socket of an app, or of the operator (None)."""
        return socket_path(self.state_dir, app)

    async def run(self) -> None:
        """Tick until `stop` is called."""
        housekeeping = [asyncio.create_task(self._tidy()), asyncio.create_task(self._prune())]
        try:
            await self.ecovisor.run()
        finally:
            for task in housekeeping:
                task.cancel()
            await asyncio.gather(*housekeeping, return_exceptions=True)

    async def _prune(self) -> None:
        """Now and then, forget ticks that are older than they are kept; their hours stay."""
        while True:
            await asyncio.sleep(_PRUNE_EVERY_S)
            before_s = self.ecovisor.clock.site_s() - self.ecovisor.settings.keep_ticks_s
            try:
                await asyncio.to_thread(self._ledger.prune, ticks_before_s=before_s)
            except StoreError as error:
                log.warning("old ticks were not removed: %s", error)

    async def _tidy(self) -> None:
        await self.ecovisor.wait_published(self.ecovisor.tick + _SETTLED_TICKS)
        freeze_memory()

    async def reload(self, scenario: Scenario) -> list[str]:
        """Apply a file that was read again, as far as that goes without a restart; a line for each difference."""
        lines = await reload(self.ecovisor, self._scenario, scenario)
        self._scenario = scenario
        return lines

    def stop(self) -> None:
        """End after the tick's step that is being done."""
        self.ecovisor.stop()

    async def close(self, *, stop_containers: bool = True, stop_plant: bool = True) -> None:
        """End everything in order."""
        if self.server is not None:
            await self.server.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
        await self.ecovisor.close(stop_containers=stop_containers)
        if stop_plant and self.plant_process is not None:
            await asyncio.to_thread(self.plant_process.stop)
        self._ledger.close()


async def open_site(scenario: Scenario, folder: Path, *, listen: bool = True) -> LiveSite:
    """Build a site and begin its first tick.

    Args:
        scenario: checked, with a table `[server]`.
        folder: relative paths in it start here.
        listen: serve the REST interface.

    Raises:
        EcovisorError: something in the file cannot be used, or something that the site needs is not there.
    """
    serving = scenario.server
    if serving is None:
        raise SettingsError("server", "missing", "add a table [server]; 'ecovisor init --live' writes one")
    state_dir = (folder / serving.state_dir).resolve()
    _make_state_dir(state_dir)
    ledger = Ledger.open(state_dir / "ledger", site=scenario.site.name, timezone=scenario.site.timezone)
    try:
        return await _open(scenario, serving, folder, state_dir, ledger, listen)
    except BaseException:
        ledger.close()
        raise


async def _open(scenario: Scenario, serving: Serving, folder: Path, state_dir: Path, ledger: Ledger, listen: bool) -> LiveSite:
    as_written, scenario = scenario, _with_registered(scenario, ledger)
    tick_s = live_interval_of(scenario.run).tick_s
    sun = await asyncio.to_thread(sun_of, scenario, folder, tick_s)
    plant, clock, process = await _plant_and_clock(scenario, serving, state_dir, sun)
    platform = _platform(serving, state_dir, clock)
    doors = Doors(state_dir, platform)
    meter, notes = await _meter(serving, folder)
    live_signals = signals_of(scenario, folder, clock, tick_s, duration_s(serving.max_age))
    tap = Tap(ledger.tables)
    site = site_of(scenario, folder, tap, live_signals, clock, tick_s, sun)
    failed: list[PolicyError] = []
    loop = Loop(site, policies_in_python=True, on_error=failed.append)
    ticker = Ticker(
        site=site,
        tap=tap,
        loop=loop,
        settings=_live_settings(scenario, serving, folder, tick_s),
        clock=clock,
        ledger=ledger,
        platform=platform,
        plant=plant,
        node_meter=meter,
        signals=SiteSignals(
            cast("Mapping[str, LiveSignalPort]", {name: one for name, one in live_signals.items() if name != "solar"}),
            [name for name in live_signals if name not in ("carbon", "solar", "price")],
        ),
        environment=doors.environment,
        failed_policies=failed,
    )
    ecovisor = Ecovisor(ticker, lambda request: _added(request, serving), doors)
    tokens = Tokens(ledger.registry, clock.wall_s)
    await asyncio.to_thread(tokens.load)
    new_tokens = await asyncio.to_thread(_issue_missing, tokens)
    webhooks = Webhooks(ecovisor, limits=WebhookLimits(failures=serving.webhook_failures))
    server: Server | None = None
    if listen:
        app = create_app(ecovisor, tokens=tokens, callbacks=webhooks, extra_routes=dashboard_routes())
        doors.server = server = Server(app, _listeners(serving, folder, state_dir), allow_insecure=serving.allow_insecure)
        await server.start()
    try:
        await ecovisor.open()
        for one in scenario.apps:
            await doors.open(one.name)
        await webhooks.start()
    except BaseException:
        if server is not None:
            await server.stop()
        with contextlib.suppress(Exception):
            await ecovisor.close()
        raise
    return LiveSite(ecovisor, server, tokens, new_tokens, state_dir, process, notes, as_written, ledger, webhooks)


# -- parts


def _make_state_dir(state_dir: Path) -> None:
    """Containers' users pass through it to what is theirs, and see nothing else."""
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        state_dir.chmod(0o711)
        sockets = state_dir / "sockets"
        if len(os.fsencode(sockets)) > _LONGEST_SOCKETS_PATH and not sockets.is_dir():
            sockets.unlink(missing_ok=True)
            sockets.symlink_to(tempfile.mkdtemp(prefix="ecovisor-"))  # a Unix socket's address is short
        sockets.mkdir(exist_ok=True)
        sockets.chmod(0o711)
    except OSError as error:
        raise SettingsError("server.state_dir", f"{state_dir}: {error.strerror}", "name a folder that can be written") from error


def _with_registered(scenario: Scenario, ledger: Ledger) -> Scenario:
    """The apps of the file, with those that the operator has added, without those that were removed, with the shares last set."""
    apps = {app.name: app for app in scenario.apps}
    for name, value in ledger.registry.items("apps"):
        request = msgspec.json.decode(value, type=wire.AddApp | None)
        if request is None:
            apps.pop(name, None)
        elif name not in apps:
            apps[name] = _app_of(request)
    for name, value in ledger.registry.items("shares"):
        if name in apps:
            shares = msgspec.json.decode(value, type=wire.Shares)
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
        containers=max(request.containers, 1),
        cores=request.cores,
        commands=list(request.commands),
        webhook_allow=list(request.webhook_allow),
        workload=Workload(kind="containers"),
        policy=Policy(kind="remote"),
    )


def _added(request: wire.AddApp, serving: Serving) -> AppSpec:
    """What joins for an app that the operator adds."""
    unknown = [name for name in request.commands if name not in serving.commands]
    if unknown:
        known = ", ".join(serving.commands) or "none"
        raise Refused(f"command {unknown[0]!r} is not among the site's commands ({known}); add [server.commands.{unknown[0]}]")
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


async def _plant_and_clock(
    scenario: Scenario, serving: Serving, state_dir: Path, sun: Series | None
) -> tuple[EnergyPlant, Clock, PlantProcess | None]:
    battery = None
    if scenario.site.battery is not None:
        parameters = resolve_battery(scenario.site.battery)
        battery = PlantBattery.like(parameters, cut_off_wh=parameters.capacity_wh * parameters.empty_ratio)
    trace = None if sun is None else SolarTrace(start_s=sun.start_s, step_s=sun.step_s, values_w=list(sun.values))
    start_s = None if scenario.run.start is None else live_interval_of(scenario.run).start_s
    if serving.plant.kind == "emulated":
        config = PlantConfig(battery=battery, solar=trace, site_start_s=start_s, compression=serving.compression)
        process = await asyncio.to_thread(launch_plant, config, state_dir / "plant")
        return EmulatedPlantClient(process.socket_path), RealClock(process.anchor), process
    clock = (
        ManualClock(start_s or 0.0, serving.compression)
        if serving.lockstep
        else RealClock.starting_at(start_s, serving.compression)
    )
    return InProcessPlant(EmulatedPlant.starting(battery, trace, site_s=clock.site_s()), clock), clock, None


def _platform(serving: Serving, state_dir: Path, clock: Clock) -> Platform:
    if serving.platform == "simulated":
        return SimulatedPlatform(clock)
    return ProcessPlatform(
        state_dir / "containers", mechanism=serving.cap_mechanism, uids=DEFAULT_UIDS if serving.separate_users else None
    )


async def _meter(serving: Serving, folder: Path) -> tuple[NodeMeter | None, list[str]]:
    choice = await choose_meter(serving.meters, folder=folder)
    return choice.meter, [f"meter {name}: {reason}" for name, reason in choice.failures]


def _live_settings(scenario: Scenario, serving: Serving, folder: Path, tick_s: float) -> LiveSettings:
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
        commands={name: _command(command, folder) for name, command in serving.commands.items()},
        apps=[_live_app(app) for app in scenario.apps],
    )


def _command(command: CommandSettings, folder: Path) -> Command:
    argv = [sys.executable if part == "{python}" else part for part in command.argv]
    return Command(argv, None if command.directory is None else str((folder / command.directory).resolve()), command.environment)


def _live_app(app: App) -> LiveApp:
    return LiveApp(
        name=app.name,
        shares=shares_of(app),
        remote=app.policy.kind == "remote",
        real=app.workload.kind == "containers",
        webhook_allow=tuple(app.webhook_allow),
    )


def _issue_missing(tokens: Tokens) -> dict[str, str]:
    """A token for the operator, if there is none; apps' tokens are made when somebody asks for them."""
    return {} if tokens.known(None) else {"_operator": tokens.issue(None)}


def _listeners(serving: Serving, folder: Path, state_dir: Path) -> list[Listener]:
    host, _, port = serving.listen.rpartition(":")
    certificate = None if serving.tls_certificate is None else folder / serving.tls_certificate
    key = None if serving.tls_key is None else folder / serving.tls_key
    listeners: list[Listener] = [Tcp(host.strip("[]"), int(port), certificate, key)]
    if serving.metrics_listen is not None:
        host, _, port = serving.metrics_listen.rpartition(":")
        listeners.append(Tcp(host.strip("[]"), int(port), metrics_only=True))
    listeners.append(Unix(socket_path(state_dir, None), None))
    return listeners

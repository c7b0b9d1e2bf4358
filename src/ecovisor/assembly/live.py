"""From a site file to a site that runs live: state directory, ledger, plant, platform, signals, driver, REST interface.

`open_site` builds it and begins the first tick; `LiveSite.run` ticks until it is stopped. The command line adds signals and printing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ecovisor.adapters.callbacks.webhooks import WebhookLimits, Webhooks
from ecovisor.adapters.devices.plant_process import PlantProcess
from ecovisor.adapters.scenario_checks import live_interval_of
from ecovisor.adapters.sockets import socket_path
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.api.application import create_app
from ecovisor.api.server import Server
from ecovisor.api.tokens import Tokens
from ecovisor.assembly.doors import Doors
from ecovisor.assembly.live_parts import (
    commands_of,
    listeners_of,
    live_settings,
    make_state_dir,
    meter_of,
    plant_and_clock,
    platform_of,
)
from ecovisor.assembly.live_signals import signals_of, site_of, sun_of
from ecovisor.assembly.registered import added, with_registered
from ecovisor.assembly.reload import reload
from ecovisor.dashboard import routes as dashboard_routes
from ecovisor.engine.loop import Loop
from ecovisor.live.ecovisor import Ecovisor
from ecovisor.live.events import Tap
from ecovisor.live.signals import DEADLINE_S as SIGNAL_DEADLINE_S
from ecovisor.live.signals import Signal as LiveSignalPort
from ecovisor.live.signals import SiteSignals
from ecovisor.live.ticking import Ticker
from ecovisor.model.errors import PolicyError, SettingsError, StoreError
from ecovisor.settings import Scenario, Serving

log = logging.getLogger("ecovisor")
#: How often old ticks are removed. [s, wall time]
_PRUNE_EVERY_S = 600.0
#: Ticks after which all that lasts has been made.
_SETTLED_TICKS = 3


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
    _folder: Path
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
        commands = {} if scenario.server is None else commands_of(scenario.server, self._folder)
        lines = await reload(self.ecovisor, self._scenario, scenario, commands)
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
    make_state_dir(state_dir)
    with contextlib.ExitStack() as undo:
        ledger = Ledger.open(state_dir / "ledger", site=scenario.site.name, timezone=scenario.site.timezone)
        undo.callback(ledger.close)
        opened = await _open(scenario, serving, folder, state_dir, ledger, undo, listen)
        undo.pop_all()
    return opened


async def _open(
    scenario: Scenario, serving: Serving, folder: Path, state_dir: Path, ledger: Ledger, undo: contextlib.ExitStack, listen: bool
) -> LiveSite:
    as_written, scenario = scenario, with_registered(scenario, ledger)
    tick_s = live_interval_of(scenario.run).tick_s
    sun = await asyncio.to_thread(sun_of, scenario, folder, tick_s)
    last = await asyncio.to_thread(ledger.last)
    plant, clock, process = await plant_and_clock(scenario, serving, state_dir, sun, last)
    if process is not None and not process.found:
        undo.callback(process.stop)
    platform = platform_of(serving, state_dir, clock)
    doors = Doors(state_dir, platform)
    meter, notes = await meter_of(serving, folder)
    live_signals = signals_of(scenario, serving, folder, clock, tick_s)
    tap = Tap(ledger.tables)
    site = site_of(scenario, folder, tap, live_signals, clock, tick_s, sun)
    failed: list[PolicyError] = []
    loop = Loop(site, policies_in_python=True, on_error=failed.append)
    ticker = Ticker(
        site=site,
        tap=tap,
        loop=loop,
        settings=live_settings(scenario, serving, folder, tick_s),
        clock=clock,
        ledger=ledger,
        platform=platform,
        plant=plant,
        node_meter=meter,
        signals=SiteSignals(
            cast("Mapping[str, LiveSignalPort]", {name: one for name, one in live_signals.items() if name != "solar"}),
            [name for name in live_signals if name not in ("carbon", "solar", "price")],
            deadline_s=math.inf if serving.lockstep else SIGNAL_DEADLINE_S,
        ),
        environment=doors.environment,
        failed_policies=failed,
    )
    ecovisor = Ecovisor(ticker, lambda request: added(request, ticker.enforcement.commands), doors)
    tokens = Tokens(ledger.registry, clock.wall_s)
    await asyncio.to_thread(tokens.load)
    new_tokens = await asyncio.to_thread(_issue_missing, tokens)
    webhooks = Webhooks(ecovisor, limits=WebhookLimits(failures=serving.webhook_failures))
    server: Server | None = None
    if listen:
        app = create_app(ecovisor, tokens=tokens, callbacks=webhooks, extra_routes=dashboard_routes())
        doors.server = server = Server(app, listeners_of(serving, folder, state_dir), allow_insecure=serving.allow_insecure)
        await server.start()
    try:
        await ecovisor.open()
        for one in scenario.apps:
            if one.count == 1:  # copies of an app are simulated, and come by their tokens
                await doors.open(one.name)
        await webhooks.start()
        notes += platform.isolation().notes
    except BaseException:
        if server is not None:
            await server.stop()
        with contextlib.suppress(Exception):
            await ecovisor.close(stop_containers=False)  # those from before were not ours to end
        raise
    return LiveSite(ecovisor, server, tokens, new_tokens, state_dir, process, notes, as_written, folder, ledger, webhooks)


def _issue_missing(tokens: Tokens) -> dict[str, str]:
    """A token for the operator, if there is none; apps' tokens are made when somebody asks for them."""
    return {} if tokens.known(None) else {"_operator": tokens.issue(None)}

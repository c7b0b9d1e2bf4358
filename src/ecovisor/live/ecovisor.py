"""A running ecovisor as the REST interface sees it (`api.backend.Backend`): what is known, what may be changed, who comes and goes.

`ticking` decides when; here are the answers between two of its steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable

import msgspec

from ecovisor import wire
from ecovisor.api.backend import Changed, Published, Registry
from ecovisor.engine import checkpoint
from ecovisor.engine.multiplexing import remaining_shares
from ecovisor.engine.saved_settings import AppSettings
from ecovisor.engine.specification import SITE_APP, AppSpec
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.live.settings import LiveApp, LiveSettings
from ecovisor.live.signals import forecast_answer
from ecovisor.live.ticking import Ticker
from ecovisor.model.errors import Refused, StoreError, UnknownApp
from ecovisor.ports import VirtualEnergy
from ecovisor.ports.live import Clock, Command
from ecovisor.presets import AppShares
from ecovisor.workloads.models import Metered

T = TypeVar("T")

#: Kind and key of the registry's record of shares that were set at run time.
SHARES, ALL_APPS = "shares", "_all"


def kept_shares(registry: Registry) -> dict[str, wire.Shares]:
    """Shares that were set at run time, by app. Slow. Raises `StoreError`."""
    kept = registry.get(SHARES, ALL_APPS)
    return {} if kept is None else msgspec.json.decode(kept, type=dict[str, wire.Shares])


@runtime_checkable
class Sun(Protocol):
    """An emulated plant, whose sun can be scaled."""

    async def set_sun(self, ratio: float) -> None:
        """Scale it. [1]"""
        ...


class Doors(Protocol):
    """Apps' own ways in, which come and go with them."""

    async def open(self, app: str) -> None:
        """Raises `SettingsError`."""
        ...

    async def close(self, app: str) -> None:
        """Nobody comes in any more."""
        ...


class Ecovisor:
    """Implements `ecovisor.api.backend.Backend`.

    Args:
        ticker: ticks the site.
        specification: makes an app that the operator adds.
        doors: of apps that join and leave; None: they have none of their own.
    """

    def __init__(self, ticker: Ticker, specification: Callable[[wire.AddApp], AppSpec], doors: Doors | None = None) -> None:
        self._ticker = ticker
        self._specification = specification
        self._doors = doors
        self._arranging = asyncio.Lock()
        self._answered: dict[str, int] = {}

    # -- life

    async def open(self) -> None:
        """Begin the first tick. Raises `EcovisorError`."""
        await self._ticker.open()

    async def run(self) -> None:
        """Tick until `stop` is called."""
        await self._ticker.run()

    def stop(self) -> None:
        """End after what is being done now."""
        self._ticker.stop()

    async def close(self, *, stop_containers: bool = True) -> None:
        """Let go of everything, in order."""
        await self._ticker.close(stop_containers=stop_containers)

    @property
    def settings(self) -> LiveSettings:
        """What it was told by its configuration."""
        return self._ticker.settings

    # -- Backend: what apps know

    @property
    def clock(self) -> Clock:
        """See `Backend`."""
        return self._ticker.clock

    @property
    def registry(self) -> Registry:
        """See `Backend`."""
        return self._ticker.ledger.registry

    @property
    def tick(self) -> int:
        """See `Backend`."""
        return self._ticker.snapshots.tick

    def apps(self) -> Sequence[str]:
        """See `Backend`."""
        return [name for name in self._ticker.snapshots.names if name != SITE_APP]

    def snapshot(self, app: str) -> Published:
        """See `Backend`."""
        return self._ticker.snapshots.app(app)

    def site_snapshot(self) -> Published:
        """See `Backend`."""
        return self._ticker.snapshots.whole()

    def site_state(self) -> wire.SiteSnapshot:
        """The site's snapshot itself, for who runs in this process."""
        return self._ticker.snapshots.site_snapshot()

    def energy(self, app: str) -> VirtualEnergySystem:
        """See `Backend`."""
        if app not in self._ticker.numbers():
            raise UnknownApp(f"app {app!r} does not exist")
        return self._ticker.site.app(app)

    async def usage(self, app: str, start_s: float, end_s: float, container: str | None) -> wire.Usage:
        """See `Backend`."""
        self.energy(app)
        return await asyncio.to_thread(self._ticker.ledger.usage, app, start_s, end_s, container)

    async def history(self, app: str, metric: str, start_s: float, end_s: float, step_s: float | None) -> wire.History:
        """See `Backend`."""
        self.energy(app)
        ledger = self._ticker.ledger
        answer = await asyncio.to_thread(ledger.history, app, metric, start_s, end_s, step_s)
        kept = await asyncio.to_thread(ledger.extent)
        return answer if kept is None else msgspec.structs.replace(answer, kept_start_s=kept[0], kept_end_s=kept[1])

    async def forecast(self, app: str, signal: str, horizon_s: float) -> wire.Forecast:
        """See `Backend`."""
        return forecast_answer(signal, self.energy(app).forecast(signal, horizon_s))

    async def logs(self, app: str, container_id: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        if container_id not in self.energy(app).container_ids:
            raise UnknownApp(f"container {container_id!r} does not exist")
        failure = self._ticker.enforcement.failure(app, container_id)
        if failure is not None:
            return failure.encode()
        return await self._ticker.platform.logs(app, container_id, max_bytes=max_bytes)

    async def wait_published(self, after_tick: int) -> int:
        """See `Backend`."""
        return await self._ticker.events.wait(after_tick)

    async def events_since(self, app: str | None, after: str, *, limit: int = 1000) -> Sequence[wire.Notification]:
        """See `Backend`."""
        return await self._ticker.events.since(app, after, limit)

    # -- Backend: changes

    async def change(self, app: str, change: Callable[[VirtualEnergy], T]) -> Changed[T]:
        """See `Backend`."""
        energy = self.energy(app)
        async with self._ticker.changing(app):
            async with self._ticker.engine:
                before = energy.saved_settings()
                value, effective = self._change(app, energy, change, before)
                saved = checkpoint.settings_of(energy)
            try:
                await asyncio.to_thread(self._ticker.ledger.registry.put, "settings", app, saved)
            except StoreError:  # what could not be kept was not done
                async with self._ticker.engine:
                    energy.restore_settings(msgspec.structs.replace(before, tick=self._ticker.tick))
                self._ticker.snapshots.changed(app)
                raise
            await self._enforce_now(app, energy)
            self._ticker.snapshots.changed(app)
            return Changed(value, effective)

    def _change(
        self, app: str, energy: VirtualEnergySystem, change: Callable[[VirtualEnergy], T], before: AppSettings
    ) -> tuple[T, int]:
        number = self._ticker.numbers()[app]
        late = not self._ticker.window_open
        in_force = self._ticker.deferred.values(self._ticker.site, number)
        try:
            value = change(energy)
        except BaseException:
            energy.restore_settings(before)
            raise
        if late:
            self._ticker.deferred.keep(app, in_force)
        return value, self._ticker.tick + 1 if late else self._ticker.tick

    async def _enforce_now(self, app: str, energy: VirtualEnergySystem) -> None:
        """Caps and containers act at once. A container that cannot be started is refused, and gone again."""
        if not (app in self._ticker.apps and self._ticker.apps[app].real):
            return
        before = set(energy.container_ids)
        limit = self._ticker.limit_w(self._ticker.numbers()[app])
        known = {one for one in before if self._ticker.enforcement.state(app, one) is not None}
        await self._ticker.enforcement.apply(app, energy, limit)
        failed = [one for one in sorted(before - known) if self._ticker.enforcement.failure(app, one) is not None]
        if failed:
            reason = self._ticker.enforcement.failure(app, failed[0])
            async with self._ticker.engine:
                for one in failed:
                    energy.remove_container(one)
                saved = checkpoint.settings_of(energy)
            await asyncio.to_thread(self._ticker.ledger.registry.put, "settings", app, saved)
            await self._ticker.enforcement.apply(app, energy, limit)
            raise Refused(f"container was not started: {reason}")

    async def report_metrics(self, app: str, metrics: wire.AppMetrics) -> None:
        """See `Backend`."""
        energy = self.energy(app)
        async with self._ticker.engine:
            energy.metrics = {**energy.metrics, **metrics.metrics}
            if metrics.work_done is not None or metrics.work_total is not None:
                done, total = energy.work
                energy.report_progress(
                    done if metrics.work_done is None else metrics.work_done,
                    total if metrics.work_total is None else metrics.work_total,
                )
        self._ticker.snapshots.changed(app)

    async def tick_done(self, app: str, tick: int) -> None:
        """See `Backend`."""
        self.energy(app)
        self._answered[app] = max(tick, self._answered.get(app, -1))
        waited = [name for name, one in self._ticker.apps.items() if one.remote and name in self._ticker.numbers()]
        if all(self._answered.get(name, -1) >= self._ticker.tick for name in waited):
            self._ticker.all_answered.set()

    # -- Backend: the operator's

    async def add_app(self, request: wire.AddApp) -> int:
        """See `Backend`."""
        async with self._arranging:
            return await self._add_app(request)

    async def _add_app(self, request: wire.AddApp) -> int:
        if request.name in self._ticker.apps or request.name == SITE_APP:
            raise Refused(f"app {request.name!r} exists already; choose another name, or remove that one first")
        spec = self._specification(request)
        remaining_shares([*((app.shares, 1) for app in self._ticker.apps.values()), (spec.shares, 1)])
        if self._doors is not None:
            await self._doors.open(request.name)
        try:
            await asyncio.to_thread(self._forget_settings, request.name)  # of one that had the name before
            await asyncio.to_thread(self._ticker.ledger.registry.put, "apps", request.name, msgspec.json.encode(request))
        except BaseException:
            if self._doors is not None:
                await self._doors.close(request.name)
            raise
        self._ticker.apps[request.name] = LiveApp(
            name=request.name,
            shares=spec.shares,
            remote=True,
            real=isinstance(spec.workload, Metered),
            webhook_allow=tuple(request.webhook_allow),
        )
        self._ticker.boundary.append(lambda: self._ticker.site.join(spec))
        return self._ticker.tick + 1

    async def remove_app(self, app: str) -> int:
        """See `Backend`."""
        async with self._arranging:
            return await self._remove_app(app)

    async def _remove_app(self, app: str) -> int:
        if app == SITE_APP:
            raise Refused(f"app {app!r} cannot be removed")
        if app not in self._ticker.apps:
            raise UnknownApp(f"app {app!r} does not exist")
        async with self._ticker.changing(app):
            await asyncio.to_thread(self._ticker.ledger.registry.put, "apps", app, b"null")
            await asyncio.to_thread(self._forget_settings, app)
        del self._ticker.apps[app]
        if self._doors is not None:
            await self._doors.close(app)
        self._ticker.boundary.append(lambda: self._ticker.site.leave(app))
        await self._ticker.enforcement.forget(app)
        return self._ticker.tick + 1

    def check_arrangement(
        self, leaving: Collection[str], shares: Mapping[str, wire.Shares], joining: Sequence[wire.AddApp]
    ) -> None:
        """Whether all of this can be done at once: apps that leave, shares that change, apps that join.

        Raises:
            Infeasible: more shares than there are.
            Refused: a command that is not among the site's.
        """
        kept = {name: app.shares for name, app in self._ticker.apps.items() if name not in leaving}
        kept |= {name: _app_shares(one) for name, one in shares.items()}
        kept |= {one.name: self._specification(one).shares for one in joining}
        remaining_shares([(one, 1) for one in kept.values()])

    async def set_shares(self, shares: Mapping[str, wire.Shares]) -> int:
        """See `Backend`."""
        async with self._arranging:
            return await self._set_shares(shares)

    async def _set_shares(self, shares: Mapping[str, wire.Shares]) -> int:
        for name in shares:
            if name not in self._ticker.apps:
                raise UnknownApp(f"app {name!r} does not exist")
        new = {name: _app_shares(one) for name, one in shares.items()}
        remaining_shares([(new.get(name, app.shares), 1) for name, app in self._ticker.apps.items()])
        kept = await asyncio.to_thread(self._kept_shares)
        encoded = msgspec.json.encode(kept | dict(shares))
        await asyncio.to_thread(self._ticker.ledger.registry.put, SHARES, ALL_APPS, encoded)  # all of them or none
        for name, share in new.items():
            self._ticker.apps[name] = replace(self._ticker.apps[name], shares=share)
        self._ticker.boundary.append(lambda: self._ticker.site.set_shares(new))
        return self._ticker.tick + 1

    def _kept_shares(self) -> dict[str, wire.Shares]:
        """Those that were set at run time; slow."""
        return kept_shares(self._ticker.ledger.registry)

    def _forget_settings(self, app: str) -> None:
        """What an app set, and the shares that it was given at run time; slow."""
        registry = self._ticker.ledger.registry
        registry.delete("settings", app)
        kept = self._kept_shares()
        if kept.pop(app, None) is not None:
            registry.put(SHARES, ALL_APPS, msgspec.json.encode(kept))

    def shares(self) -> Mapping[str, wire.Shares]:
        """See `Backend`."""
        return {
            name: wire.Shares(
                grid=app.shares.grid,
                solar=app.shares.solar,
                battery_energy=app.shares.battery_energy,
                battery_power=app.shares.battery_power,
            )
            for name, app in self._ticker.apps.items()
        }

    async def set_sun(self, ratio: float) -> None:
        """See `Backend`."""
        plant = self._ticker.plant
        if not isinstance(plant, Sun):
            raise Refused("the plant is real: its sun cannot be scaled")
        await plant.set_sun(ratio)
        self._ticker.sun_ratio = ratio

    def allowed_webhooks(self, app: str) -> Sequence[str]:
        """See `Backend`."""
        return self._ticker.apps[app].webhook_allow if app in self._ticker.apps else ()

    def allow_webhooks(self, app: str, targets: Sequence[str]) -> None:
        """Change where an app's callbacks may go."""
        self._ticker.apps[app] = replace(self._ticker.apps[app], webhook_allow=tuple(targets))

    def allow_commands(self, commands: Mapping[str, Command]) -> Mapping[str, Command]:
        """Change what containers may run that are started from now on; returns what they might before."""
        before, self._ticker.enforcement.commands = self._ticker.enforcement.commands, commands
        return before

    def enforce_budgets(self, enforcing: bool) -> None:
        """Whether carbon budgets and rates limit the apps from the next tick on."""
        self._ticker.site.now.enforcing = enforcing

    def ready(self) -> Sequence[str]:
        """See `Backend`."""
        reasons = []
        if self._ticker.snapshots.tick < 0:
            reasons.append("the first tick has not begun")
        if self._ticker.recording.full or self._ticker.halted:
            reasons.append(f"{self._ticker.recording.waiting} ticks wait for the ledger: {self._ticker.recording.failure}")
        return reasons

    def site_name(self) -> str:
        """See `Backend`."""
        return self.settings.name


def _app_shares(one: wire.Shares) -> AppShares:
    return AppShares(one.grid, one.solar, one.battery_energy, one.battery_power)

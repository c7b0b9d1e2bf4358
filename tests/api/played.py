"""A running ecovisor that a test plays: two apps on the engine's small site, moved tick by tick, with faults where they are asked for."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from ecovisor import wire
from ecovisor.adapters.clocks import ManualClock
from ecovisor.api.backend import Changed, Published
from ecovisor.engine.loop import Loop
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.model.errors import Refused, StoreError, UnknownApp
from ecovisor.model.series import Series
from ecovisor.model.units import iso_utc
from ecovisor.ports import VirtualEnergy
from ecovisor.testing.sites import START_S, small_site
from ecovisor.workloads.models import ConstantDemand

T = TypeVar("T")
TICK_S = 900.0
APPS = ("app", "neighbour")
WALL_S = 1_767_225_600.0


class MemoryRegistry:
    """Facts in a dictionary; refuses to write while `full`."""

    def __init__(self) -> None:
        self.facts: dict[tuple[str, str], bytes] = {}
        self.full = False

    def get(self, kind: str, key: str) -> bytes | None:
        return self.facts.get((kind, key))

    def items(self, kind: str) -> Sequence[tuple[str, bytes]]:
        return [(key, value) for (found, key), value in sorted(self.facts.items()) if found == kind]

    def put(self, kind: str, key: str, value: bytes) -> None:
        if self.full:
            raise StoreError("state/ledger.db: the disk is full; make room")
        self.facts[kind, key] = value

    def delete(self, kind: str, key: str) -> None:
        if self.full:
            raise StoreError("state/ledger.db: the disk is full; make room")
        self.facts.pop((kind, key), None)


class PlayedBackend:
    """Implements `ecovisor.api.backend.Backend`."""

    def __init__(self) -> None:
        self.site = small_site(workload=ConstantDemand(demand_w=8.0), tick_s=TICK_S)
        self.site.call_every_tick()  # keeps the history
        self.loop = Loop(self.site, policies_in_python=True)
        self.loop.run(1)
        self.clock = ManualClock(START_S + TICK_S, wall_s=WALL_S)
        self.registry = MemoryRegistry()
        self.tick = 1
        self.names = list(APPS)
        self.webhooks: dict[str, list[str]] = {name: [] for name in APPS}
        self.told: list[wire.Notification] = [self._tick_event(1)]
        self.not_ready: list[str] = []
        self.faults: dict[str, Exception] = {}
        """By function: what it raises."""
        self.gates: dict[str, asyncio.Event] = {}
        """By function: what it waits for."""
        self.metrics: dict[str, wire.AppMetrics] = {}
        self.answered: list[tuple[str, int]] = []
        self.written = b"hello\n"
        self.sun_ratio = 1.0
        self._shares = {name: wire.Shares(grid=0.25, solar=0.25, battery_energy=0.25, battery_power=0.25) for name in APPS}
        self._published = asyncio.Event()
        self._bodies: dict[str, Published] = {}

    # -- moved by the test

    def advance(self, *events: tuple[str, str, float | None]) -> None:
        """One more tick, with events (app, kind, value) besides its own."""
        self.loop.run(self.tick + 1)
        self.tick += 1
        self.told.append(self._tick_event(self.tick))
        for number, (app, kind, value) in enumerate(events, start=1):
            self.told.append(self._notification(self.tick, number, kind, app, value))
        self.clock.advance(START_S + self.tick * TICK_S)
        self._bodies.clear()
        published, self._published = self._published, asyncio.Event()
        published.set()

    def _tick_event(self, tick: int) -> wire.Notification:
        return self._notification(tick, 0, "tick", "", None)

    def _notification(self, tick: int, number: int, kind: str, app: str, value: float | None) -> wire.Notification:
        time_s = START_S + tick * TICK_S
        return wire.Notification(
            id=f"{tick}.{number}", kind=kind, app=app, tick=tick, time=iso_utc(time_s), wall_time=iso_utc(WALL_S), value=value
        )

    async def _play(self, function: str) -> None:
        if function in self.gates:
            await self.gates[function].wait()
        if function in self.faults:
            raise self.faults[function]

    # -- Backend

    def apps(self) -> Sequence[str]:
        return self.names

    def shares(self) -> Mapping[str, wire.Shares]:
        return self._shares

    def snapshot(self, app: str) -> Published:
        if "snapshot" in self.faults:
            raise self.faults["snapshot"]
        if app not in self._bodies:
            self._bodies[app] = self._publish(self.snapshot_of(app))
        return self._bodies[app]

    def site_snapshot(self) -> Published:
        if "" not in self._bodies:
            self._bodies[""] = self._publish(self._site_snapshot())
        return self._bodies[""]

    def energy(self, app: str) -> VirtualEnergy:
        return self._energy(app)

    def _energy(self, app: str) -> VirtualEnergySystem:
        if app not in {*self.names, "_site"}:
            raise UnknownApp(f"app {app!r} does not exist")
        return self.site.app(app)

    async def usage(self, app: str, start_s: float, end_s: float, container: str | None) -> wire.Usage:
        await self._play("usage")
        load = self._energy(app).history("demand_w", start_s, end_s)
        load_wh = math.fsum(load.values) * TICK_S / 3600.0
        return wire.Usage(
            app=app,
            container=container,
            start=iso_utc(load.start_s),
            end=iso_utc(load.end_s),
            coverage_ratio=1.0,
            energies=None,
            load_wh=load_wh,
            carbon_g=self._energy(app).get_app_carbon(start_s, end_s),
            carbon_on_use_g=None,
            unknown_carbon_wh=0.0,
            cost=None,
            qualities={"modelled": 1.0},
            gaps=[],
        )

    async def history(self, app: str, metric: str, start_s: float, end_s: float, step_s: float | None) -> wire.History:
        await self._play("history")
        series = self._energy(app).history(metric, start_s, end_s)
        return wire.History(
            app=app,
            metric=metric,
            unit=series.unit,
            start=iso_utc(series.start_s),
            start_s=series.start_s,
            end=iso_utc(series.end_s),
            step_s=series.step_s,
            values=_values(series),
            quality=str(series.quality),
            coverage_ratio=1.0,
        )

    async def forecast(self, app: str, signal: str, horizon_s: float) -> wire.Forecast:
        await self._play("forecast")
        series = self._energy(app).forecast(signal, horizon_s)
        return wire.Forecast(
            signal=signal,
            unit=series.unit,
            start=iso_utc(series.start_s),
            start_s=series.start_s,
            step_s=series.step_s,
            values=_values(series),
            quality=str(series.quality),
            origin=series.origin,
        )

    async def logs(self, app: str, container_id: str, max_bytes: int) -> bytes:
        await self._play("logs")
        return self.written[-max_bytes:]

    async def wait_published(self, after_tick: int) -> int:
        while self.tick <= after_tick:
            await self._published.wait()
        return self.tick

    async def events_since(self, app: str | None, after: str, *, limit: int = 1000) -> Sequence[wire.Notification]:
        await self._play("events_since")
        if app is not None and app not in self.names:
            raise UnknownApp(f"app {app!r} does not exist")
        position = tuple(int(part) for part in after.split(".")) if after else (-1, 0)
        told = [event for event in self.told if tuple(int(part) for part in event.id.split(".")) > position]
        own = [
            msgspec.structs.replace(event, app=event.app or app or "_site")
            for event in told
            if app in {None, event.app} or not event.app
        ]
        return own[:limit]

    async def change(self, app: str, change: Callable[[VirtualEnergy], T]) -> Changed[T]:
        await self._play("change")
        energy = self._energy(app)
        before = energy.saved_settings()
        try:
            value = change(energy)
        except BaseException:
            energy.restore_settings(before)
            raise
        self._bodies.clear()
        return Changed(value, self.tick)

    async def report_metrics(self, app: str, metrics: wire.AppMetrics) -> None:
        await self._play("report_metrics")
        self.metrics[app] = metrics

    async def tick_done(self, app: str, tick: int) -> None:
        self.answered.append((app, tick))

    async def add_app(self, request: wire.AddApp) -> int:
        await self._play("add_app")
        if request.name in self.names:
            raise Refused(f"app {request.name!r} exists already; choose another name")
        self.webhooks[request.name] = list(request.webhook_allow)
        self._shares[request.name] = request.shares
        return self.tick + 1

    async def remove_app(self, app: str) -> int:
        await self._play("remove_app")
        self.names.remove(app)
        self._shares.pop(app)
        return self.tick + 1

    async def set_shares(self, shares: Mapping[str, wire.Shares]) -> int:
        await self._play("set_shares")
        for name in shares:
            if name not in self.names:
                raise UnknownApp(f"app {name!r} does not exist")
        self._shares.update(shares)
        return self.tick + 1

    async def set_sun(self, ratio: float) -> None:
        await self._play("set_sun")
        self.sun_ratio = ratio

    def allowed_webhooks(self, app: str) -> Sequence[str]:
        return self.webhooks.get(app, ())

    def ready(self) -> Sequence[str]:
        return self.not_ready

    def site_name(self) -> str:
        return "played"

    # -- snapshots

    def snapshot_of(self, app: str) -> wire.Snapshot:
        """From the engine's getters."""
        energy = self._energy(app)
        saved = energy.saved_settings()
        grid_w, load_w = energy.get_grid_power(), energy.get_app_power()
        floors = {one.id: one for one in energy.containers.wanted()}
        zero = dict.fromkeys(wire.Energies.__struct_fields__, 0.0)
        budget = saved.budget_g
        spent_g = energy.get_app_carbon() - saved.spent_before_g
        return wire.Snapshot(
            app=app,
            tick=self.tick,
            effective_tick=self.tick,
            time=iso_utc(energy.now_s),
            now_s=energy.now_s,
            tick_s=TICK_S,
            last_dt_s=TICK_S,
            wall_time=iso_utc(self.clock.wall_s()),
            compression=1.0,
            timezone="UTC",
            solar=wire.SolarState(power_w=energy.get_solar_power(), quality="modelled", age_s=0.0),
            grid=wire.GridState(
                power_w=grid_w,
                limit_w=10.0,
                carbon_intensity_g_per_kwh=_known(energy.get_grid_carbon()),
                price_per_kwh=None,
                quality="modelled",
                age_s=0.0,
            ),
            battery=wire.BatteryState(
                level_wh=energy.get_battery_charge_level(),
                capacity_wh=energy.battery_capacity_wh,
                charge_limit_w=energy.battery_charge_limit_w,
                discharge_limit_w=energy.battery_discharge_limit_w,
                charge_rate_w=saved.charge_rate_w,
                max_discharge_w=saved.max_discharge_w,
                charge_w=0.0,
                discharge_w=energy.get_battery_discharge_rate(),
                stored_carbon_g=0.0,
            ),
            load=wire.LoadState(
                power_w=load_w,
                idle_power_w=energy.idle_power_w,
                cap_w=saved.app_cap_w,
                scale_ratio=saved.scale_ratio,
                unserved_w=0.0,
                overdraw_w=0.0,
                solar_w=0.0,
                battery_w=0.0,
                grid_w=grid_w,
                quality="modelled",
            ),
            carbon=wire.CarbonState(
                total_g=energy.get_app_carbon(),
                on_use_total_g=energy.get_app_carbon(),
                unknown_wh=0.0,
                rate_g_per_h=None,
                budget=None
                if budget is None
                else wire.BudgetState(
                    budget_g=budget, spent_g=spent_g, remaining_g=max(budget - spent_g, 0.0), exhausted_s=None, enforced=True
                ),
            ),
            containers=[
                wire.ContainerView(
                    id=one.id,
                    state="running" if one.running else "suspended",
                    cores=one.cores,
                    power_w=one.power_w,
                    cap_w=one.cap_w if one.cap_w < math.inf else None,
                    floor_w=floors[one.id].floor_w,
                    command="",
                    exit_code=None,
                    carbon_rate_g_per_h=energy.carbon_rates.get(one.id),
                    quality="modelled",
                )
                for one in energy.list_containers()
            ],
            totals=wire.Energies(**zero | {"load_wh": load_w * self.tick * TICK_S / 3600.0}),
            progress=wire.Progress(work_done=0.0, work_total=0.0, metrics={}),
            stale=[],
        )

    def _site_snapshot(self) -> wire.SiteSnapshot:
        apps = [self.snapshot_of(name) for name in (*self.names, "_site")]
        known = {
            "site": "played",
            "platform": "simulated",
            "wall_time": iso_utc(self.clock.wall_s()),
            "time": apps[0].time,
            "timezone": "UTC",
            "sources": [wire.SourceState(name="plant", quality="modelled", age_s=0.5, detail='a "plant"')],
            "apps": apps,
            "carbon_intensity_g_per_kwh": None,
            "sun_ratio": self.sun_ratio,
            "tick": self.tick,
            "now_s": apps[0].now_s,
            "tick_s": TICK_S,
            "compression": 1.0,
        }
        others: dict[str, object] = {
            one.name: one.type(1) for one in msgspec.structs.fields(wire.SiteSnapshot) if one.name not in known
        }
        return wire.SiteSnapshot(**others | known)  # type: ignore[arg-type]

    def _publish(self, snapshot: msgspec.Struct) -> Published:
        body = msgspec.json.encode(snapshot)
        return Published(body, f'"{hashlib.sha256(body).hexdigest()[:16]}"', self.tick)


def _values(series: Series) -> list[float | None]:
    return [_known(value) for value in series.values]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

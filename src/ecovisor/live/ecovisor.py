"""A running ecovisor: the tick on a real clock, and everything that the REST interface asks (`ecovisor.api.backend.Backend`).

The tick is `_close_tick` and `_open_tick`, one function a step, in the order of the design: sense, attribute, settle, record, publish,
notify; then, when the window for settings ends, `_govern`: grant and enforce. The numbers are the engine's; this module decides when.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import msgspec

from ecovisor import wire
from ecovisor.adapters.stores.ledger import Batch, Ledger
from ecovisor.api.backend import Changed, Published, Registry
from ecovisor.engine import checkpoint
from ecovisor.engine.loop import Loop
from ecovisor.engine.multiplexing import remaining_shares
from ecovisor.engine.site import Site
from ecovisor.engine.specification import SITE_APP, AppSpec
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.live.enforcement import Enforcement
from ecovisor.live.events import EventLog, Tap, ToldTick
from ecovisor.live.grants import expected_battery_w, limit_w
from ecovisor.live.metering import ContainerMeter, Metered
from ecovisor.live.plant_control import VirtualTotals, residual_wh, set_point, unexplained_wh
from ecovisor.live.recording import Recording, Settled
from ecovisor.live.sensing import Sensed, Sensors
from ecovisor.live.settings import LiveApp, LiveSettings
from ecovisor.live.signals import Known, SiteSignals, forecast_answer
from ecovisor.live.snapshots import ContainerFacts, Frozen, Moment, Snapshots
from ecovisor.live.sources import MISSING
from ecovisor.model.errors import EcovisorError, PolicyError, Refused, UnknownApp
from ecovisor.model.series import Quality
from ecovisor.model.units import iso_utc
from ecovisor.ports import Event, VirtualEnergy
from ecovisor.ports.live import Clock, EmulatedLoad, EnergyPlant, NodeMeter, PlantReading, Platform, SetPoint
from ecovisor.presets import AppShares
from ecovisor.workloads.models import Metered as MeteredWorkload

log = logging.getLogger("ecovisor.live")

T = TypeVar("T")
INFINITY = float("inf")
#: Longest time after a tick's start in which settings still govern it. [s, wall time]
WINDOW_S = 1.0
#: A boundary that is met later than this part of a tick has been missed.
_MISSED_RATIO = 0.5
#: Settings that, made too late, govern the next tick.
_DEFERRED = ("charge_rate_w", "max_discharge_w", "grid_limit_w")
#: How long a lockstep tick waits for its apps. [s, wall time]
LOCKSTEP_WAIT_S = 60.0
_STOP_S = 10.0
#: Measured level and bookkeeping may differ by this part of the capacity without being a shortfall.
_LEVEL_NOISE_RATIO = 1e-7


class Sun(Protocol):
    """An emulated plant whose sun can be scaled."""

    async def set_sun(self, ratio: float) -> None:
        """Scale it. [1]"""
        ...


class LockstepClock(Protocol):
    """A clock that is moved when everybody has answered."""

    def advance(self, site_s: float) -> None:
        """Move it. [s since the epoch]"""
        ...


@dataclass(frozen=True, slots=True)
class _Baseline:
    """Where the comparison of meters and flows began."""

    reading: PlantReading
    totals: VirtualTotals
    unseen_wh: float
    """Solar energy that the meters had collected since it was read for the tick."""


class Ecovisor:
    """Implements `ecovisor.api.backend.Backend`.

    Args:
        site: with its apps joined, its tables going to ``tap``.
        tap: between the engine and the ledger.
        loop: of the site, policies in Python.
        settings: see `LiveSettings`.
        clock: site and wall time; in lockstep a `LockstepClock`.
        ledger: open.
        platform, plant, node_meter: what the site stands on.
        signals: carbon intensity, price and traces.
        environment: what an app's containers are told of the ecovisor.
        specification: makes an app that the operator adds.
        failed_policies: where the loop puts what policies raised.
    """

    def __init__(
        self,
        *,
        site: Site,
        tap: Tap,
        loop: Loop,
        settings: LiveSettings,
        clock: Clock,
        ledger: Ledger,
        platform: Platform,
        plant: EnergyPlant,
        node_meter: NodeMeter | None,
        signals: SiteSignals,
        environment: Callable[[str], Mapping[str, str]],
        specification: Callable[[wire.AddApp], AppSpec],
        failed_policies: list[PolicyError],
    ) -> None:
        self.settings = settings
        self.late_ticks = self.gaps = 0
        self._site, self._tap, self._loop, self._clock, self._ledger = site, tap, loop, clock, ledger
        self._platform, self._plant, self._node_meter, self._signals = platform, plant, node_meter, signals
        self._specification = specification
        self._failed_policies = failed_policies
        self._tick_wall_s = settings.tick_s / clock.compression
        self._window_s = min(self._tick_wall_s / 10.0, WINDOW_S)
        self._meter = ContainerMeter(site.physical.server, self._cores_of)
        self._sensors: Sensors | None = None
        self._enforcement = Enforcement(platform, site.physical.server, settings.commands, environment, self._tell)
        self._snapshots = Snapshots(site, self._container_facts, self._budget_state, lambda: self.effective_tick)
        self._events = EventLog(ledger.events)
        self._recording: Recording[Batch, tuple[Frozen, int]] = Recording(ledger, self._publish)
        self._apps = {app.name: app for app in settings.apps}
        self._engine = asyncio.Lock()
        self._app_locks: dict[str, asyncio.Lock] = {}
        self._boundary: list[Callable[[], None]] = []
        self._deferred: dict[str, dict[str, float]] = {}
        self._window_open = False
        self._answered: dict[str, int] = {}
        self._all_answered = asyncio.Event()
        self._stopping = asyncio.Event()
        self._metered = Metered({}, None, Quality.MODELLED)
        self._solar_booked_wh = 0.0
        self._solar_begin: PlantReading | None = None
        self._solar_w = 0.0
        self._reading: PlantReading | None = None
        self._physical: dict[str, float] = {}
        self._known = Known.nothing()
        self._baseline: _Baseline | None = None
        self._residual_wh = 0.0
        self._sun_ratio = 1.0
        self._last_dt_s = settings.tick_s
        self._spent: dict[str, float] = {}
        self._applied: dict[str, tuple[float, int, float]] = {}
        site.now.enforcing = settings.enforce_budgets

    # -- life

    async def open(self) -> None:
        """Connect to everything, take up where the last process ended, and begin the first tick.

        Raises:
            EcovisorError: something that the site cannot do without is not there.
        """
        await self._platform.open()
        await self._plant.open()
        await self._signals.open()
        self._sensors = Sensors(
            self._platform,
            self._plant,
            self._node_meter,
            self._clock,
            deadline_s=max(0.2, min(self._tick_wall_s / 4.0, 1.0)),
            max_age_s=self.settings.max_age_s,
        )
        self._recording.start()
        sensed = await self._sensors.sense(retry=True)
        statuses = {(one.app, one.id): one for one in sensed.statuses or ()}
        self._enforcement.adopt(statuses)
        await self._resume(sensed)
        await self._open_tick(told=None, batch=None)

    async def _resume(self, sensed: Sensed) -> None:
        """Begin anew, or go on after the last recorded tick: what passed since is a gap."""
        site, last = self._site, await asyncio.to_thread(self._ledger.last)
        site.begin()
        if last is None or not last.checkpoint:
            start_s = self._next_boundary_s(site.start_s, self._clock.site_s())
            await self._wait_until(start_s)
            site.start_s = site.now.start_s = start_s
            site.memory.set("start_s", start_s)
            site.recorder.history.restart(start_s)
            sensed = await self._sense()
            self._restart_meters(sensed)
            return
        saved = checkpoint.restore(site, last.checkpoint)
        for name, settings in await asyncio.to_thread(self._ledger.registry.items, "settings"):
            if name in site.app_names:
                checkpoint.restore_settings(site.app(name), settings)
        self._keep_on_running()
        before = msgspec.json.decode(last.plant, type=PlantReading) if last.plant else None
        end_s = self._next_boundary_s(saved.end_s, self._clock.site_s(), ahead=True)
        await self._wait_until(end_s)
        sensed = await self._sense()
        if end_s > saved.end_s:
            await self._record_gap(saved.end_s, end_s, before, sensed)
        self._restart_meters(sensed)

    def _keep_on_running(self) -> None:
        """Which tick is next is told by the checkpoint; late answers to earlier ones do not matter any more."""
        log.info("going on at tick %d, %s", self._tick, iso_utc(self._site.now.now_s))

    async def run(self) -> None:
        """Tick until `stop` is called."""
        while not self._stopping.is_set():
            await self._wait_for_window()
            await self._govern()
            if not await self._wait_until(self._tick_end_s):
                break
            await self._close_tick()

    def stop(self) -> None:
        """End after what is being done now."""
        self._stopping.set()
        self._all_answered.set()

    async def close(self, *, stop_containers: bool = True) -> None:
        """Let go of everything; what was settled is recorded first."""
        self.stop()
        await self._recording.stop(_STOP_S)
        await self._platform.close(stop_containers=stop_containers)
        with contextlib.suppress(EcovisorError):
            await self._plant.command(self._resting())
        await self._plant.close()
        await self._signals.close()

    # -- time

    @property
    def _tick(self) -> int:
        return int(self._site.memory.get("tick"))

    @property
    def _tick_end_s(self) -> float:
        return self._site.recorder.history.time_s(self._tick) + self.settings.tick_s

    @property
    def effective_tick(self) -> int:
        """The tick that a setting made now governs."""
        return self._tick if self._window_open else self._tick + 1

    def _next_boundary_s(self, aligned_s: float, now_s: float, *, ahead: bool = False) -> float:
        """The first boundary not before now, of those that lie a whole number of ticks after an instant."""
        ticks = math.ceil((now_s - aligned_s) / self.settings.tick_s - 1e-9)
        return aligned_s + max(ticks, 0 if ahead else ticks) * self.settings.tick_s

    async def _wait_until(self, site_s: float) -> bool:
        """Sleep; False if the site is being stopped."""
        if self.settings.lockstep:
            clock: Any = self._clock
            clock.advance(site_s)
            return not self._stopping.is_set()
        sleep = asyncio.ensure_future(self._clock.sleep_until(site_s))
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((sleep, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleep, stop):
                task.cancel()
        return not self._stopping.is_set()

    async def _wait_for_window(self) -> None:
        if self.settings.lockstep:
            await self._recording.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), LOCKSTEP_WAIT_S)
        else:
            await self._wait_until(self._tick_end_s - self.settings.tick_s + self._window_s * self._clock.compression)

    # -- the tick

    async def _close_tick(self) -> None:
        """The tick that ends now."""
        late_s = max(0.0, self._clock.site_s() - self._tick_end_s)
        dt_s = self.settings.tick_s
        if late_s > _MISSED_RATIO * dt_s:
            dt_s += math.ceil(late_s / dt_s - _MISSED_RATIO) * dt_s
        if self._recording.full or dt_s > self.settings.gap_after_s:
            await self._skip(dt_s)
            return
        sensed = await self._sense()
        metered = self._attribute(sensed)
        async with self._engine:
            began_s = self._site.recorder.history.time_s(self._tick)
            try:
                await asyncio.to_thread(self._settle, sensed, metered, dt_s)
            except PolicyError as error:  # a plug-in workload; the tick is settled without it
                self._tell(SITE_APP, "workload_error", str(error))
            await self._compare_with_plant(sensed, dt_s)
            if dt_s > self.settings.tick_s:
                self.late_ticks += 1
                self._tell(SITE_APP, "late", f"the tick took {dt_s:g} s instead of {self.settings.tick_s:g} s")
            self._observe_budgets()
            self._observe_containers(sensed)
            for action in self._boundary:
                action()
            self._boundary.clear()
            batch, told = await asyncio.to_thread(self._seal, began_s, dt_s, late_s if dt_s > self.settings.tick_s else 0.0)
            self._last_dt_s = dt_s
        await self._open_tick(told, batch)

    async def _sense(self) -> Sensed:
        if self._sensors is None:
            raise AssertionError("open() comes first")
        return await self._sensors.sense()

    def _attribute(self, sensed: Sensed) -> Metered:
        """Container power from counters; where they cannot be read, what it was in the last tick."""
        if sensed.statuses is not None:
            self._metered = self._meter.read(sensed.statuses, sensed.node, sensed.statuses_s)
        return self._metered

    def _settle(self, sensed: Sensed, metered: Metered, dt_s: float) -> None:
        """Runs in a thread: the engine's tick."""
        site, tick = self._site, self._tick
        for index, name in self._real_apps():
            handle = site.handle(index)
            handle.ask(handle.containers.set_metered_w(metered.power_w.get(name, {})))
        site.memory.set("metered_rest_w", -1.0 if metered.node_rest_w is None else metered.node_rest_w)
        site.recorder.set_qualities({name: metered.quality for _, name in self._real_apps()})
        self._solar_w = self._collected_w(sensed, dt_s)
        site.know(
            solar_w=self._solar_w,
            carbon_intensity_g_per_kwh=self._known.carbon_g_per_kwh,
            price_per_kwh=0.0 if self._known.price_per_kwh is None else self._known.price_per_kwh,
            traces=self._known.traces,
        )
        asked = self._swap_deferred()
        if dt_s > self.settings.tick_s:
            site.lengthen(dt_s)
        try:
            self._loop.run(tick + 1)
        finally:
            if dt_s > self.settings.tick_s:
                site.shorten(dt_s)
            self._restore_deferred(asked)
        self._adjust_battery(sensed, dt_s)

    def _collected_w(self, sensed: Sensed, dt_s: float) -> float:
        """Solar power of the tick by the plant's counter, so that what is booked is in the end what was metered. [W]"""
        reading, begin = sensed.plant, self._solar_begin
        if reading is None or begin is None:
            if reading is None:
                self._solar_booked_wh += self._solar_w * dt_s / 3600.0
                return self._solar_w if self._plant_known else 0.0
            self._solar_begin, self._solar_booked_wh = reading, 0.0
            return 0.0
        if reading.epoch != begin.epoch:
            self._solar_begin, self._solar_booked_wh = reading, 0.0
            return self._solar_w
        collected_wh = max(0.0, reading.solar_wh - begin.solar_wh - self._solar_booked_wh)
        self._solar_booked_wh += collected_wh
        return collected_wh * 3600.0 / dt_s

    @property
    def _plant_known(self) -> bool:
        return self._sensors is not None and self._sensors.plant.quality != MISSING

    def _swap_deferred(self) -> dict[str, dict[str, float]]:
        """Put what is in force in the place of what was set too late for this tick; returns what was asked."""
        asked: dict[str, dict[str, float]] = {}
        numbers = self._numbers()
        for name, in_force in self._deferred.items():
            if name in numbers:
                asked[name] = {column: self._site.get(numbers[name], column) for column in _DEFERRED}
                for column, value in in_force.items():
                    self._site.set(numbers[name], column, value)
        self._deferred.clear()
        return asked

    def _restore_deferred(self, asked: Mapping[str, Mapping[str, float]]) -> None:
        numbers = self._numbers()
        for name, values in asked.items():
            for column, value in values.items():
                self._site.set(numbers[name], column, value)

    def _adjust_battery(self, sensed: Sensed, dt_s: float) -> None:
        """Book what the battery lost or won beyond what its meters explain."""
        before, after = self._reading, sensed.plant
        self._reading = after if after is not None else before
        if not self.settings.has_battery or before is None or after is None or before.epoch != after.epoch:
            return
        battery, site = self.settings.efficiencies, self._site
        loss_ratio = site.memory.get("loss_ratio") if dt_s == self.settings.tick_s else 0.0
        difference_wh = unexplained_wh(before, after, battery.charge, battery.discharge, loss_ratio)
        capacity_wh = site.usable_wh + self.settings.below_line_wh
        tolerated_wh = _LEVEL_NOISE_RATIO * capacity_wh + loss_ratio * (after.charge_wh - before.charge_wh + capacity_wh * 1e-6)
        if abs(difference_wh) > tolerated_wh:
            site.adjust_battery(math.fsum(site.levels_wh()) + difference_wh)

    async def _compare_with_plant(self, sensed: Sensed, dt_s: float) -> None:
        """Tell an emulated plant what was drawn, and hold its meters against the sum of all flows."""
        memory = self._site.memory
        load_wh = memory.get("node_power_w") * dt_s / 3600.0
        reading = sensed.plant
        plant: Any = self._plant
        if hasattr(plant, "draw"):
            emulated: EmulatedLoad = plant
            try:
                reading = await emulated.draw(load_wh)
            except EcovisorError as error:
                log.warning("plant: %s", error)
                reading = None
        baseline, totals = self._baseline, self._totals()
        if reading is None:
            return
        self._show_physical(reading, dt_s)
        unseen_wh = 0.0 if sensed.plant is None else reading.solar_wh - sensed.plant.solar_wh
        if baseline is None or baseline.reading.epoch != reading.epoch:
            self._baseline = _Baseline(reading, totals, unseen_wh)
            return
        difference_wh = residual_wh(baseline.reading, baseline.totals, reading, totals) + unseen_wh - baseline.unseen_wh
        self._residual_wh = max(self._residual_wh, abs(difference_wh))

    def _show_physical(self, reading: PlantReading, dt_s: float) -> None:
        before = self._shown_reading
        self._shown_reading = reading
        if before is None or before.epoch != reading.epoch or reading.site_s <= before.site_s:
            return
        hours_h = (reading.site_s - before.site_s) / 3600.0
        self._physical = {
            "solar_w": (reading.solar_wh - before.solar_wh) / hours_h,
            "import_w": max(0.0, reading.import_wh - before.import_wh) / hours_h,
            "export_w": max(0.0, reading.export_wh - before.export_wh) / hours_h,
            "battery_charge_w": (reading.charge_wh - before.charge_wh) / hours_h,
            "battery_discharge_w": (reading.discharge_wh - before.discharge_wh) / hours_h,
            "curtailed_w": (reading.curtailed_wh - before.curtailed_wh) / hours_h,
        }

    _shown_reading: PlantReading | None = None

    def _seal(self, began_s: float, dt_s: float, late_s: float) -> tuple[Batch, ToldTick]:
        """Runs in a thread: all that is to be recorded of the tick."""
        site, tick = self._site, self._tick - 1
        site.recorder.flush()
        now_s, wall_s = site.recorder.history.time_s(tick + 1), self._clock.wall_s()
        batch = self._ledger.seal(
            tick=tick,
            start_s=began_s,
            dt_s=dt_s,
            wall_s=wall_s,
            kind="late" if late_s > 0.0 else "tick",
            late_s=late_s,
            checkpoint=checkpoint.save(site),
            plant=b"" if self._reading is None else msgspec.json.encode(self._reading),
            price_per_kwh=self._known.price_per_kwh,
        )
        return batch, ToldTick(tick + 1, now_s, wall_s, self._tap.take())

    async def _open_tick(self, told: ToldTick | None, batch: Batch | None) -> None:
        """The tick that begins now: its intensity, the policies, the snapshot, and the window for settings."""
        site = self._site
        self._known = await self._signals.at(site.recorder.history.time_s(self._tick))
        async with self._engine:
            site.know(
                solar_w=0.0,
                carbon_intensity_g_per_kwh=self._known.carbon_g_per_kwh,
                price_per_kwh=0.0 if self._known.price_per_kwh is None else self._known.price_per_kwh,
                traces=self._known.traces,
            )
            self._all_answered.clear()
            self._window_open = True
            try:
                await asyncio.to_thread(self._loop.wake)
            except PolicyError as error:
                self._tell(SITE_APP, "workload_error", str(error))
            self._tell_failed_policies()
            frozen = self._snapshots.freeze(self._moment())
            tick = self._tick
        if batch is None or told is None:
            self._snapshots.publish(frozen)
            self._events.publish(None, tick)
        else:
            self._recording.add(Settled(batch, told, (frozen, tick)))

    def _publish(self, settled: Settled[Batch, tuple[Frozen, int]]) -> None:
        frozen, tick = settled.snapshot
        self._snapshots.publish(frozen)
        self._events.publish(settled.told, tick)

    async def _govern(self) -> None:
        """The window is over: what apps may draw is granted and enforced, the battery follows."""
        self._window_open = False
        self._snapshots.forget_all()
        site, settings = self._site, self.settings
        for index, name in self._real_apps():
            if name not in self._apps:  # it leaves at the next boundary, its containers have ended
                continue
            energy = site.handle(index)
            limit = limit_w(site, index, settings.efficiencies, settings.hours_h)
            key = (limit, energy.containers.version, energy.scale_ratio)
            if self._applied.get(name) != key:
                self._applied[name] = key
                await self._enforcement.apply(name, energy, limit)
        await self._command_plant()

    async def _command_plant(self) -> None:
        settings, reading, site = self.settings, self._reading, self._site
        if not settings.has_battery or reading is None or not self._plant_known:
            return
        if self._recording.full:
            wanted = self._resting()
        else:
            charge_w, discharge_w = expected_battery_w(site, settings.efficiencies, site.memory.get("loss_ratio"), settings.hours_h)
            wanted = set_point(
                charge_w,
                discharge_w,
                math.fsum(site.levels_wh()),
                reading.level_wh - settings.below_line_wh,
                settings.hours_h,
                settings.efficiencies.charge,
                settings.efficiencies.discharge,
                settings.export_limit_w,
            )
        with contextlib.suppress(EcovisorError):  # the plant's source tells of it
            await self._plant.command(wanted)

    def _resting(self) -> SetPoint:
        return SetPoint(0.0, 0.0, self.settings.export_limit_w)

    # -- gaps

    async def _skip(self, dt_s: float) -> None:
        """Nobody can settle now, or it is far too late: time passes unmetered, until the next boundary that can be met."""
        begin_s = self._site.recorder.history.time_s(self._tick)
        if self._recording.full:
            await self._command_plant()
            await self._recording.drain()
            dt_s = self._next_boundary_s(begin_s, self._clock.site_s(), ahead=True) - begin_s
            await self._wait_until(begin_s + dt_s)
        sensed = await self._sense()
        async with self._engine:
            await self._record_gap(begin_s, begin_s + dt_s, self._reading, sensed)
            self._restart_meters(sensed)
        await self._open_tick(None, None)

    async def _record_gap(self, begin_s: float, end_s: float, before: PlantReading | None, sensed: Sensed) -> None:
        """One row of `_site` from the cumulative meters, the battery's change included; durable before anything goes on."""
        site, after = self._site, sensed.plant
        self.gaps += 1
        known = before is not None and after is not None and before.epoch == after.epoch
        line_wh = self.settings.below_line_wh
        level_wh = max(0.0, after.level_wh - line_wh) if after is not None and self.settings.has_battery else None
        site.gap(
            end_s - begin_s,
            import_wh=max(0.0, after.import_wh - before.import_wh) if known and before and after else math.nan,
            export_wh=max(0.0, after.export_wh - before.export_wh) if known and before and after else math.nan,
            solar_wh=after.solar_wh - before.solar_wh if known and before and after else math.nan,
            measured_level_wh=math.fsum(site.levels_wh()) if level_wh is None else level_wh,
        )
        self._reading = after
        batch = self._ledger.seal(
            tick=None,
            start_s=begin_s,
            dt_s=end_s - begin_s,
            wall_s=self._clock.wall_s(),
            kind="gap",
            late_s=0.0,
            checkpoint=checkpoint.save(site),
            plant=b"" if after is None else msgspec.json.encode(after),
        )
        self._tap.take()
        await asyncio.to_thread(self._ledger.commit, batch)

    def _restart_meters(self, sensed: Sensed) -> None:
        """Count from here."""
        self._meter.restart(sensed.statuses or (), sensed.node, sensed.statuses_s)
        self._reading = self._solar_begin = sensed.plant
        self._solar_booked_wh = 0.0
        self._baseline = self._shown_reading = None

    # -- what is told

    def _tell(self, app: str, kind: str, detail: str) -> None:
        self._tap.write_event(Event(self._site.now.now_s, app, kind, detail))

    def _tell_failed_policies(self) -> None:
        """Policies within this process that raised: their apps keep their settings, the others go on."""
        for error in self._failed_policies:
            log.warning("%s", error)
            self._tell(error.app, "policy_error", str(error))
        self._failed_policies.clear()

    def _observe_budgets(self) -> None:
        for index, name in enumerate(self._site.app_names):
            energy = self._site.handles.get(index)
            budget = energy.budget if energy is not None else None
            if energy is None or budget is None or budget.budget_g <= 0.0:
                self._spent.pop(name, None)
                continue
            spent = 1.0 - budget.remaining_g(energy.get_app_carbon()) / budget.budget_g
            before = self._spent.get(name, 0.0)
            for percent in (80, 100):
                if before < percent / 100.0 <= spent:
                    self._tell(name, f"budget_{percent}", f"{spent * budget.budget_g:g} of {budget.budget_g:g} g are spent")
            self._spent[name] = spent

    def _observe_containers(self, sensed: Sensed) -> None:
        if sensed.statuses is None:
            return
        energies = {name: self._site.handle(index) for index, name in self._real_apps()}
        for name in self._enforcement.observe(energies, {(one.app, one.id): one for one in sensed.statuses}):
            self._tell(name, "completed", "all containers ended with exit code 0")

    def _moment(self) -> Moment:
        sources = [*(self._sensors.states() if self._sensors is not None else []), *self._known.sources]
        plant = next((one for one in sources if one.name == "plant"), None)
        carbon = next((one for one in sources if one.name == "carbon"), None)
        nothing = wire.SourceState(name="", quality=MISSING, age_s=0.0, detail="there is none")
        site, memory = self._site, self._site.memory
        reading = self._shown_reading or self._reading
        physical = {name: self._physical.get(name, 0.0) for name in _PHYSICAL}
        return Moment(
            tick=self._tick,
            now_s=site.recorder.history.time_s(self._tick),
            tick_s=self.settings.tick_s,
            last_dt_s=self._last_dt_s,
            wall_s=self._clock.wall_s(),
            compression=self._clock.compression,
            timezone=self.settings.timezone,
            intensity_g_per_kwh=self._known.carbon_g_per_kwh,
            price_per_kwh=self._known.price_per_kwh,
            carbon=carbon or nothing,
            solar=plant or nothing,
            load_quality={name: str(self._metered.quality) for _, name in self._real_apps()},
            container_w={name: self._metered.power_w.get(name, {}) for _, name in self._real_apps()},
            stale=[one for one in sources if one.quality in ("stale", MISSING)],
            site={
                "site": self.settings.name,
                **physical,
                "battery_level_wh": max(0.0, reading.level_wh - self.settings.below_line_wh) if reading is not None else 0.0,
                "battery_capacity_wh": site.usable_wh,
                "buffer_wh": memory.get("buffer_wh"),
                "node_power_w": memory.get("node_power_w"),
                "residual_wh": self._residual_wh,
                "late_ticks": self.late_ticks,
                "gaps": self.gaps,
                "sun_ratio": self._sun_ratio,
                "emulated": hasattr(self._plant, "set_sun"),
                "platform": _told(self._platform),
                "sources": sources,
            },
        )

    def _totals(self) -> VirtualTotals:
        get = self._site.memory.get
        return VirtualTotals(
            import_wh=get("import_total_wh"),
            export_wh=get("export_total_wh"),
            charge_wh=get("charge_total_wh"),
            discharge_wh=get("discharge_total_wh"),
            curtailed_wh=get("curtailed_total_wh"),
            buffer_wh=get("buffer_wh"),
        )

    # -- small answers

    def _numbers(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self._site.app_names)}

    def _real_apps(self) -> list[tuple[int, str]]:
        return [(group.first, group.spec.name) for group in self._site.groups if isinstance(group.spec.workload, MeteredWorkload)]

    def _cores_of(self, app: str, container: str) -> float | None:
        return self._enforcement.cores_of(app, container)

    def _container_facts(self, app: str, container: str) -> ContainerFacts | None:
        known = self._enforcement.state(app, container)
        if known is not None:
            return ContainerFacts(*known)
        return ContainerFacts("starting", None) if app in self._apps and self._apps[app].real else None

    def _budget_state(self, energy: VirtualEnergySystem) -> wire.BudgetState | None:
        budget = energy.budget
        if budget is None:
            return None
        carbon_g = energy.get_app_carbon()
        return wire.BudgetState(
            budget_g=budget.budget_g,
            spent_g=carbon_g - budget.spent_before_g,
            remaining_g=budget.remaining_g(carbon_g),
            exhausted_s=budget.exhausted_s(carbon_g, energy.now_s),
            enforced=self._site.now.enforcing,
        )

    # -- Backend: what apps know

    @property
    def clock(self) -> Clock:
        """See `Backend`."""
        return self._clock

    @property
    def registry(self) -> Registry:
        """See `Backend`."""
        return self._ledger.registry

    @property
    def tick(self) -> int:
        """See `Backend`."""
        return self._snapshots.tick

    def apps(self) -> Sequence[str]:
        """See `Backend`."""
        return [name for name in self._snapshots.names if name != SITE_APP]

    def snapshot(self, app: str) -> Published:
        """See `Backend`."""
        return self._snapshots.app(app)

    def site_snapshot(self) -> Published:
        """See `Backend`."""
        return self._snapshots.whole()

    def site_state(self) -> wire.SiteSnapshot:
        """The site's snapshot itself, for who runs in this process."""
        return self._snapshots.site_snapshot()

    def energy(self, app: str) -> VirtualEnergySystem:
        """See `Backend`."""
        if app not in self._numbers():
            raise UnknownApp(f"app {app!r} does not exist")
        return self._site.app(app)

    async def usage(self, app: str, start_s: float, end_s: float, container: str | None) -> wire.Usage:
        """See `Backend`."""
        self.energy(app)
        return await asyncio.to_thread(self._ledger.usage, app, start_s, end_s, container)

    async def history(self, app: str, metric: str, start_s: float, end_s: float, step_s: float | None) -> wire.History:
        """See `Backend`."""
        self.energy(app)
        return await asyncio.to_thread(self._ledger.history, app, metric, start_s, end_s, step_s)

    async def forecast(self, app: str, signal: str, horizon_s: float) -> wire.Forecast:
        """See `Backend`."""
        return forecast_answer(signal, self.energy(app).forecast(signal, horizon_s))

    async def logs(self, app: str, container_id: str, max_bytes: int) -> bytes:
        """See `Backend`."""
        if container_id not in self.energy(app).container_ids:
            raise UnknownApp(f"container {container_id!r} does not exist")
        failure = self._enforcement.failure(app, container_id)
        if failure is not None:
            return failure.encode()
        return await self._platform.logs(app, container_id, max_bytes=max_bytes)

    async def wait_published(self, after_tick: int) -> int:
        """See `Backend`."""
        return await self._events.wait(after_tick)

    async def events_since(self, app: str | None, after: str, *, limit: int = 1000) -> Sequence[wire.Notification]:
        """See `Backend`."""
        return await self._events.since(app, after, limit)

    # -- Backend: changes

    async def change(self, app: str, change: Callable[[VirtualEnergy], T]) -> Changed[T]:
        """See `Backend`."""
        energy = self.energy(app)
        async with self._app_locks.setdefault(app, asyncio.Lock()):
            async with self._engine:
                value, effective = self._change(app, energy, change)
                saved = checkpoint.settings_of(energy)
            await asyncio.to_thread(self._ledger.registry.put, "settings", app, saved)
            await self._enforce_now(app, energy)
            self._snapshots.changed(app)
            return Changed(value, effective)

    def _change(self, app: str, energy: VirtualEnergySystem, change: Callable[[VirtualEnergy], T]) -> tuple[T, int]:
        number = self._numbers()[app]
        late = not self._window_open
        before = energy.saved_settings()
        in_force = {column: self._site.get(number, column) for column in _DEFERRED}
        try:
            value = change(energy)
        except BaseException:
            energy.restore_settings(before)
            raise
        if late:
            self._deferred.setdefault(app, in_force)
        return value, self._tick + 1 if late else self._tick

    async def _enforce_now(self, app: str, energy: VirtualEnergySystem) -> None:
        """Caps and containers act at once. A container that cannot be started is refused, and gone again."""
        if not (app in self._apps and self._apps[app].real):
            return
        before = set(energy.container_ids)
        settings = self.settings
        limit = limit_w(self._site, self._numbers()[app], settings.efficiencies, settings.hours_h)
        known = {one for one in before if self._enforcement.state(app, one) is not None}
        await self._enforcement.apply(app, energy, limit)
        failed = [one for one in sorted(before - known) if self._enforcement.failure(app, one) is not None]
        if failed:
            reason = self._enforcement.failure(app, failed[0])
            async with self._engine:
                for one in failed:
                    energy.remove_container(one)
                saved = checkpoint.settings_of(energy)
            await asyncio.to_thread(self._ledger.registry.put, "settings", app, saved)
            await self._enforcement.apply(app, energy, limit)
            raise Refused(f"container was not started: {reason}")

    async def report_metrics(self, app: str, metrics: wire.AppMetrics) -> None:
        """See `Backend`."""
        energy = self.energy(app)
        async with self._engine:
            energy.metrics = {**energy.metrics, **metrics.metrics}
            if metrics.work_done is not None or metrics.work_total is not None:
                done, total = energy.work
                energy.report_progress(
                    done if metrics.work_done is None else metrics.work_done,
                    total if metrics.work_total is None else metrics.work_total,
                )
        self._snapshots.changed(app)

    async def tick_done(self, app: str, tick: int) -> None:
        """See `Backend`."""
        self.energy(app)
        self._answered[app] = max(tick, self._answered.get(app, -1))
        waited = [name for name, one in self._apps.items() if one.remote and name in self._numbers()]
        if all(self._answered.get(name, -1) >= self._tick for name in waited):
            self._all_answered.set()

    # -- Backend: the operator's

    async def add_app(self, request: wire.AddApp) -> int:
        """See `Backend`."""
        if request.name in self._apps or request.name == SITE_APP:
            raise Refused(f"app {request.name!r} exists already; choose another name, or remove that one first")
        spec = self._specification(request)
        remaining_shares([*((app.shares, 1) for app in self._apps.values()), (spec.shares, 1)])
        await asyncio.to_thread(self._ledger.registry.put, "apps", request.name, msgspec.json.encode(request))
        self._apps[request.name] = LiveApp(
            name=request.name,
            shares=spec.shares,
            remote=True,
            real=isinstance(spec.workload, MeteredWorkload),
            webhook_allow=tuple(request.webhook_allow),
        )
        self._boundary.append(lambda: self._site.join(spec))
        return self._tick + 1

    async def remove_app(self, app: str) -> int:
        """See `Backend`."""
        self.energy(app)
        if app == SITE_APP or app not in self._apps:
            raise Refused(f"app {app!r} cannot be removed")
        await asyncio.to_thread(self._ledger.registry.put, "apps", app, b"null")
        await asyncio.to_thread(self._ledger.registry.delete, "settings", app)
        del self._apps[app]
        self._boundary.append(lambda: self._site.leave(app))
        await self._enforcement.forget(app)
        return self._tick + 1

    async def set_shares(self, shares: Mapping[str, wire.Shares]) -> int:
        """See `Backend`."""
        for name in shares:
            if name not in self._apps:
                raise UnknownApp(f"app {name!r} does not exist")
        new = {name: AppShares(one.grid, one.solar, one.battery_energy, one.battery_power) for name, one in shares.items()}
        remaining_shares([(new.get(name, app.shares), 1) for name, app in self._apps.items()])
        for name, one in shares.items():
            await asyncio.to_thread(self._ledger.registry.put, "shares", name, msgspec.json.encode(one))
        for name, share in new.items():
            self._apps[name] = replace(self._apps[name], shares=share)
        self._boundary.append(lambda: self._site.set_shares(new))
        return self._tick + 1

    def shares(self) -> Mapping[str, wire.Shares]:
        """See `Backend`."""
        return {
            name: wire.Shares(
                grid=app.shares.grid,
                solar=app.shares.solar,
                battery_energy=app.shares.battery_energy,
                battery_power=app.shares.battery_power,
            )
            for name, app in self._apps.items()
        }

    async def set_sun(self, ratio: float) -> None:
        """See `Backend`."""
        plant: Any = self._plant
        if not hasattr(plant, "set_sun"):
            raise Refused("the plant is real: its sun cannot be scaled")
        await plant.set_sun(ratio)
        self._sun_ratio = ratio

    def allowed_webhooks(self, app: str) -> Sequence[str]:
        """See `Backend`."""
        return self._apps[app].webhook_allow if app in self._apps else ()

    def allow_webhooks(self, app: str, targets: Sequence[str]) -> None:
        """Change where an app's callbacks may go."""
        self._apps[app] = replace(self._apps[app], webhook_allow=tuple(targets))

    def enforce_budgets(self, enforcing: bool) -> None:
        """Whether carbon budgets and rates limit the apps from the next tick on."""
        self._site.now.enforcing = enforcing

    def ready(self) -> Sequence[str]:
        """See `Backend`."""
        reasons = []
        if self._snapshots.tick < 0:
            reasons.append("the first tick has not begun")
        if self._recording.full:
            reasons.append(f"{self._recording.waiting} ticks wait for the ledger: {self._recording.failure}")
        return reasons

    def site_name(self) -> str:
        """See `Backend`."""
        return self.settings.name


#: What the plant's meters tell of the last tick.
_PHYSICAL = ("solar_w", "import_w", "export_w", "battery_charge_w", "battery_discharge_w", "curtailed_w")


def _told(platform: Platform) -> str:
    isolation = platform.isolation()
    return f"{isolation.platform}, caps by {isolation.cap_mechanism}"

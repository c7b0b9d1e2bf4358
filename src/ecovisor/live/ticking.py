"""The tick on a real clock, one function a step, in the order of the design: sense, attribute, settle, record, publish, notify, govern.

`Ticker` owns when things happen and what passes from one tick to the next; the numbers are the engine's. `ecovisor` is built on it and
answers the REST interface.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ecovisor import wire
from ecovisor.adapters.stores.ledger import Batch, Ledger
from ecovisor.adapters.stores.ledger.notifications import parse_id
from ecovisor.engine import checkpoint
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import Site
from ecovisor.engine.specification import SITE_APP
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.live.budgets import BudgetWatch, budget_state
from ecovisor.live.changes import ChangeWatch
from ecovisor.live.deferred import Deferred
from ecovisor.live.enforcement import Enforcement
from ecovisor.live.events import EventLog, Tap, ToldTick
from ecovisor.live.grants import expected_battery_w, limit_w
from ecovisor.live.metering import ContainerMeter, Metered
from ecovisor.live.noticing import SourceWatch, WallWatch
from ecovisor.live.plant_account import PlantAccount
from ecovisor.live.plant_control import VirtualTotals, set_point
from ecovisor.live.plant_link import PlantLink
from ecovisor.live.recording import Recording, Settled
from ecovisor.live.sensing import Sensed, Sensors
from ecovisor.live.settings import LiveApp, LiveSettings
from ecovisor.live.signals import Known, SiteSignals
from ecovisor.live.snapshots import ContainerFacts, Frozen, Moment, Snapshots
from ecovisor.live.sources import MISSING
from ecovisor.model.errors import EcovisorError, PolicyError
from ecovisor.model.series import Quality
from ecovisor.model.units import iso_utc
from ecovisor.ports import Event
from ecovisor.ports.live import Clock, EnergyPlant, NodeMeter, PlantReading, Platform, SetPoint
from ecovisor.workloads.models import Metered as MeteredWorkload

log = logging.getLogger("ecovisor.live")

#: Longest time after a tick's start in which settings still govern it. [s, wall time]
WINDOW_S = 1.0
#: How long a lockstep tick waits for its apps. [s, wall time]
LOCKSTEP_WAIT_S = 60.0
#: A boundary that is met later than this part of a tick has been missed.
_MISSED_RATIO = 0.5
#: Measured level and bookkeeping may differ by this part of the capacity without being a shortfall.
_LEVEL_NOISE_RATIO = 1e-7
_STOP_S = 10.0


class LockstepClock(Protocol):
    """A clock that is moved when everybody has answered."""

    def advance(self, site_s: float) -> None:
        """Move it. [s since the epoch]"""
        ...


class Ticker:
    """Ticks a site.

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
        failed_policies: list[PolicyError],
    ) -> None:
        self.site, self.settings, self.ledger, self.platform, self.plant = site, settings, ledger, platform, plant
        self.clock = clock
        self.apps: dict[str, LiveApp] = {app.name: app for app in settings.apps}
        self.engine = asyncio.Lock()
        """Whoever computes or changes something in the engine holds it."""
        self.deferred = Deferred()
        self.window_open = False
        self.boundary: list[Callable[[], None]] = []
        """Done between the tick that runs and the next."""
        self.all_answered = asyncio.Event()
        self.sun_ratio = 1.0
        self.late_ticks = self.gaps = 0
        self.halted = False
        """Nothing is settled until the ledger has taken what waits."""
        self.enforcement = Enforcement(platform, site.physical.server, settings.commands, environment, self.tell)
        self.snapshots = Snapshots(site, self._container_facts, self._budget_state, lambda: self.effective_tick)
        self.events = EventLog(ledger.events)
        self.recording: Recording[Batch, tuple[Frozen, int]] = Recording(ledger, self._publish)
        self.account = PlantAccount()
        self._tap, self._loop, self._signals, self._node_meter = tap, loop, signals, node_meter
        self._failed_policies = failed_policies
        self._tick_wall_s = settings.tick_s / clock.compression
        self._deadline_s = max(0.2, min(self._tick_wall_s / 4.0, 1.0))
        self._plant_link = PlantLink(plant, self._deadline_s)
        self._window_s = min(self._tick_wall_s / 10.0, WINDOW_S)
        self._meter = ContainerMeter(site.physical.server, self.enforcement.cores_of)
        self._metered = Metered({}, None, Quality.MODELLED)
        self._sensors: Sensors | None = None
        self._stopping = asyncio.Event()
        self._known = Known.nothing()
        self._last_dt_s = settings.tick_s
        self._budgets = BudgetWatch(self.tell)
        self._changes = ChangeWatch(self._tell_change)
        self._source_watch, self._wall_watch = SourceWatch(self.tell), WallWatch(clock, self.tell)
        self._told = (-1, 0)
        self._changing: dict[str, asyncio.Lock] = {}
        self._saving: set[asyncio.Task[None]] = set()
        self._applied: dict[str, tuple[float, int, float]] = {}
        site.now.enforcing = settings.enforce_budgets

    # -- life

    async def open(self) -> None:
        """Connect to everything, take up where the last process ended, and begin the first tick.

        Raises:
            EcovisorError: something that the site cannot do without is not there.
        """
        await self.platform.open()
        await self.plant.open()
        await self._signals.open()
        self._sensors = Sensors(
            self.platform,
            self.plant,
            self._node_meter,
            self.clock,
            deadline_s=self._deadline_s,
            max_age_s=self.settings.max_age_s,
        )
        self.recording.start()
        await self._begin()
        energies = {name: self.site.handle(index) for index, name in self.real_apps()}
        self.enforcement.adopt(await self.platform.status(), energies)
        for name in self.enforcement.apps():
            if name not in energies:  # the process ended before it could stop them
                await self.enforcement.forget(name)
        await self._open_tick(None, None)

    async def run(self) -> None:
        """Tick until `stop` is called."""
        while await self.step():
            pass

    async def step(self) -> bool:
        """From a tick's beginning to the next one's; False if the site is being stopped."""
        await self._wait_for_window()
        await self._govern()
        if not await self._wait_until(self._tick_end_s):
            return False
        await self._close_tick()
        return not self._stopping.is_set()

    def stop(self) -> None:
        """End after what is being done now."""
        self._stopping.set()
        self.all_answered.set()

    async def close(self, *, stop_containers: bool = True) -> None:
        """Let go of everything; what was settled is recorded first, and the battery rests."""
        self.stop()
        await self.recording.stop(_STOP_S)
        try:
            await self.platform.close(stop_containers=stop_containers)
        except EcovisorError as error:
            log.error("containers may go on: %s", error)
        await self._tell_plant(self._resting())
        await self.plant.close()
        await self._signals.close()

    # -- time

    @property
    def tick(self) -> int:
        """The tick that runs."""
        return int(self.site.memory.get("tick"))

    @property
    def effective_tick(self) -> int:
        """The tick that a setting made now governs."""
        return self.tick if self.window_open else self.tick + 1

    def _begin_of(self, tick: int) -> float:
        return self.site.recorder.history.time_s(tick)

    @property
    def _tick_end_s(self) -> float:
        return self._begin_of(self.tick) + self.settings.tick_s

    def _next_boundary_s(self, aligned_s: float) -> float:
        """The first boundary from an instant on that has not passed."""
        ticks = math.ceil((self.clock.site_s() - aligned_s) / self.settings.tick_s - 1e-9)
        return aligned_s + max(ticks, 0) * self.settings.tick_s

    def _passed_boundary_s(self, aligned_s: float) -> float:
        """The last boundary from an instant on that has passed."""
        ticks = math.floor((self.clock.site_s() - aligned_s) / self.settings.tick_s + 1e-9)
        return aligned_s + max(ticks, 0) * self.settings.tick_s

    async def _wait_until(self, site_s: float) -> bool:
        """Sleep; False if the site is being stopped."""
        if self.settings.lockstep:
            clock: Any = self.clock
            clock.advance(site_s)
            return not self._stopping.is_set()
        return await self._or_stop(self.clock.sleep_until(site_s))

    async def _or_stop(self, *waiting: Coroutine[Any, Any, object]) -> bool:
        """Wait until one of them is over; False if the site is being stopped."""
        tasks = [asyncio.ensure_future(one) for one in (*waiting, self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        return not self._stopping.is_set()

    async def _wait_for_window(self) -> None:
        if self.settings.lockstep:
            if await self._or_stop(self.recording.drain()) and any(app.remote for app in self.apps.values()):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.all_answered.wait(), LOCKSTEP_WAIT_S)
        else:
            await self._wait_until(self._begin_of(self.tick) + self._window_s * self.clock.compression)

    # -- the beginning

    async def _begin(self) -> None:
        """Begin anew, or go on after the last recorded tick: what passed since is a gap."""
        site, last = self.site, await asyncio.to_thread(self.ledger.last)
        site.begin()
        if last is None or not last.checkpoint:
            start_s = self._next_boundary_s(site.start_s)
            await self._wait_until(start_s)
            site.restart(start_s)
            self._restart_meters(await self._sense_settled(0.0))
            return
        saved = checkpoint.restore(site, last.checkpoint)
        for name, settings in await asyncio.to_thread(self.ledger.registry.items, "settings"):
            if name in site.app_names:
                checkpoint.restore_settings(site.app(name), settings)
        log.info("going on at tick %d after %s", self.tick, iso_utc(saved.end_s))
        self.account.resume(last.plant)
        self._budgets.resume(site.handles.values())
        begin_s = self._begin_of(self.tick)
        end_s = self._next_boundary_s(begin_s)
        await self._wait_until(end_s)
        sensed = await self._sense_settled(0.0)
        end_s = max(end_s, self._passed_boundary_s(begin_s))  # the plant may have taken its time
        if end_s > begin_s:
            batch, _ = self._gap(begin_s, end_s - begin_s, sensed)
            await asyncio.to_thread(self.ledger.commit, batch)
        else:
            self._meter.restart(sensed.statuses, sensed.node, sensed.statuses_s)
        told = await asyncio.to_thread(self.ledger.events, None, f"{self.tick}.0", 1_000_000)
        self._told = parse_id(told[-1].id) if told else (-1, 0)

    def _restart_meters(self, sensed: Sensed) -> None:
        self._meter.restart(sensed.statuses, sensed.node, sensed.statuses_s)
        self.account.restart(sensed.plant, self._totals())

    # -- the tick

    async def _close_tick(self) -> None:
        """The tick that ends now."""
        late_s = max(0.0, self.clock.site_s() - self._tick_end_s)
        dt_s = self.settings.tick_s
        if late_s > _MISSED_RATIO * dt_s:
            dt_s += math.ceil(late_s / dt_s - _MISSED_RATIO) * dt_s
        if self.recording.full or dt_s > self.settings.gap_after_s:
            await self._skip(dt_s)
            return
        sensed = await self._sense()
        async with self.engine:
            began_s = self._begin_of(self.tick)
            try:
                await asyncio.to_thread(self._settle, sensed, dt_s)
            except PolicyError as error:  # a plug-in workload; the tick is settled without it
                self.tell(SITE_APP, "workload_error", str(error))
            await self._hold_against_plant(sensed, dt_s)
            unsaved = await asyncio.to_thread(self._look_around, sensed, dt_s)
            self._cross_boundary()
            batch, told = await asyncio.to_thread(self._seal, began_s, dt_s, late_s)
        for name in unsaved:
            self._saving.add(task := asyncio.create_task(self._keep_settings(name)))
            task.add_done_callback(self._saving.discard)
        await self._open_tick(told, batch)

    async def _keep_settings(self, app: str) -> None:
        """A container of the app has ended: after a restart that is not to be told again."""
        try:
            async with self.changing(app):
                async with self.engine:
                    if app not in self.site.app_names:
                        return
                    saved = checkpoint.settings_of(self.site.app(app))
                await asyncio.to_thread(self.ledger.registry.put, "settings", app, saved)
        except EcovisorError as error:
            log.warning("%s", error)

    def changing(self, app: str) -> asyncio.Lock:
        """Whoever changes an app's settings holds it until they are on the disk."""
        return self._changing.setdefault(app, asyncio.Lock())

    async def _sense(self) -> Sensed:
        if self._sensors is None:
            raise AssertionError("open() comes first")
        return await self._sensors.sense()

    async def _sense_settled(self, assumed_wh: float) -> Sensed:
        """At the end of a gap: the meters with all load in them, whatever that takes."""
        sensed = await self._sense()
        return replace(sensed, plant=await self._plant_link.settled(assumed_wh))

    def _attribute(self, sensed: Sensed) -> None:
        """Container power from counters; where they cannot be read, what it was in the last tick."""
        if sensed.statuses is not None:
            self._metered = self._meter.read(sensed.statuses, sensed.node, sensed.statuses_s)

    def _settle(self, sensed: Sensed, dt_s: float) -> None:
        """Runs in a thread: the engine's tick."""
        self._attribute(sensed)
        site, metered = self.site, self._metered
        real = self.real_apps()
        for index, name in real:
            energy = site.handle(index)
            energy.ask(energy.containers.set_metered_w(metered.power_w.get(name, {})))
        site.memory.set("metered_rest_w", -1.0 if metered.node_rest_w is None else metered.node_rest_w)
        site.recorder.set_qualities({name: metered.quality for _, name in real})
        self._tell_engine(self.account.collected_w(sensed.plant, dt_s / 3600.0, assume=self._plant_known))
        numbers = self.numbers()
        asked = self.deferred.put_in_force(site, numbers)
        longer = dt_s > self.settings.tick_s
        if longer:
            site.lengthen(dt_s)
        try:
            self._loop.run(self.tick + 1)
        finally:
            if longer:
                site.shorten(dt_s)
            self.deferred.take_over(site, numbers, asked)
        self._follow_level(sensed.plant)

    def _follow_level(self, reading: PlantReading | None) -> None:
        """The batteries follow the measured level where its own meters do not explain it, or have started anew."""
        anew = self.account.began_anew(reading)
        battery = self.site.physical.battery
        loss = 0.0 if battery is None else battery.self_discharge_per_hour
        tolerated_wh = _LEVEL_NOISE_RATIO * (self.site.usable_wh + self.settings.below_line_wh)
        change_wh = self.account.level_change_wh(reading, self.settings.efficiencies, loss, tolerated_wh)
        if anew and reading is not None:
            self.tell(
                SITE_APP, "plant_restarted", "its meters have started anew; what they counted since the last reading is not known"
            )
            change_wh = max(0.0, reading.level_wh - self.settings.below_line_wh) - math.fsum(self.site.levels_wh())
        if self.settings.has_battery and change_wh != 0.0:
            self.site.adjust_battery(math.fsum(self.site.levels_wh()) + change_wh)

    def _tell_engine(self, solar_w: float) -> None:
        known = self._known
        self.site.know(
            solar_w=solar_w,
            carbon_intensity_g_per_kwh=known.carbon_g_per_kwh,
            price_per_kwh=0.0 if known.price_per_kwh is None else known.price_per_kwh,
            traces=known.traces,
        )

    async def _hold_against_plant(self, sensed: Sensed, dt_s: float) -> None:
        """Tell an emulated plant what was drawn, and hold its meters against the sum of all flows."""
        energy_wh = self.site.memory.get("node_power_w") * dt_s / 3600.0
        reading = await self._plant_link.tell_load(energy_wh, reachable=sensed.plant is not None)
        if reading is not None:
            self.account.compare(reading, self._totals())
        elif sensed.plant is not None and not self._plant_link.emulated:
            self.account.accept(sensed.plant, self._totals())

    def _look_around(self, sensed: Sensed, dt_s: float) -> list[str]:
        """What happened besides flows: a late tick, budgets, containers that ended. Returns apps that stand otherwise than they set."""
        self._last_dt_s = dt_s
        if dt_s > self.settings.tick_s:
            self.late_ticks += 1
            self.tell(SITE_APP, "late", f"the tick took {dt_s:g} s instead of {self.settings.tick_s:g} s")
        self._wall_watch.observe()
        self._source_watch.observe([*(self._sensors.states() if self._sensors is not None else ()), *self._known.sources])
        self._budgets.observe(self.site.handles.values())
        self._changes.observe_solar(self.site.memory.get("buffer_wh") * 3600.0 / self.settings.tick_s)
        if sensed.statuses is not None:
            energies = {name: self.site.handle(index) for index, name in self.real_apps()}
            ended = self.enforcement.observe(energies, {(one.app, one.id): one for one in sensed.statuses})
            for name, well in ended.items():
                if well:
                    self.tell(name, "completed", "all containers ended with exit code 0")
            return list(ended)
        return []

    def _cross_boundary(self) -> None:
        """Apps join and leave, shares change."""
        for action in self.boundary:
            try:
                action()
            except EcovisorError as error:  # what was checked when it was asked for no longer holds
                log.error("at the boundary: %s", error)
                self.tell(SITE_APP, "boundary_error", str(error))
        self.boundary.clear()

    def _seal(self, began_s: float, dt_s: float, late_s: float) -> tuple[Batch, ToldTick]:
        """Runs in a thread: all that is to be recorded of the tick."""
        self.site.recorder.flush()
        late = dt_s > self.settings.tick_s
        batch = self._sealed(self.tick - 1, began_s, dt_s, "late" if late else "tick", late_s if late else 0.0)
        events = self._tap.take()
        self._told = (self.tick, len(events))
        return batch, ToldTick(self.tick, self._begin_of(self.tick), self.clock.wall_s(), events)

    def _sealed(self, tick: int | None, began_s: float, dt_s: float, kind: str, late_s: float) -> Batch:
        return self.ledger.seal(
            tick=tick,
            start_s=began_s,
            dt_s=dt_s,
            wall_s=self.clock.wall_s(),
            kind=kind,
            late_s=late_s,
            checkpoint=checkpoint.save(self.site),
            plant=self.account.standing(),
            price_per_kwh=self._known.price_per_kwh,
        )

    async def _open_tick(self, told: ToldTick | None, batch: Batch | None) -> None:
        """The tick that begins now: its intensity, the policies, the snapshot, and the window for settings."""
        self._known = await self._signals.at(self._begin_of(self.tick))
        async with self.engine:
            self._tell_engine(0.0)
            self._changes.observe_carbon(self._known.carbon_g_per_kwh)
            self.all_answered.clear()
            self.window_open = True
            try:
                await asyncio.to_thread(self._loop.wake)
            except PolicyError as error:
                self.tell(SITE_APP, "workload_error", str(error))
            self._tell_failed_policies()
            frozen, tick = await asyncio.to_thread(lambda: self.snapshots.freeze(self._moment())), self.tick
        if batch is None or told is None:
            self.snapshots.publish(frozen)
            self.events.publish(None, tick)
        else:
            self.recording.add(Settled(batch, told, (frozen, tick)))

    def _publish(self, settled: Settled[Batch, tuple[Frozen, int]]) -> None:
        frozen, tick = settled.snapshot
        self.snapshots.publish(frozen)
        self.events.publish(settled.told, tick)

    async def _govern(self) -> None:
        """The window is over: what apps may draw is granted and enforced, the battery follows."""
        self.window_open = False
        self.snapshots.forget_all()
        async with self.engine:
            limits = await asyncio.to_thread(self._new_limits)
        for name, energy, limit in limits:
            if not await self.enforcement.apply(name, energy, limit):
                self._applied.pop(name, None)  # once more in the next tick
            await asyncio.sleep(0)  # others may have questions meanwhile
        await self._command_plant()

    def _new_limits(self) -> list[tuple[str, VirtualEnergySystem, float]]:
        """Runs in a thread: the apps whose containers may draw another power than before, or have changed."""
        found = []
        for index, name in self.real_apps():
            if name not in self.apps:  # it leaves at the next boundary, its containers have ended
                continue
            energy, limit = self.site.handle(index), self.limit_w(index)
            key = (limit, energy.containers.version, energy.scale_ratio)
            if self._applied.get(name) != key:
                self._applied[name] = key
                found.append((name, energy, limit))
        return found

    def limit_w(self, index: int) -> float:
        """The largest power that an app's containers may draw together. [W]"""
        return limit_w(self.site, index, self.settings.efficiencies, self.settings.hours_h)

    async def _command_plant(self) -> None:
        settings, reading, site = self.settings, self.account.reading, self.site
        if not settings.has_battery or reading is None or self._sensors is None or not self._sensors.plant.fresh:
            return
        wanted = self._resting()
        if not self.recording.full:
            async with self.engine:
                charge_w, discharge_w = await asyncio.to_thread(
                    expected_battery_w, site, settings.efficiencies, site.memory.get("loss_ratio"), settings.hours_h
                )
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
        await self._tell_plant(wanted)

    async def _tell_plant(self, wanted: SetPoint) -> None:
        with contextlib.suppress(EcovisorError, TimeoutError):  # the plant's source tells of it
            await asyncio.wait_for(self.plant.command(wanted), self._deadline_s)

    def _resting(self) -> SetPoint:
        return SetPoint(0.0, 0.0, self.settings.export_limit_w)

    # -- gaps

    async def _skip(self, dt_s: float) -> None:
        """Nobody can settle now, or it is far too late: time passes unmetered, until the next boundary that can be met."""
        begin_s = self._begin_of(self.tick)
        if self.recording.full:
            if not await self._wait_for_store():
                return
            dt_s = self._next_boundary_s(begin_s) - begin_s
            if not await self._wait_until(begin_s + dt_s):
                return
        sensed = await self._sense_settled(self.site.memory.get("node_power_w") * dt_s / 3600.0)
        dt_s = max(dt_s, self._passed_boundary_s(begin_s) - begin_s)
        async with self.engine:
            batch, told = self._gap(begin_s, dt_s, sensed)
        await self._open_tick(told, batch)

    async def _wait_for_store(self) -> bool:
        """Until all ticks are durable that wait: the battery rests, and what can be seen is looked at. False: the site is being stopped."""
        self.halted = goes_on = True
        while goes_on and self.recording.waiting > 0:
            sensed = await self._sense()
            if sensed.plant is not None:
                await self._tell_plant(self._resting())
            boundary_s = self._next_boundary_s(self._begin_of(self.tick))
            goes_on = await self._or_stop(self.recording.drain(), self.clock.sleep_until(boundary_s))
        self.halted = False
        return goes_on

    def _gap(self, begin_s: float, dt_s: float, sensed: Sensed) -> tuple[Batch, ToldTick]:
        """One row of `_site`: what the meters counted and no tick has booked, the battery's change included."""
        site, after = self.site, sensed.plant
        self.gaps += 1
        energy = self.account.unbooked(after, self._totals())
        measured_wh = math.fsum(site.levels_wh())
        if after is not None and self.settings.has_battery:
            measured_wh = max(0.0, after.level_wh - self.settings.below_line_wh)
        site.gap(
            dt_s,
            import_wh=energy.import_wh,
            export_wh=energy.export_wh,
            solar_wh=energy.solar_wh,
            measured_level_wh=measured_wh,
            charge_wh=energy.charge_wh,
            discharge_wh=energy.discharge_wh,
        )
        self._restart_meters(sensed)
        batch = self._sealed(None, begin_s, dt_s, "gap", 0.0)
        before = self._told[1] if self._told[0] == self.tick else 0
        events = self._tap.take()
        self._told = (self.tick, before + len(events))
        return batch, ToldTick(self.tick, self._begin_of(self.tick), self.clock.wall_s(), events, first=before + 1)

    # -- what is told and shown

    def tell(self, app: str, kind: str, detail: str) -> None:
        """Something that happened now: recorded and told with the tick."""
        self._tap.write_event(Event(self.site.now.now_s, app, kind, detail))

    def _tell_change(self, kind: str, value: float) -> None:
        self._tap.write_event(Event(self.site.now.now_s, SITE_APP, kind, value=None if math.isnan(value) else value))

    def _tell_failed_policies(self) -> None:
        """Policies within this process that raised: their apps keep their settings, the others go on."""
        for error in self._failed_policies:
            log.warning("%s", error)
            self.tell(error.app, "policy_error", str(error))
        self._failed_policies.clear()

    def _moment(self) -> Moment:
        sources = [*(self._sensors.states() if self._sensors is not None else []), *self._known.sources]
        by_name = {one.name: one for one in sources}
        nothing = wire.SourceState(name="", quality=MISSING, age_s=0.0, detail="there is none")
        real = [name for _, name in self.real_apps()]
        return Moment(
            tick=self.tick,
            now_s=self._begin_of(self.tick),
            tick_s=self.settings.tick_s,
            last_dt_s=self._last_dt_s,
            wall_s=self.clock.wall_s(),
            compression=self.clock.compression,
            timezone=self.settings.timezone,
            intensity_g_per_kwh=self._known.carbon_g_per_kwh,
            price_per_kwh=self._known.price_per_kwh,
            carbon=by_name.get("carbon", nothing),
            solar=by_name.get("plant", nothing),
            load_quality=dict.fromkeys(real, str(self._metered.quality)),
            container_w={name: self._metered.power_w.get(name, {}) for name in real},
            stale=[one for one in sources if one.quality in ("stale", MISSING)],
            site=self._site_fields(sources),
        )

    def _site_fields(self, sources: Sequence[wire.SourceState]) -> dict[str, object]:
        """What only the site's own snapshot has."""
        reading, memory = self.account.newest, self.site.memory
        isolation = self.platform.isolation()
        level_wh = 0.0 if reading is None else max(0.0, reading.level_wh - self.settings.below_line_wh)
        return {
            "site": self.settings.name,
            **self.account.physical,
            "battery_level_wh": level_wh,
            "battery_capacity_wh": self.site.usable_wh,
            "buffer_wh": memory.get("buffer_wh"),
            "node_power_w": memory.get("node_power_w"),
            "residual_wh": self.account.residual_wh,
            "late_ticks": self.late_ticks,
            "gaps": self.gaps,
            "sun_ratio": self.sun_ratio,
            "emulated": hasattr(self.plant, "set_sun"),
            "platform": f"{isolation.platform}, caps by {isolation.cap_mechanism}",
            "sources": list(sources),
        }

    def _totals(self) -> VirtualTotals:
        get = self.site.memory.get
        return VirtualTotals(
            import_wh=get("import_total_wh"),
            export_wh=get("export_total_wh"),
            charge_wh=get("charge_total_wh"),
            discharge_wh=get("discharge_total_wh"),
            curtailed_wh=get("curtailed_total_wh"),
            buffer_wh=get("buffer_wh"),
        )

    # -- small answers

    @property
    def _plant_known(self) -> bool:
        return self._sensors is not None and self._sensors.plant.quality != MISSING

    def numbers(self) -> dict[str, int]:
        """The apps' numbers at the site, `_site` last."""
        return {name: k for k, name in enumerate(self.site.app_names)}

    def real_apps(self) -> list[tuple[int, str]]:
        """Number and name of the apps whose containers are real."""
        groups = self.site.groups
        return [(group.first, group.spec.name) for group in groups if isinstance(group.spec.workload, MeteredWorkload)]

    def _container_facts(self, app: str, container: str) -> ContainerFacts | None:
        known = self.enforcement.state(app, container)
        if known is not None:
            return ContainerFacts(*known)
        return ContainerFacts("starting", None) if app in self.apps and self.apps[app].real else None

    def _budget_state(self, energy: VirtualEnergySystem) -> wire.BudgetState | None:
        return budget_state(energy, enforced=self.site.now.enforcing)

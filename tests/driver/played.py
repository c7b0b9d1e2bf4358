"""A live site on a clock that a test moves: the engine, the driver and the ledger are real, containers, sun and time are played."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ecovisor import wire
from ecovisor.adapters.clocks import ManualClock
from ecovisor.adapters.devices.emulated import EmulatedPlant, SolarTrace
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.adapters.devices.in_process import InProcessPlant
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.live.ecovisor import Ecovisor
from ecovisor.live.events import Tap
from ecovisor.live.grants import Efficiencies
from ecovisor.live.settings import LiveApp, LiveSettings
from ecovisor.live.signals import SiteSignals
from ecovisor.live.ticking import Ticker
from ecovisor.model.errors import PolicyError
from ecovisor.model.series import Quality
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import Policy
from ecovisor.ports.live import (
    Command,
    ContainerRequest,
    ContainerState,
    ContainerStatus,
    EnergyCounter,
    Isolation,
    Reading,
)
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.workloads.models import ConstantDemand, Metered

START_S = 1_590_969_600.0
TICK_S = 60.0
SERVER = ServerParameters(4.0, (4.0, 10.0, 20.0))
BATTERY = BatteryParameters(200.0, 0.3, 0.25, 1.0, 0.95, 0.95, 0.0, 0.5)


class PlayedSignal:
    """A signal that a test sets."""

    def __init__(self, value: float) -> None:
        self.value = value

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def at(self, site_s: float) -> Reading:
        return Reading(self.value, Quality.MODELLED)

    def describe(self) -> str:
        return "played"


class PlayedPlatform:
    """Containers that use as much CPU time as they are set to, up to their limit."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.containers: dict[tuple[str, str], ContainerStatus] = {}
        self.busy: dict[tuple[str, str], float] = {}
        self.refuse: str | None = None
        self.fault: Exception | None = None
        self.calls: list[str] = []
        self._at_s = clock.monotonic_s()

    def _advance(self) -> None:
        now_s = self.clock.monotonic_s()
        for key, one in self.containers.items():
            used = min(self.busy.get(key, math.inf), one.cores_limit) * (now_s - self._at_s)
            if one.state is ContainerState.RUNNING:
                self.containers[key] = ContainerStatus(one.app, one.id, one.state, one.cpu_s + used, one.cores_limit)
        self._at_s = now_s

    def _change(self, app: str, container_id: str, **changes: object) -> None:
        self._advance()
        one = self.containers[app, container_id]
        values = {name: getattr(one, name) for name in ("app", "id", "state", "cpu_s", "cores_limit", "exit_code")} | changes
        self.containers[app, container_id] = ContainerStatus(**values)

    async def open(self) -> None: ...

    async def close(self, *, stop_containers: bool) -> None: ...

    def isolation(self) -> Isolation:
        return Isolation("played", "played", separate_users=False)

    async def start(self, request: ContainerRequest) -> None:
        from ecovisor.model.errors import Refused

        if self.refuse is not None:
            raise Refused(self.refuse)
        self._advance()
        self.calls.append(f"start {request.app}/{request.id}")
        self.containers[request.app, request.id] = ContainerStatus(
            request.app, request.id, ContainerState.RUNNING, 0.0, request.cores_limit
        )

    async def stop(self, app: str, container_id: str, *, grace_s: float = 5.0) -> None:
        self._advance()
        self.calls.append(f"stop {app}/{container_id}")
        self.containers.pop((app, container_id), None)

    async def set_cores_limit(self, app: str, container_id: str, cores_limit: float) -> float:
        self._change(app, container_id, cores_limit=cores_limit)
        return cores_limit

    async def suspend(self, app: str, container_id: str) -> None:
        self._change(app, container_id, state=ContainerState.SUSPENDED)

    async def resume(self, app: str, container_id: str) -> None:
        self._change(app, container_id, state=ContainerState.RUNNING)

    def end(self, app: str, container_id: str, exit_code: int) -> None:
        self._change(app, container_id, state=ContainerState.EXITED, exit_code=exit_code)

    async def status(self) -> Sequence[ContainerStatus]:
        if self.fault is not None:
            raise self.fault
        self._advance()
        return list(self.containers.values())

    async def logs(self, app: str, container_id: str, *, max_bytes: int = 65536) -> bytes:
        return b""


class PlayedMeter:
    """A node meter that a test sets."""

    def __init__(self) -> None:
        self.energy_j = 0.0

    async def read(self) -> EnergyCounter | None:
        return EnergyCounter(self.energy_j, Quality.MEASURED, "one")

    def describe(self) -> str:
        return "played"


class Played:
    """A site of two apps with real containers and one simulated, each with shares."""

    def __init__(
        self,
        state_dir: Path,
        *,
        solar_w: Sequence[float] = (30.0,),
        grid_limit_w: float = math.inf,
        remote: Sequence[str] = (),
        policies: Mapping[str, Callable[[], Policy]] | None = None,
        clock: ManualClock | None = None,
        plant: InProcessPlant | None = None,
        platform: PlayedPlatform | None = None,
        meter: PlayedMeter | None = None,
        tick_s: float = TICK_S,
        lockstep: bool = False,
        battery: BatteryParameters = BATTERY,
        enforce: bool = True,
    ) -> None:
        self.clock = clock or ManualClock(START_S)
        self.ledger = Ledger.open(state_dir, site="played", timezone="UTC")
        self.plant = plant or InProcessPlant(
            EmulatedPlant.starting(
                PlantBattery.like(battery, cut_off_wh=battery.capacity_wh * battery.empty_ratio),
                SolarTrace(start_s=START_S, step_s=3600.0, values_w=list(solar_w)),
                site_s=self.clock.site_s(),
            ),
            self.clock,
        )
        self.platform = platform or PlayedPlatform(self.clock)
        self.carbon = PlayedSignal(200.0)
        self.tick_s = tick_s
        self.tap = Tap(self.ledger.tables)
        site = Site(
            PhysicalSite(battery=battery, server=SERVER, grid_limit_w=grid_limit_w, solar_peak_w=max(solar_w), overhead_w=1.0),
            Signals(solar_w=array("d", [0.0]), carbon_intensity_g_per_kwh=array("d", [math.nan])),
            start_s=START_S,
            tick_s=tick_s,
            sink=self.tap,
        )
        shares = {"one": 0.5, "two": 0.25, "made-up": 0.125}
        made = policies or {}
        for name, share in shares.items():
            real = name != "made-up"
            site.join(
                AppSpec(
                    name=name,
                    shares=AppShares(share, share, share, share),
                    workload=Metered() if real else ConstantDemand(demand_w=6.0),
                    containers=2 if name == "one" else 1,
                    cores=1.0,
                    commands=("work",) if real else (),
                    policy=made.get(name, CarbonAgnostic),
                )
            )
        self.site = site
        failed: list[PolicyError] = []
        self.ticker = Ticker(
            site=site,
            tap=self.tap,
            loop=Loop(site, policies_in_python=True, on_error=failed.append),
            settings=LiveSettings(
                name="played",
                timezone="UTC",
                tick_s=tick_s,
                gap_after_s=10 * tick_s,
                max_age_s=900.0,
                enforce_budgets=enforce,
                lockstep=lockstep,
                export_limit_w=math.inf,
                below_line_wh=battery.capacity_wh * battery.empty_ratio,
                efficiencies=Efficiencies(battery.charge_efficiency, battery.discharge_efficiency),
                has_battery=True,
                keep_ticks_s=1e9,
                commands={"work": Command(["work"])},
                apps=[
                    LiveApp(name=name, shares=AppShares(s, s, s, s), remote=name in remote, real=name != "made-up")
                    for name, s in shares.items()
                ],
            ),
            clock=self.clock,
            ledger=self.ledger,
            platform=self.platform,
            plant=self.plant,
            node_meter=meter,
            signals=SiteSignals({"carbon": self.carbon}),
            environment=lambda _: {},
            failed_policies=failed,
        )
        self.ecovisor = Ecovisor(
            self.ticker,
            lambda request: AppSpec(
                name=request.name,
                shares=AppShares(
                    request.shares.grid, request.shares.solar, request.shares.battery_energy, request.shares.battery_power
                ),
                workload=Metered(),
                containers=0,
            ),
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open, and begin to tick as the clock is moved."""
        opening = asyncio.ensure_future(self.ecovisor.open())
        while not opening.done():
            await asyncio.sleep(0.001)
            if self.clock.next_wake_s() < math.inf:
                self.clock.advance(self.clock.next_wake_s())
        await opening
        self._task = asyncio.create_task(self.ecovisor.run())

    async def tick(self, count: int = 1) -> wire.SiteSnapshot:
        """Move the clock through so many ticks; the newest snapshot."""
        until = self.ecovisor.tick + count
        await self.settle()
        while self.ecovisor.tick < until:
            self.clock.advance(self.clock.next_wake_s())
            await self.settle()
        return self.ecovisor.site_state()

    async def window_over(self) -> None:
        """Move the clock past the window for settings."""
        await self.settle()
        self.clock.advance(self.clock.next_wake_s())
        await self.settle()

    async def settle(self) -> None:
        """Let everything that can run now run."""
        quiet = 0
        for _ in range(5000):
            await asyncio.sleep(0.0005)
            if self._task is not None and self._task.done():
                self._task.result()
                return
            waits = self.clock.site_s() < self.clock.next_wake_s() < math.inf
            published = self.ecovisor.tick == self.ticker.tick and self.ticker.recording.waiting == 0
            quiet = quiet + 1 if waits and published else 0
            if quiet >= 3:
                return
        raise AssertionError(f"the site did not come to rest; the ledger: {self.ticker.recording.failure}")

    async def close(self) -> None:
        """End in order."""
        self.ecovisor.stop()
        if self._task is not None:
            await self._task
        await self.ecovisor.close()
        self.ledger.close()

    def kill(self) -> None:
        """End as a killed process does: nothing is written any more."""
        if self._task is not None:
            self._task.cancel()
        self.ledger.close()

    def app(self, name: str) -> wire.Snapshot:
        """An app's newest snapshot."""
        return next(one for one in self.ecovisor.site_state().apps if one.app == name)

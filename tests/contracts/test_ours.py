"""The public contract suites, applied to everything of ours that plays a role."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from ecovisor import runs
from ecovisor.adapters.signals import SignalPlugin
from ecovisor.adapters.signals.constant import load_constant
from ecovisor.adapters.signals.modelled_carbon import load_modelled_carbon
from ecovisor.adapters.signals.modelled_solar import load_modelled_solar
from ecovisor.adapters.signals.pv import load_pv
from ecovisor.adapters.stores.in_memory import InMemoryTables
from ecovisor.adapters.stores.run_folder import RunFolder
from ecovisor.engine.loop import Loop
from ecovisor.model.errors import EcovisorError
from ecovisor.model.series import Series
from ecovisor.model.units import duration_s
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import AppView, ContainerInfo, ContainerWorkload, Policy, TableSink, VirtualEnergy, Workload
from ecovisor.settings import Signal
from ecovisor.testing import (
    ContainerWorkloadContract,
    MemorySink,
    PolicyContract,
    SignalContract,
    TableSinkContract,
    VirtualEnergyContract,
    WorkloadContract,
    small_site,
)
from ecovisor.testing.memory_sink import Row
from ecovisor.testing.sites import MICROSERVER, START_S
from ecovisor.testing.virtual_energy import Step
from ecovisor.workloads.models import ConstantDemand
from ecovisor.workloads.replicas import Replicas
from ecovisor.workloads.stages import Stages
from ecovisor.workloads.synchronous import Synchronous
from ecovisor.workloads.web_service import WebService

# -- policies


class TestCarbonAgnostic(PolicyContract):
    def make(self) -> Policy:
        return CarbonAgnostic()


class TestSuspendResumeAtAThreshold(PolicyContract):
    def make(self) -> Policy:
        return SuspendResume(Threshold(fixed_g_per_kwh=180.0))


class TestSuspendResumeAtAPercentile(PolicyContract):
    def make(self) -> Policy:
        return SuspendResume(Threshold(percent=30.0))


class TestWaitAndScale(PolicyContract):
    def make(self) -> Policy:
        return WaitAndScale(Threshold(percent=40.0), 3.0)


class TestBatteryArbitrage(PolicyContract):
    def make(self) -> Policy:
        return BatteryArbitrage(Threshold(percent=25.0), Threshold(percent=75.0))


class TestStaticCarbonRate(PolicyContract):
    def make(self) -> Policy:
        return StaticCarbonRate(1.0)


# -- workloads


class _Queue:
    """Requests arrive evenly; each needs a watt-hour, and what is not served waits."""

    def __init__(self, arrivals_w: float, total_wh: float) -> None:
        self.arrivals_w = arrivals_w
        self.left_wh = total_wh
        self.waiting_wh = 0.0

    def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
        arriving_wh = min(self.arrivals_w * tick_s / 3600.0, self.left_wh)
        self.left_wh -= arriving_wh
        self.waiting_wh += arriving_wh
        return self.waiting_wh * 3600.0 / tick_s

    def run(self, served_w: float, tick_s: float) -> None:
        self.waiting_wh = max(0.0, self.waiting_wh - served_w * tick_s / 3600.0)


class TestAQueue(WorkloadContract):
    def make(self) -> Workload:
        return _Queue(10.0, 300.0)

    def completed(self, workload: Workload) -> bool:
        assert isinstance(workload, _Queue)
        return workload.left_wh <= 0.0 and workload.waiting_wh <= 0.0


class _Balancer:
    """The same load for whoever runs."""

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> list[float]:
        running = [one for one in containers if one.running]
        return [min(one.cap_w, 12.0 / len(running)) if one.running else 0.0 for one in containers]

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        """Nothing to learn."""


class TestABalancer(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        return _Balancer()


class TestStages(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        return Stages(server=MICROSERVER, work_core_h=150.0, checkpoint_interval_s=7200.0, checkpoint_duration_s=60.0, seed=3)


class TestSynchronous(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        return Synchronous(server=MICROSERVER, nodes=4, steps=500, seed=3)


class TestReplicas(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        return Replicas(server=MICROSERVER, tasks=3, rounds=300, seed=3)


class TestWebService(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        rate = Series("requests", "1/s", START_S, 3600.0, array("d", [30.0 + 29.0 * math.sin(k) for k in range(80)]))
        return WebService(server=MICROSERVER, rate=rate, service_ms=100.0)


# -- signals


class _BuiltIn(SignalContract):
    settings: Signal

    def make(self) -> SignalPlugin:
        settings = self.settings

        def load(name: str, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int, **options: object) -> Series:
            if settings.kind == "constant":
                return load_constant(name, settings, start_s=start_s, end_s=end_s, tick_s=tick_s)
            if settings.kind == "modelled-carbon":
                return load_modelled_carbon(name, settings, start_s=start_s, end_s=end_s, seed=seed)
            if settings.kind == "modelled-solar":
                return load_modelled_solar(name, settings, start_s=start_s, end_s=end_s, tick_s=tick_s, seed=seed)
            return load_pv(name, settings, folder=folder, start_s=start_s, end_s=end_s, tick_s=tick_s)[0]

        return load


class TestConstantCarbon(_BuiltIn):
    settings = Signal(kind="constant", value=200.0)


class TestAConstantPrice(_BuiltIn):
    name = "price"
    settings = Signal(kind="constant", value=-0.02)


class TestModelledCarbon(_BuiltIn):
    settings = Signal(kind="modelled-carbon", zone="DE")


class TestModelledSunWithoutPvlib(_BuiltIn):
    name = "solar"
    settings = Signal(kind="modelled-solar", peak_w=100.0, latitude=36.1, longitude=-119.95)


class TestModelledSun(_BuiltIn):
    name = "solar"
    settings = Signal(kind="pvlib", peak_w=100.0)


# -- sinks


class TestMemorySink(TableSinkContract):
    sink: MemorySink | None = None

    def make(self) -> TableSink:
        self.sink = MemorySink()
        return self.sink

    def finish(self, sink: Any) -> None:
        pass

    def read(self, table: str) -> list[Row]:
        assert self.sink is not None
        if table == "events":
            return [{"time": e.time_s, "app": e.app, "kind": e.kind, "detail": e.detail} for e in self.sink.events]
        return self.sink.rows(table)

    def abort(self, sink: Any) -> None:
        self.sink = None

    def remains(self) -> bool:
        return self.sink is not None


class TestInMemoryTables(TableSinkContract):
    sink: InMemoryTables | None = None

    def make(self) -> TableSink:
        self.sink = InMemoryTables()
        return self.sink

    def finish(self, sink: Any) -> None:
        pass

    def read(self, table: str) -> list[Row]:
        assert self.sink is not None
        if table == "events":
            return [{"time": e.time_s, "app": e.app, "kind": e.kind, "detail": e.detail} for e in self.sink.events]
        columns = self.sink.table(table)
        return [dict(zip(columns, map(_plain, row), strict=True)) for row in zip(*columns.values(), strict=True)]

    def abort(self, sink: Any) -> None:
        self.sink = None

    def remains(self) -> bool:
        return self.sink is not None


class _Folder(TableSinkContract):
    format: Literal["parquet", "csv"]

    @pytest.fixture(autouse=True)
    def _in(self, tmp_path: Path) -> None:
        self.root = tmp_path
        self.made = 0

    def make(self) -> TableSink:
        self.made += 1
        return RunFolder(self.root / f"run-{self.made}", table_format=self.format)

    def finish(self, sink: RunFolder) -> None:
        sink.finish({})

    def read(self, table: str) -> list[Row]:
        frame = runs.open(self.root / f"run-{self.made}")._frame(table)
        frame["time"] = [time.timestamp() for time in frame["time"]]
        return [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]

    def abort(self, sink: RunFolder) -> None:
        sink.abort()

    def remains(self) -> bool:
        return any(self.root.iterdir())


def _plain(value: Any) -> float | str:
    return value if isinstance(value, str) else float(value)


class TestRunFolderInCsv(_Folder):
    format = "csv"


class TestRunFolderInParquet(_Folder):
    format = "parquet"


# -- virtual energy


class _Playing:
    """A policy that plays steps, one a tick."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = iter(steps)

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        next(self.steps)(energy)


class TestInProcess(VirtualEnergyContract):
    compiled = False

    def play(self, steps: Sequence[Step]) -> None:
        site = small_site(lambda: _Playing(steps), ConstantDemand(demand_w=8.0), grid_limit_w=100.0, compiled=self.compiled)
        try:
            Loop(site).run(len(steps))
        except EcovisorError as error:
            raise error.__cause__ or error from None


class TestInProcessOnCompiledMemory(TestInProcess):
    compiled = True


# -- the suites themselves find what they are for


class _Raises:
    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        raise ZeroDivisionError


class _SetsNan:
    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        energy.set_battery_charge_rate(100.0 / (energy.get_grid_carbon() - energy.get_grid_carbon() + math.inf) * math.inf)


class _Shares:
    calls = 0

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        _Shares.calls += 1
        energy.set_battery_charge_rate(float(_Shares.calls))


@pytest.mark.parametrize(
    ("policy", "test"),
    [
        (_Raises, "test_ordinary_days"),
        (_SetsNan, "test_ordinary_days"),
        (_Shares, "test_two_instances_share_nothing"),
        (_Shares, "test_the_same_situation_the_same_settings"),
    ],
)
def test_a_policy_that_breaks_the_contract_is_found(policy: type[Policy], test: str) -> None:
    class Suite(PolicyContract):
        def make(self) -> Policy:
            return policy()

    with pytest.raises((EcovisorError, AssertionError)):
        getattr(Suite(), test)()


def test_a_workload_that_asks_for_too_little_or_after_its_end_is_found() -> None:
    class Endless(_Queue):
        def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
            return super().demand_w(now_s, tick_s, cores) + 1.0

    class Suite(TestAQueue):
        __test__ = False

        def make(self) -> Workload:
            return Endless(10.0, 300.0)

    with pytest.raises(AssertionError, match="after it was completed"):
        Suite().test_asks_for_finite_power_when_served_in_full()


def test_a_memory_sink_adds_up() -> None:
    sink = MemorySink()
    Loop(small_site(sink=sink, days=1.0)).run(96)
    assert sink.total("flows", "demand_w", "neighbour") == pytest.approx(5.0 * 24.0)
    assert sink.row("site", 0)["dt_s"] == duration_s("15min")
    assert len(sink.frame("flows")) == 3 * 96
    assert set(sink.tables) == {"flows", "site", "containers"}
    with pytest.raises(KeyError, match="0 rows"):
        sink.row("flows", 0, "nobody")

"""Two applications on one solar array and one battery, half each (Ecovisor paper, section 5.3): the site, the jobs, and how they are run.

Owns the experiment of figures 8 and 9: `run` plays it through the engine and keeps every tick. `virtual_batteries_inputs` makes sun and
request rate, `virtual_batteries_starts` runs it from many mornings, `virtual_batteries_parameters` gives the reasons for what is assumed;
`figure8` and `figure9` say what of it is shown and claimed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ecovisor.adapters.stores.in_memory import InMemoryTables
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.model.series import Series
from ecovisor.policies.battery_smoothing import BatterySmoothing
from ecovisor.policies.daytime_workers import is_day, run_workers
from ecovisor.policies.latency_workers import LatencyWorkers
from ecovisor.policies.opportunistic_workers import OpportunisticWorkers
from ecovisor.ports import AppView, Block, ContainerInfo, ContainerWorkload, Policy, VirtualEnergy
from ecovisor.presets import SERVERS, AppShares, BatteryParameters, resolve_battery
from ecovisor.settings import Battery
from ecovisor.workloads.stages import Stages
from ecovisor.workloads.web_service import WebService

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOUR_S, DAY_S, TICK_S, DAY_TICKS = 3600.0, 86400.0, 60.0, 1440
SERVER = SERVERS["microserver"]
WORKER_CORES, WORKER_W = SERVER.cores, SERVER.power_curve_w[-1]
SPARK, WEB = "spark", "web"
#: Of the grid, from which nobody should import: an import would show in the ledger's carbon. [g/kWh]
GRID_G_PER_KWH = 300.0
BATTERY = resolve_battery(Battery(preset="ecovisor-paper", initial_ratio=1.0))
#: Each application holds half of everything.
HALF = AppShares(0.5, 0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What the experiment assumes besides its traces; `virtual_batteries_parameters` says why. A rerun changes one of them."""

    battery: BatteryParameters = BATTERY
    """The paper's, full in the first morning."""
    morning_h: float = 8.0
    evening_h: float = 18.0
    static_workers: int = 4
    most_workers: int = 16
    """Of each application."""
    full_ratio: float = 0.99
    keep_ratio: float = 0.5
    """See `OpportunisticWorkers`. [1]"""
    work_core_h: float = 500.0
    stages: int = 8
    tasks_per_stage: int = 125
    task_spread_ratio: float = 0.25
    checkpoint_interval_s: float = 0.0
    checkpoint_duration_s: float = 60.0
    startup_s: float = 30.0
    """See `Stages`."""
    slo_ms: float = 100.0
    service_ms: float = 20.0
    """Mean time of a request on an idle core. [ms]"""
    mean_per_s: float = 500.0
    """Requests by day. [1/s]"""
    headroom_ratio: float = 0.1
    """Of the web application's policy. [1]"""


class Watched:
    """A workload whose metrics are kept, tick by tick.

    Attributes:
        kept: one row a tick, in the order of ``names``.
    """

    def __init__(self, workload: Any, names: Sequence[str]) -> None:
        self.workload: Any = workload
        self.names = tuple(names)
        self.kept: list[list[float]] = []
        self.metrics: Mapping[str, float] = {}

    @property
    def work_done(self) -> float:
        """As the workload says."""
        return float(self.workload.work_done)

    @property
    def work_total(self) -> float:
        """As the workload says."""
        return float(self.workload.work_total)

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        """See `ports.ContainerWorkload`."""
        demands: Sequence[float] = self.workload.demands_w(now_s, tick_s, containers)
        return demands

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        """See `ports.ContainerWorkload`."""
        self.workload.run_containers(served_w, tick_s)
        self.metrics = self.workload.metrics
        self.kept.append([self.metrics[name] for name in self.names])

    def column(self, name: str) -> Floats:
        """A metric, one value a tick."""
        return np.array([row[self.names.index(name)] for row in self.kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A run that is over."""

    job: Stages | None
    spark: Watched | None
    web: Watched | None
    tables: InMemoryTables
    """`flows` and `site`."""


class _Flows(InMemoryTables):
    """Keeps no containers: they are many, and nobody looks."""

    def write(self, block: Block) -> None:
        if block.table != "containers":
            super().write(block)


def run(
    setting: Setting,
    solar: Series,
    requests: Series | None,
    *,
    dynamic: bool,
    days: int,
    seed: int | None,
    least_days: int = 0,
) -> Played:
    """The applications under their static or their dynamic policies.

    Args:
        setting: what is assumed.
        solar: of the whole array, by the minute from a midnight on. [W]
        requests: to the web application; None: it stays away, and its half is nobody's. [1/s]
        dynamic: the applications' own policies instead of the system's.
        days: how long at most; less if the job ends before. [d]
        seed: of the job's tasks; None: there is no job.
        least_days: how long at least. [d]
    """
    tables = _Flows()
    carbon = replace(solar, name="carbon", unit="g/kWh", values=array("d", [GRID_G_PER_KWH]) * len(solar.values))
    site = Site(
        PhysicalSite(battery=setting.battery, server=SERVER, excess=("curtail",), solar_peak_w=max(solar.values)),
        Signals(
            solar_w=solar.values,
            carbon_intensity_g_per_kwh=carbon.values,
            forecasters={"solar": PerfectForecaster(solar), "carbon": PerfectForecaster(carbon)},
        ),
        start_s=solar.start_s,
        tick_s=TICK_S,
        sink=tables if requests is not None else None,
        history_s=0.0,
        compiled=False,
    )
    job, spark, web = None, None, None
    if seed is not None:
        job = _job(setting, seed, solar.start_s)
        spark = Watched(job, ("workers", "lost_core_h"))
        site.join(_app(SPARK, spark, setting, _spark_policy(setting) if dynamic else _static_policy(setting)))
    if requests is not None:
        service = WebService(server=SERVER, rate=requests, service_ms=setting.service_ms)
        web = Watched(service, ("workers", "p95_ms", "requests_per_s"))
        site.join(_app(WEB, web, setting, _web_policy(setting) if dynamic else _static_policy(setting)))
    site.begin()
    loop = Loop(site)
    for quarter in range(1, 4 * days + 1):
        loop.run(quarter * DAY_TICKS // 4)
        if job is not None and job.completed and quarter >= 4 * least_days:
            break
    return Played(job=job, spark=spark, web=web, tables=tables)


def _job(setting: Setting, seed: int, midnight_s: float) -> Stages:
    return Stages(
        server=SERVER,
        work_core_h=setting.work_core_h,
        stages=setting.stages,
        tasks_per_stage=setting.tasks_per_stage,
        task_spread_ratio=setting.task_spread_ratio,
        checkpoint_interval_s=setting.checkpoint_interval_s,
        checkpoint_duration_s=setting.checkpoint_duration_s,
        evening_h=setting.evening_h,
        startup_s=setting.startup_s,
        seed=seed,
        start_s=midnight_s + setting.morning_h * HOUR_S,
    )


def _app(name: str, workload: ContainerWorkload, setting: Setting, policy: Callable[[], Policy]) -> AppSpec:
    return AppSpec(
        name=name, shares=HALF, workload=lambda: workload, policy=policy, containers=setting.static_workers, cores=WORKER_CORES
    )


def _static_policy(setting: Setting) -> Callable[[], Policy]:
    return lambda: BatterySmoothing(
        workers=setting.static_workers, worker_w=WORKER_W, morning_h=setting.morning_h, evening_h=setting.evening_h
    )


def _spark_policy(setting: Setting) -> Callable[[], Policy]:
    return lambda: OpportunisticWorkers(
        workers=setting.static_workers,
        most_workers=setting.most_workers,
        worker_w=WORKER_W,
        morning_h=setting.morning_h,
        evening_h=setting.evening_h,
        full_ratio=setting.full_ratio,
        keep_ratio=setting.keep_ratio,
    )


def _web_policy(setting: Setting) -> Callable[[], Policy]:
    return lambda: _AwakeByDay(
        LatencyWorkers(
            slo_p95_ms=setting.slo_ms,
            service_ms=setting.service_ms,
            worker_w=WORKER_W,
            headroom_ratio=setting.headroom_ratio,
            most_workers=setting.most_workers,
        ),
        setting,
    )


class _AwakeByDay:
    """The web application's own policy by day, with a worker awake in the morning before there are requests to scale by."""

    def __init__(self, policy: LatencyWorkers, setting: Setting) -> None:
        self.policy = policy
        self.setting = setting

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Sleep, wake up, scale."""
        if not is_day(energy.now_s, self.setting.morning_h, self.setting.evening_h):
            run_workers(energy, energy.list_containers(), 0, WORKER_W)
            return
        self.policy.tick(energy, app)
        present = energy.list_containers()
        if not any(one.running for one in present):
            energy.resume_container(present[0].id)

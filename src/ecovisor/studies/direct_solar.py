"""A parallel job on nothing but sun: no battery, no grid (Ecovisor paper, section 5.4). The site, the sun, and how a job is run on it.

Owns the experiment of figures 10 and 11: `run` plays it through the engine until the job is complete. `figure10` and `figure11` say
which jobs and policies, what of it is shown and what is claimed.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field, replace
from random import Random

from ecovisor.engine.loop import Loop
from ecovisor.engine.report import app_summaries
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.model.series import Series
from ecovisor.ports import AppView, Policy, VirtualEnergy
from ecovisor.presets import SERVERS, AppShares, ServerParameters
from ecovisor.workloads.replicas import Replicas
from ecovisor.workloads.synchronous import Synchronous

HOUR_S, TICK_S = 3600.0, 60.0
#: What figure 10(a) shows of the day, in hours of the day.
FROM_H, TO_H = 8, 18
SUNLIT_MINUTES = (TO_H - FROM_H) * 60
NODES = 10
PEAK_W = 100.0
SERVER = SERVERS["microserver-gpu"]
FULL_W = SERVER.power_curve_w[-1]
Job = Synchronous | Replicas
#: The app holds all of the sun, and of nothing else.
ALL_SUN = AppShares(0.0, 1.0, 0.0, 0.0)
#: For both figures' notes.
NO_BOUND = "There is no bound beside these figures: nothing is imported, so the least carbon is zero under every policy."
#: Ticks between looks at whether the job is complete.
_LOOK_TICKS = 120


def begin_minute(seed: int) -> int:
    """When a run begins, in minutes after `FROM_H`: anywhere in the sunlit day. [min]"""
    return Random(f"{seed}/begin").randrange(SUNLIT_MINUTES)


def sunlit(day: Series, level_ratio: float, begin: int, hours: float, tick_s: float = TICK_S) -> Series:
    """The day from `FROM_H` to `TO_H`, again and again without its nights, from a minute on; scaled. [W]

    Args:
        day: by the minute from midnight. [W]
        level_ratio: how much of it there is. [1]
        begin: first minute, after `FROM_H`. [min]
        hours: how long. [h]
        tick_s: a step; longer than a minute it is a mean, shorter it repeats. [s]
    """
    light = [value * level_ratio for value in day.values[FROM_H * 60 : TO_H * 60]]
    minutes = math.ceil(hours * 60.0)
    values = [light[(begin + k) % len(light)] for k in range(minutes)]
    if tick_s >= TICK_S:
        each = round(tick_s / TICK_S)
        values = [math.fsum(values[k : k + each]) / each for k in range(0, len(values) - each + 1, each)]
    else:
        values = [value for value in values for _ in range(round(TICK_S / tick_s))]
    return replace(day, start_s=day.start_s + (FROM_H * 60 + begin) * 60.0, step_s=tick_s, values=array("d", values))


def with_nights_h(runtime_h: float, begin: int) -> float:
    """A run time in sunlit hours as a clock on the wall would have it, nights included. [h]"""
    nights = math.floor((begin + runtime_h * 60.0) / SUNLIT_MINUTES)
    return runtime_h + nights * (24.0 - (TO_H - FROM_H))


def told(series: Series) -> str:
    """A series' quality and origin, the quality once."""
    return series.origin if series.origin.startswith(series.quality) else f"{series.quality}: {series.origin}"


@dataclass(slots=True)
class Noted:
    """A policy, and what it saw and set, tick by tick."""

    policy: Policy
    solar_w: list[float] = field(default_factory=list)
    caps_w: list[list[float]] = field(default_factory=list)
    """Cap of each container; NaN while it is suspended. [W]"""
    before_w: list[float] = field(default_factory=list)
    """What the job was served in the tick before each. [W]"""

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Let the policy decide, and note what it decided."""
        self.policy.tick(energy, app)
        self.solar_w.append(energy.get_solar_power())
        self.before_w.append(energy.get_app_power())
        self.caps_w.append([one.cap_w if one.running else math.nan for one in energy.list_containers()])

    @property
    def most_over_w(self) -> float:
        """By how much the sum of all caps was above the sun, at most; at or below 0: never. [W]"""
        return max(
            math.fsum(cap for cap in caps if not math.isnan(cap)) - solar
            for caps, solar in zip(self.caps_w, self.solar_w, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A run that is over."""

    runtime_h: float
    """In hours of sun; NaN: not complete. [h]"""
    work_node_s: float
    energy_wh: float
    """Served to the job. [Wh]"""
    imported_wh: float
    unserved_wh: float

    @property
    def efficiency_node_s_per_kj(self) -> float:
        """Work per energy. [node-s/kJ]"""
        return self.work_node_s / (self.energy_wh * 3.6) if self.energy_wh > 0.0 else math.nan


def run(job: Job, policy: Policy, solar: Series, *, containers: int = NODES, server: ServerParameters = SERVER) -> Played:
    """A job on nothing but sun, until it is complete or the sun is at its end.

    Args:
        job: new.
        policy: new.
        solar: all there is, a step a tick. [W]
        containers: of one node each.
        server: what a node is.
    """
    ticks = len(solar.values)
    site = Site(
        PhysicalSite(battery=None, server=server, grid_limit_w=0.0, excess=("curtail",), solar_peak_w=max(solar.values)),
        Signals(
            solar_w=solar.values,
            carbon_intensity_g_per_kwh=array("d", [math.nan]) * ticks,
            forecasters={"solar": PerfectForecaster(solar)},
        ),
        start_s=solar.start_s,
        tick_s=solar.step_s,
        history_s=0.0,
        compiled=False,
    )
    site.join(
        AppSpec(name="job", shares=ALL_SUN, workload=lambda: job, policy=lambda: policy, containers=containers, cores=server.cores)
    )
    site.begin()
    loop = Loop(site)
    done = 0
    while done < ticks and math.isnan(job.completed_s):
        done = min(done + _LOOK_TICKS, ticks)
        loop.run(done)
    summary = app_summaries(site)[0]
    return Played(
        runtime_h=(job.completed_s - solar.start_s) / HOUR_S,
        work_node_s=summary.work_done,
        energy_wh=summary.demand_wh - summary.unserved_wh,
        imported_wh=summary.grid_to_load_wh + summary.grid_to_battery_wh,
        unserved_wh=summary.unserved_wh,
    )

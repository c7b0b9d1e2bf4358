"""The job of figure 11, with stragglers and replicas against them on excess sun: what is assumed, and how it is played.

`direct_solar` has the site and the sun; `figure11` says what is shown of it, `figure11_claims` what is claimed.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ecovisor.model.series import Quality, Series
from ecovisor.policies.straggler_replicas import StragglerReplicas
from ecovisor.presets import ServerParameters
from ecovisor.studies import direct_solar as ds
from ecovisor.workloads.replicas import Replicas

#: Longest run, in hours at all of the sun; more sun makes it shorter. [h]
_LONGEST_H = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is assumed besides the sun; a rerun changes one of these."""

    server: ServerParameters = ds.SERVER
    rounds: int = 12
    compute_s: float = 300.0
    straggler_ratio: float = 0.2
    straggler_worst: float = 5.0
    stalled: bool = False
    most_replicas: int = 4
    spares: int = 20
    least_ratio: float = 1.25
    tick_s: float = ds.TICK_S
    steady: bool = False
    """The day's peak from morning to evening."""

    def job(self, seed: int) -> Replicas:
        """The job of a seed: its stragglers."""
        return Replicas(
            server=self.server,
            tasks=ds.NODES,
            rounds=self.rounds,
            compute_s=self.compute_s,
            straggler_ratio=self.straggler_ratio,
            straggler_worst=self.straggler_worst,
            stalled=self.stalled,
            most_replicas=self.most_replicas,
            seed=seed,
        )

    def policy(self, *, replicas: bool) -> StragglerReplicas:
        """The application's policy; without replicas it is the system's: equal caps."""
        return StragglerReplicas(self.server.power_curve_w[-1], self.least_ratio, None if replicas else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One job with replicas and without, on the same sun."""

    level_percent: int
    seed: int
    without: ds.Played
    replicas: ds.Played
    issued: float
    won: float
    wasted_wh: float
    offered_wh: float
    """What the sun gave while the job with replicas ran. [Wh]"""
    offered_without_wh: float
    """What it gave while the job without them ran. [Wh]"""

    @property
    def shortened_percent(self) -> float:
        """How much shorter replicas make the run. [%]"""
        return 100.0 * (1.0 - self.replicas.runtime_h / self.without.runtime_h)


def play(setting: Setting, day: Series, level_percent: int, seed: int) -> Outcome:
    """One job with replicas and without at a multiple of the sun."""
    begin, level = ds.begin_minute(seed), level_percent / 100.0
    source = steady(day) if setting.steady else day
    solar = ds.sunlit(source, level, begin, _LONGEST_H, setting.tick_s)
    job = setting.job(seed)
    replicas = ds.run(job, setting.policy(replicas=True), solar, containers=ds.NODES + setting.spares, server=setting.server)
    without = ds.run(setting.job(seed), setting.policy(replicas=False), solar, server=setting.server)
    told = job.metrics
    return Outcome(
        level_percent=level_percent,
        seed=seed,
        without=without,
        replicas=replicas,
        issued=told["replicas_issued"],
        won=told["replicas_won"],
        wasted_wh=told["wasted_wh"],
        offered_wh=_offered_wh(solar, replicas.runtime_h),
        offered_without_wh=_offered_wh(solar, without.runtime_h),
    )


def steady(day: Series) -> Series:
    """A day as bright all the time as it is at its brightest. [W]"""
    peak_w = max(day.values)
    values = array("d", [peak_w]) * len(day.values)
    return replace(day, values=values, quality=Quality.MODELLED, origin=f"steady {peak_w:g} W")


def at(outcomes: Sequence[Outcome], level_percent: int) -> list[Outcome]:
    """Those at one multiple of the sun."""
    return [one for one in outcomes if one.level_percent == level_percent]


def _offered_wh(solar: Series, runtime_h: float) -> float:
    ticks = len(solar.values) if math.isnan(runtime_h) else math.ceil(runtime_h * ds.HOUR_S / solar.step_s)
    return math.fsum(solar.values[:ticks]) * solar.step_s / ds.HOUR_S

"""The synchronous job of figure 10 under equal and under balanced caps: what is assumed, and how it is played.

`direct_solar` has the site and the sun; `figure10` says what is shown of it, `figure10_claims` what is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecovisor.model.series import Series
from ecovisor.policies.balanced_caps import BalancedCaps
from ecovisor.policies.equal_caps import EqualCaps
from ecovisor.ports import Policy
from ecovisor.presets import ServerParameters
from ecovisor.studies import direct_solar as ds
from ecovisor.workloads.synchronous import Synchronous

#: Longest run, in hours at all of the sun; at a part of it as many times longer, and more, for idling takes the same from less. [h]
_LONGEST_H = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is assumed besides the sun; a rerun changes one of these."""

    server: ServerParameters = ds.SERVER
    steps: int = 20
    compute_s: float = 120.0
    io_s: float = 10.0
    imbalance_ratio: float = 0.2
    straggler_ratio: float = 0.05
    straggler_worst: float = 3.0
    least_ratio: float = 1.25
    in_turn: bool = True
    tick_s: float = ds.TICK_S
    from_morning: bool = False
    """Begin at `direct_solar.FROM_H` instead of at random."""

    def job(self, seed: int) -> Synchronous:
        """The job of a seed: its imbalance and its stragglers."""
        return Synchronous(
            server=self.server,
            nodes=ds.NODES,
            steps=self.steps,
            compute_s=self.compute_s,
            io_s=self.io_s,
            imbalance_ratio=self.imbalance_ratio,
            straggler_ratio=self.straggler_ratio,
            straggler_worst=self.straggler_worst,
            seed=seed,
        )

    def static(self) -> Policy:
        """The system's policy."""
        return EqualCaps(self.least_ratio, in_turn=self.in_turn)

    def dynamic(self) -> Policy:
        """The application's policy."""
        return BalancedCaps(self.server.power_curve_w[-1], self.least_ratio, in_turn=self.in_turn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One job under both policies, on the same sun."""

    level_percent: int
    seed: int
    begin: int
    """After `direct_solar.FROM_H`. [min]"""
    static: ds.Played
    dynamic: ds.Played

    @property
    def improvement_percent(self) -> float:
        """How much shorter the run is under the dynamic policy, of the static one's. [%]"""
        return 100.0 * (1.0 - self.dynamic.runtime_h / self.static.runtime_h)


def play(setting: Setting, day: Series, level_percent: int, seed: int) -> Outcome:
    """One job under both policies at a part of the sun."""
    begin, level = (0 if setting.from_morning else ds.begin_minute(seed)), level_percent / 100.0
    solar = ds.sunlit(day, level, begin, _LONGEST_H / level**1.2, setting.tick_s)

    def played(policy: Policy) -> ds.Played:
        return ds.run(setting.job(seed), policy, solar, server=setting.server)

    return Outcome(
        level_percent=level_percent, seed=seed, begin=begin, static=played(setting.static()), dynamic=played(setting.dynamic())
    )


def at(outcomes: Sequence[Outcome], level_percent: int) -> list[Outcome]:
    """Those at one part of the sun."""
    return [one for one in outcomes if one.level_percent == level_percent]

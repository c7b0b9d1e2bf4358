"""Opportunistic workers (Ecovisor paper, section 5.3): the guaranteed ones, and as many more as excess sun feeds once the battery is full.

The Spark-specific policy of Figure 8. The additional workers are removed when the battery has to carry them for long, and what they
have not checkpointed is lost: worth it for an application that can do the work again.
"""

from __future__ import annotations

import math

from ecovisor.policies.daytime_workers import (
    battery_supply_w,
    carried,
    guaranteed_workers,
    is_day,
    level_ratio,
    run_workers,
)
from ecovisor.ports import AppView, VirtualEnergy


def additional_workers(now: int, fed: int, battery_ratio: float, full_ratio: float, keep_ratio: float) -> int:
    """How many workers beyond the guaranteed ones.

    Args:
        now: that run already.
        fed: that the excess sun of the coming tick feeds.
        battery_ratio: level over capacity. [1]
        full_ratio: from here on the battery counts as full: more may come. [1]
        keep_ratio: above it the battery carries those that run through clouds; else only those that the sun feeds stay. [1]
    """
    stay = now if battery_ratio > keep_ratio else min(now, fed)
    return max(stay, fed) if battery_ratio >= full_ratio else stay


class OpportunisticWorkers:
    """Runs the guaranteed workers by day and adds to them on excess sun; none run at night.

    Containers beyond the first ``workers`` are the additional ones: added when they are wanted, removed, the newest first, when not.

    Args:
        workers: guaranteed, as under `BatterySmoothing`.
        most_workers: guaranteed and additional ones together.
        worker_w: the most that a worker draws; each is capped at it. [W]
        morning_h, evening_h: hours of the day, UTC, between which workers run. [h]
        full_ratio: level over capacity from which the battery counts as full. [1]
        keep_ratio: level over capacity above which the battery carries additional workers through clouds. [1]
        resume_ratio: see `BatterySmoothing`. [1]

    Raises:
        ValueError: ``workers`` is negative or more than ``most_workers``, ``worker_w`` not above 0, or ``keep_ratio`` above ``full_ratio``.
    """

    def __init__(
        self,
        workers: int = 4,
        most_workers: int = 16,
        worker_w: float = 5.0,
        morning_h: float = 8.0,
        evening_h: float = 18.0,
        full_ratio: float = 0.99,
        keep_ratio: float = 0.5,
        resume_ratio: float = 0.05,
    ) -> None:
        if not 0 <= workers <= most_workers:
            raise ValueError(f"workers is {workers!r}, most_workers {most_workers!r}; give 0 <= workers <= most_workers")
        if not worker_w > 0.0:
            raise ValueError(f"worker_w is {worker_w!r} W; give a power above 0")
        if keep_ratio > full_ratio:
            raise ValueError(f"keep_ratio is {keep_ratio!r}, above the full_ratio of {full_ratio!r}; give one that is not")
        self.workers = workers
        self.most_workers = most_workers
        self.worker_w = worker_w
        self.morning_h = morning_h
        self.evening_h = evening_h
        self.full_ratio = full_ratio
        self.keep_ratio = keep_ratio
        self.resume_ratio = resume_ratio

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Run what is guaranteed, and what excess sun adds."""
        present = energy.list_containers()
        count = self._count(energy, app, [one.running for one in present])
        for one in present[max(count, self.workers) :]:
            energy.remove_container(one.id)
        run_workers(energy, present[: max(count, self.workers)], count, self.worker_w)

    def _count(self, energy: VirtualEnergy, app: AppView, running: list[bool]) -> int:
        if app.completed or not is_day(energy.now_s, self.morning_h, self.evening_h):
            return 0
        solar_w = energy.get_solar_power()
        battery_w = battery_supply_w(energy.get_battery_charge_level(), energy.battery_discharge_limit_w, energy.tick_s)
        filled = level_ratio(energy)
        guaranteed = guaranteed_workers(
            self.workers, sum(running[: self.workers]), self.worker_w, solar_w, battery_w, filled, self.resume_ratio
        )
        if guaranteed < self.workers:
            return guaranteed
        now = sum(running[self.workers :])
        fed = max(0, carried(solar_w, self.worker_w) - guaranteed)
        more = additional_workers(now, fed, filled, self.full_ratio, self.keep_ratio)
        wanted = app.metrics.get("workers_wanted", math.inf)
        if more > now and wanted < guaranteed + more:  # no more than there is work for
            more = max(now, int(wanted) - guaranteed)
        return min(guaranteed + more, self.most_workers, max(guaranteed, carried(solar_w + battery_w, self.worker_w)))

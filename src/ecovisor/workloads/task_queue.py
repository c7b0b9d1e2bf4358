"""An embarrassingly parallel search: workers take tasks from a central queue, whose server hands out one at a time.

A task keeps a core for ``task_s``, and before that the queue's server for ``handout_s``. By the bounds of operational analysis for a
closed system (P. J. Denning and J. P. Buzen, ACM Computing Surveys 10(3), 1978, doi:10.1145/356733.356735, section "asymptotic bounds")
``n`` cores complete at most ``n/(task_s + handout_s)`` tasks a second, and never more than ``1/handout_s``; equal tasks reach the bound.
So speed is linear up to ``1 + task_s/handout_s`` cores and constant from there on, where cores wait for tasks.

`batch` runs the job that comes of it, `containers` knows what it draws.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecovisor.workloads.models import BatchJob


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQueue:
    """What a task takes, of a core and of the queue's server.

    The defaults are like BLAST in the Ecovisor paper, section 5.1: on 8 cores to begin with, linear up to **24 cores (3×)**, where the
    queue's server is busy all the time, and no faster with 32. The paper gives only that; the length of a task is our choice.

    Raises:
        ValueError: a duration is not positive and finite.
    """

    task_s: float = 115.0
    """Computation of one task on one core. [s]"""
    handout_s: float = 5.0
    """Time of the queue's server for one task. [s]"""
    idle_when_starved: bool = True
    """Cores without a task draw idle power; false: they poll for one at full load."""

    def __post_init__(self) -> None:
        for name in ("task_s", "handout_s"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"task-queue: {name} is {getattr(self, name)!r}, must be positive and finite")

    @property
    def saturation_cores(self) -> float:
        """Cores that keep the queue's server busy all the time; more are no faster. [cores]"""
        return 1.0 + self.task_s / self.handout_s

    def tasks_per_s(self, cores: float) -> float:
        """Tasks that ``cores`` complete. [1/s]"""
        return min(cores / (self.task_s + self.handout_s), 1.0 / self.handout_s)

    def speed_table(self) -> tuple[tuple[float, float], ...]:
        """(cores, speed in cores' worth) for a `BatchJob`: linear to `saturation_cores`, constant from there on. [cores]"""
        return ((self.saturation_cores / 2.0, self.saturation_cores / 2.0), (self.saturation_cores, self.saturation_cores))

    def batch_job(self, *, work_core_h: float, start_s: float, deadline_s: float | None = None) -> BatchJob:
        """The search as a job; a core does ``3600/(task_s + handout_s)`` tasks an hour.

        Args:
            work_core_h: hours of one core that never waits for others. [core-h]
            start_s: not before this instant. [s since the epoch]
            deadline_s: for the report. [s since the epoch]
        """
        return BatchJob(
            work_core_h=work_core_h,
            start_s=start_s,
            deadline_s=deadline_s,
            speed_table=self.speed_table(),
            idle_when_starved=self.idle_when_starved,
        )

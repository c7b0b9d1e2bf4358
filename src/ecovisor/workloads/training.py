"""Synchronous data-parallel training: every step ends at a barrier, when all workers have exchanged their gradients.

A step of ``w`` workers takes ``compute_s/w``, as the batch is split among them, and the time of the exchange, which grows with them:

- ``ring``: a ring all-reduce sends ``2·(w−1)/w`` times the gradients over every link, in ``2·(w−1)`` messages (P. Patarasuk and X. Yuan,
  J. Parallel Distrib. Comput. 69(2), 2009, doi:10.1016/j.jpdc.2008.09.002).
- ``parameter-server``: the server's one link takes the gradients from ``w`` workers and sends the parameters back, ``2·w`` times their
  size (M. Li et al., OSDI 2014, section 2).

One worker exchanges nothing. `batch` runs the job that comes of it, `containers` knows what it draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ecovisor.workloads.models import BatchJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A model, a batch size and the network between the workers.

    The defaults are like ResNet-34 on CIFAR-100 (He et al., CVPR 2016, doi:10.1109/CVPR.2016.90) on microservers of four small cores: two
    workers are **1.61×** as fast as one, three **2.02×**, four 2.32×. Its 21.34 million parameters of 4 bytes are 85.4 MB of gradients;
    a batch of 128 images of 32 × 32, at 0.45 Gflop an image forward and backward, is about 6 s at 10 Gflop/s; gigabit Ethernet carries
    117.5 MB/s beneath TCP's headers.

    Raises:
        ValueError: a duration, a size or a rate is not positive (the latency may be 0).
    """

    compute_s: float = 6.0
    """Computation of one step by one worker. [s]"""
    gradient_bytes: float = 85.4e6
    """Size of the gradients, and of the parameters. [B]"""
    bandwidth_bytes_per_s: float = 117.5e6
    """Of every worker's link, and of the parameter server's. [B/s]"""
    latency_s: float = 0.0002
    """Of one message. [s]"""
    worker_cores: float = 4.0
    """Cores of a worker; one microserver of the Ecovisor paper, section 4. [cores]"""
    exchange: Literal["ring", "parameter-server"] = "ring"
    """How gradients are exchanged."""
    most_workers: int = 8
    """Beyond these a job is no faster: its batch cannot be split further."""
    idle_when_waiting: bool = True
    """Workers that exchange gradients draw idle power: true where they wait for the network, false where they poll it."""

    def __post_init__(self) -> None:
        for name in ("compute_s", "gradient_bytes", "bandwidth_bytes_per_s", "worker_cores"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"training: {name} is {getattr(self, name)!r}, must be positive and finite")
        if not 0.0 <= self.latency_s < float("inf"):
            raise ValueError(f"training: latency_s is {self.latency_s!r}, must be 0 or more and finite")
        if self.exchange not in ("ring", "parameter-server"):
            raise ValueError(f"training: exchange is {self.exchange!r}, must be 'ring' or 'parameter-server'")
        if not 2 <= self.most_workers <= 16:
            raise ValueError(f"training: most_workers is {self.most_workers!r}, must be 2 to 16")

    def exchange_s(self, workers: int) -> float:
        """Time in which ``workers`` exchange their gradients once. [s]"""
        if workers <= 1:
            return 0.0
        once_s = self.gradient_bytes / self.bandwidth_bytes_per_s
        if self.exchange == "ring":
            return 2.0 * (workers - 1) / workers * once_s + 2.0 * (workers - 1) * self.latency_s
        return 2.0 * workers * once_s + 2.0 * self.latency_s

    def step_s(self, workers: int) -> float:
        """Time of one step of ``workers`` from barrier to barrier. [s]"""
        return self.compute_s / workers + self.exchange_s(workers)

    def speed_up(self, workers: int) -> float:
        """How many times as fast as one worker. [1]"""
        return self.compute_s / self.step_s(workers)

    def speed_table(self) -> tuple[tuple[float, float], ...]:
        """(cores, speed in cores' worth) for 1, 2, … `most_workers` workers, for a `BatchJob`. [cores]"""
        return tuple((w * self.worker_cores, self.speed_up(w) * self.worker_cores) for w in range(1, self.most_workers + 1))

    def batch_job(self, *, work_core_h: float, start_s: float, deadline_s: float | None = None) -> BatchJob:
        """The training as a job; one worker takes ``work_core_h / worker_cores`` hours.

        Args:
            work_core_h: hours of one core at full speed. [core-h]
            start_s: not before this instant. [s since the epoch]
            deadline_s: for the report. [s since the epoch]
        """
        return BatchJob(
            work_core_h=work_core_h,
            start_s=start_s,
            deadline_s=deadline_s,
            speed_table=self.speed_table(),
            idle_when_starved=self.idle_when_waiting,
        )

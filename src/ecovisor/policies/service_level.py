"""How many workers a web service needs to answer in time: what the policies with a latency objective share.

From the metrics that the application reports (`requests_per_s`, `queue`) and a queueing model of it (``library.queueing``). What power
there is for so many is decided in `dynamic_carbon_budget` and `latency_workers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from ecovisor.library.queueing import SATURATED_RATIO, Discipline, ResponseModel, Workers
from ecovisor.ports import ContainerInfo, VirtualEnergy


class ServiceLevel:
    """A 95th percentile of the response time to stay within.

    Args:
        slo_p95_ms: the objective. [ms]
        service_ms, service_scv, base_ms, discipline: the application, as ``library.queueing.ResponseModel`` describes it. [ms, 1, ms]
        headroom_ratio: part of the expected requests that is added to them for what cannot be expected. [1]

    Raises:
        ValueError: the objective cannot be met by an idle worker at full speed, or a value is out of bounds.
    """

    def __init__(
        self,
        slo_p95_ms: float,
        service_ms: float,
        service_scv: float = 1.0,
        base_ms: float = 0.0,
        discipline: Discipline = "processor-sharing",
        headroom_ratio: float = 0.1,
    ) -> None:
        if not service_ms > 0.0 or not headroom_ratio >= 0.0:
            raise ValueError(f"service_ms is {service_ms!r}, headroom_ratio {headroom_ratio!r}; give above 0 and at least 0")
        self.model = ResponseModel(
            service_s=service_ms / 1000.0, service_scv=service_scv, base_s=base_ms / 1000.0, discipline=discipline
        )
        self.slo_s = slo_p95_ms / 1000.0
        idle_s = self.model.p95_s([Workers(1, 1.0, 1.0)], 0.0)
        if idle_s >= self.slo_s:
            raise ValueError(
                f"slo_p95_ms is {slo_p95_ms:g} ms, but even an idle worker takes {idle_s * 1000.0:.3g} ms; give more than that"
            )
        self.headroom_ratio = headroom_ratio
        self._last_per_s: float | None = None
        self._one_worker_per_s: dict[float, float] = {}

    def expected_per_s(self, metrics: Mapping[str, float], tick_s: float) -> float:
        """Requests to be ready for in the coming tick; to be called once a tick. [1/s]

        Those of the tick that ended, as many more as they rose by in it, the headroom, and what waits. NaN where nothing is reported.
        """
        rate = metrics.get("requests_per_s", math.nan)
        if math.isnan(rate):
            return rate
        rise = 0.0 if self._last_per_s is None else max(0.0, rate - self._last_per_s)
        self._last_per_s = rate
        return (rate + rise) * (1.0 + self.headroom_ratio) + metrics.get("queue", 0.0) / tick_s

    def workers(self, rate_per_s: float, cores: float) -> int:
        """The least number of workers of ``cores`` at full speed that meet the objective at a rate; 0 without requests."""
        if rate_per_s <= 0.0:
            return 0
        if self.model.discipline == "processor-sharing":
            if cores not in self._one_worker_per_s:
                self._one_worker_per_s[cores] = self.model.most_per_s([Workers(1, cores, 1.0)], self.slo_s)
            return math.ceil(rate_per_s / self._one_worker_per_s[cores] * (1.0 - 1e-9))
        count = max(1, math.ceil(rate_per_s * self.model.service_s / cores / SATURATED_RATIO))
        while self._misses(count, cores, rate_per_s):
            count += 1
        return count

    def _misses(self, count: int, cores: float, rate_per_s: float) -> bool:
        workers = [Workers(count, cores, 1.0)]
        return self.model.p95_s(workers, rate_per_s / self.model.capacity_per_s(workers)) > self.slo_s


def activate(energy: VirtualEnergy, present: list[ContainerInfo], count: int) -> None:
    """Have exactly ``count`` workers take requests: the first containers run, the others are suspended, more are started if need be."""
    for place, one in enumerate(present):
        if one.running != (place < count):
            (energy.resume_container if place < count else energy.suspend_container)(one.id)
    for _ in range(count - len(present)):
        energy.add_container(present[0].cores if present else 1.0)

"""Latency workers (Ecovisor paper, section 5.3): as many workers as a web service needs to answer in time, on sun and battery alone.

The application-specific policy of Figure 8 for the web application: fewer workers than the static policy while there is little to do,
so that the battery fills, and more when there is much.
"""

from __future__ import annotations

import math

from ecovisor.library.queueing import Discipline
from ecovisor.policies.daytime_workers import battery_supply_w, carried, run_workers
from ecovisor.policies.service_level import ServiceLevel
from ecovisor.ports import AppView, VirtualEnergy


class LatencyWorkers:
    """Scales workers to just meet a 95th percentile, as far as the coming tick's sun and the battery carry them; never imports.

    Args:
        slo_p95_ms: objective for the 95th percentile of the response time. [ms]
        service_ms, service_scv, base_ms, discipline, headroom_ratio: see `ServiceLevel`.
        worker_w: the most that a worker draws; each is capped at it, so that what is counted on is what is drawn. The model of the
            service reckons with full speed, so it should be the power of full load. [W]
        least_workers: take requests while there are any.
        most_workers: None: as many as the app has containers at the time.
        reserve_ratio: part of the battery's capacity that is kept for later. [1]
        last_s: the battery is drawn on no faster than it could be for so long; at least a tick. [s]

    Raises:
        ValueError: a value is out of bounds.
    """

    def __init__(
        self,
        slo_p95_ms: float,
        service_ms: float,
        worker_w: float = 5.0,
        service_scv: float = 1.0,
        base_ms: float = 0.0,
        discipline: Discipline = "processor-sharing",
        headroom_ratio: float = 0.1,
        least_workers: int = 1,
        most_workers: int | None = None,
        reserve_ratio: float = 0.0,
        last_s: float = 0.0,
    ) -> None:
        if not worker_w > 0.0 or least_workers < 0:
            raise ValueError(f"worker_w is {worker_w!r} W, least_workers {least_workers!r}; give above 0 and at least 0")
        if not 0.0 <= reserve_ratio <= 1.0 or not last_s >= 0.0:
            raise ValueError(f"reserve_ratio is {reserve_ratio!r}, last_s {last_s!r}; give 0 to 1 and at least 0")
        self.level = ServiceLevel(slo_p95_ms, service_ms, service_scv, base_ms, discipline, headroom_ratio)
        self.worker_w = worker_w
        self.least_workers = least_workers
        self.most_workers = most_workers
        self.reserve_ratio = reserve_ratio
        self.last_s = last_s

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Set the number of workers for the coming tick; none run while there are no requests."""
        present = energy.list_containers()
        most = len(present) if self.most_workers is None else self.most_workers
        expected_per_s = self.level.expected_per_s(app.metrics, energy.tick_s)
        wanted = most if math.isnan(expected_per_s) else 0
        if expected_per_s > 0.0 and present:
            wanted = max(self.least_workers, self.level.workers(expected_per_s, present[0].cores))
        usable_wh = max(0.0, energy.get_battery_charge_level() - self.reserve_ratio * energy.battery_capacity_wh)
        battery_w = battery_supply_w(usable_wh, energy.battery_discharge_limit_w, max(self.last_s, energy.tick_s))
        supply_w = energy.get_solar_power() + battery_w
        run_workers(energy, present, min(wanted, most, carried(supply_w, self.worker_w)), self.worker_w)

"""Dynamic carbon budget (Ecovisor paper, section 5.2): as many workers as a latency objective needs, within a total of carbon.

The budget accrues evenly over its horizon; what has accrued and was not emitted is credit, which pays for faster emission when requests and
carbon intensity are high together. Nothing is borrowed from what has not accrued, so the total is never exceeded.
"""

from __future__ import annotations

import math

from ecovisor.library.budgets import rate_ceiling_w
from ecovisor.library.queueing import Discipline
from ecovisor.policies.service_level import ServiceLevel, activate
from ecovisor.ports import AppView, VirtualEnergy


def accrued_g(budget_g: float, horizon_s: float, elapsed_s: float) -> float:
    """The part of a budget that has accrued. [g]"""
    return budget_g * min(1.0, max(0.0, elapsed_s / horizon_s))


class DynamicCarbonBudget:
    """Scales workers to just meet a 95th percentile, and pays for them from a carbon budget.

    The app is capped at what the credits and the coming tick's accrual can pay for, and the budget is set as a limit of its own, which
    holds without this policy too. Where they cannot pay for the workers that the objective needs, it runs as many as they can pay for
    at full power.

    Args:
        budget_g: may be emitted over the horizon in all. [g]
        horizon_s: time over which it accrues. [s]
        slo_p95_ms: objective for the 95th percentile of the response time. [ms]
        service_ms, service_scv, base_ms, discipline, headroom_ratio: see `ServiceLevel`.
        worker_w: what a worker draws at full load. [W]
        least_workers: take requests at all times, if they can be paid for.
        most_workers: None: as many as the app has containers at the time.
        start_s: when the budget began; None: when the policy is started. Give it where the policy may be started again. [s since the epoch]

    Raises:
        ValueError: a value is out of bounds.
    """

    def __init__(
        self,
        budget_g: float,
        horizon_s: float,
        slo_p95_ms: float,
        service_ms: float,
        worker_w: float,
        service_scv: float = 1.0,
        base_ms: float = 0.0,
        discipline: Discipline = "processor-sharing",
        headroom_ratio: float = 0.1,
        least_workers: int = 1,
        most_workers: int | None = None,
        start_s: float | None = None,
    ) -> None:
        for name, value in (("budget_g", budget_g), ("horizon_s", horizon_s), ("worker_w", worker_w)):
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} is {value!r}, must be finite and above 0")
        if least_workers < 0:
            raise ValueError(f"least_workers is {least_workers!r}, must be at least 0")
        self.budget_g = budget_g
        self.horizon_s = horizon_s
        self.worker_w = worker_w
        self.least_workers = least_workers
        self.most_workers = most_workers
        self.start_s = start_s
        self.level = ServiceLevel(slo_p95_ms, service_ms, service_scv, base_ms, discipline, headroom_ratio)
        self.credits_g = 0.0
        """Accrued and not emitted. [g]"""
        self._emitted_before_g = 0.0

    def start(self, energy: VirtualEnergy) -> None:
        """Begin the budget, or find what has been emitted since it began."""
        self._emitted_before_g = energy.get_app_carbon()
        if self.start_s is None:
            self.start_s = energy.now_s
        elif self.start_s < energy.now_s:
            self._emitted_before_g -= energy.get_app_carbon(self.start_s, energy.now_s)
        emitted_g = energy.get_app_carbon() - self._emitted_before_g
        energy.set_carbon_budget(max(0.0, self.budget_g - emitted_g))

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Set the number of workers and the cap for the coming tick."""
        assert self.start_s is not None
        emitted_g = energy.get_app_carbon() - self._emitted_before_g
        elapsed_s = energy.now_s - self.start_s
        self.credits_g = accrued_g(self.budget_g, self.horizon_s, elapsed_s) - emitted_g
        to_spend_g = max(0.0, accrued_g(self.budget_g, self.horizon_s, elapsed_s + energy.tick_s) - emitted_g)
        cap_w = rate_ceiling_w(to_spend_g / energy.tick_s * 3600.0, energy.get_grid_carbon(), energy.get_solar_power())
        energy.set_app_powercap(cap_w)

        present = energy.list_containers()
        most = len(present) if self.most_workers is None else self.most_workers
        expected_per_s = self.level.expected_per_s(app.metrics, energy.tick_s)
        wanted = most
        if not math.isnan(expected_per_s) and present:
            wanted = max(self.least_workers, self.level.workers(expected_per_s, present[0].cores))
        paid = most if cap_w == math.inf else max(int(cap_w > 0.0), math.floor(cap_w / self.worker_w))
        activate(energy, present, min(wanted, paid, most))

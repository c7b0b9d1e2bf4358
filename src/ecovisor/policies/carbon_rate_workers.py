"""Carbon-rate workers (Ecovisor paper, section 5.2): the system-level limit on an app's carbon rate, as a number of workers.

It knows nothing of the application: it runs as many workers as the rate allows at the power that they are seen to draw, whether they are
needed or not. `static_carbon_rate` holds the same limit by power alone, on all workers.
"""

from __future__ import annotations

import math

from ecovisor.library.budgets import rate_ceiling_w
from ecovisor.policies.service_level import activate
from ecovisor.ports import AppView, VirtualEnergy

#: Power within this part of the cap was limited by it.
_LIMITED_RATIO = 0.98


def workers_within(cap_w: float, running: int, power_w: float, last_cap_w: float, worker_w: float) -> int:
    """How many workers a cap allows.

    At the power that a running worker drew on average. Where the last cap held them back, that says nothing of what they would draw:
    one is taken out, down to what can run at full power, since it is by their number that power is regulated.

    Args:
        cap_w: for the coming tick. [W]
        running: workers that ran in the tick that ended, at least 1.
        power_w: of them all. [W]
        last_cap_w: that held then. [W]
        worker_w: what a worker draws at full load. [W]
    """
    surely = math.floor(cap_w / worker_w)
    if power_w >= _LIMITED_RATIO * last_cap_w:
        return max(surely, min(running - 1, math.floor(cap_w / (power_w / running))))
    return max(surely, math.floor(cap_w / (power_w / running)))


class CarbonRateWorkers:
    """Runs as many workers as emit no faster than a rate; the app is capped at it as well.

    Args:
        carbon_rate_g_per_h: emissions never exceed it. [g/h]
        worker_w: what a worker draws at full load. [W]
        most_workers: None: as many as the app has containers at the time.
        at_full_power: plan with full power instead of what workers are seen to draw.

    Raises:
        ValueError: the rate is negative or ``worker_w`` not above 0.
    """

    def __init__(
        self, carbon_rate_g_per_h: float, worker_w: float, most_workers: int | None = None, at_full_power: bool = False
    ) -> None:
        if not carbon_rate_g_per_h >= 0.0 or not worker_w > 0.0:
            raise ValueError(f"carbon_rate_g_per_h is {carbon_rate_g_per_h!r}, worker_w {worker_w!r}; give at least 0 and above 0")
        self.carbon_rate_g_per_h = carbon_rate_g_per_h
        self.worker_w = worker_w
        self.most_workers = most_workers
        self.at_full_power = at_full_power
        self._last_cap_w = math.inf

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Set the number of workers and the cap for the coming tick."""
        cap_w = rate_ceiling_w(self.carbon_rate_g_per_h, energy.get_grid_carbon(), energy.get_solar_power())
        energy.set_app_powercap(cap_w)
        present = energy.list_containers()
        most = len(present) if self.most_workers is None else self.most_workers
        running, power_w = sum(one.running for one in present), energy.get_app_power()
        if cap_w == math.inf:
            allowed = most
        elif self.at_full_power or not running or power_w <= 0.0:
            allowed = max(int(cap_w > 0.0), math.floor(cap_w / self.worker_w))
        else:
            allowed = max(int(cap_w > 0.0), workers_within(cap_w, running, power_w, self._last_cap_w, self.worker_w))
        self._last_cap_w = cap_w
        activate(energy, present, min(allowed, most))

"""Battery smoothing (Ecovisor paper, section 5.3): a fixed number of workers that sun and battery carry all day, none at night.

The system-level policy of Figure 8: it knows nothing of the application, never imports, and leaves excess sun unused.
"""

from __future__ import annotations

from ecovisor.policies.daytime_workers import battery_supply_w, guaranteed_workers, is_day, level_ratio, run_workers
from ecovisor.ports import AppView, VirtualEnergy


class BatterySmoothing:
    """Runs a fixed number of workers by day, suspends them at night.

    Args:
        workers: as many as sun and battery guarantee; choosing them is the operator's business.
        worker_w: the most that a worker draws; each is capped at it, so that what is counted on is what is drawn. [W]
        morning_h, evening_h: hours of the day, UTC, between which workers run. [h]
        resume_ratio: level over capacity at which workers that had to be suspended come back on the battery. [1]

    Raises:
        ValueError: ``workers`` is negative or ``worker_w`` not above 0.
    """

    def __init__(
        self,
        workers: int = 4,
        worker_w: float = 5.0,
        morning_h: float = 8.0,
        evening_h: float = 18.0,
        resume_ratio: float = 0.05,
    ) -> None:
        if workers < 0 or not worker_w > 0.0:
            raise ValueError(f"workers is {workers!r}, worker_w {worker_w!r} W; give at least 0 workers and a power above 0")
        self.workers = workers
        self.worker_w = worker_w
        self.morning_h = morning_h
        self.evening_h = evening_h
        self.resume_ratio = resume_ratio

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Run the fixed number, or as many of it as can be carried without the grid."""
        present = energy.list_containers()
        count = 0
        if not app.completed and is_day(energy.now_s, self.morning_h, self.evening_h):
            count = guaranteed_workers(
                self.workers,
                sum(one.running for one in present),
                self.worker_w,
                energy.get_solar_power(),
                battery_supply_w(energy.get_battery_charge_level(), energy.battery_discharge_limit_w, energy.tick_s),
                level_ratio(energy),
                self.resume_ratio,
            )
        run_workers(energy, present, count, self.worker_w)

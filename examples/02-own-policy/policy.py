"""Wait for a clean grid, but never longer than the deadline allows."""


class CleanButOnTime:
    def __init__(self, below_g_per_kwh: float, run_h: float, deadline_h: float) -> None:
        self.below_g_per_kwh, self.run_s, self.deadline_s = below_g_per_kwh, run_h * 3600, deadline_h * 3600
        self.begin_s: float | None = None

    def tick(self, energy, app) -> None:
        if self.begin_s is None:
            self.begin_s = energy.now_s
        left_s = self.begin_s + self.deadline_s - energy.now_s
        must_run = (1 - app.progress_ratio) * self.run_s >= left_s - energy.tick_s
        energy.scale_containers(1.0 if must_run or energy.get_grid_carbon() <= self.below_g_per_kwh else 0.0)

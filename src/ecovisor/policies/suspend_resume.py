"""Suspend-resume (WaitAWhile; Ecovisor paper, section 5.1): run below a carbon intensity, wait above it."""

from __future__ import annotations

from ecovisor.policies.thresholds import Threshold
from ecovisor.ports import AppView, VirtualEnergy


def run_scale(carbon_intensity_g_per_kwh: float, threshold_g_per_kwh: float) -> float:
    """1 to run, 0 to wait. An unknown intensity (NaN) is never clean: wait. [1]"""
    return 1.0 if carbon_intensity_g_per_kwh <= threshold_g_per_kwh else 0.0


class SuspendResume:
    """Suspends all containers while the grid's intensity is above the threshold.

    Args:
        threshold: what to compare with.
        refresh_s: take a percentile anew this often; None: once, at the start. [s]
    """

    def __init__(self, threshold: Threshold, refresh_s: float | None = None) -> None:
        self.threshold = threshold
        self.refresh_s = refresh_s
        self.threshold_g_per_kwh = float("nan")

    def start(self, energy: VirtualEnergy) -> None:
        """Resolve the threshold; called before the first tick and at every refresh."""
        self.threshold_g_per_kwh = self.threshold.resolve_g_per_kwh(energy)

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Run or wait."""
        energy.scale_containers(run_scale(energy.get_grid_carbon(), self.threshold_g_per_kwh))

"""Wait&Scale (Ecovisor paper, section 5.1): wait above a carbon intensity, run on ``scale`` times the cores below it."""

from __future__ import annotations

from ecovisor.policies.thresholds import Threshold
from ecovisor.ports import AppView, VirtualEnergy


def run_scale(carbon_intensity_g_per_kwh: float, threshold_g_per_kwh: float, scale_ratio: float) -> float:
    """The factor on the app's cores; 0 to wait. An unknown intensity (NaN) is never clean: wait. [1]"""
    return scale_ratio if carbon_intensity_g_per_kwh <= threshold_g_per_kwh else 0.0


class WaitAndScale:
    """Suspends above the threshold and scales up below it.

    Args:
        threshold: what to compare with.
        scale_ratio: factor on the cores below it; the best one depends on how well the application scales.
        refresh_s: take a percentile anew this often; None: once, at the start. [s]
    """

    def __init__(self, threshold: Threshold, scale_ratio: float = 2.0, refresh_s: float | None = None) -> None:
        self.threshold = threshold
        self.scale_ratio = scale_ratio
        self.refresh_s = refresh_s
        self.threshold_g_per_kwh = float("nan")

    def start(self, energy: VirtualEnergy) -> None:
        """Resolve the threshold; called before the first tick and at every refresh."""
        self.threshold_g_per_kwh = self.threshold.resolve_g_per_kwh(energy)

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Run scaled, or wait."""
        energy.scale_containers(run_scale(energy.get_grid_carbon(), self.threshold_g_per_kwh, self.scale_ratio))

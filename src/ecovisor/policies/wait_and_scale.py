"""Wait&Scale (Ecovisor paper, section 5.1): wait above a carbon intensity, run on ``scale`` times the cores below it."""

from __future__ import annotations


def run_scale(carbon_intensity_g_per_kwh: float, threshold_g_per_kwh: float, scale_ratio: float) -> float:
    """The factor on the app's cores; 0 to wait. An unknown intensity (NaN) is never clean: wait. [1]"""
    return scale_ratio if carbon_intensity_g_per_kwh <= threshold_g_per_kwh else 0.0

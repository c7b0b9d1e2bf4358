"""Suspend-resume (WaitAWhile; Ecovisor paper, section 5.1): run below a carbon intensity, wait above it."""

from __future__ import annotations


def run_scale(carbon_intensity_g_per_kwh: float, threshold_g_per_kwh: float) -> float:
    """1 to run, 0 to wait. An unknown intensity (NaN) is never clean: wait. [1]"""
    return 1.0 if carbon_intensity_g_per_kwh <= threshold_g_per_kwh else 0.0

"""Static carbon rate (Ecovisor paper, section 5.2): cap power so that import never emits faster than a fixed rate."""

from __future__ import annotations


def power_cap_w(carbon_intensity_g_per_kwh: float, carbon_rate_g_per_h: float, solar_w: float) -> float:
    """Largest demand whose import stays within the rate: ``solar + rate/intensity·1000``. [W] On an unknown intensity: solar alone."""
    if carbon_intensity_g_per_kwh > 0.0:
        return solar_w + carbon_rate_g_per_h / carbon_intensity_g_per_kwh * 1000.0
    if carbon_intensity_g_per_kwh == 0.0:
        return float("inf")
    return solar_w


def cap_scale(cap_w: float, idle_w: float) -> float:
    """0 where the cap lies below the idle power of the app's containers: a running container cannot draw less. [1]"""
    return 1.0 if cap_w >= idle_w else 0.0

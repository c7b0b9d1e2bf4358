"""Battery arbitrage (Ecovisor paper, section 3.1): charge from a clean grid, discharge into a dirty one."""

from __future__ import annotations

INFINITY = float("inf")


def battery_settings_w(
    carbon_intensity_g_per_kwh: float, charge_below_g_per_kwh: float, discharge_above_g_per_kwh: float, charge_rate_w: float
) -> tuple[float, float]:
    """Charge rate and largest discharge. [W] An unknown intensity (NaN) neither charges nor discharges."""
    if carbon_intensity_g_per_kwh <= charge_below_g_per_kwh:
        return charge_rate_w, 0.0
    if carbon_intensity_g_per_kwh >= discharge_above_g_per_kwh:
        return 0.0, INFINITY
    return 0.0, 0.0

"""Battery arbitrage (Ecovisor paper, section 3.1): charge from a clean grid, discharge into a dirty one."""

from __future__ import annotations

from ecovisor.policies.thresholds import Threshold
from ecovisor.ports import AppView, VirtualEnergy

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


class BatteryArbitrage:
    """Charges at or below one intensity, discharges at or above another, and holds between them.

    Args:
        charge_below, discharge_above: what to compare with.
        charge_rate_w: how fast to charge; None: at the app's limit. [W]
        refresh_s: take percentiles anew this often; None: once, at the start. [s]
    """

    def __init__(
        self,
        charge_below: Threshold,
        discharge_above: Threshold,
        charge_rate_w: float | None = None,
        refresh_s: float | None = None,
    ) -> None:
        self.charge_below = charge_below
        self.discharge_above = discharge_above
        self.asked_rate_w = charge_rate_w
        self.refresh_s = refresh_s
        self.charge_below_g_per_kwh = float("nan")
        self.discharge_above_g_per_kwh = float("nan")
        self.charge_rate_w = 0.0

    def start(self, energy: VirtualEnergy) -> None:
        """Resolve thresholds and rate; called before the first tick and at every refresh."""
        self.charge_below_g_per_kwh = self.charge_below.resolve_g_per_kwh(energy)
        self.discharge_above_g_per_kwh = self.discharge_above.resolve_g_per_kwh(energy)
        self.charge_rate_w = energy.battery_charge_limit_w if self.asked_rate_w is None else self.asked_rate_w

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Charge, discharge or hold."""
        charge_w, discharge_w = battery_settings_w(
            energy.get_grid_carbon(), self.charge_below_g_per_kwh, self.discharge_above_g_per_kwh, self.charge_rate_w
        )
        energy.set_battery_charge_rate(charge_w)
        energy.set_battery_max_discharge(discharge_w)

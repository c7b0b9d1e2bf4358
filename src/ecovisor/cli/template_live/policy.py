"""A policy: what your app does with its share of grid, sun and battery. It is called before every tick."""

from __future__ import annotations

from ecovisor import AppView, VirtualEnergy

INFINITY = float("inf")


class CleanHours:
    """Works and charges while the grid is clean; otherwise lives on its own sun, and on the battery while that lasts."""

    def __init__(self, clean_g_per_kwh: float = 200.0, charge_rate_w: float = 5.0) -> None:
        self.clean_g_per_kwh = clean_g_per_kwh
        self.charge_rate_w = charge_rate_w

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Called before every tick; what is set stays set."""
        clean = energy.get_grid_carbon() <= self.clean_g_per_kwh  # an unknown intensity is never clean
        stored_w = energy.get_battery_charge_level() * 3600 / energy.tick_s
        own_w = energy.get_solar_power() + min(stored_w, energy.battery_discharge_limit_w)
        energy.set_battery_charge_rate(self.charge_rate_w if clean else 0.0)
        energy.set_app_powercap(INFINITY if clean else own_w)

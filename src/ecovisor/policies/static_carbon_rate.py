"""Static carbon rate (Ecovisor paper, section 5.2): cap power so that import never emits faster than a fixed rate."""

from __future__ import annotations

from ecovisor.library.budgets import rate_ceiling_w
from ecovisor.ports import AppView, VirtualEnergy


def cap_scale(cap_w: float, idle_w: float) -> float:
    """0 where the cap lies below the idle power of the app's containers: a running container cannot draw less. [1]"""
    return 1.0 if cap_w >= idle_w else 0.0


class StaticCarbonRate:
    """Caps the app as a whole, and suspends it while even its idle power would emit too fast.

    Args:
        carbon_rate_g_per_h: emissions never exceed it. [g/h]
    """

    refresh_s: float | None = None

    def __init__(self, carbon_rate_g_per_h: float) -> None:
        self.carbon_rate_g_per_h = carbon_rate_g_per_h

    def start(self, energy: VirtualEnergy) -> None:
        """Nothing to resolve."""

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Set the cap for the coming tick."""
        cap_w = rate_ceiling_w(self.carbon_rate_g_per_h, energy.get_grid_carbon(), energy.get_solar_power())
        energy.set_app_powercap(cap_w)
        energy.scale_containers(cap_scale(cap_w, energy.idle_power_w))

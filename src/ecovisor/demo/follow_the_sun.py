"""A policy that works by the sun alone: the app may draw what its share of the array gives, and the battery is left for the night."""

from __future__ import annotations

from ecovisor.ports import AppView, VirtualEnergy

#: Clouds are bridged from the battery: enough to go on slowly. [W]
BRIDGE_W = 2.25


class FollowTheSun:
    """Caps the app at its solar power and a little from the battery, as long as that has any."""

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Called before every tick."""
        bridge_w = BRIDGE_W if energy.get_battery_charge_level() > 0.0 else 0.0
        energy.set_battery_max_discharge(bridge_w)
        energy.set_app_powercap(energy.get_solar_power() + bridge_w)

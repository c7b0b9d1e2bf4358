"""Charge from the sun and a clean grid; in dirty hours run on what sun and battery give."""


class CleanPower:
    def __init__(self, clean_g_per_kwh: float = 200.0) -> None:
        self.clean_g_per_kwh = clean_g_per_kwh

    def tick(self, energy, app) -> None:
        clean = energy.get_grid_carbon() <= self.clean_g_per_kwh
        energy.set_battery_charge_rate(energy.battery_charge_limit_w if clean else 0.0)
        stored_w = energy.get_battery_charge_level() * 3600.0 / energy.tick_s
        own_w = energy.get_solar_power() + min(stored_w, energy.battery_discharge_limit_w)
        energy.set_app_powercap(float("inf") if clean else max(own_w, energy.idle_power_w))
        energy.scale_containers(1.0 if clean or own_w > energy.idle_power_w else 0.0)

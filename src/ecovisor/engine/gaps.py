"""Time that nobody settled: what the cumulative meters say of it, as rows and sums of `_site`.

Pure. `site.Site.gap` writes the rows and adds the sums; the battery's level follows the measured one, tick boundaries do that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GapEnergy:
    """By the meters, over a gap; NaN throughout where they say nothing of it. [Wh]"""

    import_wh: float
    export_wh: float
    solar_wh: float
    charge_wh: float = 0.0
    """Into the battery, at its terminals; or it was discharged, not both. [Wh]"""
    discharge_wh: float = 0.0
    """[Wh]"""

    @property
    def known(self) -> bool:
        """Whether the meters say anything."""
        return not math.isnan(self.import_wh + self.export_wh + self.solar_wh + self.charge_wh + self.discharge_wh)

    @property
    def load_wh(self) -> float:
        """What is left was drawn by the cluster. [Wh]"""
        return self.import_wh + self.solar_wh + self.discharge_wh - self.export_wh - self.charge_wh

    @property
    def solar_to_battery_wh(self) -> float:
        """The sun charges first. [Wh]"""
        return min(self.charge_wh, self.solar_wh)

    @property
    def grid_to_battery_wh(self) -> float:
        """[Wh]"""
        return self.charge_wh - self.solar_to_battery_wh

    @property
    def solar_to_load_wh(self) -> float:
        """[Wh]"""
        return max(0.0, self.solar_wh - self.solar_to_battery_wh - self.export_wh)

    def gain_wh(self, charge_efficiency: float, discharge_efficiency: float) -> float:
        """What the battery's level gained by its flows. [Wh]"""
        return self.charge_wh * charge_efficiency - self.discharge_wh / discharge_efficiency


def flows(energy: GapEnergy, hours_h: float, gain_wh: float) -> dict[str, float]:
    """The row of `_site`. Its level stays: what its battery's flows add is taken out again, the next tick has what was measured."""
    return {
        "demand_w": energy.load_wh / hours_h,
        "solar_w": energy.solar_wh / hours_h,
        "solar_to_load_w": energy.solar_to_load_wh / hours_h,
        "solar_to_battery_w": energy.solar_to_battery_wh / hours_h,
        "battery_discharge_w": energy.discharge_wh / hours_h,
        "grid_to_load_w": (energy.import_wh - energy.grid_to_battery_wh) / hours_h,
        "grid_to_battery_w": energy.grid_to_battery_wh / hours_h,
        "exported_w": energy.export_wh / hours_h,
        "battery_adjust_wh": -gain_wh,
        "grid_limit_w": math.inf,
        "max_discharge_w": math.inf,
        "carbon_g": math.nan,
    }


def site_flows(energy: GapEnergy, hours_h: float) -> dict[str, float]:
    """The row of the site."""
    return {
        "solar_collected_w": energy.solar_wh / hours_h,
        "import_w": energy.import_wh / hours_h,
        "export_w": energy.export_wh / hours_h,
        "battery_charge_w": energy.charge_wh / hours_h,
        "battery_discharge_w": energy.discharge_wh / hours_h,
        "node_power_w": energy.load_wh / hours_h,
    }


def own_sums(energy: GapEnergy) -> Mapping[str, float]:
    """What is added to the sums of `_site`. [Wh]"""
    return {
        "grid_to_load_total_wh": energy.import_wh - energy.grid_to_battery_wh,
        "grid_to_battery_total_wh": energy.grid_to_battery_wh,
        "solar_to_load_total_wh": energy.solar_to_load_wh,
        "solar_to_battery_total_wh": energy.solar_to_battery_wh,
        "battery_discharge_total_wh": energy.discharge_wh,
        "exported_total_wh": energy.export_wh,
        "unknown_carbon_total_wh": energy.import_wh,
    }


def site_sums(energy: GapEnergy, gain_wh: float) -> Mapping[str, float]:
    """What is added to the sums of the site. [Wh]"""
    return {
        "import_total_wh": energy.import_wh,
        "export_total_wh": energy.export_wh,
        "solar_collected_total_wh": energy.solar_wh,
        "solar_used_total_wh": energy.solar_wh,
        "charge_total_wh": energy.charge_wh,
        "discharge_total_wh": energy.discharge_wh,
        "loss_total_wh": energy.charge_wh - energy.discharge_wh - gain_wh,
        "load_total_wh": energy.load_wh,
        "adjust_total_wh": -gain_wh,
    }

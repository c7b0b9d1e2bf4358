"""The engine beside the reference settlement and the emulated plant: one tick at a time, everything that happens happens to all three."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tests.independent.generated import hold, plant_for
from tests.independent.settlement import SITE, Battery, ReferenceSite, Row, Shares

from ecovisor.engine.loop import Loop
from ecovisor.engine.site import Site
from ecovisor.engine.specification import AppSpec
from ecovisor.presets import AppShares, BatteryParameters
from ecovisor.workloads.models import ConstantDemand

from .build import Keep
from .build import site as build_site

INFINITY = math.inf
TOLERANCE = 1e-9


def app_shares(shares: Shares) -> AppShares:
    return AppShares(shares.grid, shares.solar, shares.battery_energy, shares.battery_power)


class Beside:
    """One site, three times.

    Args:
        battery: of the reference; its reserve must be the largest output of the sun in a tick.
        shares: of the apps at the start.
        solar_w, intensity: a value for each tick; None where the intensity is unknown.
    """

    def __init__(
        self,
        battery: Battery | None,
        shares: Mapping[str, Shares],
        *,
        tick_s: float,
        solar_w: list[float],
        intensity: list[float | None],
        excess: list[str],
        grid_limit_w: float | None = None,
        export_limit_w: float | None = None,
        initial: Mapping[str, tuple[float, float]] | None = None,
        compiled: bool = False,
    ) -> None:
        self.reference = ReferenceSite(
            battery=battery,
            shares=shares,
            excess=excess,
            grid_limit_w=grid_limit_w,
            export_limit_w=export_limit_w,
            initial=initial or {},
        )
        self.tick_s, self.tick = tick_s, 0
        self.solar_w, self.intensity = solar_w, intensity
        hours_h = tick_s / 3600.0
        self.sink = Keep()
        self.site: Site = build_site(
            *(self._spec(name, one) for name, one in shares.items()),
            ticks=len(solar_w),
            solar_w=solar_w,
            intensity=[math.nan if value is None else value for value in intensity],
            battery=None
            if battery is None
            else BatteryParameters(
                battery.capacity_wh,
                battery.empty_ratio,
                battery.charge_c_rate,
                battery.discharge_c_rate,
                battery.charge_efficiency,
                battery.discharge_efficiency,
                battery.self_discharge_per_hour,
                0.0,
            ),
            grid_limit_w=INFINITY if grid_limit_w is None else grid_limit_w,
            export_limit_w=INFINITY if export_limit_w is None else export_limit_w,
            excess=excess,
            solar_peak_w=battery.reserve_wh / hours_h if battery else 0.0,
            tick_s=tick_s,
            compiled=compiled,
            sink=self.sink,
            history_s=0.0,
        )
        for name, (level_wh, carbon_g) in (initial or {}).items():
            capacity_wh = self.site.get(self.site.app_names.index(name), "capacity_wh")
            near_full = level_wh >= capacity_wh * (1 - 1e-12)  # full here too, whatever the last digit of the capacity
            self._set(name, "battery_level_wh", capacity_wh if near_full else level_wh)
            self._set(name, "stored_carbon_g", carbon_g)
        self.site.memory.set("above_line_wh", sum(self.site.levels_wh()))
        self.plant = plant_for(self.reference)
        self.loop = Loop(self.site)

    def _spec(self, name: str, shares: Shares) -> AppSpec:
        return AppSpec(name=name, shares=app_shares(shares), workload=ConstantDemand(demand_w=0.0))

    def _set(self, name: str, column: str, value: float) -> None:
        self.site.set(self.site.app_names.index(name), column, value)

    # -- what happens between ticks

    def join(self, name: str, shares: Shares) -> None:
        self.reference.join(name, shares)
        self.site.join(self._spec(name, shares))

    def leave(self, name: str) -> None:
        self.reference.leave(name)
        self.site.leave(name)

    def set_shares(self, name: str, shares: Shares) -> None:
        self.reference.set_shares(name, shares)
        self.site.set_shares({name: app_shares(shares)})

    def derate(self, charge_w: float, discharge_w: float) -> None:
        self.reference.derate(charge_w, discharge_w)
        self.plant.derate(charge_w, discharge_w)
        self.site.derate(charge_w, discharge_w)

    def adjust(self, change_wh: float) -> None:
        self.reference.adjust(change_wh)
        self.plant.disturb(change_wh)
        self.site.adjust_battery(sum(self.site.levels_wh()) + change_wh)

    def set_charge_rate(self, name: str, power_w: float) -> None:
        if name in self.reference.apps:
            self.reference.set_charge_rate(name, power_w)
            self.site.app(name).set_battery_charge_rate(power_w)

    def set_max_discharge(self, name: str, power_w: float) -> None:
        if name in self.reference.apps:
            self.reference.set_max_discharge(name, power_w)
            self.site.app(name).set_battery_max_discharge(power_w)

    # -- the tick

    def step(self, demands_w: Mapping[str, float]) -> None:
        """One tick of all three; raises where they differ."""
        for name in self.site.app_names[:-1]:
            self.site.app(name).ask(demands_w.get(name, 0.0))
        self.site.memory.set("overhead_w", demands_w.get(SITE, 0.0))
        wanted = self.reference.step(self.tick_s, self.solar_w[self.tick], self.intensity[self.tick], demands_w)
        self.tick += 1
        self.sink.clear()
        self.loop.run(self.tick)
        for name, row in wanted.flows.items():
            self._compare(name, self.flows(name), row)
        self._compare("site", self.site_row(), wanted.site)
        for name, app in self.reference.apps.items():
            unknown_wh = self.site.get(self.site.app_names.index(name), "unknown_carbon_total_wh")
            assert abs(unknown_wh - app.unknown_carbon_wh) <= TOLERANCE * (1 + app.unknown_carbon_wh), name
        hold(self.plant, self.site_row())

    def flows(self, name: str) -> Row:
        """The row of an app that the engine recorded."""
        return self.sink.flows(name)[-1]

    def site_row(self) -> Row:
        """The row of the site that the engine recorded."""
        return self.sink.site[-1] | {"dt_s": self.tick_s}

    def _stood_at_full(self, row: Row) -> bool:
        stood_wh = row["battery_level_wh"] + row["self_discharge_wh"]
        crumb_wh = TOLERANCE * self.reference.cell.usable_wh  # of capacity: nobody's to one, a battery to the other
        return bool(stood_wh >= row["capacity_wh"] * (1 - TOLERANCE) or row["capacity_wh"] <= crumb_wh)

    def _compare(self, who: str, ours: Row, theirs: Row) -> None:
        hours_h = self.tick_s / 3600.0
        usable_wh = self.reference.cell.usable_wh
        size_w = sum(value for column, value in theirs.items() if column.endswith("_w") and value is not None and value < INFINITY)
        for column, wanted in theirs.items():
            if column in ("app", "dt_s", "quality"):
                continue
            value = ours[column]
            if column == "charge_rate_setting_w" and value != wanted and self._stood_at_full(theirs):
                # Full to one and a rounding error short of it to the other: from here on the setting is the reference's.
                self._set(who, "charge_rate_w", self.reference.apps[who].charge_rate_w)
                continue
            if wanted is None:
                assert math.isnan(value), (self.tick, who, column, value)
                continue
            # A level may snap in one and miss the tolerance in the other by a rounding error.
            slack = TOLERANCE * (1.0 + abs(wanted)) + TOLERANCE * (
                size_w + usable_wh / hours_h if column.endswith("_w") else usable_wh
            )
            assert value == wanted or abs(value - wanted) <= slack, (self.tick, who, column, value, wanted, ours, theirs)

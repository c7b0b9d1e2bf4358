"""A reference model of one site, written from the text of the settlement and for reading, not for speed.

It imports nothing of ecovisor. `ReferenceSite.step` settles one tick for every app and for `_site` and answers rows as
`docs/tables.md` describes them. Whoever doubts a watt-hour reads this file beside the text; `plant.py` is the physical
system that the set-points found here must move, `replay.py` recomputes a run from its tables alone.

Names as in the text: h is the tick in hours, levels are Wh above the empty line, powers are W at the battery's terminals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

SITE = "_site"
SNAP = 1e-9
INFINITE = math.inf

Row = dict[str, Any]


@dataclass(frozen=True)
class Battery:
    """The physical battery. C-rates are per nominal capacity; the reserve holds the solar buffer."""

    capacity_wh: float
    empty_ratio: float = 0.0
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 1.0
    self_discharge_per_hour: float = 0.0
    charge_c_rate: float = 0.25
    discharge_c_rate: float = 1.0
    reserve_wh: float = 0.0

    @property
    def usable_wh(self) -> float:
        """What the apps divide among themselves. [Wh]"""
        return self.capacity_wh * (1 - self.empty_ratio) - self.reserve_wh


NO_BATTERY = Battery(capacity_wh=0.0, charge_c_rate=0.0, discharge_c_rate=0.0)


@dataclass(frozen=True)
class Shares:
    """An app's fractions of the site's resources, each in 0..1."""

    grid: float = 0.0
    solar: float = 0.0
    battery_energy: float = 0.0
    battery_power: float = 0.0


@dataclass
class App:
    """What one app carries from tick to tick."""

    shares: Shares
    level_wh: float = 0.0
    stored_carbon_g: float = 0.0
    charge_rate_w: float = 0.0
    max_discharge_w: float = INFINITE
    solar_wh: float = 0.0
    unknown_carbon_wh: float = 0.0
    transfer_in_wh: float = 0.0
    transfer_out_wh: float = 0.0
    adjust_wh: float = 0.0


@dataclass(frozen=True)
class Tick:
    """The rows of one tick."""

    flows: dict[str, Row]
    site: Row
    left: dict[str, tuple[float, float]]
    """Who left at the start of this tick, with the level and the carbon that went to `_site`."""


@dataclass
class ReferenceSite:
    """One physical energy system and the virtual ones that divide it.

    Changes of membership and of shares, and measured corrections, are announced between ticks and act at the next boundary.
    """

    battery: Battery | None
    shares: Mapping[str, Shares]
    excess: Sequence[str] = ("curtail",)
    grid_limit_w: float | None = None
    export_limit_w: float | None = None
    initial: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    live: bool = False

    def __post_init__(self) -> None:
        self.cell = self.battery or NO_BATTERY
        self.apps = {name: App(shares) for name, shares in self.shares.items()}
        self.apps[SITE] = App(Shares())
        self._give_site_the_rest()
        for name, (level, carbon) in self.initial.items():
            self.apps[name].level_wh, self.apps[name].stored_carbon_g = level, carbon
        self.below_line_wh = self.cell.capacity_wh * self.cell.empty_ratio
        self.buffer_wh = 0.0
        self.charge_range_w = INFINITE
        self.discharge_range_w = INFINITE
        self._next: dict[str, Shares | None] = {}
        self._measured_wh = 0.0

    # ---- between ticks -------------------------------------------------------------------------------------------------

    def join(self, name: str, shares: Shares) -> None:
        """An app joins at the next boundary, its battery at 0."""
        self._next[name] = shares

    def leave(self, name: str) -> None:
        """An app leaves at the next boundary; what it stored, and its solar still in the buffer, becomes the site's."""
        self._next[name] = None

    def set_shares(self, name: str, shares: Shares) -> None:
        """An app's shares change at the next boundary."""
        self._next[name] = shares

    def set_charge_rate(self, name: str, power_w: float) -> None:
        """Charge until full, at this rate."""
        self.apps[name].charge_rate_w = power_w

    def set_max_discharge(self, name: str, power_w: float) -> None:
        """Never discharge faster than this."""
        self.apps[name].max_discharge_w = power_w

    def derate(self, charge_w: float = INFINITE, discharge_w: float = INFINITE) -> None:
        """The feasible range that the device reports, for the site as a whole."""
        self.charge_range_w, self.discharge_range_w = charge_w, discharge_w

    def adjust(self, measured_minus_booked_wh: float) -> None:
        """A measured level differs from what is booked: corrected at the next boundary."""
        self._measured_wh += measured_minus_booked_wh

    def physics(self, tick_s: float) -> Row:
        """What `run.json` has to say under `physics` before the first tick."""
        return {
            "battery": asdict(self.battery) if self.battery else None,
            "excess": list(self.excess),
            "tick_s": tick_s,
            "export_limit_w": self.export_limit_w,
            "grid_limit_w": self.grid_limit_w,
            "initial": {n: {"level_wh": a.level_wh, "stored_carbon_g": a.stored_carbon_g} for n, a in self.apps.items()},
            "shares": {n: asdict(a.shares) for n, a in self.apps.items()},
        }

    # ---- limits --------------------------------------------------------------------------------------------------------

    @property
    def charge_limit_w(self) -> float:
        """Of the physical battery: C-rate times nominal capacity, or the reported range. [W]"""
        return min(self.cell.charge_c_rate * self.cell.capacity_wh, self.charge_range_w)

    @property
    def discharge_limit_w(self) -> float:
        """Of the physical battery. [W]"""
        return min(self.cell.discharge_c_rate * self.cell.capacity_wh, self.discharge_range_w)

    def capacity_wh(self, app: App) -> float:
        """The app's usable capacity. [Wh]"""
        return app.shares.battery_energy * self.cell.usable_wh

    def grid_limit_of(self, app: App) -> float:
        """The app's share of the grid connection; an unlimited one is not divided. [W]"""
        return INFINITE if self.grid_limit_w is None else app.shares.grid * self.grid_limit_w

    # ---- the boundary --------------------------------------------------------------------------------------------------

    def _give_site_the_rest(self) -> None:
        others = [a.shares for n, a in self.apps.items() if n != SITE]

        def rest(resource: str) -> float:
            return max(1.0 - math.fsum(getattr(s, resource) for s in others), 0.0)

        self.apps[SITE].shares = Shares(*(rest(r) for r in ("grid", "solar", "battery_energy", "battery_power")))

    def _cross_boundary(self) -> dict[str, tuple[float, float]]:
        """Joins, leaves and changed shares with their transfers, then the measured correction."""
        site = self.apps[SITE]
        left: dict[str, tuple[float, float]] = {}
        for name, shares in self._next.items():
            if shares is None:
                gone = self.apps.pop(name)
                left[name] = (gone.level_wh, gone.stored_carbon_g)
                site.level_wh += gone.level_wh
                site.transfer_in_wh += gone.level_wh
                site.stored_carbon_g += gone.stored_carbon_g
                site.solar_wh += gone.solar_wh
            elif name in self.apps:
                self.apps[name].shares = shares
            else:
                self.apps[name] = App(shares)
        if self._next:
            self._give_site_the_rest()
            self._move_what_does_not_fit()
        self._next = {}
        self._correct(self._measured_wh)
        self._measured_wh = 0.0
        return left

    def _move_what_does_not_fit(self) -> None:
        """Energy above a new capacity goes to `_site` with its carbon. Should `_site` overflow in its turn, the capacities
        still sum to the battery, so the others have the room: they take the surplus in proportion to it."""
        site = self.apps[SITE]
        tenants = [a for n, a in self.apps.items() if n != SITE]
        for app in tenants:
            surplus = app.level_wh - self.capacity_wh(app)
            if surplus > 0:
                carbon = app.stored_carbon_g * min(surplus / app.level_wh, 1.0)
                app.level_wh = self.capacity_wh(app)
                app.stored_carbon_g -= carbon
                app.transfer_out_wh += surplus
                site.level_wh += surplus
                site.stored_carbon_g += carbon
                site.transfer_in_wh += surplus
        overflow = site.level_wh - self.capacity_wh(site)
        rooms = [max(self.capacity_wh(a) - a.level_wh, 0.0) for a in tenants]
        if overflow > 0 and sum(rooms) > 0:
            carbon = site.stored_carbon_g * min(overflow / site.level_wh, 1.0)
            site.level_wh = self.capacity_wh(site)
            site.stored_carbon_g -= carbon
            site.transfer_out_wh += overflow
            for app, room in zip(tenants, rooms, strict=True):
                part = room / sum(rooms)
                app.level_wh += overflow * part
                app.stored_carbon_g += carbon * part
                app.transfer_in_wh += overflow * part

    def _correct(self, total_wh: float) -> None:
        """`_site` first, then pro rata: to levels for a shortfall, to room for a surplus. Carbon stays where it is."""
        site = self.apps[SITE]
        tenants = [a for n, a in self.apps.items() if n != SITE]

        def available(app: App) -> float:
            return app.level_wh if total_wh < 0 else max(self.capacity_wh(app) - app.level_wh, 0.0)

        missing = abs(total_wh)
        sign = -1.0 if total_wh < 0 else 1.0
        if missing > math.fsum(available(a) for a in self.apps.values()) * (1 + SNAP):
            raise ValueError(f"a correction of {total_wh} Wh exceeds what the batteries hold or have room for")
        from_site = min(missing, available(site))
        rest, pot = missing - from_site, math.fsum(available(a) for a in tenants)
        parts = [rest * available(a) / pot if pot > 0 else 0.0 for a in tenants]
        for app, part in zip([site, *tenants], [from_site, *parts], strict=True):
            app.adjust_wh = sign * part
            app.level_wh = max(app.level_wh + sign * part, 0.0)

    # ---- the tick ------------------------------------------------------------------------------------------------------

    def step(
        self,
        dt_s: float,
        solar_collected_w: float,
        intensity_g_per_kwh: float | None,
        demands_w: Mapping[str, float],
    ) -> Tick:
        """Settle one tick of every app."""
        h = dt_s / 3600
        cell = self.cell
        left = self._cross_boundary()
        released_wh = self.buffer_wh
        rows = {name: self._settle_alone(name, app, h, demands_w.get(name, 0.0)) for name, app in self.apps.items()}
        self._dispose_of_excess(rows, h)

        # Netting: what charges and what discharges cancels before the converter; the avoided losses are the site's.
        charge = math.fsum(r["solar_to_battery_w"] + r["grid_to_battery_w"] + r["received_w"] for r in rows.values())
        discharge = math.fsum(r["battery_discharge_w"] for r in rows.values())
        ends = {name: self._level_after(row, h) for name, row in rows.items()}
        avoided_wh = min(charge, discharge) * (1 / cell.discharge_efficiency - cell.charge_efficiency) * h
        credit_wh = min(avoided_wh, max(self.capacity_wh(self.apps[SITE]) - ends[SITE], 0.0))
        ends[SITE] += credit_wh
        rows[SITE]["netting_credit_wh"] = credit_wh
        change_wh = (cell.charge_efficiency * charge - discharge / cell.discharge_efficiency) * h + credit_wh
        spilled_wh = avoided_wh - credit_wh
        if spilled_wh == 0:
            net_w = charge - discharge
        else:
            net_w = change_wh / (cell.charge_efficiency * h) if change_wh > 0 else change_wh * cell.discharge_efficiency / h
        relief_w = charge - discharge - net_w

        for name, row in rows.items():
            self._book(name, row, ends[name], h, intensity_g_per_kwh)

        imports = math.fsum(r["grid_to_load_w"] + r["grid_to_battery_w"] for r in rows.values())
        exports = math.fsum(r["exported_w"] for r in rows.values())
        metered = imports - exports
        absorbed_w = min(relief_w, max(metered, 0.0))
        self.below_line_wh *= (1 - cell.self_discharge_per_hour) ** h
        self.buffer_wh = solar_collected_w * h
        self._hand_out(self.buffer_wh)
        site: Row = {
            "dt_s": dt_s,
            "solar_collected_w": solar_collected_w,
            "buffer_wh": self.buffer_wh,
            "import_w": max(metered, 0.0) - absorbed_w,
            "export_w": max(-metered, 0.0),
            "battery_charge_w": max(net_w, 0.0),
            "battery_discharge_w": max(-net_w, 0.0),
            "physical_level_wh": math.fsum(a.level_wh for a in self.apps.values()) + self.buffer_wh,
            "below_line_wh": self.below_line_wh,
            "charge_limit_w": self.charge_limit_w,
            "discharge_limit_w": self.discharge_limit_w,
            "export_limit_w": self._export_limit_w(),
            "curtailed_w": math.fsum(r["curtailed_w"] for r in rows.values()) + relief_w - absorbed_w,
            "netting_spilled_wh": spilled_wh,
            "netting_relief_w": relief_w,
            "node_power_w": math.fsum(r["demand_w"] - r["unserved_w"] for r in rows.values()),
        }
        assert math.isclose(math.fsum(r["solar_w"] for r in rows.values()) * h, released_wh, rel_tol=1e-9, abs_tol=1e-12)
        for row in rows.values():
            row["dt_s"] = dt_s
            del row["_level_wh"]
        return Tick(rows, site, left)

    def _export_limit_w(self) -> float:
        if "export" not in self.excess:
            return 0.0
        return INFINITE if self.export_limit_w is None else self.export_limit_w

    def _settle_alone(self, name: str, app: App, h: float, demand_w: float) -> Row:
        """Steps 1 to 4, as if the app were alone on the site."""
        cell = self.cell
        capacity = self.capacity_wh(app)
        charge_limit = app.shares.battery_power * self.charge_limit_w
        discharge_limit = app.shares.battery_power * self.discharge_limit_w
        grid_limit = self.grid_limit_of(app)
        if app.level_wh >= capacity:
            app.charge_rate_w = 0.0

        # 1. Self-discharge.
        level = app.level_wh * (1 - cell.self_discharge_per_hour) ** h
        # 2. Solar serves demand.
        solar = app.solar_wh / h
        solar_to_load = min(demand_w, solar)
        deficit, excess = demand_w - solar_to_load, solar - solar_to_load
        # 3. Excess solar charges, whatever the charge rate.
        room_w = max(capacity - level, 0.0) / (cell.charge_efficiency * h)
        solar_to_battery = min(excess, charge_limit, room_w)
        # 4. The grid serves load before battery; a battery that charges from the grid does not discharge.
        wanted = max(min(app.charge_rate_w, charge_limit, room_w) - solar_to_battery, 0.0)
        grid_to_battery = min(wanted, max(grid_limit - deficit, 0.0))
        discharge = 0.0
        if grid_to_battery == 0:
            discharge = min(deficit, app.max_discharge_w, discharge_limit, level * cell.discharge_efficiency / h)
        within = min(deficit - discharge, grid_limit)
        beyond = deficit - discharge - within
        return {
            "app": name,
            "dt_s": 0.0,
            "demand_w": demand_w,
            "solar_w": solar,
            "solar_to_load_w": solar_to_load,
            "solar_to_battery_w": solar_to_battery,
            "battery_discharge_w": discharge,
            "grid_to_load_w": within + beyond if self.live else within,
            "grid_to_battery_w": grid_to_battery,
            "unserved_w": 0.0 if self.live else beyond,
            "overdraw_w": beyond if self.live else 0.0,
            "exported_w": 0.0,
            "shared_w": 0.0,
            "curtailed_w": 0.0,
            "received_w": 0.0,
            "battery_level_wh": math.nan,
            "capacity_wh": capacity,
            "charge_limit_w": charge_limit,
            "discharge_limit_w": discharge_limit,
            "grid_limit_w": grid_limit,
            "self_discharge_wh": app.level_wh - level,
            "transfer_in_wh": app.transfer_in_wh,
            "transfer_out_wh": app.transfer_out_wh,
            "netting_credit_wh": 0.0,
            "battery_adjust_wh": app.adjust_wh,
            "carbon_intensity_g_per_kwh": None,
            "carbon_g": None,
            "carbon_on_use_g": math.nan,
            "stored_carbon_g": math.nan,
            "charge_rate_setting_w": app.charge_rate_w,
            "max_discharge_setting_w": app.max_discharge_w,
            "quality": "modelled",
            "_level_wh": level,
        }

    def _dispose_of_excess(self, rows: Mapping[str, Row], h: float) -> None:
        """Step 6: the configured policies in their order; what none of them takes is curtailed."""
        left_over = {n: r["solar_w"] - r["solar_to_load_w"] - r["solar_to_battery_w"] for n, r in rows.items()}
        for policy in [*self.excess, "curtail"]:
            total = math.fsum(left_over.values())
            if total <= 0:
                return
            if policy == "share":
                accepts = {n: self._acceptance(r, h) for n, r in rows.items()}
                accepted = math.fsum(accepts.values())
                if accepted <= 0:
                    continue
                for n, row in rows.items():
                    row["received_w"] = accepts[n] * min(1.0, total / accepted)
                    row["shared_w"] = left_over[n] * min(1.0, accepted / total)
                    left_over[n] -= row["shared_w"]
            elif policy == "export":
                part = min(1.0, self._export_limit_w() / total)
                for n, row in rows.items():
                    row["exported_w"] = left_over[n] * part
                    left_over[n] -= row["exported_w"]
            elif policy == "curtail":
                for n, row in rows.items():
                    row["curtailed_w"] += left_over[n]
                    left_over[n] = 0.0
            else:
                raise ValueError(f"unknown excess policy {policy!r}")

    def _acceptance(self, row: Row, h: float) -> float:
        """What a battery that did not discharge can still take, at its terminals. [W]"""
        if row["battery_discharge_w"] > 0:
            return 0.0
        room_w = max(row["capacity_wh"] - row["_level_wh"], 0.0) / (self.cell.charge_efficiency * h)
        own = row["solar_to_battery_w"] + row["grid_to_battery_w"]
        return max(float(min(row["charge_limit_w"], room_w) - own), 0.0)

    def _level_after(self, row: Row, h: float) -> float:
        """Step 5, before the snap."""
        charge = row["solar_to_battery_w"] + row["grid_to_battery_w"] + row["received_w"]
        gained = self.cell.charge_efficiency * charge * h
        lost = row["battery_discharge_w"] * h / self.cell.discharge_efficiency
        return float(row["_level_wh"] + gained - lost)

    def _book(self, name: str, row: Row, level: float, h: float, intensity: float | None) -> None:
        """Step 5, the snap and the end of the charge rate; step 7, the carbon."""
        app, capacity = self.apps[name], row["capacity_wh"]
        # Only towards where it moves: ticks too short to move more than the tolerance still add up.
        given = row["received_w"] > 0 or row["netting_credit_wh"] > 0
        if level < app.level_wh and level <= capacity * SNAP and not given:
            level = 0.0
        elif level > app.level_wh and level >= capacity * (1 - SNAP):
            level = capacity
        if level >= capacity:
            app.charge_rate_w = 0.0

        withdrawn_wh = row["battery_discharge_w"] * h / self.cell.discharge_efficiency
        taken_g = app.stored_carbon_g * min(withdrawn_wh / row["_level_wh"], 1.0) if withdrawn_wh > 0 else 0.0
        bought_g_per_w = h / 1000 * (0.0 if intensity is None else intensity)
        on_use_g = row["grid_to_load_w"] * bought_g_per_w + taken_g
        stored_g = app.stored_carbon_g - taken_g + row["grid_to_battery_w"] * bought_g_per_w
        if level == 0:
            on_use_g, stored_g = on_use_g + stored_g, 0.0
        imported_w = row["grid_to_load_w"] + row["grid_to_battery_w"]
        if intensity is None:
            app.unknown_carbon_wh += imported_w * h

        app.level_wh, app.stored_carbon_g = level, stored_g
        app.transfer_in_wh = app.transfer_out_wh = app.adjust_wh = 0.0
        row["battery_level_wh"] = level
        row["carbon_intensity_g_per_kwh"] = intensity
        row["carbon_g"] = None if intensity is None else imported_w * bought_g_per_w
        row["carbon_on_use_g"] = on_use_g
        row["stored_carbon_g"] = stored_g

    def _hand_out(self, collected_wh: float) -> None:
        """Solar belongs to whoever holds the share when it is collected."""
        for app in self.apps.values():
            app.solar_wh = collected_wh * app.shares.solar

"""An emulated plant: a battery, an inverter and a grid meter, each with its own state, moved by set-points alone.

It knows no app, no share and no settlement. It is told how fast to charge or discharge, how much solar to curtail, how much
load there is and how much sun, and it refuses what the hardware could not do. What the ledger claims must be what this
battery holds and what this meter has counted.
"""

from __future__ import annotations

from dataclasses import dataclass

TOLERANCE = 1e-6


class Infeasible(Exception):
    """A set-point that the hardware cannot follow."""


@dataclass
class GridMeter:
    """Two counters that only ever rise."""

    import_wh: float = 0.0
    export_wh: float = 0.0

    def count(self, power_w: float, hours: float) -> tuple[float, float]:
        """Register a signed power drawn from the grid; answers (import, export). [W]"""
        drawn, fed = max(power_w, 0.0), max(-power_w, 0.0)
        self.import_wh += drawn * hours
        self.export_wh += fed * hours
        return drawn, fed


@dataclass
class StorageBattery:
    """Cells with losses. `stored_wh` counts from truly empty, the solar buffer not included."""

    nominal_wh: float
    empty_ratio: float
    charge_efficiency: float
    discharge_efficiency: float
    self_discharge_per_hour: float
    max_charge_w: float
    max_discharge_w: float
    reserve_wh: float
    above_wh: float
    below_wh: float

    @property
    def ceiling_wh(self) -> float:
        """The most that may be stored above the empty line without the reserve. [Wh]"""
        return self.nominal_wh * (1 - self.empty_ratio) - self.reserve_wh

    def move(self, charge_w: float, discharge_w: float, hours: float) -> None:
        """Let one interval pass at a set-point."""
        slack_w = TOLERANCE * max(self.max_charge_w, self.max_discharge_w)
        if charge_w < 0 or discharge_w < 0 or (charge_w > 0 and discharge_w > 0):
            raise Infeasible(f"charging at {charge_w} W and discharging at {discharge_w} W at once")
        if charge_w > self.max_charge_w + slack_w:
            raise Infeasible(f"charging at {charge_w} W, the battery takes {self.max_charge_w} W")
        if discharge_w > self.max_discharge_w + slack_w:
            raise Infeasible(f"discharging at {discharge_w} W, the battery gives {self.max_discharge_w} W")
        keeps = (1 - self.self_discharge_per_hour) ** hours
        above = self.above_wh * keeps
        if charge_w > 0:
            above += charge_w * self.charge_efficiency * hours
        if discharge_w > 0:
            above -= discharge_w / self.discharge_efficiency * hours
        if above > self.ceiling_wh + TOLERANCE * self.nominal_wh:
            raise Infeasible(f"{above} Wh do not fit above the line, {self.ceiling_wh} Wh do")
        if above < -TOLERANCE * self.nominal_wh:
            raise Infeasible(f"{-above} Wh would come from below the empty line")
        self.above_wh = above
        self.below_wh *= keeps


@dataclass(frozen=True)
class Reading:
    """What the plant's instruments show for one interval."""

    import_w: float
    export_w: float
    level_wh: float
    buffer_wh: float


class Plant:
    """The three devices on one bus, and the solar buffer inside the battery's reserve."""

    def __init__(
        self,
        *,
        nominal_wh: float = 0.0,
        empty_ratio: float = 0.0,
        charge_efficiency: float = 1.0,
        discharge_efficiency: float = 1.0,
        self_discharge_per_hour: float = 0.0,
        charge_c_rate: float = 0.0,
        discharge_c_rate: float = 0.0,
        reserve_wh: float = 0.0,
        above_wh: float = 0.0,
    ) -> None:
        self.has_battery = nominal_wh > 0
        self.rated_w = (charge_c_rate * nominal_wh, discharge_c_rate * nominal_wh)
        self.battery = StorageBattery(
            nominal_wh=nominal_wh,
            empty_ratio=empty_ratio,
            charge_efficiency=charge_efficiency,
            discharge_efficiency=discharge_efficiency,
            self_discharge_per_hour=self_discharge_per_hour,
            max_charge_w=self.rated_w[0],
            max_discharge_w=self.rated_w[1],
            reserve_wh=reserve_wh,
            above_wh=above_wh,
            below_wh=nominal_wh * empty_ratio,
        )
        self.meter = GridMeter()
        self.buffer_wh = 0.0

    def derate(self, charge_w: float, discharge_w: float) -> None:
        """The battery narrows its feasible range; a range wider than its rating changes nothing."""
        self.battery.max_charge_w = min(self.rated_w[0], charge_w)
        self.battery.max_discharge_w = min(self.rated_w[1], discharge_w)

    def disturb(self, energy_wh: float) -> None:
        """Something that no set-point explains: cells age, a gauge is recalibrated."""
        self.battery.above_wh += energy_wh

    def step(
        self,
        dt_s: float,
        *,
        load_w: float,
        available_solar_w: float,
        charge_w: float = 0.0,
        discharge_w: float = 0.0,
        curtail_w: float = 0.0,
    ) -> Reading:
        """Let one interval pass: the buffer of the last one is released, the sun of this one fills it again."""
        hours = dt_s / 3600
        released_w = self.buffer_wh / hours
        if not 0 <= curtail_w <= released_w * (1 + TOLERANCE) + TOLERANCE:
            raise Infeasible(f"curtailing {curtail_w} W of {released_w} W")
        collected_wh = available_solar_w * hours
        if self.has_battery and collected_wh > self.battery.reserve_wh * (1 + TOLERANCE):
            raise Infeasible(f"{collected_wh} Wh of sun exceed the reserve of {self.battery.reserve_wh} Wh")
        self.battery.move(charge_w, discharge_w, hours)
        drawn, fed = self.meter.count(load_w + charge_w + curtail_w - released_w - discharge_w, hours)
        self.buffer_wh = collected_wh
        return Reading(drawn, fed, self.battery.above_wh + self.buffer_wh, self.buffer_wh)

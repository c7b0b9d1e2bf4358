"""The battery of the emulated plant: what it holds after any time at given powers, by the solution of its equation, not by steps.

    dL/dt = ηc·charge − discharge/ηd − λ·L        λ = −ln(1 − self-discharge per hour)

Charging ends where it is full: from then on it takes only what it loses. Discharging ends at the inverter's cut-off. It shares
nothing with `ecovisor.physics` on purpose: what the ledger says is held against what this battery does. `emulated` puts it into a plant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import msgspec

#: A slower self-discharge is none: at this one a battery would take a hundred million years. [1/h]
_SLOWEST_DECAY_PER_H = 1e-12


class _Parameters(Protocol):
    """What `ecovisor.presets.BatteryParameters` holds."""

    @property
    def capacity_wh(self) -> float: ...
    @property
    def empty_ratio(self) -> float: ...
    @property
    def charge_c_rate(self) -> float: ...
    @property
    def discharge_c_rate(self) -> float: ...
    @property
    def charge_efficiency(self) -> float: ...
    @property
    def discharge_efficiency(self) -> float: ...
    @property
    def self_discharge_per_hour(self) -> float: ...
    @property
    def initial_ratio(self) -> float: ...


class PlantBattery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A battery and its inverter; levels are above empty by its chemistry, powers at its terminals."""

    capacity_wh: float
    """Nominal capacity. [Wh]"""
    charge_c_rate: float
    """Largest charge power over nominal capacity. [1/h]"""
    discharge_c_rate: float
    """Largest discharge power over nominal capacity. [1/h]"""
    charge_efficiency: float
    """Energy stored over energy taken. [0..1]"""
    discharge_efficiency: float
    """Energy given over energy drawn from the store. [0..1]"""
    self_discharge_per_hour: float = 0.0
    """Part of the stored energy lost in an hour. [0..1)"""
    initial_level_wh: float = 0.0
    """[Wh]"""
    cut_off_wh: float = 0.0
    """The inverter does not discharge below it. [Wh]"""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("capacity_wh", math.ulp(0.0), math.inf),
            ("charge_c_rate", 0.0, math.inf),
            ("discharge_c_rate", 0.0, math.inf),
            ("charge_efficiency", math.ulp(0.0), 1.0),
            ("discharge_efficiency", math.ulp(0.0), 1.0),
            ("self_discharge_per_hour", 0.0, math.nextafter(1.0, 0.0)),
            ("initial_level_wh", 0.0, self.capacity_wh),
            ("cut_off_wh", 0.0, self.capacity_wh),
        ):
            value = getattr(self, name)
            if not (low <= value <= high and value < math.inf):
                raise ValueError(f"battery.{name} is {value!r}, it must be finite and between {low:g} and {high:g}")

    @classmethod
    def like(cls, parameters: _Parameters, *, cut_off_wh: float = 0.0) -> PlantBattery:
        """The physical battery that a scenario's resolved parameters describe, at its initial level."""
        empty = parameters.empty_ratio
        return cls(
            capacity_wh=parameters.capacity_wh,
            charge_c_rate=parameters.charge_c_rate,
            discharge_c_rate=parameters.discharge_c_rate,
            charge_efficiency=parameters.charge_efficiency,
            discharge_efficiency=parameters.discharge_efficiency,
            self_discharge_per_hour=parameters.self_discharge_per_hour,
            initial_level_wh=parameters.capacity_wh * min(empty + (1.0 - empty) * parameters.initial_ratio, 1.0),
            cut_off_wh=cut_off_wh,
        )

    @property
    def decay_per_h(self) -> float:
        """λ of the equation. [1/h]"""
        decay = -math.log1p(-self.self_discharge_per_hour)
        return decay if decay > _SLOWEST_DECAY_PER_H else 0.0

    @property
    def holding_charge_w(self) -> float:
        """Charge power that keeps it full. [W]"""
        return self.decay_per_h * self.capacity_wh / self.charge_efficiency

    def feasible_charge_w(self, level_wh: float) -> float:
        """Largest charge power at a level. [W]"""
        largest_w = self.charge_c_rate * self.capacity_wh
        return largest_w if level_wh < self.capacity_wh else min(largest_w, self.holding_charge_w)

    def feasible_discharge_w(self, level_wh: float) -> float:
        """Largest discharge power at a level. [W]"""
        return self.discharge_c_rate * self.capacity_wh if level_wh > self.cut_off_wh else 0.0


@dataclass(frozen=True, slots=True)
class Span:
    """A time of constant powers."""

    duration_h: float
    charge_w: float
    discharge_w: float
    level_wh: float
    """At its end. [Wh]"""


def spans(battery: PlantBattery, level_wh: float, *, charge_w: float, discharge_w: float, duration_h: float) -> list[Span]:
    """What really happens at a set-point: one span, or more where the battery becomes full or meets the cut-off on the way.

    Args:
        battery: which.
        level_wh: at the start. [Wh]
        charge_w: set-point; one of the two is 0. [W]
        discharge_w: set-point. [W]
        duration_h: how long. [h]
    """
    result: list[Span] = []
    while duration_h > 0.0:
        span = _first_span(battery, level_wh, charge_w, discharge_w, duration_h)
        result.append(span)
        duration_h -= span.duration_h
        level_wh = span.level_wh
    return result


def _first_span(battery: PlantBattery, level_wh: float, charge_w: float, discharge_w: float, longest_h: float) -> Span:
    decay = battery.decay_per_h
    if charge_w > 0.0:
        inflow_w, bound_wh = charge_w * battery.charge_efficiency, battery.capacity_wh
        if level_wh >= bound_wh and inflow_w >= decay * bound_wh:
            return Span(longest_h, battery.holding_charge_w, 0.0, bound_wh)
    elif discharge_w > 0.0 and level_wh > battery.cut_off_wh:
        inflow_w, bound_wh = -discharge_w / battery.discharge_efficiency, battery.cut_off_wh
    else:
        return Span(longest_h, 0.0, 0.0, level_wh * math.exp(-decay * longest_h))
    meets_h = _hours_until(bound_wh, level_wh, inflow_w, decay)
    if meets_h <= longest_h:
        return Span(meets_h, charge_w, discharge_w, bound_wh)
    kept = math.exp(-decay * longest_h)
    gained_wh = inflow_w * (-math.expm1(-decay * longest_h) / decay if decay > 0.0 else longest_h)
    after_wh = level_wh * kept + gained_wh
    return Span(longest_h, charge_w, discharge_w, min(after_wh, bound_wh) if charge_w > 0.0 else max(after_wh, bound_wh))


def _hours_until(bound_wh: float, level_wh: float, inflow_w: float, decay: float) -> float:
    """When the level meets a bound that lies in the direction of the inflow; infinite if never."""
    towards_w = inflow_w - decay * bound_wh
    if towards_w == 0.0 or (towards_w < 0.0) != (inflow_w < 0.0):
        return math.inf
    hours = (bound_wh - level_wh) / towards_w
    return math.log1p(decay * hours) / decay if decay > 0.0 else hours

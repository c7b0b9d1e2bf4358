"""What a bound is: a number of grams, the schedule that comes to it, and all that was relaxed; or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from ecovisor.optimum.steps import Floats
from ecovisor.presets import BatteryParameters


@dataclass(frozen=True, slots=True, kw_only=True)
class AppBattery:
    """An app's virtual battery. Powers are at its terminals, levels above the empty line."""

    capacity_wh: float
    """[Wh]"""
    charge_limit_w: float
    """[W]"""
    discharge_limit_w: float
    """[W]"""
    charge_efficiency: float = 1.0
    """[0..1]"""
    discharge_efficiency: float = 1.0
    """[0..1]"""
    self_discharge_per_hour: float = 0.0
    """[0..1)"""
    initial_wh: float = 0.0
    """Level at the start; it counts as free of carbon. [Wh]"""

    @classmethod
    def of(
        cls, battery: BatteryParameters, energy_share: float, power_share: float | None = None, reserve_wh: float = 0.0
    ) -> AppBattery:
        """A share of a physical battery, less the site's solar buffer (``reserve_wh``); power as energy unless given."""
        usable_wh = max(battery.capacity_wh * (1.0 - battery.empty_ratio) - reserve_wh, 0.0) * energy_share
        power_wh = battery.capacity_wh * (energy_share if power_share is None else power_share)
        return cls(
            capacity_wh=usable_wh,
            charge_limit_w=battery.charge_c_rate * power_wh,
            discharge_limit_w=battery.discharge_c_rate * power_wh,
            charge_efficiency=battery.charge_efficiency,
            discharge_efficiency=battery.discharge_efficiency,
            self_discharge_per_hour=battery.self_discharge_per_hour,
            initial_wh=usable_wh * battery.initial_ratio,
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule that comes to the bound, as columns, one value a step; powers are means over the step."""

    start_s: Floats
    """[s since the epoch]"""
    duration_h: Floats
    """[h]"""
    power_w: Floats
    """Of the job. [W]"""
    cores: Floats
    """Cores that run, while the job may. [cores]"""
    import_w: Floats
    """From the grid, for the job and the battery. [W]"""
    battery_charge_w: Floats
    """[W]"""
    battery_discharge_w: Floats
    """[W]"""
    battery_level_wh: Floats
    """At the end of the step. [Wh]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """No schedule of this job, in this window, on at most ``cores`` cores, emits less."""

    carbon_g: float
    """On import. [g]"""
    work_core_h: float
    """[core-h]"""
    cores: float
    """At most so many run at once. [cores]"""
    start_s: float
    """[s since the epoch]"""
    deadline_s: float
    """[s since the epoch]"""
    resolution_s: float
    """Longest step. [s]"""
    relaxations: tuple[str, ...]
    """What was let go of, each of which can only lower the bound."""
    solver: str
    """What found it."""
    status: str
    """What it said; `optimal`, or what HiGHS says."""
    gap_g: float
    """How far the schedule's own carbon is above the bound; 0 but for rounding where the status is optimal. [g]"""
    schedule: Schedule


@dataclass(frozen=True, slots=True)
class NoBound:
    """There is no valid bound."""

    reason: str
    """Why, for people."""

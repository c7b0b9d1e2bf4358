"""An emulated plant: battery, solar array and grid connection with state and meters of their own, moved by set-points and time alone.

Pure: it knows no clock, and passes from instant to instant of site time as it is told. Between two of them everything that changes (the
sun's steps, a battery becoming full) divides the time, so powers are constant in each part and energies are exact. It has no cable to
the cluster: the load of the time since the last `draw` is assumed, and booked in its place when the next `draw` says what it was.

It shares nothing with `ecovisor.physics` or the engine on purpose: what the ledger claims is held against this plant's meters.
`plant_process` runs it beside the server, `in_process` within.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from ecovisor.adapters.devices.emulated_battery import PlantBattery, spans
from ecovisor.model.errors import Refused, Unavailable
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import iso_utc
from ecovisor.ports.live import PlantReading, SetPoint

_HOUR_S = 3600.0
#: Parts of the open interval that are kept; when there are more, neighbours are taken together, by their mean powers.
_MOST_PARTS = 20_000


class SolarTrace(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the array gives: a step function of site time."""

    start_s: float
    """Start of the first step. [s since the epoch]"""
    step_s: float
    """[s]"""
    values_w: list[float]
    """One power a step. [W]"""
    repeats: bool = True
    """Starts again at its end (and ran before its start), for ever."""

    def __post_init__(self) -> None:
        if not 0.0 < self.step_s < math.inf or not math.isfinite(self.start_s):
            raise ValueError(f"solar.step_s is {self.step_s!r} and start_s {self.start_s!r}, they must be finite, the step above 0")
        if not self.values_w:
            raise ValueError("solar.values_w is empty")
        for k, value in enumerate(self.values_w):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"solar.values_w[{k}] is {value!r}, it must be finite and at least 0")

    @classmethod
    def of(cls, series: Series, *, repeats: bool = True) -> SolarTrace:
        """The trace of a series in W without missing values."""
        return cls(start_s=series.start_s, step_s=series.step_s, values_w=list(series.values), repeats=repeats)

    def at(self, site_s: float) -> tuple[float, float]:
        """The power at an instant [W], and the end of its step [s since the epoch].

        Raises:
            Unavailable: the trace does not repeat, and does not cover the instant.
        """
        step = math.floor((site_s - self.start_s) / self.step_s)
        if self.start_s + (step + 1) * self.step_s <= site_s:
            step += 1
        count = len(self.values_w)
        if not self.repeats and not 0 <= step < count:
            covered = f"{iso_utc(self.start_s)} to {iso_utc(self.start_s + count * self.step_s)}"
            raise Unavailable(f"the emulated sun is known from {covered}, not at {iso_utc(site_s)}; let it repeat, or give more")
        return self.values_w[step % count], self.start_s + (step + 1) * self.step_s


class PlantState(msgspec.Struct, kw_only=True):
    """What survives when a plant is switched off: not its meters, which start anew."""

    site_s: float
    """When this was so. [s since the epoch, site time]"""
    level_wh: float = 0.0
    """[Wh]"""
    sun_ratio: float = 1.0
    """Factor on the solar trace. [1]"""
    load_w: float = 0.0
    """Power that the cluster is assumed to draw. [W]"""
    export_limit_w: float | None = None
    """None: unlimited. [W]"""


class _Part(NamedTuple):
    """A time of constant powers, but for the load."""

    duration_h: float
    available_w: float
    charge_w: float
    discharge_w: float
    export_limit_w: float


def _together(parts: list[_Part]) -> _Part:
    """One part with the energies of several."""
    duration_h = math.fsum(part.duration_h for part in parts)
    available_w, charge_w, discharge_w = (math.fsum(part[k] * part.duration_h for part in parts) / duration_h for k in (1, 2, 3))
    return _Part(duration_h, available_w, charge_w, discharge_w, min(part.export_limit_w for part in parts))


class _Flows(NamedTuple):
    solar_w: float
    import_w: float
    export_w: float


def _flows(part: _Part, load_w: float) -> _Flows:
    """The grid gives what is missing and takes what is left; solar power that it does not take is curtailed, the battery's never."""
    wanted_w = load_w + part.charge_w - part.discharge_w
    if wanted_w >= part.available_w:
        return _Flows(part.available_w, wanted_w - part.available_w, 0.0)
    surplus_w, allowed_w = part.available_w - wanted_w, max(part.export_limit_w, -wanted_w)
    if surplus_w <= allowed_w:
        return _Flows(part.available_w, 0.0, surplus_w)
    return _Flows(min(max(wanted_w + allowed_w, 0.0), part.available_w), 0.0, allowed_w)


@dataclass(slots=True)
class _Meters:
    """Counters that depend on the load. [Wh]"""

    solar_wh: float = 0.0
    import_wh: float = 0.0
    export_wh: float = 0.0
    load_wh: float = 0.0
    curtailed_wh: float = 0.0

    def count(self, part: _Part, load_w: float) -> None:
        solar_w, import_w, export_w = _flows(part, load_w)
        self.solar_wh += solar_w * part.duration_h
        self.import_wh += import_w * part.duration_h
        self.export_wh += export_w * part.duration_h
        self.load_wh += load_w * part.duration_h
        self.curtailed_wh += (part.available_w - solar_w) * part.duration_h


class EmulatedPlant:
    """A plant at an instant. Every call names the instant of site time at which it happens; none lies before the one before.

    Args:
        battery: None: there is none.
        solar: None: there is none.
        state: what it begins with; `starting` gives that of a new one.
        site_s: when its meters start, at or after the state's instant; in between it stood idle, losing charge by itself.
        epoch: name of its meters' epoch.
    """

    def __init__(
        self, battery: PlantBattery | None, solar: SolarTrace | None, *, state: PlantState, site_s: float, epoch: str
    ) -> None:
        if site_s < state.site_s:
            raise ValueError(f"site_s is {site_s!r}, before the state's {state.site_s!r}")
        self.battery, self.solar, self.epoch = battery, solar, epoch
        self._site_s = state.site_s
        self._level_wh = 0.0 if battery is None else min(state.level_wh, battery.capacity_wh)
        self._sun_ratio, self._load_w = state.sun_ratio, state.load_w
        self._set = SetPoint(export_limit_w=math.inf if state.export_limit_w is None else state.export_limit_w)
        self._charge_wh = self._discharge_wh = 0.0
        self._settled, self._assumed = _Meters(), _Meters()
        self._parts: list[_Part] = []
        self._run_battery((site_s - state.site_s) / _HOUR_S)
        self._site_s = site_s

    @classmethod
    def starting(
        cls, battery: PlantBattery | None, solar: SolarTrace | None, *, site_s: float, epoch: str = "start"
    ) -> EmulatedPlant:
        """A new plant, its battery at the initial level, its meters at 0."""
        state = PlantState(site_s=site_s, level_wh=0.0 if battery is None else battery.initial_level_wh)
        return cls(battery, solar, state=state, site_s=site_s, epoch=epoch)

    def state(self) -> PlantState:
        """What would survive if it were switched off now."""
        limit_w = self._set.export_limit_w
        return PlantState(
            site_s=self._site_s,
            level_wh=self._level_wh,
            sun_ratio=self._sun_ratio,
            load_w=self._load_w,
            export_limit_w=limit_w if limit_w < math.inf else None,
        )

    def advance(self, site_s: float) -> None:
        """Let time pass.

        Raises:
            ValueError: the instant lies before the last one.
            Unavailable: the solar trace has ended; the plant stands at that instant.
        """
        if not self._site_s <= site_s < math.inf:
            raise ValueError(f"site_s is {site_s!r}, it must be finite and at least {self._site_s!r}: time does not go back")
        while self._site_s < site_s:
            available_w, until_s = self._available(self._site_s)
            until_s = min(until_s, site_s)
            for duration_h, charge_w, discharge_w in self._run_battery((until_s - self._site_s) / _HOUR_S):
                self._open(_Part(duration_h, available_w, charge_w, discharge_w, self._set.export_limit_w))
            self._site_s = until_s

    def read(self, site_s: float) -> PlantReading:
        """Meters and state; solar, grid and load meters with the load assumed since the last draw."""
        self.advance(site_s)
        available_w, _ = self._available(site_s)
        charge_w, discharge_w = self._battery_powers()
        now = _flows(_Part(0.0, available_w, charge_w, discharge_w, self._set.export_limit_w), self._load_w)
        settled, assumed, battery = self._settled, self._assumed, self.battery
        return PlantReading(
            site_s=site_s,
            epoch=self.epoch,
            solar_wh=settled.solar_wh + assumed.solar_wh,
            import_wh=settled.import_wh + assumed.import_wh,
            export_wh=settled.export_wh + assumed.export_wh,
            charge_wh=self._charge_wh,
            discharge_wh=self._discharge_wh,
            load_wh=settled.load_wh + assumed.load_wh,
            curtailed_wh=settled.curtailed_wh + assumed.curtailed_wh,
            level_wh=self._level_wh,
            solar_w=now.solar_w,
            feasible_charge_w=0.0 if battery is None else battery.feasible_charge_w(self._level_wh),
            feasible_discharge_w=0.0 if battery is None else battery.feasible_discharge_w(self._level_wh),
            quality=Quality.MODELLED,
        )

    def command(self, site_s: float, set_point: SetPoint) -> SetPoint:
        """Set, and return what was accepted: clipped to what is feasible now.

        Raises:
            Refused: a power is negative or no number, or both charge and discharge are above 0.
        """
        for name, power_w in (("charge_w", set_point.charge_w), ("discharge_w", set_point.discharge_w)):
            if not 0.0 <= power_w < math.inf:
                raise Refused(f"{name} is {power_w!r} W, it must be finite and at least 0")
        if not set_point.export_limit_w >= 0.0:
            raise Refused(f"export_limit_w is {set_point.export_limit_w!r} W, it must be at least 0")
        if set_point.charge_w > 0.0 and set_point.discharge_w > 0.0:
            raise Refused(
                f"charge_w is {set_point.charge_w:g} W and discharge_w {set_point.discharge_w:g} W; one battery does one of them"
            )
        self.advance(site_s)
        battery = self.battery
        self._set = SetPoint(
            0.0 if battery is None else min(set_point.charge_w, battery.feasible_charge_w(self._level_wh)),
            0.0 if battery is None else min(set_point.discharge_w, battery.feasible_discharge_w(self._level_wh)),
            set_point.export_limit_w,
        )
        return self._set

    def draw(self, site_s: float, energy_wh: float) -> None:
        """The cluster drew this since the last draw, evenly; until the next it is assumed to go on with that power. [Wh]

        Raises:
            Refused: no energy (NaN, infinite, negative).
        """
        if not 0.0 <= energy_wh < math.inf:
            raise Refused(f"energy_wh is {energy_wh!r} Wh, it must be finite and at least 0")
        self.advance(site_s)
        duration_h = math.fsum(part.duration_h for part in self._parts)
        if duration_h > 0.0:
            self._settle(energy_wh / duration_h)
        else:  # no time has passed that could carry it
            self._settled.import_wh += energy_wh
            self._settled.load_wh += energy_wh

    def settle(self, site_s: float) -> None:
        """What was assumed since the last draw is taken for what was drawn: nobody will say."""
        self.advance(site_s)
        self._settle(self._load_w)

    def set_sun(self, site_s: float, ratio: float) -> None:
        """Scale the solar trace from now on. [1]

        Raises:
            Refused: no ratio (NaN, infinite, negative).
        """
        if not 0.0 <= ratio < math.inf:
            raise Refused(f"the sun's ratio is {ratio!r}, it must be finite and at least 0")
        self.advance(site_s)
        self._sun_ratio = ratio

    def describe(self) -> str:
        """One line for people."""
        battery = "no battery" if self.battery is None else f"battery {self.battery.capacity_wh:g} Wh"
        solar = "no array" if self.solar is None else f"array with a peak of {max(self.solar.values_w):g} W"
        return f"emulated plant: {battery}, {solar}"

    def _available(self, site_s: float) -> tuple[float, float]:
        if self.solar is None:
            return 0.0, math.inf
        power_w, until_s = self.solar.at(site_s)
        return power_w * self._sun_ratio, until_s

    def _battery_powers(self) -> tuple[float, float]:
        """What the set-point comes to at this instant. [W]"""
        if self.battery is None:
            return 0.0, 0.0
        return (
            min(self._set.charge_w, self.battery.feasible_charge_w(self._level_wh)),
            min(self._set.discharge_w, self.battery.feasible_discharge_w(self._level_wh)),
        )

    def _run_battery(self, duration_h: float) -> list[tuple[float, float, float]]:
        """Let the battery run for a while; (duration [h], charge [W], discharge [W]) of each part of it."""
        if self.battery is None:
            return [(duration_h, 0.0, 0.0)]
        parts = []
        set_point = self._set
        for span in spans(
            self.battery,
            self._level_wh,
            charge_w=set_point.charge_w,
            discharge_w=set_point.discharge_w,
            duration_h=duration_h,
        ):
            self._charge_wh += span.charge_w * span.duration_h
            self._discharge_wh += span.discharge_w * span.duration_h
            self._level_wh = span.level_wh
            parts.append((span.duration_h, span.charge_w, span.discharge_w))
        return parts

    def _open(self, part: _Part) -> None:
        self._assumed.count(part, self._load_w)
        if self._parts and self._parts[-1][1:] == part[1:]:
            part = part._replace(duration_h=part.duration_h + self._parts.pop().duration_h)
        elif len(self._parts) >= _MOST_PARTS:
            self._parts = [_together(self._parts[k : k + 2]) for k in range(0, len(self._parts), 2)]
        self._parts.append(part)

    def _settle(self, load_w: float) -> None:
        """The load of the open interval is known; what was assumed is forgotten."""
        for part in self._parts:
            self._settled.count(part, load_w)
        self._parts.clear()
        self._assumed = _Meters()
        self._load_w = load_w

"""A solar array's output as it might have been: a clear sky by the sun's height, with seeded clouds; nothing but the standard library.

- Sun: declination and equation of time by Fourier series (Spencer 1971); incidence on a tilted plane as in Duffie and Beckman, "Solar
  Engineering of Thermal Processes", section 1.6.
- Clear sky: global irradiance 1098·cos z·exp(-0.057/cos z) (Haurwitz 1945), direct irradiance 1353·0.7^(AM^0.678) (Meinel 1976), both
  after Reno, Hansen and Stein (SAND2012-2389, doi:10.2172/1039404), at the air mass of Kasten and Young (1989,
  doi:10.1364/AO.28.004735). The rest is diffuse, the same from all of the sky; the ground reflects a quarter.
- Clouds: under a cover N, 1 - 0.75·N^3.4 of the clear sky is left (Kasten and Czeplak 1980, doi:10.1016/0038-092X(80)90391-6). The cover
  is a weighted sum of hourly draws from (seed, place, day), half the sky on average, on lines between the hours.
- Array: as in `pv`, at 20 °C and a wind of 1 m/s.

A value depends on seed, place and instant, not on when the run begins or ends. Always `modelled`. The weather of a place is not in it:
`pv` has typical years.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import duration_s
from ecovisor.settings import Signal

_HOUR_S, _DAY_S = 3600.0, 86400.0
#: The sun is looked at at least this often. [s]
_SUN_STEP_S = 300.0
_SHORTEST_STEP_S = 60.0
#: The series also holds this much before and after the run, for forecasts. [s]
_MARGIN_S = 2 * _DAY_S
#: Cloud cover: mean, standard deviation, hour-to-hour memory, and how many hours it reaches back.
_COVER, _COVER_SPREAD, _MEMORY, _MEMORY_HOURS = 0.5, 0.45, 0.85, 24
_GROUND = 0.25
_GAMMA_PER_K, _LOSSES_RATIO, _INVERTER_RATIO = -0.004, 0.1408, 0.96


@dataclass(frozen=True, slots=True)
class Panel:
    """A fixed array: where it stands, how it is tilted and turned (180: south), and its rated DC power."""

    latitude: float
    longitude: float
    tilt_deg: float
    azimuth_deg: float
    peak_w: float


def load_modelled_solar(name: str, signal: Signal, *, start_s: float, end_s: float, tick_s: float, seed: int) -> Series:
    """The series that the settings describe, over ``[start_s, end_s)`` and two days around it. [W]

    Raises:
        SettingsError: the signal is no power, or a field is missing, unknown or out of bounds.
    """
    where = f"signals.{name}"
    if name in ("carbon", "price"):
        raise SettingsError(f"{where}.kind", "'modelled-solar' gives W", "use it for solar")
    if signal.peak_w is None:
        raise SettingsError(f"{where}.peak_w", "is missing", "give the array's rated power, for example peak_w = 400.0")
    if signal.latitude is None or signal.longitude is None:
        field = "latitude" if signal.latitude is None else "longitude"
        raise SettingsError(f"{where}.{field}", "is missing", "say where the array stands, for example 36.1 and -119.95")
    if signal.weather not in (None, "changeable", "clear-sky"):
        raise SettingsError(f"{where}.weather", f"{signal.weather!r} is unknown", "choose 'changeable' or 'clear-sky'")
    step_s = _step_s(signal, tick_s, where)
    tilt_deg = abs(signal.latitude) if signal.tilt_deg is None else signal.tilt_deg
    azimuth_deg = (180.0 if signal.latitude >= 0.0 else 0.0) if signal.azimuth_deg is None else signal.azimuth_deg
    panel = Panel(signal.latitude, signal.longitude, tilt_deg, azimuth_deg, signal.peak_w)
    return modelled_solar(
        name, panel, start_s=start_s, end_s=end_s, step_s=step_s, seed=None if signal.weather == "clear-sky" else seed
    )


def modelled_solar(name: str, panel: Panel, *, start_s: float, end_s: float, step_s: float, seed: int | None) -> Series:
    """A generated series over ``[start_s, end_s)`` and two days around it; each value is its step's mean power.

    Args:
        name: of the series.
        panel: the array.
        start_s: [s since the epoch]
        end_s: [s since the epoch]
        step_s: steps lie on whole multiples of it where ``start_s`` does, else on its own. [s]
        seed: of the clouds; None: a clear sky.
    """
    first_s = start_s - math.ceil(_MARGIN_S / step_s) * step_s
    count = math.ceil((end_s + _MARGIN_S - first_s) / step_s)
    parts = math.ceil(step_s / _SUN_STEP_S)
    part_s = step_s / parts
    clouds = None if seed is None else Clouds(seed, panel.latitude, panel.longitude)
    values = array("d")
    for k in range(count):
        power_w = 0.0
        for part in range(parts):
            middle_s = first_s + k * step_s + (part + 0.5) * part_s
            irradiance = clear_irradiance(panel, middle_s)
            if irradiance > 0.0:
                power_w += _power_w(panel, irradiance if clouds is None else irradiance * clouds.left_ratio(middle_s))
        values.append(round(power_w / parts, 3))
    sky = "clear sky" if seed is None else f"changeable sky, seed {seed}"
    origin = f"modelled: array of {panel.peak_w:g} W at {panel.latitude:g}, {panel.longitude:g}, {sky}"
    return Series(name, "W", first_s, step_s, values, Quality.MODELLED, origin)


def clear_irradiance(panel: Panel, time_s: float) -> float:
    """Irradiance on the array under a clear sky. [W/m²]"""
    declination, equation_min = _sun(time_s)
    hour_angle = math.radians(15.0 * ((time_s % _DAY_S) / _HOUR_S - 12.0) + panel.longitude + equation_min / 4.0)
    latitude, tilt, turn = (math.radians(angle) for angle in (panel.latitude, panel.tilt_deg, panel.azimuth_deg - 180.0))
    sin_d, cos_d, sin_f, cos_f = math.sin(declination), math.cos(declination), math.sin(latitude), math.cos(latitude)
    cos_h = math.cos(hour_angle)
    height = sin_f * sin_d + cos_f * cos_d * cos_h
    if height <= 0.0:
        return 0.0
    incidence = math.cos(tilt) * height + math.sin(tilt) * (
        math.cos(turn) * (cos_d * sin_f * cos_h - sin_d * cos_f) + math.sin(turn) * cos_d * math.sin(hour_angle)
    )
    zenith_deg = math.degrees(math.acos(min(height, 1.0)))
    air_mass = 1.0 / (height + 0.50572 * math.pow(96.07995 - zenith_deg, -1.6364))
    whole = 1098.0 * height * math.exp(-0.057 / height)
    direct = min(1353.0 * math.pow(0.7, math.pow(air_mass, 0.678)), whole / height)
    diffuse = whole - direct * height
    return direct * max(incidence, 0.0) + diffuse * (1.0 + math.cos(tilt)) / 2.0 + _GROUND * whole * (1.0 - math.cos(tilt)) / 2.0


def _sun(time_s: float) -> tuple[float, float]:
    """Declination [rad] and equation of time [min] (Spencer 1971)."""
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_s)
    year_s = (when - datetime(when.year, 1, 1, tzinfo=UTC)).total_seconds()
    b = 2.0 * math.pi * (year_s / _DAY_S - 0.5) / 365.0
    cos1, sin1, cos2, sin2 = math.cos(b), math.sin(b), math.cos(2.0 * b), math.sin(2.0 * b)
    declination = 0.006918 - 0.399912 * cos1 + 0.070257 * sin1 - 0.006758 * cos2 + 0.000907 * sin2
    declination += -0.002697 * math.cos(3.0 * b) + 0.00148 * math.sin(3.0 * b)
    return declination, 229.18 * (0.000075 + 0.001868 * cos1 - 0.032077 * sin1 - 0.014615 * cos2 - 0.04089 * sin2)


def _power_w(panel: Panel, irradiance: float) -> float:
    """What the inverter gives. [W]"""
    cell_c = 20.0 + irradiance / (25.0 + 6.84)
    dc_w = panel.peak_w * irradiance / 1000.0 * (1.0 + _GAMMA_PER_K * (cell_c - 25.0)) * (1.0 - _LOSSES_RATIO)
    return min(dc_w * _INVERTER_RATIO, panel.peak_w)


class Clouds:
    """The sky over a place."""

    def __init__(self, seed: int, latitude: float, longitude: float) -> None:
        self._place = f"{seed}/{latitude:g}/{longitude:g}"
        self._draws: dict[int, list[float]] = {}
        self._covers: dict[int, float] = {}
        weights = [_MEMORY**k for k in range(_MEMORY_HOURS)]
        # A uniform draw's variance is 1/12.
        scale = _COVER_SPREAD * math.sqrt(12.0 / math.fsum(weight * weight for weight in weights))
        self._weights = [scale * weight for weight in weights]

    def left_ratio(self, time_s: float) -> float:
        """Part of the clear sky's irradiance that is left."""
        hour, part = divmod(time_s / _HOUR_S, 1.0)
        before, after = self._cover(int(hour)), self._cover(int(hour) + 1)
        return 1.0 - 0.75 * math.pow(before + (after - before) * part, 3.4)

    def _cover(self, hour: int) -> float:
        """Part of the sky that is covered at an hour since the epoch."""
        cover = self._covers.get(hour)
        if cover is None:
            sum_of_draws = math.fsum(weight * (self._draw(hour - k) - 0.5) for k, weight in enumerate(self._weights))
            cover = self._covers[hour] = min(max(_COVER + sum_of_draws, 0.0), 1.0)
        return cover

    def _draw(self, hour: int) -> float:
        day, hour_of_day = divmod(hour, 24)
        draws = self._draws.get(day)
        if draws is None:
            draw = Random(f"{self._place}/{day}").random
            draws = self._draws[day] = [draw() for _ in range(24)]
        return draws[hour_of_day]


def _step_s(signal: Signal, tick_s: float, where: str) -> float:
    """The asked step; by default as many ticks as come to 5 min, at least one, at most 1 h."""
    if signal.step is None:
        return tick_s * max(math.floor(_SUN_STEP_S / tick_s), 1) if tick_s <= _HOUR_S else tick_s / math.ceil(tick_s / _HOUR_S)
    try:
        step_s = duration_s(signal.step)
    except ValueError as error:
        raise SettingsError(f"{where}.step", str(error), "write for example '5min'") from None
    if not _SHORTEST_STEP_S <= step_s <= _HOUR_S:
        raise SettingsError(f"{where}.step", f"{signal.step} is out of bounds, 1min to 1h", "choose for example '5min'")
    return step_s

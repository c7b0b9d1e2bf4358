"""Carbon intensity as it might have been: a seeded series with a real grid's mean, daily and yearly shape, spread and persistence.

    intensity(t) = max(mean(month, hour) + spread(month, hour) · noise(t), half the lowest intensity seen)

The noise is a first-order autoregression over hours, steady (mean 0, variance 1), whose mean over each calendar month is taken
out by a hump that vanishes at the month's ends, as the statistics are taken within months. Its innovations are drawn per UTC
day from (seed, zone, day), and the recursion is started afresh 30 days before each month, when what it started from is
forgotten: a value depends on seed, zone and instant, not on when the run begins or ends. Only `random.Random.random` and exact
IEEE operations are used, so every platform draws the same. The statistics stand in `carbon_statistics.json`, their origin and
licence in `carbon_statistics.md`. Always `modelled`: never mistaken for measured.
"""

from __future__ import annotations

import json
import math
from array import array
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from random import Random

from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import duration_s
from ecovisor.settings import Signal

_HOUR_S = 3600.0
_DAY_HOURS = 24
_WARM_UP_DAYS = 30
#: The series also holds this many days before and after the run, for forecasts.
_MARGIN_DAYS = 7
#: Standard deviation of a sum of four uniform variates, inverted.
_FOUR_UNIFORM = math.sqrt(3.0)


@dataclass(frozen=True, slots=True)
class ZoneStatistics:
    """What is known of a zone; ``mean`` and ``spread`` are 12 months × 24 UTC hours. [g/kWh]"""

    zone: str
    years: str
    lag1: float
    lowest_g_per_kwh: float
    mean_g_per_kwh: list[list[float]]
    spread_g_per_kwh: list[list[float]]

    @property
    def average_g_per_kwh(self) -> float:
        """Mean over the year, months counted alike. [g/kWh]"""
        return sum(map(sum, self.mean_g_per_kwh)) / (12 * _DAY_HOURS)


@cache
def zone_statistics() -> dict[str, ZoneStatistics]:
    """All zones of the committed table, by name."""
    text = files(__package__).joinpath("carbon_statistics.json").read_text(encoding="utf-8")
    return {
        zone: ZoneStatistics(
            zone, row["years"], row["lag1"], row["lowest_g_per_kwh"], row["mean_g_per_kwh"], row["spread_g_per_kwh"]
        )
        for zone, row in json.loads(text)["zones"].items()
    }


def load_modelled_carbon(name: str, signal: Signal, *, start_s: float, end_s: float, seed: int) -> Series:
    """The series that the settings describe, over ``[start_s, end_s)`` and a week around it. [g/kWh]

    Raises:
        SettingsError: the signal is not carbon, or zone or step are missing, unknown or out of bounds.
    """
    where = f"signals.{name}"
    if name in ("solar", "price"):
        raise SettingsError(f"{where}.kind", "'modelled-carbon' gives g/kWh", "use it for carbon")
    known = zone_statistics()
    if signal.zone is None:
        raise SettingsError(f"{where}.zone", "is missing", "choose one of " + ", ".join(known))
    if signal.zone not in known:
        raise SettingsError(f"{where}.zone", f"unknown zone {signal.zone!r}", did_you_mean(signal.zone, known))
    try:
        step_s = duration_s(signal.step or "1h")
    except ValueError as error:
        raise SettingsError(f"{where}.step", str(error), "write '1h' or '5min'") from None
    if step_s > _HOUR_S or _HOUR_S % step_s:
        raise SettingsError(f"{where}.step", f"{signal.step} is no whole part of an hour", "choose 1h, 30min, 15min, 5min or 1min")
    return modelled_carbon(name, known[signal.zone], start_s=start_s, end_s=end_s, step_s=step_s, seed=seed)


def modelled_carbon(name: str, zone: ZoneStatistics, *, start_s: float, end_s: float, step_s: float, seed: int) -> Series:
    """A generated series over ``[start_s, end_s)``, widened to whole days and a week on either side.

    Steps shorter than an hour lie on the line from one hour's value to the next.

    Args:
        name: of the series.
        zone: the grid's statistics.
        start_s: [s since the epoch]
        end_s: [s since the epoch]
        step_s: a whole part of an hour. [s]
        seed: another seed gives another course with the same statistics.
    """
    first = _midnight(start_s) - timedelta(days=_MARGIN_DAYS)
    last = _midnight(end_s) + timedelta(days=_MARGIN_DAYS + 1)
    hourly = array("d")
    month = first.replace(day=1)
    while month <= last:
        following = _next_month(month)
        values = _month(zone, month, following, seed)
        hourly.extend(values[max((first - month).days, 0) * 24 : ((min(last + timedelta(days=1), following)) - month).days * 24])
        month = following
    parts = round(_HOUR_S / step_s)
    count = (last - first).days * _DAY_HOURS
    if parts == 1:
        values = hourly[:count]
    else:
        values = array(
            "d", [hourly[k] + (hourly[k + 1] - hourly[k]) * (part / parts) for k in range(count) for part in range(parts)]
        )
    origin = f"modelled from the statistics of {zone.zone} {zone.years} (Data from Electricity Maps, ODbL), seed {seed}"
    return Series(name, "g/kWh", first.timestamp(), step_s, values, Quality.MODELLED, origin)


def _month(zone: ZoneStatistics, month: datetime, following: datetime, seed: int) -> array[float]:
    """The hours of one calendar month. [g/kWh]"""
    mean, spread = zone.mean_g_per_kwh[month.month - 1], zone.spread_g_per_kwh[month.month - 1]
    floor = zone.lowest_g_per_kwh / 2
    values = array("d")
    for k, noise in enumerate(_month_noise(zone, month, following, seed)):
        hour = k % _DAY_HOURS
        values.append(round(max(mean[hour] + spread[hour] * noise, floor), 2))
    return values


def _month_noise(zone: ZoneStatistics, month: datetime, following: datetime, seed: int) -> list[float]:
    """Steady noise over one calendar month with mean 0 and, on average over seeds, variance 1."""
    phi = zone.lag1
    scale = math.sqrt(1.0 - phi * phi) * _FOUR_UNIFORM
    days = (following - month).days
    noise: list[float] = []
    state = 0.0
    for day in range(-_WARM_UP_DAYS, days):
        draw = Random(f"{seed}/{zone.zone}/{(month + timedelta(days=day)).date().isoformat()}").random
        for _ in range(_DAY_HOURS):
            state = phi * state + scale * (draw() + draw() + draw() + draw() - 2.0)
            if day >= 0:
                noise.append(state)
    count = len(noise)
    average = math.fsum(noise) / count
    # The mean's own variance is about (1+phi)/(1-phi)/count; without it 1 - 0.9 of that is left (0.9: the hump's shape).
    stretch = 1.0 / math.sqrt(1.0 - 0.9 * min((1.0 + phi) / (1.0 - phi) / count, 0.5))
    humps = ((k + 0.5) / count for k in range(count))
    return [stretch * (value - average * 6.0 * u * (1.0 - u)) for value, u in zip(noise, humps, strict=True)]


def _midnight(time_s: float) -> datetime:
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_s)
    return when.replace(hour=0, minute=0, second=0, microsecond=0)


def _next_month(month: datetime) -> datetime:
    return (month + timedelta(days=31)).replace(day=1)

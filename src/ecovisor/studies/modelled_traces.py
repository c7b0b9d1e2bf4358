"""Series for studies without data sets: seeded, always `modelled`. Carbon and sun are those of `adapters.signals`; requests are made here.

`traces` takes over, with the real ones where there are any.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from random import Random

from ecovisor.adapters.signals.modelled_carbon import modelled_carbon, zone_statistics
from ecovisor.adapters.signals.modelled_solar import Panel, modelled_solar
from ecovisor.model.errors import SeriesError
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.series import Quality, Series

_MINUTES_PER_DAY = 1440
_DAY_S = 86400.0
#: On the zero meridian local midnight is that of UTC. Peak power is scaled afterwards.
_PANEL = Panel(latitude=42.4, longitude=0.0, tilt_deg=42.4, azimuth_deg=180.0, peak_w=1000.0)
#: What a day-ahead forecast misses: persistence of its error from hour to hour, and its spread over the series' own.
_ERROR_MEMORY, _ERROR_SPREAD = 0.9, 0.6
#: Daily swing of a request rate over its mean, and the minute's noise.
_SWING, _NOISE_MEMORY, _NOISE = 0.45, 0.95, 0.08
_BURST_RATIO, _BURST_MINUTES, _BURSTS_PER_DAY = 3.0, 6, 10


def zones() -> list[str]:
    """Zones that can be modelled."""
    return sorted(zone_statistics())


def carbon(zone: str, start_s: float, end_s: float, step_s: float, seed: int) -> Series:
    """Carbon intensity with a real grid's statistics over ``[start_s, end_s)``. [g/kWh]

    Raises:
        SeriesError: the zone cannot be modelled.
    """
    known = zone_statistics()
    if zone not in known:
        raise SeriesError(f"modelled carbon of {zone!r}", "there is no such zone", did_you_mean(zone, known))
    return _cut(modelled_carbon("carbon", known[zone], start_s=start_s, end_s=end_s, step_s=step_s, seed=seed), start_s, end_s)


def day_ahead(actual: Series, seed: int) -> Series:
    """What might have been forecast for a series: the series and an error that persists, with 0.6 of the series' spread."""
    count = len(actual.values)
    mean = math.fsum(actual.values) / count
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in actual.values) / count)
    draw = Random(f"{seed}/day-ahead").gauss
    scale = _ERROR_SPREAD * spread * math.sqrt(1.0 - _ERROR_MEMORY**2)
    values, error = array("d"), 0.0
    for value in actual.values:
        error = _ERROR_MEMORY * error + scale * draw(0.0, 1.0)
        values.append(max(value + error, 0.0))
    origin = f"{actual.origin}; with a modelled error of the day before"
    return replace(actual, values=values, quality=Quality.FORECAST, origin=origin)


def solar(days: int, peak_w: float, start_s: float, seed: int) -> Series:
    """Days of May under changeable clouds by the minute from midnight, scaled to a peak and moved to ``start_s``. [W]"""
    may_s = 1_589_673_600.0  # 17 May 2020
    made = modelled_solar("solar", _PANEL, start_s=may_s, end_s=may_s + days * _DAY_S, step_s=60.0, seed=seed)
    made = _cut(made, may_s, may_s + days * _DAY_S)
    largest = max(made.values)
    values = array("d", [value * peak_w / largest for value in made.values])
    origin = f"modelled: {days} d from 17 May at 42.4° north, changeable sky, seed {seed}; scaled to a peak of {peak_w:g} W"
    return replace(made, start_s=start_s, values=values, origin=origin)


def requests(name: str, days: int, mean_per_s: float, start_s: float, seed: int, *, bursts: bool = False) -> Series:
    """A request rate with a day's rise and fall and noise that lasts some minutes, scaled to a mean. [1/s]

    Args:
        name: with the seed it tells one course from another: when the day peaks, how the noise runs.
        days: how many.
        mean_per_s: of all of it.
        start_s: [s since the epoch]
        seed: see ``name``.
        bursts: ten times a day the rate triples for some minutes.
    """
    random = Random(f"{seed}/{name}")
    peak_min = random.uniform(10.0, 20.0) * 60.0
    scale = _NOISE * math.sqrt(1.0 - _NOISE_MEMORY**2)
    noise, values = 0.0, array("d")
    for minute in range(days * _MINUTES_PER_DAY):
        noise = _NOISE_MEMORY * noise + scale * random.gauss(0.0, 1.0)
        turn = 2.0 * math.pi * (minute - peak_min) / _MINUTES_PER_DAY
        values.append(max((1.0 + _SWING * math.cos(turn)) * (1.0 + noise), 0.05))
    for _ in range(_BURSTS_PER_DAY * days if bursts else 0):
        first = random.randrange(len(values))
        for minute in range(first, min(first + _BURST_MINUTES, len(values))):
            values[minute] *= _BURST_RATIO
    factor = mean_per_s * len(values) / math.fsum(values)
    values = array("d", [value * factor for value in values])
    origin = f"modelled: a day's rise and fall with noise{' and bursts' if bursts else ''}, seed {seed}, mean {mean_per_s:g}/s"
    return Series("requests", "1/s", start_s, 60.0, values, Quality.MODELLED, origin)


def _cut(series: Series, start_s: float, end_s: float) -> Series:
    first, last = round((start_s - series.start_s) / series.step_s), round((end_s - series.start_s) / series.step_s)
    return replace(series, start_s=start_s, values=series.values[first:last])

"""Sun and request rate of the experiment with virtual batteries: days in another order, applications that come and go, the array's size.

`traces` has the series that this starts from; `virtual_batteries` runs on what comes out.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.model.series import Quality, Series
from ecovisor.presets import BatteryParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DAY_MINUTES = 1440
#: Applications whose resources are logged: as many on average, and how long one stays.
MEAN_APPS, MEAN_STAY_MINUTES = 12.0, 90.0
#: How long one takes to bring its containers up.
START_MINUTES = 15


def from_day(series: Series, first_day: int, days: int) -> Series:
    """``days`` days of a series by the minute from another first day on; after its last day comes its first."""
    minutes = len(series.values)
    begin = first_day * DAY_MINUTES
    values = array("d", (series.values[(begin + k) % minutes] for k in range(days * DAY_MINUTES)))
    return replace(series, values=values, origin=f"{series.origin}; from day {first_day + 1} on")


def with_peak(series: Series, peak_w: float) -> Series:
    """A sun scaled to another peak. [W]"""
    factor = peak_w / max(series.values)
    return replace(series, values=array("d", (value * factor for value in series.values)))


def as_apps_come_and_go(daytime: Series, seed: int, days: int, *, start_minutes: int = START_MINUTES) -> Series:
    """A daytime request rate over ``days`` days, in proportion to a number of applications that come and go at random. [1/s]

    The paper says of the rate of its logging service only that it varies "as the number of applications running on our ecovisor prototype
    […] come and go" (section 5.3). Arrivals are Poisson and stays exponential, so their number is Poisson with a mean of `MEAN_APPS`;
    each brings its containers up over ``start_minutes``, and takes as long to go. In the morning all do so together.
    """
    chance = Random(f"{seed}/apps")
    arrivals_per_minute = MEAN_APPS / MEAN_STAY_MINUTES
    count = days * DAY_MINUTES
    change = [0] * (count + 1)
    at = -10.0 * MEAN_STAY_MINUTES  # long before the first minute
    while (at := at + chance.expovariate(arrivals_per_minute)) < count:
        change[max(0, math.ceil(at))] += 1
        change[min(count, max(0, math.ceil(at + chance.expovariate(1.0 / MEAN_STAY_MINUTES))))] -= 1
    present = np.cumsum(change[:count])
    window = np.ones(start_minutes) / start_minutes
    smooth = np.convolve(np.concatenate([np.full(start_minutes - 1, present[0]), present]), window, mode="valid")
    rate = np.array([daytime.values[minute % len(daytime.values)] for minute in range(count)])
    awake_minutes = np.zeros(count)
    for minute in range(1, count):
        awake_minutes[minute] = awake_minutes[minute - 1] + 1.0 if rate[minute - 1] > 0.0 and rate[minute] > 0.0 else 0.0
    values = rate * smooth / MEAN_APPS * np.minimum(1.0, awake_minutes / start_minutes)
    origin = f"{daytime.origin}; times a modelled number of applications that come and go, seed {seed}"
    return replace(daytime, values=array("d", values), quality=Quality.MODELLED, origin=origin)


def poorest_day_h(series: Series) -> float:
    """Yield of the poorest of a sun's days, in hours at its peak. [h]"""
    values = np.array(series.values)
    return float((values.reshape(-1, DAY_MINUTES).sum(axis=1) / 60.0 / values.max()).min())


def covering_peak_w(series: Series, power_w: float, hours: float, share: float, battery: BatteryParameters) -> float:
    """The smallest array, in steps of 10 W, of which a share covers a constant power on the poorest day by itself. [W]

    All of the energy is taken to pass through the battery, with its losses: what reaches the load directly is to spare.
    """
    through = battery.charge_efficiency * battery.discharge_efficiency
    needed_w = power_w * hours / (share * poorest_day_h(series) * through)
    return math.ceil(needed_w / 10.0) * 10.0

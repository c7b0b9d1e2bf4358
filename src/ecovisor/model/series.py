"""A time series on a regular grid, with its unit, its origin and its quality: the only form in which signals travel inside.

Step function: ``values[k]`` holds over ``[start_s + k·step_s, start_s + (k+1)·step_s)``. A missing value is NaN, never zero.
Where series come from is the business of ``adapters.signals``.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from enum import StrEnum

from ecovisor.model.errors import SeriesError
from ecovisor.model.units import human_duration, iso_utc


class Quality(StrEnum):
    """How a value came to be known."""

    MEASURED = "measured"
    MODELLED = "modelled"
    ESTIMATED = "estimated"
    FORECAST = "forecast"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Series:
    """A named, regular step function of time.

    Attributes:
        name: what a person calls it (``carbon``, ``solar``).
        unit: canonical unit of the values: ``W``, ``g/kWh``, ``1/kWh`` (price), ``1`` (ratio), ``W/m2``.
        start_s: start of the first step. [s since the epoch, UTC]
        step_s: length of a step. [s]
        values: one value a step; NaN where it is missing.
        quality: how the values came to be known.
        origin: where they come from, for people and for ``run.json`` (file and column, model and parameters).
    """

    name: str
    unit: str
    start_s: float
    step_s: float
    values: array[float]
    quality: Quality = Quality.MEASURED
    origin: str = ""

    @property
    def end_s(self) -> float:
        """End of the last step. [s since the epoch, UTC]"""
        return self.start_s + self.step_s * len(self.values)

    def on_ticks(self, start_s: float, tick_s: float, count: int, *, mean: bool = False) -> array[float]:
        """The value of each of ``count`` ticks of ``tick_s`` seconds from ``start_s``.

        A tick within a step takes the step's value, so energy (power times time) is conserved. A tick that spans several
        steps takes their mean, which conserves it too, and only when ``mean`` is asked for; it is NaN if any of them is.

        Raises:
            SeriesError: the tick does not divide the step (nor, with ``mean``, is a multiple of it), is not aligned with
                it, or the series does not cover ``[start_s, start_s + count·tick_s)``.
        """
        where = f"signals.{self.name} ({self.origin})" if self.origin else f"signals.{self.name}"
        end_s = start_s + tick_s * count
        if start_s < self.start_s or end_s > self.end_s:
            raise SeriesError(
                where,
                f"covers {iso_utc(self.start_s)} to {iso_utc(self.end_s)}, the run needs {iso_utc(start_s)} to {iso_utc(end_s)}",
                "shorten the run, move its start, or give a longer trace",
            )
        if tick_s <= self.step_s:
            per_step = self.step_s / tick_s
            offset = (start_s - self.start_s) / tick_s
            if not (_whole(per_step) and _whole(offset)):
                raise SeriesError(
                    where,
                    f"the tick of {human_duration(tick_s)} does not divide its step of {human_duration(self.step_s)}"
                    if not _whole(per_step)
                    else f"the run's start {iso_utc(start_s)} is not a whole number of ticks after {iso_utc(self.start_s)}",
                    f"choose a tick that divides {human_duration(self.step_s)} and a start on its grid",
                )
            ticks_per_step, first = round(per_step), round(offset)
            if ticks_per_step == 1:
                return self.values[first : first + count]
            steps = range(first // ticks_per_step, (first + count - 1) // ticks_per_step + 1)
            held = array("d")
            for k in steps:
                held.extend(array("d", (self.values[k],)) * ticks_per_step)
            skip = first - steps.start * ticks_per_step
            return held[skip : skip + count]
        if not mean:
            raise SeriesError(
                where,
                f"its step of {human_duration(self.step_s)} is finer than the tick of {human_duration(tick_s)}",
                'choose a finer tick, or set resample = "mean" on the signal',
            )
        steps_per_tick = tick_s / self.step_s
        offset = (start_s - self.start_s) / self.step_s
        if not (_whole(steps_per_tick) and _whole(offset)):
            raise SeriesError(
                where,
                f"the tick of {human_duration(tick_s)} is no whole number of its steps of {human_duration(self.step_s)}"
                if not _whole(steps_per_tick)
                else f"the run's start {iso_utc(start_s)} is not a whole number of its steps after {iso_utc(self.start_s)}",
                "choose a tick that is a multiple of the step and a start on its grid",
            )
        width, first = round(steps_per_tick), round(offset)
        return array("d", (math.fsum(self.values[k : k + width]) / width for k in range(first, first + width * count, width)))


def _whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-6

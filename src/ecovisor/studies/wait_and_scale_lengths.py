"""How long a job is: the paper does not say, so its length is fitted to the one thing that depends on it most.

From the trace alone, without simulating: a job of any length that runs while the intensity is at or below a threshold. `run_starts` of
`wait_and_scale` simulates the length that comes of it, and has to arrive at the same run times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.model.series import Series
from ecovisor.studies.wait_and_scale import HOUR_S, Application, threshold_g_per_kwh

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Jobs from a quarter of an hour to ten days.
LENGTHS_H = np.geomspace(0.25, 240.0, 60)
#: A job whose clean hours are few within a year may take years.
_YEARS = 10
_SETS, _SET_SIZE = 4000, 10
#: A mean of ten starts within this part of the paper's number counts as the paper's number.
NEAR_RATIO = 0.1


@dataclass(frozen=True, slots=True)
class Scan:
    """Jobs of many lengths under suspend-resume, from many starts."""

    lengths_h: Floats
    """Time on the base cores, without waiting. [h]"""
    runtime_h: Floats
    """Start × length, from arrival to completion. [h]"""
    g_per_w: Floats
    """Start × length: carbon for each watt drawn while running. [g/W]"""
    agnostic_g_per_w: Floats
    """The same without waiting. [g/W]"""

    @property
    def factor(self) -> Floats:
        """Mean run time over the time without waiting, by length. [1]"""
        return np.asarray(self.runtime_h.mean(axis=0) / self.lengths_h)


@dataclass(frozen=True, slots=True)
class Fit:
    """A length that gives the paper's mean run-time factor."""

    job_h: float
    """[h]"""
    nearness: float
    """How probable it is that ten random starts give the paper's factor within `NEAR_RATIO`. [1]"""
    median_factor: float
    """Of run times over all starts. [1]"""


def scan(application: Application, year: Series, starts_s: Floats, lengths_h: Floats = LENGTHS_H, factor: float = 1.0) -> Scan:
    """Suspend-resume (or Wait&Scale with a factor) for jobs of many lengths, from the trace alone.

    Args:
        application: whose threshold it is, and whose speed with ``factor``.
        year: carbon intensity, repeated after its end. [g/kWh]
        starts_s: arrivals. [s since the epoch]
        lengths_h: time on the base cores. [h]
        factor: on the base cores.
    """
    values, step_h = np.asarray(year.values), year.step_s / HOUR_S
    lengths_h = np.asarray(lengths_h, dtype=np.float64)
    needed_h = lengths_h / application.speed_up(factor)
    runtime, carbon, agnostic = (np.empty((len(starts_s), len(needed_h))) for _ in range(3))
    threshold = float("nan")
    for k, start_s in enumerate(starts_s):
        if k == 0 or application.window_h is not None:
            threshold = threshold_g_per_kwh(application, year, float(start_s))
        begin_h = (start_s - year.start_s) / HOUR_S
        first = int(begin_h // step_h)
        since_h = begin_h - first * step_h
        steps = 512 + int(2 * lengths_h[-1] / step_h)
        while True:
            trace = np.take(values, np.arange(first, first + steps), mode="wrap")
            clean = trace <= threshold
            hours = _sums(np.where(clean, 1.0, 0.0), step_h)
            wanted_h = _at(hours, since_h / step_h) + needed_h
            if hours[-1] >= wanted_h[-1] or steps > _YEARS * len(values):
                break
            steps *= 4
        after = np.minimum(np.searchsorted(hours, wanted_h - 1e-9), steps)
        end_h = np.where(hours[after] < wanted_h - 1e-9, np.nan, after * step_h - (hours[after] - wanted_h))
        grams = _sums(np.where(clean, trace, 0.0), step_h / 1000.0)
        runtime[k] = end_h - since_h
        carbon[k] = _at(grams, end_h / step_h) - _at(grams, since_h / step_h)
        grams = _sums(trace, step_h / 1000.0)
        agnostic[k] = _at(grams, (since_h + lengths_h) / step_h) - _at(grams, since_h / step_h)
    return Scan(lengths_h, runtime, carbon, agnostic)


def _sums(values: Floats, factor: float) -> Floats:
    """Sum of all values before each step, and of all. [values × factor]"""
    return np.concatenate(([0.0], np.cumsum(values))) * factor


def _at(sums: Floats, steps: Floats | float) -> Floats:
    """The sum up to a point within a step."""
    return np.asarray(np.interp(steps, np.arange(len(sums)), sums))


def fit(application: Application, year: Series, starts_s: Floats, seed: int = 0) -> list[Fit]:
    """All lengths with the paper's mean run-time factor, the most probable first; if there is none, the nearest.

    Several lengths can have the same mean: that of long jobs is made by the few that arrive in the cleanest days of the year, take a
    threshold from them that is rarely met again, and wait for months. The paper's factor is the mean of ten random starts, and of such
    lengths that one is the most probable of which ten random starts give that mean most often.
    """
    whole = scan(application, year, starts_s)
    excess = whole.factor - application.paper_factor
    brackets = [k for k in range(len(excess) - 1) if (excess[k] > 0.0) != (excess[k + 1] > 0.0)]
    roots = [_bisect(application, year, starts_s, *whole.lengths_h[k : k + 2]) for k in brackets]
    if not roots:
        roots = [float(whole.lengths_h[np.argmin(np.abs(excess))])]
    at_roots = scan(application, year, starts_s, np.asarray(roots))
    random = np.random.default_rng(seed)
    fits = []
    for k, job_h in enumerate(roots):
        factors = at_roots.runtime_h[:, k] / job_h
        means = factors[random.integers(0, len(factors), (_SETS, _SET_SIZE))].mean(axis=1)
        near = np.abs(means - application.paper_factor) <= NEAR_RATIO * application.paper_factor
        fits.append(Fit(job_h, float(near.mean()), float(np.median(factors))))
    return sorted(fits, key=lambda one: -one.nearness)


def longest_h(application: Application, year: Series, starts_s: Floats, job_h: float) -> float:
    """The longest that suspend-resume takes from any of the starts. [h]"""
    return float(scan(application, year, starts_s, np.asarray([job_h])).runtime_h.max())


def _bisect(application: Application, year: Series, starts_s: Floats, low_h: float, high_h: float) -> float:
    """The length between two at which the mean factor passes the paper's. [h]"""
    for _ in range(4):
        lengths_h = np.geomspace(low_h, high_h, 9)
        excess = scan(application, year, starts_s, lengths_h).factor - application.paper_factor
        passed: Sequence[int] = [k for k in range(8) if (excess[k] > 0.0) != (excess[k + 1] > 0.0)]
        low_h, high_h = float(lengths_h[passed[0]]), float(lengths_h[passed[0] + 1])
    return (low_h + high_h) / 2.0

"""The least carbon without a battery: the cheapest pieces of power first.

Nothing then ties one step to another but the work, and a step's carbon is a convex function of it. Such a program is solved exactly by
filling pieces in order of grams per core-hour, sun first, until the work is done: no solver is needed, and thousands of starts take
seconds. `linear_program` takes over where there is a battery; both agree where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ecovisor.optimum.speed import SpeedCurve
from ecovisor.optimum.steps import Floats, Steps


@dataclass(frozen=True, slots=True)
class Filled:
    """The cheapest schedule."""

    carbon_g: float
    power_w: Floats
    """One value a step. [W]"""
    reached_core_h: float
    """Work within reach of the sun and the grid; if it is less than asked, there is no schedule. [core-h]"""


def fill_cheapest(curve: SpeedCurve, steps: Steps, work_core_h: float, grid_limit_w: float) -> Filled:
    """Minimise ``Σ I·max(p − solar, 0)·h`` with ``Σ s(p)·h = work`` and ``p ≤ solar + grid limit``.

    Args:
        curve: speed against power, concave.
        steps: intensities known.
        work_core_h: to be done, beyond what takes no power. [core-h]
        grid_limit_w: largest import. [W]
    """
    corners_w = np.array(curve.power_w)
    slope = np.diff(curve.speed_cores) / np.diff(corners_w)
    low_w = steps.job_ratio[:, None] * corners_w[:-1]
    high_w = steps.job_ratio[:, None] * corners_w[1:]
    solar_w = steps.solar_w[:, None]
    high_w = np.maximum(np.minimum(high_w, solar_w + grid_limit_w), low_w)
    free_w = np.clip(solar_w - low_w, 0.0, high_w - low_w)
    paid_w = (high_w - low_w) - free_w

    work_per_w = slope * steps.duration_h[:, None]
    free_work = float((free_w * work_per_w).sum())
    left = work_core_h - free_work
    power_w = free_w.sum(axis=1)
    if left <= 0.0:
        return Filled(0.0, power_w * (work_core_h / free_work if free_work > 0.0 else 0.0), work_core_h)

    g_per_core_h = (steps.intensity_g_per_kwh[:, None] / 1000.0 / slope).ravel()
    paid_work = (paid_w * work_per_w).ravel()
    order = np.argsort(g_per_core_h)
    ends = np.cumsum(paid_work[order])
    whole = int(np.searchsorted(ends, left))
    done = np.zeros(len(order))
    done[order[:whole]] = paid_work[order[:whole]]
    if whole < len(order):
        done[order[whole]] = left - (ends[whole - 1] if whole else 0.0)
    reached = work_core_h if whole < len(order) else work_core_h - left + (float(ends[-1]) if len(ends) else 0.0)
    carbon_g = float(done @ g_per_core_h)
    return Filled(carbon_g, power_w + (done.reshape(paid_w.shape) / work_per_w).sum(axis=1), reached)

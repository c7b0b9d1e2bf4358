"""The time of a bound: its steps, and what is the same throughout each of them.

A step is as long as neither intensity nor sun changes, or as long as one asks. Longer ones are a relaxation: averaging a schedule over a
step keeps every linear constraint, the sun counts with its mean, and the intensity with the least within the step. `merit_order` and
`linear_program` take over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecovisor.model.errors import SeriesError
from ecovisor.model.series import Series
from ecovisor.model.units import iso_utc

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Steps:
    """Columns, one value a step."""

    start_s: Floats
    """[s since the epoch]"""
    duration_h: Floats
    """[h]"""
    intensity_g_per_kwh: Floats
    """The least within the step; NaN where any of it is unknown. [g/kWh]"""
    job_ratio: Floats
    """Part of the step in which the job may run. [0..1]"""
    solar_w: Floats
    """Mean. [W]"""
    others_solar_w: Floats
    """Mean of the sun that is the others', of which the battery may be given what they cannot use. [W]"""

    def __len__(self) -> int:
        return len(self.start_s)


def make_steps(
    carbon: Series,
    *,
    start_s: float,
    job_start_s: float,
    deadline_s: float,
    tick_s: float,
    step_s: float | None,
    solar: Series | None = None,
    solar_share: float = 0.0,
    others_solar_share: float = 0.0,
) -> Steps:
    """Steps from ``start_s`` to the end of the tick in which the deadline lies.

    Args:
        carbon: intensity. [g/kWh]
        start_s: when the app's energy system begins; the sun of the tick before is not there then. [s since the epoch]
        job_start_s, deadline_s: when the job may run.
        tick_s: tick of the simulation; an app has the sun that was collected in the tick before. [s]
        step_s: length of a step, a multiple of the tick; None: from change to change. [s]
        solar: what the site's array collects. [W]
        solar_share, others_solar_share: the app's part of it, and that of all others. [0..1]

    Raises:
        SeriesError: a series does not cover the steps, or has a negative value in them.
    """
    end_s = start_s + math.ceil(round((deadline_s - start_s) / tick_s, 6)) * tick_s
    end_s = max(deadline_s, min(end_s, carbon.end_s))
    _demand_cover(carbon, start_s, end_s)
    if solar is not None:
        _demand_cover(solar, start_s, end_s)
    edges = _edges(start_s, end_s, job_start_s, tick_s, step_s, carbon, solar)
    begin, end = edges[:-1], edges[1:]
    length = end - begin
    none = np.zeros(len(begin))
    collected = none if solar is None else _mean_of_the_tick_before(solar, edges, start_s, tick_s)
    overlap = np.minimum(end, deadline_s) - np.maximum(begin, job_start_s)
    return Steps(
        start_s=begin,
        duration_h=length / 3600.0,
        intensity_g_per_kwh=_least(carbon, begin, end),
        job_ratio=np.clip(overlap / length, 0.0, 1.0),
        solar_w=collected * solar_share,
        others_solar_w=collected * others_solar_share,
    )


def _demand_cover(series: Series, start_s: float, end_s: float) -> None:
    where = f"signals.{series.name}"
    if start_s < series.start_s or end_s > series.end_s:
        raise SeriesError(
            where,
            f"covers {iso_utc(series.start_s)} to {iso_utc(series.end_s)}, the bound needs {iso_utc(start_s)} to {iso_utc(end_s)}",
            "shorten the window, or give a longer trace",
        )


def _demand_no_negative(series: Series, values: Floats) -> None:
    if (values < 0.0).any():
        raise SeriesError(f"signals.{series.name}", f"has a negative value, {np.nanmin(values):g}", "give values of at least 0")


def _edges(
    start_s: float,
    end_s: float,
    job_start_s: float,
    tick_s: float,
    step_s: float | None,
    carbon: Series,
    solar: Series | None,
) -> Floats:
    if step_s is not None:
        count = math.ceil(round((end_s - start_s) / step_s, 6))
        edges = start_s + step_s * np.arange(count + 1, dtype=np.float64)
        edges[-1] = end_s
        return edges
    inside = [_changes(carbon, start_s, end_s, 0.0)]
    if solar is not None:
        inside.append(_changes(solar, start_s, end_s, tick_s))
        inside.append(np.array([start_s + tick_s]))
    if job_start_s > start_s:
        inside.append(np.array([start_s + math.floor((job_start_s - start_s) / tick_s) * tick_s]))
    between = inside[0] if len(inside) == 1 else np.unique(np.concatenate(inside))
    return np.concatenate(([start_s], between[(between > start_s) & (between < end_s)], [end_s]))


def _changes(series: Series, start_s: float, end_s: float, shift_s: float) -> Floats:
    """When the series, shifted, takes another value within ``(start_s, end_s)``."""
    origin_s = series.start_s + shift_s
    first = math.floor((start_s - origin_s) / series.step_s) + 1
    last = math.ceil((end_s - origin_s) / series.step_s) - 1
    numbers = np.arange(max(first, 1), min(last, len(series.values) - 1) + 1)
    values = np.frombuffer(series.values, dtype=np.float64)
    return np.asarray(origin_s + series.step_s * numbers[values[numbers] != values[numbers - 1]])


def _least(series: Series, begin: Floats, end: Floats) -> Floats:
    """The least value within each ``[begin, end)``; NaN where one is unknown."""
    values = np.frombuffer(series.values, dtype=np.float64)
    first = np.floor((begin - series.start_s) / series.step_s + 1e-9).astype(np.intp)
    last = np.ceil((end - series.start_s) / series.step_s - 1e-9).astype(np.intp)
    _demand_no_negative(series, values[first[0] : last[-1]])
    if (last - first == 1).all():
        return values[first]
    width = int((last - first).max())
    index = np.minimum(first[:, None] + np.arange(width), last[:, None] - 1)
    return np.asarray(values[index].min(axis=1))


def _mean_of_the_tick_before(solar: Series, edges: Floats, start_s: float, tick_s: float) -> Floats:
    """Mean of the series over each step, one tick late: 0 before ``start_s + tick_s``; NaN where unknown."""
    first = math.floor((edges[0] - solar.start_s) / solar.step_s)
    last = math.ceil((edges[-1] - solar.start_s) / solar.step_s)
    values = np.frombuffer(solar.values, dtype=np.float64)[first:last]
    _demand_no_negative(solar, values)
    grid_s = solar.start_s + solar.step_s * np.arange(first, last + 1)
    energy = np.concatenate(([0.0], np.cumsum(values * solar.step_s)))
    reached = np.interp(np.maximum(edges - tick_s, start_s), grid_s, energy)
    return np.maximum(np.diff(reached), 0.0) / np.diff(edges)

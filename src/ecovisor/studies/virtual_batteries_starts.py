"""The experiment with virtual batteries from many mornings: what of each run is compared, and what a start consists of.

`virtual_batteries` plays one run; the figures make numbers, claims and pictures of what comes out here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from ecovisor.model.series import Series
from ecovisor.studies.traces import Traces
from ecovisor.studies.virtual_batteries import SPARK, TICK_S, WEB, WORKER_CORES, WORKER_W, Played, Setting, run
from ecovisor.studies.virtual_batteries_inputs import as_apps_come_and_go, covering_peak_w, from_day, with_peak

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Days of sun that starts are drawn from, a run's length at most, and days over which the web application is compared.
SUN_DAYS, RUN_DAYS, WEB_DAYS = 11, 8, 3
REQUEST_DAYS = 4
#: An objective is missed beyond rounding.
_ROUNDING = 1.0 + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What all starts are made of."""

    sun: Series
    """`SUN_DAYS` days by the minute, of the array's size. [W]"""
    daytime: Series
    """Request rate of `REQUEST_DAYS` days, before applications come and go. [1/s]"""

    @property
    def peak_w(self) -> float:
        """Of the array. [W]"""
        return max(self.sun.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One random start."""

    first_day: int
    """Of the sun, from 0."""
    seed: int
    """Of tasks and requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What of a run is compared."""

    elapsed_h: float
    """Of the job, from its first morning to its end, nights included; NaN if it did not end. [h]"""
    by_day_h: float
    """Of the job: hours in which it had workers. [h]"""
    lost_core_h: float
    lost_by_day_core_h: float
    """Between morning and evening: by workers that were not to go. [core-h]"""
    executed_core_h: float
    additional_core_h: float
    """What workers beyond the static ones were worth, at full speed. [core-h]"""
    web_most_workers: float
    web_least_workers: float
    """While there are requests."""
    web_worst_ms: float
    """Largest 95th percentile of a minute with requests. [ms]"""
    web_late_ratio: float
    """Minutes over the objective, of those with requests. [1]"""
    web_busy_ms: float
    """Median 95th percentile in the busiest tenth of the minutes. [ms]"""
    import_wh: float
    """From the grid, by both applications, to load and battery. [Wh]"""
    carbon_g: float
    unserved_wh: float
    residual_wh: float
    """Largest difference of any tick between the sum of all virtual levels, with the solar buffer, and the physical level. [Wh]"""


def inputs(traces: Traces, setting: Setting) -> Inputs:
    """The traces, and the array sized to them. Raises `SeriesError` where a trace cannot be had."""
    sun = traces.solar_days(SUN_DAYS, 100.0)
    peak_w = covering_peak_w(sun, setting.static_workers * WORKER_W, setting.evening_h - setting.morning_h, 0.5, setting.battery)
    daytime = traces.requests_daytime(setting.mean_per_s, days=REQUEST_DAYS, from_h=setting.morning_h, to_h=setting.evening_h)
    return Inputs(sun=with_peak(sun, peak_w), daytime=daytime)


def starts(count: int, seed: int) -> list[Start]:
    """Random starts: all first days before any comes again, and a seed of its own for each."""
    chance = Random(f"virtual-batteries/days/{seed}")
    days: list[int] = []
    while len(days) < count:
        days += chance.sample(range(SUN_DAYS), SUN_DAYS)
    seeds = Random(f"virtual-batteries/seeds/{seed}")
    return [Start(first_day=day, seed=seeds.randrange(2**31)) for day in days[:count]]


def play(setting: Setting, given: Inputs, start: Start, *, dynamic: bool, least_days: int = WEB_DAYS) -> Played:
    """Both applications from one start, until the job has ended."""
    return run(
        setting,
        from_day(given.sun, start.first_day, RUN_DAYS),
        as_apps_come_and_go(given.daytime, start.seed, RUN_DAYS),
        dynamic=dynamic,
        days=RUN_DAYS,
        seed=start.seed,
        least_days=least_days,
    )


def play_spark(setting: Setting, given: Inputs, start: Start, *, dynamic: bool) -> Played:
    """The job alone: what the other application does changes nothing for it, as each is settled as if alone."""
    solar = from_day(given.sun, start.first_day, RUN_DAYS)
    return run(setting, solar, None, dynamic=dynamic, days=RUN_DAYS, seed=start.seed)


def play_web(setting: Setting, given: Inputs, start: Start, *, dynamic: bool, start_minutes: int | None = None) -> Played:
    """The web application alone, over the days in which it is compared."""
    options = {} if start_minutes is None else {"start_minutes": start_minutes}
    return run(
        setting,
        from_day(given.sun, start.first_day, WEB_DAYS),
        as_apps_come_and_go(given.daytime, start.seed, WEB_DAYS, **options),
        dynamic=dynamic,
        days=WEB_DAYS,
        seed=None,
    )


def outcome(played: Played, setting: Setting) -> Outcome:
    """What of a run with both applications is compared."""
    assert played.job is not None, "both applications ran"
    hours_h = TICK_S / 3600.0
    flows = [played.tables.of("flows", app=name) for name in (SPARK, WEB)]
    web = web_outcome(played, setting)
    return Outcome(
        elapsed_h=elapsed_h(played),
        by_day_h=by_day_h(played),
        lost_core_h=played.job.lost_core_h,
        lost_by_day_core_h=_lost_by_day_core_h(played, setting),
        executed_core_h=played.job.executed_core_h,
        additional_core_h=additional_core_h(played, setting),
        web_most_workers=web["most_workers"],
        web_least_workers=web["least_workers"],
        web_worst_ms=web["worst_ms"],
        web_late_ratio=web["late_ratio"],
        web_busy_ms=web["busy_ms"],
        import_wh=sum(float((one["grid_to_load_w"] + one["grid_to_battery_w"]).sum()) for one in flows) * hours_h,
        carbon_g=sum(float(one["carbon_g"].sum()) for one in flows),
        unserved_wh=sum(float(one["unserved_w"].sum()) for one in flows) * hours_h,
        residual_wh=float(np.abs(residual_wh(played)).max()),
    )


def elapsed_h(played: Played) -> float:
    """From the job's start to its end; NaN if it did not end. [h]"""
    assert played.job is not None, "there is a job"
    return (played.job.completed_s - played.job.start_s) / 3600.0


def by_day_h(played: Played) -> float:
    """Time in which the job had workers. [h]"""
    assert played.spark is not None, "there is a job"
    return float((played.spark.column("workers") > 0.0).sum() * TICK_S / 3600.0)


def lost_core_h(played: Played) -> float:
    """Work whose results died with their workers. [core-h]"""
    assert played.job is not None, "there is a job"
    return played.job.lost_core_h


def _lost_by_day_core_h(played: Played, setting: Setting) -> float:
    assert played.spark is not None, "there is a job"
    lost = np.diff(played.spark.column("lost_core_h"), prepend=0.0)
    hour_h = np.arange(len(lost)) * TICK_S / 3600.0 % 24.0
    return float(lost[(hour_h >= setting.morning_h) & (hour_h < setting.evening_h)].sum())


def additional_core_h(played: Played, setting: Setting) -> float:
    """What workers beyond the static ones were worth, at full speed. [core-h]"""
    assert played.spark is not None, "there is a job"
    additional = np.maximum(played.spark.column("workers") - setting.static_workers, 0.0)
    return float(additional.sum() * TICK_S / 3600.0 * WORKER_CORES)


def lasting_percent(lost: float, additional: float) -> float:
    """Part of the additional workers' work that lasts, if every loss of the run was theirs. [%]"""
    return 100.0 * max(0.0, 1.0 - lost / additional) if additional > 0.0 else math.nan


def web_outcome(played: Played, setting: Setting) -> Mapping[str, float]:
    """What of the web application is compared, over its days."""
    assert played.web is not None, "there is a web application"
    ticks = WEB_DAYS * 1440
    rate, p95_ms, workers = (played.web.column(name)[:ticks] for name in ("requests_per_s", "p95_ms", "workers"))
    awake = rate > 0.0
    rate, p95_ms, workers = rate[awake], p95_ms[awake], workers[awake]
    return {
        "most_workers": float(workers.max()),
        "least_workers": float(workers.min()),
        "worst_ms": float(p95_ms.max()),
        "late_ratio": float((p95_ms > setting.slo_ms * _ROUNDING).mean()),
        "busy_ms": float(np.median(p95_ms[rate >= np.quantile(rate, 0.9)])),
    }


def residual_wh(played: Played) -> Floats:
    """Sum of all virtual levels and of the solar buffer, less the physical level, tick by tick. [Wh]"""
    flows, site = played.tables.flows, played.tables.site
    total = np.zeros(len(site["time"]))
    for name in sorted(set(flows["app"])):
        total += flows["battery_level_wh"][flows["app"] == name]
    return np.asarray(total + site["buffer_wh"] - site["physical_level_wh"])


def mean_and_spread(values: Any) -> tuple[float, float]:
    """Mean and standard deviation; NaN if any is."""
    numbers = np.array(values, dtype=float)
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0


def percent(ratio: float) -> str:
    """A ratio for people."""
    return f"{100.0 * ratio:.0f} %"


def change_percent(after: float, before: float) -> float:
    """How much larger ``after`` is than ``before``. [%]"""
    return 100.0 * (after / before - 1.0) if before else math.nan


def with_array(given: Inputs, factor: float) -> Inputs:
    """The same sun on an array of another size."""
    return replace(given, sun=with_peak(given.sun, given.peak_w * factor))

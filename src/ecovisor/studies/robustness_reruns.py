"""The robustness study with one factor changed: what its findings are due to, and how far they carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.library.forecasts import ColumnForecaster, DayBeforeForecaster, PerfectForecaster
from ecovisor.model.series import Series
from ecovisor.studies.findings import Rerun
from ecovisor.studies.robustness_forecasts import DAY_AHEAD, DAY_BEFORE, PERFECT, lengthened
from ecovisor.studies.robustness_results import Results
from ecovisor.studies.robustness_runs import (
    AGNOSTIC,
    CALIFORNIA,
    JOB_H,
    SUSPEND_RESUME,
    TAIL_H,
    THRICE,
    WINDOW_H,
    YEAR,
    Experiment,
    Jobs,
    run_jobs,
)
from ecovisor.studies.study import Context

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LONG_JOB_H = 48.0


def reruns_of(context: Context, years: Mapping[str, Series], arrivals: Sequence[Floats], results: Results) -> list[Rerun]:
    """All of them.

    Args:
        context: of the study.
        years: each zone's intensity, lengthened. [g/kWh]
        arrivals: of each month. [s since the epoch]
        results: of the study itself.
    """
    found = [_scaling(years, arrivals, results), _length(years, arrivals, results), _refresh(years, arrivals, results)]
    return found if context.traces.modelled else [*found, _direct(context, arrivals, results)]


def _scaling(years: Mapping[str, Series], arrivals: Sequence[Floats], results: Results) -> Rerun:
    flattest = min(years, key=lambda zone: float(results.cv[zone].mean()))
    changed = Experiment(scales_perfectly=True)
    jobs = run_jobs(years[flattest], PerfectForecaster(years[flattest]), arrivals, (AGNOSTIC, THRICE), changed)
    after = _saved(jobs, THRICE)
    return Rerun(
        name="Where intensity hardly varies, scaling up training costs carbon, even with a perfect forecast, and more at 3× than at 2×",
        changed=f"a job that is three times as fast on three times the cores ({flattest}, Wait&Scale 3×, perfect forecast)",
        before=100.0 * float(results.saved_by_zone(THRICE, PERFECT)[list(years).index(flattest)]),
        after=after,
        unit="%",
        conclusion="The cost is the energy of training's imperfect scaling; a job that scales perfectly has none.",
    )


def _length(years: Mapping[str, Series], arrivals: Sequence[Floats], results: Results) -> Rerun:
    saved = []
    for year in years.values():
        jobs = run_jobs(year, PerfectForecaster(year), arrivals, (AGNOSTIC, SUSPEND_RESUME), Experiment(job_h=_LONG_JOB_H))
        saved.append(_saved(jobs, SUSPEND_RESUME))
    return Rerun(
        name="suspend-resume, perfect forecast: carbon saved, mean of all zones and months",
        changed=f"jobs of {_LONG_JOB_H:g} h instead of {JOB_H:g} h",
        before=100.0 * float(results.saved_by_zone(SUSPEND_RESUME, PERFECT).mean()),
        after=float(np.mean(saved)),
        unit="%",
        conclusion="Longer jobs save somewhat more: the finding does not hang on short ones.",
    )


def _refresh(years: Mapping[str, Series], arrivals: Sequence[Floats], results: Results) -> Rerun:
    delays_h = []
    for year in years.values():
        jobs = run_jobs(year, DayBeforeForecaster(year), arrivals, (AGNOSTIC, SUSPEND_RESUME), Experiment(refresh="24h"))
        delays_h.append(float(np.nanmean(jobs.runtime_h[SUSPEND_RESUME] - jobs.runtime_h[AGNOSTIC])))
    return Rerun(
        name="What a worse forecast costs is time: jobs are delayed longer with any of them than with a perfect one",
        changed="the threshold taken anew every 24 h (suspend-resume, forecast of the day before)",
        before=float(results.delay_by_zone_h(SUSPEND_RESUME, DAY_BEFORE).mean()),
        after=float(np.mean(delays_h)),
        unit="h",
        conclusion="Much of the delay is a threshold that was taken once and turned out too low for the days that came.",
    )


def _direct(context: Context, arrivals: Sequence[Floats], results: Results) -> Rerun:
    seen, told = (lengthened(one, TAIL_H + WINDOW_H) for one in context.traces.carbon_with_day_ahead(YEAR))
    perfect = run_jobs(seen, PerfectForecaster(seen), arrivals, (AGNOSTIC, SUSPEND_RESUME), Experiment())
    real = run_jobs(seen, ColumnForecaster(told), arrivals, (SUSPEND_RESUME,), Experiment())
    kept = 100.0 * float(
        np.nanmean(1.0 - real.carbon_g[SUSPEND_RESUME] / perfect.carbon_g[AGNOSTIC]) / (_saved(perfect, SUSPEND_RESUME) / 100.0)
    )
    place = results.zones.index(CALIFORNIA)
    before = [results.saved_by_zone(SUSPEND_RESUME, forecast)[place] for forecast in (DAY_AHEAD, PERFECT)]
    return Rerun(
        name="A day-ahead forecast keeps 90 % and more of what a perfect one saves (suspend-resume, Wait&Scale 2×)",
        changed="California's direct emissions with their forecast as published, instead of life-cycle ones with its error transferred",
        before=100.0 * float(before[0] / before[1]),
        after=kept,
        unit="%",
        conclusion="The part that is kept (suspend-resume) does not hang on how the error was carried over.",
    )


def _saved(jobs: Jobs, policy: str) -> float:
    """Mean carbon saved. [%]"""
    return 100.0 * float(np.nanmean(1.0 - jobs.carbon_g[policy] / jobs.carbon_g[AGNOSTIC]))

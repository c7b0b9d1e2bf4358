"""The runs of the robustness study: every policy in one zone under one forecast, a job at each of many arrivals a month.

Owns the jobs, the battery and how they are run: a month's jobs under all policies are apps of one run, so a zone's year is twelve runs and
one for the battery. `robustness` says in which zones, and what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.adapters.stores.in_memory import InMemoryTables
from ecovisor.assembly.simulation import simulate
from ecovisor.model.series import Series
from ecovisor.model.units import iso_utc
from ecovisor.ports import Forecaster
from ecovisor.settings import App, Battery, Policy, Run, Scenario, Server, Site, Workload
from ecovisor.workloads.training import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOUR_S, DAY_S = 3600.0, 86400.0
SERVER, SERVER_CORES, FULL_W = "microserver", 4.0, 5.0
AGNOSTIC, SUSPEND_RESUME, TWICE, THRICE, ARBITRAGE = (
    "carbon-agnostic",
    "suspend-resume",
    "wait-and-scale-2",
    "wait-and-scale-3",
    "battery-arbitrage",
)
WAITING = (SUSPEND_RESUME, TWICE, THRICE)
POLICIES = (*WAITING, ARBITRAGE)
YEAR = 2022
#: The zone whose day-ahead forecast is known.
CALIFORNIA = "US-CAL-CISO"
JOB_H = 12.0
PERCENT, WINDOW_H = 30.0, 48
#: How long a job may take before it counts as not done, beyond the month that it arrives in. [h]
TAIL_H = 14 * 24
_TICK_S = 1800.0
#: Hours of demand that the battery's usable part holds.
BATTERY_H = 4.0
_EMPTY_RATIO = 0.3
MONTHS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is varied by reruns."""

    job_h: float = JOB_H
    """Length of the job on its base server. [h]"""
    refresh: str | None = None
    """Take the threshold of waiting policies anew so often; None: once, at arrival, as the paper does."""
    scales_perfectly: bool = False
    """On twice the cores twice as fast, instead of as training is."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """Jobs of a zone's year under one forecast: arrays of months × arrivals, by policy."""

    carbon_g: dict[str, Floats]
    """NaN where the job was not done in time. [g]"""
    runtime_h: dict[str, Floats]
    """[h]"""


def month_starts_s(year: int) -> list[float]:
    """Starts of the months of a year, and of the next one. [s since the epoch]"""
    return [datetime(year + month // MONTHS, month % MONTHS + 1, 1, tzinfo=UTC).timestamp() for month in range(MONTHS + 1)]


def arrivals_s(year: int, count: int, seed: int) -> list[Floats]:
    """Arrivals in each month: one in each of so many equal parts of it, at a random whole hour, none in its first day. [s]"""
    random = np.random.default_rng([seed, year])
    bounds = month_starts_s(year)
    found = []
    for start_s, end_s in pairwise(bounds):
        hours = (end_s - start_s) / HOUR_S - 24.0
        parts = (np.arange(count) + random.random(count)) * hours / count
        found.append(start_s + DAY_S + np.floor(parts) * HOUR_S)
    return found


def run_jobs(
    year: Series, forecaster: Forecaster, arrivals: Sequence[Floats], policies: Sequence[str], experiment: Experiment
) -> Jobs:
    """Simulate a job at each arrival under each policy, alone on an unlimited grid connection.

    Args:
        year: carbon intensity, longer than the year by the tail. [g/kWh]
        forecaster: what the policies are told.
        arrivals: of each month. [s since the epoch]
        policies: to run.
        experiment: the job, and how often thresholds are taken.
    """
    shape = (len(arrivals), len(arrivals[0]))
    jobs = Jobs({name: np.full(shape, np.nan) for name in policies}, {name: np.full(shape, np.nan) for name in policies})
    for month, starts in enumerate(arrivals):
        begin_s = starts[0] - HOUR_S
        hours = int((starts[-1] - begin_s) / HOUR_S) + TAIL_H
        scenario = Scenario(
            schema=1,
            site=Site(server=Server(preset=SERVER)),
            apps=[_job(name, k, start_s, experiment) for k, start_s in enumerate(starts) for name in policies],
            run=Run(start=iso_utc(begin_s), duration=f"{hours}h", tick=f"{_TICK_S:g}s", record="totals", baseline=False),
        )
        result = simulate(scenario, Path(), series={"carbon": year}, forecasts={"carbon": forecaster}, compiled=_compiled())
        apps = iter(result.summary.apps)
        for k in range(len(starts)):
            for name in policies:
                app = next(apps)
                if app.runtime_s is not None:
                    jobs.carbon_g[name][month, k] = app.carbon_g
                    jobs.runtime_h[name][month, k] = app.runtime_s / HOUR_S
    return jobs


def run_battery(year: Series, forecaster: Forecaster, first_year: int) -> tuple[Floats, Floats]:
    """A server at full load all year with and without a battery that does arbitrage: carbon of each month. [g]

    Returns:
        With the battery, and without.
    """
    bounds = month_starts_s(first_year)
    constant = Workload(kind="constant", demand_w=FULL_W)
    policy = Policy(kind=ARBITRAGE, window="24h", refresh="24h")
    capacity_wh = BATTERY_H * FULL_W / (1.0 - _EMPTY_RATIO)
    scenario = Scenario(
        schema=1,
        site=Site(server=Server(preset=SERVER), battery=Battery(capacity_wh=capacity_wh, empty_ratio=_EMPTY_RATIO)),
        apps=[
            App(name=ARBITRAGE, share=1.0, cores=SERVER_CORES, workload=constant, policy=policy),
            App(name=AGNOSTIC, cores=SERVER_CORES, workload=constant),
        ],
        run=Run(start=iso_utc(bounds[0]), end=iso_utc(bounds[-1]), tick="1h", baseline=False),
    )
    tables = InMemoryTables()
    simulate(scenario, Path(), series={"carbon": year}, forecasts={"carbon": forecaster}, sink=tables, compiled=_compiled())

    def by_month(app: str) -> Floats:
        rows = tables.of("flows", app=app)
        month = np.searchsorted(bounds, rows["time"], side="right") - 1
        return np.asarray(np.bincount(month, rows["carbon_g"], MONTHS), dtype=np.float64)

    return by_month(ARBITRAGE), by_month(AGNOSTIC)


def _job(policy: str, number: int, start_s: float, experiment: Experiment) -> App:
    if policy == AGNOSTIC:
        settings = Policy(kind=AGNOSTIC)
    else:
        settings = Policy(
            kind=SUSPEND_RESUME if policy == SUSPEND_RESUME else "wait-and-scale",
            scale={TWICE: 2.0, THRICE: 3.0}.get(policy),
            percentile=PERCENT,
            window=f"{WINDOW_H}h",
            refresh=experiment.refresh,
        )
    work = Workload(
        kind="batch" if experiment.scales_perfectly else "training",
        work_core_hours=experiment.job_h * SERVER_CORES,
        start=iso_utc(start_s),
        options={} if experiment.scales_perfectly else asdict(Training()),
    )
    return App(name=f"{policy}.{number}", cores=SERVER_CORES, workload=work, policy=settings)


def _compiled() -> bool | None:
    """Machine code wherever there is any: many small runs share the time that it takes to load."""
    from importlib.util import find_spec

    return True if find_spec("numba") is not None else None

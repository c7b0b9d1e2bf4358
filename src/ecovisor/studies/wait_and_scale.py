"""Wait&Scale and what it is compared with, over many arrivals (Ecovisor paper, section 5.1): the two applications, and how they are run.

Owns the experiment; `wait_and_scale_lengths` says how long a job is, `wait_and_scale_numbers` what to compare, `figure4` and `figure5`
what of it is shown.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecovisor.assembly.simulation import simulate
from ecovisor.library.intervals import percentile
from ecovisor.model.series import Series
from ecovisor.model.units import iso_utc
from ecovisor.settings import App, Policy, Run, Scenario, Server, Site, Workload
from ecovisor.workloads.task_queue import TaskQueue
from ecovisor.workloads.training import Training

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

HOUR_S, DAY_S = 3600.0, 86400.0
AGNOSTIC, SUSPEND_RESUME = "carbon-agnostic", "suspend-resume"
#: The server that the paper's prototype consists of: four cores, 1.35 W idle, 5 W at full load (section 4).
SERVER, SERVER_CORES, IDLE_W, FULL_W = "microserver", 4.0, 1.35, 5.0
#: Between the starts of the whole year: 37 quarters of an hour, so that every quarter of the day and of the week is met equally often.
YEAR_EVERY_S = 37 * 900.0
#: Starts that are simulated together: enough for the compiled loop to pay, few enough for their jobs not to wait long for the last.
_STARTS_AT_ONCE = 160


def scaled(factor: float) -> str:
    """The name of Wait&Scale with a scale factor, for tables and apps."""
    return f"wait-and-scale-{factor:g}"


def title_of(policy: str) -> str:
    """A policy's name for people."""
    factor = policy.removeprefix("wait-and-scale-")
    return policy if factor == policy else f"Wait&Scale {factor}×"


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One of the paper's two applications, and the thresholds of its policies."""

    name: str
    title: str
    workload: Training | TaskQueue
    cores: float
    """Base, on which carbon-agnostic and suspend-resume run it. [cores]"""
    factors: tuple[float, ...]
    """Of Wait&Scale."""
    percent: float
    """Percentile of carbon intensity that is the threshold."""
    window_h: float | None
    """From the job's arrival; None: the whole trace. [h]"""
    paper_factor: float
    """Run time under suspend-resume over that under the carbon-agnostic policy, in the paper; the job's length is fitted to it. [1]"""

    @property
    def policies(self) -> tuple[str, ...]:
        """All that are compared, the paper's first."""
        return (AGNOSTIC, SUSPEND_RESUME, *(scaled(factor) for factor in self.factors))

    @property
    def factor_of(self) -> dict[str, float]:
        """The most of its base cores that each policy runs on. [1]"""
        return dict(zip(self.policies, (1.0, 1.0, *self.factors), strict=True))

    def speed_up(self, factor: float) -> float:
        """Speed on ``factor`` times the base cores over that on the base. [1]"""
        cores, speed = zip(*self.workload.speed_table(), strict=True)
        at = [float(np.interp(self.cores * k, (0.0, *cores), (0.0, *speed))) for k in (1.0, factor)]
        return at[1] / at[0]

    def power_w(self, factor: float) -> float:
        """Power on ``factor`` times the base cores: idle while workers wait for each other or for tasks, where they do. [W]"""
        cores = self.cores * factor
        idles = self.workload.idle_when_waiting if isinstance(self.workload, Training) else self.workload.idle_when_starved
        load = self.speed_up(factor) / factor if idles else 1.0
        return cores / SERVER_CORES * (IDLE_W + (FULL_W - IDLE_W) * load)


TRAINING = Application(
    name="training",
    title="ML training",
    workload=Training(),
    cores=4.0,
    factors=(2.0, 3.0),
    percent=30.0,
    window_h=48.0,
    paper_factor=7.4,
)
SEARCH = Application(
    name="blast",
    title="BLAST",
    workload=TaskQueue(),
    cores=8.0,
    factors=(2.0, 3.0, 4.0),
    percent=33.0,
    window_h=None,
    paper_factor=5.1,
)
APPLICATIONS = (TRAINING, SEARCH)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of one application's jobs, one value a start."""

    starts_s: Floats
    """[s since the epoch]"""
    runtime_h: Mapping[str, Floats]
    """By policy, from arrival to completion; NaN where the simulation ended before. [h]"""
    carbon_g: Mapping[str, Floats]
    """By policy; NaN where the job is not complete. [g]"""

    def only(self, chosen: slice) -> Outcomes:
        """Some of the starts."""
        return Outcomes(
            self.starts_s[chosen],
            {policy: values[chosen] for policy, values in self.runtime_h.items()},
            {policy: values[chosen] for policy, values in self.carbon_g.items()},
        )

    @property
    def unfinished(self) -> int:
        """Jobs that were not complete when the simulation ended."""
        return int(sum(np.isnan(values).sum() for values in self.runtime_h.values()))


def repeated(year: Series, times: int) -> Series:
    """The same year again and again, so that a job that arrives at its end finds a trace to run on."""
    origin = f"{year.origin}; repeated after its end"
    return replace(year, values=array("d", [*year.values] * times), origin=origin)


def threshold_g_per_kwh(application: Application, year: Series, start_s: float) -> float:
    """What the application's policies compare with. [g/kWh]"""
    if application.window_h is None:
        return percentile(year.values, application.percent)
    first = int((start_s - year.start_s) // year.step_s)
    last = int(np.ceil((start_s - year.start_s) / year.step_s + application.window_h * HOUR_S / year.step_s))
    return percentile([year.values[k % len(year.values)] for k in range(first, last)], application.percent)


def apps_of(application: Application, job_h: float, start_s: float, year: Series, suffix: str) -> list[App]:
    """One job under each policy, as apps of a scenario."""
    threshold: dict[str, Any] = (
        {"percentile": application.percent, "window": f"{application.window_h:g}h"}
        if (application.window_h is not None)
        else {"threshold_g_per_kwh": threshold_g_per_kwh(application, year, start_s)}
    )
    policies = {
        AGNOSTIC: Policy(kind="carbon-agnostic"),
        SUSPEND_RESUME: Policy(kind="suspend-resume", **threshold),
        **{scaled(factor): Policy(kind="wait-and-scale", scale=factor, **threshold) for factor in application.factors},
    }
    workload = Workload(
        kind="training" if isinstance(application.workload, Training) else "task-queue",
        work_core_hours=job_h * application.cores,
        start=iso_utc(start_s),
        options=asdict(application.workload),
    )
    return [
        App(
            name=f"{application.name}.{policy}{suffix}",
            containers=round(application.cores / SERVER_CORES),
            cores=SERVER_CORES,
            workload=workload,
            policy=settings,
        )
        for policy, settings in policies.items()
    ]


def run_starts(
    application: Application,
    job_h: float,
    year: Series,
    starts_s: Sequence[float] | Floats,
    *,
    tick_s: float,
    longest_h: float,
    progress: Callable[[float], None] = lambda _done_ratio: None,
) -> Outcomes:
    """Simulate a job at each start under each policy, alone on an unlimited grid connection.

    Args:
        application: what runs.
        job_h: length of the job on its base cores. [h]
        year: carbon intensity, repeated after its end. [g/kWh]
        starts_s: arrivals, at whole ticks, rising. [s since the epoch]
        tick_s: length of a tick. [s]
        longest_h: how long each may take at most; what is not complete then is NaN. [h]
        progress: told the part that is done.

    Raises:
        InputError: the trace cannot be used.
    """
    starts = np.asarray(starts_s, dtype=np.float64)
    times = 1 + int(np.ceil((starts[-1] + longest_h * HOUR_S + DAY_S - year.end_s) / (year.end_s - year.start_s)))
    trace = repeated(year, max(times, 1))
    policies = application.policies
    runtime_h = {policy: np.full(len(starts), np.nan) for policy in policies}
    carbon_g = {policy: np.full(len(starts), np.nan) for policy in policies}
    for first in range(0, len(starts), _STARTS_AT_ONCE):
        chunk = starts[first : first + _STARTS_AT_ONCE]
        begin_s = chunk[0] // HOUR_S * HOUR_S
        hours = np.ceil((chunk[-1] - begin_s) / HOUR_S + longest_h) + 1.0
        scenario = Scenario(
            schema=1,
            site=Site(server=Server(preset=SERVER)),
            apps=[app for k, start_s in enumerate(chunk) for app in apps_of(application, job_h, start_s, year, f".{k}")],
            run=Run(start=iso_utc(begin_s), duration=f"{hours:.0f}h", tick=f"{tick_s:.0f}s", record="totals", baseline=False),
        )
        apps = iter(simulate(scenario, Path(), series={"carbon": trace}).summary.apps)
        for k in range(first, first + len(chunk)):
            for policy in policies:
                app = next(apps)
                if app.runtime_s is not None:
                    runtime_h[policy][k] = app.runtime_s / HOUR_S
                    carbon_g[policy][k] = app.carbon_g
        progress(min(1.0, (first + len(chunk)) / len(starts)))
    return Outcomes(starts, runtime_h, carbon_g)


def random_starts_s(year: Series, count: int, seed: int, step_s: float = 300.0) -> Floats:
    """Arrivals drawn evenly from a year, rising, at whole steps. [s since the epoch]"""
    steps = int((year.end_s - year.start_s) // step_s)
    drawn = np.random.default_rng(seed).integers(0, steps, count)
    return np.asarray(year.start_s + step_s * np.sort(drawn), dtype=np.float64)


def even_starts_s(year: Series, every_s: float) -> Floats:
    """Arrivals over the whole year, evenly. [s since the epoch]"""
    return np.arange(year.start_s, year.end_s, every_s, dtype=np.float64)


def with_idle_while_waiting(application: Application, outcomes: Outcomes, year: Series) -> Outcomes:
    """The same, with the idle power of the base servers counted from arrival to completion also while the job waits.

    The simulation lets containers that are suspended draw nothing; here their servers stay on. What runs does so at one power, so the
    intensity summed over the time of running is the job's carbon over that power.
    """
    step_h = year.step_s / HOUR_S
    idle_w = application.cores / SERVER_CORES * IDLE_W
    longest_h = max(float(np.nanmax(values)) for values in outcomes.runtime_h.values())
    begin_h = (outcomes.starts_s - year.start_s) / HOUR_S
    steps = int(np.ceil((begin_h[-1] + longest_h) / step_h)) + 1
    trace = np.take(np.asarray(year.values), np.arange(steps), mode="wrap")
    sums = np.concatenate(([0.0], np.cumsum(trace))) * step_h / 1000.0
    edges_h = np.arange(steps + 1) * step_h
    carbon_g = {}
    for policy, ran_g in outcomes.carbon_g.items():
        whole = np.interp(begin_h + outcomes.runtime_h[policy], edges_h, sums) - np.interp(begin_h, edges_h, sums)
        running = ran_g / application.power_w(application.factor_of[policy])
        carbon_g[policy] = ran_g + idle_w * (whole - running)
    return replace(outcomes, carbon_g=carbon_g)

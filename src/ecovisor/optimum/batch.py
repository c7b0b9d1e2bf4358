"""The bound of a batch job: what is asked, checked first, then solved.

`speed` says how fast the job can be, `steps` when, `merit_order` and `linear_program` find the cheapest way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ecovisor.model.errors import Infeasible, InputError
from ecovisor.model.series import Series
from ecovisor.model.units import human_duration, iso_utc
from ecovisor.optimum.bound import AppBattery, Bound, NoBound, Schedule
from ecovisor.optimum.linear_program import Pieces, build, build_supply, certified_g, most_work
from ecovisor.optimum.merit_order import fill_cheapest
from ecovisor.optimum.solver import solve
from ecovisor.optimum.speed import SpeedCurve, speed_curve
from ecovisor.optimum.steps import Floats, Steps, make_steps
from ecovisor.presets import ServerParameters
from ecovisor.workloads.batch import COMPLETION_RATIO
from ecovisor.workloads.models import BatchJob

INFINITY = float("inf")
#: Work that is out of reach by this part of it is a matter of rounding.
ROUNDING_RATIO = 1e-9


@dataclass(frozen=True, slots=True)
class _Found:
    """What was found in one way or the other."""

    carbon_g: float
    gap_g: float
    reached_core_h: float
    """Work that can be done; less than asked: infeasible. [core-h]"""
    solver: str
    status: str
    schedule: Schedule


class BatchOptimum:
    """The bounds of one job on one supply, for any number of starts: what does not depend on the window is made once.

    Args:
        job: the work and its scaling curve; its start and deadline are those of `bound`.
        cores: cores of the app at scale 1.
        max_scale: the bound holds for policies that run at most ``cores × max_scale`` at once.
        server: what the cores draw.
        carbon: intensity. [g/kWh]
        tick_s: tick of the simulation that is bounded; it divides the series' steps. [s]
        step_s: length of the program's steps, a multiple of the tick; None: from change to change of the series. [s]
        solar: what the site's array collects; an app has it one tick later. [W]
        solar_share: the app's part of it. [0..1]
        others_solar_share: part of the others, where the site shares excess sun among batteries. [0..1]
        battery: the app's.
        grid_limit_w: the app's part of the grid connection. [W]

    Raises:
        InputError: a value that makes no sense; nothing is solved before.
    """

    def __init__(
        self,
        job: BatchJob,
        *,
        cores: float,
        max_scale: float = 1.0,
        server: ServerParameters,
        carbon: Series,
        tick_s: float = 60.0,
        step_s: float | None = None,
        solar: Series | None = None,
        solar_share: float = 1.0,
        others_solar_share: float = 0.0,
        battery: AppBattery | None = None,
        grid_limit_w: float = INFINITY,
    ) -> None:
        _check("cores × max_scale", cores * max_scale, above=0.0)
        _check("job.work_core_h", job.work_core_h, least=0.0)
        _check("tick_s", tick_s, above=0.0)
        _check("grid_limit_w", grid_limit_w, least=0.0, most=INFINITY)
        _check("solar_share + others_solar_share", solar_share + others_solar_share, least=0.0, most=1.0 + 1e-9)
        if step_s is not None and not (step_s >= tick_s and _whole(step_s / tick_s)):
            raise InputError("optimum: step_s", f"{step_s:g} s is no multiple of the tick of {tick_s:g} s", "choose one that is")
        self.job = job
        self.cores = cores * max_scale
        self.server = server
        self.carbon = carbon
        self.tick_s = tick_s
        self.step_s = step_s
        self.solar = solar
        self.solar_share = solar_share if solar is not None else 0.0
        self.others_solar_share = others_solar_share if solar is not None else 0.0
        self.battery = battery if battery is not None and battery.capacity_wh > 0.0 else None
        self.grid_limit_w = grid_limit_w
        self.curve: SpeedCurve = speed_curve(job, self.cores, server)

    def bound(
        self, start_s: float, deadline_s: float, *, job_start_s: float | None = None, work_core_h: float | None = None
    ) -> Bound | NoBound:
        """The least carbon between two instants.

        Args:
            start_s: when the app's energy system begins, with the battery's initial level and no sun yet. [s since the epoch]
            deadline_s: when the work must be done. [s since the epoch]
            job_start_s: the job may run from here; None: from ``start_s``. [s since the epoch]
            work_core_h: other than the job's. [core-h]

        Raises:
            Infeasible: the work cannot be done in the window; the message names what is short.
            SeriesError: a series does not cover the window.
        """
        begin_s = start_s if job_start_s is None else max(job_start_s, start_s)
        work_core_h = self.job.work_core_h if work_core_h is None else work_core_h
        _check_window(begin_s, deadline_s)
        self._check_time(work_core_h, begin_s, deadline_s)
        steps = make_steps(
            self.carbon,
            start_s=start_s,
            job_start_s=begin_s,
            deadline_s=deadline_s,
            tick_s=self.tick_s,
            step_s=self.step_s,
            solar=self.solar,
            solar_share=self.solar_share,
            others_solar_share=self.others_solar_share if self.battery is not None else 0.0,
        )
        if unknown := _unknown(steps):
            return NoBound(unknown)
        asked = max(work_core_h - self._unpowered_core_h(steps), 0.0)
        # A simulated job is complete a little earlier, see `COMPLETION_RATIO`.
        asked *= 1.0 - COMPLETION_RATIO
        if self.battery is None or asked <= 0.0 or self.curve.most_power_w <= 0.0:
            found = self._without_battery(steps, asked)
        else:
            found = self._with_battery(steps, self.battery, asked)
        if found.reached_core_h < asked * (1.0 - ROUNDING_RATIO):
            raise Infeasible(
                f"the work of {work_core_h:g} core-h needs more power than "
                f"{'sun and grid' if self.battery is None else 'sun, battery and grid'} give: "
                f"at most {found.reached_core_h + work_core_h - asked:.4g} core-h can be done until {iso_utc(deadline_s)}; "
                "give larger shares or a later deadline",
                found.reached_core_h,
            )
        return Bound(
            carbon_g=found.carbon_g,
            work_core_h=work_core_h,
            cores=self.cores,
            start_s=start_s,
            deadline_s=deadline_s,
            resolution_s=float(steps.duration_h.max()) * 3600.0,
            relaxations=self._relaxations(steps),
            solver=found.solver,
            status=found.status,
            gap_g=found.gap_g,
            schedule=found.schedule,
        )

    def _unpowered_core_h(self, steps: Steps) -> float:
        """Work that takes no power: none, but on a server that draws nothing at some load. [core-h]"""
        return self.curve.speed_cores[0] * float(steps.job_ratio @ steps.duration_h)

    def _without_battery(self, steps: Steps, work_core_h: float) -> _Found:
        filled = fill_cheapest(self.curve, steps, work_core_h, self.grid_limit_w)
        none = np.zeros(len(steps))
        schedule = Schedule(
            start_s=steps.start_s,
            duration_h=steps.duration_h,
            power_w=filled.power_w,
            cores=self._running_cores(steps, filled.power_w),
            import_w=np.maximum(filled.power_w - steps.solar_w, 0.0),
            battery_charge_w=none,
            battery_discharge_w=none,
            battery_level_wh=none,
        )
        return _Found(filled.carbon_g, 0.0, filled.reached_core_h, "merit order", "optimal", schedule)

    def _with_battery(self, steps: Steps, battery: AppBattery, work_core_h: float) -> _Found:
        pieces = Pieces.of(self.curve)
        program, layout = build(steps, pieces, battery, work_core_h, self.grid_limit_w, self.tick_s)
        solution = solve(program)
        reached = work_core_h
        if not solution.optimal:
            supply, _ = build_supply(steps, pieces, battery, self.grid_limit_w, self.tick_s)
            reached = -solve(most_work(supply, layout, steps, pieces)).value
        value = solution.columns
        power_w = value[layout.power].sum(axis=1)
        schedule = Schedule(
            start_s=steps.start_s,
            duration_h=steps.duration_h,
            power_w=power_w,
            cores=self._running_cores(steps, power_w),
            import_w=value[layout.imported],
            battery_charge_w=value[layout.charge],
            battery_discharge_w=value[layout.discharge],
            battery_level_wh=value[layout.level],
        )
        carbon_g = max(certified_g(program, solution.row_dual), 0.0)
        return _Found(carbon_g, solution.value - carbon_g, reached, solution.name, solution.status, schedule)

    def _running_cores(self, steps: Steps, power_w: Floats) -> Floats:
        while_running_w = np.divide(power_w, steps.job_ratio, out=np.zeros(len(steps)), where=steps.job_ratio > 0.0)
        return np.asarray(np.interp(while_running_w, self.curve.power_w, self.curve.running_cores))

    def _check_time(self, work_core_h: float, begin_s: float, deadline_s: float) -> None:
        needed_h = work_core_h / self.curve.most_speed_cores if self.curve.most_speed_cores > 0.0 else INFINITY
        window_h = (deadline_s - begin_s) / 3600.0
        if needed_h * (1.0 - ROUNDING_RATIO) > window_h:
            raise Infeasible(
                f"the work of {work_core_h:g} core-h needs {needed_h:.4g} h at full scale ({self.cores:g} cores), "
                f"the window until {iso_utc(deadline_s)} has {window_h:.4g} h; give more cores or a later deadline",
                window_h,
            )

    def _relaxations(self, steps: Steps) -> tuple[str, ...]:
        told = ["cores are continuous", "power and speed lie on concave hulls"]
        if self.curve.excess_ratio > 0.0:
            told.append(f"tangents of the scaling law, up to {self.curve.excess_ratio:.2%} above it")
        if self.job.checkpoint_interval_s > 0.0 or self.job.restart_duration_s > 0.0:
            told.append("nothing is lost in restarts")
        if self.battery is not None:
            told.append("sun, battery and grid serve in any order")
            if self.battery.self_discharge_per_hour > 0.0 and steps.duration_h.max() * 3600.0 > self.tick_s * (1.0 + 1e-9):
                told.append("self-discharge within a step only where it cannot be avoided")
        if steps.others_solar_w.any():
            told.append("all sun of the others may reach the battery")
        if self.step_s is not None and self.step_s > self.tick_s:
            told.append(f"steps of {human_duration(self.step_s)}: least intensity, mean sun")
        return tuple(told)


def batch_bound(
    job: BatchJob,
    *,
    cores: float,
    max_scale: float = 1.0,
    server: ServerParameters,
    carbon: Series,
    start_s: float | None = None,
    deadline_s: float | None = None,
    tick_s: float = 60.0,
    step_s: float | None = None,
    solar: Series | None = None,
    solar_share: float = 1.0,
    others_solar_share: float = 0.0,
    battery: AppBattery | None = None,
    grid_limit_w: float = INFINITY,
) -> Bound | NoBound:
    """The least carbon of one job in one window; see `BatchOptimum` for the arguments, and for many windows.

    Args:
        start_s: when the app's energy system begins; None: with the job. [s since the epoch]
        deadline_s: None: the job's. [s since the epoch]

    Raises:
        Infeasible: the work cannot be done in the window; the message names what is short.
        InputError: a value that makes no sense, or no deadline.
    """
    end_s = job.deadline_s if deadline_s is None else deadline_s
    if end_s is None:
        raise InputError("optimum: deadline_s", "neither given nor the job's", "a bound needs an end: give one")
    optimum = BatchOptimum(
        job,
        cores=cores,
        max_scale=max_scale,
        server=server,
        carbon=carbon,
        tick_s=tick_s,
        step_s=step_s,
        solar=solar,
        solar_share=solar_share,
        others_solar_share=others_solar_share,
        battery=battery,
        grid_limit_w=grid_limit_w,
    )
    return optimum.bound(job.start_s if start_s is None else start_s, end_s, job_start_s=job.start_s)


# -- checks


def _check(name: str, value: float, *, least: float = -INFINITY, above: float = -INFINITY, most: float = 1e300) -> None:
    if not (value >= least and value > above and value <= most):
        bound = (
            f"more than {above:g}"
            if above > -INFINITY
            else f"from {least:g} to {most:g}"
            if most < 1e300
            else f"at least {least:g}"
        )
        raise InputError(f"optimum: {name}", f"is {value:g}, must be {bound}")


def _check_window(begin_s: float, deadline_s: float) -> None:
    if not deadline_s > begin_s:
        raise InputError(
            "optimum: deadline_s", f"{iso_utc(deadline_s)} is not after the start {iso_utc(begin_s)}", "give a later one"
        )


def _whole(number: float) -> bool:
    return math.isfinite(number) and abs(number - round(number)) < 1e-6


def _unknown(steps: Steps) -> str:
    """Why there is no bound, where a value within the window is unknown."""
    for what, values in (("carbon intensity", steps.intensity_g_per_kwh), ("solar power", steps.solar_w)):
        missing = np.isnan(values)
        if missing.any():
            return f"the {what} is unknown at {iso_utc(float(steps.start_s[missing.argmax()]))}"
    return ""

"""The least carbon with a battery, as a linear program: one `define_*` per family of constraints, its equation in its docstring.

Columns of a step: ``x`` power of the job in each piece of its curve, ``i`` import, ``c`` charge, ``d`` discharge, ``r`` charge received
from the others' excess sun [W], ``e`` level at the end of the step [Wh]. Every column has both bounds, which `certified_g` needs. `solver`
hands the arrays to HiGHS.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ecovisor.optimum.bound import AppBattery
from ecovisor.optimum.speed import SpeedCurve
from ecovisor.optimum.steps import Floats, Steps
from ecovisor.physics.battery import SNAP_RATIO

Indices = NDArray[np.int32]
INFINITY = float("inf")


@dataclass(slots=True)
class Program:
    """``min cost·z`` subject to ``lower ≤ A z ≤ upper``, ``0 ≤ z ≤ most``; ``A`` as (row, column, value)."""

    cost: Floats
    most: Floats
    lower: list[Floats] = field(default_factory=list)
    upper: list[Floats] = field(default_factory=list)
    entries: list[tuple[Indices, Indices, Floats]] = field(default_factory=list)
    height: int = 0

    def demand(self, lower: Floats, upper: Floats, *terms: tuple[Indices, Floats]) -> None:
        """Add ``len(lower)`` rows; each term is a column and a coefficient for each row."""
        rows = np.arange(self.height, self.height + len(lower), dtype=np.int32)
        self.entries += [(rows, columns, values) for columns, values in terms]
        self._close(lower, upper)

    def demand_one(self, lower: float, upper: float, columns: Indices, values: Floats) -> None:
        """Add one row over many columns."""
        self.entries.append((np.full(len(columns), self.height, dtype=np.int32), columns, values))
        self._close(np.array([lower]), np.array([upper]))

    def _close(self, lower: Floats, upper: Floats) -> None:
        self.lower.append(lower)
        self.upper.append(upper)
        self.height += len(lower)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the columns of each family are."""

    power: Indices
    """``[step, piece]``"""
    imported: Indices
    charge: Indices
    discharge: Indices
    level: Indices
    received: Indices
    """Empty where nobody shares sun."""

    @property
    def width(self) -> int:
        """Columns in all."""
        return self.power.size + 4 * len(self.imported) + len(self.received)


@dataclass(frozen=True, slots=True)
class Pieces:
    """The straight pieces of the curve of speed against power."""

    width_w: Floats
    """[W]"""
    core_h_per_wh: Floats
    """Falling. [core-h/Wh]"""

    @classmethod
    def of(cls, curve: SpeedCurve) -> Pieces:
        """The pieces of a curve."""
        width = np.diff(curve.power_w)
        return cls(width, np.diff(curve.speed_cores) / width)


def lay_out(steps: Steps, pieces: Pieces) -> Layout:
    """Number the columns, family by family."""
    n, k = len(steps), len(pieces.width_w)
    shared = n if steps.others_solar_w.any() else 0
    numbers = np.arange(n * k + 4 * n + shared, dtype=np.int32)
    power, imported, charge, discharge, level, received = np.split(numbers, [n * k, *(n * k + j * n for j in (1, 2, 3, 4))])
    return Layout(power.reshape(n, k), imported, charge, discharge, level, received)


def build_supply(steps: Steps, pieces: Pieces, battery: AppBattery, grid_limit_w: float, tick_s: float) -> tuple[Program, Layout]:
    """All but the work."""
    layout = lay_out(steps, pieces)
    program = Program(define_carbon(steps, layout), define_limits(steps, pieces, battery, grid_limit_w, layout))
    define_balance(program, layout, steps)
    define_levels(program, layout, steps, battery, tick_s)
    define_received(program, layout)
    return program, layout


def build(
    steps: Steps, pieces: Pieces, battery: AppBattery, work_core_h: float, grid_limit_w: float, tick_s: float
) -> tuple[Program, Layout]:
    """The whole program."""
    program, layout = build_supply(steps, pieces, battery, grid_limit_w, tick_s)
    define_work(program, layout, steps, pieces, work_core_h)
    return program, layout


def define_carbon(steps: Steps, layout: Layout) -> Floats:
    """``min Σ i·h/1000·I``: carbon on import; the level at the end is worth nothing. [g/W]"""
    cost = np.zeros(layout.width)
    cost[layout.imported] = steps.intensity_g_per_kwh * steps.duration_h / 1000.0
    return cost


def define_limits(steps: Steps, pieces: Pieces, battery: AppBattery, grid_limit_w: float, layout: Layout) -> Floats:
    """``x ≤ a·width, i ≤ grid limit, c ≤ charge limit, d ≤ discharge limit, e ≤ capacity, r ≤ the others' sun``.

    ``a`` is the part of the step in which the job may run. What the job and the battery cannot take is never imported, and the battery
    discharges into the job alone, so both have the job's power as a bound too.
    """
    most = np.zeros(layout.width)
    job_w = steps.job_ratio * pieces.width_w.sum()
    most[layout.power] = steps.job_ratio[:, None] * pieces.width_w
    most[layout.imported] = np.minimum(job_w + battery.charge_limit_w, grid_limit_w)
    most[layout.charge] = battery.charge_limit_w
    most[layout.discharge] = np.minimum(job_w, battery.discharge_limit_w)
    most[layout.level] = battery.capacity_wh
    if len(layout.received):
        most[layout.received] = np.minimum(steps.others_solar_w, battery.charge_limit_w)
    return most


def define_balance(program: Program, layout: Layout, steps: Steps) -> None:
    """``Σ x + c ≤ solar + r + d + i``: what is used comes from somewhere; the sun may be curtailed."""
    one = np.ones(len(steps))
    terms = [(layout.power[:, k].copy(), one) for k in range(layout.power.shape[1])]
    terms += [(layout.charge, one), (layout.discharge, -one), (layout.imported, -one)]
    if len(layout.received):
        terms.append((layout.received, -one))
    program.demand(np.full(len(steps), -INFINITY), steps.solar_w, *terms)


def define_levels(program: Program, layout: Layout, steps: Steps, battery: AppBattery, tick_s: float) -> None:
    """``e ≤ ρ·e₋ + ηc·c·h − θ·d·h/ηd + ε``, with ``ρ = (1 − s)^h`` and the initial level before the first step.

    A tick loses its part first and then moves energy. In a step of several ticks, what is charged early loses more than this says and
    what is discharged early spares a loss: ``θ = (1 − s)^(h − tick)`` is the most that it can. ``ε`` is what a simulated level gains at
    most by snapping to full, twice a tick (see `physics.battery`).
    """
    hours = steps.duration_h
    keep = 1.0 - battery.self_discharge_per_hour
    kept = keep**hours
    spared = keep ** np.maximum(hours - tick_s / 3600.0, 0.0)
    snapped = 2.0 * SNAP_RATIO * battery.capacity_wh * np.ceil(hours * 3600.0 / tick_s - 1e-6)
    most = snapped.copy()
    most[0] += kept[0] * battery.initial_wh
    from_before = -kept
    from_before[0] = 0.0
    before = np.concatenate((layout.level[:1], layout.level[:-1]))
    program.demand(
        np.full(len(steps), -INFINITY),
        most,
        (layout.level, np.ones(len(steps))),
        (before, from_before),
        (layout.charge, -battery.charge_efficiency * hours),
        (layout.discharge, spared * hours / battery.discharge_efficiency),
    )


def define_received(program: Program, layout: Layout) -> None:
    """``r ≤ c``: what others give goes into the battery."""
    n = len(layout.received)
    if n:
        one = np.ones(n)
        program.demand(np.full(n, -INFINITY), np.zeros(n), (layout.received, one), (layout.charge, -one))


def define_work(program: Program, layout: Layout, steps: Steps, pieces: Pieces, work_core_h: float) -> None:
    """``Σ slope·x·h ≥ work``."""
    done = pieces.core_h_per_wh * steps.duration_h[:, None]
    program.demand_one(work_core_h, INFINITY, layout.power.ravel(), done.ravel())


def most_work(program: Program, layout: Layout, steps: Steps, pieces: Pieces) -> Program:
    """The same supply with another aim, ``max Σ slope·x·h``: what can be done at all, where the work cannot. See `build_supply`."""
    cost = np.zeros(layout.width)
    cost[layout.power] = -pieces.core_h_per_wh * steps.duration_h[:, None]
    return replace(program, cost=cost)


def certified_g(program: Program, row_dual: Floats) -> float:
    """What the rows' prices ``y`` prove, whoever found them: ``Σ y·b + Σ min(0, (cost − Aᵀy)·most)``, by weak duality.

    A price above 0 belongs to a lower bound of its row, one below 0 to an upper bound; where there is none, it is taken as 0. The best
    prices prove the optimum; any others prove less, never too much.
    """
    lower, upper = np.concatenate(program.lower), np.concatenate(program.upper)
    price = np.where((row_dual > 0.0) & (lower == -INFINITY), 0.0, row_dual)
    price = np.where((price < 0.0) & (upper == INFINITY), 0.0, price)
    side = np.where(price > 0.0, lower, upper)
    rows, columns, values = (np.concatenate(part) for part in zip(*program.entries, strict=True))
    reduced = program.cost - np.bincount(columns, weights=price[rows] * values, minlength=len(program.cost))
    used = price != 0.0
    return float(price[used] @ side[used] + np.minimum(reduced * program.most, 0.0).sum())

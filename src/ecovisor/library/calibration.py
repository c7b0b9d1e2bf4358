"""A server's power curve from samples of load and power: what `ecovisor calibrate` fits, and `[site.server] power_curve_w` holds.

The curve is piecewise linear between evenly spaced loads from idle to full and never falls, as `physics.server_power` interpolates it.
Among such curves the fit has the least squared error. In the variables idle power and increments between points, all at least 0,
that is a non-negative least-squares problem, solved by the active-set method of Lawson and Hanson (Solving Least Squares Problems,
1974, chapter 23) on the normal equations, which are at most 21 × 21. Where samples do not decide, the curve takes the straightest
course: its second differences are penalised so weakly that only ties feel it. Points that lie further outside the measured loads
than half an interval are not fitted but lie on the straight continuation of the curve: a slope over a sliver of an interval would be
noise, and have no bound. Pure; where samples come from is ``adapters.meters``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from ecovisor.model.errors import InputError
from ecovisor.physics.server_power import power_at_w

LEAST_POINTS, MOST_POINTS = 2, 21
#: Samples must span this much of the load; below it a curve from idle to full would be invented.
LEAST_SPAN_RATIO = 0.1
_FOLDS = 10
#: Weight of the second differences against the mean squared error.
_STRAIGHTNESS = 1e-9
#: Parts of the largest power that are rounding.
_ROUNDING = 1e-6

Matrix = list[list[float]]


@dataclass(frozen=True, slots=True)
class PowerSample:
    """A server's power at a load."""

    load_ratio: float
    power_w: float


@dataclass(frozen=True, slots=True)
class PowerCurveFit:
    """A fitted power curve, and how well it fits."""

    power_curve_w: tuple[float, ...]
    """At evenly spaced loads from idle to full; never falls. [W]"""
    samples: int
    rmse_w: float
    """Root of the mean squared residual. [W]"""
    max_error_w: float
    """Largest residual, without its sign. [W]"""
    r2_ratio: float | None
    """Part of the power's variance that the curve explains; None where power does not vary. [1]"""
    straight_rmse_w: float
    """The same as `rmse_w` for the best straight line, to compare. [W]"""
    measured_from_ratio: float
    """Smallest load that was measured; the curve below it is extrapolated. [1]"""
    measured_to_ratio: float
    """Largest load that was measured; the curve above it is extrapolated. [1]"""
    samples_per_interval: tuple[int, ...]
    """Samples between one point of the curve and the next; a load at a point counts above it, full load below."""
    cross_validation_rmse_w: dict[int, float] = field(default_factory=dict)
    """Error on samples that were left out of the fit, by number of points; empty where the number was given. [W]"""

    @property
    def empty_intervals_ratio(self) -> tuple[tuple[float, float], ...]:
        """Load intervals without a sample, where the curve is interpolated or extrapolated. [1]"""
        intervals = len(self.samples_per_interval)
        return tuple((k / intervals, (k + 1) / intervals) for k, count in enumerate(self.samples_per_interval) if not count)

    def power_w(self, load_ratio: float) -> float:
        """Power at a load. [W]"""
        return power_at_w(self.power_curve_w, len(self.power_curve_w), load_ratio)


def fit_power_curve(samples: Sequence[PowerSample], points: int | None = None) -> PowerCurveFit:
    """The non-decreasing power curve with the least squared error.

    Args:
        samples: loads of 0 to 1 and powers of at least 0, in any order, at least two loads that are `LEAST_SPAN_RATIO` apart.
        points: number of points, 2 to 21. None: the smallest number whose error on samples left out of the fit (cross-validation) is
            within a standard error of the best; at most as many as there are different loads.

    Raises:
        InputError: a sample or the number of points is out of bounds, or the samples are too few or too close.
    """
    _check(samples, points)
    ordered = sorted(samples, key=lambda sample: (sample.load_ratio, sample.power_w))
    tried: dict[int, float] = {}
    if points is None:
        points, tried = _choose_points(ordered)
    curve = _Equations.of(ordered, _Knots.over(ordered, points)).solve()
    residuals = [sample.power_w - power_at_w(curve, points, sample.load_ratio) for sample in ordered]
    straight = _Equations.of(ordered, _Knots.over(ordered, LEAST_POINTS)).solve()
    mean_w = math.fsum(sample.power_w for sample in ordered) / len(ordered)
    variance = math.fsum((sample.power_w - mean_w) ** 2 for sample in ordered)
    error = math.fsum(residual**2 for residual in residuals)
    per_interval = [0] * (points - 1)
    for sample in ordered:
        per_interval[_interval(sample.load_ratio, points)] += 1
    return PowerCurveFit(
        power_curve_w=curve,
        samples=len(ordered),
        rmse_w=math.sqrt(error / len(ordered)),
        max_error_w=max(map(abs, residuals)),
        r2_ratio=1.0 - error / variance if variance > 0.0 else None,
        straight_rmse_w=math.sqrt(_squared_error(ordered, straight) / len(ordered)),
        measured_from_ratio=ordered[0].load_ratio,
        measured_to_ratio=ordered[-1].load_ratio,
        samples_per_interval=tuple(per_interval),
        cross_validation_rmse_w=tried,
    )


def span_enough(loads_ratio: Sequence[float]) -> bool:
    """Whether loads lie `LEAST_SPAN_RATIO` apart or more, but for rounding."""
    return bool(loads_ratio) and max(loads_ratio) - min(loads_ratio) >= LEAST_SPAN_RATIO * (1.0 - _ROUNDING)


def _check(samples: Sequence[PowerSample], points: int | None) -> None:
    if points is not None and not LEAST_POINTS <= points <= MOST_POINTS:
        raise InputError("points", f"is {points}, must be {LEAST_POINTS} to {MOST_POINTS}", "a power curve has no others")
    for k, sample in enumerate(samples):
        if not 0.0 <= sample.load_ratio <= 1.0:
            raise InputError(
                f"sample {k + 1}", f"has a load of {sample.load_ratio:g}, must be 0 to 1", "convert it, or leave it out"
            )
        if not 0.0 <= sample.power_w < math.inf:
            raise InputError(f"sample {k + 1}", f"has a power of {sample.power_w:g} W, must be at least 0", "leave it out")
    loads = [sample.load_ratio for sample in samples]
    if not span_enough(loads):
        spread = f"all loads lie between {min(loads):.1%} and {max(loads):.1%}" if loads else "there are none"
        raise InputError("samples", f"{spread}, they must span at least {LEAST_SPAN_RATIO:.0%}", "measure from idle to full load")


def _choose_points(ordered: Sequence[PowerSample]) -> tuple[int, dict[int, float]]:
    """The number of points, and the error on left-out samples of every number that was tried. [W]"""
    most = min(MOST_POINTS, max(LEAST_POINTS, len({sample.load_ratio for sample in ordered})))
    folds = [list(ordered[k::_FOLDS]) for k in range(min(_FOLDS, len(ordered)))]
    errors = {points: _errors_left_out(folds, _Knots.over(ordered, points)) for points in range(LEAST_POINTS, most + 1)}
    errors = {points: error for points, error in errors.items() if error}
    if not errors:  # so few samples that none can be left out
        return LEAST_POINTS, {}
    means = {points: math.fsum(error) / len(error) for points, error in errors.items()}
    best = min(means, key=lambda points: (means[points], points))
    spread = math.fsum((error - means[best]) ** 2 for error in errors[best])
    standard_error = math.sqrt(spread / max(len(errors[best]) - 1, 1) / len(errors[best]))
    rounding = (_ROUNDING * max(sample.power_w for sample in ordered)) ** 2
    within = means[best] + max(standard_error, rounding)
    chosen = min(points for points, mean in means.items() if mean <= within)
    return chosen, {points: math.sqrt(mean) for points, mean in means.items()}


def _errors_left_out(folds: Sequence[Sequence[PowerSample]], knots: _Knots) -> list[float]:
    """Mean squared error of each fold by a curve fitted to the others. [W²]"""
    parts = [_Equations.of(fold, knots) for fold in folds]
    errors = []
    for k, fold in enumerate(folds):
        rest = [sample.load_ratio for i, other in enumerate(folds) if i != k for sample in (other[0], other[-1])]
        if span_enough(rest):
            curve = _Equations.sum([part for i, part in enumerate(parts) if i != k]).solve()
            errors.append(_squared_error(fold, curve) / len(fold))
    return errors


def _squared_error(samples: Sequence[PowerSample], curve_w: Sequence[float]) -> float:
    return math.fsum((sample.power_w - power_at_w(curve_w, len(curve_w), sample.load_ratio)) ** 2 for sample in samples)


def _interval(load_ratio: float, points: int) -> int:
    return min(int(load_ratio * (points - 1)), points - 2)


@dataclass(frozen=True, slots=True)
class _Knots:
    """The points of a curve that samples decide on."""

    points: int
    first: int
    last: int

    @classmethod
    def over(cls, ordered: Sequence[PowerSample], points: int) -> _Knots:
        """From the point nearest to the smallest load to the one nearest to the largest, at least two."""
        low, high = (ordered[k].load_ratio * (points - 1) for k in (0, -1))
        first, last = math.ceil(low - 0.5), math.floor(high + 0.5)
        if first >= last:
            first = _interval((ordered[0].load_ratio + ordered[-1].load_ratio) / 2.0, points)
            last = first + 1
        return cls(points, first, last)

    def place(self, load_ratio: float) -> tuple[int, float]:
        """The point below a load, counted from the first, and how far it is to the next; beyond 0 to 1 outside of all. [1]"""
        k = min(max(_interval(load_ratio, self.points), self.first), self.last - 1)
        return k - self.first, load_ratio * (self.points - 1) - k

    def whole_curve_w(self, fitted_w: Sequence[float]) -> tuple[float, ...]:
        """All points: the fitted ones, and beyond them the straight continuation, never below 0. [W]"""
        slopes = fitted_w[1] - fitted_w[0], fitted_w[-1] - fitted_w[-2]
        below = (max(fitted_w[0] - (self.first - k) * slopes[0], 0.0) for k in range(self.first))
        above = (fitted_w[-1] + (k - self.last) * slopes[1] for k in range(self.last + 1, self.points))
        return (*below, *fitted_w, *above)


@dataclass(slots=True)
class _Equations:
    """Normal equations of the curve's points: a tridiagonal matrix, since a sample concerns the two points around it."""

    knots: _Knots
    diagonal: list[float]
    beside: list[float]
    right: list[float]
    weight: float

    @classmethod
    def of(cls, samples: Sequence[PowerSample], knots: _Knots) -> _Equations:
        size = knots.last - knots.first + 1
        diagonal, beside, right = [0.0] * size, [0.0] * (size - 1), [0.0] * size
        for sample in samples:
            k, above = knots.place(sample.load_ratio)
            below = 1.0 - above
            diagonal[k] += below * below
            diagonal[k + 1] += above * above
            beside[k] += below * above
            right[k] += below * sample.power_w
            right[k + 1] += above * sample.power_w
        return cls(knots, diagonal, beside, right, float(len(samples)))

    @classmethod
    def sum(cls, parts: Sequence[_Equations]) -> _Equations:
        return cls(
            parts[0].knots,
            [math.fsum(column) for column in zip(*(part.diagonal for part in parts), strict=True)],
            [math.fsum(column) for column in zip(*(part.beside for part in parts), strict=True)],
            [math.fsum(column) for column in zip(*(part.right for part in parts), strict=True)],
            math.fsum(part.weight for part in parts),
        )

    def solve(self) -> tuple[float, ...]:
        """The curve. [W]"""
        size = len(self.diagonal)
        matrix = [[0.0] * size for _ in range(size)]
        for k in range(size):
            matrix[k][k] = self.diagonal[k] / self.weight
        for k in range(size - 1):
            matrix[k][k + 1] = matrix[k + 1][k] = self.beside[k] / self.weight
        for k in range(size - 2):
            for i, one in enumerate((1.0, -2.0, 1.0)):
                for j, other in enumerate((1.0, -2.0, 1.0)):
                    matrix[k + i][k + j] += _STRAIGHTNESS * one * other
        right = [value / self.weight for value in self.right]
        for k in reversed(range(size - 1)):  # from points to increments: a point is the sum of the increments up to it
            right[k] += right[k + 1]
            for j in range(size):
                matrix[k][j] += matrix[k + 1][j]
        for row in matrix:
            for k in reversed(range(size - 1)):
                row[k] += row[k + 1]
        return self.knots.whole_curve_w(list(accumulate(non_negative_solution(matrix, right))))


def non_negative_solution(matrix: Matrix, right: Sequence[float]) -> list[float]:
    """``x ≥ 0`` with the least ``½·xᵀ·matrix·x − rightᵀ·x``, for a symmetric, positive definite matrix."""
    size = len(right)
    x, free, barred = [0.0] * size, list[int](), set[int]()
    tolerance = 1e-14 * max(map(abs, right), default=0.0)

    def minimum(variables: Sequence[int]) -> list[float]:
        """Where the others stay 0 and these may be negative."""
        return _solve([[matrix[i][j] for j in variables] for i in variables], [right[i] for i in variables])

    for _ in range(10 * size):
        bound = [j for j in range(size) if j not in free and j not in barred]
        slope = {j: right[j] - math.fsum(matrix[j][i] * x[i] for i in free) for j in bound}
        steepest = max(slope, key=lambda j: slope[j], default=-1)
        if steepest < 0 or slope[steepest] <= tolerance:
            break
        target = minimum([*free, steepest])
        if target[-1] <= 0.0:  # its slope was rounding
            barred.add(steepest)
            continue
        barred.clear()
        free = [*free, steepest]
        while target and min(target) <= 0.0:
            reach = {i: x[i] / (x[i] - value) for i, value in zip(free, target, strict=True) if value <= 0.0}
            step = min(reach.values())
            for i, value in zip(free, target, strict=True):
                x[i] = 0.0 if reach.get(i, math.inf) <= step else x[i] + step * (value - x[i])
            free = [i for i in free if reach.get(i, math.inf) > step]
            target = minimum(free)
        for i, value in zip(free, target, strict=True):
            x[i] = value
    return x


def _solve(matrix: Matrix, right: Sequence[float]) -> list[float]:
    """``x`` with ``matrix·x = right`` by Cholesky's factors."""
    size = len(right)
    lower = [[0.0] * size for _ in range(size)]
    y = [0.0] * size
    for i in range(size):
        for j in range(i):
            lower[i][j] = (matrix[i][j] - math.fsum(lower[i][k] * lower[j][k] for k in range(j))) / lower[j][j]
        lower[i][i] = math.sqrt(matrix[i][i] - math.fsum(lower[i][k] ** 2 for k in range(i)))
        y[i] = (right[i] - math.fsum(lower[i][k] * y[k] for k in range(i))) / lower[i][i]
    x = [0.0] * size
    for i in reversed(range(size)):
        x[i] = (y[i] - math.fsum(lower[k][i] * x[k] for k in range(i + 1, size))) / lower[i][i]
    return x

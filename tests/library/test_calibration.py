"""Fitting a power curve: exact where there is nothing to fit, never falling, never worse than a line, as good as trying every case."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ecovisor.library.calibration import PowerCurveFit, PowerSample, fit_power_curve, non_negative_solution
from ecovisor.model.errors import InputError
from ecovisor.physics.server_power import power_at_w
from ecovisor.presets import SERVERS

curves = st.one_of(
    st.sampled_from([server.power_curve_w for server in SERVERS.values()]),
    st.lists(st.floats(0.0, 500.0), min_size=2, max_size=21).map(lambda watts: tuple(sorted(watts))),
)
points = st.integers(2, 21)
samples = st.lists(st.builds(PowerSample, st.floats(0.0, 1.0), st.floats(0.0, 400.0)), min_size=2, max_size=40).filter(
    lambda found: max(s.load_ratio for s in found) - min(s.load_ratio for s in found) >= 0.1
)


def on(curve: tuple[float, ...], steps: int) -> list[PowerSample]:
    """Samples on a curve at evenly spaced loads."""
    return [PowerSample(k / steps, power_at_w(curve, len(curve), k / steps)) for k in range(steps + 1)]


def squared_error(curve: tuple[float, ...], found: list[PowerSample]) -> float:
    """By NumPy's interpolation, which shares nothing with ours."""
    loads = np.linspace(0.0, 1.0, len(curve))
    power = np.interp([s.load_ratio for s in found], loads, curve)
    return float(np.sum((power - [s.power_w for s in found]) ** 2))


def increments(found: list[PowerSample], n: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Design matrix of idle power and increments."""
    loads = np.array([s.load_ratio for s in found])
    columns = [np.ones(len(found)), *(np.clip(loads * (n - 1) - k, 0.0, 1.0) for k in range(n - 1))]
    return np.column_stack(columns)


def best_by_trying(found: list[PowerSample], n: int) -> float:
    """Least squared error of a non-decreasing curve: the best of all choices of what may be above 0."""
    design, power = increments(found, n), np.array([s.power_w for s in found])
    best = float(np.sum(power**2))
    for count in range(1, n + 1):
        for chosen in combinations(range(n), count):
            answer = np.linalg.lstsq(design[:, chosen], power, rcond=None)[0]
            if answer.min() >= -1e-9:
                best = min(best, float(np.sum((design[:, chosen] @ np.maximum(answer, 0.0) - power) ** 2)))
    return best


@given(curves, st.integers(0, 3))
@settings(deadline=None)
def test_a_curve_without_noise_is_recovered(curve: tuple[float, ...], more: int) -> None:
    fit = fit_power_curve(on(curve, (len(curve) - 1) * (more + 1)), len(curve))
    rounding_w = 1e-6 * max(curve) + 1e-9
    assert fit.power_curve_w == pytest.approx(curve, abs=rounding_w)
    assert fit.max_error_w <= rounding_w
    assert fit.rmse_w <= fit.max_error_w * (1 + 1e-12)


@settings(max_examples=12, deadline=None)
@given(curves)
def test_cross_validation_finds_a_curve_that_fits_as_well(curve: tuple[float, ...]) -> None:
    assume(len(curve) <= 12)
    fit = fit_power_curve(on(curve, 12 * (len(curve) - 1)))
    assert fit.power_curve_w[0] == pytest.approx(curve[0], abs=0.05 * max(curve) + 1e-6)
    assert fit.rmse_w <= 0.05 * max(curve) + 1e-6
    assert 2 <= len(fit.power_curve_w) <= len(curve) or fit.rmse_w <= 1e-5


def test_cross_validation_takes_the_fewest_points_that_will_do() -> None:
    line = fit_power_curve(on((10.0, 60.0), 60))
    assert line.power_curve_w == pytest.approx((10.0, 60.0))
    assert set(line.cross_validation_rmse_w) == set(range(2, 22))
    spec = SERVERS["dell-r740"].power_curve_w
    chosen = fit_power_curve(on(spec, 100))
    assert chosen.power_curve_w == pytest.approx(spec, abs=1e-4)
    noisy = [PowerSample(s.load_ratio, s.power_w + (3.0 if k % 2 else -3.0)) for k, s in enumerate(on((10.0, 60.0), 60))]
    assert len(fit_power_curve(noisy).power_curve_w) == 2


@given(samples, st.one_of(st.none(), points))
@settings(max_examples=60, deadline=None)
def test_a_fit_never_falls_and_never_loses_to_a_straight_line(found: list[PowerSample], n: int | None) -> None:
    fit = fit_power_curve(found, n)
    assert 2 <= len(fit.power_curve_w) <= 21
    assert n is None or len(fit.power_curve_w) == n
    assert fit.power_curve_w[0] >= 0.0
    assert all(low <= high for low, high in pairwise(fit.power_curve_w))
    assert fit.rmse_w <= fit.straight_rmse_w * (1 + 1e-9) + 1e-6
    assert fit.rmse_w == pytest.approx(math.sqrt(squared_error(fit.power_curve_w, found) / len(found)), rel=1e-6, abs=1e-6)
    assert sum(fit.samples_per_interval) == fit.samples == len(found)


@given(samples, st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_a_fit_is_as_good_as_the_best_of_all_cases(found: list[PowerSample], n: int) -> None:
    found = [PowerSample(0.0, found[0].power_w), *found, PowerSample(1.0, found[-1].power_w)]
    fit = fit_power_curve(found, n)
    best = best_by_trying(found, n)
    assert squared_error(fit.power_curve_w, found) <= best * (1 + 1e-5) + 1e-4 * len(found)
    assert fit.straight_rmse_w == pytest.approx(math.sqrt(best_by_trying(found, 2) / len(found)), rel=1e-5, abs=1e-4)


@given(st.integers(2, 9), st.lists(st.floats(-2.0, 2.0), min_size=80, max_size=80))
@settings(max_examples=40, deadline=None)
def test_where_no_bound_matters_it_is_the_least_squares_of_numpy(n: int, noise: list[float]) -> None:
    found = [PowerSample(k / 79, 50.0 + 300.0 * k / 79 + noise[k]) for k in range(80)]
    answer = np.linalg.lstsq(increments(found, n), np.array([s.power_w for s in found]), rcond=None)[0]
    assume(answer.min() > 0.0)
    assert fit_power_curve(found, n).power_curve_w == pytest.approx(np.cumsum(answer), rel=1e-5)


@given(st.integers(1, 6).flatmap(lambda n: st.tuples(
    st.lists(st.lists(st.floats(-3.0, 3.0), min_size=n, max_size=n), min_size=n, max_size=n),
    st.lists(st.floats(-10.0, 10.0), min_size=n, max_size=n),
)))  # fmt: skip
@settings(max_examples=80, deadline=None)
def test_the_solver_meets_the_conditions_of_a_minimum(problem: tuple[list[list[float]], list[float]]) -> None:
    root, right = np.array(problem[0]), np.array(problem[1])
    matrix = root @ root.T + 0.1 * np.eye(len(right))
    x = np.array(non_negative_solution(matrix.tolist(), right.tolist()))
    slope = right - matrix @ x
    assert x.min() >= 0.0
    assert slope.max() <= 1e-8
    assert np.abs(slope * x).max() <= 1e-8


def test_falling_powers_become_a_level_one() -> None:
    fit = fit_power_curve([PowerSample(0.0, 30.0), PowerSample(1.0, 20.0)], 2)
    assert fit.power_curve_w == pytest.approx((25.0, 25.0))
    assert fit.r2_ratio == pytest.approx(0.0)
    level = fit_power_curve([PowerSample(0.0, 30.0), PowerSample(1.0, 30.0)], 2)
    assert level.r2_ratio is None
    assert level.max_error_w == pytest.approx(0.0, abs=1e-9)


def test_intervals_without_samples_are_told_and_bridged_straight() -> None:
    found = [PowerSample(k / 100, 10.0 + k) for k in (20, 25, 30, 62, 68, 75)]
    fit = fit_power_curve(found, 11)
    assert fit.samples_per_interval == (0, 0, 2, 1, 0, 0, 2, 1, 0, 0)
    assert fit.empty_intervals_ratio == ((0.0, 0.1), (0.1, 0.2), (0.4, 0.5), (0.5, 0.6), (0.8, 0.9), (0.9, 1.0))
    assert (fit.measured_from_ratio, fit.measured_to_ratio) == (0.2, 0.75)
    assert fit.power_curve_w == pytest.approx([10.0 + 10.0 * k for k in range(11)], abs=1e-4)


@given(st.floats(-1.0, 1.0), st.floats(0.0, 0.004), st.floats(-1.0, 1.0))
@settings(deadline=None)
def test_a_sliver_of_an_interval_does_not_decide_the_power_at_its_end(noise_w: float, sliver: float, more_w: float) -> None:
    found = on((100.0, 200.0), 10)[1:10]
    found[-1] = PowerSample(0.9 + sliver, 190.0 + noise_w)
    fit = fit_power_curve([*found, PowerSample(0.9, 190.0 + more_w), PowerSample(0.1 - sliver, 110.0 + more_w)], 11)
    assert fit.power_curve_w[0] == pytest.approx(100.0, abs=4.0)
    assert fit.power_curve_w[-1] == pytest.approx(200.0, abs=4.0)


@given(st.floats(0.0, 0.85), st.floats(0.1, 0.15), st.floats(0.0, 300.0), points)
@settings(deadline=None)
def test_a_line_measured_in_part_is_the_line_on_the_whole(low: float, span: float, slope_w: float, n: int) -> None:
    found = [PowerSample(low + span * k / 20, 100.0 + slope_w * (low + span * k / 20)) for k in range(21)]
    fit = fit_power_curve(found, n)
    assert fit.power_curve_w == pytest.approx([100.0 + slope_w * k / (n - 1) for k in range(n)], abs=0.01)
    assert fit.max_error_w <= 1e-4


def test_the_continuation_below_never_falls_under_0() -> None:
    fit = fit_power_curve([PowerSample(0.5 + k / 100, 2.0 * k) for k in range(51)], 11)
    assert fit.power_curve_w == pytest.approx([0.0] * 5 + [20.0 * k for k in range(6)], abs=1e-5)


def test_a_ladder_of_single_samples_is_enough() -> None:
    spec = SERVERS["dell-r6515"].power_curve_w
    fit = fit_power_curve(on(spec, 10), 11)
    assert fit.power_curve_w == pytest.approx(spec, abs=1e-4)
    assert fit.samples_per_interval == (1,) * 9 + (2,)
    assert isinstance(fit_power_curve(on(spec, 2)), PowerCurveFit)
    assert fit_power_curve(on(spec, 1)).power_curve_w == pytest.approx((spec[0], spec[-1]))


@pytest.mark.parametrize(
    ("found", "n", "said"),
    [
        ([], None, "samples: there are none, they must span at least 10%; measure from idle to full load"),
        ([(0.5, 1.0), (0.55, 2.0)], None, "all loads lie between 50.0% and 55.0%"),
        ([(0.0, 1.0), (1.2, 2.0)], None, "sample 2: has a load of 1.2, must be 0 to 1"),
        ([(0.0, 1.0), (math.nan, 2.0)], None, "sample 2: has a load of nan"),
        ([(0.0, -1.0), (1.0, 2.0)], None, "sample 1: has a power of -1 W, must be at least 0"),
        ([(0.0, 1.0), (1.0, math.inf)], None, "sample 2: has a power of inf W"),
        ([(0.0, 1.0), (1.0, 2.0)], 1, "points: is 1, must be 2 to 21"),
        ([(0.0, 1.0), (1.0, 2.0)], 22, "points: is 22, must be 2 to 21"),
    ],
)
def test_what_cannot_be_fitted_is_refused(found: list[tuple[float, float]], n: int | None, said: str) -> None:
    with pytest.raises(InputError) as raised:
        fit_power_curve([PowerSample(*pair) for pair in found], n)
    assert said in str(raised.value)

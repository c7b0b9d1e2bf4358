"""Response times in steady state: against closed forms, and against each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.library.queueing import (
    SATURATED_RATIO,
    Discipline,
    ResponseModel,
    Workers,
    erlang_c_ratio,
    shared_processor_quantiles,
    shared_queue_quantile,
)

SHARED = ResponseModel(service_s=0.01, discipline="shared-queue")
SHARING = ResponseModel(service_s=0.01)
loads = st.floats(0.0, SATURATED_RATIO)


@pytest.fixture(scope="module", autouse=True)
def solved() -> None:
    """Once for all, for a test's deadline."""
    for cores in range(1, 8):
        shared_processor_quantiles(cores, 0.5)


def test_erlang_c_is_that_of_the_tables() -> None:
    # A. O. Allen, Probability, Statistics, and Queueing Theory, 1990: C(5, 4) = 0.5541, C(10, 8) = 0.4092
    assert erlang_c_ratio(5, 4.0) == pytest.approx(0.5541, abs=5e-5)
    assert erlang_c_ratio(10, 8.0) == pytest.approx(0.4092, abs=5e-5)


@given(servers=st.integers(1, 40), load=st.floats(0.01, 0.99))
def test_erlang_c_is_the_sum_of_the_steady_states_in_which_all_are_busy(servers: int, load: float) -> None:
    offered = servers * load
    states = [offered**n / math.factorial(n) for n in range(servers)]
    waiting = offered**servers / math.factorial(servers) / (1.0 - load)
    assert erlang_c_ratio(servers, offered) == pytest.approx(waiting / (math.fsum(states) + waiting), rel=1e-9)


def test_a_part_of_a_server_lies_between_its_neighbours() -> None:
    assert erlang_c_ratio(5, 4.0) < erlang_c_ratio(4.5, 4.0) < 1.0 == erlang_c_ratio(4, 4.0)


@given(load=loads)
def test_one_server_with_a_queue_has_exponential_response_times(load: float) -> None:
    assert shared_queue_quantile(1, load, 0.95) == pytest.approx(-math.log(0.05) / (1.0 - load), rel=1e-4)


@pytest.mark.parametrize("cores", [1, 2, 4, 16])
def test_without_load_a_response_takes_its_service_time_alone(cores: int) -> None:
    assert shared_processor_quantiles(cores, 0.0)[3] == pytest.approx(-math.log(0.05), rel=1e-3)
    assert SHARING.mean_s([Workers(3, cores, 1.0)], 0.0) == pytest.approx(0.01)


@pytest.mark.parametrize("load", [0.1, 0.42, 0.72, 0.9, 0.95])
def test_quantiles_under_processor_sharing_fit_the_known_moments_of_one_core(load: float) -> None:
    """Mean ``1/(1−ρ)`` and squared variation ``(2+ρ)/(2−ρ)`` (Coffman, Muntz and Trotter, 1970), integrated from the quantiles."""
    from ecovisor.library.queueing import _tail

    quantiles = shared_processor_quantiles(1, load)
    step = quantiles[-1] / 1000
    tails = [_tail(quantiles, (k + 0.5) * step) for k in range(5000)]
    mean = math.fsum(tails) * step
    second = 2.0 * math.fsum(t * (k + 0.5) * step for k, t in enumerate(tails)) * step
    assert mean == pytest.approx(1.0 / (1.0 - load), rel=0.03)
    assert second / mean**2 - 1.0 == pytest.approx((2.0 + load) / (2.0 - load), rel=0.12)


@pytest.mark.parametrize("load", [0.1, 0.63, 0.86, 0.945])
def test_between_the_loads_that_were_solved_the_quantile_is_off_by_less_than_a_hundredth(load: float) -> None:
    from ecovisor.library.queueing import _absorption_quantiles

    for cores in (1, 4):
        assert shared_processor_quantiles(cores, load)[3] == pytest.approx(_absorption_quantiles(cores, load)[3], rel=0.01)


@given(low=loads, high=loads, cores=st.floats(0.5, 6.0), discipline=st.sampled_from(["processor-sharing", "shared-queue"]))
def test_more_load_is_never_faster(low: float, high: float, cores: float, discipline: Discipline) -> None:
    model = ResponseModel(service_s=0.01, discipline=discipline)
    low, high = sorted((low, high))
    workers = [Workers(3, cores, 0.7)]
    assert model.p95_s(workers, low) <= model.p95_s(workers, high) * (1 + 1e-6)
    assert model.mean_s(workers, low) <= model.mean_s(workers, high) * (1 + 1e-9)


@given(load=loads, speed=st.floats(0.05, 1.0), discipline=st.sampled_from(["processor-sharing", "shared-queue"]))
def test_half_the_speed_is_twice_the_time_at_the_same_part_of_the_capacity(
    load: float, speed: float, discipline: Discipline
) -> None:
    model = ResponseModel(service_s=0.01, discipline=discipline)
    full, slow = [Workers(4, 4, 1.0)], [Workers(4, 4, speed)]
    assert model.p95_s(slow, load) * speed == pytest.approx(model.p95_s(full, load), rel=1e-6)
    assert model.mean_s(slow, load) * speed == pytest.approx(model.mean_s(full, load), rel=1e-9)


@given(load=loads, speed=st.floats(0.2, 1.0))
def test_unlike_workers_are_as_fast_as_something_between_them(load: float, speed: float) -> None:
    mixed = SHARING.p95_s([Workers(2, 4, 1.0), Workers(3, 4, speed)], load)
    fast, slow = SHARING.p95_s([Workers(1, 4, 1.0)], load), SHARING.p95_s([Workers(1, 4, speed)], load)
    assert fast * (1 - 1e-4) <= mixed <= slow * (1 + 1e-4)
    assert SHARING.p95_s([Workers(2, 4, speed), Workers(3, 4, speed)], load) == pytest.approx(slow, rel=1e-3)


@given(workers=st.integers(1, 20), slo=st.floats(0.035, 0.2), discipline=st.sampled_from(["processor-sharing", "shared-queue"]))
def test_the_highest_rate_within_a_percentile_just_meets_it(workers: int, slo: float, discipline: Discipline) -> None:
    model = ResponseModel(service_s=0.01, discipline=discipline)
    group = [Workers(workers, 2, 1.0)]
    rate = model.most_per_s(group, slo)
    assert 0.0 < rate <= SATURATED_RATIO * model.capacity_per_s(group)
    assert model.p95_s(group, rate / model.capacity_per_s(group)) <= slo
    if rate < SATURATED_RATIO * model.capacity_per_s(group) * 0.999:
        assert model.p95_s(group, rate / model.capacity_per_s(group) + 0.002) > slo


def test_nothing_is_served_in_time_by_nobody_or_where_even_idle_workers_are_too_slow() -> None:
    assert SHARED.most_per_s([], 1.0) == 0.0
    assert SHARED.most_per_s([Workers(4, 4, 0.0)], 1.0) == 0.0
    assert SHARING.most_per_s([Workers(4, 4, 1.0)], 0.02) == 0.0


def test_one_queue_for_all_is_faster_than_a_queue_for_each() -> None:
    workers = [Workers(10, 4, 1.0)]
    assert SHARED.p95_s(workers, 0.85) < SHARING.p95_s(workers, 0.85)


def test_the_base_time_is_added_whatever_the_load() -> None:
    slow = ResponseModel(service_s=0.01, base_s=0.005)
    assert slow.p95_s([Workers(2, 4, 1.0)], 0.8) == pytest.approx(SHARING.p95_s([Workers(2, 4, 1.0)], 0.8) + 0.005)
    assert slow.mean_s([Workers(2, 4, 1.0)], 0.8) == pytest.approx(SHARING.mean_s([Workers(2, 4, 1.0)], 0.8) + 0.005)

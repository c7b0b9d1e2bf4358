"""Policies on sun and battery alone: they never import, by day they keep what they guarantee, at night nothing runs."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.engine.loop import Loop
from ecovisor.policies.battery_smoothing import BatterySmoothing
from ecovisor.policies.daytime_workers import carried, guaranteed_workers, is_day
from ecovisor.policies.opportunistic_workers import OpportunisticWorkers, additional_workers
from ecovisor.ports import Policy
from ecovisor.testing import MemorySink, PolicyContract, small_site
from ecovisor.testing.sites import APP, BATTERY, START_S

TICKS_PER_DAY = 96


class TestBatterySmoothing(PolicyContract):
    def make(self) -> Policy:
        return BatterySmoothing(workers=2)


class TestOpportunisticWorkers(PolicyContract):
    def make(self) -> Policy:
        return OpportunisticWorkers(workers=1, most_workers=5)


class Saturating:
    """As many cores as run, all busy."""

    def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
        return cores / 4.0 * 5.0

    def run(self, served_w: float, tick_s: float) -> None:
        pass


def cores_running(
    policy: Callable[[], Policy], solar_w: Sequence[float], *, initial_ratio: float = 0.0, grid_limit_w: float = math.inf
) -> tuple[MemorySink, list[float]]:
    """The tables of a run with a sun of one's own, and the demand of the app's containers as workers of 5 W. [W]"""
    sink = MemorySink()
    site = small_site(
        policy,
        Saturating,
        days=len(solar_w) / TICKS_PER_DAY,
        solar_w=solar_w,
        battery=dataclasses.replace(BATTERY, initial_ratio=initial_ratio, self_discharge_per_hour=0.0),
        grid_limit_w=grid_limit_w,
        sink=sink,
    )
    Loop(site).run(len(solar_w))
    return sink, [power_w / 5.0 for power_w in sink.column("flows", "demand_w", APP)]


suns = st.lists(st.sampled_from([0.0, 2.0, 9.9, 25.0, 60.0, 150.0]), min_size=12, max_size=12).map(
    lambda hours: array("d", [power_w for power_w in hours * 2 for _ in range(4)])
)


@pytest.mark.parametrize(
    "policy", [lambda: BatterySmoothing(2, morning_h=5.0, evening_h=21.0), lambda: OpportunisticWorkers(2, 12, evening_h=21.0)]
)
@given(solar_w=suns, initial_ratio=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=12, deadline=None)
def test_they_never_import_and_are_never_short(policy: Callable[[], Policy], solar_w: array[float], initial_ratio: float) -> None:
    sink, workers = cores_running(policy, solar_w, initial_ratio=initial_ratio)
    for name in ("grid_to_load_w", "grid_to_battery_w", "unserved_w", "carbon_g"):
        assert max(sink.column("flows", name, APP)) == 0.0
    assert all(count == round(count) for count in workers)


@given(solar_w=suns, initial_ratio=st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=8, deadline=None)
def test_opportunism_costs_no_guaranteed_worker(solar_w: array[float], initial_ratio: float) -> None:
    """As long as the battery bridges no clouds for the additional ones."""
    _, fixed = cores_running(lambda: BatterySmoothing(2), solar_w, initial_ratio=initial_ratio)
    _, more = cores_running(
        lambda: OpportunisticWorkers(2, 12, full_ratio=1.0, keep_ratio=1.0), solar_w, initial_ratio=initial_ratio
    )
    assert all(b >= a for a, b in zip(fixed, more, strict=True))


def test_workers_run_between_morning_and_evening_only() -> None:
    _, workers = cores_running(lambda: BatterySmoothing(2, morning_h=8.0, evening_h=18.0), [60.0] * 2 * TICKS_PER_DAY)
    for k, count in enumerate(workers):
        assert count == (2.0 if 8.0 <= k % TICKS_PER_DAY / 4.0 < 18.0 else 0.0), k


def test_excess_sun_feeds_more_workers_once_the_battery_is_full() -> None:
    sink, workers = cores_running(lambda: OpportunisticWorkers(2, 9, morning_h=0.0, evening_h=23.0), [60.0] * TICKS_PER_DAY)
    level_wh, capacity_wh = (sink.column("flows", name, APP) for name in ("battery_level_wh", "capacity_wh"))
    for k in range(1, 90):
        was_full = level_wh[k - 1] >= 0.99 * capacity_wh[k]
        assert workers[k] == (6.0 if was_full else 2.0), "half of 60 W are six workers"
    assert 6.0 in workers


def test_the_battery_carries_them_through_a_cloud_and_not_through_a_dull_afternoon() -> None:
    sunny, cloud, dull = [60.0] * 44, [20.0] * 2, [20.0] * 20
    _, workers = cores_running(
        lambda: OpportunisticWorkers(2, 9, morning_h=0.0, evening_h=23.0, keep_ratio=0.7), [*sunny, *cloud, *sunny[:14], *dull]
    )
    assert set(workers[40:60]) == {6.0}
    assert workers[-1] == 2.0


@given(st.floats(0.0, 1e6), st.floats(0.0, 48.0), st.floats(0.1, 23.9))
def test_a_day_is_as_long_as_from_morning_to_evening(now_s: float, morning_h: float, length_h: float) -> None:
    evening_h = (morning_h + length_h) % 24.0
    minutes = sum(is_day(now_s + 60.0 * k, morning_h % 24.0, evening_h) for k in range(1440))
    assert minutes / 60.0 == pytest.approx(length_h, abs=0.05)


@given(
    st.integers(0, 10), st.integers(0, 10), st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0)
)
def test_no_more_than_wanted_and_no_more_than_carried(
    wanted: int, running: int, solar_w: float, battery_w: float, level: float, resume: float
) -> None:
    count = guaranteed_workers(wanted, running, 5.0, solar_w, battery_w, level, resume)
    assert 0 <= count <= wanted
    assert count * 5.0 <= (solar_w + battery_w) * (1.0 + 1e-9)
    assert count >= min(wanted, running, carried(solar_w + battery_w, 5.0))


def test_additional_workers_by_level() -> None:
    assert additional_workers(3, 5, 1.0, 0.99, 0.9) == 5
    assert additional_workers(3, 1, 1.0, 0.99, 0.9) == 3
    assert additional_workers(3, 1, 0.95, 0.99, 0.9) == 3
    assert additional_workers(3, 5, 0.95, 0.99, 0.9) == 3
    assert additional_workers(3, 1, 0.5, 0.99, 0.9) == 1
    assert additional_workers(3, 5, 0.5, 0.99, 0.9) == 3
    assert additional_workers(3, 1, 1.0, 1.0, 1.0) == 1, "no cloud is bridged"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: BatterySmoothing(workers=-1),
        lambda: BatterySmoothing(worker_w=0.0),
        lambda: OpportunisticWorkers(workers=9, most_workers=8),
        lambda: OpportunisticWorkers(worker_w=math.nan),
        lambda: OpportunisticWorkers(full_ratio=0.5, keep_ratio=0.9),
    ],
)
def test_what_cannot_be_is_refused(wrong: Callable[[], Policy]) -> None:
    with pytest.raises(ValueError, match="give"):
        wrong()


def test_an_app_that_says_what_it_can_use_gets_no_more() -> None:
    class WithMetrics(Saturating):
        metrics = {"workers_wanted": 3.0}  # noqa: RUF012

    sink = MemorySink()
    policy = lambda: OpportunisticWorkers(2, 9, morning_h=0.0, evening_h=23.0)  # noqa: E731
    Loop(small_site(policy, WithMetrics, days=1.0, solar_w=[60.0] * TICKS_PER_DAY, sink=sink)).run(TICKS_PER_DAY)
    assert START_S % 86400.0 == 0.0
    assert max(sink.column("flows", "demand_w", APP)) == 15.0

"""Notifications, budgets and intervals: the pure parts of Table 2."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.library.budgets import CarbonBudget, rate_ceiling_w
from ecovisor.library.intervals import energy_wh, percentile, tick_range
from ecovisor.library.notifications import Notifier, Subscriptions, changed

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "last", "threshold", "told"),
    [
        (110.0, 100.0, 0.1, False),
        (110.1, 100.0, 0.1, True),
        (89.9, 100.0, 0.1, True),
        (0.0, 0.0, 0.1, False),
        (1e-9, 0.0, 0.1, True),
        (NAN, 100.0, 0.1, True),
        (100.0, NAN, 0.1, True),
        (NAN, NAN, 0.0, False),
        (100.0, 100.0, 0.0, False),
    ],
)
def test_a_change_is_worth_telling_beyond_its_threshold(value: float, last: float, threshold: float, told: bool) -> None:
    assert changed(value, last, threshold) is told


@given(st.lists(st.floats(0.0, 1e3), max_size=30), st.floats(0.01, 1.0))
def test_what_was_last_told_is_never_far_from_what_is(values: list[float], threshold: float) -> None:
    told: list[float] = []
    one = Notifier(told.append, threshold)
    for value in values:
        one.observe_change(value)
        assert abs(value - told[-1]) <= threshold * abs(told[-1])


def test_an_edge_is_told_when_it_is_reached_and_again_after_it_was_left() -> None:
    told: list[float] = []
    one = Notifier(told.append)
    for level, reached in ((1.0, False), (5.0, True), (5.0, True), (4.0, False), (5.0, True)):
        one.observe_edge(reached, level)
    assert told == [5.0, 5.0]


def test_a_battery_that_is_none_is_never_full() -> None:
    told: list[str] = []
    subscriptions = Subscriptions()
    subscriptions.full.append(Notifier(lambda _: told.append("full")))
    subscriptions.empty.append(Notifier(lambda _: told.append("empty")))
    subscriptions.observe(0.0, 0.0, 0.0, 0.0)
    assert "full" not in told


def test_a_budget_counts_from_when_it_was_set_and_is_never_below_0() -> None:
    budget = CarbonBudget(10.0, spent_before_g=100.0)
    assert [budget.remaining_g(g) for g in (100.0, 104.0, 110.0, 120.0)] == [10.0, 6.0, 0.0, 0.0]


def test_a_clean_grid_costs_nothing_and_an_unknown_one_is_not_used() -> None:
    assert rate_ceiling_w(10.0, 500.0, 20.0) == 40.0
    assert rate_ceiling_w(0.0, 0.0, 5.0) == math.inf
    assert rate_ceiling_w(100.0, NAN, 5.0) == 5.0


@pytest.mark.parametrize(
    ("start_s", "end_s", "ticks"),
    [
        (0.0, 600.0, (0, 2)),
        (1.0, 599.0, (0, 2)),
        (300.0, 301.0, (1, 2)),
        (300.0, 300.0, (1, 1)),
        (600.0, 300.0, (2, 2)),
        (-300.0, 0.0, (-1, 0)),
    ],
)
def test_an_interval_snaps_outward_to_the_ticks_it_touches(start_s: float, end_s: float, ticks: tuple[int, int]) -> None:
    assert tick_range(start_s, end_s, 0.0, 300.0) == ticks


def test_ticks_that_are_no_binary_fraction_still_align() -> None:
    assert tick_range(0.1 * 3, 0.1 * 7, 0.0, 0.1) == (3, 7)


def test_energy_of_means_and_absence() -> None:
    assert energy_wh([10.0, 20.0], 1800.0) == 15.0
    assert math.isnan(energy_wh([10.0, NAN], 1800.0))
    assert math.isnan(percentile([NAN], 50.0))
    assert math.isnan(percentile([], 50.0))

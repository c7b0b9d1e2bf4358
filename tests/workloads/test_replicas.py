"""Rounds of tasks with stragglers: the first try to finish counts, the others are waste, and no replica ever makes a round longer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workloads.parallel import FULL_W, GPU, IDLE_W, drive, nodes, speed_ratio

from ecovisor.model.errors import SettingsError
from ecovisor.testing.sites import START_S
from ecovisor.workloads.replicas import Replicas
from ecovisor.workloads.stragglers import slowdown


def job(**options: Any) -> Replicas:
    return Replicas(server=GPU, **{"tasks": 5, "rounds": 6, "compute_s": 100.0, "seed": 1} | options)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(1.5, 12.0), min_size=5, max_size=5), st.integers(0, 50), st.sampled_from([3.0, 60.0, 61.5, 5000.0]))
def test_without_spares_each_round_is_as_long_as_its_slowest_task(caps_w: list[float], seed: int, tick_s: float) -> None:
    by_hand_s = math.fsum(
        max(100.0 * slowdown(0.2, 5.0, seed, 2, number, task, 0) / speed_ratio(cap_w) for task, cap_w in enumerate(caps_w))
        for number in range(6)
    )
    one = job(seed=seed)
    assert drive(one, nodes(caps_w), tick_s) == pytest.approx(by_hand_s, rel=1e-9)
    assert one.work_done == one.work_total == 5 * 6 * 100.0
    assert one.metrics["replicas_issued"] == one.metrics["wasted_wh"] == 0.0


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 200), st.integers(0, 12))
def test_replicas_never_make_the_job_longer_and_the_tick_does_not_matter(seed: int, spares: int) -> None:
    alone, helped, finely = job(seed=seed), job(seed=seed), job(seed=seed)
    alone_s = drive(alone, nodes([FULL_W] * 5), 60.0)
    helped_s = drive(helped, nodes([FULL_W] * (5 + spares)), 60.0)
    assert helped_s <= alone_s * (1.0 + 1e-9)
    assert drive(finely, nodes([FULL_W] * (5 + spares)), 7.0) == pytest.approx(helped_s, rel=1e-9)
    for name in ("replicas_issued", "replicas_won", "wasted_wh"):
        assert finely.metrics[name] == pytest.approx(helped.metrics[name], rel=1e-6, abs=1e-9)
    assert helped.metrics["replicas_won"] <= helped.metrics["replicas_issued"]


def test_a_straggler_is_overtaken_and_its_work_is_wasted() -> None:
    seed = next(s for s in range(500) if slowdown(0.2, 5.0, s, 2, 0, 0, 0) > 3.0 and slowdown(0.2, 5.0, s, 2, 0, 0, 1) == 1.0)
    one = job(tasks=1, rounds=1, seed=seed, most_replicas=1)
    assert drive(one, nodes([FULL_W] * 2), 30.0) == pytest.approx(20.0 + 100.0)  # known after a fifth of the work, then done anew
    assert one.metrics["replicas_issued"] == one.metrics["replicas_won"] == 1.0
    assert one.metrics["wasted_wh"] == pytest.approx(120.0 * FULL_W / 3600.0)  # of the original, all the time


def test_with_several_tries_only_one_comes_to_anything() -> None:
    seed = next(s for s in range(500) if slowdown(0.2, 5.0, s, 2, 0, 0, 0) > 3.0 and slowdown(0.2, 5.0, s, 2, 0, 0, 1) == 1.0)
    one = job(tasks=1, rounds=1, seed=seed, most_replicas=3)
    assert drive(one, nodes([FULL_W] * 9), 30.0) == pytest.approx(120.0)
    assert (one.metrics["replicas_issued"], one.metrics["replicas_won"]) == (3.0, 1.0)
    assert one.metrics["wasted_wh"] == pytest.approx((120.0 + 100.0 + 100.0) * FULL_W / 3600.0)


def test_what_is_wanted_is_what_slow_tasks_lack() -> None:
    seed = next(s for s in range(500) if slowdown(0.2, 5.0, s, 2, 0, 0, 0) > 3.0)
    one = job(tasks=1, rounds=1, seed=seed, most_replicas=3)
    drive(one, nodes([FULL_W]), 10.0, ticks=1)
    assert one.metrics["replicas_wanted"] == 0.0  # nobody knows yet
    drive(one, nodes([FULL_W]), 10.0, ticks=2)
    assert one.metrics["replicas_wanted"] == 3.0
    drive(one, nodes([FULL_W] * 3), 10.0, ticks=1)
    assert (one.metrics["replicas_wanted"], one.metrics["replicas_running"]) == (1.0, 2.0)
    drive(one, nodes([FULL_W] * 2), 10.0, ticks=1)  # one spare has gone, and with it what it did
    assert (one.metrics["replicas_wanted"], one.metrics["replicas_running"]) == (2.0, 1.0)
    assert one.metrics["wasted_wh"] == pytest.approx(10.0 * FULL_W / 3600.0)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.floats(0.0, 12.0), min_size=8, max_size=8),
    st.integers(0, 50),
    st.lists(st.floats(0.0, 1.0), min_size=10, max_size=10),
    st.booleans(),
)
def test_power_stays_between_idle_and_cap_and_waste_within_what_was_used(
    caps_w: list[float], seed: int, granted: list[float], stalled: bool
) -> None:
    one, containers, used_wh = job(seed=seed, stalled=stalled), nodes(caps_w, [6]), [0.0]

    def look(_: int, asked_w: Sequence[float], served_w: Sequence[float]) -> None:
        for container, asked in zip(containers, asked_w, strict=True):
            on = container.running and container.cap_w >= IDLE_W
            assert asked <= min(container.cap_w, FULL_W) * (1.0 + 1e-12) if on else asked == 0.0
            if on and math.isnan(one.completed_s):
                assert asked >= IDLE_W * (1.0 - 1e-12)
        used_wh[0] += sum(served_w) / 60.0
        assert one.metrics["wasted_wh"] <= used_wh[0] + 1e-9
        assert 0.0 <= one.work_done <= one.work_total

    drive(one, containers, 60.0, ticks=10, granted_ratio=lambda k: granted[k], each=look)


def test_a_stalled_straggler_draws_in_proportion_to_its_speed() -> None:
    seed = next(s for s in range(500) if slowdown(0.2, 5.0, s, 2, 0, 0, 0) > 3.0)
    slow = slowdown(0.2, 5.0, seed, 2, 0, 0, 0)
    one = job(tasks=1, rounds=1, seed=seed, stalled=True)
    assert one.demands_w(START_S, 10.0, nodes([FULL_W])) == pytest.approx([IDLE_W + (FULL_W - IDLE_W) / slow])


def test_a_suspended_replica_goes_on_where_it_was() -> None:
    seed = next(s for s in range(500) if slowdown(0.2, 5.0, s, 2, 0, 0, 0) > 4.5 and slowdown(0.2, 5.0, s, 2, 0, 0, 1) == 1.0)
    one = job(tasks=1, rounds=1, seed=seed, most_replicas=1)
    drive(one, nodes([FULL_W] * 2), 70.0, ticks=1)
    drive(one, nodes([FULL_W] * 2, [1]), 30.0, ticks=1)
    assert one.metrics["replicas_running"] == 1.0
    assert drive(one, nodes([FULL_W] * 2), 200.0) == pytest.approx(50.0)  # of its 100 s it had done 50


@pytest.mark.parametrize(
    ("name", "value"), [("tasks", 0), ("rounds", 0), ("compute_s", 0.0), ("watch_ratio", 2.0), ("slow_ratio", 0.5), ("most_replicas", -1)]
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        job(**{name: value})

"""A synchronous parallel job: it ends when the slowest nodes say so, whatever the tick, and power is worth no more than it is."""

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
from ecovisor.workloads.stragglers import chance, slowdown
from ecovisor.workloads.synchronous import Synchronous

_CAPS_W = st.lists(st.floats(1.5, 12.0), min_size=4, max_size=4)


def job(**options: Any) -> Synchronous:
    return Synchronous(server=GPU, **{"nodes": 4, "steps": 6, "compute_s": 50.0, "io_s": 7.0, "seed": 3} | options)


def by_hand_s(one: Synchronous, caps_w: Sequence[float], *, steps: int, io_s: float, seed: int) -> float:
    """Each step lasts as long as its slowest node needs."""
    return math.fsum(
        max(
            io_s + work * slowdown(0.05, 3.0, seed, 1, step, k) / speed_ratio(cap_w)
            for k, (work, cap_w) in enumerate(zip(one.work_node_s, caps_w, strict=True))
        )
        for step in range(steps)
    )


@settings(max_examples=20, deadline=None)
@given(_CAPS_W, st.integers(0, 50), st.sampled_from([3.0, 60.0, 61.5, 5000.0]))
def test_the_run_time_is_the_sum_of_the_slowest_nodes_whatever_the_tick(caps_w: list[float], seed: int, tick_s: float) -> None:
    one = job(seed=seed)
    assert drive(one, nodes(caps_w), tick_s) == pytest.approx(by_hand_s(one, caps_w, steps=6, io_s=7.0, seed=seed), rel=1e-9)
    assert one.work_done == one.work_total


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.floats(1.5, 10.0), st.sampled_from([7.0, 60.0, 600.0]))
def test_equal_nodes_without_stragglers_are_as_fast_as_one_of_them_each(count: int, cap_w: float, tick_s: float) -> None:
    even = {"imbalance_ratio": 0.0, "straggler_ratio": 0.0, "io_s": 0.0}
    alone, together = job(nodes=1, **even), job(nodes=count, **even)
    assert together.work_total == count * alone.work_total
    one_s, all_s = drive(alone, nodes([cap_w]), tick_s), drive(together, nodes([cap_w] * count), tick_s)
    assert all_s == pytest.approx(one_s, rel=1e-12)
    assert one_s == pytest.approx(6 * 50.0 / speed_ratio(cap_w), rel=1e-9)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.floats(0.0, 12.0), min_size=4, max_size=4),
    st.lists(st.integers(0, 3), max_size=2),
    st.integers(0, 50),
    st.lists(st.floats(0.0, 1.0), min_size=12, max_size=12),
)
def test_nothing_is_done_but_by_the_power_that_was_granted(
    caps_w: list[float], suspended: list[int], seed: int, granted: list[float]
) -> None:
    one, tick_s = job(seed=seed), 60.0
    containers, before = nodes(caps_w, suspended), [0.0]

    def look(k: int, asked_w: Sequence[float], served_w: Sequence[float]) -> None:
        possible = 0.0
        for container, asked, served in zip(containers, asked_w, served_w, strict=True):
            on = container.running and container.cap_w >= IDLE_W
            assert asked <= min(container.cap_w, FULL_W) * (1.0 + 1e-12) if on else asked == 0.0
            if on and math.isnan(one.completed_s):
                assert asked >= IDLE_W * (1.0 - 1e-12)
            full = served >= asked * (1.0 - 1e-9)
            possible += speed_ratio(container.cap_w if full else served) * tick_s if on else 0.0
            assert full or served * tick_s >= 0.0
        assert -1e-9 <= one.work_done - before[0] <= possible + 1e-6
        before[0] = one.work_done

    drive(one, containers, tick_s, ticks=12, granted_ratio=lambda k: granted[k], each=look)


def test_power_above_idle_is_what_the_work_takes() -> None:
    one, energy_j = job(straggler_ratio=0.0), [0.0]
    caps_w = [3.0, 6.0, 10.0, 20.0]
    took_s = drive(one, nodes(caps_w), 60.0, each=lambda _, asked, __: energy_j.__setitem__(0, energy_j[0] + sum(asked) * 60.0))
    above_idle_j = one.work_total * (FULL_W - IDLE_W)  # of a linear curve, whatever the cap
    assert energy_j[0] == pytest.approx(4 * IDLE_W * took_s + above_idle_j, rel=1e-9)


def test_a_suspended_node_holds_up_all_others_and_the_job_goes_on_where_it_was() -> None:
    one, caps_w = job(), [10.0] * 4
    drive(one, nodes(caps_w, [2]), 600.0, ticks=3)
    assert one.metrics["step"] == 0.0
    assert one.metrics["waiting"] == 3.0
    held_up = one.work_done
    drive(one, nodes(caps_w), 60.0)
    assert held_up < one.work_done == one.work_total


def test_before_its_start_and_after_its_end_it_asks_for_nothing() -> None:
    late = job(start_s=START_S + 90.0)
    assert late.demands_w(START_S, 60.0, nodes([10.0] * 4)) == [0.0] * 4
    late.run_containers([0.0] * 4, 60.0)
    asked_w = late.demands_w(START_S + 60.0, 60.0, nodes([10.0] * 4))
    assert all(0.0 < one < FULL_W / 2 + 1e-9 for one in asked_w)
    late.run_containers(asked_w, 60.0)
    drive(late, nodes([10.0] * 4), 60.0)
    assert late.demands_w(START_S + 1e6, 60.0, nodes([10.0] * 4)) == [0.0] * 4
    assert late.completed_s > START_S + 90.0


def test_a_node_whose_container_goes_is_taken_over_with_its_state() -> None:
    one = job(straggler_ratio=0.0)
    drive(one, nodes([10.0] * 4), 20.0, ticks=1)
    others = nodes([10.0] * 5)[1:]
    took_s = 20.0 + drive(one, others, 20.0)
    assert took_s == pytest.approx(6 * 7.0 + 6 * max(one.work_node_s), rel=1e-9)


def test_a_container_that_has_no_task_idles() -> None:
    assert job().demands_w(START_S, 60.0, nodes([10.0] * 5))[4] == pytest.approx(IDLE_W)


def test_imbalance_is_the_deviation_that_was_asked_for() -> None:
    works = job(nodes=10, imbalance_ratio=0.2).work_node_s
    mean = math.fsum(works) / 10
    assert mean == pytest.approx(50.0)
    assert math.sqrt(math.fsum((one - mean) ** 2 for one in works) / 10) == pytest.approx(0.2 * 50.0)


def test_stragglers_are_as_many_and_as_slow_as_was_asked_for() -> None:
    drawn = [slowdown(0.1, 3.0, 7, step, k) for step in range(400) for k in range(10)]
    late = [one for one in drawn if one > 1.0]
    assert 1.0 == min(drawn) < max(drawn) <= 3.0
    assert len(late) / len(drawn) == pytest.approx(0.1, abs=0.02)
    assert math.fsum(late) / len(late) == pytest.approx(2.0, abs=0.1)
    assert chance(1, 2, 3) == chance(1, 2, 3) != chance(1, 3, 2)


@pytest.mark.parametrize(
    ("name", "value"), [("nodes", 0), ("steps", 0), ("compute_s", 0.0), ("io_s", -1.0), ("straggler_ratio", 1.5), ("straggler_worst", 0.5),
                        ("compute_s", math.inf), ("compute_s", math.nan), ("imbalance_ratio", 1.1)],
)  # fmt: skip
def test_options_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        job(**{name: value})


def test_an_imbalance_that_leaves_a_node_without_work_is_refused() -> None:
    with pytest.raises(SettingsError, match="leaves a node without work"):
        job(nodes=10, imbalance_ratio=0.9)

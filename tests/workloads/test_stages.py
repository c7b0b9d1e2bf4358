"""A job in stages: work is done, in memory, checkpointed or lost, and nothing else; what dies unsaved is done again."""

from __future__ import annotations

import heapq
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.ports import ContainerInfo, ContainerWorkload
from ecovisor.presets import ServerParameters
from ecovisor.testing import ContainerWorkloadContract
from ecovisor.workloads.stages import Stages

SERVER = ServerParameters(4.0, (1.35, 5.0))
FULL_W, IDLE_W = 5.0, 1.35
TICK_S = 60.0


def worker(name: str, *, running: bool = True, cap_w: float = math.inf) -> ContainerInfo:
    return ContainerInfo(id=name, cores=4.0, running=running, power_w=0.0, cap_w=cap_w)


def workers(count: int) -> list[ContainerInfo]:
    return [worker(f"c{k + 1}") for k in range(count)]


def job(work_core_h: float = 64.0, **options: Any) -> Stages:
    return Stages(
        server=SERVER, work_core_h=work_core_h, **({"stages": 1, "tasks_per_stage": 64, "task_spread_ratio": 0.0} | options)
    )


def drive(one: Stages, containers: list[ContainerInfo], *, from_s: float = 0.0, ticks: int = 1, served_ratio: float = 1.0) -> float:
    """Some ticks with the same containers; returns the time after them."""
    for k in range(ticks):
        asked_w = one.demands_w(from_s + k * TICK_S, TICK_S, containers)
        one.run_containers([power_w * served_ratio for power_w in asked_w], TICK_S)
    return from_s + ticks * TICK_S


class TestStages(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        return job(200.0, stages=3, task_spread_ratio=0.3, evening_h=18.0, checkpoint_duration_s=60.0, startup_s=30.0)


MOMENTS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["runs", "runs", "runs", "suspended", "gone"]), min_size=4, max_size=4),
        st.sampled_from([1.0, 1.0, 1.0, 0.7, 0.2, 0.0]),
        st.integers(1, 40),
    ),
    max_size=25,
)


@given(
    MOMENTS,
    st.integers(0, 3),
    st.sampled_from([0.0, 900.0, 3600.0]),
    st.sampled_from([0.0, 45.0, 150.0]),
    st.sampled_from([None, 1.0, 2.5]),
)
@settings(max_examples=60, deadline=None)
def test_work_is_checkpointed_in_memory_or_lost_and_nothing_else(
    moments: list[tuple[list[str], float, int]], seed: int, interval_s: float, duration_s: float, evening_h: float | None
) -> None:
    jobs = [
        job(
            20.0,
            stages=3,
            tasks_per_stage=10,
            task_spread_ratio=0.5,
            checkpoint_interval_s=interval_s,
            checkpoint_duration_s=duration_s,
            evening_h=evening_h,
            startup_s=30.0,
            seed=seed,
        )
        for _ in range(2)
    ]
    now_s, saved, lost = 0.0, 0.0, 0.0
    for states, served_ratio, ticks in moments:
        here = [worker(f"c{k}", running=state == "runs") for k, state in enumerate(states) if state != "gone"]
        for _ in range(ticks):
            asked = [one.demands_w(now_s, TICK_S, here) for one in jobs]
            assert asked[0] == asked[1], "the same seed and the same treatment"
            for power_w, container in zip(asked[0], here, strict=True):
                assert 0.0 <= power_w <= (FULL_W if container.running else 0.0)
            for one in jobs:
                one.run_containers([power_w * served_ratio for power_w in asked[0]], TICK_S)
            one = jobs[0]
            accounted = one.checkpointed_core_h + one.in_memory_core_h + one.lost_core_h
            assert accounted == pytest.approx(one.executed_core_h, abs=1e-9)
            assert one.work_done == pytest.approx(one.checkpointed_core_h + one.in_memory_core_h, rel=1e-9, abs=1e-9)
            assert 0.0 <= one.work_done <= one.work_total
            assert one.in_memory_core_h >= 0.0
            assert one.checkpointed_core_h >= saved
            assert one.lost_core_h >= lost
            saved, lost = one.checkpointed_core_h, one.lost_core_h
            now_s += TICK_S
    assert jobs[0].metrics == jobs[1].metrics
    assert (jobs[0].work_done == jobs[0].work_total) == jobs[0].completed


def scheduled_s(stages: list[list[float]], count: int, cores: float) -> float:
    """Run time of tasks [core-h] in their order on ``count`` workers, each taken by the first that is free; by events. [s]"""
    at_s = 0.0
    for tasks in stages:
        free_s = [at_s] * count
        for task in tasks:
            heapq.heappush(free_s, heapq.heappop(free_s) + task / cores * 3600.0)
        at_s = max(free_s)
    return at_s


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 30), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_run_time_is_that_of_list_scheduling_but_for_waits_of_less_than_a_tick(
    count: int, stages: int, tasks: int, seed: int
) -> None:
    one = job(stages * tasks * 0.5, stages=stages, tasks_per_stage=tasks, task_spread_ratio=0.4, seed=seed)
    lengths = one._task_core_h
    expected_s = scheduled_s([lengths[k * tasks : (k + 1) * tasks] for k in range(stages)], count, 4.0)
    drive(one, workers(count), ticks=math.ceil(expected_s / TICK_S) + 2 * stages * tasks)
    # A worker that comes free within a tick goes on at once, but workers are served one after the other: a task may start elsewhere.
    longest_s = max(lengths) / 4.0 * 3600.0
    assert expected_s - longest_s * stages <= one.completed_s <= expected_s + (TICK_S + longest_s) * stages
    if count == 1:
        assert one.completed_s == pytest.approx(expected_s, rel=1e-9)


def test_one_worker_takes_as_long_as_its_cores_need() -> None:
    one = job(8.0)
    drive(one, workers(1), ticks=200)
    assert one.completed_s == pytest.approx(2 * 3600.0)
    assert one.work_done == one.work_total == 8.0
    assert one.metrics["checkpointed_ratio"] == 1.0


def test_nothing_is_asked_after_the_end() -> None:
    one = job(8.0)
    end_s = drive(one, workers(1), ticks=200)
    assert one.completed
    assert list(one.demands_w(end_s, TICK_S, workers(2))) == [0.0, 0.0]


def test_a_worker_without_a_task_idles() -> None:
    one = job(4.0, tasks_per_stage=1)
    assert list(one.demands_w(0.0, TICK_S, workers(3))) == [FULL_W, IDLE_W, IDLE_W]
    assert one.workers_wanted == 1


def test_nothing_is_done_before_the_start() -> None:
    one = job(4.0, start_s=3600.0)
    assert list(one.demands_w(0.0, TICK_S, [worker("c1"), worker("c2", running=False)])) == [IDLE_W, 0.0]
    assert one.workers_wanted == 0
    drive(one, workers(1), ticks=60)
    assert one.executed_core_h == 0.0
    drive(one, workers(1), from_s=3600.0, ticks=15)
    assert one.executed_core_h == pytest.approx(1.0)


@pytest.mark.parametrize("death", ["suspended", "removed", "unpowered"])
def test_results_in_memory_die_with_their_worker(death: str) -> None:
    one = job(64.0)  # tasks of a quarter of an hour
    now_s = drive(one, workers(2), ticks=40)
    assert one.in_memory_core_h == pytest.approx(2 * 40 / 60 * 4.0)
    if death == "unpowered":
        asked_w = one.demands_w(now_s, TICK_S, workers(2))
        one.run_containers([asked_w[0], 0.5 * IDLE_W], TICK_S)
        assert one.in_memory_core_h == pytest.approx(41 / 60 * 4.0)
    else:
        drive(one, workers(1) + ([worker("c2", running=False)] if death == "suspended" else []), from_s=now_s)
        assert one.in_memory_core_h == pytest.approx(41 / 60 * 4.0)
    assert one.lost_core_h == pytest.approx(40 / 60 * 4.0)
    assert one.workers_wanted == 64 - 2, "what the other one has finished need not be done again"


def test_a_checkpoint_saves_finished_tasks_and_not_the_unfinished_one() -> None:
    one = job(64.0, checkpoint_interval_s=2400.0, checkpoint_duration_s=120.0, start_s=0.0)
    now_s = drive(one, workers(1), ticks=40)  # two tasks and two thirds of one
    assert one.checkpointed_core_h == 0.0
    now_s = drive(one, workers(1), from_s=now_s)
    assert one.checkpointed_core_h == 0.0, "it is still being written"
    now_s = drive(one, workers(1), from_s=now_s, ticks=2)
    assert one.checkpointed_core_h == pytest.approx(2.0)
    assert one.executed_core_h == pytest.approx(41 / 60 * 4.0), "writing takes its time"
    drive(one, [], from_s=now_s)
    assert one.checkpointed_core_h == pytest.approx(2.0)
    assert one.lost_core_h == pytest.approx(11 / 60 * 4.0)


def test_a_worker_that_dies_while_it_writes_has_saved_nothing() -> None:
    one = job(64.0, checkpoint_interval_s=1800.0, checkpoint_duration_s=120.0, start_s=0.0)
    drive(one, [], from_s=drive(one, workers(1), ticks=31))
    assert one.checkpointed_core_h == 0.0
    assert one.lost_core_h == pytest.approx(2.0)


def test_the_evenings_checkpoint_is_complete_by_then() -> None:
    one = job(64.0, evening_h=1.0, checkpoint_duration_s=90.0)
    now_s = drive(one, workers(4), ticks=60)
    drive(one, [], from_s=now_s)
    assert one.checkpointed_core_h == pytest.approx(4 * 3.0)
    assert one.lost_core_h == pytest.approx(4 * (13 / 60 * 4.0 + 0.5 / 60 * 4.0)), (
        "13 minutes before writing and half a minute after"
    )


def test_what_an_earlier_stage_has_lost_is_done_before_the_next_goes_on() -> None:
    one = job(16.0, stages=2, tasks_per_stage=8)
    two = workers(2)
    now_s = drive(one, two, ticks=60)
    assert one.metrics["stage"] == 1.0
    now_s = drive(one, two[:1], from_s=now_s)
    assert one.metrics["stage"] == 0.0
    assert one.workers_wanted == 4, "the tasks of the first stage that the second worker had done"
    now_s = drive(one, two[:1], from_s=now_s, ticks=58)
    assert one.metrics["stage"] == 0.0
    drive(one, two[:1], from_s=now_s, ticks=2)
    assert one.metrics["stage"] == 1.0


def test_a_new_worker_has_to_start_first() -> None:
    one = job(64.0, startup_s=90.0)
    now_s = drive(one, workers(1))
    assert one.executed_core_h == 0.0
    now_s = drive(one, workers(1), from_s=now_s)
    assert one.executed_core_h == pytest.approx(0.5 / 60 * 4.0)
    drive(one, workers(2), from_s=now_s)
    assert one.executed_core_h == pytest.approx(1.5 / 60 * 4.0)


def test_a_cap_slows_a_worker_down() -> None:
    one = job(64.0)
    capped = [replace(one_worker, cap_w=IDLE_W + 0.5 * (FULL_W - IDLE_W)) for one_worker in workers(1)]
    assert list(one.demands_w(0.0, TICK_S, capped)) == [pytest.approx(3.175)]
    drive(one, capped, ticks=60)
    assert one.executed_core_h == pytest.approx(2.0)


def test_tasks_spread_as_they_were_told_and_sum_to_the_work() -> None:
    lengths = job(500.0, stages=20, tasks_per_stage=100, task_spread_ratio=0.5, seed=3)._task_core_h
    mean = math.fsum(lengths) / len(lengths)
    spread = math.sqrt(math.fsum((length - mean) ** 2 for length in lengths) / len(lengths))
    assert math.fsum(lengths) == pytest.approx(500.0)
    assert spread / mean == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"work_core_h": 0.0},
        {"work_core_h": math.nan},
        {"stages": 0},
        {"tasks_per_stage": 0},
        {"evening_h": 24.0},
        {"checkpoint_interval_s": -1.0},
        {"startup_s": math.inf},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).split("_per")[0]):
        job(**wrong)

"""A central queue: linear until its server is busy all the time; held against a simulation of the queue, task by task."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.workloads.batch import table_speed_cores
from ecovisor.workloads.task_queue import TaskQueue


def tasks_done(queue: TaskQueue, workers: int, duration_s: float) -> int:
    """A worker asks, waits for the server, is served, computes, and asks again."""
    asking = [(0.0, worker) for worker in range(workers)]
    server_free_s, done = 0.0, 0
    while asking:
        now_s, worker = heapq.heappop(asking)
        server_free_s = max(server_free_s, now_s) + queue.handout_s
        finished_s = server_free_s + queue.task_s
        if finished_s <= duration_s:
            done += 1
            heapq.heappush(asking, (finished_s, worker))
    return done


@pytest.mark.parametrize("workers", [1, 8, 16, 24, 32, 48])
def test_throughput_is_that_of_a_queue_simulated_task_by_task(workers: int) -> None:
    queue = TaskQueue()
    hours_s = 200 * 3600.0
    assert queue.tasks_per_s(workers) * hours_s == pytest.approx(tasks_done(queue, workers, hours_s), rel=0.005)


@given(st.floats(0.1, 1e4), st.floats(0.01, 1e3), st.floats(0.1, 1000.0))
def test_speed_is_linear_up_to_saturation_and_constant_beyond_it(task_s: float, handout_s: float, cores: float) -> None:
    queue = TaskQueue(task_s=task_s, handout_s=handout_s)
    table_cores, table_speed = zip(*queue.speed_table(), strict=True)
    speed = table_speed_cores(cores, table_cores, table_speed, 2)
    assert speed == pytest.approx(min(cores, queue.saturation_cores), rel=1e-9)
    assert queue.tasks_per_s(cores) * (task_s + handout_s) == pytest.approx(speed, rel=1e-9)


def test_the_preset_saturates_at_three_times_eight_cores() -> None:
    assert TaskQueue().saturation_cores == 24.0
    job = TaskQueue().batch_job(work_core_h=80.0, start_s=5.0, deadline_s=9.0)
    assert (job.work_core_h, job.start_s, job.deadline_s, job.idle_when_starved) == (80.0, 5.0, 9.0, True)


@pytest.mark.parametrize("wrong", [{"task_s": 0.0}, {"handout_s": float("nan")}])
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"task-queue: {next(iter(wrong))}"):
        TaskQueue(**wrong)  # type: ignore[arg-type]  # deliberately wrong

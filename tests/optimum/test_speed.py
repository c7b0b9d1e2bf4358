"""The curve of speed against power lies above everything that a running job can do."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.optimum.speed import speed_curve
from ecovisor.physics.server_power import power_at_w
from ecovisor.presets import SERVERS, ServerParameters
from ecovisor.workloads.batch import load_ratio, table_speed_cores, usl_speed_cores
from ecovisor.workloads.containers import effective_cores
from ecovisor.workloads.models import BatchJob

curves = st.lists(st.floats(0.0, 50.0), min_size=2, max_size=11).map(
    lambda steps: tuple(sum(steps[: k + 1]) for k in range(len(steps)))
)
tables = st.lists(st.tuples(st.floats(0.1, 6.0), st.floats(0.0, 5.0)), min_size=2, max_size=6).map(
    lambda points: tuple((sum(c for c, _ in points[: k + 1]), s) for k, (_, s) in enumerate(points))
)
jobs = st.one_of(
    st.builds(
        BatchJob,
        work_core_h=st.just(1.0),
        start_s=st.just(0.0),
        contention=st.floats(0.0, 1.0),
        coherency=st.one_of(st.just(0.0), st.floats(1e-4, 2.0)),
    ),
    st.builds(BatchJob, work_core_h=st.just(1.0), start_s=st.just(0.0), speed_table=tables),
)


def speed(job: BatchJob, working: float) -> float:
    if job.speed_table is None:
        return usl_speed_cores(working, job.contention, job.coherency)
    return table_speed_cores(working, [c for c, _ in job.speed_table], [s for _, s in job.speed_table], len(job.speed_table))


def at(x: float, xs: tuple[float, ...], ys: tuple[float, ...]) -> float:
    for (x1, y1), (x2, y2) in pairwise(zip(xs, ys, strict=True)):
        if x < x2:
            return y1 + (y2 - y1) * (x - x1) / (x2 - x1)
    return ys[-1]


@given(
    jobs,
    curves,
    st.floats(0.5, 20.0),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=4),
)
def test_no_mix_of_containers_under_any_caps_is_faster(
    job: BatchJob, curve: tuple[float, ...], cores: float, mix: list[tuple[float, float]]
) -> None:
    server = ServerParameters(4.0, curve)
    found = speed_curve(job, cores, server)
    working = power_w = 0.0
    for size, cap in mix:
        own = cores * size / len(mix)
        own_w = own / 4.0 * (curve[0] + cap * (curve[-1] - curve[0]))
        power_w += own_w
        working += effective_cores(curve, len(curve), 4.0, own, own_w)
    assert speed(job, working) <= at(power_w, found.power_w, found.speed_cores) * (1.0 + 1e-9) + 1e-12


@given(
    jobs,
    curves,
    st.floats(0.5, 20.0),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=4),
)
def test_no_mix_of_containers_whose_waiting_cores_idle_is_faster(
    job: BatchJob, curve: tuple[float, ...], cores: float, mix: list[tuple[float, float]]
) -> None:
    idling = replace(job, idle_when_starved=True)
    server = ServerParameters(4.0, curve)
    found = speed_curve(idling, cores, server)
    running = sum(cores * size / len(mix) for size, _ in mix)
    load = load_ratio(running, speed(job, running))
    working = power_w = 0.0
    for size, cap in mix:
        own = cores * size / len(mix)
        full_w = own / 4.0 * power_at_w(curve, len(curve), load)
        idle_w = own / 4.0 * curve[0]
        own_w = idle_w + cap * (full_w - idle_w)
        power_w += own_w
        working += min(effective_cores(curve, len(curve), 4.0, own, own_w), own * load)
    achieved = speed(job, working) if load >= 1.0 else min(working, speed(job, running))
    assert achieved <= at(power_w, found.power_w, found.speed_cores) * (1.0 + 1e-9) + 1e-9


def test_cores_that_idle_while_they_wait_pay_for_idle_power_alone() -> None:
    job = BatchJob(work_core_h=1.0, start_s=0.0, speed_table=((1.0, 1.0), (4.0, 2.5)), idle_when_starved=True)
    found = speed_curve(job, 4.0, SERVERS["microserver"])
    assert found.power_w == pytest.approx((0.0, 1.25, 1.35 + 2.5 / 4.0 * (5.0 - 1.35)))
    assert found.speed_cores == pytest.approx((0.0, 1.0, 2.5))
    assert found.running_cores == pytest.approx((0.0, 1.0, 4.0))


def test_a_mid_load_that_is_the_most_efficient_is_used() -> None:
    job = BatchJob(work_core_h=1.0, start_s=0.0, idle_when_starved=True, speed_table=((1.0, 0.9), (8.0, 4.0)))
    server = ServerParameters(4.0, (1.0, 1.5, 8.0))
    found = speed_curve(job, 8.0, server)
    assert at(1.5 / 4.0, found.power_w, found.speed_cores) == pytest.approx(0.5)  # one core at half load


@given(jobs, curves, st.floats(0.5, 20.0))
def test_the_curve_rises_and_is_concave(job: BatchJob, curve: tuple[float, ...], cores: float) -> None:
    found = speed_curve(job, cores, ServerParameters(4.0, curve))
    points = list(zip(found.power_w, found.speed_cores, strict=True))
    assert points[0][0] == 0.0
    slopes = [(s2 - s1) / (p2 - p1) for (p1, s1), (p2, s2) in pairwise(points)]
    assert all(slope > 0.0 for slope in slopes)
    assert all(late <= early * (1.0 + 1e-6) for early, late in pairwise(slopes))


def test_tangents_lie_little_above_the_law() -> None:
    job = BatchJob(work_core_h=1.0, start_s=0.0, contention=0.05, coherency=0.002)
    found = speed_curve(job, 16.0, SERVERS["microserver"])
    assert 0.0 < found.excess_ratio < 0.005
    assert found.most_speed_cores == pytest.approx(usl_speed_cores(16.0, 0.05, 0.002))


def test_cores_beyond_the_fastest_count_are_not_used() -> None:
    job = BatchJob(work_core_h=1.0, start_s=0.0, contention=0.1, coherency=0.1)
    found = speed_curve(job, 16.0, SERVERS["microserver"])
    assert found.most_speed_cores == pytest.approx(usl_speed_cores(3.0, 0.1, 0.1))
    assert 0.9 < found.most_power_w / (3.0 / 4.0 * 5.0) <= 1.0


def test_writing_checkpoints_slows_the_job() -> None:
    job = BatchJob(work_core_h=1.0, start_s=0.0, checkpoint_interval_s=900.0, checkpoint_duration_s=100.0)
    assert speed_curve(job, 4.0, SERVERS["microserver"]).most_speed_cores == pytest.approx(3.6)

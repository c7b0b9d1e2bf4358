"""Batch jobs in the engine: work is conserved, completion is exact, waiting costs nothing but time, power loss costs progress."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine import build

from ecovisor.engine.loop import Loop
from ecovisor.engine.site import Site
from ecovisor.workloads.batch import busy_ratio, checkpointing_ratio, progress_core_h, table_speed_cores, usl_speed_cores
from ecovisor.workloads.containers import effective_cores, group_power_w
from ecovisor.workloads.models import BatchJob, ConstantDemand, TracedDemand

CURVE = (1.35, 5.0)


def job_site(job: BatchJob, kept: build.Keep | None = None, **options: Any) -> Site:
    return build.site(build.app("job", 1.0, workload=job, **options), battery=None, sink=kept, ticks=200)


@given(st.floats(1.0, 512.0), st.floats(0.0, 0.2), st.floats(0.0, 0.01))
def test_more_cores_than_one_are_never_worth_more_than_they_are(cores: float, contention: float, coherency: float) -> None:
    assert 0.0 < usl_speed_cores(cores, contention, coherency) <= cores
    assert usl_speed_cores(0.5, contention, coherency) == 0.5
    assert usl_speed_cores(cores, 0.0, 0.0) == cores


def test_the_universal_scalability_law_as_printed() -> None:
    assert usl_speed_cores(32.0, 0.02, 0.0005) == pytest.approx(32.0 / (1 + 0.02 * 31 + 0.0005 * 32 * 31), rel=1e-15)


def test_a_measured_table_is_met_and_interpolated() -> None:
    cores, speed = [2.0, 4.0, 8.0], [2.0, 3.0, 4.0]
    assert [table_speed_cores(n, cores, speed, 3) for n in (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 99.0)] == [
        0.0, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.0,
    ]  # fmt: skip


def test_the_last_tick_is_as_long_as_the_work_that_is_left() -> None:
    assert busy_ratio(1.0, 4.0, 0.0, 3600.0) == 0.25
    assert busy_ratio(1.0, 4.0, 900.0, 3600.0) == 0.5
    assert busy_ratio(100.0, 4.0, 0.0, 3600.0) == busy_ratio(1.0, 0.0, 0.0, 3600.0) == 1.0
    assert progress_core_h(100.0, 4.0, 900.0, 3600.0) == 3.0
    assert progress_core_h(1.0, 4.0, 900.0, 600.0) == 0.0
    assert progress_core_h(1.0, 4.0, 0.0, 3600.0) == 1.0
    assert checkpointing_ratio(0.0, 5.0) == 1.0
    assert checkpointing_ratio(3600.0, 400.0) == 0.9


@given(st.floats(0.0, 1.0), st.floats(1.0, 64.0))
def test_power_granted_is_the_work_it_is_worth(utilisation: float, cores: float) -> None:
    power_w = group_power_w(CURVE, 2, 4.0, cores, utilisation, math.inf)
    assert effective_cores(CURVE, 2, 4.0, cores, power_w) == pytest.approx(cores * utilisation, abs=1e-9 * cores)
    assert effective_cores(CURVE, 2, 4.0, cores, 1.35 * cores / 4.0) == pytest.approx(0.0, abs=1e-12)
    assert effective_cores(CURVE, 2, 4.0, 0.0, 10.0) == 0.0


@pytest.mark.parametrize(
    ("job", "cores", "hours"),
    [
        (BatchJob(work_core_h=10.0, start_s=0.0), 4.0, 2.5),
        (BatchJob(work_core_h=10.0, start_s=0.0, contention=0.1), 4.0, 10.0 / (4.0 / 1.3)),
        (BatchJob(work_core_h=10.0, start_s=0.0, contention=0.1, coherency=0.01), 4.0, 10.0 / (4.0 / 1.42)),
        (BatchJob(work_core_h=10.0, start_s=0.0, speed_table=((1.0, 1.0), (4.0, 2.0))), 4.0, 5.0),
        (BatchJob(work_core_h=9.0, start_s=0.0, checkpoint_interval_s=3600.0, checkpoint_duration_s=400.0), 4.0, 2.5),
        (BatchJob(work_core_h=10.0, start_s=0.0, restart_duration_s=900.0), 4.0, 2.5),  # the first start is no restart
        (BatchJob(work_core_h=10.0, start_s=1500.0), 4.0, 2.5 + 1500 / 3600),
    ],
)
def test_completion_is_when_arithmetic_says(job: BatchJob, cores: float, hours: float) -> None:
    site = job_site(job, cores=cores)
    build.run(site, 200)
    energy = site.app("job")
    assert energy.completed
    assert energy.progress_ratio == 1.0
    assert site.get(0, "completed_s") == pytest.approx(hours * 3600.0, rel=1e-12)
    running_h = hours - job.start_s / 3600.0
    assert site.get(0, "grid_to_load_total_wh") == pytest.approx(5.0 * cores / 4.0 * running_h, rel=1e-12)


def test_a_job_that_waits_draws_nothing_and_keeps_its_work() -> None:
    kept = build.Keep()
    job = BatchJob(work_core_h=10.0, start_s=0.0, checkpoint_interval_s=3000.0, restart_duration_s=300.0)
    site = job_site(job, kept)
    energy, loop = site.app("job"), Loop(site)
    loop.run(7)
    done = energy.progress_ratio
    assert done == pytest.approx(7 * 4.0 / 12 / 10)
    ways: list[tuple[Callable[[], object], Callable[[], object]]] = [
        (lambda: energy.scale_containers(0.0), lambda: energy.scale_containers(1.0)),
        (lambda: energy.suspend_container("c1"), lambda: energy.resume_container("c1")),
        (lambda: energy.set_app_powercap(0.5), lambda: energy.set_app_powercap(math.inf)),
    ]
    for suspend, resume in ways:
        now = int(site.memory.get("tick"))
        suspend()
        loop.run(now + 5)
        assert energy.progress_ratio == done
        assert kept.of("job", "demand_w")[-5:] == [0.0] * 5
        resume()
        loop.run(now + 7)  # one tick to restart, one of work
        done += 4.0 / 12 / 10
        assert energy.progress_ratio == pytest.approx(done, rel=1e-12)
        done = energy.progress_ratio


def test_power_loss_takes_a_job_back_to_its_last_checkpoint() -> None:
    job = BatchJob(work_core_h=100.0, start_s=0.0, checkpoint_interval_s=1200.0, restart_duration_s=300.0)
    site = job_site(job)
    loop = Loop(site)
    tick_core_h = 4.0 / 12
    loop.run(6)
    assert site.get(0, "work_done") == pytest.approx(6 * tick_core_h)
    site.set(0, "grid_limit_w", 1.0)  # below idle power
    loop.run(8)
    assert site.get(0, "work_done") == pytest.approx(4 * tick_core_h)  # the checkpoint after 1200 s
    assert site.get(0, "unserved_total_wh") > 0.0
    site.set(0, "grid_limit_w", math.inf)
    loop.run(10)
    assert site.get(0, "work_done") == pytest.approx(5 * tick_core_h)  # one tick to restart, one of work


@pytest.mark.parametrize("way", ["scale", "cap", "container"])
def test_work_suspended_in_order_survives_a_later_power_loss(way: str) -> None:
    job = BatchJob(work_core_h=100.0, start_s=0.0, checkpoint_interval_s=1e6)
    site = job_site(job)
    energy, loop = site.app("job"), Loop(site)
    loop.run(6)
    saved = site.get(0, "work_done")
    if way == "scale":
        energy.scale_containers(0.0)
    elif way == "cap":
        energy.set_app_powercap(0.5)
    else:
        energy.suspend_container("c1")
    loop.run(7)
    energy.scale_containers(1.0)
    energy.set_app_powercap(math.inf)
    energy.resume_container("c1")
    loop.run(9)
    assert site.get(0, "work_done") > saved
    site.set(0, "grid_limit_w", 1.0)
    loop.run(10)
    assert site.get(0, "work_done") == saved


def test_a_cap_before_the_first_start_costs_no_restart() -> None:
    site = job_site(BatchJob(work_core_h=100.0, start_s=0.0, restart_duration_s=300.0))
    energy, loop = site.app("job"), Loop(site)
    energy.set_app_powercap(0.5)
    loop.run(1)
    energy.set_app_powercap(math.inf)
    loop.run(2)
    assert site.get(0, "work_done") == pytest.approx(4.0 / 12)


def test_half_the_dynamic_power_is_half_the_work() -> None:
    site = job_site(BatchJob(work_core_h=100.0, start_s=0.0))
    site.app("job").set_app_powercap(1.35 + (5.0 - 1.35) / 2)
    build.run(site, 12)
    assert site.get(0, "work_done") == pytest.approx(2.0, rel=1e-12)
    other = job_site(BatchJob(work_core_h=100.0, start_s=0.0))
    other.set(0, "grid_limit_w", 1.35 + (5.0 - 1.35) / 2)
    build.run(other, 12)
    assert other.get(0, "work_done") == pytest.approx(2.0, rel=1e-12)
    assert other.get(0, "unserved_total_wh") == pytest.approx((5.0 - 1.35) / 2, rel=1e-12)


def test_containers_with_caps_of_their_own_work_by_their_own_power() -> None:
    kept = build.Keep()
    site = job_site(BatchJob(work_core_h=100.0, start_s=0.0), kept, containers=2)
    site.app("job").set_container_powercap("c1", 1.35 + (5.0 - 1.35) / 4)
    build.run(site, 12)
    assert site.get(0, "work_done") == pytest.approx(1.0 + 4.0, rel=1e-12)
    assert kept.containers("job", "c1")[0]["power_w"] == pytest.approx(1.35 + (5.0 - 1.35) / 4)
    assert kept.containers("job", "c2")[0]["power_w"] == pytest.approx(5.0)
    build.run(site, 200)
    assert site.get(0, "work_done") <= 100.0


def test_traced_demand_follows_its_signal() -> None:
    watts, load = array("d", [3.0, 9.0, 1.0, 0.0]), array("d", [0.0, 0.5, 1.0, 0.25])
    kept = build.Keep()
    site = build.site(
        build.app("w", 0.5, workload=TracedDemand(signal="w", start_s=300.0)),
        build.app("u", 0.5, workload=TracedDemand(signal="u"), containers=2),
        ticks=4,
        traces={"w": (watts, False), "u": (load, True)},
        sink=kept,
    )
    site.app("w").scale_containers(0.5)
    build.run(site, 4)
    assert kept.of("w", "demand_w") == [0.0, 4.5, 0.5, 0.0]
    assert kept.of("u", "demand_w") == pytest.approx([2.7, 2.7 + 3.65, 10.0, 2.7 + 3.65 / 2])


@pytest.mark.parametrize(
    "workload", [ConstantDemand(demand_w=8.0), TracedDemand(signal="w"), TracedDemand(signal="u")], ids=["constant", "w", "u"]
)
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_no_container_draws_more_than_its_cap(workload: ConstantDemand | TracedDemand, factor: float) -> None:
    kept = build.Keep()
    site = build.site(
        build.app("a", 0.5, workload=workload, containers=2),
        traces={"w": (array("d", [8.0]) * 50, False), "u": (array("d", [0.9]) * 50, True)},
        sink=kept,
    )
    energy = site.app("a")
    energy.set_container_powercap("c1", 2.5)
    energy.scale_containers(factor)
    build.run(site, 2)
    one, other = kept.containers("a", "c1")[-1], kept.containers("a", "c2")[-1]
    assert one["power_w"] == pytest.approx(2.5)
    assert other["power_w"] > 2.5
    assert energy.get_container_power("c1") == pytest.approx(2.5)
    assert one["power_w"] + other["power_w"] == pytest.approx(energy.get_app_power())


def test_a_plug_in_is_asked_for_the_cores_that_run() -> None:
    asked: list[float] = []

    class PerCore:
        def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
            asked.append(cores)
            return 2.0 * cores

        def run(self, served_w: float, tick_s: float) -> None:
            """Nothing to learn."""

    kept = build.Keep()
    policy = build.scripted(lambda energy, _: energy.scale_containers(0.5 + energy.effective_tick))
    build.run(build.site(build.app("a", 0.5, workload=PerCore, policy=policy), sink=kept), 3)
    assert asked == [2.0, 6.0, 10.0]
    assert kept.of("a", "demand_w") == [4.0, 12.0, 20.0]


STARVED = BatchJob(work_core_h=48.0, start_s=0.0, speed_table=((4.0, 4.0), (8.0, 8.0)), idle_when_starved=True)


@pytest.mark.parametrize(("cores", "watts"), [(4.0, 5.0), (8.0, 10.0), (12.0, 3 * 1.35 + 2 * 3.65), (32.0, 8 * 1.35 + 2 * 3.65)])
def test_cores_that_wait_for_work_idle_where_they_are_told_to(cores: float, watts: float) -> None:
    site = job_site(STARVED, cores=cores)
    build.run(site, 200)
    hours = 48.0 / min(cores, 8.0)
    assert site.get(0, "completed_s") == pytest.approx(hours * 3600.0, rel=1e-12)
    assert site.get(0, "grid_to_load_total_wh") == pytest.approx(watts * hours, rel=1e-12)


@given(
    st.floats(1.0, 40.0),
    st.floats(0.0, 0.3),
    st.just(0.0) | st.floats(0.0, 0.01),
    st.floats(0.05, 1.5),
    st.sampled_from(["cap", "container cap", "supply"]),
)
def test_cores_that_idle_while_they_wait_are_never_slower_for_their_power(
    cores: float, contention: float, coherency: float, part: float, way: str
) -> None:
    """The work of a tick is that of the cores that are busy, at most what the law allows; less power never is more work."""
    job = BatchJob(work_core_h=1e6, start_s=0.0, contention=contention, coherency=coherency)
    idle_w, speed = 1.35 * cores / 4.0, usl_speed_cores(cores, contention, coherency)
    power_w = idle_w + part * 3.65 * speed / 4.0
    done = {}
    for starved in (False, True):
        site = job_site(dataclasses.replace(job, idle_when_starved=starved), cores=cores)
        energy = site.app("job")
        if way == "cap":
            energy.set_app_powercap(power_w)
        elif way == "container cap":
            energy.set_container_powercap("c1", power_w)
        else:
            site.set(0, "grid_limit_w", power_w)
        build.run(site, 12)
        done[starved] = site.get(0, "work_done")
        if starved:
            drawn_w = site.get(0, "grid_to_load_total_wh")
            assert drawn_w == pytest.approx(min(power_w, idle_w + 3.65 * speed / 4.0), rel=1e-9)
    assert done[True] == pytest.approx(min(part, 1.0) * speed, rel=1e-9)
    if coherency == 0.0:  # else fewer cores may be faster than all of them
        assert done[True] >= done[False] * (1.0 - 1e-9)


def test_a_cap_of_its_own_splits_the_power_of_containers_that_wait() -> None:
    kept = build.Keep()
    site = job_site(STARVED, kept, containers=4)  # 16 cores do the work of 8
    site.app("job").set_container_powercap("c1", 2.0)
    build.run(site, 2)
    powers = [kept.containers("job", f"c{k}")[-1]["power_w"] for k in range(1, 5)]
    assert powers == pytest.approx([2.0] + [1.35 + 3.65 / 2] * 3)
    assert [site.app("job").get_container_power(f"c{k}") for k in range(1, 5)] == pytest.approx(powers)

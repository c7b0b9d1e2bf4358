"""Training: adding workers splits the computation and adds communication; what a job of it does in the engine is the table's speed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.workloads.batch import table_speed_cores
from ecovisor.workloads.training import Training

TRAININGS = st.builds(
    Training,
    compute_s=st.floats(0.01, 100.0),
    gradient_bytes=st.floats(1e3, 1e10),
    bandwidth_bytes_per_s=st.floats(1e6, 1e11),
    latency_s=st.floats(0.0, 0.01),
    worker_cores=st.floats(1.0, 64.0),
    exchange=st.sampled_from(["ring", "parameter-server"]),
)


@given(TRAININGS)
def test_one_worker_exchanges_nothing_and_more_are_never_worth_more_than_they_are(training: Training) -> None:
    assert training.step_s(1) == training.compute_s
    for workers in range(1, training.most_workers + 1):
        assert 0.0 < training.speed_up(workers) <= workers
    table = training.speed_table()
    assert table[0] == (training.worker_cores, training.worker_cores)
    assert [cores for cores, _ in table] == [w * training.worker_cores for w in range(1, 9)]


@given(TRAININGS)
def test_a_worker_more_is_worth_less_than_the_one_before_it(training: Training) -> None:
    energy_per_step = [workers / training.speed_up(workers) for workers in range(1, 9)]
    assert energy_per_step == sorted(energy_per_step)


def test_the_preset_scales_as_its_docstring_says() -> None:
    training = Training()
    assert [training.speed_up(w) for w in (1, 2, 3, 4)] == pytest.approx([1.0, 1.61, 2.02, 2.32], abs=0.01)


def test_a_ring_moves_what_its_algorithm_moves() -> None:
    """Counted message by message: in each of 2(w-1) rounds every worker sends one of w equal pieces to its neighbour."""
    training = Training(gradient_bytes=120.0, bandwidth_bytes_per_s=10.0, latency_s=0.5)
    for workers in (2, 3, 4, 5):
        piece_bytes, elapsed_s = 120.0 / workers, 0.0
        for _ in range(2 * (workers - 1)):
            elapsed_s += 0.5 + piece_bytes / 10.0
        assert training.exchange_s(workers) == pytest.approx(elapsed_s, rel=1e-12)


def test_a_parameter_server_is_a_bottleneck_where_a_ring_is_none() -> None:
    ring, server = Training(), Training(exchange="parameter-server")
    assert server.exchange_s(4) == pytest.approx(4 * server.exchange_s(1 + 1) / 2, rel=1e-3)
    assert server.speed_up(4) < server.speed_up(2) < ring.speed_up(2) < ring.speed_up(4)


def test_its_job_runs_at_the_tables_speed() -> None:
    job = Training().batch_job(work_core_h=48.0, start_s=0.0)
    assert job.speed_table is not None
    cores, speeds = zip(*job.speed_table, strict=True)
    assert table_speed_cores(12.0, cores, speeds, len(cores)) == pytest.approx(4.0 * Training().speed_up(3), rel=1e-15)
    assert job.idle_when_starved
    assert not Training(idle_when_waiting=False).batch_job(work_core_h=1.0, start_s=0.0).idle_when_starved


@pytest.mark.parametrize(
    "wrong",
    [
        {"compute_s": 0.0},
        {"gradient_bytes": -1.0},
        {"bandwidth_bytes_per_s": float("nan")},
        {"worker_cores": float("inf")},
        {"latency_s": -0.1},
        {"exchange": "gossip"},
        {"most_workers": 1},
        {"most_workers": 17},
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"training: {next(iter(wrong))}"):
        Training(**wrong)  # type: ignore[arg-type]  # deliberately wrong

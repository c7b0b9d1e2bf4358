"""A sweep on a Dask cluster: a scheduler and workers as processes of their own, on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.sweeps import making

from ecovisor.model.errors import InputError, Unavailable
from ecovisor.sweeps import cluster
from ecovisor.sweeps.cluster import pack, run_on_cluster
from ecovisor.sweeps.local import run_here, run_in_processes
from ecovisor.sweeps.plan import Plan, plan_sweep
from ecovisor.sweeps.sweep import Finished, run_sweep
from ecovisor.sweeps.version import Version

pytest.importorskip("distributed")
from ecovisor.sweeps.cluster_worker import Delivery, forget, run_there  # it needs what may not be there

VARIED = ["apps.job.policy.percentile=20,60,90", "apps.web.workload.demand_w=2,3.5"]
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Cluster:
    address: str
    told_without_workers: str


@contextmanager
def process(*words: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the test."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen([sys.executable, "-m", *words], cwd=folder, stdout=log, stderr=log)
        try:
            yield started
        finally:
            started.kill()
            started.wait()


def worker(address: str, folder: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return process("dask", "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", folder=folder)


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    words = ("dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", "scheduler.json")
    with process(*words, folder=folder) as started:
        file = folder / "scheduler.json"
        until(lambda: file.is_file() and file.stat().st_size > 0)
        yield started, json.loads(file.read_text())["address"]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "waited too long"
        time.sleep(0.02)


def workers_joined(address: str, count: int) -> None:
    import distributed

    untyped: Any = distributed
    with untyped.Client(address, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=_PATIENCE_S)


def bundles_in_workers(address: str) -> list[int]:
    import distributed

    def count() -> int:  # a local function travels as it is: workers do not know this module
        from ecovisor.sweeps import cluster_worker

        return len(cluster_worker._BUNDLES) + len(cluster_worker._PLACES)

    untyped: Any = distributed
    with untyped.Client(address, set_as_default=False) as client:
        return list(client.run(count).values())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("cluster")
    plan = plan_sweep(str(making.make(folder / "scenario")), VARIED)
    with scheduler(folder / "scheduler") as (_, address):
        with pytest.raises(Unavailable) as alone:
            list(run_on_cluster(address, plan.base, plan.tasks, plan.paths))
        with worker(address, folder / "one"), worker(address, folder / "two"):
            workers_joined(address, 2)
            yield Cluster(address, str(alone.value))


def swept(plan: Plan, out: Path, address: str) -> Finished:
    return run_sweep(plan, out, lambda tasks: run_on_cluster(address, plan.base, tasks, plan.paths))


def bytes_of(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "sweep.csv").read_bytes(), (folder / "sweep.parquet").read_bytes()


def test_a_cluster_gives_the_same_bytes_as_processes_and_as_one_after_the_other(running: Cluster, tmp_path: Path) -> None:
    plan = plan_sweep(str(making.make(tmp_path / "scenario")), [*VARIED, "apps.web.share=0.3,0.9"])
    swept(plan, tmp_path / "dask", running.address)
    run_sweep(plan, tmp_path / "here", partial(run_here, plan.base))
    run_sweep(plan, tmp_path / "processes", lambda tasks: run_in_processes(plan.base, tasks, 2))
    assert bytes_of(tmp_path / "dask") == bytes_of(tmp_path / "here") == bytes_of(tmp_path / "processes")
    assert b"failed" in bytes_of(tmp_path / "dask")[0]
    assert bundles_in_workers(running.address) == [0, 0], "nothing of it is left there"


def test_a_worker_that_is_killed_costs_nothing_but_time(running: Cluster, tmp_path: Path) -> None:
    varied = ["apps.job.policy.percentile=1..24", f"apps.web.policy.options.counted={tmp_path}/count"]
    plan = plan_sweep(
        str(making.make(tmp_path / "scenario")),
        varied,
        overrides=[making.SLOW, "apps.web.policy.options.seconds=0.05", "run.baseline=false"],
    )
    run_sweep(plan, tmp_path / "here", partial(run_here, plan.base))
    (tmp_path / "count").unlink()
    with worker(running.address, tmp_path / "third") as third:
        workers_joined(running.address, 3)
        done: list[int] = []

        def kill_it_midway(outcome: object, missing: int) -> None:
            done.append(missing)
            if len(done) == 8:
                third.kill()

        execute = partial(run_on_cluster, running.address, plan.base, paths=plan.paths)
        finished = run_sweep(plan, tmp_path / "dask", lambda tasks: execute(tasks), kill_it_midway)
        third.wait()
    assert not finished.failed
    assert bytes_of(tmp_path / "dask") == bytes_of(tmp_path / "here")


def test_files_and_plug_ins_travel(tmp_path: Path) -> None:
    scenario = making.make(tmp_path / "scenario")
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_bytes((tmp_path / "scenario/carbon.csv").read_bytes())
    varied = [f"signals.carbon.file=carbon.csv,../elsewhere.csv,{elsewhere},missing.csv"]
    plan = plan_sweep(str(scenario), varied, overrides=[making.SLOW])
    assert {path.name for path in plan.paths} == {"carbon.csv", "elsewhere.csv", "slow.py"}
    expected = list(run_here(plan.base, plan.tasks))
    bundle = pack(plan.base, plan.paths)
    Delivery(bundle).setup(None)
    (tmp_path / "scenario").rename(tmp_path / "gone")
    elsewhere.unlink()
    for task, here in zip(plan.tasks, expected, strict=True):
        there = run_there(task, token=bundle.token, version=bundle.version)
        assert (there.apps, there.site) == (here.apps, here.site)
        assert str(there.error).partition("; known")[0] == str(here.error).partition("; known")[0]
    assert [outcome.error is None for outcome in expected] == [True, True, True, False]
    forget(bundle.token)
    with pytest.raises(Unavailable, match="a worker was not given the scenario"):
        run_there(plan.tasks[0], token=bundle.token, version=bundle.version)


def test_workers_with_another_ecovisor_are_refused(running: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_sweep(str(making.make(tmp_path / "scenario")), VARIED)
    with pytest.raises(Unavailable, match=r"it has ecovisor .*, here it is ecovisor 0\.0\.1 \(sources other\)"):
        run_there(plan.tasks[0], token="any", version=Version("0.0.1", "other"))
    monkeypatch.setattr(cluster, "this_version", lambda: Version("99.0", "newer"))
    with pytest.raises(Unavailable, match=r"worker tcp://127\.0\.0\.1:\d+: it has ecovisor .* install the same on both"):
        swept(plan, tmp_path / "out", running.address)


def test_without_scheduler_or_workers_it_says_what_to_start(
    running: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.told_without_workers.endswith(
        f"the scheduler has no workers; start some with 'dask worker {running.address} --nthreads 1'"
    )
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.5)
    plan = plan_sweep(str(making.make(tmp_path / "scenario")), VARIED)
    with pytest.raises(Unavailable, match="no scheduler answers there.*start one with 'dask scheduler'"):
        swept(plan, tmp_path / "out", "tcp://127.0.0.1:1")


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_sweep(str(making.make(tmp_path / "scenario")), VARIED)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"needs distributed, which is not installed; pip install 'ecovisor\[dask\]'"):
        swept(plan, tmp_path / "out", "tcp://127.0.0.1:1")


@pytest.mark.slow
def test_a_scheduler_that_is_lost_leaves_what_is_done(tmp_path: Path) -> None:
    plan = plan_sweep(
        str(making.make(tmp_path / "scenario")), ["run.seed=1..40"], overrides=[making.SLOW, "apps.web.policy.options.seconds=0.1"]
    )
    with scheduler(tmp_path / "scheduler") as (started, address), worker(address, tmp_path / "one"):
        workers_joined(address, 1)
        done: list[object] = []

        def kill_it_midway(outcome: object, missing: int) -> None:
            done.append(outcome)
            if len(done) == 8:
                started.kill()

        execute = partial(run_on_cluster, address, plan.base, paths=plan.paths)
        with pytest.raises(Unavailable, match="the scheduler was lost; what is done is kept"):
            run_sweep(plan, tmp_path / "out", lambda tasks: execute(tasks), kill_it_midway)
    finished = run_sweep(plan, tmp_path / "out", partial(run_here, plan.base))
    assert 7 <= finished.found < 40
    assert not finished.failed

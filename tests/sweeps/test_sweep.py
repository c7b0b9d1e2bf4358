"""A sweep in its folder: the same table wherever it runs, what fails, and going on after an end that nobody planned."""

from __future__ import annotations

import csv
import json
from collections.abc import Generator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.sweeps import making

from ecovisor import assembly
from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.model.errors import InputError, SettingsError
from ecovisor.sweeps import running
from ecovisor.sweeps.local import run_here, run_in_processes
from ecovisor.sweeps.outcomes import Outcome
from ecovisor.sweeps.plan import Plan, plan_sweep
from ecovisor.sweeps.running import Task
from ecovisor.sweeps.sweep import Execute, run_sweep

VARIED = ["apps.job.policy.percentile=20,60", "apps.web.workload.demand_w=2,3.5"]


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    return str(making.make(tmp_path / "scenario"))


def here(plan: Plan) -> Execute:
    return partial(run_here, plan.base)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "sweep.csv").read_bytes(), (folder / "sweep.parquet").read_bytes()


def test_every_row_is_what_one_run_of_its_values_comes_to(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, VARIED, overrides=["run.tick=30min"])
    finished = run_sweep(plan, tmp_path / "out", here(plan))
    assert not finished.failed
    found = rows(tmp_path / "out")
    assert [row["scope"] for row in found] == ["app", "app", "app", "site"] * 4
    for k, task in enumerate(plan.tasks):
        summary = assembly.simulate(*load_scenario(scenario, ["run.tick=30min", *task.settings])).summary
        of_task = [row for row in found if row["combination"] == str(k)]
        told = [f"{key}={of_task[0][key]}" for key in plan.keys]
        assert told == list(task.settings)
        for row, app in zip(of_task, summary.apps, strict=False):
            assert app.optimum is None  # not asked for, and no column
            for name, value in asdict(app).items():
                if name == "optimum":
                    continue
                cell = row[name]
                assert cell == ("" if value is None else str(value).lower() if isinstance(value, bool) else str(value)), name
        for name, value in asdict(summary.site).items():
            assert float(of_task[-1][name]) == value
        assert {row["seed"] for row in of_task} == {"0"}


def test_processes_give_the_same_bytes_as_one_after_the_other(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, [*VARIED, "apps.web.share=0.3,0.6"], seeds=2)
    one = run_sweep(plan, tmp_path / "one", here(plan))
    two = run_sweep(plan, tmp_path / "two", lambda tasks: run_in_processes(plan.base, tasks, 2))
    assert len(one.failed) == len(two.failed) == 8
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def test_a_combination_that_fails_is_a_row_and_the_others_go_on(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, ["apps.web.policy.options.fails=false,true", "apps.web.share=0.2,0.9"], overrides=[making.SLOW])
    finished = run_sweep(plan, tmp_path / "out", here(plan))
    assert [outcome.index for outcome in finished.failed] == [1, 2, 3]
    failed = {row["combination"]: row["error"] for row in rows(tmp_path / "out") if row["scope"] == "failed"}
    assert failed["1"].startswith("--vary apps.web.share=0.9: apps: the shares of")
    assert failed["2"] == "apps.web.policy: tick 0 (2020-06-01T00:00:00Z): RuntimeError: told to fail; the run was stopped"
    assert json.loads((tmp_path / "out/sweep.json").read_text())["failed"]["2"] == failed["2"]


def test_a_process_that_dies_twice_is_a_failed_combination_and_the_others_are_done(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, ["apps.web.policy.options.dies=false,true", "run.seed=1,2"], overrides=[making.SLOW])
    finished = run_sweep(plan, tmp_path / "out", lambda tasks: run_in_processes(plan.base, tasks, 2))
    assert [outcome.index for outcome in finished.failed] == [2, 3]
    assert "died 2 times (signal 9)" in str(finished.failed[0].error)


def test_where_no_combination_can_be_used_nothing_runs(scenario: str) -> None:
    for varied, problem in (
        ("apps.wbe.share=0.1,0.2", "no app is called 'wbe'"),
        ("apps.web.shar=0.1,0.2", "did you mean 'share'"),
        ("apps.web.policy.kind=a,b", "--vary apps.web.policy.kind=a: "),
    ):
        with pytest.raises(SettingsError, match=problem):
            plan_sweep(scenario, [varied])


def test_a_sweep_goes_on_where_it_stopped_and_does_nothing_twice(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, VARIED)
    whole = run_sweep(plan, tmp_path / "whole", here(plan))
    ran: list[int] = []

    def stopping(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        for outcome in run_here(plan.base, tasks):
            ran.append(outcome.index)
            yield outcome
            if len(ran) == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan, tmp_path / "out", stopping)
    assert {row["combination"] for row in rows(tmp_path / "out")} == {"0", "1"}, "what is done is in the table"
    finished = run_sweep(plan, tmp_path / "out", stopping)
    assert ran == [0, 1, 2, 3]
    assert finished.found == 2
    assert bytes_of(tmp_path / "out") == bytes_of(whole.folder)


def test_torn_and_damaged_lines_are_done_again(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, VARIED)
    whole = bytes_of(run_sweep(plan, tmp_path / "out", here(plan)).folder)
    journal = tmp_path / "out/done.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1][:40] + b"\x00\xff\n" + lines[2] + lines[3][:-20])
    again = run_sweep(plan, tmp_path / "out", here(plan))
    assert again.found == 2
    assert bytes_of(tmp_path / "out") == whole
    assert sorted(journal.read_bytes().splitlines()) != []
    assert run_sweep(plan, tmp_path / "out", here(plan)).found == 4


def test_what_failed_is_tried_again(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, ["apps.web.policy.options.fails=false,true"], overrides=[making.SLOW])
    assert len(run_sweep(plan, tmp_path / "out", here(plan)).failed) == 1
    asked: list[int] = []

    def told(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        asked.extend(task.index for task in tasks)
        return run_here(plan.base, tasks)

    assert len(run_sweep(plan, tmp_path / "out", told).failed) == 1
    assert asked == [1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"varied": ["apps.web.workload.demand_w=2,3"]}, "--vary and --zip, --random or --seeds"),
        ({"overrides": ["run.seed=5"]}, "--set changed"),
        ({"sample": 1}, "--zip, --random or --seeds changed"),
        ({"file": "carbon.csv"}, "the files that the scenario names changed"),
        ({"file": "scenario.toml"}, "the scenario file changed"),
    ],
)
def test_another_sweep_in_the_folder_is_refused(scenario: str, tmp_path: Path, change: dict[str, object], told: str) -> None:
    varied = ["apps.web.workload.demand_w=2,4"]
    plan = plan_sweep(scenario, varied)
    run_sweep(plan, tmp_path / "out", here(plan))
    before = bytes_of(tmp_path / "out")
    if name := change.pop("file", None):
        with (Path(scenario).parent / str(name)).open("a") as file:
            file.write("\n")
    other = plan_sweep(scenario, **{"varied": varied, **change})  # type: ignore[arg-type]  # as a person might
    with pytest.raises(InputError, match="holds another sweep: ") as refused:
        run_sweep(other, tmp_path / "out", here(other))
    assert told in str(refused.value)
    assert str(refused.value).endswith("choose another --out, or remove the folder")
    assert bytes_of(tmp_path / "out") == before


def test_another_version_does_not_go_on(scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecovisor.sweeps import plan as planning
    from ecovisor.sweeps.version import Version

    plan = plan_sweep(scenario, VARIED)
    run_sweep(plan, tmp_path / "out", here(plan))
    monkeypatch.setattr(planning, "this_version", lambda: Version("99.0", "another"))
    other = plan_sweep(scenario, VARIED)
    with pytest.raises(InputError, match="the version of ecovisor and the sources of ecovisor changed"):
        run_sweep(other, tmp_path / "out", here(other))


def test_a_folder_of_something_else_is_left_alone(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, VARIED)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("precious")
    with pytest.raises(InputError, match="is no sweep's folder"):
        run_sweep(plan, tmp_path / "thesis", here(plan))
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter.tex"]


def test_two_sweeps_do_not_write_one_folder(scenario: str, tmp_path: Path) -> None:
    plan = plan_sweep(scenario, VARIED)

    def meanwhile(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        with pytest.raises(InputError, match="another sweep is writing here"):
            run_sweep(plan, tmp_path / "out", here(plan))
        return run_here(plan.base, tasks)

    assert not run_sweep(plan, tmp_path / "out", meanwhile).failed


def test_a_signal_is_loaded_once_for_all_combinations(scenario: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def counting(name: str, *rest: Any, **more: Any) -> LoadedSignal:
        loads.append(name)
        return load_signal(name, *rest, **more)

    monkeypatch.setattr(running, "load_signal", counting)
    plan = plan_sweep(scenario, VARIED, seeds=3)
    run_sweep(plan, tmp_path / "out", here(plan))
    assert loads == ["carbon"]

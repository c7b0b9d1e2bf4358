"""`ecovisor sweep`: what is printed, what is left behind, and that no end it comes to loses what is done."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.standing_in import failed
from tests.sweeps import making

from ecovisor.cli import run

_PATIENCE_S = 60.0
_ECOVISOR = "from ecovisor.cli import main; main()"


@pytest.fixture(autouse=True)
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """`scenario.toml` in the working directory."""
    making.make(tmp_path)
    monkeypatch.chdir(tmp_path)
    return "scenario.toml"


def rows(folder: str) -> list[dict[str, str]]:
    with (Path(folder) / "sweep.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_prints_a_line_for_each_combination_and_app(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sweep", scenario, "--vary", "apps.job.policy.percentile=30,100", "--jobs", "1"]) == 0
    shown = capsys.readouterr()
    lines = [line.split() for line in shown.out.splitlines()]
    assert [words[:2] for words in lines if words[1:2] in (["job"], ["web"])] == [
        ["30", "job"],
        ["30", "web"],
        ["100", "job"],
        ["100", "web"],
    ]
    assert "same" in next(line for line in shown.out.splitlines() if line.split()[:2] == ["100", "job"])
    assert "2 of 2 combinations in " in shown.out
    assert "table: sweeps/scenario/sweep.csv and sweeps/scenario/sweep.parquet" in shown.out
    assert {row["scope"] for row in rows("sweeps/scenario")} == {"app", "site"}


def test_the_same_command_finds_its_folder_and_another_takes_the_next(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number, found in ((1, 0), (2, 0), (1, 2)):
        assert run(["sweep", scenario, "--vary", f"run.seed={number},9", "--json", "--jobs", "1"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["out"] == ("sweeps/scenario" if number == 1 else f"sweeps/scenario-{number}")
        assert told["found"] == found


def test_seeds_are_taken_together_in_print_and_apart_in_the_table(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sweep", scenario, "--vary", "apps.job.share=0.1,0.2", "--seeds", "3", "--jobs", "1", "--out", "out"]) == 0
    shown = capsys.readouterr().out
    assert "6 of 6 combinations" in shown
    assert len([line for line in shown.splitlines() if " job " in line]) == 2
    assert "± 0.00" in shown
    assert [row["seed"] for row in rows("out") if row["app"] == "job"] == ["0", "1", "2"] * 2


def test_a_failing_combination_is_told_and_the_status_is_1(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", scenario, "--vary", "apps.job.share=0.2,0.9", "--jobs", "1", "--out", "out"]
    assert run(command) == 1
    shown = capsys.readouterr().out
    assert "combination 1 (apps.job.share=0.9) failed: --vary apps.job.share=0.9: apps: the shares of" in shown
    assert "1 of 2 combinations" in shown
    assert run([*command, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["done"], told["found"], [one["combination"] for one in told["failed"]]) == (1, 1, [1])


def test_a_rehearsal_runs_and_writes_nothing(scenario: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sweep", scenario, "--vary", "apps.job.share=0.2,0.9", "--vary", "run.tick=5min,15min", "--dry-run"]
    assert run(command) == 1
    shown = capsys.readouterr().out
    assert "scenario.toml: 4 combination(s)" in shown
    assert "combination 2 would fail: --vary apps.job.share=0.9" in shown
    assert str(Path("carbon.csv").resolve()) in shown
    assert run([*command, "--json"]) == 1
    assert sorted(json.loads(capsys.readouterr().out)["refused"]) == ["2", "3"]
    assert not Path("sweeps").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing is varied"),
        (["--vary", "apps.job.shar=1,2"], "did you mean 'share'"),
        (["--vary", "run.seed=1,2", "--jobs", "2", "--dask", "tcp://127.0.0.1:1"], "--jobs: is for this machine"),
        (["--vary", "run.seed=1,2", "--vary", "run.tick=5min", "--zip"], "run.seed has 2, run.tick has 1"),
        (["--vary", "run.seed=1,2", "--out", "carbon.csv"], "carbon.csv: is a file"),
    ],
)
def test_what_is_wrong_is_one_line(scenario: str, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert told in failed(["sweep", scenario, *words], capsys)


def test_the_cluster_library_is_imported_only_for_a_cluster(scenario: str) -> None:
    program = (
        "import sys; from ecovisor.cli import run; "
        "status = run(['sweep', 'scenario.toml', '--vary', 'run.seed=1,2', '--jobs', '1', '--json']); "
        "assert not {'distributed', 'dask', 'matplotlib'} & set(sys.modules); sys.exit(status)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=_PATIENCE_S)


# -- ends that nobody planned, of real processes


def begin(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _ECOVISOR, "sweep", "scenario.toml", *words, "--out", "out", "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def slow(seconds: float) -> list[str]:
    settings = (making.SLOW, f"apps.web.policy.options.seconds={seconds}", "run.baseline=false")
    return ["--vary", "apps.job.policy.percentile=1..16", *(word for setting in settings for word in ("--set", setting))]


def lines_of(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def wait_for_lines(count: int) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while lines_of(Path("out/done.jsonl")) < count:
        assert time.monotonic() < deadline_s, "waited too long"
        time.sleep(0.01)


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def all_end(pids: list[int]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while any(map(alive, pids)):
        assert time.monotonic() < deadline_s, f"still there: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_sweep_that_is_killed_goes_on_and_comes_to_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = slow(0.1)
    assert run(["sweep", "scenario.toml", *arguments, "--jobs", "1", "--out", "whole", "--json"]) == 0
    capsys.readouterr()
    killed = begin(*arguments, "--jobs", "2")
    wait_for_lines(4)
    workers = children_of(killed.pid)
    killed.kill()
    killed.communicate()
    all_end(workers)
    kept = lines_of(Path("out/done.jsonl"))
    assert 4 <= kept < 16
    assert not Path("out/sweep.csv").exists()
    again = begin(*arguments, "--jobs", "2")
    told = json.loads(again.communicate(timeout=_PATIENCE_S)[0])
    assert (told["found"], told["done"]) == (kept, 16)
    for name in ("sweep.csv", "sweep.parquet"):
        assert Path("out", name).read_bytes() == Path("whole", name).read_bytes()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_ctrl_c_ends_at_once_and_keeps_what_is_done() -> None:
    interrupted = begin(*slow(0.2), "--jobs", "2")
    wait_for_lines(2)
    workers = children_of(interrupted.pid)
    os.killpg(interrupted.pid, signal.SIGINT)
    out, err = interrupted.communicate(timeout=_PATIENCE_S)
    assert interrupted.returncode == 130
    assert out == ""
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    all_end(workers)
    done = {row["combination"] for row in rows("out")}
    assert 2 <= len(done) < 16

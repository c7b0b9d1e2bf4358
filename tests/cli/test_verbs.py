"""The other verbs, and how the program ends: one line and status 2 for what a person can put right."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.standing_in import Engine, failed

import ecovisor
from ecovisor.cli import bench as bench_verb
from ecovisor.cli import init as init_verb
from ecovisor.cli import run
from ecovisor.model.errors import SeriesError

HEAVY = {"numpy", "pandas", "pyarrow", "pvlib", "numba", "matplotlib", "highspy", "scipy"}


def loaded_by(*arguments: str) -> set[str]:
    """The heavy libraries that a fresh process has loaded after running the command line."""
    code = f"import sys; from ecovisor.cli import run; run({list(arguments)!r}); print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return HEAVY & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("verb", ["simulate", "init", "check", "data", "bench"])
def test_every_verb_teaches_by_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "--help"]) == 0
    assert f"ecovisor {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["simulate", "--list"], ["simulate", "edge-sit"], ["data", "--zones"]])
def test_small_answers_load_no_heavy_library(arguments: list[str]) -> None:
    assert loaded_by(*arguments) == set()


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"ecovisor {ecovisor.__version__}\n"


def test_without_a_verb_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    shown = capsys.readouterr()
    assert "simulate" in shown.out + shown.err
    assert "error" not in shown.err


def test_an_unknown_verb_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean 'simulate'?" in failed(["simulat"], capsys)


def test_check_answers_with_notes(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "two-apps"]) == 0
    shown = capsys.readouterr().out
    assert "two-apps: fine. 2 app(s), 576 ticks of 5 min, 2020-06-01T07:00:00Z to 2020-06-03T07:00:00Z" in shown
    assert "note: solar: modelled" in shown
    assert run(["check", "many-apps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["apps"] == 1000


def test_check_names_the_field_that_is_wrong(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert "run.tick: '0s' is no positive duration" in failed(["check", "two-apps", "--set", "run.tick=0s"], capsys)

    def fail() -> None:
        raise SeriesError("ci.csv: row 17", "is naive", "append an offset")

    engine.failure = fail
    assert failed(["check", "two-apps"], capsys) == "error: ci.csv: row 17: is naive; append an offset\n"


def test_init_writes_a_scenario_that_check_accepts(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init"]) == 0
    assert "wrote scenario.toml" in capsys.readouterr().out
    assert run(["check", "scenario.toml"]) == 0
    assert run(["simulate", "scenario.toml", "--no-plots"]) == 0


def test_every_line_of_the_template_that_is_commented_out_is_valid_too(tmp_path: Path, engine: Engine) -> None:
    known = {"cores = 8", "power_curve_w", "grid_limit_w", "overhead_w", "servers = 4", "capacity_wh", "record", "baseline"}
    lines = init_verb.TEMPLATE.read_text("utf-8").splitlines()
    shown = [line[2:] if line.startswith("# ") and line[2:].startswith(tuple(known)) else line for line in lines]
    text = "\n".join(shown).replace('preset = "microserver" ', "").replace("             # 4 cores", "# 4 cores")
    (tmp_path / "all.toml").write_text(text, "utf-8")
    assert run(["check", "all.toml"]) == 0


def test_init_never_overwrites(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text("precious", "utf-8")
    assert "mine.toml: exists already; name another file" in failed(["init", "mine.toml"], capsys)
    assert Path("mine.toml").read_text("utf-8") == "precious"
    assert "cannot be written: No such file or directory" in failed(["init", "no/mine.toml"], capsys)


def test_data_describes_a_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "load.csv.gz"
    hours = [k for k in range(24) if k not in (5, 6)]
    rows = "".join(f"2020-06-01T{k:02}:00:00Z,{k / 10}\n" for k in hours)
    file.write_bytes(gzip.compress(f"time,load_kw\n{rows}".encode()))
    assert run(["data", str(file)]) == 0
    shown = capsys.readouterr().out
    for expected in ("22 rows", "load_kw [W]", "2020-06-01T00:00:00Z to 2020-06-02T00:00:00Z", "1 h, 24 steps", "mean", "gap"):
        assert expected in shown
    assert run(["data", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["maximum"] == 2300.0


def test_data_lists_the_modelled_zones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "--zones"]) == 0
    assert "US-CAL-CISO" in capsys.readouterr().out
    assert run(["data", "--zones", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["DE"] > 0


def test_data_of_nothing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data: no file is named" in failed(["data"], capsys)
    assert "nope.csv" in failed(["data", "nope.csv"], capsys)


def test_bench_runs_the_registry_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = tmp_path / "benchmarks" / "registry.py"
    monkeypatch.setattr(bench_verb, "REGISTRY", registry)
    assert "bench: the benchmarks are part of the source" in failed(["bench"], capsys)
    registry.parent.mkdir()
    (registry.parent / "__init__.py").touch()
    registry.write_text(
        "def run(cases, progress):\n    progress('measuring')\n    return {'ratios': dict.fromkeys(cases, 2.5)}\n", "utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("benchmarks")]:
        monkeypatch.delitem(sys.modules, name)
    assert run(["bench", "one", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"ratios": {"one": 2.5}}
    assert shown.err == "measuring\n"
    assert run(["bench", "one"]) == 0
    assert capsys.readouterr().out == "one: 2.5×\n"
    for name in [name for name in sys.modules if name.startswith("benchmarks")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; sys.argv = ['ecovisor', 'simulate', '--list']; from ecovisor.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() in (1, 141)


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_by_a_signal_leaves_nothing(tmp_path: Path, number: signal.Signals, status: int) -> None:
    code = """
import sys, time, types, ecovisor
def simulate(scenario, folder, *, sink, progress, optimum):
    print("running", flush=True)
    time.sleep(60)
ecovisor.assembly = sys.modules["ecovisor.assembly"] = types.SimpleNamespace(simulate=simulate)
sys.argv = ["ecovisor", "simulate", "two-apps"]
from ecovisor.cli import main
main()
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"running\n"
        time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(20) == status
        assert b"Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []

"""`ecovisor simulate`: what is printed, what is left behind, and that a failure leaves one line and nothing else."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from tests import made_up
from tests.cli.standing_in import Engine, failed

from ecovisor import runs
from ecovisor.cli import run
from ecovisor.model.errors import PolicyError
from ecovisor.model.summary import Optimum, RunSummary

CSV = ("--set", "run.format=csv")


def test_the_bundled_scenarios_are_listed_name_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    assert any(line.startswith("edge-site  A week") for line in lines)


def test_a_run_prints_its_apps_and_its_balance_and_leaves_a_folder(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.summary = made_up.summary(notes=("carbon is modelled",))
    assert run(["simulate", "two-apps", *CSV]) == 0
    shown = capsys.readouterr().out
    for expected in (
        "Made up: for tests", "2 d from 2020-06-01 00:00 America/Los_Angeles, 576 ticks of 5 min", "160 of 160 core-h", "1 d 1 h",
        "Tue 02 Jun 01:00", "10.00 Wh", "−20.0 %", "0.64", "1.20", "residual: balance -3e-11 Wh", "note: carbon is modelled",
        "carbon: constant 200 g/kWh, modelled", "battery losses", "run folder: runs/two-apps",
    ):  # fmt: skip
        assert expected in shown
    assert max(map(len, shown.splitlines())) <= 140
    found = runs.open("runs/two-apps")
    assert found.info["shares"] == {"job": 0.5}
    assert found.info["settings"]["run"]["format"] == "csv"
    assert found.info["versions"]["python"].startswith("3.")
    assert sorted(path.name for path in found.path.iterdir()) == [
        "carbon.png", "events.csv", "flows.csv", "flows.png", "run.json", "site.csv",
    ]  # fmt: skip


def test_the_json_object_is_the_summary_and_the_folder(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "two-apps", "--json", "--no-plots", "--out", "here", *CSV]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.pop("out") == "here"
    assert msgspec.convert(printed, RunSummary) == engine.summary


def test_a_run_of_totals_draws_what_it_can(engine: Engine) -> None:
    assert run(["simulate", "two-apps", "--out", "here", "--set", "run.record=totals", *CSV]) == 0
    assert sorted(path.name for path in Path("here").iterdir()) == ["carbon.png", "events.csv", "run.json"]


def test_the_default_folder_takes_the_next_number(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        assert run(["simulate", "two-apps", "--no-plots", *CSV]) == 0
    assert "run folder: runs/two-apps-3" in capsys.readouterr().out
    assert run(["simulate", "two-apps", "--no-plots", "--overwrite", *CSV]) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["two-apps", "two-apps-2", "two-apps-3"]


def test_no_baseline_is_a_setting(engine: Engine) -> None:
    assert run(["simulate", "two-apps", "--no-plots", "--no-baseline", *CSV]) == 0
    assert engine.asked[0].run.baseline is False


def test_the_optimum_is_asked_for_and_told_with_its_terms(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    best = Optimum(
        carbon_g=1.25,
        ratio=1.6,
        work_core_h=160.0,
        cores=8.0,
        until_s=made_up.START_S + 86400.0,
        resolution_s=3600.0,
        gap_g=0.0,
        solver="HiGHS 1",
        status="optimal",
        relaxations=["cores are continuous"],
    )
    engine.summary = made_up.summary(
        made_up.app_summary("job", optimum=best, carbon_g=2.0),
        made_up.app_summary(
            "free",
            carbon_g=2.0,
            optimum=replace(best, carbon_g=0.0, ratio=None, relaxations=["cores are continuous", "no restarts"]),
        ),
        made_up.app_summary("part", optimum=replace(best, work_core_h=80.0), completed_s=None, carbon_g=2.0),
        made_up.app_summary("web", carbon_g=2.0, optimum=Optimum(reason="a constant workload is no batch job")),
    )
    assert run(["simulate", "two-apps", "--optimum", "--no-plots", *CSV]) == 0
    assert engine.optimum
    shown = " ".join(capsys.readouterr().out.split())
    for expected in (
        "Optimum: the least carbon on import", "1.25 1.60 8 cores Tue 02 Jun 00:00 ≤ 1 h", "0.00 – 8 cores", "no bound",
        "note: apps.web: no bound: a constant workload is no batch job",
        "note: apps.part: the optimum is for the 80 core-h that were done",
        "note: the optimum is a relaxation, which can only lower it: cores are continuous; no restarts (free)",
    ):  # fmt: skip
        assert expected in shown


def test_no_optimum_is_shown_that_was_not_asked_for(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["simulate", "two-apps", "--no-plots", *CSV]) == 0
    assert not engine.optimum
    assert "ptimum" not in capsys.readouterr().out


def test_an_explicit_folder_is_never_overwritten_by_itself(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    Path("here").mkdir()
    Path("here/thesis.tex").write_text("precious", "utf-8")
    assert "here: exists already" in failed(["simulate", "two-apps", "--out", "here"], capsys)
    assert "here: is no run folder" in failed(["simulate", "two-apps", "--out", "here", "--overwrite"], capsys)
    assert Path("here/thesis.tex").read_text("utf-8") == "precious"
    assert engine.asked == []


def test_a_policy_that_raises_is_one_line_and_leaves_nothing(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise PolicyError("job", 17, "2020-06-01T08:25:00Z", ZeroDivisionError("division\nby zero"))

    engine.failure = fail
    line = failed(["simulate", "two-apps", *CSV], capsys)
    assert "apps.job.policy: tick 17 (2020-06-01T08:25:00Z): ZeroDivisionError: division by zero" in line
    assert list(Path().iterdir()) == []


def test_an_interrupted_run_leaves_nothing_and_no_traceback(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    engine.failure = fail
    assert run(["simulate", "two-apps", "--out", "here"]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert list(Path().iterdir()) == []


def test_a_fault_of_ours_is_not_dressed_up_and_leaves_nothing(engine: Engine) -> None:
    def fail() -> None:
        raise AssertionError("a fault of ours")

    engine.failure = fail
    with pytest.raises(AssertionError, match="a fault of ours"):
        run(["simulate", "two-apps", *CSV])
    assert list(Path().iterdir()) == []


def test_a_thousand_apps_print_the_largest(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.summary = made_up.summary(*(made_up.app_summary(f"app-{k}", demand_wh=float(k)) for k in range(1000)))
    assert run(["simulate", "two-apps", *CSV]) == 0
    shown = capsys.readouterr().out
    assert "and 977 more apps, all of them in run.json" in shown
    assert "app-999" in shown
    assert "app-5 " not in shown
    assert "_site" in shown


def test_quantities_are_shown_in_the_unit_that_reads_well(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.summary = made_up.summary(
        made_up.app_summary("a", solar_to_load_wh=5e4, carbon_g=5e7, deadline_met=False, cost=None, baseline_carbon_g=None),
        made_up.app_summary("b", battery_discharge_wh=0.0, unserved_wh=0.0, carbon_g=800.0, baseline_carbon_g=800.0),
    )
    assert run(["simulate", "two-apps", "--no-plots", *CSV]) == 0
    shown = capsys.readouterr().out
    for expected in ("kWh", "50.0", " t ", "late", "same"):
        assert expected in shown


def test_without_matplotlib_the_run_says_how_to_get_plots(
    engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["simulate", "two-apps", *CSV]) == 0
    assert "note: no plots: matplotlib is not installed; pip install 'ecovisor[plots]'" in capsys.readouterr().out


def test_a_plot_that_cannot_be_written_costs_nothing_else(
    engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(found: runs.Run) -> list[Path]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecovisor.plots.draw", full)
    assert run(["simulate", "two-apps", *CSV]) == 0
    assert "note: no plots: No space left on device; the tables are complete" in capsys.readouterr().out
    assert runs.open("runs/two-apps").has("flows")


def test_progress_is_shown_on_a_terminal_only(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(["simulate", "two-apps", "--no-plots", "--json", *CSV]) == 0
    shown = capsys.readouterr()
    assert "two-apps" in shown.err
    assert json.loads(shown.out)["ticks"] == 576


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "simulate: no scenario is named"),
        (["edge-sit"], "did you mean 'edge-site'?"),
        (["no.toml"], "no.toml: no such file"),
        (["two-apps", "--set", "apps.job.share=2"], "is 2, must be at most 1"),
        (["two-apps", "--set", "apps.job.policy.kind=suspendresume"], "did you mean 'suspend-resume'?"),
        (["two-apps", "--frobnicate"], "No such option: --frobnicate"),
        (["two-apps", "--out"], "requires an argument"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    engine: Engine, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failed(["simulate", *arguments], capsys)
    assert list(Path().iterdir()) == []


def test_figures_that_are_missing_do_not_break_the_report(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.summary = made_up.summary(made_up.app_summary("a", carbon_g=0.0, carbon_on_use_g=0.0, baseline_carbon_g=0.0), ticks=288)
    assert run(["simulate", "two-apps", *CSV, "--set", "run.carbon_attribution=use"]) == 0
    assert not math.isnan(engine.summary.apps[0].carbon_g)
    assert "together" in capsys.readouterr().out

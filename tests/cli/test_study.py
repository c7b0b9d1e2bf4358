"""`ecovisor study`: what is printed, what is left behind, and the exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecovisor.cli import run
from ecovisor.studies import registry

MADE_UP = Path(__file__).parents[1] / "studies" / "made_up_study.py"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_claim_that_does_not_hold_is_told_and_is_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", f"{MADE_UP}:Waiting", "--seeds", "3"]) == 1
    shown = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    for told in (
        "Figure 4: Waiting against not waiting", "Made up, Figure 4 · 3 random starts, seed 0, modelled series", "−25.01",
        "−22.2 ± 4.0", "−21.0 ± 6.0", "+2.8 pp", "✓ Waiting emits less\n  14.2 g against 25.1 g", "✗ Waiting is <quicker>",
        "rerun: direct emissions\n  Run time: 6.10 → 7.00 ×. Half of it.", "note: Power is modelled.",
        "note: Input series are modelled", "report: studies/waiting/report.html",
    ):  # fmt: skip
        assert told in shown, told
    assert max(map(len, shown.splitlines())) <= 140
    assert sorted(path.name for path in Path("studies/waiting").iterdir()) == [
        "README.md", "hours.csv", "hours.png", "policies.csv", "report.html", "study.json",
    ]  # fmt: skip


def test_a_second_run_has_a_folder_of_its_own_unless_it_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    for more, folder in (([], "calm"), ([], "calm-2"), (["--overwrite"], "calm")):
        assert run(["study", f"{MADE_UP}:Calm", *more]) == 0
        assert f"report: studies/{folder}/report.html" in capsys.readouterr().out
    assert sorted(path.name for path in Path("studies").iterdir()) == ["calm", "calm-2"]
    assert run(["study", f"{MADE_UP}:Calm", "--out", "studies/calm"]) == 2
    assert "exists; choose another --out, or --overwrite" in capsys.readouterr().err


def test_the_json_object_has_claims_numbers_and_origins(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", f"{MADE_UP}:Waiting", "--json", "--out", "here"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["held"], told["claims"], told["claims_held"], told["modelled"], told["out"]) == (False, 2, 1, True, "here")
    (study,) = told["studies"]
    assert [claim["held"] for claim in study["claims"]] == [True, False]
    assert study["numbers"][0] | {"explanation": ""} == {
        "name": "Carbon", "unit": "%", "paper": -25.01, "ours": -22.25, "spread": 4.0, "year": -21.0, "year_spread": 6.0,
        "optimum": -31.0, "explanation": "", "difference": pytest.approx(2.76),
    }  # fmt: skip
    assert study["numbers"][2]["ours"] is None
    assert study["origins"]["carbon"].startswith("modelled")


def test_all_of_them_are_run_together_and_one_that_breaks_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up = tuple(f"{MADE_UP}:{name}" for name in ("Calm", "Broken", "Waiting"))
    monkeypatch.setattr(registry, "names", lambda: made_up)
    assert run(["study", "all", "--jobs", "2"]) == 2
    shown = capsys.readouterr().out
    assert "✓ It is calm" in shown and "✗ Waiting is" in shown
    assert "made_up_study.py:Broken could not be run: ValueError: one two three" in shown.replace("\n", " ")
    assert "2 of 3 claims hold; 3 numbers stand beside the paper's" in shown
    assert sorted(path.name for path in Path("studies/all").iterdir()) == [
        "Calm", "Waiting", "report.html", "report.md", "studies.json",
    ]  # fmt: skip


def test_studies_are_listed_name_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(registry.names())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no study is named; name one, or 'all'"),
        (["fig44"], "unknown kind 'fig44'"),
        ([f"{MADE_UP}:Waiting", "--data", "nowhere"], "--data nowhere: is no folder"),
        (
            [f"{MADE_UP}:Waiting", "--data", "."],
            "carbon/em_caiso_2020_2022_hourly_mix.csv.gz: there is no such file; docs/studies.md",
        ),
        ([f"{MADE_UP}:FAILED_CLAIM"], "has no 'name'"),
        ([f"{MADE_UP}:Calm", "--out", "taken"], "taken: exists"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("taken").mkdir()
    assert run(["study", *words]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert len(shown.err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["taken"]


@pytest.mark.parametrize("names", [["Endless"], ["Endless", "Calm"]])
def test_ctrl_c_ends_it_with_130_and_leaves_nothing(names: list[str]) -> None:
    words = [f"{MADE_UP}:{name}" for name in names]
    program = "import sys; from ecovisor.cli import run; sys.exit(run(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", program, "study", *words, "--jobs", "1"], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline_s = time.monotonic() + 60.0
        while not list(Path().glob("studies/.*.partial-*")) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=60.0)
    assert "Traceback" not in told
    assert process.returncode == 130
    assert list(Path().iterdir()) == []

"""Every example does what its page says: it runs, quotes what it prints, and claims what its numbers show."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ecovisor.cli import run
from ecovisor.ports import Policy
from ecovisor.testing import PolicyContract, SignalContract

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DATA = Path(os.environ.get("ECOVISOR_DATA", ROOT.parent / "shared" / "data"))
CALIFORNIA = DATA / "carbon/em_caiso_2020_2022_hourly_mix.csv.gz"
GERMANY = DATA / "carbon/lets_wait_awhile_2020_DE_15min.csv.gz"
PASADENA = DATA / "solar/caltech_nsrdb_hourly_2019_2021.csv.gz"

needs_data = pytest.mark.skipif(
    not (CALIFORNIA.is_file() and GERMANY.is_file() and PASADENA.is_file()),
    reason=f"the published series are not in {DATA}; set ECOVISOR_DATA",
)


def load(path: Path) -> ModuleType:
    """A module by its file."""
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


QUOTED = load(ROOT / "scripts" / "quoted_output.py")
PAGES = [path.parent.name for path in sorted(EXAMPLES.glob("*/README.md"))]


def simulate(capsys: pytest.CaptureFixture[str], tmp_path: Path, example: str, *settings: str) -> dict[str, Any]:
    """Apps' summaries by name."""
    more = [word for setting in settings for word in ("--set", setting)]
    out = ["--out", str(tmp_path / "run"), "--json", "--no-plots"]
    assert run(["simulate", str(EXAMPLES / example / "scenario.toml"), *out, *more]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert abs(summary["site"]["residual_wh"]) < 1e-4
    assert abs(summary["site"]["balance_residual_wh"]) < 1e-4
    return {app["app"]: app for app in summary["apps"]}


def saving(app: dict[str, Any]) -> float:
    """Carbon saved against carbon-agnostic. [0..1]"""
    return 1.0 - float(app["carbon_g"]) / float(app["baseline_carbon_g"])


@pytest.mark.parametrize("example", PAGES)
def test_every_page_quotes_what_its_command_prints(example: str) -> None:
    page = EXAMPLES / example / "README.md"
    if QUOTED.needs_data(page):
        pytest.skip("its own test, where the published series are")
    assert QUOTED.current(page) == page.read_text("utf-8"), "run: python scripts/quoted_output.py"


def test_every_example_has_a_page_and_every_scenario_is_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == PAGES
    for example in ("01-smallest", "02-own-policy", "04-solar-and-battery", "05-many-apps"):
        assert run(["check", str(EXAMPLES / example / "scenario.toml")]) == 0
    capsys.readouterr()


def test_a_policy_of_ones_own_saves_and_is_on_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    lines = [line for line in (EXAMPLES / "02-own-policy/policy.py").read_text("utf-8").splitlines() if line.strip()]
    assert len(lines) <= 15
    apps = simulate(capsys, tmp_path, "02-own-policy")
    assert [apps[name]["deadline_met"] for name in ("at-once", "patient", "on-time")] == [True, False, True]
    assert saving(apps["patient"]) > saving(apps["on-time"]) > 0.05
    simulate_nearer = simulate(capsys, tmp_path / "b", "02-own-policy", "apps.on-time.policy.options.below_g_per_kwh=210")
    assert saving(simulate_nearer["on-time"]) == pytest.approx(0.145, abs=0.0005)


class TestThePolicyOfOnesOwn(PolicyContract):
    def make(self) -> Policy:
        made: Policy = load(EXAMPLES / "02-own-policy" / "policy.py").CleanButOnTime(180.0, 30.0, 48.0)
        return made


def test_sun_and_battery_save_and_arbitrage_beside_the_sun_does_not(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    apps = simulate(capsys, tmp_path, "04-solar-and-battery")
    carbon = {name: app["carbon_g"] for name, app in apps.items()}
    assert carbon["both"] < carbon["both-arbitrage"] < carbon["solar"] < carbon["battery"] < carbon["grid-only"]
    page = " ".join((EXAMPLES / "04-solar-and-battery" / "README.md").read_text("utf-8").split())
    sun, both = (1.0 - carbon[name] / carbon["grid-only"] for name in ("solar", "both"))
    stored_g = apps["battery"]["stored_carbon_g"]
    assert f"The sun saves {100 * sun:.0f} % of the carbon" in page
    assert f"saves another {100 * (both - sun):.0f} %" in page
    assert f"saves {100 * saving(apps['battery']):.1f} % on import" in page
    assert f"because {stored_g:.0f} g of what" in page
    assert f"ends {-100 * saving(apps['both-arbitrage']):.0f} % above" in page


def _texts(cell: Any) -> list[str]:
    """What a cell shows, without pictures, whose bytes depend on fonts."""
    return [output.get("text") or output["data"]["text/plain"] for output in cell.get("outputs", [])]


def test_the_notebook_shows_what_it_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))  # the home directory may be none
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    committed = nbformat.read(EXAMPLES / "06-notebook" / "two_days.ipynb", as_version=4)
    again = nbformat.read(EXAMPLES / "06-notebook" / "two_days.ipynb", as_version=4)
    nbclient.NotebookClient(again, timeout=120, kernel_name="python3").execute()
    shown = [_texts(cell) for cell in committed.cells if cell.cell_type == "code"]
    assert shown == [_texts(cell) for cell in again.cells if cell.cell_type == "code"]
    assert all(shown), "committed as executed, each cell with its output"


@needs_data
def test_waiting_helps_more_in_california_than_in_germany() -> None:
    compare = load(EXAMPLES / "03-california-against-germany" / "compare.py")
    short = ["run.duration=60d", "apps.waiting.workload.work_core_hours=2000", "apps.at-once.workload.work_core_hours=2000"]
    savings = {}
    for grid in compare.GRIDS:
        apps = {app.app: app for app in compare.apps_on(grid, DATA, short)}
        assert apps["at-once"].carbon_g == pytest.approx(apps["at-once"].baseline_carbon_g)
        savings[grid] = 1.0 - apps["waiting"].carbon_g / apps["waiting"].baseline_carbon_g
    assert savings["California"] > savings["Germany"] > 0.05


def test_the_comparison_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("ECOVISOR_DATA", raising=False)
    assert load(EXAMPLES / "03-california-against-germany" / "compare.py").main() == 2
    assert "ECOVISOR_DATA" in capsys.readouterr().err


def _california(tmp_path: Path, *settings: str) -> Path:
    out = tmp_path / "run"
    words = [f"signals.carbon.file={CALIFORNIA}", f"signals.solar.options.file={PASADENA}", *settings]
    more = [word for setting in words for word in ("--set", setting)]
    assert run(["simulate", str(EXAMPLES / "07-california-2020/scenario.toml"), "--out", str(out), "--no-plots", *more]) == 0
    return out


def _replay(folder: Path) -> None:
    script = ROOT / "tests" / "independent" / "replay.py"
    done = subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@pytest.mark.slow
@needs_data
def test_two_weeks_of_california_2020_replay(tmp_path: Path) -> None:
    _replay(_california(tmp_path, "run.start=2020-02-24T00:00:00Z", "run.duration=14d"))


@needs_data
class TestThePlugInForPasadena(SignalContract):
    name = "solar"
    options = {"file": str(PASADENA), "peak_w": 200.0}  # noqa: RUF012
    start_s = 1_582_848_000.0  # 2020-02-28T00:00Z: over the day that the export leaves out

    def make(self) -> Any:
        return load(EXAMPLES / "07-california-2020" / "nsrdb.py").flat_array


@pytest.mark.slow
@needs_data
def test_the_whole_of_california_2020_replays_to_a_millionth(tmp_path: Path) -> None:
    _replay(_california(tmp_path))


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("example", ["03-california-against-germany", "07-california-2020"])
def test_pages_on_published_series_quote_what_their_commands_print(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOVISOR_DATA", str(DATA))
    page = EXAMPLES / example / "README.md"
    assert QUOTED.current(page) == page.read_text("utf-8"), "run: python scripts/quoted_output.py"


@pytest.mark.slow
def test_being_wide_costs_energy_and_pays_only_in_the_cleanest_hours(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keys = ["apps.job.policy.percentile=10,20,30,50,80", "apps.job.policy.scale=1,2,3"]
    words = [word for key in keys for word in ("--vary", key)]
    scenario = str(EXAMPLES / "10-sweep" / "scenario.toml")
    assert run(["sweep", scenario, *words, "--seeds", "5", "--out", str(tmp_path / "out"), "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 75
    example = load(EXAMPLES / "10-sweep" / "frontier.py")
    lines = example.frontier(tmp_path / "out" / "sweep.csv")
    carbon = {(scale, percent): g for scale, points in lines.items() for percent, _, g in points}
    hours = {(scale, percent): h for scale, points in lines.items() for percent, h, _ in points}
    for percent in (10, 20, 30, 50, 80):
        assert carbon[1, percent] < carbon[2, percent] < carbon[3, percent]
        assert hours[1, percent] > hours[2, percent] > hours[3, percent]
    assert hours[2, 30] / hours[1, 30] == pytest.approx(0.5, abs=0.02)
    assert carbon[2, 30] / carbon[1, 30] == pytest.approx(1.11, abs=0.005)
    example.main(str(tmp_path / "out" / "sweep.csv"), str(tmp_path / "frontier.png"))
    assert (tmp_path / "frontier.png").stat().st_size > 10_000

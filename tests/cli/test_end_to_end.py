"""The real thing, from the command line to the run folder, in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ecovisor import runs
from ecovisor.adapters.scenario_files import list_bundled
from ecovisor.cli import run


@pytest.mark.parametrize("name", list_bundled())
def test_every_bundled_scenario_and_its_data_are_fine(name: str) -> None:
    assert run(["check", name]) == 0


def test_the_smallest_scenario_loads_no_heavy_library_and_accounts_for_everything(tmp_path: Path) -> None:
    code = """
import sys
from ecovisor.cli import run
status = run(["simulate", "two-apps", "--no-plots", "--json", "--out", sys.argv[1]])
heavy = {"pandas", "pyarrow", "pvlib", "numba", "matplotlib", "highspy", "scipy"} & set(sys.modules)
sys.exit(status or len(heavy))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    assert summary["site"]["residual_wh"] == pytest.approx(0.0, abs=1e-6)
    assert summary["site"]["balance_residual_wh"] == pytest.approx(0.0, abs=1e-6)
    found = runs.open(tmp_path / "run")
    assert len(found.flows) == 576 * 3
    assert len(found.site) == 576


def test_what_init_writes_can_be_simulated(tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "mine.toml")]) == 0
    assert (
        run(["simulate", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run"), "--set", "run.duration=1d", "--no-plots"])
        == 0
    )
    assert (tmp_path / "run" / "run.json").is_file()

"""What is light stays light: help, the seam for policies and a small simulation load no heavy library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("numpy", "pandas", "pyarrow", "pvlib", "numba", "matplotlib", "highspy", "scipy")

LOADED = "import sys; print('loaded:', *[name for name in sys.argv[1].split(',') if name in sys.modules])"
SIMULATE = """
import sys
from ecovisor.cli import main
sys.argv[1:], heavy = sys.argv[2:], sys.argv[1]
try:
    main()
except SystemExit as leaving:
    assert not leaving.code, leaving.code
print('loaded:', *[name for name in heavy.split(',') if name in sys.modules])
"""


def loaded(script: str, *arguments: str) -> list[str]:
    command = [sys.executable, "-c", script, ",".join(HEAVY), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.rsplit("loaded:", 1)[1].split()


@pytest.mark.parametrize(
    "module",
    [
        "ecovisor",
        "ecovisor.ports",
        "ecovisor.policies.suspend_resume",
        "ecovisor.policies.battery_arbitrage",
        "ecovisor.library.forecasts",
        "ecovisor.engine.loop",
        "ecovisor.assembly",
    ],
)
def test_a_module_that_users_import_loads_nothing_heavy(module: str) -> None:
    assert loaded(f"import {module}; {LOADED}") == []


def test_help_loads_nothing_heavy() -> None:
    assert loaded(SIMULATE, "--help") == []


def test_a_small_simulation_loads_nothing_heavy(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert loaded(SIMULATE, "simulate", "two-apps", "--no-plots", "--set", "run.format=csv", "--out", str(out)) == []
    assert (out / "flows.csv").exists()

"""What is loaded to read a signal: nothing heavy until a source needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HEAVY = ("numpy", "pandas", "pyarrow", "pvlib", "numba", "matplotlib", "scipy")
SCRIPT = """
import sys
from pathlib import Path
from ecovisor.adapters.signals import load_signal
from ecovisor.adapters.signals.describe import describe_file
from ecovisor.settings import Signal

def load(**settings):
    load_signal("carbon", Signal(**settings), folder=Path(sys.argv[1]), start_s=0.0, end_s=7200.0, tick_s=60.0, seed=0)

load(kind="file", file="s.csv", forecast="day-before")
load(kind="constant", value=1.0)
load(kind="modelled-carbon", zone="DE")
describe_file(Path(sys.argv[1]) / "s.csv")
print(*[name for name in sys.argv[2:] if name in sys.modules])
"""


def test_files_constants_and_models_of_carbon_load_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,ci_g_per_kwh\n0,1\n3600,2\n")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

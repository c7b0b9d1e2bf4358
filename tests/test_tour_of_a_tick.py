"""The tour of a tick tells what the engine does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "tour_of_a_tick.py"


def test_the_committed_page_is_current() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], check=False)
    assert done.returncode == 0, "run: python scripts/tour_of_a_tick.py"

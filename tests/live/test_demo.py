"""`ecovisor demo` without a person: real processes, metered and capped, that differ in what they live from."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

DARK_FROM, TICKS = 12, 20


@pytest.mark.live
def test_three_apps_differ_in_their_grid_share_and_without_the_sun_a_real_process_slows_down() -> None:
    command = [
        sys.executable,
        "-m",
        "ecovisor",
        "demo",
        "--ticks",
        str(TICKS),
        "--dark-from",
        str(DARK_FROM),
        "--json",
        "--port",
        "0",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    shares = sorted(app["grid_share"] for name, app in told["apps"].items() if name != "_site")
    assert shares[2] - shares[0] >= 0.1
    assert told["residual_wh"] < 1e-6
    assert told["ticks"] >= TICKS
    assert all(app["work"] > 0 for name, app in told["apps"].items() if name != "_site")
    done = {one["tick"]: one["work"]["sunny"] for one in told["seen"]}
    lit = (done[DARK_FROM] - done[DARK_FROM - 5]) / 5  # what the worker itself counted, a tick
    dark = (done[DARK_FROM + 6] - done[DARK_FROM + 2]) / 4
    assert dark < 0.6 * lit, f"units a tick: {lit} with the sun, {dark} from the second tick without"

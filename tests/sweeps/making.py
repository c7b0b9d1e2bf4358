"""A small scenario in a folder of its own, with a trace and a plug-in policy beside it."""

from __future__ import annotations

from pathlib import Path

SCENARIO = """schema = 1
title = "swept"

[signals.carbon]
kind = "file"
file = "carbon.csv"

[run]
start = "2020-06-01T00:00Z"
duration = "1d"
tick = "15min"

[[apps]]
name = "job"
share = 0.5
workload = { kind = "batch", work_core_hours = 4.0 }
policy = { kind = "suspend-resume", percentile = 30.0, window = "1d" }

[[apps]]
name = "web"
share = 0.3
workload = { kind = "constant", demand_w = 3.0 }
"""
POLICY = '''"""A policy that takes its time, and fails where it is told to."""

import os
import signal
import time
from pathlib import Path


class Slow:
    def __init__(self, seconds: float = 0.0, fails: bool = False, dies: bool = False, counted: str = "") -> None:
        self.seconds, self.fails, self.dies, self.counted = seconds, fails, dies, counted

    def start(self, energy) -> None:
        if self.counted:
            with Path(self.counted).open("a") as file:
                file.write("x")
        time.sleep(self.seconds)

    def tick(self, energy, app) -> None:
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails:
            raise RuntimeError("told to fail")
'''
SLOW = 'apps.web.policy={kind="slow.py:Slow"}'


def make(folder: Path) -> Path:
    """The scenario's file."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"2020-06-01T{hour:02}:00:00Z,{200 + 10 * ((hour * 7) % 24)}" for hour in range(24)]
    (folder / "carbon.csv").write_text("time,carbon_g_per_kwh\n" + "\n".join(rows) + "\n", "utf-8")
    (folder / "slow.py").write_text(POLICY, "utf-8")
    path = folder / "scenario.toml"
    path.write_text(SCENARIO, "utf-8")
    return path

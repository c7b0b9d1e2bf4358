"""Caps in watts on a whole site, by a power curve that is not linear: CPU time as another program reads it, turned to watts by hand."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.adapters.platforms.made import needs
from tests.served.serving import Served

from ecovisor import connect
from ecovisor.client import App
from ecovisor.model.errors import Refused

pytestmark = [pytest.mark.live, pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")]

READER = Path(__file__).with_name("cpu_reader.py")
CORES, CURVE_W = 2.0, (8.0, 15.0, 19.0, 22.0, 24.0)
TICK_S, TICKS = 2.0, 4
CAPS_W = {"one": 5.8, "two": 8.5}

SITE = """
schema = 1
[site]
name = "caps"
[site.server]
cores = 2.0
power_curve_w = [8.0, 15.0, 19.0, 22.0, 24.0]
[signals.carbon]
kind = "constant"
value = 200.0
[[apps]]
name = "one"
share = 0.4
commands = ["burn"]
workload = { kind = "containers" }
policy = { kind = "remote" }
[[apps]]
name = "two"
share = 0.4
commands = ["burn"]
workload = { kind = "containers" }
policy = { kind = "remote" }
[run]
tick = "2s"
[server]
listen = "127.0.0.1:0"
cap_mechanism = "MECHANISM"
separate_users = false
[server.commands.burn]
argv = ["sh", "-c", "echo $$; (while :; do :; done) & while :; do :; done"]
"""


def watts(used_cores: float) -> float:
    """Of a container with a core of its own: its part of the server's curve, computed here once more."""
    load = min(used_cores, 1.0) * (len(CURVE_W) - 1)
    at = min(int(load), len(CURVE_W) - 2)
    return (CURVE_W[at] + (CURVE_W[at + 1] - CURVE_W[at]) * (load - at)) / CORES


def said_by(app: App) -> str:
    """The number of its process, which it says first."""
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        with contextlib.suppress(Refused):  # not started yet
            if said := app.logs("c1"):
                return str(said.split()[0]) if isinstance(said, str) else said.split()[0].decode()
        time.sleep(0.1)
    raise AssertionError("the container says nothing")


@pytest.mark.parametrize(
    ("mechanism", "excess"),
    [
        pytest.param("cgroup-v1", 0.01, marks=needs("cgroup-v1"), id="cgroup-v1"),
        pytest.param("duty-cycle", 0.05, id="duty-cycle"),
    ],
)
def test_two_saturating_neighbours_keep_within_their_caps_in_watts(tmp_path: Path, mechanism: str, excess: float) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE.replace("MECHANISM", mechanism))
    with Served(site) as served, connect(unix=served.socket("one")) as one, connect(unix=served.socket("two")) as two:
        pids = []
        for app in (one, two):
            pids.append(said_by(app))
            app.set_container_powercap("c1", CAPS_W[app.name])
        time.sleep(2.0)  # a new cap is reached by then
        how = "proc" if mechanism == "duty-cycle" else "cgroup"
        command = [sys.executable, str(READER), how, str(TICK_S), str(TICKS), *map(str, pids)]
        out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        rows = [json.loads(line) for line in out.splitlines()]
        one.refresh()
        ours = {app.name: app.get_container_power("c1") for app in (one, two)}
    for row in rows:
        for name, (length_s, cpu_s) in zip(CAPS_W, row, strict=True):
            power_w = watts(cpu_s / length_s)
            print(f"{mechanism} {name}: {power_w:.3f} W under {CAPS_W[name]} W")
            assert power_w <= CAPS_W[name] * (1.0 + excess)
    for name, power_w in ours.items():
        assert power_w <= CAPS_W[name] * (1.0 + excess), "as the site itself models it"

"""A policy gives the same ledger within the server and over HTTP against it, bit by bit: one driver, one clock that waits for answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.served.serving import Served

from ecovisor import connect
from ecovisor.adapters.policies import policy_maker
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.client import drive
from ecovisor.settings import Policy

TICKS = 48

SITE = """
schema = 1
[site]
name = "lockstep"
grid_limit_w = 60.0
[site.battery]
capacity_wh = 200.0
self_discharge_per_hour = 0.0001
[signals.carbon]
kind = "modelled-carbon"
zone = "US-CAL-CISO"
forecast = "perfect"
[signals.solar]
kind = "file"
file = "sun.csv"
repeat = true
[[apps]]
name = "driven"
share = 0.5
containers = 2
cores = 4
workload = { kind = "batch", work_core_hours = 60 }
policy = POLICY
[[apps]]
name = "neighbour"
share = 0.25
cores = 4
workload = { kind = "constant", demand_w = 5 }
[run]
start = 2020-06-01T00:00:00Z
tick = "15min"
[server]
listen = "127.0.0.1:0"
lockstep = true
plant = { kind = "in-process" }
"""

POLICIES = {
    "suspend-resume": 'kind = "suspend-resume", percentile = 40, window = "24h"',
    "wait-and-scale": 'kind = "wait-and-scale", percentile = 40, window = "24h", refresh = "6h"',
    "battery-arbitrage": 'kind = "battery-arbitrage"',
    "static-carbon-rate": 'kind = "static-carbon-rate", carbon_rate_g_per_h = 1.5',
    "carbon-agnostic": 'kind = "carbon-agnostic"',
    "carbon-rate-workers": 'kind = "carbon-rate-workers", options = { carbon_rate_g_per_h = 2.5, worker_w = 5.0 }',
    "battery-smoothing": 'kind = "battery-smoothing", options = { workers = 2 }',
    "opportunistic-workers": 'kind = "opportunistic-workers", options = { workers = 1, most_workers = 3 }',
    "equal-caps": 'kind = "equal-caps"',
    "balanced-caps": 'kind = "balanced-caps"',
    "straggler-replicas": 'kind = "straggler-replicas", options = { full_w = 5.0 }',
    "latency-workers": 'kind = "latency-workers", options = { slo_p95_ms = 60, service_ms = 10 }',
    "dynamic-carbon-budget": """kind = "dynamic-carbon-budget", options = { budget_g = 30, horizon_s = 86400, slo_p95_ms = 60,
        service_ms = 10, worker_w = 5.0 }""".replace("\n", " "),
}


def written(folder: Path, policy: str) -> Path:
    folder.mkdir()
    hours = [max(0, 40 - 7 * abs(12 - hour)) for hour in range(24)]
    rows = "".join(f"2020-06-{day:02}T{hour:02}:00:00Z,{watts}\n" for day in (1, 2) for hour, watts in enumerate(hours))
    (folder / "sun.csv").write_text("time,solar_w\n" + rows)
    file = folder / "site.toml"
    file.write_text(SITE.replace("POLICY", "{ " + policy + " }"))
    return file


def ledger_rows(folder: Path) -> list[tuple[Any, ...]]:
    """The first ticks of `flows`, all columns."""
    ledger = Ledger.open(folder / "state" / "ledger", read_only=True)
    try:
        rows: list[tuple[Any, ...]] = []
        for block in ledger.blocks("flows"):
            apps = block.keys["app"]
            for k, time_s in enumerate(block.times_s):
                for r, app in enumerate(apps):
                    at = k * len(apps) + r
                    rows.append((time_s, app, *(repr(values[at]) for values in block.columns.values())))
        return rows[: 3 * TICKS]
    finally:
        ledger.close()


@pytest.mark.parametrize("name", POLICIES)
def test_in_process_and_over_http_the_ledgers_are_equal(tmp_path: Path, name: str) -> None:
    inside = written(tmp_path / "inside", POLICIES[name])
    with Served(inside) as served:
        served.wait_for_tick(TICKS)
    outside = written(tmp_path / "outside", 'kind = "remote"')
    import tomllib

    settings = tomllib.loads(f"policy = {{ {POLICIES[name]} }}")["policy"]
    policy = policy_maker(Policy(**settings), "test", tmp_path)()
    with Served(outside) as served, connect(unix=served.socket("driven")) as app:
        assert drive(app, policy, ticks=TICKS) == TICKS
        served.wait_for_tick(TICKS)
    first, second = ledger_rows(tmp_path / "inside"), ledger_rows(tmp_path / "outside")
    assert len(first) == 3 * TICKS
    assert first == second

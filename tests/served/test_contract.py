"""The public contract of `VirtualEnergy`, over HTTP against a whole server: driver, REST interface, ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.served.serving import Served

from ecovisor import connect
from ecovisor.testing import VirtualEnergyContract
from ecovisor.testing.virtual_energy import Step

SITE = """
schema = 1
[site]
name = "contract"
grid_limit_w = 100.0
[site.server]
preset = "microserver"
[site.battery]
capacity_wh = 200.0
self_discharge_per_hour = 0.0001
[signals.carbon]
kind = "file"
file = "carbon.csv"
repeat = true
[signals.solar]
kind = "file"
file = "sun.csv"
repeat = true
[[apps]]
name = "app"
share = 0.5
containers = 2
cores = 4
workload = { kind = "constant", demand_w = 8 }
policy = { kind = "remote" }
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


@pytest.mark.slow
class TestServed(VirtualEnergyContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def play(self, steps: Sequence[Step]) -> None:
        hours = [max(0, 60 - 10 * abs(12 - hour)) for hour in range(24)]
        carbon = [200 + round(100 * (1 - hour / 12) if hour < 12 else 100 * (hour / 12 - 1)) for hour in range(24)]
        for name, column, values in (("sun", "solar_w", hours), ("carbon", "carbon_intensity_g_per_kwh", carbon)):
            rows = "".join(f"2020-06-{day:02}T{hour:02}:00:00Z,{values[hour]}\n" for day in range(1, 9) for hour in range(24))
            (self.folder / f"{name}.csv").write_text(f"time,{column}\n{rows}")
        file = self.folder / "site.toml"
        file.write_text(SITE)
        left = iter(steps)
        with Served(file) as served, connect(unix=served.socket("app")) as app:
            app.on_tick(lambda energy, _: next(left)(energy))
            assert app.run(len(steps)) == len(steps)

"""A live site under the clock: ten thousand apps recorded durably while clients read, and three apps with nothing to do.

The driver, the REST interface and the ledger are those of `serve`; containers are simulated and time is moved by hand, so that only work
counts. CPU time is that of the serving process.
"""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path
from typing import Any

from ecovisor.adapters.clocks import ManualClock
from ecovisor.adapters.devices.emulated import EmulatedPlant, SolarTrace
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.adapters.devices.in_process import InProcessPlant
from ecovisor.adapters.platforms.simulated import SimulatedPlatform
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.api.application import create_app
from ecovisor.api.listening import Tcp
from ecovisor.api.server import Server, loop_factory
from ecovisor.api.tokens import Tokens
from ecovisor.assembly.live import freeze_memory
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.live.ecovisor import Ecovisor
from ecovisor.live.events import Tap
from ecovisor.live.grants import Efficiencies
from ecovisor.live.settings import LiveApp, LiveSettings
from ecovisor.live.signals import SiteSignals
from ecovisor.live.ticking import Ticker
from ecovisor.model.series import Quality
from ecovisor.ports.live import Command, Reading
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.workloads.models import Metered

_START_S = 1_590_969_600.0
_TICK_S = 60.0
_WARM_UP, _TICKS = 2, 8
_BATTERY = BatteryParameters(200_000.0, 0.3, 0.25, 1.0, 0.95, 0.95, 0.0, 0.5)
#: Reads an app's snapshot again and again until its input ends; prints the times that took. [s]
_CLIENT = """
import http.client, sys, threading, time
host, port, token = sys.argv[1].rsplit(":", 1) + [sys.argv[2]]
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
connection = http.client.HTTPConnection(host, int(port), timeout=30)
took = []
while not stop.is_set():
    begin = time.perf_counter()
    connection.request("GET", "/v1/energy", headers={"Authorization": "Bearer " + token})
    assert connection.getresponse().read()
    took.append(time.perf_counter() - begin)
    time.sleep(0.005)
print(" ".join(map(str, took)))
"""


class _Constant:
    """A carbon intensity that does not change."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def at(self, site_s: float) -> Reading:
        return Reading(200.0, Quality.MODELLED)

    def describe(self) -> str:
        return "constant"


def _ticker(apps: int, clock: ManualClock, ledger: Ledger) -> Ticker:
    share = 0.9 / apps
    shares = AppShares(share, share, share, share)
    tap = Tap(ledger.tables)
    site = Site(
        PhysicalSite(battery=_BATTERY, server=ServerParameters(4.0, (4.0, 10.0, 20.0)), solar_peak_w=1000.0),
        Signals(solar_w=array("d", [0.0]), carbon_intensity_g_per_kwh=array("d", [math.nan])),
        start_s=_START_S,
        tick_s=_TICK_S,
        sink=tap,
        history_s=0.0,
    )
    site.join(*(AppSpec(name=f"app-{k}", shares=shares, workload=Metered(), commands=("work",)) for k in range(apps)))
    plant = EmulatedPlant.starting(
        PlantBattery.like(_BATTERY), SolarTrace(start_s=_START_S, step_s=3600.0, values_w=[500.0, 300.0]), site_s=_START_S
    )
    return Ticker(
        site=site,
        tap=tap,
        loop=Loop(site, policies_in_python=True),
        settings=LiveSettings(
            name="many",
            timezone="UTC",
            tick_s=_TICK_S,
            gap_after_s=10 * _TICK_S,
            max_age_s=900.0,
            enforce_budgets=True,
            lockstep=True,
            export_limit_w=math.inf,
            below_line_wh=_BATTERY.capacity_wh * _BATTERY.empty_ratio,
            efficiencies=Efficiencies(_BATTERY.charge_efficiency, _BATTERY.discharge_efficiency),
            has_battery=True,
            keep_ticks_s=1e9,
            commands={"work": Command(["work"])},
            apps=[LiveApp(name=f"app-{k}", shares=shares, remote=False, real=True) for k in range(apps)],
        ),
        clock=clock,
        ledger=ledger,
        platform=SimulatedPlatform(clock),
        plant=InProcessPlant(plant, clock),
        node_meter=None,
        signals=SiteSignals({"carbon": _Constant()}),
        environment=lambda _: {},
        failed_policies=[],
    )


async def _many(apps: int, folder: Path) -> dict[str, float]:
    clock = ManualClock(_START_S)
    ledger = Ledger.open(folder, site="many", timezone="UTC")
    ticker = _ticker(apps, clock, ledger)
    ecovisor = Ecovisor(ticker, _nobody_joins)
    tokens = Tokens(ledger.registry, clock.wall_s)
    server = Server(create_app(ecovisor, tokens=tokens), [Tcp()])
    await server.start()
    await ticker.open()
    command = [sys.executable, "-c", _CLIENT, server.addresses[0].removeprefix("http://"), tokens.issue("app-17")]
    client = None
    cpu: list[float] = []
    for k in range(_WARM_UP + _TICKS):
        if k == _WARM_UP:
            freeze_memory()  # as `serve` does
            client = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            await asyncio.sleep(0.5)
        begin = time.process_time()
        await ticker.step()
        await ticker.recording.drain()
        if k >= _WARM_UP:
            cpu.append(time.process_time() - begin)
    if client is None:
        raise AssertionError("there were ticks")
    out, _ = await client.communicate(b"")
    took = sorted(float(one) for one in out.split())
    await server.stop()
    await ecovisor.close()
    ledger.close()
    return {
        "cpu_s_per_tick": statistics.median(cpu),
        "get_ms_p99": took[int(0.99 * (len(took) - 1))] * 1e3,
        "get_ms_max": took[-1] * 1e3,
        "gets": float(len(took)),
    }


def _nobody_joins(request: Any) -> AppSpec:
    raise AssertionError(f"{request} joins nothing")


def tick_of_10000_apps() -> dict[str, float]:
    """A tick of 10,000 apps with a container each, recorded durably, and what a client waits for meanwhile."""
    sys.setswitchinterval(0.001)  # as `serve` does
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_many(10_000, Path(folder)))


_IDLE_SITE = """
schema = 1
[site]
name = "idle"
[site.battery]
capacity_wh = 100.0
[signals.carbon]
kind = "modelled-carbon"
zone = "DE"
[signals.solar]
kind = "constant"
value = 20.0
{apps}
[run]
tick = "1s"
[server]
listen = "127.0.0.1:0"
[server.commands.sleep]
argv = ["sleep", "3600"]
"""
_IDLE_S = 30.0


def idle_three_apps() -> dict[str, float]:
    """A site with three idle apps at ticks of a second: what part of a core it takes, and how much memory."""
    apps = "".join(
        f'[[apps]]\nname = "{name}"\nshare = 0.3\ncommands = ["sleep"]\nworkload = {{ kind = "containers" }}\n'
        for name in ("a", "b", "c")
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        file = Path(folder) / "site.toml"
        file.write_text(_IDLE_SITE.format(apps=apps), encoding="utf-8")
        command = [sys.executable, "-m", "ecovisor", "serve", "--config", str(file)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                if server.stdout is None or not server.stdout.readline():
                    raise RuntimeError("the server did not start")
                time.sleep(5.0)
                before = _cpu_s(server.pid)
                time.sleep(_IDLE_S)
                used_s = _cpu_s(server.pid) - before
                rss_mb = _rss_mb(server.pid)
            finally:
                server.terminate()
    return {"percent_of_a_core": 100.0 * used_s / _IDLE_S, "rss_mb": rss_mb}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024.0
    raise RuntimeError("no VmHWM")

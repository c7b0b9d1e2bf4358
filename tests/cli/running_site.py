"""A real site in a thread of its own, with simulated containers and a plant within it, for tests of the operator's commands."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.api.server import loop_factory
from ecovisor.assembly.live import LiveSite, open_site

SITE = """
schema = 1
[site]
name = "test-site"
[site.server]
cores = 4
power_curve_w = [4, 20]
[site.battery]
capacity_wh = 100
[signals.carbon]
kind = "constant"
value = 200
[signals.solar]
kind = "constant"
value = 10
[[apps]]
name = "web"
share = 0.5
commands = ["work"]
workload = { kind = "containers" }
policy = { kind = "remote" }
[[apps]]
name = "a.solar"
share = 0.125
commands = ["work", "fails"]
workload = { kind = "containers" }
[run]
start = "2026-06-01T00:00:00Z"
tick = "1min"
[server]
listen = "127.0.0.1:0"
platform = "simulated"
compression = 600
plant = { kind = "in-process" }
[server.commands.work]
argv = ["work"]
environment = { ECOVISOR_SIMULATED_OUTPUT = "one\\ntwo\\u001b[2Jthree\\n" }
[server.commands.fails]
argv = ["fails"]
environment = { ECOVISOR_SIMULATED_CPU_S = "0.01", ECOVISOR_SIMULATED_EXIT_CODE = "3" }
"""


@contextlib.contextmanager
def running_site() -> Iterator[LiveSite]:
    """The site, while the block runs; a tick is a tenth of a second."""
    with running() as (site, _):
        yield site


@contextlib.contextmanager
def running() -> Iterator[tuple[LiveSite, asyncio.AbstractEventLoop]]:
    """The site and the loop that it runs in. Its folder has a short name, for the sockets."""
    with tempfile.TemporaryDirectory(prefix="eco-") as folder:
        path = Path(folder) / "site.toml"
        path.write_text(SITE, "utf-8")
        scenario, base = load_scenario(str(path))
        opened: list[LiveSite] = []
        ready = threading.Event()

        async def session() -> None:
            try:
                site = await open_site(scenario, base)
                opened.append(site)
            finally:
                ready.set()
            await site.run()
            await site.close()

        def run() -> None:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                loops.append(runner.get_loop())
                runner.run(session())

        loops: list[asyncio.AbstractEventLoop] = []
        thread = threading.Thread(target=run, name="site")
        thread.start()
        try:
            assert ready.wait(60)
            (site,) = opened
            yield site, loops[0]
        finally:
            for one in opened:
                loops[0].call_soon_threadsafe(one.stop)
            thread.join(60)

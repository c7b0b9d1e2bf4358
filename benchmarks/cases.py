"""The cases: each measures once and returns its figures. `registry` runs them several times and forms medians and ratios."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.sites import built_in_policies, site_of
from ecovisor.engine.loop import Loop
from ecovisor.ports import AppView, TableSink, VirtualEnergy

Figures = dict[str, float]
MINUTES_PER_YEAR = 525_600


class ThreeGettersTwoSetters:
    """A policy in Python that reads and sets as much as a plain one does."""

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        carbon = energy.get_grid_carbon()
        solar_w = energy.get_solar_power()
        level_wh = energy.get_battery_charge_level()
        energy.set_battery_charge_rate(2.0 if carbon < 200.0 and level_wh < 20.0 else 0.0)
        energy.set_battery_max_discharge(0.0 if solar_w > 5.0 else 8.0)


def _run(site: Any, ticks: int) -> float:
    """CPU seconds of the loop alone."""
    loop = Loop(site)
    loop.run(1)  # policies are made, compiled code is loaded
    begin = time.process_time()
    loop.run(ticks)
    return time.process_time() - begin


def builtin_1000_apps() -> Figures:
    """1,000 apps, built-in policies, sharing and limits, sums kept."""
    ticks = 5000
    cpu_s = _run(site_of(1000, ticks, built_in_policies()), ticks)
    return {"app_ticks_per_s": 1000 * (ticks - 1) / cpu_s}


def python_tick_1000_apps() -> Figures:
    """1,000 apps with a Python tick() each: 3 getters, 2 setters; sums kept."""
    ticks = 600
    cpu_s = _run(site_of(1000, ticks, [ThreeGettersTwoSetters]), ticks)
    return {"app_ticks_per_s": 1000 * (ticks - 1) / cpu_s}


def _recorded(apps: int, ticks: int, policies: Any) -> tuple[float, float]:
    from ecovisor.adapters.stores.run_folder import RunFolder

    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder) / "run", table_format="parquet") as sink:
        warm: TableSink = sink
        site = site_of(apps, ticks, policies, sink=warm)
        cpu_s = _run(site, ticks)
        begin = time.process_time()
        sink.finish({})
        return cpu_s, time.process_time() - begin


def builtin_1000_apps_recorded() -> Figures:
    """The same with every table written as Parquet."""
    ticks = 1000
    cpu_s, finish_s = _recorded(1000, ticks, built_in_policies())
    rows = 1001 * ticks
    return {"app_ticks_per_s": 1000 * ticks / (cpu_s + finish_s), "us_per_flows_row": (cpu_s + finish_s) / rows * 1e6}


def python_year_one_app() -> Figures:
    """One app, a year of minutes, a Python policy at every tick, sums kept."""
    site = site_of(1, MINUTES_PER_YEAR, [ThreeGettersTwoSetters])
    return {"cpu_s": _run(site, MINUTES_PER_YEAR)}


def python_year_one_app_recorded() -> Figures:
    """The same with every table written as Parquet."""
    return {"cpu_s": sum(_recorded(1, MINUTES_PER_YEAR, [ThreeGettersTwoSetters]))}


def million_apps() -> Figures:
    """One million apps: CPU of a tick over a day's phases, and the memory of the process."""
    ticks = 1440
    site = site_of(1_000_000, ticks, built_in_policies())
    loop = Loop(site)
    loop.run(1)
    spent = 0.0
    measured = 0
    for hour in range(0, 24, 3):  # five ticks at each of eight times of the day
        site.memory.set("tick", hour * 60.0 + 1.0)
        site.memory.set("woken_tick", hour * 60.0)
        loop.run(hour * 60 + 2)
        begin = time.process_time()
        loop.run(hour * 60 + 7)
        spent += time.process_time() - begin
        measured += 5
    return {"cpu_ms_per_tick": spent / measured * 1e3, "peak_rss_mb": peak_rss_mb()}


def year_10000_apps() -> Figures:
    """10,000 apps: ten days of minutes, times 36.5 for a year."""
    ticks = 10 * 1440
    cpu_s = _run(site_of(10_000, ticks, built_in_policies()), ticks)
    return {"cpu_s_per_year": cpu_s * 36.5}


def cold_small_scenario() -> Figures:
    """From a cold process to the printed table of the smallest bundled scenario, without plots."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "ecovisor", "simulate", "two-apps", "--no-plots", "--out", f"{folder}/run"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}


def snapshot_get() -> Figures:
    """A snapshot over REST with a token, and a bare Starlette route with the same bytes: CPU of the server for each, and the ratio."""
    from benchmarks.rest import snapshot_get as measure

    return measure()


def live_tick_10000_apps() -> Figures:
    """See `benchmarks.live`."""
    from benchmarks.live import tick_of_10000_apps as measure

    return measure()


def live_idle_three_apps() -> Figures:
    """See `benchmarks.live`."""
    from benchmarks.live import idle_three_apps as measure

    return measure()


def ledger_commits() -> Figures:
    """See `benchmarks.ledger`."""
    from benchmarks.ledger import commits as measure

    return measure()


def ledger_month() -> Figures:
    """See `benchmarks.ledger`."""
    from benchmarks.ledger import month as measure

    return measure()


def peer_1000_tenants() -> Figures:
    """vessim: 100 tenants, enough steps for its rate to settle (it does not depend on the number of tenants)."""
    from benchmarks.peer import tenant_steps_per_s

    return {"app_ticks_per_s": tenant_steps_per_s(100, 300)}


def peer_year_one_app() -> Figures:
    """vessim: one tenant with a controller, a tenth of a year of minutes, times ten."""
    from benchmarks.peer import controlled_steps_per_s

    return {"cpu_s": MINUTES_PER_YEAR / controlled_steps_per_s(MINUTES_PER_YEAR // 10)}


def peak_rss_mb() -> float:
    """Largest resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0

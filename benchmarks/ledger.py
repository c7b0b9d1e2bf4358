"""The ledger alone: what a commit costs by the number of apps, and how long questions to a month of minutes take."""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ecovisor.adapters.stores.ledger import Batch, Ledger
from ecovisor.ports import Block

START_S = 1_614_556_800.0
TICK_S = 60.0
MONTH_TICKS = 30 * 1440
_POWERS = (
    "demand_w",
    "solar_w",
    "solar_to_load_w",
    "solar_to_battery_w",
    "battery_discharge_w",
    "grid_to_load_w",
    "grid_to_battery_w",
    "unserved_w",
    "overdraw_w",
    "exported_w",
    "shared_w",
    "curtailed_w",
    "received_w",
)
_OTHERS = (
    "battery_level_wh",
    "capacity_wh",
    "charge_limit_w",
    "discharge_limit_w",
    "grid_limit_w",
    "self_discharge_wh",
    "transfer_in_wh",
    "transfer_out_wh",
    "netting_credit_wh",
    "battery_adjust_wh",
    "carbon_intensity_g_per_kwh",
    "carbon_g",
    "carbon_on_use_g",
    "stored_carbon_g",
    "charge_rate_setting_w",
    "max_discharge_setting_w",
)
_ZERO = {
    "unserved_w",
    "overdraw_w",
    "exported_w",
    "shared_w",
    "received_w",
    "transfer_in_wh",
    "transfer_out_wh",
    "netting_credit_wh",
}
_SITE = ("solar_collected_w", "buffer_wh", "import_w", "export_w", "physical_level_wh", "node_power_w")
#: What the engine's checkpoint takes of each app. [bytes]
_CHECKPOINT_BYTES = 330


class Ticks:
    """Ticks of apps with a container each, as the recorder would hand them on: as many different ones as fit in little memory."""

    def __init__(self, apps: int) -> None:
        rnd = random.Random(apps)
        self.apps = [*(f"app{k}" for k in range(apps)), "_site"]
        rows = len(self.apps)
        self._variants = []
        for _ in range(max(2, min(60, 20_000 // rows))):
            columns = {
                name: [0.0 if name in _ZERO else rnd.uniform(0.0, 300.0) for _ in range(rows)] for name in (*_POWERS, *_OTHERS)
            }
            columns |= {"dt_s": [TICK_S] * rows, "grid_limit_w": [math.inf] * rows}
            power_w = [value for pair in zip(columns["demand_w"], columns["grid_to_battery_w"], strict=True) for value in pair]
            carbon_g = [rnd.uniform(0.0, 1.0) for _ in range(2 * rows)]
            self._variants.append((columns, {"dt_s": [TICK_S] * 2 * rows, "power_w": power_w, "carbon_g": carbon_g}))
        self._keys = {"app": [app for app in self.apps for _ in range(2)], "container": ["c1", "_battery"] * rows}
        self._cap_w = [math.inf] * 2 * rows
        self._checkpoint = rnd.randbytes(_CHECKPOINT_BYTES * apps)

    def batch(self, ledger: Ledger, tick: int) -> Batch:
        start_s = START_S + tick * TICK_S
        columns, containers = self._variants[tick % len(self._variants)]
        quality = {"quality": "measured"}
        ledger.tables.write(Block("flows", [start_s], {"app": self.apps}, columns, quality))
        site = {name: [float(tick)] for name in _SITE} | {"dt_s": [TICK_S]}
        ledger.tables.write(Block("site", [start_s], {}, site, {}))
        ledger.tables.write(Block("containers", [start_s], self._keys, {**containers, "cap_w": self._cap_w}, quality))
        return ledger.seal(
            tick=tick,
            start_s=start_s,
            dt_s=TICK_S,
            wall_s=start_s,
            checkpoint=self._checkpoint,
            plant=b"{}",
            price_per_kwh=0.3,
        )


def commits() -> dict[str, float]:
    """Durable commits a second, and CPU of a tick, for 3 to 10,000 apps; over more than an hour, so that hours close."""
    figures = {}
    for apps, ticks in ((3, 1500), (100, 600), (1000, 130), (10_000, 62)):
        made = Ticks(apps)
        with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder)) as ledger:
            ledger.commit(made.batch(ledger, 0))
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            longest_s = 0.0
            for tick in range(1, ticks):
                begin_s = time.process_time()
                ledger.commit(made.batch(ledger, tick))
                longest_s = max(longest_s, time.process_time() - begin_s)
            cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
            figures[f"commits_per_s_{apps}"] = (ticks - 1) / wall_s
            figures[f"cpu_ms_per_tick_{apps}"] = cpu_s / (ticks - 1) * 1e3
            figures[f"longest_cpu_ms_{apps}"] = longest_s * 1e3
    return figures


def month() -> dict[str, float]:
    """A month of 1-minute ticks of 100 apps with a container each: questions of a process that has just been started, and its size."""
    made = Ticks(100)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        cpu_s = time.process_time()
        with Ledger.open(path) as ledger:
            ledger._writing()._db.execute("PRAGMA synchronous = OFF")  # the file is the same, and the month takes no hour
            for tick in range(MONTH_TICKS):
                ledger.commit(made.batch(ledger, tick))
        cpu_s = time.process_time() - cpu_s
        begin_s = time.perf_counter()
        with Ledger.open(path):
            open_s = time.perf_counter() - begin_s
        end_s = START_S + MONTH_TICKS * TICK_S
        figures = {
            "rows": MONTH_TICKS * len(made.apps),
            "file_mb": (path / "ledger.sqlite").stat().st_size / 1e6,
            "cpu_ms_per_tick": cpu_s / MONTH_TICKS * 1e3,
            "open_s": open_s,
        }
        questions: dict[str, Callable[[Ledger, int], object]] = {
            "usage_of_a_day": lambda ledger, k: ledger.usage(f"app{7 * k}", *_day(k)),
            "history_of_a_day": lambda ledger, k: ledger.history(f"app{7 * k}", "demand_w", *_day(k)),
            "month_of_all_apps": lambda ledger, k: ledger.usage_of_all(START_S + 90.0 * k, end_s - 30.0),
            "month_of_one_app": lambda ledger, k: ledger.usage(f"app{k}", START_S, end_s - 30.0),
            "month_of_one_app_by_hour": lambda ledger, k: ledger.history(f"app{k}", "demand_w", START_S, end_s, 3600.0),
        }
        for name, ask in questions.items():
            figures[f"{name}_cpu_ms"], figures[f"{name}_wall_ms"] = _median_ms(path, ask)
    day_ms = max(figures["usage_of_a_day_cpu_ms"], figures["history_of_a_day_cpu_ms"])
    return {"part_of_bound": max(day_ms / 20.0, figures["month_of_all_apps_cpu_ms"] / 500.0), **figures}


def _day(k: int) -> tuple[float, float]:
    """A day that cuts its first and last hour. [s since the epoch]"""
    start_s = START_S + (2.3 * k + 0.511) * 86_400.0
    return start_s, start_s + 86_400.0


def _median_ms(path: Path, ask: Callable[[Ledger, int], object]) -> tuple[float, float]:
    """The first question to each of several newly opened ledgers: CPU and wall time. [ms]"""
    cpu, wall = [], []
    for k in range(9):
        with Ledger.open(path, read_only=True) as ledger:
            begin_s, cpu_s = time.perf_counter(), time.process_time()
            ask(ledger, k)
            cpu.append((time.process_time() - cpu_s) * 1e3)
            wall.append((time.perf_counter() - begin_s) * 1e3)
    return statistics.median(cpu), statistics.median(wall)

"""Made-up ticks for the tests of the ledger, and sums over them that share nothing with the ledger's own."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ecovisor.adapters.stores.ledger import Batch, Ledger
from ecovisor.ports import Block, Event

#: A file system in memory, where there is one.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None

#: 2021-03-01T00:00Z, a Monday.
START_S = 1_614_556_800.0
POWERS = (
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
AMOUNTS = ("self_discharge_wh", "transfer_in_wh", "transfer_out_wh", "netting_credit_wh", "battery_adjust_wh")
FLOW_COLUMNS = (
    "dt_s",
    *POWERS,
    "battery_level_wh",
    "capacity_wh",
    "grid_limit_w",
    *AMOUNTS,
    "carbon_intensity_g_per_kwh",
    "carbon_g",
    "carbon_on_use_g",
    "stored_carbon_g",
    "charge_rate_setting_w",
)
QUALITIES = ("measured", "modelled", "estimated", "stale")


@dataclass
class Row:
    """A row of `flows` and the rows of its containers."""

    app: str
    values: dict[str, float]
    quality: str
    containers: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class Made:
    """One tick (or gap) as it was given to the ledger."""

    tick: int | None
    start_s: float
    dt_s: float
    rows: list[Row]
    price: float | None = None
    events: list[Event] = field(default_factory=list)

    @property
    def end_s(self) -> float:
        return self.start_s + self.dt_s

    def blocks(self) -> list[Block]:
        columns = {name: [row.values[name] for row in self.rows] for name in FLOW_COLUMNS}
        apps, qualities = [row.app for row in self.rows], [row.quality for row in self.rows]
        found = [
            Block("flows", [self.start_s], {"app": apps}, columns, {}, {"quality": qualities}),
            Block("site", [self.start_s], {}, {"dt_s": [self.dt_s], "import_w": [sum(columns["grid_to_load_w"])]}, {}),
        ]
        kept = [(row, name, values) for row in self.rows for name, values in row.containers.items()]
        if kept:
            keys = {"app": [row.app for row, _, _ in kept], "container": [name for _, name, _ in kept]}
            numbers = {name: [values[name] for _, _, values in kept] for name in ("dt_s", "power_w", "carbon_g", "cap_w")}
            found.append(Block("containers", [self.start_s], keys, numbers, {}, {"quality": [row.quality for row, _, _ in kept]}))
        return found

    def batch(self, ledger: Ledger, checkpoint: bytes = b"checkpoint", plant: bytes = b"plant") -> Batch:
        for block in self.blocks():
            ledger.tables.write(block)
        for event in self.events:
            ledger.tables.write_event(event)
        return ledger.seal(
            tick=self.tick,
            start_s=self.start_s,
            dt_s=self.dt_s,
            wall_s=self.end_s + 0.25,
            kind="gap" if self.tick is None else "tick",
            checkpoint=checkpoint,
            plant=plant,
            price_per_kwh=self.price,
        )


def row(rnd: random.Random, app: str, dt_s: float, *, known: bool = True, containers: Iterable[str] = ("c1", "_battery")) -> Row:
    """A row of an app that is consistent with itself: who served what, the carbon of its import, its containers."""
    h = dt_s / 3600.0
    some: Callable[[], float] = lambda: rnd.choice([0.0, rnd.uniform(0.0, 500.0), rnd.uniform(0.0, 1e-3)])  # noqa: E731
    values = dict.fromkeys(FLOW_COLUMNS, 0.0) | {name: some() for name in (*POWERS, *AMOUNTS)}
    values["dt_s"] = dt_s
    served_w = values["solar_to_load_w"] + values["battery_discharge_w"] + values["grid_to_load_w"]
    values["demand_w"] = served_w + values["unserved_w"]
    intensity = rnd.uniform(10.0, 700.0) if known else math.nan
    values["carbon_intensity_g_per_kwh"] = intensity
    values["carbon_g"] = (values["grid_to_load_w"] + values["grid_to_battery_w"]) * h / 1000.0 * intensity
    values["carbon_on_use_g"] = rnd.uniform(0.0, 5.0)
    values["battery_level_wh"], values["capacity_wh"], values["stored_carbon_g"] = rnd.uniform(0, 100), 100.0, rnd.uniform(0, 50)
    values["grid_limit_w"] = math.inf
    values["battery_adjust_wh"] *= rnd.choice([1.0, -1.0])
    found = Row(app, values, rnd.choice(QUALITIES))
    names = list(containers)
    ordinary = [name for name in names if name != "_battery"]
    parts = [rnd.random() for _ in ordinary]
    for name, part in zip(ordinary, parts, strict=True):
        power_w = served_w * part / sum(parts)
        share = power_w / served_w if served_w > 0.0 else 0.0
        carbon_g = share * values["grid_to_load_w"] * h / 1000.0 * intensity
        found.containers[name] = {"dt_s": dt_s, "power_w": power_w, "carbon_g": carbon_g, "cap_w": math.inf}
    if "_battery" in names:
        charge_w = values["grid_to_battery_w"]
        found.containers["_battery"] = {
            "dt_s": dt_s,
            "power_w": charge_w + values["solar_to_battery_w"],
            "carbon_g": charge_w * h / 1000.0 * intensity,
            "cap_w": math.inf,
        }
    return found


def ticks(
    count: int,
    *,
    apps: Sequence[str] = ("a", "b", "_site"),
    dt_s: float = 60.0,
    start_s: float = START_S,
    seed: int = 1,
    known: bool = True,
    first: int = 0,
) -> list[Made]:
    """Ticks of one length in a row."""
    rnd = random.Random(seed)
    return [
        Made(first + k, start_s + k * dt_s, dt_s, [row(rnd, app, dt_s, known=known) for app in apps], price=0.3)
        for k in range(count)
    ]


def fill(ledger: Ledger, made: Iterable[Made]) -> None:
    """Store them all."""
    for one in made:
        ledger.commit(one.batch(ledger))


def stored(folder: Path, made: Iterable[Made], *, timezone: str = "UTC") -> Path:
    """A state directory with these ticks in it."""
    with Ledger.open(folder, site="Test", timezone=timezone) as ledger:
        fill(ledger, made)
    return folder


# -- the same sums, exactly rounded, from what was given


def energy_wh(made: Iterable[Made], app: str, column: str) -> float:
    """Of a power column, over ticks."""
    return math.fsum(one.values[column] * one.values["dt_s"] for tick in made for one in tick.rows if one.app == app) / 3600.0


def amount(made: Iterable[Made], app: str, column: str) -> float:
    """Of a column of amounts, unknown ones left out."""
    values = (one.values[column] for tick in made for one in tick.rows if one.app == app)
    return math.fsum(value for value in values if value == value)

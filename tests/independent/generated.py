"""Random runs of the reference site, biased to where settlement is delicate, and the run folder that records them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from .plant import Plant
from .settlement import INFINITE, SITE, Battery, ReferenceSite, Row, Shares

START_NS = 1_577_836_800_000_000_000


@dataclass
class RunTables:
    """A run as plain rows, before it becomes a folder."""

    physics: Row
    flows: list[Row] = field(default_factory=list)
    site: list[Row] = field(default_factory=list)
    containers: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)

    def write(self, folder: Path, kind: str = "parquet") -> Path:
        """The folder as `docs/tables.md` describes it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps({"physics": self.physics}))
        for name in ("flows", "site", "containers", "events"):
            rows = getattr(self, name)
            table = pa.Table.from_pylist(rows, schema=schema_of(name, rows))
            if kind == "parquet":
                pq.write_table(table, folder / f"{name}.parquet")
            else:
                pa_csv.write_csv(table, folder / f"{name}.csv")
        return folder


TEXTS = {"app", "container", "quality", "kind", "detail"}
EMPTY_COLUMNS = {
    "containers": ("time", "app", "container", "dt_s", "power_w", "carbon_g", "cap_w"),
    "events": ("time", "app", "kind", "detail"),
}


def schema_of(name: str, rows: Sequence[Row]) -> pa.Schema:
    """UTC times, text and floats."""
    columns = tuple(rows[0]) if rows else EMPTY_COLUMNS[name]
    kinds = {c: pa.string() if c in TEXTS else pa.float64() for c in columns}
    kinds["time"] = pa.timestamp("ns", "UTC")
    return pa.schema(list(kinds.items()))


def containers_of(row: Row, weights: Sequence[float]) -> Iterator[Row]:
    """One app's containers in one tick, and `_battery`."""
    key = {"time": row["time"], "app": row["app"], "dt_s": row["dt_s"]}
    intensity = row["carbon_intensity_g_per_kwh"]
    grams_per_w = None if intensity is None else row["dt_s"] / 3600 / 1000 * intensity
    served = row["demand_w"] - row["unserved_w"]
    for number, weight in enumerate(weights):
        part = weight / sum(weights)
        carbon = None if grams_per_w is None else row["grid_to_load_w"] * part * grams_per_w
        yield key | {"container": f"c{number}", "power_w": served * part, "carbon_g": carbon, "cap_w": None}
    carbon = None if grams_per_w is None else row["grid_to_battery_w"] * grams_per_w
    power = row["grid_to_battery_w"] + row["solar_to_battery_w"]
    yield key | {"container": "_battery", "power_w": power, "carbon_g": carbon, "cap_w": None}


def plant_for(site: ReferenceSite) -> Plant:
    """The physical system behind a site, at the site's present level."""
    level = sum(a.level_wh for a in site.apps.values())
    c = site.battery
    if c is None:
        return Plant()
    return Plant(
        nominal_wh=c.capacity_wh,
        empty_ratio=c.empty_ratio,
        charge_efficiency=c.charge_efficiency,
        discharge_efficiency=c.discharge_efficiency,
        self_discharge_per_hour=c.self_discharge_per_hour,
        charge_c_rate=c.charge_c_rate,
        discharge_c_rate=c.discharge_c_rate,
        reserve_wh=c.reserve_wh,
        above_wh=level,
    )


def random_shares(dice: random.Random, left: Shares) -> Shares:
    """Some of what is left, often none or all of it."""

    def part(rest: float) -> float:
        return rest * dice.choice([0.0, 1.0, 0.5, dice.random(), dice.random()])

    return Shares(part(left.grid), part(left.solar), part(left.battery_energy), part(left.battery_power))


def random_battery(dice: random.Random, reserve_wh: float) -> Battery:
    """From ideal to poor, from the paper's size up."""
    return Battery(
        capacity_wh=dice.choice([1440.0, 5000.0, 40.0 + 4 * reserve_wh]) + 2 * reserve_wh,
        empty_ratio=dice.choice([0.0, 0.3]),
        charge_efficiency=dice.choice([1.0, 0.95, 0.8]),
        discharge_efficiency=dice.choice([1.0, 0.95, 0.7]),
        self_discharge_per_hour=dice.choice([0.0, 0.0, 4e-5, 0.02]),
        charge_c_rate=dice.choice([0.25, 1.0, 3.0]),
        discharge_c_rate=dice.choice([1.0, 0.5, 3.0]),
        reserve_wh=reserve_wh,
    )


def random_run(seed: int, ticks: int = 150, hold_against_plant: bool = False, changes: bool = True) -> RunTables:
    """A run from a seed: apps that join, leave and change shares, set what they like, at full and at empty."""
    dice = random.Random(seed)
    tick_s = dice.choice([60.0, 300.0, 3600.0])
    peak_w = dice.choice([0.0, 200.0, 600.0])
    battery = random_battery(dice, peak_w * tick_s / 3600) if dice.random() < 0.9 else None
    shares: dict[str, Shares] = {}
    for number in range(dice.randint(1, 4)):
        shares[f"app-{number}"] = random_shares(dice, remaining(shares))
    excess = dice.choice([["curtail"], ["share", "curtail"], ["share", "export", "curtail"], ["export"], ["export", "share"], []])
    site = ReferenceSite(
        battery=battery,
        shares=shares,
        excess=excess,
        grid_limit_w=dice.choice([None, 0.0, 300.0, 1500.0]),
        export_limit_w=dice.choice([None, 0.0, 50.0]),
        live=dice.random() < 0.2,
    )
    for app in site.apps.values():
        app.level_wh = site.capacity_wh(app) * dice.choice([0.0, 0.0, 1.0, dice.random()])
        app.stored_carbon_g = app.level_wh * dice.choice([0.0, 0.2])
    run = RunTables(site.physics(tick_s))
    plant = plant_for(site)
    weights = {f"app-{n}": [dice.random() + 0.1 for _ in range(dice.randint(1, 3))] for n in range(100)}
    time_ns, joined = START_NS, len(shares)

    for _ in range(ticks):
        if changes and run.site and dice.random() < 0.1:
            joined = random_change(dice, site, joined)
        if dice.random() < 0.05:
            site.derate(*dice.choice([(INFINITE, INFINITE), (0.0, INFINITE), (50.0, 20.0), (INFINITE, 0.0)]))
            plant.derate(site.charge_range_w, site.discharge_range_w)
        if changes and not site._next and dice.random() < 0.05:
            held = sum(a.level_wh for a in site.apps.values())
            room = sum(max(site.capacity_wh(a) - a.level_wh, 0.0) for a in site.apps.values())
            change = dice.choice([-0.5 * held, -0.01 * held, 0.1 * room])
            site.adjust(change)
            plant.disturb(change)
        for name, app in site.apps.items():
            if dice.random() < 0.2:
                site.set_charge_rate(name, dice.choice([0.0, 1e-6, 30.0, 300.0, 1e6]))
            if dice.random() < 0.1:
                site.set_max_discharge(name, dice.choice([INFINITE, 0.0, 25.0, app.level_wh]))
        dt_s = dice.choice([tick_s] * 6 + [tick_s / 4, 0.001])
        intensity = dice.choice([None, 0.0, 40.0, 250.0, dice.random() * 800])
        collected = peak_w * dice.choice([0.0, 0.0, 1.0, dice.random()])
        coming = {name: app.solar_wh / (dt_s / 3600) for name, app in site.apps.items()}
        demands = {
            name: dice.choice([0.0, 100.0, 5.0, 1000.0 * dice.random(), solar, min(site.grid_limit_of(site.apps[name]), 400.0)])
            for name, solar in coming.items()
            if name != SITE or dice.random() < 0.5
        }
        tick = site.step(dt_s, collected, intensity, demands)
        stamp: Row = {"time": time_ns}
        rows = [stamp | row for row in tick.flows.values()]
        run.flows += rows
        run.site.append(stamp | tick.site)
        run.events += [{"time": time_ns, "app": name, "kind": "left", "detail": ""} for name in tick.left]
        for row in rows:
            run.containers += containers_of(row, weights.get(row["app"], [1.0]))
        if hold_against_plant:
            hold(plant, tick.site)
        time_ns += round(dt_s * 1e9)
    return run


def remaining(shares: dict[str, Shares]) -> Shares:
    """What nobody holds. A rounding error below 1e-12 is nobody's either."""
    parts = []
    for resource in ("grid", "solar", "battery_energy", "battery_power"):
        rest = 1.0 - sum(getattr(s, resource) for s in shares.values())
        parts.append(rest if rest > 1e-12 else 0.0)
    return Shares(*parts)


def random_change(dice: random.Random, site: ReferenceSite, joined: int) -> int:
    """One boundary with a few changes at once; the shares keep within 1."""
    shares = {n: a.shares for n, a in site.apps.items() if n != SITE}
    for name in list(shares):
        fate = dice.random()
        if fate < 0.2:
            del shares[name]
            site.leave(name)
        elif fate < 0.5:
            del shares[name]
            shares[name] = random_shares(dice, remaining(shares))
            site.set_shares(name, shares[name])
    if dice.random() < 0.5:
        name = f"app-{joined}"
        shares[name] = random_shares(dice, remaining(shares))
        site.join(name, shares[name])
        joined += 1
    return joined


def hold(plant: Plant, site: Row) -> None:
    """Step the plant by the set-points of a site row; its instruments must show what the row says."""
    reading = plant.step(
        site["dt_s"],
        load_w=site["node_power_w"],
        available_solar_w=site["solar_collected_w"],
        charge_w=site["battery_charge_w"],
        discharge_w=site["battery_discharge_w"],
        curtail_w=site["curtailed_w"],
    )
    nominal = plant.battery.nominal_wh
    size = site["node_power_w"] + site["battery_charge_w"] + site["curtailed_w"] + site["export_w"] + site["import_w"]
    slack_w = 1e-9 * (1 + size) + 1e-14 * nominal * 3600 / site["dt_s"]
    assert abs(reading.level_wh - site["physical_level_wh"]) <= 1e-7 * (1 + nominal), (reading, site)
    assert abs(reading.import_w - site["import_w"]) <= slack_w, (reading, site)
    assert abs(reading.export_w - site["export_w"]) <= slack_w, (reading, site)
    assert abs(plant.battery.below_wh - site["below_line_wh"]) <= 1e-9 * (1 + nominal)

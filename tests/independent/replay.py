"""Recompute a run from its tables alone: `python tests/independent/replay.py RUN_FOLDER`.

The script reads `run.json` and the tables as `docs/tables.md` describes them and imports nothing of ecovisor. It steps every
level, watt and gram again: balances, levels, limits, the decisions of the settlement, the excess policies, netting, the
meters, the carbon pools, transfers, containers. Per check it prints the largest deviation, absolute and relative, and where.

Exit status: 0 all within tolerance, 1 something deviates, 2 the folder cannot be used.

A deviation is judged relative to the magnitudes that enter its own equation, with floors far below anything of interest
(1e-6 W, Wh or g), so that a zero which became 1e-17 is no finding and a lost milligram is one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

SITE = "_site"
BATTERY = "_battery"
SNAP = 1e-9
FLOOR = 1e-6

FLOW_COLUMNS = (
    "dt_s",
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
SITE_COLUMNS = (
    "dt_s",
    "solar_collected_w",
    "buffer_wh",
    "import_w",
    "export_w",
    "battery_charge_w",
    "battery_discharge_w",
    "physical_level_wh",
    "below_line_wh",
    "charge_limit_w",
    "discharge_limit_w",
    "export_limit_w",
    "curtailed_w",
    "netting_spilled_wh",
    "netting_relief_w",
    "node_power_w",
)
MAY_BE_NULL = {"carbon_intensity_g_per_kwh", "carbon_g"}
MAY_BE_INFINITE = {"grid_limit_w", "max_discharge_setting_w", "export_limit_w"}
MAY_BE_NEGATIVE = {"battery_adjust_wh"}
QUALITIES = {"modelled", "measured", "estimated", "stale"}


class Unusable(Exception):
    """The folder is no run: a file, a column or a key is missing or of the wrong kind."""


# ---- reading --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """One table, its columns converted when first asked for."""

    name: str
    data: pa.Table

    def number(self, column: str) -> Array:
        """A column as floats, null as NaN."""
        self._demand(column)
        values = self.data[column]
        try:
            return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise Unusable(f"{self.name}: column {column}: no numbers: {error}") from None

    def text(self, column: str) -> tuple[Ints, list[str]]:
        """A column as codes into a list of distinct values."""
        self._demand(column)
        values = self.data[column]
        if not pa.types.is_dictionary(values.type):
            values = values.cast(pa.string()).dictionary_encode()
        array = values.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.unify_dictionaries().chunk(0) if array.num_chunks else pa.array([], pa.string()).dictionary_encode()
        codes = np.asarray(array.indices.fill_null(-1).to_numpy(zero_copy_only=False), dtype=np.int64)
        names = [str(v) for v in array.dictionary.to_pylist()]
        return codes, names

    def time_ns(self) -> Ints:
        """The start of each row's tick, in ns since the epoch."""
        self._demand("time")
        values = self.data["time"]
        try:
            if pa.types.is_floating(values.type) or pa.types.is_integer(values.type):
                return np.asarray(np.round(values.cast(pa.float64()).to_numpy() * 1e9), dtype=np.int64)
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
                values = pc.cast(values, pa.timestamp("ns", "UTC"))
            return np.asarray(values.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy(), dtype=np.int64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise Unusable(f"{self.name}: column time: {error}") from None

    def _demand(self, column: str) -> None:
        if column not in self.data.column_names:
            raise Unusable(f"{self.name}: column {column} is missing")


def read_table(folder: Path, name: str) -> Table:
    """Parquet if it is there, else CSV."""
    try:
        if (path := folder / f"{name}.parquet").exists():
            return Table(path.name, pq.read_table(path))
        if (path := folder / f"{name}.csv").exists():
            texts = ("time", "app", "container", "quality", "kind", "detail")
            numbers = {*FLOW_COLUMNS, *SITE_COLUMNS, "power_w", "cap_w"}
            types = {c: pa.string() for c in texts} | {c: pa.float64() for c in numbers}
            return Table(path.name, pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types)))
    except (pa.ArrowInvalid, OSError) as error:
        raise Unusable(f"{path}: {error}") from None
    raise Unusable(f"{folder}: neither {name}.parquet nor {name}.csv")


@dataclass(frozen=True)
class Physics:
    """The constants of the run, from `run.json`."""

    nominal_wh: float
    empty_ratio: float
    charge_efficiency: float
    discharge_efficiency: float
    self_discharge_per_hour: float
    charge_c_rate: float
    discharge_c_rate: float
    reserve_wh: float
    excess: tuple[str, ...]
    tick_s: float
    grid_limit_w: float
    export_limit_w: float
    initial: dict[str, dict[str, float]]
    shares: dict[str, dict[str, float]]

    @property
    def usable_wh(self) -> float:
        """What the shares of battery energy divide. [Wh]"""
        return self.nominal_wh * (1 - self.empty_ratio) - self.reserve_wh

    @classmethod
    def read(cls, path: Path) -> Physics:
        """From the file, naming the key that is missing or wrong."""
        try:
            physics = json.loads(path.read_text())["physics"]
            cell = physics["battery"] or {
                "capacity_wh": 0,
                "empty_ratio": 0,
                "charge_efficiency": 1,
                "discharge_efficiency": 1,
                "self_discharge_per_hour": 0,
                "charge_c_rate": 0,
                "discharge_c_rate": 0,
                "reserve_wh": 0,
            }
            grid, export = physics["grid_limit_w"], physics["export_limit_w"]
            return cls(
                nominal_wh=float(cell["capacity_wh"]),
                empty_ratio=float(cell["empty_ratio"]),
                charge_efficiency=float(cell["charge_efficiency"]),
                discharge_efficiency=float(cell["discharge_efficiency"]),
                self_discharge_per_hour=float(cell["self_discharge_per_hour"]),
                charge_c_rate=float(cell["charge_c_rate"]),
                discharge_c_rate=float(cell["discharge_c_rate"]),
                reserve_wh=float(cell["reserve_wh"]),
                excess=tuple(str(p) for p in physics["excess"]),
                tick_s=float(physics["tick_s"]),
                grid_limit_w=np.inf if grid is None else float(grid),
                export_limit_w=np.inf if export is None else float(export),
                initial={a: {k: float(v) for k, v in kv.items()} for a, kv in physics["initial"].items()},
                shares={a: {k: float(v) for k, v in kv.items()} for a, kv in physics["shares"].items()},
            )
        except KeyError as error:
            raise Unusable(f"{path}: physics: key {error} is missing") from None
        except (OSError, TypeError, ValueError, AttributeError) as error:
            raise Unusable(f"{path}: {error}") from None


class Run:
    """The tables of a run as arrays [tick, app] (NaN where an app has no row) and [tick]."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise Unusable(f"{folder}: no such folder")
        self.physics = Physics.read(folder / "run.json")
        self.flows = read_table(folder, "flows")
        self.site_table = read_table(folder, "site")
        self.containers = read_table(folder, "containers")
        self.events = read_table(folder, "events")
        self.faults: list[tuple[str, str, str, int, int, str]] = []
        """Found while reading: check, table, column, tick, app index (-1: none), what."""

        stamps = self.site_table.time_ns()
        if len(stamps) == 0:
            raise Unusable(f"{self.site_table.name}: no rows")
        self.site_order = np.argsort(stamps, kind="stable")
        self.time_ns = stamps[self.site_order]
        for twice in np.flatnonzero(np.diff(self.time_ns) == 0):
            self.faults.append(("rows present", "site", "time", int(twice) + 1, -1, "two rows for one tick"))

        codes, names = self.flows.text("app")
        if SITE not in names:
            raise Unusable(f"{self.flows.name}: no rows of {SITE}")
        order = sorted(range(len(names)), key=lambda i: (names[i] == SITE, names[i]))
        self.apps = [names[i] for i in order]
        place = np.empty(len(names), dtype=np.int64)
        place[order] = np.arange(len(names))
        times = self.flows.time_ns()
        tick = nearest(self.time_ns, times)
        orphan = (self.time_ns[tick] != times) | (codes < 0)
        for row in np.flatnonzero(orphan)[:10]:
            what = f"a row at {moment(int(times[row]))} which the site table does not have"
            self.faults.append(("rows present", "flows", "time", int(tick[row]), int(place[codes[row]]), what))
        self._keep = ~orphan
        self._cell = tick[self._keep] * len(self.apps) + place[codes[self._keep]]
        self.shape = (len(self.time_ns), len(self.apps))
        counts = np.bincount(self._cell, minlength=self.shape[0] * self.shape[1]).reshape(self.shape)
        for t, a in np.argwhere(counts > 1)[:10]:
            self.faults.append(("rows present", "flows", "time", int(t), int(a), "two rows for one app and tick"))
        self.present: Flags = counts > 0
        self._cache: dict[str, Array] = {}

    def flow(self, column: str) -> Array:
        """A column of `flows` as [tick, app]; NaN without a row."""
        if column not in self._cache:
            out = np.full(self.shape[0] * self.shape[1], np.nan)
            out[self._cell] = self.flows.number(column)[self._keep]
            self._cache[column] = out.reshape(self.shape)
        return self._cache[column]

    def site(self, column: str) -> Array:
        """A column of `site` as [tick]."""
        key = "site." + column
        if key not in self._cache:
            self._cache[key] = self.site_table.number(column)[self.site_order]
        return self._cache[key]

    def total(self, column: str) -> Array:
        """The sum of a column of `flows` over all apps, per tick."""
        return total(self.flow(column))

    @cached_property
    def hours(self) -> Array:
        """h per tick."""
        return self.site("dt_s") / 3600

    @cached_property
    def is_site(self) -> Flags:
        """Which app index is `_site`."""
        return np.array([a == SITE for a in self.apps])


def total(values: Array) -> Array:
    """Σ over apps; without a row nothing is added."""
    return np.asarray(np.nansum(values, axis=1))


def nearest(ticks: Ints, stamps: Ints) -> Ints:
    """The first tick at or after each stamp, or the last one."""
    return np.minimum(np.searchsorted(ticks, stamps).astype(np.int64), len(ticks) - 1)


def moment(ns: int) -> str:
    """ns since the epoch as ISO 8601."""
    seconds, rest = divmod(ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}{f'.{rest:09d}'.rstrip('0') if rest else ''}Z"


# ---- judging --------------------------------------------------------------------------------------------------------------


@dataclass
class Check:
    """One claim over the whole run and its largest deviation."""

    name: str
    table: str
    column: str
    absolute: float
    relative: float
    exceeding: int
    time: str
    app: str
    detail: str = ""
    first_time: str = ""
    first_app: str = ""

    @property
    def ok(self) -> bool:
        """Nothing exceeds the tolerance."""
        return self.exceeding == 0

    def where(self) -> str:
        """Table, column, time and app of the largest deviation."""
        return f"{self.table}.{self.column} at {self.time}" + (f" app {self.app}" if self.app else "")

    def first(self) -> str:
        """Table, column, time and app of the first deviation above the tolerance."""
        time, app = self.first_time or self.time, self.first_app or self.app
        return f"{self.table}.{self.column} at {time}" + (f" app {app}" if app else "")


class Judge:
    """Collects the checks of one run."""

    def __init__(self, run: Run, tolerance: float) -> None:
        self.run = run
        self.tolerance = tolerance
        self.checks: list[Check] = []

    def equal(self, name: str, column: str, actual: Array, expected: Array | float, scale: Array | float) -> None:
        """`actual = expected`, per tick (site) or per tick and app (flows); where NaN meets NaN there is nothing to compare."""
        with np.errstate(invalid="ignore"):
            absolute = np.abs(actual - expected)
        same = (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        absolute = np.where(same, 0.0, np.where(np.isnan(absolute), np.inf, absolute))
        self._note(name, column, absolute, scale)

    def at_most(self, name: str, column: str, actual: Array, bound: Array | float, scale: Array | float) -> None:
        """`actual ≤ bound`; rows without a value are judged elsewhere."""
        with np.errstate(invalid="ignore"):
            over = np.asarray(actual - bound)
        self._note(name, column, np.where(np.isnan(over) | (actual <= bound), 0.0, over), scale)

    def holds(self, name: str, column: str, violated: Flags, detail: str = "") -> None:
        """A claim that is true or false: a violation counts as an infinite deviation."""
        self._note(name, column, np.where(violated, np.inf, 0.0), 1.0, detail)

    def _note(self, name: str, column: str, absolute: Array, scale: Array | float, detail: str = "") -> None:
        scale = np.maximum(np.nan_to_num(np.abs(scale), nan=0.0, posinf=0.0), FLOOR)
        relative = absolute / scale
        flat = int(np.argmax(relative))
        place = np.unravel_index(flat, relative.shape)
        per_app = relative.ndim == 2
        exceeds = relative > self.tolerance
        first = int(np.argmax(exceeds.any(axis=1) if per_app else exceeds))
        self.checks.append(
            Check(
                name,
                "flows" if per_app else "site",
                column,
                float(np.max(absolute)),
                float(relative.flat[flat]),
                int(np.count_nonzero(exceeds)),
                moment(int(self.run.time_ns[place[0]])),
                self.run.apps[place[1]] if per_app else "",
                detail,
                moment(int(self.run.time_ns[first])) if exceeds.any() else "",
                self.run.apps[int(np.argmax(relative[first]))] if per_app and exceeds.any() else "",
            )
        )


# ---- what the tables must say ---------------------------------------------------------------------------------------------


def check_rows(run: Run, judge: Judge) -> None:
    """Every tick follows the last; every app has its rows; nothing is absent, negative or infinite that must not be."""
    for name, table, column, tick, app, what in run.faults:
        who = run.apps[app] if app >= 0 else ""
        judge.checks.append(Check(name, table, column, np.inf, np.inf, 1, moment(int(run.time_ns[tick])), who, what))

    seen = np.logical_or.accumulate(run.present, axis=0)
    later = np.logical_or.accumulate(run.present[::-1], axis=0)[::-1]
    gone = seen & later & ~run.present
    codes, kinds = run.events.text("kind")
    event_codes, event_apps = run.events.text("app")
    for who_code, kind, ns in zip(event_codes, codes, run.events.time_ns(), strict=True):
        if who_code >= 0 and kind >= 0 and kinds[kind] == "left" and event_apps[who_code] in run.apps:
            index = run.apps.index(event_apps[who_code])
            since = int(np.searchsorted(run.time_ns, ns))
            back = np.flatnonzero(run.present[since:, index])
            gone[since : since + int(back[0]) if len(back) else None, index] = False
    gone |= vanished(run, judge.tolerance)
    gone[:, run.is_site] = ~run.present[:, run.is_site]
    for name in run.physics.initial:
        if name not in run.apps:
            judge.checks.append(Check("rows present", "flows", "app", np.inf, np.inf, 1, moment(int(run.time_ns[0])), name))
        else:
            gone[0, run.apps.index(name)] |= not run.present[0, run.apps.index(name)]
    judge.holds("rows present", "time", gone, "no row although the app has rows before and after")

    due = run.time_ns[:-1] + np.round(run.site("dt_s")[:-1] * 1e9).astype(np.int64)
    late = np.concatenate([[0.0], (run.time_ns[1:] - due) / 1e9])
    judge.equal("each tick starts where the last ended", "time", late, 0.0, 1.0)
    judge.holds("ticks have a length", "dt_s", ~(run.site("dt_s") > 0))
    there = np.where(run.present, run.site("dt_s")[:, None], np.nan)
    judge.equal("flows and site agree on the length of the tick", "dt_s", run.flow("dt_s"), there, there)

    for columns, get, present in (
        (FLOW_COLUMNS, run.flow, run.present),
        (SITE_COLUMNS, run.site, np.ones(run.shape[0], dtype=np.bool_)),
    ):
        for column in columns:
            values = get(column)
            bad = np.zeros(values.shape, dtype=np.bool_)
            if column not in MAY_BE_NULL:
                bad |= present & np.isnan(values)
            if column not in MAY_BE_INFINITE:
                bad |= np.isinf(values)
            judge.holds("values are present and finite", column, bad)
            if column not in MAY_BE_NEGATIVE:
                rounding = 1e-9 * run.physics.usable_wh if column == "physical_level_wh" else 0.0
                judge.at_most("values are ≥ 0", column, -values, rounding, FLOOR)
    codes, names = run.flows.text("quality")
    for name in set(names) - QUALITIES:
        raise Unusable(f"{run.flows.name}: quality {name!r} is unknown")


def vanished(run: Run, tolerance: float) -> Flags:
    """Who is absent from here on though the others' capacities and loads do not make up for it: a lost row, not a leave."""
    last = np.zeros(run.shape, dtype=np.bool_)
    last[1:] = run.present[:-1] & ~run.present[1:]
    usable, node = run.physics.usable_wh, run.site("node_power_w")
    short = np.abs(run.total("capacity_wh") - usable) > tolerance * usable
    short |= np.abs(run.total("charge_limit_w") - run.site("charge_limit_w")) > tolerance * run.site("charge_limit_w")
    short |= np.abs(run.total("demand_w") - run.total("unserved_w") - node) > tolerance * np.maximum(node, FLOOR)
    return np.asarray(last & short[:, None])


@dataclass(frozen=True)
class Start:
    """The state of every app after the boundary, before the tick."""

    before_wh: Array
    level_wh: Array
    carbon_g: Array
    after_loss_wh: Array
    lost_wh: Array


def check_boundary(run: Run, judge: Judge) -> Start:
    """Levels carried over, transfers with their carbon, measured corrections, self-discharge."""
    apps, site = run.apps, run.is_site
    capacity = run.flow("capacity_wh")
    before, carbon = np.zeros(run.shape), np.zeros(run.shape)
    for column, target, key in (("battery_level_wh", before, "level_wh"), ("stored_carbon_g", carbon, "stored_carbon_g")):
        target[1:] = np.nan_to_num(run.flow(column)[:-1], nan=0.0)
        target[0] = [run.physics.initial.get(a, {}).get(key, 0.0) for a in apps]

    t_in, t_out = np.nan_to_num(run.flow("transfer_in_wh")), np.nan_to_num(run.flow("transfer_out_wh"))
    gone = ~run.present
    left_wh = np.where(gone, before, 0.0)
    moved = total(t_out) + total(left_wh)
    names = ", ".join(apps[a] for a in np.flatnonzero((left_wh > 0).any(axis=0)))
    judge.equal("Σ transfer_in = Σ transfer_out + what leavers held", "transfer_in_wh", total(t_in), moved, moved)
    if names and judge.checks[-1].exceeding:
        judge.checks[-1].detail = f"left with energy: {names}"

    tenants_out = np.where(site | gone, 0.0, np.maximum(before - capacity, 0.0))
    scale_wh = capacity + before
    arrived = total(tenants_out) + total(left_wh)
    overflow = np.maximum((before + t_in - capacity)[:, site][:, 0], 0.0)
    room = np.where(site | gone, 0.0, np.maximum(capacity - before, 0.0))
    all_room = total(room)
    part = np.divide(room, all_room[:, None], out=np.zeros(run.shape), where=all_room[:, None] > 0)
    overflow = np.where(all_room > 0, np.nan_to_num(overflow), 0.0)
    expected_out = np.where(site, overflow[:, None], tenants_out)
    expected_in = np.where(site, arrived[:, None], overflow[:, None] * part)
    judge.equal(
        "energy above a new capacity goes to _site",
        "transfer_out_wh",
        run.flow("transfer_out_wh"),
        hide(run, expected_out),
        scale_wh,
    )
    judge.equal(
        "_site receives what the others hand over", "transfer_in_wh", run.flow("transfer_in_wh"), hide(run, expected_in), scale_wh
    )

    # Carbon moves with its energy: first to _site, then from _site with what overflows.
    handed = np.divide(t_out, before, out=np.zeros(run.shape), where=before > 0)
    leaves_g = np.where(site, 0.0, np.where(gone, carbon, carbon * np.minimum(handed, 1.0)))
    pool_g = np.where(site, carbon + total(leaves_g)[:, None], carbon - leaves_g)
    pool_wh = np.where(site, before + t_in, 0.0)
    spills = np.divide(t_out, pool_wh, out=np.zeros(run.shape), where=site & (pool_wh > 0))
    over_g = total(np.where(site, pool_g * np.minimum(spills, 1.0), 0.0))
    tenants_in = total(np.where(site, 0.0, t_in))
    back = np.divide(t_in, tenants_in[:, None], out=np.zeros(run.shape), where=~site & (tenants_in[:, None] > 0))
    pool_g = np.where(site, pool_g - over_g[:, None], pool_g + over_g[:, None] * back)

    adjust = np.nan_to_num(run.flow("battery_adjust_wh"))
    settled = before + t_in - t_out
    corrected = total(adjust)[:, None]
    available = np.where(gone, 0.0, np.where(corrected < 0, settled, np.maximum(capacity - settled, 0.0)))
    first = np.where(site, np.minimum(np.abs(corrected), available), 0.0)
    rest = np.abs(corrected) - total(first)[:, None]
    pot = total(np.where(site, 0.0, available))[:, None]
    others = np.divide(rest * available, pot, out=np.zeros(run.shape), where=~site & (pot > 0))
    fair = np.sign(corrected) * (first + others)
    scale = np.abs(corrected) + np.nan_to_num(capacity) * 1e-3
    judge.equal(
        "corrections: _site first, then pro rata", "battery_adjust_wh", run.flow("battery_adjust_wh"), hide(run, fair), scale
    )

    level = hide(run, settled + adjust)
    h = run.hours[:, None]
    s = run.physics.self_discharge_per_hour
    loss_ratio = -np.expm1(h * np.log1p(-s)) if s < 1 else np.ones_like(h)
    lost = level * loss_ratio
    judge.equal(
        "self_discharge = start·(1 − (1 − s)^h)", "self_discharge_wh", run.flow("self_discharge_wh"), lost, lost + 1e-8 * level
    )
    judge.at_most("no level above its capacity at the start", "transfer_out_wh", level, capacity, capacity)
    return Start(before, level, hide(run, pool_g), np.maximum(level - lost, 0.0), lost)


def hide(run: Run, values: Array) -> Array:
    """NaN where an app has no row."""
    return np.where(run.present, values, np.nan)


def check_settlement(run: Run, judge: Judge, start: Start) -> None:
    """Steps 2 to 6 again: who was served by what, what charged, what became of the excess."""
    f, phys = run.flow, run.physics
    h = run.hours[:, None]
    capacity, charge_limit, discharge_limit, grid_limit = (
        f(c) for c in ("capacity_wh", "charge_limit_w", "discharge_limit_w", "grid_limit_w")
    )
    demand, solar = f("demand_w"), f("solar_w")
    s2l, s2b, g2l, g2b, out = (
        f(c) for c in ("solar_to_load_w", "solar_to_battery_w", "grid_to_load_w", "grid_to_battery_w", "battery_discharge_w")
    )
    unserved, overdraw, received = f("unserved_w"), f("overdraw_w"), f("received_w")
    rate, max_out = f("charge_rate_setting_w"), f("max_discharge_setting_w")
    dust_w = 1e-8 * capacity / h
    scale = demand + solar + dust_w

    gone_to = demand - unserved + s2b + g2b + f("exported_w") + f("shared_w") + f("curtailed_w")
    come_from = solar + out + g2l + g2b
    judge.equal("row balance", "demand_w", gone_to, come_from, gone_to + come_from)

    judge.equal("solar serves demand first", "solar_to_load_w", s2l, np.minimum(demand, solar), scale)
    excess, deficit = solar - s2l, demand - s2l
    room_w = np.maximum(capacity - start.after_loss_wh, 0.0) / (phys.charge_efficiency * h)
    may_charge = np.minimum(charge_limit, room_w)
    judge.equal("excess solar charges", "solar_to_battery_w", s2b, np.minimum(excess, may_charge), scale)

    untouched = (f("transfer_in_wh") == 0) & (f("transfer_out_wh") == 0) & (f("battery_adjust_wh") == 0)
    full = untouched & (start.before_wh >= capacity)
    judge.holds("a full battery has no charge rate", "charge_rate_setting_w", full & (rate > 0))
    wanted = np.maximum(np.minimum(rate, may_charge) - s2b, 0.0)
    spare = np.maximum(grid_limit - deficit, 0.0)
    judge.equal("the grid charges what it can beside the load", "grid_to_battery_w", g2b, np.minimum(wanted, spare), scale + wanted)
    gives = np.minimum(
        np.minimum(deficit, max_out), np.minimum(discharge_limit, start.after_loss_wh * phys.discharge_efficiency / h)
    )
    judge.equal("the battery serves the deficit", "battery_discharge_w", out, np.where(g2b > 0, 0.0, gives), scale)
    rest = deficit - out
    judge.equal("the grid serves the rest", "grid_to_load_w", g2l - overdraw, np.minimum(rest, grid_limit), scale)
    judge.equal("beyond the grid share", "unserved_w", unserved + overdraw, np.maximum(rest - grid_limit, 0.0), scale)

    judge.at_most("charge within its limit", "charge_limit_w", s2b + g2b + received, charge_limit, charge_limit + dust_w)
    judge.at_most("discharge within its limit", "discharge_limit_w", out, discharge_limit, discharge_limit + dust_w)
    judge.at_most("discharge within its setting", "max_discharge_setting_w", out, max_out, max_out + dust_w)
    judge.at_most("import within the grid share", "grid_limit_w", g2l + g2b - overdraw, grid_limit, scale + g2b)

    left_over = np.nan_to_num(excess - s2b)
    accepts = np.nan_to_num(np.where(out > 0, 0.0, np.maximum(may_charge - s2b - g2b, 0.0)))
    zero = np.zeros(run.shape)
    shared, got, exported, curtailed = zero, zero, zero, zero
    total_scale = total(solar)[:, None] + 0.0 * solar + dust_w
    for policy in (*phys.excess, "curtail"):
        surplus, accepted = total(left_over)[:, None], total(accepts)[:, None]
        if policy == "share":
            given = np.minimum(1.0, np.divide(accepted, surplus, out=np.zeros_like(surplus), where=surplus > 0))
            taken = np.minimum(1.0, np.divide(surplus, accepted, out=np.zeros_like(surplus), where=accepted > 0))
            shared, got = left_over * given, accepts * taken
            left_over = left_over - shared
        elif policy == "export":
            limit = run.site("export_limit_w")[:, None]
            exported = left_over * np.minimum(1.0, np.divide(limit, surplus, out=np.ones_like(surplus), where=surplus > 0))
            left_over = left_over - exported
        elif policy == "curtail":
            curtailed, left_over = curtailed + left_over, zero
        else:
            raise Unusable(f"run.json: physics: excess policy {policy!r} is unknown")
    for column, expected in (("shared_w", shared), ("received_w", got), ("exported_w", exported), ("curtailed_w", curtailed)):
        judge.equal("excess follows the site's policies", column, f(column), hide(run, expected), total_scale)
    judge.equal("Σ shared = Σ received", "shared_w", run.total("shared_w"), run.total("received_w"), run.total("solar_w"))
    judge.at_most(
        "Σ exported within the export limit",
        "export_limit_w",
        run.total("exported_w"),
        run.site("export_limit_w"),
        run.total("solar_w"),
    )


def check_levels(run: Run, judge: Judge, start: Start) -> None:
    """Step 5, with netting credit and snap."""
    f, phys = run.flow, run.physics
    h = run.hours[:, None]
    capacity, level = f("capacity_wh"), f("battery_level_wh")
    gained = phys.charge_efficiency * (f("solar_to_battery_w") + f("grid_to_battery_w") + f("received_w")) * h
    spent = f("battery_discharge_w") * h / phys.discharge_efficiency
    expected = start.after_loss_wh + gained - spent + f("netting_credit_wh")
    judge.equal("level recursion", "battery_level_wh", level, expected, 2e-3 * capacity + gained + spent + 1e-8 * start.level_wh)
    judge.at_most("no level above capacity", "battery_level_wh", level, capacity, FLOOR)
    # A level snaps only towards where it moves, so that ticks which move less than the tolerance still add up.
    rose = level > start.level_wh
    fell = (level < start.level_wh) & (f("received_w") == 0) & (f("netting_credit_wh") == 0)
    judge.holds("near full is full", "battery_level_wh", rose & (level < capacity) & (level > capacity * (1 - SNAP / 2)))
    judge.holds("near empty is empty", "battery_level_wh", fell & (level > 0) & (level < capacity * SNAP / 2))


def check_carbon(run: Run, judge: Judge, start: Start) -> None:
    """Step 7: on import, the pool, on use."""
    f, phys = run.flow, run.physics
    h = run.hours[:, None]
    intensity = f("carbon_intensity_g_per_kwh")
    load_g = f("grid_to_load_w") * h / 1000 * intensity
    store_g = f("grid_to_battery_w") * h / 1000 * intensity
    judge.equal("carbon on import", "carbon_g", f("carbon_g"), load_g + store_g, load_g + store_g)
    low = np.min(np.where(run.present, np.nan_to_num(intensity, nan=-1.0), np.inf), axis=1)
    high = np.max(np.where(run.present, np.nan_to_num(intensity, nan=-1.0), -np.inf), axis=1)
    judge.equal("one intensity for the whole site", "carbon_intensity_g_per_kwh", high, low, high)

    load_g, store_g = np.nan_to_num(load_g), np.nan_to_num(store_g)
    withdrawn = f("battery_discharge_w") * h / phys.discharge_efficiency
    usable = np.nan_to_num(start.after_loss_wh)
    part = np.divide(withdrawn, usable, out=np.zeros(run.shape), where=run.present & (usable > 0))
    taken_g = start.carbon_g * np.minimum(part, 1.0)
    pool_g = start.carbon_g - taken_g + store_g
    empty = f("battery_level_wh") == 0
    booked_g = load_g + taken_g + np.where(empty, pool_g, 0.0)
    kept_g = np.where(empty, 0.0, pool_g)
    scale = start.carbon_g + load_g + store_g
    judge.equal("stored carbon: a well-mixed pool", "stored_carbon_g", f("stored_carbon_g"), kept_g, scale)
    judge.equal("carbon on use", "carbon_on_use_g", f("carbon_on_use_g"), hide(run, booked_g), scale)

    known = np.nan_to_num(f("carbon_g"))
    initial = sum(state.get("stored_carbon_g", 0.0) for state in phys.initial.values())
    bought, used = np.cumsum(known.sum(axis=1)), np.cumsum(run.total("carbon_on_use_g"))
    stored = run.total("stored_carbon_g")
    scale_g = initial + bought + used
    judge.equal("Σ on import + initial = Σ on use + stored", "carbon_on_use_g", initial + bought, used + stored, scale_g)


def check_site(run: Run, judge: Judge, start: Start) -> None:
    """Σ virtual = physical: solar buffer, limits, netting, the battery by its set-points, the meters."""
    p, phys, h = run.site, run.physics, run.hours
    buffer = p("buffer_wh")
    judge.equal("buffer = collected·h", "buffer_wh", buffer, p("solar_collected_w") * h, buffer)
    earlier = np.concatenate([[0.0], buffer[:-1]])
    judge.equal("Σ solar·h = buffer of the tick before", "solar_collected_w", run.total("solar_w") * h, earlier, earlier)
    fits = np.where(p("dt_s") <= phys.tick_s * (1 + SNAP), phys.reserve_wh if phys.nominal_wh > 0 else np.inf, np.inf)
    judge.at_most("the buffer fits in its reserve", "buffer_wh", buffer, fits, buffer)

    levels = run.total("battery_level_wh")
    physical = p("physical_level_wh")
    judge.equal(
        "Σ levels + buffer = physical level", "physical_level_wh", levels + buffer, physical, phys.usable_wh * 1e-2 + buffer
    )
    judge.equal("Σ capacity = usable capacity", "capacity_wh", run.total("capacity_wh"), phys.usable_wh, phys.usable_wh)
    for name, rating in (("charge", phys.charge_c_rate), ("discharge", phys.discharge_c_rate)):
        limit = p(f"{name}_limit_w")
        column = f"{name}_limit_w"
        judge.at_most("physical limit within the C-rate", column, limit, rating * phys.nominal_wh, rating * phys.nominal_wh)
        judge.equal("Σ limits = physical limit", column, run.total(column), limit, limit)
        judge.at_most("set-point within the physical limit", f"battery_{name}_w", p(f"battery_{name}_w"), limit, limit + FLOOR)
    cl, dl = run.flow("charge_limit_w"), run.flow("discharge_limit_w")
    pc_limit, pd_limit = p("charge_limit_w")[:, None], p("discharge_limit_w")[:, None]
    judge.equal(
        "one share of battery power for both limits", "discharge_limit_w", dl * pc_limit, cl * pd_limit, pc_limit * pd_limit
    )
    judge.at_most(
        "Σ grid limits within the connection", "grid_limit_w", run.total("grid_limit_w"), phys.grid_limit_w, phys.grid_limit_w
    )
    judge.holds(
        "an unlimited grid is not divided", "grid_limit_w", np.isinf(run.flow("grid_limit_w")) & np.isfinite(phys.grid_limit_w)
    )
    export_limit = phys.export_limit_w if "export" in phys.excess else 0.0
    judge.at_most("export limit as configured", "export_limit_w", p("export_limit_w"), export_limit, export_limit)

    charge = run.total("solar_to_battery_w") + run.total("grid_to_battery_w") + run.total("received_w")
    discharge = run.total("battery_discharge_w")
    avoided = np.minimum(charge, discharge) * (1 / phys.discharge_efficiency - phys.charge_efficiency) * h
    credit = run.flow("netting_credit_wh")
    is_site, gained = run.is_site, phys.charge_efficiency * h[:, None]
    f = run.flow
    uncredited = (
        start.after_loss_wh
        + gained * (f("solar_to_battery_w") + f("grid_to_battery_w") + f("received_w"))
        - f("battery_discharge_w") * h[:, None] / phys.discharge_efficiency
    )
    room = np.maximum(f("capacity_wh") - uncredited, 0.0)
    credited = np.where(is_site, np.minimum(avoided[:, None], room), 0.0)
    snap_wh = 2e-3 * f("capacity_wh")
    judge.equal(
        "netting credit, up to the room of _site", "netting_credit_wh", credit, hide(run, credited), avoided[:, None] + snap_wh
    )
    spilled = avoided - total(credit)
    judge.equal(
        "netting: what is not credited is spilled", "netting_spilled_wh", p("netting_spilled_wh"), spilled, avoided + 1e-8 * levels
    )
    change = (phys.charge_efficiency * charge - discharge / phys.discharge_efficiency) * h + total(credit)
    net = np.where(change > 0, change / (phys.charge_efficiency * h), change * phys.discharge_efficiency / h)
    moved = charge + discharge + 1e-8 * levels / h
    judge.equal("set-point: charge", "battery_charge_w", p("battery_charge_w"), np.maximum(net, 0.0), moved)
    judge.equal("set-point: discharge", "battery_discharge_w", p("battery_discharge_w"), np.maximum(-net, 0.0), moved)
    relief = charge - discharge - net
    judge.equal("netting relief", "netting_relief_w", p("netting_relief_w"), relief, moved)

    imports = run.total("grid_to_load_w") + run.total("grid_to_battery_w")
    metered = imports - run.total("exported_w")
    absorbed = np.minimum(p("netting_relief_w"), np.maximum(metered, 0.0))
    scale = imports + run.total("exported_w") + moved
    curtailed = run.total("curtailed_w") + p("netting_relief_w") - absorbed
    judge.equal("meter: import", "import_w", p("import_w"), np.maximum(metered, 0.0) - absorbed, scale)
    judge.equal("meter: export", "export_w", p("export_w"), np.maximum(-metered, 0.0), scale)
    judge.equal("curtailed at the inverter", "curtailed_w", p("curtailed_w"), curtailed, scale + run.total("solar_w"))
    served = run.total("demand_w") - run.total("unserved_w")
    judge.equal("node power = Σ served demand", "node_power_w", p("node_power_w"), served, run.total("demand_w"))
    goes = p("node_power_w") + p("battery_charge_w") + p("export_w") + p("curtailed_w")
    comes = run.total("solar_w") + p("import_w") + p("battery_discharge_w")
    judge.equal("site balance", "node_power_w", goes, comes, goes + comes + moved)

    keeps = (1 - phys.self_discharge_per_hour) ** h
    initial = sum(state.get("level_wh", 0.0) for state in phys.initial.values())
    stored = np.concatenate([[initial], (physical - buffer)[:-1]]) + run.total("battery_adjust_wh")
    flow_wh = phys.charge_efficiency * p("battery_charge_w") * h - p("battery_discharge_w") * h / phys.discharge_efficiency
    tight = 2e-3 * phys.usable_wh + np.abs(flow_wh)
    judge.equal(
        "physical battery, stepped by its set-points",
        "physical_level_wh",
        physical,
        stored * keeps + flow_wh + buffer,
        tight + buffer,
    )
    judge.equal(
        "physical battery, from the first tick on", "physical_level_wh", physical - buffer, run_down(run, initial), phys.usable_wh
    )
    below = np.concatenate([[phys.nominal_wh * phys.empty_ratio], p("below_line_wh")[:-1]]) * keeps
    judge.equal("energy below the line only decays", "below_line_wh", p("below_line_wh"), below, 1e-2 * phys.nominal_wh)


def run_down(run: Run, initial_wh: float) -> Array:
    """The physical level above the line without the buffer, from the initial level and the set-points alone. [Wh]"""
    phys, h = run.physics, run.hours
    keeps = ((1 - phys.self_discharge_per_hour) ** h).tolist()
    charge, discharge = run.site("battery_charge_w"), run.site("battery_discharge_w")
    flows = (phys.charge_efficiency * charge * h - discharge * h / phys.discharge_efficiency).tolist()
    adjusts = run.total("battery_adjust_wh").tolist()
    level, levels = initial_wh, []
    for keep, flow, adjust in zip(keeps, flows, adjusts, strict=True):
        level = (level + adjust) * keep + flow
        levels.append(level)
    return np.array(levels)


def check_shares(run: Run, judge: Judge) -> None:
    """The shares of `run.json` govern the first tick, and the solar collected in it."""
    phys, shape = run.physics, run.shape
    parts = {r: np.full(shape, np.nan) for r in ("grid", "solar", "battery_energy", "battery_power")}
    for resource, part in parts.items():
        given = {a: s[resource] for a, s in phys.shares.items() if resource in s and a != SITE}
        rest = max(1.0 - sum(given.values()), 0.0)
        for index, app in enumerate(run.apps):
            part[0, index] = given.get(app, np.nan) if app != SITE else phys.shares.get(SITE, {}).get(resource, rest)

    def compare(name: str, column: str, actual: Array, expected: Array, scale: Array | float) -> None:
        ruled = ~np.isnan(expected) & run.present
        judge.equal(name, column, np.where(ruled, actual, 0.0), np.where(ruled, expected, 0.0), scale)

    first = "the shares of run.json govern the first tick"
    for resource, column, whole in (
        ("battery_energy", "capacity_wh", np.full(shape[0], phys.usable_wh)),
        ("battery_power", "charge_limit_w", run.site("charge_limit_w")),
        ("battery_power", "discharge_limit_w", run.site("discharge_limit_w")),
    ):
        compare(first, column, run.flow(column), parts[resource] * whole[:, None], whole[:, None])
    if np.isfinite(phys.grid_limit_w):
        compare(first, "grid_limit_w", run.flow("grid_limit_w"), parts["grid"] * phys.grid_limit_w, phys.grid_limit_w)
    else:
        judge.holds(first, "grid_limit_w", run.present & np.isfinite(run.flow("grid_limit_w")))
    if shape[0] > 1:
        coming = np.full(shape, np.nan)
        coming[1] = parts["solar"][0] * run.site("buffer_wh")[0] / run.hours[1]
        leavers = bool((run.present[0] & ~run.present[1]).any())
        if leavers:
            coming[1, run.is_site] = np.nan
        whole = run.total("solar_w")[:, None] + np.zeros(shape)
        compare("solar belongs to the shareholder at collection", "solar_w", run.flow("solar_w"), coming, whole)


def check_containers(run: Run, judge: Judge) -> None:
    """Containers and `_battery` sum to their app, in power and in carbon, and carbon follows power."""
    table = run.containers
    codes, names = table.text("app")
    kinds, kind_names = table.text("container")
    stamps = table.time_ns()
    unknown = sorted(set(names) - set(run.apps))
    if unknown:
        raise Unusable(f"{table.name}: app {unknown[0]!r} has no rows in flows")
    place = np.array([run.apps.index(n) for n in names], dtype=np.int64)
    tick = nearest(run.time_ns, stamps)
    app = place[codes] if len(codes) else codes
    lost = np.zeros(run.shape, dtype=np.bool_)
    stray = run.time_ns[tick] != stamps if len(stamps) else np.zeros(0, dtype=np.bool_)
    lost[tick[stray], app[stray]] = True
    judge.holds("containers have an app and a tick", "time", lost, "containers: a row at a time which the site table does not have")
    judge.checks[-1].table = "containers"

    is_battery = kinds == (kind_names.index(BATTERY) if BATTERY in kind_names else -2)
    power, carbon = table.number("power_w"), table.number("carbon_g")
    length = run.site("dt_s")[tick] if len(tick) else np.zeros(0)
    cell = tick * run.shape[1] + app

    def summed(values: Array, rows: Flags) -> Array:
        sums = np.bincount(cell[rows], weights=values[rows], minlength=run.shape[0] * run.shape[1])
        return np.where(run.present, sums.reshape(run.shape), np.nan)

    h = run.hours[:, None]
    known = ~np.isnan(run.flow("carbon_intensity_g_per_kwh"))
    per_watt = run.flow("carbon_intensity_g_per_kwh") * h / 1000
    served = run.flow("demand_w") - run.flow("unserved_w")
    stored = run.flow("grid_to_battery_w") + run.flow("solar_to_battery_w")
    load_g = np.where(known, run.flow("grid_to_load_w") * per_watt, 0.0)
    store_g = np.where(known, run.flow("grid_to_battery_w") * per_watt, 0.0)
    ordinary = ~is_battery

    def note(compare: Callable[[], None]) -> None:
        compare()
        judge.checks[-1].table = "containers"

    note(
        lambda: judge.equal(
            "Σ containers = served demand", "power_w", summed(power, ordinary), hide(run, served), run.flow("demand_w")
        )
    )
    note(lambda: judge.equal("_battery = what charged", "power_w", summed(power, is_battery), hide(run, stored), stored + served))
    grams = np.nan_to_num(carbon)
    note(
        lambda: judge.equal(
            "Σ containers = carbon of the load", "carbon_g", summed(grams, ordinary), hide(run, load_g), load_g + store_g
        )
    )
    note(
        lambda: judge.equal(
            "_battery = carbon of the charge", "carbon_g", summed(grams, is_battery), hide(run, store_g), load_g + store_g
        )
    )

    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.nan_to_num((load_g / served).ravel(), posinf=0.0, neginf=0.0)[cell]
    apart = np.where(ordinary, np.abs(grams - rate * power), 0.0)
    wrong = (
        ordinary & (np.isnan(carbon) == known.ravel()[cell]) | np.isnan(power) | ~(np.abs(table.number("dt_s") - length) <= 1e-9)
    )
    apart = np.where(wrong, np.inf, apart)
    worst = np.zeros(run.shape[0] * run.shape[1])
    np.maximum.at(worst, cell, apart)
    note(
        lambda: judge.equal(
            "containers split carbon by power",
            "carbon_g",
            worst.reshape(run.shape),
            0.0,
            load_g + store_g,
        )
    )


def replay(folder: Path | str, tolerance: float = 1e-6) -> list[Check]:
    """All checks of one run folder."""
    run = Run(Path(folder))
    judge = Judge(run, tolerance)
    with np.errstate(invalid="ignore"):
        check_rows(run, judge)
        check_shares(run, judge)
        start = check_boundary(run, judge)
        check_settlement(run, judge, start)
        check_levels(run, judge, start)
        check_carbon(run, judge, start)
        check_site(run, judge, start)
        check_containers(run, judge)
    return judge.checks


# ---- printing -------------------------------------------------------------------------------------------------------------


def worst_by_name(checks: list[Check]) -> Mapping[tuple[str, str], Check]:
    """Per check and table the column that deviates most, with the count of all."""
    found: dict[tuple[str, str], Check] = {}
    for check in checks:
        key = (check.name, check.table)
        if key not in found or check.relative > found[key].relative:
            found[key] = check
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Recompute a run from its tables alone.")
    parser.add_argument("folder", type=Path, help="run folder with run.json and its tables")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="largest relative deviation allowed (default 1e-6)")
    parser.add_argument("--json", action="store_true", help="print the checks as JSON")
    options = parser.parse_args(arguments)
    try:
        checks = replay(options.folder, options.tolerance)
    except Unusable as error:
        print(f"replay: {error}", file=sys.stderr)
        return 2
    failed = [c for c in checks if not c.ok]
    if options.json:
        rows: list[dict[str, Any]] = [
            {**vars(c), "absolute": finite(c.absolute), "relative": finite(c.relative), "ok": c.ok} for c in checks
        ]
        print(json.dumps({"ok": not failed, "tolerance": options.tolerance, "checks": rows}, indent=1))
        return 1 if failed else 0
    print(f"{'check':<52} {'absolute':>9} {'relative':>9}  where")
    for check in worst_by_name(checks).values():
        mark = "" if check.ok else "  DEVIATES"
        place = check.where() if check.relative > 0 else f"{check.table}"
        print(f"{check.name:<52} {check.absolute:9.2e} {check.relative:9.2e}  {place}{mark}")
    for check in failed:
        detail = f" ({check.detail})" if check.detail else ""
        print(f"DEVIATES: {check.name}: first {check.first()}, {check.exceeding} in all, up to {check.absolute:.6g}{detail}")
    print(f"{len(checks) - len(failed)} of {len(checks)} checks within {options.tolerance:g}")
    return 1 if failed else 0


def finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if np.isfinite(value) else None


if __name__ == "__main__":
    sys.exit(main())

"""The running hour: its sums in memory, folded tick by tick, and written when the first tick of a later hour closes it.

A tick belongs to the hour in which it begins. Folding makes new lists, so that a commit which fails leaves the sums as they were. When a
ledger is opened, the running hour is summed again from its rows (``sums``). Days are summed from their hours when they close.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import add
from typing import Self

from ecovisor.adapters.stores.ledger.batch import Batch, Rows
from ecovisor.adapters.stores.ledger.fingerprints import Columns, fingerprint
from ecovisor.adapters.stores.ledger.measures import ROLLED, Kind, Measure, Rolled

Key = tuple[int, ...]
_BATTERY = "_battery"
#: What is said of an hour and of a day, and goes into their fingerprints.
HOUR_HEAD = "hour_s, day_s, first_step, last_step, start_s, last_start_s, end_s, ticks"
DAY_HEAD = "day_s, start_s, last_start_s, end_s, ticks"


@dataclass(frozen=True, slots=True)
class TableSums:
    """Sums of one table: a column per measure, a place per key."""

    keys: Sequence[Key] = ()
    columns: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """By measure; a measure that is not here is 0 everywhere, and a level unknown."""


@dataclass(frozen=True, slots=True)
class RunningHour:
    """The hour that ticks are being added to."""

    hour_s: int
    day_s: int
    first_step: int
    last_step: int
    start_s: float
    last_start_s: float
    end_s: float
    """[s since the epoch]"""
    ticks: int
    tables: Mapping[str, TableSums]

    @classmethod
    def beginning(cls, hour_s: int, day_s: int, step: int, start_s: float) -> Self:
        """Without ticks, at the step that will be its first."""
        return cls(hour_s, day_s, step, step, start_s, start_s, start_s, 0, {})

    def with_tick(self, step: int, batch: Batch, keys: Mapping[str, Sequence[Key]]) -> RunningHour:
        """This hour and one tick more.

        Args:
            step: of the tick.
            batch: the tick.
            keys: of its rows, by table.
        """
        tables = dict(self.tables)
        flows = batch.tables.get("flows")
        for rolled in ROLLED:
            rows = batch.tables.get(rolled.table)
            if rows is not None and rows.count:
                before = tables.get(rolled.table, TableSums())
                tables[rolled.table] = _fold(before, keys[rolled.table], increments(rolled, rows, batch, flows), rolled)
        return replace(self, last_step=step, last_start_s=batch.start_s, end_s=batch.end_s, ticks=self.ticks + 1, tables=tables)

    def write(self, db: sqlite3.Connection) -> None:
        """Store the sums: the hour is over."""
        parts = []
        for rolled in ROLLED:
            sums = self.tables.get(rolled.table)
            if sums is None:
                continue
            order = sorted(range(len(sums.keys)), key=sums.keys.__getitem__)
            keys = [(name, [sums.keys[k][place] for k in order]) for place, name in enumerate(rolled.keys)]
            nothing = [0.0] * len(order)
            numbers = [(name, [sums.columns[name][k] for k in order] if name in sums.columns else nothing) for name in rolled.names]
            parts.append(Columns(f"hour_{rolled.table}", keys, numbers))
            insert(db, f"hour_{rolled.table}", "hour_s", self.hour_s, parts[-1])
        head = (
            self.hour_s,
            self.day_s,
            self.first_step,
            self.last_step,
            self.start_s,
            self.last_start_s,
            self.end_s,
            self.ticks,
        )
        db.execute(
            f"INSERT INTO hours ({HOUR_HEAD}, crc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - names of columns
            (*head, fingerprint(head, parts)),
        )


def insert(db: sqlite3.Connection, table: str, group: str, value: int, rows: Columns) -> None:
    """Insert columns as rows of one group."""
    columns = [column for _, column in (*rows.integers, *rows.numbers)]
    names = ", ".join((group, *(f'"{name}"' for name, _ in (*rows.integers, *rows.numbers))))
    count = len(columns[0]) if columns else 1
    places = ", ".join("?" * (len(columns) + 1))
    db.executemany(
        f"INSERT INTO {table} ({names}) VALUES ({places})",  # noqa: S608 - names come from the catalog
        zip([value] * count, *columns, strict=True),
    )


def close_day(db: sqlite3.Connection, day_s: int) -> None:
    """Sum the closed hours of a day that is over."""
    for rolled in ROLLED:
        last = set(rolled.last)
        sums = [f"r.{name}" if name in last else f"TOTAL(r.{name}) AS {name}" for name in rolled.names]
        keys = [f"r.{name}" for name in rolled.keys]
        names = ", ".join(("day_s", *rolled.keys, *rolled.names))
        # Beside a lone MAX(), SQLite takes bare columns from the row that has it: levels are those of the last hour.
        db.execute(
            f"INSERT INTO day_{rolled.table} ({names}) SELECT {names} FROM ("  # noqa: S608 - names of measures
            f"SELECT h.day_s, {', '.join((*keys, *sums))}, MAX(h.hour_s) AS latest FROM hours h "
            f"CROSS JOIN hour_{rolled.table} r ON r.hour_s = h.hour_s WHERE h.day_s = ? GROUP BY {', '.join(('h.day_s', *keys))})",
            (day_s,),
        )
    bounds = db.execute(
        "SELECT MIN(start_s), MAX(last_start_s), MAX(end_s), SUM(ticks) FROM hours WHERE day_s = ?", (day_s,)
    ).fetchone()
    crc = fingerprint((day_s, *bounds), bucket_columns(db, "day", day_s))
    db.execute(f"INSERT INTO days ({DAY_HEAD}, crc) VALUES (?, ?, ?, ?, ?, ?)", (day_s, *bounds, crc))  # noqa: S608 - names of columns


def note_gap(db: sqlite3.Connection, start_s: float, end_s: float, step: int | None) -> None:
    """List time without ticks; a step, where cumulative meters told what it came to."""
    row = (start_s, end_s, step)
    db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?)", (*row, fingerprint(row, ())))


def bucket_columns(db: sqlite3.Connection, span: str, bucket_s: int) -> list[Columns]:
    """The rows of a closed hour or day, as they are stored."""
    found = []
    for rolled in ROLLED:
        names = (*rolled.keys, *rolled.names)
        order = f"ORDER BY {', '.join(rolled.keys)}" if rolled.keys else ""
        rows = db.execute(
            f"SELECT {', '.join(names)} FROM {span}_{rolled.table} WHERE {span}_s = ? {order}",  # noqa: S608
            (bucket_s,),
        ).fetchall()
        if rows:
            columns = list(zip(*rows, strict=True))
            split = len(rolled.keys)
            found.append(
                Columns(
                    f"{span}_{rolled.table}",
                    list(zip(rolled.keys, columns[:split], strict=True)),
                    list(zip(rolled.names, columns[split:], strict=True)),
                )
            )
    return found


# -- one tick


def increments(rolled: Rolled, rows: Rows, batch: Batch, flows: Rows | None) -> dict[str, list[float]]:
    """What a tick adds to each measure, per row; measures to which it adds nothing are left out."""
    added: dict[str, list[float]] = {}
    for measure in rolled.measures:
        column = _increment(measure, rolled, rows, batch, flows)
        if column is not None and (measure.kind is Kind.LAST or any(column)):
            added[measure.name] = column
    return added


def _increment(measure: Measure, rolled: Rolled, rows: Rows, batch: Batch, flows: Rows | None) -> list[float] | None:
    dt_s = batch.dt_s
    column = rows.numbers.get(measure.source)
    match measure.kind:
        case Kind.ENERGY:
            hours_h = dt_s / 3600.0
            return None if column is None else [power_w * hours_h if power_w == power_w else 0.0 for power_w in column]
        case Kind.SUM:
            return None if column is None else [amount if amount == amount else 0.0 for amount in column]
        case Kind.LAST:
            return None if column is None else list(column)
        case Kind.DURATION:
            return [dt_s] * rows.count
        case Kind.KNOWN:
            return None if column is None else [dt_s if value == value else 0.0 for value in column]
        case Kind.INTEGRAL:
            return None if column is None else [value * dt_s if value == value else 0.0 for value in column]
        case Kind.UNKNOWN_CARBON:
            return _unknown_carbon(rolled, rows, dt_s / 3600.0, flows)
        case Kind.COST:
            if batch.price_per_kwh is None:
                return None
            factor = dt_s / 3600.0 / 1000.0 * batch.price_per_kwh
            return [power_w * factor for power_w in _import(rows)]
        case Kind.PRICED:
            return None if batch.price_per_kwh is None else [dt_s] * rows.count
        case Kind.QUALITY:
            texts = rows.texts.get("quality", "")
            if isinstance(texts, str):
                return [dt_s] * rows.count if texts == measure.source else None
            return [dt_s if text == measure.source else 0.0 for text in texts]


def _import(rows: Rows) -> Sequence[float]:
    nothing = [0.0] * rows.count
    return list(map(add, rows.numbers.get("grid_to_load_w", nothing), rows.numbers.get("grid_to_battery_w", nothing)))


def _unknown_carbon(rolled: Rolled, rows: Rows, hours_h: float, flows: Rows | None) -> list[float] | None:
    """Imported energy whose carbon is unknown: an app's import, and of it the container's part. [Wh]"""
    carbon = rows.numbers.get("carbon_g")
    if carbon is not None and not any(carbon_g != carbon_g for carbon_g in carbon):
        return None
    unknown = [carbon_g != carbon_g for carbon_g in carbon] if carbon is not None else [True] * rows.count
    if rolled.table == "flows":
        return [power_w * hours_h if lost else 0.0 for lost, power_w in zip(unknown, _import(rows), strict=True)]
    if flows is None:
        return None
    nothing = [0.0] * flows.count
    to_load, to_battery, demand, unserved = (
        flows.numbers.get(name, nothing) for name in ("grid_to_load_w", "grid_to_battery_w", "demand_w", "unserved_w")
    )
    place = {app: k for k, app in enumerate(flows.keys["app"])}
    energies = []
    powers = rows.numbers.get("power_w", [0.0] * rows.count)
    for lost, app, container, power_w in zip(unknown, rows.keys["app"], rows.keys["container"], powers, strict=True):
        k = place.get(app)
        if not lost or k is None:
            energies.append(0.0)
        elif container == _BATTERY:
            energies.append(to_battery[k] * hours_h)
        else:
            served_w = demand[k] - unserved[k]
            energies.append(power_w * to_load[k] / served_w * hours_h if served_w > 0.0 else 0.0)
    return energies


def _fold(before: TableSums, keys: Sequence[Key], added: Mapping[str, list[float]], rolled: Rolled) -> TableSums:
    """The sums and what a tick adds. Rows mostly stand where they stood in the tick before."""
    if not before.keys:
        return TableSums(keys, added)
    last = rolled.last
    if keys == before.keys:
        columns = dict(before.columns)
        for name, column in added.items():
            known = columns.get(name)
            columns[name] = column if known is None or name in last else list(map(add, known, column))
        return TableSums(keys, columns)
    place = {key: k for k, key in enumerate(before.keys)}
    union = [*before.keys, *(key for key in keys if key not in place)]
    place.update((key, k) for k, key in enumerate(union))
    at = [place[key] for key in keys]
    columns = {name: [*column, *([0.0] * (len(union) - len(before.keys)))] for name, column in before.columns.items()}
    for name, column in added.items():
        sums = columns.setdefault(name, [0.0] * len(union))
        assert isinstance(sums, list)
        for k, value in zip(at, column, strict=True):
            sums[k] = value if name in last else sums[k] + value
    return TableSums(union, columns)

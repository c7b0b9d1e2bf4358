"""What an app used over an interval: sums as `wire.Usage`, with the true bounds, what was covered, and the gaps."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecovisor import wire
from ecovisor.adapters.stores.ledger.catalog import text_ids
from ecovisor.adapters.stores.ledger.measures import QUALITIES
from ecovisor.adapters.stores.ledger.sums import Summing, Totals
from ecovisor.model.errors import SettingRefused
from ecovisor.model.units import iso_utc


@dataclass(frozen=True, slots=True)
class Gap:
    """Time without ticks."""

    start_s: float
    end_s: float
    """[s since the epoch]"""


def usage(db: sqlite3.Connection, app: str, start_s: float, end_s: float, container: str | None) -> wire.Usage:
    """Of one app, or of one of its containers.

    Raises:
        SettingRefused: the interval is empty or not finite.
    """
    check_interval(start_s, end_s)
    summing = Summing(db)
    texts = (app,) if container is None else (app, container)
    ids = text_ids(db, texts)
    table = "flows" if container is None else "containers"
    key = tuple(ids.get(text, -1) for text in texts)
    (interval,) = summing.intervals(table, (start_s, end_s), key)
    return answer(
        app, container, interval.start_s, interval.end_s, interval.totals.get(key, {}), gaps(db, interval.start_s, interval.end_s)
    )


def usage_of_all(db: sqlite3.Connection, start_s: float, end_s: float) -> dict[str, wire.Usage]:
    """Of every app that has a row in the interval, `_site` among them, by name.

    Raises:
        SettingRefused: the interval is empty or not finite.
    """
    check_interval(start_s, end_s)
    (interval,) = Summing(db).intervals("flows", (start_s, end_s))
    without = gaps(db, interval.start_s, interval.end_s)
    names = app_names(db, [key[0] for key in interval.totals])
    return {
        names[key[0]]: answer(names[key[0]], None, interval.start_s, interval.end_s, totals, without)
        for key, totals in interval.totals.items()
    }


def gaps(db: sqlite3.Connection, start_s: float, end_s: float) -> list[Gap]:
    """Time without ticks within an interval, cut to it."""
    return [
        Gap(max(from_s, start_s), min(to_s, end_s))
        for from_s, to_s in db.execute(
            "SELECT start_s, end_s FROM gaps WHERE end_s > ? AND start_s < ? ORDER BY start_s", (start_s, end_s)
        )
    ]


def app_names(db: sqlite3.Connection, ids: Sequence[int]) -> dict[int, str]:
    """Texts of some numbers."""
    return {number: db.execute("SELECT text FROM texts WHERE id = ?", (number,)).fetchone()[0] for number in set(ids)}


def answer(
    app: str, container: str | None, start_s: float, end_s: float, totals: Mapping[str, float], without: Sequence[Gap]
) -> wire.Usage:
    """Sums as an answer; no sums at all is time that nobody metered."""
    metered_s = totals.get("metered_s", 0.0)
    return wire.Usage(
        app=app,
        container=container,
        start=iso_utc(start_s),
        end=iso_utc(end_s),
        coverage_ratio=min(1.0, metered_s / (end_s - start_s)),
        energies=energies(totals) if container is None else None,
        load_wh=load_wh(totals) if container is None else totals.get("power_wh", 0.0),
        carbon_g=totals.get("carbon_g", 0.0),
        carbon_on_use_g=totals.get("carbon_on_use_g", 0.0) if container is None else None,
        unknown_carbon_wh=totals.get("unknown_carbon_wh", 0.0),
        cost=totals["cost"] if totals.get("priced_s", 0.0) > 0.0 else None,
        qualities={
            str(quality): totals[f"{quality}_s"] / metered_s
            for quality in QUALITIES
            if metered_s > 0.0 and totals[f"{quality}_s"] > 0.0
        },
        gaps=[wire.Gap(start=iso_utc(gap.start_s), end=iso_utc(gap.end_s)) for gap in without],
    )


def energies(totals: Mapping[str, float]) -> wire.Energies:
    """The flows of an app as energies."""

    def wh(name: str) -> float:
        return totals.get(name, 0.0)

    return wire.Energies(
        load_wh=load_wh(totals),
        solar_to_load_wh=wh("solar_to_load_wh"),
        battery_to_load_wh=wh("battery_discharge_wh"),
        grid_to_load_wh=wh("grid_to_load_wh"),
        solar_to_battery_wh=wh("solar_to_battery_wh"),
        grid_to_battery_wh=wh("grid_to_battery_wh"),
        received_wh=wh("received_wh"),
        shared_wh=wh("shared_wh"),
        exported_wh=wh("exported_wh"),
        curtailed_wh=wh("curtailed_wh"),
        unserved_wh=wh("unserved_wh"),
        overdraw_wh=wh("overdraw_wh"),
    )


def load_wh(totals: Totals | Mapping[str, float]) -> float:
    """What an app's load was served: from sun, battery and grid. [Wh]"""
    return sum(totals.get(name, 0.0) for name in ("solar_to_load_wh", "battery_discharge_wh", "grid_to_load_wh"))


def check_interval(start_s: float, end_s: float) -> None:
    """Refuse what is no interval of time.

    Raises:
        SettingRefused: it ends before it begins, or a bound is not a time that calendars have.
    """
    if not (-6e10 < start_s < 2.5e11 and -6e10 < end_s < 2.5e11):
        raise SettingRefused(f"interval: {start_s!r} to {end_s!r} is no time; give seconds since 1970 or ISO 8601")
    if end_s <= start_s:
        raise SettingRefused(f"interval: ends at {iso_utc(end_s)}, which is not after its start {iso_utc(start_s)}")

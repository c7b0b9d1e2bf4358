"""What a report says: energy by source, carbon, carbon-free share and cost, for every app and every hour of the site's clocks.

Hours are those of a time zone, so that a day on which the clocks change has 23 or 25. All sums over several hours or apps are sums of what
is said of the single ones. The verb `report` prints it; nothing here knows how.

Carbon-free is what the sun served, directly or through the battery. Of what came out of a battery that part counts which the sun (an
app's own or another's excess) had of what went in over the whole report; where nothing went in, none of it. Import never counts,
however clean the grid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.measures import QUALITIES
from ecovisor.adapters.stores.ledger.questions import Questions
from ecovisor.adapters.stores.ledger.sums import Totals
from ecovisor.adapters.stores.ledger.usage import Gap

_ENERGIES = (
    "solar_to_load_wh",
    "battery_discharge_wh",
    "grid_to_load_wh",
    "solar_to_battery_wh",
    "grid_to_battery_wh",
    "received_wh",
    "shared_wh",
    "exported_wh",
    "curtailed_wh",
    "unserved_wh",
    "overdraw_wh",
)
_SUMMED = (
    *_ENERGIES,
    "carbon_g",
    "carbon_on_use_g",
    "unknown_carbon_wh",
    "cost",
    "priced_s",
    "metered_s",
    "intensity_known_s",
    "intensity_integral",
    *(f"{quality}_s" for quality in QUALITIES),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one app or all, over an hour, a day or all of the report."""

    load_wh: float
    """Served. [Wh]"""
    solar_to_load_wh: float
    battery_to_load_wh: float
    grid_to_load_wh: float
    solar_to_battery_wh: float
    grid_to_battery_wh: float
    received_wh: float
    shared_wh: float
    exported_wh: float
    curtailed_wh: float
    unserved_wh: float
    overdraw_wh: float
    """[Wh]"""
    carbon_g: float | None
    """On import, as far as the intensity was known; None: it was not, and there was import. [g]"""
    carbon_on_use_g: float
    """[g]"""
    unknown_carbon_wh: float
    """Imported on an unknown intensity. [Wh]"""
    intensity_g_per_kwh: float | None
    """Of the grid, on average. [g/kWh]"""
    carbon_free_ratio: float | None
    """Part of the load; None: there was none. [1]"""
    cost: float | None
    """None: no price was known."""
    priced_ratio: float
    """Part of the metered time for which a price was known. [1]"""
    metered_s: float
    """[s]"""
    qualities: Mapping[str, float]
    """Part of the metered time by quality. [1]"""


@dataclass(frozen=True, slots=True)
class Span:
    """Figures of the ticks that began in a stretch of time."""

    start_s: float
    end_s: float
    """[s since the epoch]"""
    apps: Mapping[str, Figures]
    all: Figures
    absent: bool = False
    """There were no ticks."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report says."""

    site: str
    timezone: str
    start_s: float
    end_s: float
    """The true bounds. [s since the epoch]"""
    coverage_ratio: float
    """Part of the time that ticks cover. [1]"""
    apps: Mapping[str, Figures]
    """Over all of it."""
    all: Figures
    days: Sequence[Span]
    hours: Sequence[Span]
    gaps: Sequence[Gap]


def report(ledger: Questions, site: str, start_s: float, end_s: float, calendar: Calendar, app: str | None = None) -> Report:
    """Gather the figures of one app, or of all.

    Args:
        ledger: asked.
        site: name of the site.
        start_s, end_s: the interval; it snaps outward to ticks. [s since the epoch]
        calendar: whose hours and days.
        app: None: all, `_site` among them.
    """
    edges = calendar.hours(start_s, end_s)
    found = ledger.sums(edges, app)
    true_start_s, true_end_s = found[0].start_s, found[-1].end_s
    gaps = ledger.gaps(true_start_s, true_end_s)
    extent = ledger.extent() or (true_start_s, true_start_s)
    names = sorted({name for one in found for name in one.apps}, key=lambda name: (name.startswith("_"), name))
    sunny = {name: _sunny_ratio(merged(one.apps[name] for one in found if name in one.apps)) for name in names}
    hours = [
        _span(from_s, to_s, [one.apps], sunny, absent=_is_absent(from_s, to_s, one.apps, gaps, extent))
        for (from_s, to_s), one in zip(pairwise(edges), found, strict=True)
    ]
    days: dict[int, list[int]] = {}
    for k, hour in enumerate(hours):
        days.setdefault(calendar.day_s(hour.start_s), []).append(k)
    whole = _span(true_start_s, true_end_s, [one.apps for one in found], sunny)
    metered_s = math.fsum(max((totals["metered_s"] for totals in one.apps.values()), default=0.0) for one in found)
    return Report(
        site=site,
        timezone=calendar.timezone,
        start_s=true_start_s,
        end_s=true_end_s,
        coverage_ratio=min(1.0, metered_s / (true_end_s - true_start_s)),
        apps=whole.apps,
        all=whole.all,
        days=[
            _span(
                hours[of[0]].start_s,
                hours[of[-1]].end_s,
                [found[k].apps for k in of],
                sunny,
                absent=all(hours[k].absent for k in of),
            )
            for of in days.values()
        ],
        hours=hours,
        gaps=gaps,
    )


def _is_absent(start_s: float, end_s: float, apps: Mapping[str, Totals], gaps: Sequence[Gap], extent: tuple[float, float]) -> bool:
    """Whether no tick begins in it, and it is not within one that began before."""
    if any(totals["metered_s"] > 0.0 for totals in apps.values()):
        return False
    outside = start_s >= extent[1] or end_s <= extent[0]
    return outside or any(gap.start_s < end_s and gap.end_s > start_s for gap in gaps)


def merged(parts: Iterable[Mapping[str, float]]) -> Totals:
    """Sums of sums; levels are left out."""
    rows = list(parts)
    return {name: math.fsum(row[name] for row in rows) for name in _SUMMED}


def _span(
    start_s: float,
    end_s: float,
    parts: Sequence[Mapping[str, Totals]],
    sunny: Mapping[str, float],
    *,
    absent: bool = False,
) -> Span:
    names = [name for name in sunny if any(name in part for part in parts)]
    totals = {name: merged(part[name] for part in parts if name in part) for name in names}
    free_wh = {name: one["solar_to_load_wh"] + sunny[name] * one["battery_discharge_wh"] for name, one in totals.items()}
    apps = {name: _figures(one, free_wh[name]) for name, one in totals.items()}
    return Span(start_s, end_s, apps, _figures(merged(totals.values()), math.fsum(free_wh.values())), absent)


def _sunny_ratio(totals: Mapping[str, float]) -> float:
    """Part of what charged a battery that came from the sun. [1]"""
    sun_wh = totals["solar_to_battery_wh"] + totals["received_wh"]
    charged_wh = sun_wh + totals["grid_to_battery_wh"]
    return sun_wh / charged_wh if charged_wh > 0.0 else 0.0


def _figures(totals: Mapping[str, float], free_wh: float) -> Figures:
    load_wh = totals["solar_to_load_wh"] + totals["battery_discharge_wh"] + totals["grid_to_load_wh"]
    import_wh = totals["grid_to_load_wh"] + totals["grid_to_battery_wh"]
    metered_s, known_s = totals["metered_s"], totals["intensity_known_s"]
    unknown_wh = totals["unknown_carbon_wh"]
    return Figures(
        load_wh=load_wh,
        battery_to_load_wh=totals["battery_discharge_wh"],
        carbon_g=None if import_wh > 0.0 and unknown_wh >= import_wh * (1.0 - 1e-9) else totals["carbon_g"],
        carbon_on_use_g=totals["carbon_on_use_g"],
        unknown_carbon_wh=unknown_wh,
        intensity_g_per_kwh=totals["intensity_integral"] / known_s if known_s > 0.0 else None,
        carbon_free_ratio=min(1.0, free_wh / load_wh) if load_wh > 0.0 else None,
        cost=totals["cost"] if totals["priced_s"] > 0.0 else None,
        priced_ratio=min(1.0, totals["priced_s"] / metered_s) if metered_s > 0.0 else 0.0,
        metered_s=metered_s,
        qualities={
            str(quality): totals[f"{quality}_s"] / metered_s
            for quality in QUALITIES
            if metered_s > 0.0 and totals[f"{quality}_s"] > 0.0
        },
        **{name: totals[name] for name in _ENERGIES if name != "battery_discharge_wh"},
    )

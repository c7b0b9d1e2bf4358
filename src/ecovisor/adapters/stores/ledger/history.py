"""A column of the ledger over time: `wire.History`, on a regular grid.

Values come from ticks where these are kept, and from hours or days where a step of the grid is an hour or more, or the ticks are gone.
Power is averaged, amounts are added, of levels the last counts; a step that nobody metered is null.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from ecovisor import wire
from ecovisor.adapters.stores.ledger.bundles import stretches
from ecovisor.adapters.stores.ledger.catalog import load_catalog, text_ids
from ecovisor.adapters.stores.ledger.measures import FLOWS, QUALITIES, Kind
from ecovisor.adapters.stores.ledger.pieces import SAME_S, STEPS, Piece, bounds, pieces
from ecovisor.adapters.stores.ledger.sums import Summing, Totals
from ecovisor.adapters.stores.ledger.usage import check_interval
from ecovisor.model.errors import Infeasible, SettingRefused
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.units import iso_utc

#: Most values in an answer.
MOST_VALUES = 100_000
_HOUR_S = 3600.0

#: Columns of which the last value counts, and those that are added up; all others are averaged.
LEVELS = tuple(measure.source for measure in FLOWS if measure.kind is Kind.LAST)
AMOUNTS = tuple(measure.source for measure in FLOWS if measure.kind is Kind.SUM)
#: Roll-ups that tell a mean: column → (sum over time, time, factor).
_MEANS = {measure.source: (measure.name, "metered_s", _HOUR_S) for measure in FLOWS if measure.kind is Kind.ENERGY} | {
    "carbon_intensity_g_per_kwh": ("intensity_integral", "intensity_known_s", 1.0)
}
_UNITS = (("_g_per_kwh", "g/kWh"), ("_wh", "Wh"), ("_w", "W"), ("_g", "g"))


@dataclass(slots=True)
class _Sample:
    """A column over a tick or a bucket."""

    start_s: float
    end_s: float
    """[s since the epoch]"""
    metered_s: float
    value: float | None
    """A mean, a sum or a level; None: unknown."""
    quality: str


def history(db: sqlite3.Connection, app: str, metric: str, start_s: float, end_s: float, step_s: float | None) -> wire.History:
    """A column of `flows` of one app.

    Args:
        db: in a read transaction.
        app: whose.
        metric: name of the column.
        start_s, end_s: the interval. Without a step it snaps outward to ticks; with one it is taken as it is. [s since the epoch]
        step_s: of the grid; None: the length of a tick. [s]

    Raises:
        SettingRefused: there is no such column, or the interval or the step is none.
        Infeasible: the answer would have too many values.
    """
    check_interval(start_s, end_s)
    numbers = [name for name in load_catalog(db).layout("flows").numbers if name != "dt_s"]
    if metric not in numbers:
        raise SettingRefused(
            f"metric: no column {metric!r}; {did_you_mean(metric, numbers) if numbers else 'nothing is recorded yet'}"
        )
    app_id = text_ids(db, [app]).get(app, -1)
    if step_s is None:
        step_s = _tick_s(db, end_s)
        _count(start_s, end_s, step_s)
        start_s, end_s = bounds(pieces(db, (start_s, end_s), fine=True), start_s, end_s)
    count = _count(start_s, end_s, step_s)
    if step_s >= _HOUR_S and _rolled(metric):
        values, metered_s, qualities = _from_sums(db, app_id, metric, [start_s + k * step_s for k in range(count)] + [end_s])
    else:
        samples = _samples(db, app_id, metric, start_s, end_s)
        values = _on_grid(samples, metric, start_s, step_s, count)
        metered_s = math.fsum(_overlap_s(one, start_s, end_s) / (one.end_s - one.start_s) * one.metered_s for one in samples)
        qualities = {one.quality for one in samples}
    return wire.History(
        app=app,
        metric=metric,
        unit=unit_of(metric),
        start=iso_utc(start_s),
        start_s=start_s,
        end=iso_utc(end_s),
        step_s=step_s,
        values=values,
        quality=next((str(quality) for quality in reversed(QUALITIES) if str(quality) in qualities), "missing"),
        coverage_ratio=min(1.0, metered_s / (end_s - start_s)),
    )


def unit_of(metric: str) -> str:
    """Unit of a column, by its name."""
    return next((unit for suffix, unit in _UNITS if metric.endswith(suffix)), "1")


def _rolled(metric: str) -> bool:
    return metric in _MEANS or metric in LEVELS or metric in AMOUNTS


def _tick_s(db: sqlite3.Connection, end_s: float) -> float:
    """The most frequent length of the last ticks before an instant. [s]"""
    row = db.execute(
        "SELECT dt_s FROM (SELECT dt_s FROM steps WHERE start_s < ? AND tick IS NOT NULL ORDER BY start_s DESC LIMIT 100) "
        "GROUP BY dt_s ORDER BY COUNT(*) DESC, dt_s LIMIT 1",
        (end_s,),
    ).fetchone()
    return float(row[0]) if row else 60.0


def _count(start_s: float, end_s: float, step_s: float) -> int:
    if not 0.0 < step_s < math.inf:
        raise SettingRefused(f"step: {step_s!r} is no duration; give seconds above 0")
    steps = (end_s - start_s) / step_s
    if steps > MOST_VALUES:
        raise Infeasible(f"history: {steps:,.0f} values, at most {MOST_VALUES:,}; ask for a shorter interval or a longer step")
    return max(1, math.ceil(steps - SAME_S / step_s))


# -- from sums


def _from_sums(
    db: sqlite3.Connection, app_id: int, metric: str, edges: Sequence[float]
) -> tuple[list[float | None], float, set[str]]:
    found = [one.totals.get((app_id,)) for one in Summing(db).intervals("flows", edges, (app_id,), gaps=False)]
    known = [totals for totals in found if totals]
    values = [None if totals is None else _of_totals(totals, metric) for totals in found]
    qualities = {str(quality) for quality in QUALITIES if any(totals[f"{quality}_s"] > 0.0 for totals in known)}
    return values, math.fsum(totals["metered_s"] for totals in known), qualities


def _of_totals(totals: Totals, metric: str) -> float | None:
    if metric in LEVELS or metric in AMOUNTS:
        return _plain(totals[metric])
    integral, time, factor = _MEANS[metric]
    return totals[integral] * factor / totals[time] if totals[time] > 0.0 else None


# -- from ticks


def _samples(db: sqlite3.Connection, app_id: int, metric: str, start_s: float, end_s: float) -> list[_Sample]:
    """In the order of time: ticks where they are kept, buckets where these tell the metric."""
    summing = Summing(db)
    quality = "r.quality" if "quality" in summing.catalog.layout("flows").texts else "NULL"
    names = {number: text for text, number in text_ids(db, map(str, QUALITIES)).items()}
    samples = []
    for piece in pieces(db, (start_s, end_s), fine=True):
        if piece.kind == STEPS:
            samples += [
                _Sample(from_s, from_s + dt_s, dt_s, value, names.get(number, ""))
                for stretch in stretches(db, piece.first, piece.last)
                for from_s, dt_s, value, number in db.execute(
                    f'SELECT s.start_s, s.dt_s, r."{metric}", {quality} '
                    f"{stretch.rows('flows', ' AND r.app = ?')} AND s.tick IS NOT NULL",
                    (app_id, *stretch.steps),
                )
            ]
        elif _rolled(metric):
            samples += _of_bucket(summing, piece, app_id, metric)
    return samples


def _of_bucket(summing: Summing, piece: Piece, app_id: int, metric: str) -> list[_Sample]:
    totals = summing.bucket("flows", piece, (app_id,)).get((app_id,))
    if totals is None:
        return []
    worst = next((str(quality) for quality in reversed(QUALITIES) if totals[f"{quality}_s"] > 0.0), "")
    return [_Sample(piece.start_s, piece.end_s, totals["metered_s"], _of_totals(totals, metric), worst)]


def _on_grid(samples: Sequence[_Sample], metric: str, start_s: float, step_s: float, count: int) -> list[float | None]:
    """One value a step; of levels that of the last tick in it, of all else what overlaps."""
    sums, weights = [0.0] * count, [0.0] * count
    last, amounts = metric in LEVELS, metric in AMOUNTS
    for one in samples:
        if one.value is None:
            continue
        first = max(0, math.floor((one.start_s - start_s + SAME_S) / step_s))
        for k in range(first, min(count, math.ceil((one.end_s - start_s - SAME_S) / step_s))):
            overlap_s = _overlap_s(one, start_s + k * step_s, start_s + (k + 1) * step_s)
            if last:
                sums[k], weights[k] = one.value, 1.0
            elif amounts:
                sums[k] += one.value * overlap_s / (one.end_s - one.start_s)
                weights[k] = 1.0
            else:
                sums[k] += one.value * overlap_s
                weights[k] += overlap_s
    return [_plain(total / weight) if weight > 0.0 else None for total, weight in zip(sums, weights, strict=True)]


def _overlap_s(one: _Sample, start_s: float, end_s: float) -> float:
    return max(0.0, min(one.end_s, end_s) - max(one.start_s, start_s))


def _plain(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None

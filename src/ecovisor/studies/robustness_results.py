"""What came of the robustness study's runs: carbon saved and delay by zone, month, arrival, policy and forecast.

Arrays of zones × months × arrivals; of the battery, whose months are whole, × 1. `robustness` fills them, `robustness_claims` judges them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.findings import Table
from ecovisor.studies.robustness_forecasts import FORECASTS, PERFECT
from ecovisor.studies.robustness_runs import AGNOSTIC, ARBITRAGE, MONTHS, WAITING, Jobs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_TITLES = {
    "suspend-resume": "suspend-resume",
    "wait-and-scale-2": "Wait&Scale 2×",
    "wait-and-scale-3": "Wait&Scale 3×",
    "battery-arbitrage": "battery arbitrage",
}


def titles(policy: str) -> str:
    """A policy's name for people."""
    return _TITLES[policy]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that the study has measured."""

    zones: tuple[str, ...]
    saved: Mapping[tuple[str, str], Floats]
    """(policy, forecast) → carbon saved against carbon-agnostic, over the latter's; NaN where the job was not done. [1]"""
    delay_h: Mapping[tuple[str, str], Floats]
    """(waiting policy, forecast) → run time more than carbon-agnostic. [h]"""
    cv: Mapping[str, Floats]
    """Zone → coefficient of variation within 48 h, by month. [1]"""

    @classmethod
    def of(cls, runs: Mapping[str, Mapping[str, tuple[Jobs, tuple[Floats, Floats]]]], cv: Mapping[str, Floats]) -> Results:
        """From the runs of each zone under each forecast."""
        saved, delay_h = {}, {}
        for forecast in FORECASTS:
            for policy in WAITING:
                pairs = [(one[forecast][0], one[PERFECT][0]) for one in runs.values()]
                saved[policy, forecast] = np.array(
                    [1.0 - jobs.carbon_g[policy] / plain.carbon_g[AGNOSTIC] for jobs, plain in pairs]
                )
                delay_h[policy, forecast] = np.array([jobs.runtime_h[policy] - plain.runtime_h[AGNOSTIC] for jobs, plain in pairs])
            saved[ARBITRAGE, forecast] = np.array(
                [(1.0 - with_g / without_g)[:, np.newaxis] for with_g, without_g in (one[forecast][1] for one in runs.values())]
            )
        return cls(tuple(runs), saved, delay_h, cv)

    @property
    def arrivals(self) -> int:
        """In each month."""
        return int(self.saved[WAITING[0], PERFECT].shape[2])

    def saved_by_month(self, policy: str, forecast: str) -> Floats:
        """Mean over arrivals: zones × months. [1]"""
        return _mean_of_arrivals(self.saved[policy, forecast])

    def saved_by_zone(self, policy: str, forecast: str) -> Floats:
        """Mean over the year: zones. [1]"""
        return np.asarray(np.nanmean(self.saved[policy, forecast], axis=(1, 2)))

    def delay_by_zone_h(self, policy: str, forecast: str) -> Floats:
        """Mean over the year: zones. [h]"""
        return np.asarray(np.nanmean(self.delay_h[policy, forecast], axis=(1, 2)))

    def table(self) -> Table:
        """A row for each zone, month, policy and forecast."""
        texts: dict[str, list[str]] = {"zone": [], "policy": [], "forecast": []}
        numbers: dict[str, list[float]] = {"month": [], "cv_48h_ratio": [], "saved_ratio": [], "delay_h": [], "done_ratio": []}
        for (policy, forecast), saved in self.saved.items():
            delay_h = self.delay_h.get((policy, forecast), np.zeros_like(saved))
            means, delays_h = _mean_of_arrivals(saved), _mean_of_arrivals(delay_h)
            for z, zone in enumerate(self.zones):
                for month in range(MONTHS):
                    for column, text in zip(texts.values(), (zone, policy, forecast), strict=True):
                        column.append(text)
                    done = float(np.isfinite(saved[z, month]).mean())
                    row = (month + 1, self.cv[zone][month], means[z, month], delays_h[z, month], done)
                    for values, number in zip(numbers.values(), row, strict=True):
                        values.append(float(number))
        return Table(columns={**texts, **numbers})


def break_even_cv(results: Results, policy: str, forecast: str) -> float:
    """Variation within 48 h at which the line through all zones' months crosses zero; 0 where it never costs carbon. [1]"""
    cv = np.concatenate([results.cv[zone] for zone in results.zones])
    saved = results.saved_by_month(policy, forecast).ravel()
    known = np.isfinite(saved)
    slope, offset = np.polyfit(cv[known], saved[known], 1)
    return max(0.0, float(-offset / slope))


def rank_correlation(one: Floats, other: Floats) -> float:
    """Spearman's, without ties. [1]"""
    first, second = (np.argsort(np.argsort(values)) for values in (one, other))
    return float(np.corrcoef(first, second)[0, 1])


def _mean_of_arrivals(values: Floats) -> Floats:
    """Mean over the last axis, of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0.0).sum(axis=-1) / known.sum(axis=-1))

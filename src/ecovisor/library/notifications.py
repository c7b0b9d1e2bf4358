"""Edges: when a change is worth telling (Ecovisor paper, Table 2: solar, carbon, battery full, battery empty)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


def changed(value: float, last: float, threshold_ratio: float) -> bool:
    """True if ``value`` lies further from ``last`` than a part of it, or has become known or unknown (NaN)."""
    if value != value or last != last:
        return (value != value) != (last != last)
    return abs(value - last) > threshold_ratio * abs(last)


@dataclass(slots=True)
class Notifier:
    """One subscription: remembers what was last told."""

    callback: Callable[[float], None]
    threshold_ratio: float = 0.0
    last: float = field(default=float("nan"))

    def observe_change(self, value: float) -> None:
        """Tell ``value`` if it has changed beyond the threshold since it was last told."""
        if changed(value, self.last, self.threshold_ratio):
            self.last = value
            self.callback(value)

    def observe_edge(self, reached: bool, value: float) -> None:
        """Tell ``value`` when ``reached`` turns true."""
        was = self.last == 1.0
        self.last = 1.0 if reached else 0.0
        if reached and not was:
            self.callback(value)


@dataclass(slots=True)
class Subscriptions:
    """All of an app's subscriptions."""

    solar: list[Notifier] = field(default_factory=list)
    carbon: list[Notifier] = field(default_factory=list)
    full: list[Notifier] = field(default_factory=list)
    empty: list[Notifier] = field(default_factory=list)

    def observe(self, solar_w: float, carbon_intensity_g_per_kwh: float, level_wh: float, capacity_wh: float) -> None:
        """Tell whom it concerns what has changed."""
        for notifier in self.solar:
            notifier.observe_change(solar_w)
        for notifier in self.carbon:
            notifier.observe_change(carbon_intensity_g_per_kwh)
        for notifier in self.full:
            notifier.observe_edge(capacity_wh > 0.0 and level_wh >= capacity_wh, level_wh)
        for notifier in self.empty:
            notifier.observe_edge(level_wh <= 0.0, level_wh)

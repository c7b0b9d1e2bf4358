"""Where a carbon threshold comes from: a fixed value, or a percentile of the forecast over a window (Ecovisor paper, section 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from ecovisor.library.intervals import percentile
from ecovisor.ports import VirtualEnergy


@dataclass(frozen=True, slots=True)
class Threshold:
    """A carbon intensity to compare with."""

    fixed_g_per_kwh: float | None = None
    """The value itself, or None for the percentile. [g/kWh]"""
    percent: float = 30.0
    """Percentile of the forecast; the paper takes the 30th for training, the 33rd for BLAST."""
    window_s: float = 48 * 3600.0
    """Window of the forecast; the paper takes 48 h. [s]"""

    def resolve_g_per_kwh(self, energy: VirtualEnergy) -> float:
        """The threshold as seen now; NaN, which nothing is below, where nothing is forecast. [g/kWh]"""
        if self.fixed_g_per_kwh is not None:
            return self.fixed_g_per_kwh
        return percentile(energy.forecast("carbon", self.window_s).values, self.percent)

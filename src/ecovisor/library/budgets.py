"""Carbon rates and budgets as power ceilings: pure functions of what was emitted and what comes (paper, Table 2, section 5.2)."""

from __future__ import annotations

from dataclasses import dataclass

INFINITY = float("inf")


def rate_ceiling_w(carbon_rate_g_per_h: float, carbon_intensity_g_per_kwh: float, solar_w: float) -> float:
    """Largest power whose import emits no faster than the rate: ``solar + rate/intensity·1000``; on an unknown intensity, solar. [W]"""
    if carbon_intensity_g_per_kwh > 0.0:
        return solar_w + carbon_rate_g_per_h / carbon_intensity_g_per_kwh * 1000.0
    return INFINITY if carbon_intensity_g_per_kwh == 0.0 else solar_w


@dataclass(frozen=True, slots=True)
class CarbonBudget:
    """A total that an app may emit from a start on."""

    budget_g: float
    spent_before_g: float
    """The app's carbon when the budget was set. [g]"""
    since_s: float = float("nan")
    """When it was set. [s since the epoch]"""

    def remaining_g(self, carbon_g: float) -> float:
        """What is left when the app's carbon stands at ``carbon_g``; never below 0. [g]"""
        left_g = self.budget_g - (carbon_g - self.spent_before_g)
        return left_g if left_g > 0.0 else 0.0

    def exhausted_s(self, carbon_g: float, now_s: float) -> float | None:
        """When it will be spent at the mean rate since it was set; None: never, at no emission. [s since the epoch]"""
        spent_g, elapsed_s = carbon_g - self.spent_before_g, now_s - self.since_s
        if self.remaining_g(carbon_g) <= 0.0:
            return now_s
        if not (spent_g > 0.0 and elapsed_s > 0.0):
            return None
        return now_s + self.remaining_g(carbon_g) * elapsed_s / spent_g

    def import_ceiling_w(self, carbon_g: float, carbon_intensity_g_per_kwh: float, hours_h: float) -> float:
        """Largest import in the coming tick that the budget can still pay for; none on an unknown intensity. [W]"""
        return rate_ceiling_w(self.remaining_g(carbon_g) / hours_h, carbon_intensity_g_per_kwh, 0.0)

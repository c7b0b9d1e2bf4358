"""Built-in policies: what they decide, where their thresholds come from, what an unknown intensity means to them."""

from __future__ import annotations

import dataclasses
import math
from array import array
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine import build

from ecovisor.engine.site import Site
from ecovisor.library.budgets import rate_ceiling_w
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.library.intervals import percentile
from ecovisor.model.series import Series
from ecovisor.policies import suspend_resume, wait_and_scale
from ecovisor.policies.battery_arbitrage import BatteryArbitrage, battery_settings_w
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.static_carbon_rate import StaticCarbonRate, cap_scale
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import Policy
from ecovisor.workloads.models import BatchJob

EMPTY = dataclasses.replace(build.PAPER, initial_ratio=0.0)
intensities = st.one_of(st.just(0.0), st.floats(1e-9, 1000.0))


@given(intensities, intensities, st.floats(0.1, 10.0))
def test_work_runs_at_or_below_the_threshold_and_waits_above_it(intensity: float, threshold: float, scale: float) -> None:
    runs = intensity <= threshold
    assert suspend_resume.run_scale(intensity, threshold) == (1.0 if runs else 0.0)
    assert wait_and_scale.run_scale(intensity, threshold, scale) == (scale if runs else 0.0)


def test_an_unknown_intensity_or_threshold_is_never_clean() -> None:
    for unknown in ((math.nan, 100.0), (100.0, math.nan)):
        assert suspend_resume.run_scale(*unknown) == 0.0
        assert wait_and_scale.run_scale(*unknown, 2.0) == 0.0
    assert battery_settings_w(math.nan, 100.0, 300.0, 50.0) == (0.0, 0.0)


def test_arbitrage_charges_clean_discharges_dirty_and_holds_between() -> None:
    assert battery_settings_w(100.0, 100.0, 300.0, 50.0) == (50.0, 0.0)
    assert battery_settings_w(200.0, 100.0, 300.0, 50.0) == (0.0, 0.0)
    assert battery_settings_w(300.0, 100.0, 300.0, 50.0) == (0.0, math.inf)


def test_a_cap_below_idle_power_suspends() -> None:
    assert (cap_scale(1.0, 2.0), cap_scale(2.0, 2.0)) == (0.0, 1.0)


@given(st.one_of(st.just(0.0), st.floats(1e-9, 100.0)), intensities, st.one_of(st.just(0.0), st.floats(1e-9, 100.0)))
def test_power_under_the_ceiling_emits_no_faster_than_the_rate(rate_g_per_h: float, intensity: float, solar_w: float) -> None:
    ceiling_w = rate_ceiling_w(rate_g_per_h, intensity, solar_w)
    assert ceiling_w >= solar_w
    if intensity > 0.0 and ceiling_w < math.inf:
        assert (ceiling_w - solar_w) / 1000.0 * intensity <= rate_g_per_h * (1 + 1e-9) + 1e-12 * intensity * solar_w + 1e-300


def test_a_threshold_is_a_value_or_a_percentile_of_the_coming_window() -> None:
    carbon = Series("carbon", "g/kWh", 0.0, build.TICK_S, array("d", [float(k % 100) for k in range(300)]))
    site = build.site(build.app("a", 0.5), forecasters={"carbon": PerfectForecaster(carbon)}, ticks=300)
    energy = site.app("a")
    assert Threshold(42.0).resolve_g_per_kwh(energy) == 42.0
    assert Threshold(percent=30.0, window_s=100 * build.TICK_S).resolve_g_per_kwh(energy) == pytest.approx(29.7)
    build.run(site, 50)
    assert Threshold(percent=0.0, window_s=10 * build.TICK_S).resolve_g_per_kwh(energy) == 50.0
    build.run(site, 300)
    assert math.isnan(Threshold(percent=50.0).resolve_g_per_kwh(energy))  # nothing is known of then


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=20), st.one_of(st.just(0.0), st.floats(1e-9, 100.0)))
def test_a_percentile_lies_between_the_values_around_it(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9
    assert percentile([*values, math.nan], percent) == found
    assert percentile(values, 100.0) == max(values)
    assert percentile(values, 0.0) == min(values)


def played(policy: Policy, ticks: int = 48) -> tuple[build.Keep, Site]:
    carbon = [100.0 if (k // 6) % 2 else 400.0 for k in range(ticks)]
    kept = build.Keep()
    work = BatchJob(work_core_h=1e6, start_s=0.0)
    site = build.site(
        build.app("a", 0.5, workload=work, policy=lambda: policy), battery=EMPTY, intensity=carbon, ticks=ticks, sink=kept
    )
    return kept, build.run(site, ticks)


def test_suspend_resume_runs_in_clean_hours_only() -> None:
    kept, _ = played(SuspendResume(Threshold(200.0)))
    assert {row["demand_w"] for row in kept.flows("a") if row["carbon_intensity_g_per_kwh"] == 400.0} == {0.0}
    assert {row["demand_w"] for row in kept.flows("a") if row["carbon_intensity_g_per_kwh"] == 100.0} == {5.0}


def test_wait_and_scale_makes_up_for_the_wait() -> None:
    kept, site = played(WaitAndScale(Threshold(200.0), 2.0))
    assert {row["demand_w"] for row in kept.flows("a")} == {0.0, 10.0}
    _, agnostic = played(CarbonAgnostic())
    assert site.get(0, "work_done") == pytest.approx(agnostic.get(0, "work_done"))
    assert site.get(0, "carbon_total_g") < agnostic.get(0, "carbon_total_g")


def test_arbitrage_at_the_app_s_limit_or_slower() -> None:
    kept, site = played(BatteryArbitrage(Threshold(200.0), Threshold(300.0)))
    limit_w = site.get(0, "charge_limit_w")
    assert max(kept.of("a", "grid_to_battery_w")) == pytest.approx(limit_w)
    clean = [row for row in kept.flows("a") if row["carbon_intensity_g_per_kwh"] == 100.0]
    assert all(row["battery_discharge_w"] == 0.0 for row in clean)
    slow, _ = played(BatteryArbitrage(Threshold(200.0), Threshold(300.0), charge_rate_w=7.0))
    assert max(slow.of("a", "grid_to_battery_w")) == pytest.approx(7.0)


@pytest.mark.parametrize("rate_g_per_h", [0.1, 0.4, 1.0])
def test_a_static_carbon_rate_is_never_exceeded(rate_g_per_h: float) -> None:
    kept, _ = played(StaticCarbonRate(rate_g_per_h))
    assert max(kept.of("a", "carbon_g")) / build.HOURS <= rate_g_per_h * (1 + 1e-12)


def test_every_built_in_policy_is_a_policy() -> None:
    threshold = Threshold(1.0)
    for one in (CarbonAgnostic(), SuspendResume(threshold), WaitAndScale(threshold), StaticCarbonRate(1.0)):
        assert callable(cast("Policy", one).tick)

"""A column over time: each value what its step of the grid saw, nothing where nobody metered."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adapters.ledger import made
from tests.adapters.ledger.made import START_S, Made

from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.model.errors import Infeasible, SettingRefused


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path) as opened:
        yield opened


def of(ticks: list[Made], app: str, column: str) -> list[float]:
    return [row.values[column] for tick in ticks for row in tick.rows if row.app == app]


def test_a_value_a_tick_as_it_was_recorded(ledger: Ledger) -> None:
    ticks = made.ticks(10)
    made.fill(ledger, ticks)
    for metric, unit in (
        ("demand_w", "W"),
        ("battery_level_wh", "Wh"),
        ("carbon_g", "g"),
        ("carbon_intensity_g_per_kwh", "g/kWh"),
        ("charge_rate_setting_w", "W"),
    ):
        found = ledger.history("a", metric, START_S + 30.0, START_S + 570.0)
        assert (found.unit, found.step_s, found.start_s, found.coverage_ratio) == (unit, 60.0, START_S, 1.0)
        assert found.end == "2021-03-01T00:10:00Z"
        assert found.values == pytest.approx(of(ticks, "a", metric), rel=1e-12)


def test_what_is_unlimited_or_unknown_is_null(ledger: Ledger) -> None:
    made.fill(ledger, made.ticks(3, known=False))
    assert ledger.history("a", "grid_limit_w", START_S, START_S + 180.0).values == [None] * 3
    assert ledger.history("a", "carbon_g", START_S, START_S + 180.0).values == [None] * 3


@pytest.mark.parametrize("step_s", [900.0, 3600.0, 5400.0])
def test_power_is_averaged_amounts_are_added_of_levels_the_last_counts(ledger: Ledger, step_s: float) -> None:
    ticks = made.ticks(90, dt_s=300.0)
    made.fill(ledger, ticks)
    per = int(step_s / 300.0)
    groups = [ticks[k : k + per] for k in range(0, 90, per)]
    end_s = START_S + len(groups) * step_s
    assert ledger.history("a", "demand_w", START_S, end_s, step_s).values == pytest.approx(
        [math.fsum(of(group, "a", "demand_w")) / len(group) for group in groups]
    )
    assert ledger.history("a", "battery_adjust_wh", START_S, end_s, step_s).values == pytest.approx(
        [math.fsum(of(group, "a", "battery_adjust_wh")) for group in groups]
    )
    last = [of(group, "a", "stored_carbon_g")[-1] for group in groups]
    assert ledger.history("a", "stored_carbon_g", START_S, end_s, step_s).values == last
    intensities = [math.fsum(of(group, "a", "carbon_intensity_g_per_kwh")) / len(group) for group in groups]
    assert ledger.history("a", "carbon_intensity_g_per_kwh", START_S, end_s, step_s).values == pytest.approx(intensities)


@pytest.mark.parametrize("step_s", [None, 900.0, 3600.0])
@pytest.mark.parametrize("app", ["a", "_site"])
def test_gaps_are_null_and_not_covered(ledger: Ledger, step_s: float | None, app: str) -> None:
    first = made.ticks(12, dt_s=300.0)
    gap = Made(None, first[-1].end_s, 7200.0, [made.row(random.Random(1), "_site", 7200.0, containers=())])
    rest = made.ticks(24, dt_s=300.0, start_s=gap.end_s + 3600.0, first=12)  # and an hour that nobody wrote of
    made.fill(ledger, [*first, gap, *rest])
    found = ledger.history(app, "demand_w", START_S, rest[-1].end_s, step_s)
    hour = int(3600.0 / found.step_s)
    assert [value is None for value in found.values] == [False] * hour + [True] * 3 * hour + [False] * 2 * hour
    assert found.coverage_ratio == pytest.approx(0.5)


def test_a_late_tick_fills_all_the_steps_it_took(ledger: Ledger) -> None:
    ticks = made.ticks(3)
    ticks += made.ticks(1, dt_s=150.0, start_s=ticks[-1].end_s, first=3, seed=2)
    ticks += made.ticks(3, start_s=ticks[-1].end_s, first=4, seed=3)
    made.fill(ledger, ticks)
    late = of(ticks[3:4], "a", "demand_w")[0]
    after = of(ticks[4:], "a", "demand_w")
    found = ledger.history("a", "demand_w", START_S, ticks[-1].end_s)
    assert found.values[3:6] == pytest.approx([late, late, (late + after[0]) / 2])
    assert len(found.values) == 9
    assert found.values[-1] == pytest.approx(after[-1])
    energy_wh = math.fsum(value for value in found.values[:-1] if value is not None) / 60.0 + after[-1] * 30.0 / 3600.0
    assert energy_wh == pytest.approx(made.energy_wh(ticks, "a", "demand_w"))
    for step_s in (60.0, 45.0):
        parts = ledger.history("a", "self_discharge_wh", START_S, ticks[-1].end_s, step_s).values
        total = math.fsum(value for value in parts if value is not None)
        assert total == pytest.approx(made.amount(ticks, "a", "self_discharge_wh")), "each amount once"


def test_where_only_hours_are_left_they_are_told(ledger: Ledger) -> None:
    ticks = made.ticks(200, dt_s=600.0)
    made.fill(ledger, ticks)
    span = START_S, START_S + 86_400.0
    hourly = ledger.history("a", "demand_w", *span, 3600.0), ledger.history("a", "battery_level_wh", *span, 3600.0)
    ledger.prune(ticks_before_s=ticks[-1].end_s)
    assert (ledger.history("a", "demand_w", *span, 3600.0), ledger.history("a", "battery_level_wh", *span, 3600.0)) == hourly
    by_tick = ledger.history("a", "demand_w", *span, 600.0)
    assert by_tick.values == pytest.approx([value for value in hourly[0].values for _ in range(6)])
    assert set(ledger.history("a", "charge_rate_setting_w", *span).values) == {None}
    day = ticks[: 6 * 24]
    ledger.prune(ticks_before_s=ticks[-1].end_s, hours_before_s=ticks[-1].end_s)
    assert ledger.history("a", "battery_level_wh", *span, 86_400.0).values == [of(day, "a", "battery_level_wh")[-1]]
    mean_w = math.fsum(of(day, "a", "demand_w")) / len(day)
    assert ledger.history("a", "demand_w", *span, 86_400.0).values == pytest.approx([mean_w])


def test_quality_is_the_worst(ledger: Ledger) -> None:
    ticks = made.ticks(120)
    for tick in ticks:
        for row in tick.rows:
            row.quality = "measured"
    ticks[70].rows[0].quality = "estimated"
    made.fill(ledger, ticks)
    for step_s in (None, 3600.0):
        assert ledger.history("a", "demand_w", START_S, START_S + 7200.0, step_s).quality == "estimated"
        assert ledger.history("b", "demand_w", START_S, START_S + 7200.0, step_s).quality == "measured"
        assert ledger.history("nobody", "demand_w", START_S, START_S + 7200.0, step_s).quality == "missing"


def test_bad_questions_are_refused(ledger: Ledger) -> None:
    with pytest.raises(SettingRefused, match="nothing is recorded yet"):
        ledger.history("a", "demand_w", START_S, START_S + 60.0)
    made.fill(ledger, made.ticks(2))
    with pytest.raises(SettingRefused, match=r"metric: no column 'demand'; did you mean 'demand_w'\?"):
        ledger.history("a", "demand", START_S, START_S + 60.0)
    for step_s in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(SettingRefused, match="step: .* is no duration"):
            ledger.history("a", "demand_w", START_S, START_S + 60.0, step_s)
    with pytest.raises(Infeasible, match="at most 100,000; ask for a shorter interval or a longer step"):
        ledger.history("a", "demand_w", START_S, START_S + 1e6, 1.0)
    with pytest.raises(Infeasible, match="at most 100,000"):
        ledger.history("a", "demand_w", 0.0, START_S)

"""The carbon budget study: its runs keep their books, its traces are what they say, its claims follow from its numbers."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecovisor.studies.carbon_budgets import APPLICATIONS, DYNAMIC, STATIC, Outcome, Setting, run
from ecovisor.studies.carbon_budgets_inputs import Inputs, mean, over_a_year, published, shifted
from ecovisor.studies.carbon_budgets_numbers import Pairs, compare, reruns, table_of
from ecovisor.studies.figure6 import Figure6, ticks_table
from ecovisor.studies.figure7 import Figure7
from ecovisor.studies.findings import Findings
from ecovisor.studies.study import Context
from ecovisor.studies.traces import Traces

DATA = Path(os.environ.get("ECOVISOR_DATA", Path(__file__).parents[3] / "shared" / "data"))
COARSE = Setting(tick_s=3600.0)
needs_data = pytest.mark.skipif(
    not (DATA / "carbon/ecovisor_repo_carbon_trace_48h.csv").is_file(),
    reason=f"the published series are not in {DATA}; set ECOVISOR_DATA",
)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return published(Traces(), COARSE)


@pytest.fixture(scope="module")
def outcomes(inputs: Inputs) -> dict[tuple[str, str], Outcome]:
    return run(APPLICATIONS, inputs.carbon, inputs.requests, COARSE)


@pytest.fixture(scope="module")
def pairs(inputs: Inputs) -> Pairs:
    return compare(inputs, COARSE)


def test_carbon_is_power_times_intensity_and_within_rate_and_budget(outcomes: dict[tuple[str, str], Outcome]) -> None:
    for (_, policy), one in outcomes.items():
        by_tick_g = one.power_w * one.intensity_g_per_kwh / 1000.0
        assert one.carbon_g == pytest.approx(float(by_tick_g.sum()), rel=1e-9)
        assert one.carbon_g <= one.budget_g * (1 + 1e-9)
        assert np.allclose(one.carbon_mg_per_s, by_tick_g / 3.6)
        if policy == STATIC:
            assert one.carbon_mg_per_s.max() <= COARSE.rate_mg_per_s * (1 + 1e-9)
        accrued_g = COARSE.budget_g * np.arange(1, 49) / 48.0
        assert (np.cumsum(by_tick_g) <= accrued_g * (1 + 1e-9)).all()


def test_power_lies_between_idle_and_full_load_of_the_workers(outcomes: dict[tuple[str, str], Outcome]) -> None:
    for one in outcomes.values():
        assert (one.power_w >= one.workers * 51.0 / 4.0 * (1 - 1e-9)).all()
        assert (one.power_w <= one.workers * COARSE.worker_w * (1 + 1e-9)).all()
        assert one.workers.max() <= COARSE.most_workers


def test_an_application_fares_alike_alone_and_beside_another(inputs: Inputs, outcomes: dict[tuple[str, str], Outcome]) -> None:
    alone = run(APPLICATIONS[:1], inputs.carbon, inputs.requests, COARSE)
    for policy in (STATIC, DYNAMIC):
        name = APPLICATIONS[0].name
        assert alone[name, policy].carbon_g == outcomes[name, policy].carbon_g
        assert (alone[name, policy].p95_ms == outcomes[name, policy].p95_ms).all()


def test_the_load_is_in_parts_of_what_the_rate_pays_for(inputs: Inputs) -> None:
    for app in APPLICATIONS:
        workers = COARSE.rate_g_per_h / mean(inputs.carbon) * 1000.0 / COARSE.worker_w
        capacity_per_s = workers * COARSE.worker_cores / (COARSE.service_ms / 1000.0)
        assert mean(inputs.requests[app.name]) == pytest.approx(app.load_ratio * capacity_per_s)


def test_shifted_requests_are_the_same_requests_at_other_times(inputs: Inputs) -> None:
    moved = shifted(inputs, 4, seed=3)
    assert [one.requests for one in moved] == [one.requests for one in shifted(inputs, 4, seed=3)]
    for one in moved:
        assert one.carbon is inputs.carbon
        for name, series in one.requests.items():
            assert sorted(series.values) == sorted(inputs.requests[name].values)
            assert series.start_s == inputs.requests[name].start_s
    assert len({tuple(one.requests["web-1"].values) for one in moved}) == 4


def test_the_year_is_drawn_from_all_its_parts() -> None:
    traces = Traces()
    year = traces.carbon_year()
    stretches = over_a_year(traces, COARSE, 12, seed=0)
    starts = [(one.carbon.start_s - year.start_s) / 86400.0 for one in stretches]
    assert all(math.floor(start / 30.4) in {part - 1, part} for part, start in enumerate(starts))
    for one in stretches:
        first = round((one.carbon.start_s - year.start_s) / 3600.0)
        assert one.carbon.values == year.values[first : first + 48]
        assert all(series.start_s == one.carbon.start_s for series in one.requests.values())


def test_tables_hold_what_was_run(pairs: Pairs) -> None:
    ticks, runs = ticks_table(pairs), table_of([pairs, pairs], ["1", "2"])
    assert {len(values) for values in ticks.columns.values()} == {48}
    assert {len(values) for values in runs.columns.values()} == {4}
    assert runs.columns["carbon_change_percent"][0] == pairs["web-1"].carbon_percent
    assert list(ticks.columns["web-2_dynamic_p95_ms"]) == pairs["web-2"].dynamic.p95_ms.tolist()


@pytest.mark.slow
def test_a_rerun_changes_one_thing(pairs: Pairs) -> None:
    found = reruns(Traces(), COARSE, pairs, lambda _: None)
    assert len(found) == 2 * len({one.changed for one in found})
    for one in found:
        app = next(app for app in APPLICATIONS if one.name.startswith(app.title))
        expected = {"%": pairs[app.name].carbon_percent}.get(one.unit)
        assert expected is None or one.before == expected
        assert math.isfinite(one.after)


def findings(pairs: Pairs) -> Findings:
    runs = table_of([pairs, pairs], ["1", "2"])
    return Findings(numbers=[], claims=[], parameters=[], tables={"ticks": ticks_table(pairs), "shifts": runs, "year": runs})


def test_pictures_are_drawn_from_the_tables_alone(pairs: Pairs) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    drawn = Figure6().draw(findings(pairs)) | Figure7().draw(findings(pairs))
    assert list(drawn) == ["fig6", "fig6-runs", "fig7"]
    for figure, caption in drawn.values():
        assert all(ax.get_ylabel() or ax.get_xlabel() for ax in figure.axes)
        assert caption.endswith(".")
        pyplot.close(figure)


def test_the_picture_of_multi_tenancy_runs_on_modelled_series_too() -> None:
    found = Figure7().run(Context(traces=Traces()))
    assert len(found.claims) == 4
    assert {one.kind for one in found.parameters} == {"paper", "assumed", "fitted"}
    assert all("modelled" in origin for origin in found.origins.values())


@needs_data
def test_on_the_authors_trace_the_dynamic_policy_meets_its_objective_with_less_carbon_and_the_static_one_does_not() -> None:
    traces, setting = Traces(DATA), replace(Setting(), tick_s=720.0)
    for pair in compare(published(traces, setting), setting).values():
        assert not pair.dynamic.late.any()
        assert pair.static.late_h > 2.0
        assert pair.static.hours_h[pair.static.late].min() > 32.0
        assert -30.0 < pair.carbon_percent < -15.0

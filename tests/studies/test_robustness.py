"""The robustness study: its forecasts err as they say, its runs come to what can be computed by hand, its verdicts follow its tables."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.library.intervals import percentile
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import instant_s
from ecovisor.studies import robustness_runs as runs
from ecovisor.studies.findings import Findings
from ecovisor.studies.robustness import Robustness, cv_by_month
from ecovisor.studies.robustness_claims import claims_of, parameters_of
from ecovisor.studies.robustness_forecasts import (
    CALIFORNIA_2022,
    DAY_AHEAD,
    FORECASTS,
    PERFECT,
    ErrorModel,
    fitted,
    lengthened,
    modelled_day_ahead,
    transferred_day_ahead,
)
from ecovisor.studies.robustness_results import Results, break_even_cv, rank_correlation
from ecovisor.studies.robustness_runs import (
    AGNOSTIC,
    ARBITRAGE,
    MONTHS,
    POLICIES,
    SUSPEND_RESUME,
    THRICE,
    TWICE,
    WAITING,
    Experiment,
    Jobs,
    arrivals_s,
    month_starts_s,
    run_battery,
    run_jobs,
)

START_S = instant_s("2022-01-01T00:00Z")
HOURS = 365 * 24


def year(values: np.ndarray) -> Series:
    return Series("carbon", "g/kWh", START_S, 3600.0, array("d", values), Quality.MODELLED, "made up")


def daily(swing: float) -> Series:
    """A year that rises and falls once a day."""
    return year(300.0 * (1.0 + swing * np.sin(2.0 * math.pi * np.arange(HOURS) / 24.0)))


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small runs need no machine code."""
    monkeypatch.setattr(runs, "_compiled", lambda: False)


@given(st.floats(0.3, 1.0), st.floats(0.1, 0.8), st.floats(0.3, 0.95), st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_the_error_model_is_found_again_in_what_it_makes(slope: float, spread: float, memory: float, seed: int) -> None:
    actual = daily(0.5)
    found = fitted(actual, modelled_day_ahead(actual, ErrorModel(slope, spread, memory), f"{seed}/zone"))
    few = math.sqrt((1.0 + memory) / (1.0 - memory) / HOURS)  # what an error that lasts is known to
    assert found.slope == pytest.approx(slope, abs=8.0 * few)
    assert found.spread == pytest.approx(spread, abs=8.0 * few * spread + 0.01)
    assert found.memory == pytest.approx(memory, abs=0.1)


def test_a_transferred_error_is_the_real_one_in_units_of_spread() -> None:
    actual, seen = daily(0.4), daily(0.2)
    told = replace(seen, values=array("d", [value + 10.0 for value in seen.values]), origin="theirs")
    made = transferred_day_ahead(actual, seen, told)
    assert np.asarray(made.values) - np.asarray(actual.values) == pytest.approx(20.0)
    assert made.quality is Quality.FORECAST
    assert "theirs" in made.origin


def test_a_lengthened_year_goes_on_with_its_own_beginning() -> None:
    longer = lengthened(daily(0.3), 48)
    assert len(longer.values) == HOURS + 48
    assert list(longer.values[-48:]) == list(longer.values[:48])


@given(st.integers(1, 30), st.integers(0, 1000))
def test_every_month_has_its_arrivals_spread_over_it(count: int, seed: int) -> None:
    bounds = month_starts_s(2022)
    for k, found in enumerate(arrivals_s(2022, count, seed)):
        assert len(found) == count
        assert bounds[k] + 86400.0 <= found[0]
        assert found[-1] < bounds[k + 1]
        assert (np.diff(found) >= 0.0).all()
        assert (found % 3600.0 == 0.0).all()


@pytest.mark.usefixtures("plain")
def test_a_job_that_waits_emits_what_its_clean_hours_sum_to() -> None:
    trace = lengthened(daily(0.5), 500)
    begin_s = START_S + 40 * 3600.0
    jobs = run_jobs(trace, PerfectForecaster(trace), [np.array([begin_s])], (AGNOSTIC, SUSPEND_RESUME), Experiment(job_h=6.0))
    ahead = np.asarray(trace.values[40:])
    limit = percentile([*ahead[:48]], runs.PERCENT)
    clean = np.flatnonzero(ahead <= limit)[:6]
    assert jobs.carbon_g[AGNOSTIC][0, 0] == pytest.approx(ahead[:6].sum() * runs.FULL_W / 1000.0)
    assert jobs.carbon_g[SUSPEND_RESUME][0, 0] == pytest.approx(ahead[clean].sum() * runs.FULL_W / 1000.0)
    assert jobs.runtime_h[AGNOSTIC][0, 0] == pytest.approx(6.0)
    assert jobs.runtime_h[SUSPEND_RESUME][0, 0] == pytest.approx(clean[-1] + 1.0)


@pytest.mark.usefixtures("plain")
def test_where_nothing_varies_waiting_saves_nothing_and_scaling_and_storing_cost() -> None:
    flat = lengthened(year(np.full(HOURS, 400.0)), 500)
    arrivals = [np.array([START_S + 86400.0])]
    jobs = run_jobs(flat, PerfectForecaster(flat), arrivals, (AGNOSTIC, *WAITING), Experiment())
    plain_g, waits_g, twice_g, thrice_g = (float(jobs.carbon_g[name][0, 0]) for name in (AGNOSTIC, *WAITING))
    assert waits_g == pytest.approx(plain_g)
    assert plain_g < twice_g < thrice_g
    perfect = run_jobs(flat, PerfectForecaster(flat), arrivals, (AGNOSTIC, THRICE), Experiment(scales_perfectly=True))
    assert perfect.carbon_g[THRICE][0, 0] == pytest.approx(float(perfect.carbon_g[AGNOSTIC][0, 0]))
    assert perfect.runtime_h[THRICE][0, 0] == pytest.approx(runs.JOB_H / 3.0, abs=0.01)
    with_g, without_g = run_battery(flat, PerfectForecaster(flat), 2022)
    days = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    assert without_g == pytest.approx(days * 24 * runs.FULL_W * 0.4)
    assert with_g.sum() > without_g.sum()


def made_up(saving: dict[str, float], zones: int = 3) -> Results:
    """Savings in proportion to variation, less what a policy costs; forecasts cost more and more."""
    cv = {f"Z{k}": np.linspace(0.02, 0.1, MONTHS) * (k + 1) for k in range(zones)}
    every = np.array(list(cv.values()))[:, :, np.newaxis]
    saved, delay_h = {}, {}
    for rank, forecast in enumerate(FORECASTS):
        for policy in POLICIES:
            arrivals = 1 if policy == ARBITRAGE else 2
            saved[policy, forecast] = np.repeat(every * (1.0 - 0.02 * rank) - saving[policy], arrivals, axis=2)
            if policy in WAITING:
                delay_h[policy, forecast] = np.full((zones, MONTHS, 2), 10.0 + rank - 2.0 * (policy == TWICE))
    return Results(tuple(cv), saved, delay_h, cv)


def test_claims_follow_the_results_either_way() -> None:
    costs = {SUSPEND_RESUME: 0.0, TWICE: 0.07, THRICE: 0.1, ARBITRAGE: 0.07}
    results = made_up(costs)
    assert all(claim.held for claim in claims_of(results)), [claim.text for claim in claims_of(results) if not claim.held]
    assert break_even_cv(results, TWICE, PERFECT) == pytest.approx(0.07)
    assert break_even_cv(results, SUSPEND_RESUME, PERFECT) == pytest.approx(0.0, abs=1e-12)
    free = claims_of(made_up(dict.fromkeys(POLICIES, 0.0)))
    assert [claim.held for claim in free].count(False) == 2, "scaling and storing cost nothing here"
    poor = replace(results, saved={**results.saved, (SUSPEND_RESUME, DAY_AHEAD): 0.5 * results.saved[SUSPEND_RESUME, PERFECT]})
    assert [claim.text for claim in claims_of(poor) if not claim.held] == [
        "A day-ahead forecast keeps 90 % and more of what a perfect one saves (suspend-resume, Wait&Scale 2×)",
        "The last value alone is the worst forecast for every waiting policy in every zone",
    ]


def test_jobs_that_were_not_done_are_in_no_mean_but_in_the_table() -> None:
    carbon_g = np.full((MONTHS, 2), 8.0)
    carbon_g[3, 1] = np.nan
    waits = Jobs(dict.fromkeys(WAITING, carbon_g), dict.fromkeys(WAITING, carbon_g))
    whole = Jobs({**waits.carbon_g, AGNOSTIC: np.full((MONTHS, 2), 10.0)}, {**waits.runtime_h, AGNOSTIC: np.full((MONTHS, 2), 1.0)})
    battery = np.full(MONTHS, 9.0), np.full(MONTHS, 10.0)
    zone = {forecast: (whole if forecast == PERFECT else waits, battery) for forecast in FORECASTS}
    results = Results.of({"Z": zone}, {"Z": np.full(MONTHS, 0.1)})
    assert results.saved_by_zone(SUSPEND_RESUME, DAY_AHEAD) == pytest.approx([0.2])
    assert results.saved_by_zone(ARBITRAGE, PERFECT) == pytest.approx([0.1])
    columns = results.table().columns
    assert len(columns["zone"]) == MONTHS * len(POLICIES) * len(FORECASTS)
    assert sum(value == 0.5 for value in columns["done_ratio"]) == len(WAITING) * len(FORECASTS)


def test_variation_is_that_of_the_policies_window() -> None:
    assert cv_by_month(lengthened(daily(0.5), 48)) == pytest.approx(0.5 / math.sqrt(2.0), rel=1e-6)
    assert rank_correlation(np.array([1.0, 2.0, 5.0]), np.array([0.1, 0.2, 0.3])) == pytest.approx(1.0)


def test_its_pictures_are_drawn_from_the_tables_alone() -> None:
    pytest.importorskip("matplotlib")
    results = made_up({SUSPEND_RESUME: 0.0, TWICE: 0.07, THRICE: 0.1, ARBITRAGE: 0.07})
    from ecovisor.studies.findings import Table

    zones = Table(columns={"zone": list(results.zones), "cv_48h_ratio": [float(results.cv[zone].mean()) for zone in results.zones]})
    findings = Findings(
        numbers=[],
        claims=claims_of(results),
        parameters=parameters_of(CALIFORNIA_2022, 2, modelled=True),
        tables={"months": results.table(), "zones": zones},
    )
    drawn = Robustness().draw(findings)
    assert list(drawn) == ["robustness", "robustness-forecasts", "robustness-frontier"]
    assert "Wait&Scale 2× 7.0 %" in drawn["robustness-frontier"][1] or "Wait&Scale 2× 7.1 %" in drawn["robustness-frontier"][1]
    assert "suspend-resume costs carbon in 0 of 36 zone-months" in drawn["robustness"][1]
    from matplotlib import pyplot

    pyplot.close("all")

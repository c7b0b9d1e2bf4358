"""Wait&Scale over many arrivals: the simulation against the trace alone, the bound below both, and claims that can fail."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.model.series import Quality, Series
from ecovisor.studies import figure4, wait_and_scale_lengths
from ecovisor.studies.traces import Traces
from ecovisor.studies.wait_and_scale import (
    AGNOSTIC,
    APPLICATIONS,
    FULL_W,
    HOUR_S,
    IDLE_W,
    SEARCH,
    SUSPEND_RESUME,
    TRAINING,
    YEAR_EVERY_S,
    Application,
    Outcomes,
    even_starts_s,
    random_starts_s,
    repeated,
    run_starts,
    scaled,
    threshold_g_per_kwh,
    title_of,
    with_idle_while_waiting,
)
from ecovisor.studies.wait_and_scale_claims import Sets, best_factor, claims_of
from ecovisor.studies.wait_and_scale_lengths import fit, scan
from ecovisor.studies.wait_and_scale_numbers import QUANTITIES, quantity

START_S = 1_577_836_800.0


@pytest.fixture(scope="module")
def year() -> Series:
    return Traces(None).carbon_year()


@pytest.fixture(scope="module")
def few(year: Series) -> np.ndarray:
    return year.start_s + HOUR_S * (3000.0 + np.array([0.0, 61.25, 110.5]))


@pytest.fixture(scope="module")
def ran(year: Series, few: np.ndarray) -> dict[str, Outcomes]:
    return {
        one.name: run_starts(one, job_h, year, few, tick_s=900.0, longest_h=600.0)
        for one, job_h in ((TRAINING, 1.3), (SEARCH, 9.0))
    }


@pytest.mark.parametrize(("application", "job_h"), [(TRAINING, 1.3), (SEARCH, 9.0)])
def test_what_is_simulated_is_what_the_trace_alone_says(
    application: Application, job_h: float, year: Series, few: np.ndarray, ran: dict[str, Outcomes]
) -> None:
    """Run times and carbon of every policy from sums over the trace, which share no code with the engine."""
    outcomes = ran[application.name]
    assert outcomes.unfinished == 0
    for policy, factor in application.factor_of.items():
        alone = scan(application, year, few, np.array([job_h]), factor)
        if policy == AGNOSTIC:
            assert outcomes.runtime_h[policy] == pytest.approx(job_h, rel=1e-9)
            assert outcomes.carbon_g[policy] == pytest.approx(alone.agnostic_g_per_w[:, 0] * application.power_w(1.0), rel=1e-9)
        else:
            assert outcomes.runtime_h[policy] == pytest.approx(alone.runtime_h[:, 0], rel=1e-9)
            assert outcomes.carbon_g[policy] == pytest.approx(alone.g_per_w[:, 0] * application.power_w(factor), rel=1e-9)


@pytest.mark.parametrize(("application", "job_h"), [(TRAINING, 1.3), (SEARCH, 9.0)])
def test_no_policy_emits_less_than_the_clairvoyant_bound(
    application: Application, job_h: float, year: Series, ran: dict[str, Outcomes]
) -> None:
    outcomes = ran[application.name]
    least = figure4._least_g(application, job_h, year, outcomes)
    for policy in application.policies:
        if policy != AGNOSTIC:  # it may be done long before the bound's deadline, but never later
            assert (least[policy] <= outcomes.carbon_g[policy] * (1.0 + 1e-9)).all()
        assert (least[policy] > 0.0).all()


def test_power_while_scaled_is_that_of_idle_and_busy_cores() -> None:
    assert TRAINING.power_w(1.0) == FULL_W
    assert SEARCH.power_w(3.0) == 6 * FULL_W
    assert SEARCH.power_w(4.0) == pytest.approx(6 * FULL_W + 2 * IDLE_W)
    assert SEARCH.speed_up(4.0) == SEARCH.speed_up(3.0) == 3.0
    assert 1.0 < TRAINING.power_w(2.0) / TRAINING.power_w(1.0) < 2.0


def test_thresholds_are_percentiles_of_their_windows(year: Series) -> None:
    start_s = year.start_s + 8770.5 * HOUR_S
    hours = [*year.values[8770:], *year.values[: 49 - 14]]
    assert threshold_g_per_kwh(TRAINING, year, start_s) == pytest.approx(np.percentile(hours, 30))
    assert threshold_g_per_kwh(SEARCH, year, start_s) == pytest.approx(np.percentile(year.values, 33))


def test_idle_servers_draw_while_their_job_waits(year: Series, ran: dict[str, Outcomes], few: np.ndarray) -> None:
    """Hour by hour, against sums over intervals."""
    outcomes = ran[SEARCH.name]
    on = with_idle_while_waiting(SEARCH, outcomes, year)
    threshold = threshold_g_per_kwh(SEARCH, year, 0.0)
    for k in range(len(few)):
        waiting_g, t = 0.0, (few[k] - year.start_s) / HOUR_S
        end = t + outcomes.runtime_h[scaled(3)][k]
        while t < end - 1e-9:
            until = min(math.floor(t) + 1.0, end)
            intensity = year.values[int(t) % len(year.values)]
            waiting_g += 0.0 if intensity <= threshold else 2 * IDLE_W * (until - t) * intensity / 1000.0
            t = until
        assert on.carbon_g[scaled(3)][k] == pytest.approx(outcomes.carbon_g[scaled(3)][k] + waiting_g, rel=1e-9)
    assert on.carbon_g[AGNOSTIC] == pytest.approx(outcomes.carbon_g[AGNOSTIC], rel=1e-9)


def test_a_fit_gives_the_factor_that_it_was_fitted_to(year: Series) -> None:
    starts = even_starts_s(year, 4 * YEAR_EVERY_S)
    for application in APPLICATIONS:
        found = fit(application, year, starts)
        assert found
        assert [one.nearness for one in found] == sorted((one.nearness for one in found), reverse=True)
        factor = scan(application, year, starts, np.array([found[0].job_h])).factor[0]
        assert factor == pytest.approx(application.paper_factor, rel=0.01)


def test_without_such_a_length_the_nearest_is_taken() -> None:
    flat = Series("carbon", "g/kWh", START_S, HOUR_S, array("d", [200.0] * 8784), Quality.MODELLED)
    found = fit(TRAINING, flat, even_starts_s(flat, 100 * HOUR_S))
    assert len(found) == 1
    assert found[0].median_factor == pytest.approx(1.0)


def test_a_job_that_is_never_done_has_no_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait_and_scale_lengths, "_YEARS", 0)
    rare = Series("carbon", "g/kWh", START_S, HOUR_S, array("d", [100.0] + [300.0] * 8783), Quality.MODELLED)
    never = replace(TRAINING, percent=0.0)
    assert np.isnan(scan(never, rare, np.array([START_S]), np.array([2.0])).runtime_h).all()
    outcomes = run_starts(never, 2.0, rare, [START_S], tick_s=HOUR_S, longest_h=20.0)
    assert np.isnan(outcomes.runtime_h[SUSPEND_RESUME]).all()
    assert outcomes.unfinished == 2  # 2× and 3× need a second hour too; 3× does not


def test_a_repeated_year_begins_anew_after_its_end(year: Series) -> None:
    twice = repeated(year, 2)
    assert twice.end_s - twice.start_s == 2 * (year.end_s - year.start_s)
    assert twice.values[8784:] == year.values
    assert "repeated" in twice.origin


@given(st.integers(0, 10_000), st.integers(1, 30))
@settings(max_examples=20)
def test_random_starts_are_drawn_from_the_year_again_and_again_alike(seed: int, count: int) -> None:
    year = Series("carbon", "g/kWh", START_S, HOUR_S, array("d", [1.0] * 8784), Quality.MODELLED)
    starts = random_starts_s(year, count, seed)
    assert len(starts) == count
    assert (starts == random_starts_s(year, count, seed)).all()
    assert year.start_s <= starts[0]
    assert starts[-1] < year.end_s
    assert ((starts - year.start_s) % 300.0 == 0.0).all()
    assert (np.diff(starts) >= 0.0).all()


# -- numbers and claims


def made_up(**changes: tuple[float, float]) -> Outcomes:
    """Outcomes of a search as the paper has them, (carbon, hours) of some policies changed."""
    means = {
        AGNOSTIC: (100.0, 10.0),
        SUSPEND_RESUME: (75.0, 51.0),
        scaled(2): (69.9, 11.1),
        scaled(3): (37.5, 10.5),
        scaled(4): (45.0, 10.5),
    } | {key.replace("_", "-"): value for key, value in changes.items()}
    starts = np.arange(4, dtype=np.float64) * 1e5
    spread = np.array([0.1, 0.4, 1.3, 2.2])
    return Outcomes(
        starts,
        {policy: hours * (np.ones(4) if policy == AGNOSTIC else spread) for policy, (_, hours) in means.items()},
        {policy: np.full(4, grams) for policy, (grams, _) in means.items()},
    )


def test_numbers_are_ratios_of_means() -> None:
    outcomes = made_up()
    found = {(one.measure, one.policy): one.mean(outcomes) for one in QUANTITIES if one.application is SEARCH}
    assert found["carbon", SUSPEND_RESUME] == pytest.approx(25.0)
    assert found["run time", SUSPEND_RESUME] == pytest.approx(5.1)
    assert found["carbon", scaled(3)] == pytest.approx(-50.0)
    one = quantity(SEARCH, "run time", SUSPEND_RESUME)
    assert one.spread(outcomes) == pytest.approx(5.1 * np.std([0.1, 0.4, 1.3, 2.2], ddof=1))
    low, middle, high = one.in_sets_of_ten(outcomes, 0)
    assert low < middle < high
    assert one.bound({}, outcomes) is None


def test_what_is_not_complete_is_left_out_of_both() -> None:
    outcomes = made_up()
    outcomes.runtime_h[SUSPEND_RESUME][0] = np.nan
    one = quantity(SEARCH, "run time", SUSPEND_RESUME)
    assert one.mean(outcomes) == pytest.approx(5.1 * np.mean([0.4, 1.3, 2.2]))
    assert outcomes.unfinished == 1


#: From 2× to 3× nothing gained: training as the paper has it.
TRAINING_AS_IN_THE_PAPER = {"wait_and_scale_2": (75.0, 25.8), "wait_and_scale_3": (86.2, 22.6), "suspend_resume": (75.5, 74.0)}


def verdicts(training: Outcomes, search: Outcomes) -> list[bool]:
    sets = {TRAINING.name: Sets(training, training), SEARCH.name: Sets(search, search)}
    return [claim.held for claim in claims_of(sets)]


def test_all_claims_hold_for_nearly_what_the_paper_published() -> None:
    """Nearly: with 83.4 % off 5.1× Wait&Scale 3× would be done before carbon-agnostic, which the paper says is the fastest."""
    assert all(verdicts(made_up(**TRAINING_AS_IN_THE_PAPER), made_up()))


@pytest.mark.parametrize(
    ("training", "search"),
    [
        ({"carbon_agnostic": (100.0, 99.0)}, {}),
        ({"suspend_resume": (101.0, 74.0)}, {}),
        ({"wait_and_scale_2": (75.0, 75.0)}, {}),
        ({"wait_and_scale_2": (85.0, 25.8)}, {}),
        ({"wait_and_scale_3": (74.0, 22.6)}, {}),
        ({"wait_and_scale_3": (76.0, 5.0)}, {}),
        ({}, {"wait_and_scale_3": (76.0, 10.5)}),
        ({}, {"wait_and_scale_3": (69.0, 12.0)}),
        ({}, {"wait_and_scale_4": (37.0, 10.5)}),
        ({}, {"wait_and_scale_4": (45.0, 7.0)}),
        ({}, {"wait_and_scale_2": (101.0, 11.1)}),
    ],
)
def test_each_claim_can_fail(training: dict[str, tuple[float, float]], search: dict[str, tuple[float, float]]) -> None:
    assert not all(verdicts(made_up(**(TRAINING_AS_IN_THE_PAPER | training)), made_up(**search)))


def test_a_run_time_that_hardly_varies_is_not_volatile() -> None:
    steady = made_up()
    steady.runtime_h[SUSPEND_RESUME][:] = 51.0
    assert not all(verdicts(made_up(**TRAINING_AS_IN_THE_PAPER), steady))


def test_the_best_factor_has_the_least_carbon_times_run_time() -> None:
    assert best_factor(SEARCH, made_up()) == 3.0
    assert best_factor(TRAINING, made_up(wait_and_scale_3=(90.0, 11.0))) == 2.0
    assert title_of(scaled(2.5)) == "Wait&Scale 2.5×"
    assert title_of(AGNOSTIC) == AGNOSTIC

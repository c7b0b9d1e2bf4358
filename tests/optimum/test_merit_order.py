"""Without a battery the least carbon is what the cheapest hours cost."""

from __future__ import annotations

import math
from array import array
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.model.errors import Infeasible, InputError, SeriesError
from ecovisor.model.series import Series
from ecovisor.optimum import BatchOptimum, Bound, NoBound, batch_bound
from ecovisor.presets import ServerParameters
from ecovisor.workloads.batch import table_speed_cores, usl_speed_cores
from ecovisor.workloads.models import BatchJob

HOUR_S = 3600.0
SERVER = ServerParameters(4.0, (1.35, 5.0))
INTENSITIES = [300.0, 120.0, 250.0, 80.0, 400.0, 90.0]


def hourly(values: list[float], name: str = "carbon", unit: str = "g/kWh") -> Series:
    return Series(name, unit, 0.0, HOUR_S, array("d", values))


def job(work_core_h: float, **more: float) -> BatchJob:
    return BatchJob(work_core_h=work_core_h, start_s=0.0, **more)  # type: ignore[arg-type]


def bound(work: BatchJob, *, hours: float = 6.0, **more: object) -> Bound:
    arguments: dict[str, object] = {"cores": 4.0, "server": SERVER, "carbon": hourly(INTENSITIES), "tick_s": 300.0, **more}
    found = batch_bound(work, deadline_s=hours * HOUR_S, **arguments)  # type: ignore[arg-type]
    assert isinstance(found, Bound)
    return found


def test_a_job_that_scales_linearly_costs_the_cheapest_hours() -> None:
    found = bound(job(10.0))
    assert found.carbon_g == pytest.approx(5.0 / 1000.0 * (80.0 + 90.0 + 120.0 / 2.0))
    assert list(found.schedule.power_w) == pytest.approx([0.0, 2.5, 0.0, 5.0, 0.0, 5.0])
    assert list(found.schedule.cores) == pytest.approx([0.0, 2.0, 0.0, 4.0, 0.0, 4.0])


def test_more_cores_take_more_of_the_cleanest_hour() -> None:
    assert bound(job(10.0), max_scale=3.0).carbon_g == pytest.approx(10.0 / 4.0 * 5.0 / 1000.0 * 80.0)


@given(
    st.lists(st.floats(0.0, 900.0), min_size=4, max_size=40),
    st.floats(0.01, 1.0),
    st.integers(0, 3),
)
def test_any_linear_job_costs_its_cheapest_steps(values: list[float], part: float, first: int) -> None:
    window = len(values) - first
    work = part * window * 4.0
    found = BatchOptimum(job(work), cores=4.0, server=SERVER, carbon=hourly(values)).bound(first * HOUR_S, len(values) * HOUR_S)
    assert isinstance(found, Bound)
    left, expected = part * window, 0.0
    for value in sorted(values[first:]):
        hours = min(1.0, left)
        expected += hours * 5.0 / 1000.0 * value
        left -= hours
    assert found.carbon_g == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_start_within_a_step_has_only_the_rest_of_it() -> None:
    found = BatchOptimum(job(4.0), cores=4.0, server=SERVER, carbon=hourly(INTENSITIES), tick_s=300.0)
    half = found.bound(3.5 * HOUR_S, 5.0 * HOUR_S)
    assert isinstance(half, Bound)
    assert half.carbon_g == pytest.approx(5.0 / 1000.0 * (80.0 / 2.0 + 400.0 / 2.0))


@pytest.mark.parametrize(
    "work",
    [
        job(4.0),
        job(4.0, contention=0.15, coherency=0.01),
        job(3.0, speed_table=((1.0, 1.0), (2.0, 1.9), (4.0, 3.2), (8.0, 3.0))),  # type: ignore[arg-type]
        job(2.0, speed_table=((2.0, 0.5), (4.0, 3.0))),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("curve", [(1.35, 5.0), (0.0, 5.0), (2.0, 2.0), (16.1, 19.3, 20.6, 30.0, 47.2)])
def test_no_choice_of_core_counts_by_the_hour_is_cheaper(work: BatchJob, curve: tuple[float, ...]) -> None:
    server = ServerParameters(4.0, curve)
    found = bound(work, server=server, max_scale=1.0, hours=5.0).carbon_g
    counts, loads, best = (0.0, 1.0, 2.0, 4.0), (1.0, 0.5), math.inf
    choices = [(n, u) for n in counts for u in loads if n or u == 1.0]
    for hours in product(choices, repeat=3):
        done = carbon = 0.0
        for (cores, load), value in zip(hours, sorted(INTENSITIES[:5])[:3], strict=True):
            speed = (
                table_speed_cores(
                    cores * load, [c for c, _ in work.speed_table], [s for _, s in work.speed_table], len(work.speed_table)
                )
                if work.speed_table
                else usl_speed_cores(cores * load, work.contention, work.coherency)
            )
            position = load * (len(curve) - 1)
            k = min(int(position), len(curve) - 2)
            power_w = (cores / 4.0) * (curve[k] + (curve[k + 1] - curve[k]) * (position - k)) if cores else 0.0
            done += speed
            carbon += power_w * value / 1000.0
        if done >= work.work_core_h:
            best = min(best, carbon)
    assert best < math.inf
    assert 0.0 < found <= best + 1e-12


def test_the_sun_is_used_first_and_a_tick_late() -> None:
    solar = hourly([5.0, 0.0, 0.0, 0.0, 0.0, 0.0], "solar", "W")
    found = bound(job(8.0), solar=solar, solar_share=0.4, hours=2.0, carbon=hourly([100.0, 200.0]), tick_s=HOUR_S)
    assert list(found.schedule.import_w) == pytest.approx([5.0, 3.0])
    assert found.carbon_g == pytest.approx((5.0 * 100.0 + 3.0 * 200.0) / 1000.0)


def test_a_limit_of_the_grid_spreads_the_work() -> None:
    found = bound(job(8.0), grid_limit_w=2.5)
    assert list(found.schedule.power_w) == pytest.approx([0.0, 2.5, 2.5, 2.5, 0.0, 2.5])


def test_work_that_needs_more_time_than_there_is_is_refused_with_both() -> None:
    with pytest.raises(Infeasible, match=r"needs 12.3 h at full scale \(4 cores\).* has 6 h"):
        bound(job(49.2))


def test_work_that_needs_more_power_than_there_is_is_refused_with_what_is_possible() -> None:
    with pytest.raises(Infeasible, match="at most 12 core-h"):
        bound(job(20.0), grid_limit_w=2.5)


def test_an_unknown_intensity_in_the_window_leaves_no_bound() -> None:
    carbon = hourly([100.0, math.nan, 100.0])
    found = batch_bound(job(1.0), cores=4.0, server=SERVER, carbon=carbon, deadline_s=2 * HOUR_S)
    assert found == NoBound("the carbon intensity is unknown at 1970-01-01T01:00:00Z")
    assert isinstance(batch_bound(job(1.0), cores=4.0, server=SERVER, carbon=carbon, deadline_s=HOUR_S), Bound)


def test_power_that_costs_nothing_emits_nothing() -> None:
    assert bound(job(4.0), server=ServerParameters(4.0, (0.0, 0.0))).carbon_g == 0.0


def test_coarser_steps_never_raise_the_bound() -> None:
    grams = [bound(job(9.0), step_s=hours * HOUR_S).carbon_g for hours in (1 / 12, 1.0, 2.0, 3.0, 6.0)]
    assert grams[0] == pytest.approx(grams[1])
    assert grams[1:] == sorted(grams[1:], reverse=True)
    assert any("steps of 6 h" in told for told in bound(job(9.0), step_s=6 * HOUR_S).relaxations)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"cores": 0.0}, "cores"),
        ({"tick_s": 0.0}, "tick_s"),
        ({"step_s": 450.0}, "multiple of the tick"),
        ({"grid_limit_w": -1.0}, "grid_limit_w"),
        ({"solar": hourly(INTENSITIES, "solar", "W"), "solar_share": 1.5}, "solar_share"),
        ({"hours": 0.0}, "not after the start"),
        ({"carbon": hourly([100.0, -1.0, 100.0, 0.0, 0.0, 0.0])}, "negative"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        bound(job(1.0), **arguments)  # type: ignore[arg-type]


def test_a_trace_that_ends_too_soon_is_refused() -> None:
    with pytest.raises(SeriesError, match="the bound needs"):
        bound(job(1.0), hours=7.0)

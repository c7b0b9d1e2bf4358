"""A parallel job on nothing but sun: figures 10 and 11, and the sun they run on."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace

import pytest

from ecovisor.model.series import Quality, Series
from ecovisor.studies import direct_solar as ds
from ecovisor.studies.direct_solar_caps import Setting, play
from ecovisor.studies.direct_solar_replicas import Setting as ReplicasSetting
from ecovisor.studies.direct_solar_replicas import play as play_replicas
from ecovisor.studies.direct_solar_replicas import steady
from ecovisor.studies.figure10 import Figure10
from ecovisor.studies.figure10_claims import rank_correlation
from ecovisor.studies.figure11 import Figure11
from ecovisor.studies.findings import Findings
from ecovisor.studies.study import Context, Study
from ecovisor.studies.traces import Traces

#: A watt more every minute from midnight on.
RISING = Series("solar", "W", 0.0, 60.0, array("d", map(float, range(1440))), Quality.MODELLED, "modelled: rising")


def test_the_sunlit_hours_follow_each_other_without_nights() -> None:
    light = ds.sunlit(RISING, 0.5, 30, 20.0)
    assert len(light.values) == 1200
    assert light.start_s == (8 * 60 + 30) * 60.0
    assert light.values[0] == 0.5 * 510
    assert light.values[569] == 0.5 * 1079  # the last minute before 18 h
    assert light.values[570] == 0.5 * 480  # and the first of the next day
    assert light.values[600] == light.values[0]


@pytest.mark.parametrize("tick_s", [10.0, 60.0, 300.0])
def test_ticks_of_any_length_have_the_same_sun(tick_s: float) -> None:
    light = ds.sunlit(RISING, 1.0, 0, 10.0, tick_s)
    assert light.step_s == tick_s
    assert math.fsum(light.values) * tick_s == pytest.approx(math.fsum(range(480, 1080)) * 60.0)


def test_nights_count_where_a_clock_is_meant() -> None:
    assert ds.with_nights_h(9.0, 0) == 9.0
    assert ds.with_nights_h(9.0, 120) == 9.0 + 14.0
    assert ds.with_nights_h(25.0, 0) == 25.0 + 2 * 14.0


def test_runs_begin_all_over_the_day() -> None:
    begins = [ds.begin_minute(seed) for seed in range(200)]
    assert 0 <= min(begins) < 60 < 540 < max(begins) < 600
    assert begins == [ds.begin_minute(seed) for seed in range(200)]


def test_rank_correlation_as_printed_in_any_textbook() -> None:
    assert rank_correlation([1, 2, 3], [10.0, 20.0, 30.0]) == 1.0
    assert rank_correlation([1, 2, 3], [30.0, 20.0, 10.0]) == -1.0
    assert rank_correlation([1, 2, 3, 4], [1.0, 2.0, 4.0, 3.0]) == pytest.approx(0.8)


def test_a_series_is_told_with_its_quality_once() -> None:
    assert ds.told(RISING) == "modelled: rising"
    assert ds.told(replace(RISING, quality=Quality.MEASURED, origin="file.csv")) == "measured: file.csv"


def test_without_imbalance_and_stragglers_there_is_nothing_to_balance() -> None:
    even = Setting(imbalance_ratio=0.0, straggler_ratio=0.0, steps=5)
    assert play(even, steady(replace(RISING, values=array("d", [100.0]) * 1440)), 50, 1).improvement_percent == pytest.approx(
        0.0, abs=0.1
    )


def test_under_a_steady_sun_work_and_energy_are_as_worked_out_by_hand() -> None:
    """Equal nodes, no I/O: all of the sun but the idle power does work, in proportion."""
    setting = Setting(imbalance_ratio=0.0, straggler_ratio=0.0, io_s=0.0, steps=5)
    one = play(setting, steady(replace(RISING, values=array("d", [100.0]) * 1440)), 50, 1)
    above_idle_w, full_w = 50.0 / 10 - 1.35, 10.0 - 1.35
    by_hand_s = 60.0 + 5 * 120.0 * full_w / above_idle_w  # the sun of a minute is known a minute later
    for run in (one.static, one.dynamic):
        assert run.runtime_h * 3600.0 == pytest.approx(by_hand_s, rel=1e-6)
        assert run.energy_wh == pytest.approx(50.0 * (by_hand_s - 60.0) / 3600.0, rel=1e-6)
        assert run.efficiency_node_s_per_kj == pytest.approx(1000.0 * above_idle_w / full_w / 5.0, rel=1e-6)


def test_replicas_need_excess() -> None:
    day = steady(replace(RISING, values=array("d", [100.0]) * 1440))
    none, some = (play_replicas(ReplicasSetting(rounds=3), day, level, 1) for level in (100, 200))
    assert none.issued == none.wasted_wh == none.shortened_percent == 0.0
    assert some.issued > 0.0
    assert some.shortened_percent > 0.0


def check(study: Study, findings: Findings) -> None:
    assert findings.claims
    assert all(math.isfinite(one.ours) for one in findings.numbers)
    assert all(math.isfinite(one.before) and math.isfinite(one.after) for one in findings.reruns)
    for table in findings.tables.values():
        assert len({len(column) for column in table.columns.values()}) == 1
    from matplotlib import pyplot

    for figure, caption in study.draw(findings).values():
        assert caption
        figure.canvas.draw()
        pyplot.close(figure)


@pytest.mark.slow
def test_figure_10_as_a_whole_on_modelled_series() -> None:
    pytest.importorskip("matplotlib")
    findings = Figure10().run(Context(traces=Traces(), seeds=2))
    check(Figure10(), findings)


@pytest.mark.slow
def test_figure_11_as_a_whole_on_modelled_series() -> None:
    pytest.importorskip("matplotlib")
    findings = Figure11().run(Context(traces=Traces(), seeds=2))
    check(Figure11(), findings)

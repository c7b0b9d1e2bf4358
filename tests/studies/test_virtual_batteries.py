"""Two applications on one battery: neither sees the other, nobody imports, levels sum; sun and requests are what they are said to be."""

from __future__ import annotations

import math
from array import array
from dataclasses import replace

import numpy as np
import pytest

from ecovisor.model.series import Series
from ecovisor.studies.figure8 import Figure8
from ecovisor.studies.figure9 import Figure9
from ecovisor.studies.study import Context
from ecovisor.studies.traces import Traces
from ecovisor.studies.virtual_batteries import BATTERY, SPARK, WEB, Setting, run
from ecovisor.studies.virtual_batteries_inputs import (
    MEAN_APPS,
    as_apps_come_and_go,
    covering_peak_w,
    from_day,
    poorest_day_h,
    with_peak,
)
from ecovisor.studies.virtual_batteries_starts import (
    SUN_DAYS,
    Inputs,
    by_day_h,
    change_percent,
    elapsed_h,
    inputs,
    outcome,
    play_spark,
    residual_wh,
    starts,
    web_outcome,
)

#: A job that ends on its first day.
SHORT = Setting(work_core_h=80.0, tasks_per_stage=20)


@pytest.fixture(scope="module")
def given() -> Inputs:
    return inputs(Traces(), SHORT)


def sun(*days: float) -> Series:
    """Days of constant power, each a minute's value all day long. [W]"""
    return Series("solar", "W", 0.0, 60.0, array("d", [power_w for power_w in days for _ in range(1440)]))


# -- sun and requests


def test_days_come_in_turn_from_another_first_day() -> None:
    assert from_day(sun(1.0, 2.0, 3.0), 2, 4).values == sun(3.0, 1.0, 2.0, 3.0).values


def test_the_poorest_day_by_itself_feeds_the_fixed_workers_through_the_battery() -> None:
    days = Traces().solar_days(SUN_DAYS, 100.0)
    peak_w = covering_peak_w(days, 20.0, 10.0, 0.5, BATTERY)
    yields_wh = np.array(with_peak(days, peak_w).values).reshape(SUN_DAYS, 1440).sum(axis=1) / 60.0
    assert yields_wh.min() * 0.5 * 0.95 * 0.95 >= 200.0
    assert yields_wh.min() * 0.5 * 0.95 * 0.95 * (peak_w - 10.0) / peak_w < 200.0, "10 W less are too little"
    assert poorest_day_h(days) == pytest.approx(yields_wh.min() / peak_w)


def test_requests_are_in_proportion_to_applications_that_come_and_go() -> None:
    days = 200
    daytime = Series("requests", "1/s", 0.0, 60.0, array("d", [100.0 if 480 <= k < 1080 else 0.0 for k in range(1440)]))
    made = as_apps_come_and_go(daytime, 3, days)
    values = np.array(made.values).reshape(days, 1440)
    assert not values[:, :481].any()
    assert not values[:, 1080:].any()
    settled = values[:, 520:1080] / 100.0
    assert settled.mean() == pytest.approx(1.0, rel=0.05)
    # A Poisson number, averaged over 15 minutes of 90 that one stays.
    assert settled.std() == pytest.approx(1.0 / math.sqrt(MEAN_APPS), rel=0.15)
    assert made.values == as_apps_come_and_go(daytime, 3, days).values
    assert made.values != as_apps_come_and_go(daytime, 4, days).values


def test_starts_have_all_first_days_before_one_comes_again() -> None:
    some = starts(13, 0)
    assert sorted(one.first_day for one in some[:SUN_DAYS]) == list(range(SUN_DAYS))
    assert len({one.seed for one in some}) == 13
    assert some == starts(13, 0)
    assert some[:10] == starts(10, 0)


# -- the experiment


@pytest.mark.parametrize("dynamic", [False, True])
def test_neither_application_changes_what_the_other_gets(given: Inputs, dynamic: bool) -> None:
    start = starts(1, 0)[0]
    solar = from_day(given.sun, start.first_day, 1)
    requests = as_apps_come_and_go(given.daytime, start.seed, 1)
    both = run(SHORT, solar, requests, dynamic=dynamic, days=1, seed=start.seed, least_days=1)
    web_alone = run(SHORT, solar, requests, dynamic=dynamic, days=1, seed=None)
    spark_alone = play_spark(SHORT, given, start, dynamic=dynamic)
    assert elapsed_h(spark_alone) == elapsed_h(both)
    assert spark_alone.spark is not None
    assert both.spark is not None
    assert both.web is not None
    assert web_alone.web is not None
    assert spark_alone.spark.kept == both.spark.kept[: len(spark_alone.spark.kept)]
    assert web_alone.web.kept == both.web.kept
    for name in ("battery_level_wh", "demand_w", "solar_to_battery_w"):
        assert (both.tables.of("flows", app=WEB)[name] == web_alone.tables.of("flows", app=WEB)[name]).all()
    assert (both.tables.of("flows", app=SPARK)["solar_w"] == both.tables.of("flows", app=WEB)["solar_w"]).all()

    assert np.abs(residual_wh(both)).max() < 1e-9
    one = outcome(both, SHORT)
    assert one.import_wh == one.carbon_g == one.unserved_wh == one.lost_by_day_core_h == 0.0
    assert one.web_late_ratio == web_outcome(web_alone, SHORT)["late_ratio"]
    if dynamic:
        assert one.web_worst_ms <= SHORT.slo_ms
        assert one.additional_core_h > 0.0
    else:
        assert (one.web_least_workers, one.web_most_workers, one.additional_core_h) == (4.0, 4.0, 0.0)


def test_fixed_workers_take_as_long_as_their_cores_need(given: Inputs) -> None:
    setting = replace(SHORT, stages=1, tasks_per_stage=160, startup_s=0.0, task_spread_ratio=0.0)
    played = play_spark(setting, given, starts(1, 0)[0], dynamic=False)
    assert elapsed_h(played) == pytest.approx(80.0 / 16.0)
    assert by_day_h(played) == pytest.approx(5.0, abs=0.05)


def test_change_in_percent() -> None:
    assert change_percent(61.0, 100.0) == pytest.approx(-39.0)
    assert math.isnan(change_percent(1.0, 0.0))


# -- the figures


def test_figure_9_is_drawn_from_its_table() -> None:
    study = Figure9()
    findings = study.run(Context(traces=Traces(), seeds=1))
    assert [claim.held for claim in findings.claims] == [True, True]
    assert len({len(column) for column in findings.tables["minutes"].columns.values()}) == 1
    (figure, caption) = study.draw(findings)["fig9"]
    assert len(figure.axes) == 3
    assert all(axes.get_ylabel() for axes in figure.axes)
    assert caption.endswith(".")
    close_all()


@pytest.mark.slow
def test_figure_8_on_modelled_series() -> None:
    study = Figure8()
    findings = study.run(Context(traces=Traces(), seeds=2))
    assert all(claim.held for claim in findings.claims), [claim.text for claim in findings.claims if not claim.held]
    assert {name for name, _ in study.draw(findings).items()} == {"fig8", "fig8-run-times"}
    close_all()


def close_all() -> None:
    from matplotlib import pyplot

    pyplot.close("all")

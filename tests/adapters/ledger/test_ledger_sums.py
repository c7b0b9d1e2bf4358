"""Sums over intervals: exact from ticks, hours and days alike, with gaps as gaps, and unchanged when old ticks are let go of."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.adapters.ledger import made
from tests.adapters.ledger.made import START_S, Made

from ecovisor import wire
from ecovisor.adapters.stores.ledger import Ledger, bundles
from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.checks import check_all
from ecovisor.model.errors import SettingRefused
from ecovisor.model.units import instant_s

FIELDS = {
    "solar_to_load_wh": "solar_to_load_w",
    "battery_to_load_wh": "battery_discharge_w",
    "grid_to_load_wh": "grid_to_load_w",
    "solar_to_battery_wh": "solar_to_battery_w",
    "grid_to_battery_wh": "grid_to_battery_w",
    "received_wh": "received_w",
    "shared_wh": "shared_w",
    "exported_wh": "exported_w",
    "curtailed_wh": "curtailed_w",
    "unserved_wh": "unserved_w",
    "overdraw_wh": "overdraw_w",
}
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns")


def near(found: float | None, expected: float, size: float | None = None) -> bool:
    assert found is not None
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9 * (size if size is not None else 0.0))


@contextmanager
def a_ledger(ticks: list[Made], timezone: str = "UTC", *, rows_at_once: int = bundles.ROWS_AT_ONCE) -> Iterator[Ledger]:
    """A ledger with these ticks; bundles of at most so many rows."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bundles, "ROWS_AT_ONCE", rows_at_once)
        with _a_ledger(ticks, timezone) as ledger:
            yield ledger


@contextmanager
def _a_ledger(ticks: list[Made], timezone: str) -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory(dir=made.MEMORY) as folder, Ledger.open(Path(folder), timezone=timezone) as ledger:
        made.fill(ledger, ticks)
        yield ledger


@st.composite
def histories(draw: st.DrawFn) -> list[Made]:
    """Some hours of ticks: late ones, gaps with a row and without, unknown carbon and prices, apps that come and go."""
    rnd = random.Random(draw(st.integers(0, 10_000)))
    nominal_s = draw(st.sampled_from([300.0, 600.0, 1000.0, 1800.0]))
    at_s = START_S + draw(st.sampled_from([0.0, 37.5, 80_000.0]))
    found: list[Made] = []
    number = 0
    for _ in range(draw(st.integers(1, 60))):
        kind = rnd.random()
        if kind < 0.05:
            dt_s = rnd.uniform(10.0, 20_000.0)
            found.append(Made(None, at_s, dt_s, [made.row(rnd, "_site", dt_s, known=False, containers=())]))
        elif kind < 0.08:
            at_s += rnd.uniform(5.0, 9000.0)
            continue
        else:
            dt_s = nominal_s if kind < 0.9 else nominal_s * rnd.uniform(1.0, 2.5)
            apps = [app for app in ("a", "b", "c") if rnd.random() < 0.9]
            rows = [made.row(rnd, app, dt_s, known=rnd.random() < 0.85) for app in (*apps, "_site")]
            found.append(Made(number, at_s, dt_s, rows, price=rnd.choice([0.3, None, -0.05])))
            number += 1
        at_s += dt_s
    return found


@st.composite
def bounds(draw: st.DrawFn, ticks: list[Made]) -> tuple[float, float]:
    first_s = ticks[0].start_s if ticks else START_S
    last_s = ticks[-1].end_s if ticks else START_S
    edges = [tick.start_s for tick in ticks]
    instant = st.one_of(
        st.floats(first_s - 4000.0, last_s + 4000.0),
        st.sampled_from(edges or [START_S]),
        st.sampled_from([START_S + 3600.0 * k for k in range(30)]),
    )
    start_s, end_s = sorted((draw(instant), draw(instant)))
    return start_s, end_s if end_s - start_s > 1.0 else start_s + 1.0


def within(ticks: list[Made], start_s: float, end_s: float) -> list[Made]:
    """Ticks that overlap an interval."""
    return [tick for tick in ticks if tick.tick is not None and tick.end_s > start_s + 1e-5 and tick.start_s < end_s - 1e-5]


def cut_gaps(ticks: list[Made], start_s: float, end_s: float) -> list[Made]:
    """Gaps with a row, as short as the interval leaves them."""
    found = []
    for gap in ticks:
        overlap_s = min(gap.end_s, end_s) - max(gap.start_s, start_s)
        if gap.tick is None and overlap_s > 0.0:
            rows = [made.Row(row.app, {**row.values, "dt_s": overlap_s}, row.quality) for row in gap.rows]
            found.append(Made(None, max(gap.start_s, start_s), overlap_s, rows))
    return found


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), histories(), st.sampled_from(ZONES))
def test_usage_is_the_sum_over_the_rows_of_every_tick_that_overlaps(data: st.DataObject, ticks: list[Made], zone: str) -> None:
    compare_with_rows(data, ticks, zone)


@pytest.mark.slow
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), histories(), st.sampled_from(ZONES))
def test_usage_is_the_sum_over_the_rows_in_many_histories(data: st.DataObject, ticks: list[Made], zone: str) -> None:
    compare_with_rows(data, ticks, zone)


def compare_with_rows(data: st.DataObject, ticks: list[Made], zone: str) -> None:
    rows_at_once = data.draw(st.sampled_from([bundles.ROWS_AT_ONCE, 60, 30]))  # all of an hour, some ticks, now and then none
    with a_ledger(ticks, zone, rows_at_once=rows_at_once) as ledger:
        for _ in range(4):
            start_s, end_s = data.draw(bounds(ticks))
            inside = within(ticks, start_s, end_s)
            true_start_s = min([start_s, *(tick.start_s for tick in inside)])
            true_end_s = max([end_s, *(tick.end_s for tick in inside)])
            booked = cut_gaps(ticks, true_start_s, true_end_s)
            together = ledger.usage_of_all(start_s, end_s)
            for app in ("a", "b", "c", "_site", "nobody"):
                found = ledger.usage(app, start_s, end_s)
                check(found, app, inside, booked, true_start_s, true_end_s)
                assert found == together.get(app, found)


def check(found: wire.Usage, app: str, inside: list[Made], booked: list[Made], start_s: float, end_s: float) -> None:
    rows = [(tick, row) for tick in inside for row in tick.rows if row.app == app]
    energies = found.energies
    assert energies is not None
    for name, column in FIELDS.items():
        assert near(getattr(energies, name), made.energy_wh([*inside, *booked], app, column)), name
    assert near(found.load_wh, energies.solar_to_load_wh + energies.battery_to_load_wh + energies.grid_to_load_wh)
    assert near(found.carbon_g, made.amount(inside, app, "carbon_g"))
    imported = [
        (one, (one.values["grid_to_load_w"] + one.values["grid_to_battery_w"]) * one.values["dt_s"] / 3600.0, tick)
        for tick in (*inside, *booked)
        for one in tick.rows
        if one.app == app
    ]
    assert near(found.unknown_carbon_wh, math.fsum(wh for one, wh, _ in imported if math.isnan(one.values["carbon_g"])))
    priced = [(wh, tick.price) for _, wh, tick in imported if tick.price is not None]
    paid = [wh / 1000.0 * price for wh, price in priced]
    assert (found.cost is None) == (not priced)
    assert not priced or near(found.cost, math.fsum(paid), math.fsum(map(abs, paid)))
    metered_s = math.fsum(tick.dt_s for tick, _ in rows)
    assert near(found.coverage_ratio, min(1.0, metered_s / (end_s - start_s)))
    assert instant_s(found.start) == pytest.approx(start_s, abs=1e-4)
    assert instant_s(found.end) == pytest.approx(end_s, abs=1e-4)
    for quality in made.QUALITIES:
        share = math.fsum(tick.dt_s for tick, row in rows if row.quality == quality) / metered_s if rows else 0.0
        assert near(found.qualities.get(quality, 0.0), share)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), histories())
def test_containers_and_the_battery_sum_to_their_app(data: st.DataObject, ticks: list[Made]) -> None:
    with a_ledger(ticks) as ledger:
        start_s, end_s = data.draw(bounds(ticks))
        for app in ("a", "_site"):
            whole = ledger.usage(app, start_s, end_s)
            gap_wh = made.energy_wh(cut_gaps(ticks, instant_s(whole.start), instant_s(whole.end)), app, "grid_to_load_w")
            gap_wh += made.energy_wh(cut_gaps(ticks, instant_s(whole.start), instant_s(whole.end)), app, "grid_to_battery_w")
            parts = [ledger.usage(app, start_s, end_s, name) for name in ("c1", "_battery")]
            assert all(part.energies is None and part.carbon_on_use_g is None and part.container for part in parts)
            assert math.isclose(parts[0].carbon_g + parts[1].carbon_g, whole.carbon_g, rel_tol=1e-7, abs_tol=1e-6)
            unknown_wh = parts[0].unknown_carbon_wh + parts[1].unknown_carbon_wh
            assert math.isclose(unknown_wh, whole.unknown_carbon_wh - gap_wh, rel_tol=1e-6, abs_tol=1e-3)
            assert parts[0].load_wh == pytest.approx(made_container_wh(ticks, app, "c1", start_s, end_s), rel=1e-9)


def made_container_wh(ticks: list[Made], app: str, container: str, start_s: float, end_s: float) -> float:
    inside = within(ticks, start_s, end_s)
    rows = [(tick.dt_s, row.containers[container]["power_w"]) for tick in inside for row in tick.rows if row.app == app]
    return math.fsum(dt_s * power_w for dt_s, power_w in rows) / 3600.0


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), histories())
def test_intervals_side_by_side_add_up(data: st.DataObject, ticks: list[Made]) -> None:
    """Report by hour, by anything: the parts are the whole, for every app, the gaps' energy included."""
    with a_ledger(ticks) as ledger:
        start_s, end_s = data.draw(bounds(ticks))
        inner = sorted(data.draw(st.lists(st.floats(start_s, end_s), max_size=6)))
        (whole,) = ledger.sums([start_s, end_s])
        parts = ledger.sums([start_s, *inner, end_s])
        for app, totals in whole.apps.items():
            for name in ("grid_to_load_wh", "carbon_on_use_g", "unknown_carbon_wh", "metered_s"):
                summed = math.fsum(part.apps[app][name] for part in parts if app in part.apps)
                assert near(summed, totals[name], 1.0), name


def test_a_ledger_that_is_opened_again_goes_on_with_the_hour(tmp_path: Path) -> None:
    ticks = made.ticks(200, dt_s=60.0)
    at_once = made.stored(tmp_path / "once", ticks)
    for k in range(0, len(ticks), 25):
        made.stored(tmp_path / "often", ticks[k : k + 25])
    with Ledger.open(at_once, read_only=True) as one, Ledger.open(tmp_path / "often", read_only=True) as other:
        for app in ("a", "b", "_site"):
            expected, found = (ledger.usage(app, START_S, START_S + 10_800.0) for ledger in (one, other))
            for name in FIELDS:
                assert near(getattr(found.energies, name), getattr(expected.energies, name))
            assert near(found.carbon_g, expected.carbon_g)
            assert found.qualities == pytest.approx(expected.qualities)


# -- retention


def days_of(zone: str, days: int, *, dt_s: float = 1800.0) -> list[Made]:
    calendar = Calendar(zone)
    return made.ticks(int(days * 86_400 / dt_s), dt_s=dt_s, start_s=float(calendar.day_s(START_S)))


def answers(ledger: Ledger, edges: list[float]) -> list[object]:
    return [
        (ledger.usage(app, start_s, end_s, container), ledger.sums([start_s, end_s], app))
        for start_s, end_s in pairwise(edges)
        for app in ("a", "_site")
        for container in (None, "c1")
    ] + [ledger.usage_of_all(edges[0], edges[-1]), ledger.sums(edges)]


@pytest.mark.parametrize(("zone", "rows_at_once"), [("Europe/Berlin", bundles.ROWS_AT_ONCE), ("Asia/Kolkata", 30)])
def test_letting_go_of_ticks_leaves_the_sums_of_hours_to_the_last_bit(zone: str, rows_at_once: int) -> None:
    ticks = days_of(zone, 3)
    with a_ledger(ticks, zone, rows_at_once=rows_at_once) as ledger:
        hours = ledger_hours(ticks, zone)
        before = answers(ledger, hours), answers(ledger, [hours[3], hours[30], hours[-20]])
        pruned = ledger.prune(ticks_before_s=ticks[-1].end_s - 86_400.0)
        assert pruned.ticks > 60
        assert pruned.hours == 0
        assert (answers(ledger, hours), answers(ledger, [hours[3], hours[30], hours[-20]])) == before
        assert len(list(ledger.blocks("flows"))) == len(ticks) - pruned.ticks


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kolkata"])
def test_letting_go_of_hours_leaves_the_sums_of_days_to_the_last_bit(zone: str) -> None:
    ticks = days_of(zone, 5, dt_s=3600.0)
    with a_ledger(ticks, zone) as ledger:
        days = Calendar(zone).days(ticks[0].start_s, ticks[-1].end_s)
        before = answers(ledger, days)
        pruned = ledger.prune(ticks_before_s=ticks[-1].end_s - 86_400.0, hours_before_s=ticks[-1].end_s - 2 * 86_400.0)
        assert pruned.hours == 24 * 3
        assert answers(ledger, days) == before


def test_hours_stay_as_long_as_their_ticks_do() -> None:
    ticks = days_of("UTC", 3, dt_s=3600.0)
    with a_ledger(ticks) as ledger:
        before = answers(ledger, ledger_hours(ticks, "UTC"))
        assert ledger.prune(ticks_before_s=START_S, hours_before_s=START_S + 2 * 86_400.0).hours == 0
        assert answers(ledger, ledger_hours(ticks, "UTC")) == before


def ledger_hours(ticks: list[Made], zone: str) -> list[float]:
    return Calendar(zone).hours(ticks[0].start_s, ticks[-1].end_s)


def test_where_only_hours_are_left_an_interval_snaps_outward_to_them() -> None:
    ticks = days_of("UTC", 3, dt_s=600.0)
    with a_ledger(ticks) as ledger:
        ledger.prune(ticks_before_s=ticks[-1].end_s - 86_400.0)
        found = ledger.usage("a", START_S + 600.0, START_S + 3600.0 + 1200.0)
        assert (found.start, found.end) == ("2021-03-01T00:00:00Z", "2021-03-01T02:00:00Z")
        assert found.coverage_ratio == 1.0
        assert found.energies is not None
        expected = made.energy_wh(within(ticks, START_S, START_S + 7200.0), "a", "solar_to_load_w")
        assert near(found.energies.solar_to_load_wh, expected)
        ledger.prune(ticks_before_s=ticks[-1].end_s - 86_400.0, hours_before_s=ticks[-1].end_s - 86_400.0)
        found = ledger.usage("a", START_S + 600.0, START_S + 3600.0)
        assert (found.start, found.end) == ("2021-03-01T00:00:00Z", "2021-03-02T00:00:00Z")


def test_what_a_crash_left_of_marked_ticks_is_not_counted_and_goes_the_next_time() -> None:
    ticks = days_of("UTC", 2, dt_s=600.0)
    with a_ledger(ticks) as ledger:
        before = ledger.usage("a", START_S, START_S + 86_400.0)
        with ledger._writing().change() as db:  # the transaction that marks, and nothing after it
            db.execute("UPDATE hours SET raw = 0 WHERE end_s <= ?", (START_S + 40_000.0,))
        assert ledger.usage("a", START_S, START_S + 86_400.0) == before
        assert ledger.prune(ticks_before_s=START_S).ticks == 6 * 11
        assert ledger.usage("a", START_S, START_S + 86_400.0) == before


@pytest.mark.parametrize("rows_at_once", [bundles.ROWS_AT_ONCE, 60, 1])
def test_moving_rows_changes_nothing(rows_at_once: int) -> None:
    rnd = random.Random(8)
    first = made.ticks(50, dt_s=300.0)
    gap = Made(None, first[-1].end_s, 500.0, [made.row(rnd, "_site", 500.0, containers=())])
    rest = made.ticks(60, dt_s=300.0, start_s=gap.end_s, first=50, seed=2)
    with a_ledger([*first, gap, *rest], rows_at_once=rows_at_once) as ledger:
        moved = ledger._writing()._db.execute("SELECT COUNT(*) FROM kept_flows").fetchone()[0]
        assert (moved > 200) == (rows_at_once > 1)
        blocks = list(ledger.blocks("flows"))
        assert [block.times_s[0] for block in blocks] == [tick.start_s for tick in (*first, gap, *rest)]
        for block, tick in zip(blocks, (*first, gap, *rest), strict=True):
            assert list(block.keys["app"]) == [row.app for row in tick.rows]
            for column in made.POWERS:
                assert list(block.columns[column]) == [row.values[column] for row in tick.rows]
        booked = ledger.usage("_site", gap.start_s, gap.end_s).energies
        assert booked is not None
        assert near(booked.grid_to_load_wh, made.energy_wh([gap], "_site", "grid_to_load_w"))
        with ledger._readers.reading() as db:
            check_all(db, ledger.path)


def test_gaps_and_their_energy_outlive_the_ticks() -> None:
    rnd = random.Random(3)
    first = made.ticks(30, dt_s=600.0)
    gap = Made(None, first[-1].end_s, 30_000.0, [made.row(rnd, "_site", 30_000.0, known=False, containers=())])
    rest = made.ticks(200, dt_s=1200.0, start_s=gap.end_s, first=30)
    with a_ledger([*first, gap, *rest]) as ledger:
        span = (START_S, START_S + 3 * 86_400.0)
        before = ledger.usage("_site", *span)
        assert [(g.start, g.end) for g in before.gaps] == [("2021-03-01T05:00:00Z", "2021-03-01T13:20:00Z")]
        assert before.coverage_ratio == pytest.approx(1.0 - 30_000.0 / (3 * 86_400.0))
        assert before.unknown_carbon_wh > 0.0
        ledger.prune(ticks_before_s=START_S + 2 * 86_400.0)
        assert ledger.usage("_site", *span) == before
        assert len(ledger.gaps(*span)) == 1


# -- absence


def test_an_app_that_nobody_knows_has_used_nothing_with_no_coverage() -> None:
    with a_ledger(made.ticks(3)) as ledger:
        found = ledger.usage("nobody", START_S, START_S + 180.0)
        assert (found.load_wh, found.carbon_g, found.coverage_ratio, found.cost, found.qualities) == (0.0, 0.0, 0.0, None, {})


def test_an_empty_ledger_answers() -> None:
    with a_ledger([]) as ledger:
        assert ledger.usage_of_all(START_S, START_S + 1.0) == {}
        assert ledger.usage("a", START_S, START_S + 1.0).coverage_ratio == 0.0
        assert ledger.extent() is None
        assert ledger.last() is None
        assert ledger.apps() == []


@pytest.mark.parametrize("minutes", [5, 60])
def test_unknown_carbon_is_no_carbon_and_not_clean(minutes: int) -> None:
    """From the rows of five ticks, and from the sums of a closed hour."""
    rnd = random.Random(6)
    names = ("c1", "c2", "_battery")
    ticks = [
        Made(k, START_S + 60.0 * k, 60.0, [made.row(rnd, app, 60.0, known=False, containers=names) for app in ("a", "_site")])
        for k in range(70)
    ]
    inside = ticks[:minutes]
    parts = dict.fromkeys(names, 0.0)
    for tick in inside:
        values = tick.rows[0].values
        served_w = values["demand_w"] - values["unserved_w"]
        parts["_battery"] += values["grid_to_battery_w"] / 60.0
        for name in ("c1", "c2"):
            share = tick.rows[0].containers[name]["power_w"] / served_w if served_w > 0.0 else 0.0
            parts[name] += share * values["grid_to_load_w"] / 60.0
    with a_ledger(ticks) as ledger:
        found = {name: ledger.usage("a", START_S, START_S + minutes * 60.0, name) for name in (None, *names)}
        assert {one.carbon_g for one in found.values()} == {0.0}
        assert near(found[None].unknown_carbon_wh, math.fsum(parts.values()))
        for name, energy_wh in parts.items():
            assert energy_wh > 0.0
            assert near(found[name].unknown_carbon_wh, energy_wh)


@pytest.mark.parametrize("span", [(5.0, 5.0), (5.0, 4.0), (math.nan, 4.0), (0.0, math.inf), (-1e300, 0.0)])
def test_what_is_no_interval_is_refused(span: tuple[float, float]) -> None:
    with a_ledger(made.ticks(2)) as ledger:
        asks: list[Callable[[], object]] = [
            lambda: ledger.usage("a", *span),
            lambda: ledger.usage_of_all(*span),
            lambda: ledger.history("a", "demand_w", *span),
            lambda: ledger.ticks(*span),
            lambda: ledger.sums(span),
        ]
        for ask in asks:
            with pytest.raises(SettingRefused, match="interval"):
                ask()

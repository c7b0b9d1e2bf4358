"""Signals of a running site: what holds now, known ahead in windows; stale with an age where a source ends, then missing, never zero."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from array import array
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecovisor.adapters.clocks import ManualClock, RealClock
from ecovisor.adapters.devices.emulated import SolarTrace
from ecovisor.adapters.signals import LoadedSeries, load_series
from ecovisor.adapters.signals.live import HORIZON_S, LiveSignal, Loader, plant_series
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.model.errors import SeriesError, SettingsError
from ecovisor.model.series import Quality, Series
from ecovisor.settings import Signal

#: Examples may take their time: the machine has others to serve.
untimed = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

DAY = 86400.0
NOW = datetime(2026, 6, 17, 10, 30, tzinfo=UTC).timestamp()
CONSTANT = Signal(kind="constant", value=250.0)


def live(
    clock: ManualClock | RealClock,
    signal: Signal = CONSTANT,
    *,
    name: str = "carbon",
    folder: Path = Path(),
    max_age_s: float = 3600.0,
    patience_s: float = math.inf,
    load: Loader = load_series,
    tick_s: float = 60.0,
) -> LiveSignal:
    return LiveSignal(
        name, signal, folder=folder, clock=clock, tick_s=tick_s, seed=3, max_age_s=max_age_s, patience_s=patience_s, load=load
    )


def with_signal(signal: LiveSignal, body: Callable[[], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        await signal.open()
        try:
            await body()
        finally:
            await signal.close()

    asyncio.run(main())


@dataclass
class Source:
    """A stand-in for `load_series`: values are the hour of the trace, up to an end; asked windows are kept."""

    end_s: float = math.inf
    gap: tuple[float, float] = (0.0, 0.0)
    fails: str = ""
    asked: list[tuple[float, float]] = field(default_factory=list)

    def __call__(
        self, name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int
    ) -> LoadedSeries:
        self.asked.append((start_s, end_s))
        if self.fails:
            raise SeriesError("signals.carbon", self.fails, "repair it")
        if end_s > self.end_s:
            raise SeriesError("signals.carbon", "the trace ends", "give a longer one")
        first_s = math.floor(start_s / 3600.0) * 3600.0
        count = math.ceil((end_s - first_s) / 3600.0)
        values = array("d", [value_at(first_s + k * 3600.0, self.gap) for k in range(count)])
        series = Series(name, "g/kWh", first_s, 3600.0, values, Quality.MEASURED, "made up")
        return LoadedSeries(series, PerfectForecaster(series))


def value_at(site_s: float, gap: tuple[float, float] = (0.0, 0.0)) -> float:
    hour = math.floor(site_s / 3600.0)
    return math.nan if gap[0] <= hour * 3600.0 < gap[1] else 100.0 + hour % 1000


# -- what holds


@untimed
@given(st.lists(st.floats(0.0, 4.0 * DAY), min_size=1, max_size=12))
def test_the_value_is_that_of_the_step_that_holds_however_time_passes(steps: list[float]) -> None:
    clock, source = ManualClock(NOW), Source()
    signal = live(clock, load=source)

    async def body() -> None:
        for step_s in steps:
            clock.advance_by(step_s)
            now_s = clock.site_s()
            reading = await signal.at(now_s)
            assert (reading.value, reading.quality, reading.age_s) == (value_at(now_s), Quality.MEASURED, 0.0)
            assert signal.failure is None
            expected = signal.forecast(now_s, HORIZON_S)
            assert expected.start_s <= now_s
            assert expected.end_s >= now_s + HORIZON_S
            assert list(expected.values) == [value_at(expected.start_s + k * 3600.0) for k in range(len(expected.values))]

    with_signal(signal, body)


def test_a_window_is_loaded_well_before_the_last_one_ends_and_not_at_every_question() -> None:
    clock, source = ManualClock(NOW), Source()
    signal = live(clock, load=source)

    async def body() -> None:
        for _ in range(30 * 24 * 4):
            clock.advance_by(900.0)
            await signal.at(clock.site_s())
        assert 6 <= len(source.asked) <= 10, "a week at a time, in a month"
        for (_, end_s), (next_start_s, _) in pairwise(source.asked):
            assert next_start_s + DAY <= end_s - HORIZON_S

    with_signal(signal, body)


@pytest.mark.parametrize(
    ("name", "signal"),
    [
        ("carbon", CONSTANT),
        ("price", Signal(kind="constant", value=-0.1)),
        ("carbon", Signal(kind="modelled-carbon", zone="DE")),
        ("carbon", Signal(kind="modelled-carbon", zone="DE", step="5min")),
        ("solar", Signal(kind="pvlib", peak_w=200.0)),
        ("solar", Signal(kind="pvlib", peak_w=200.0, latitude=50.0, longitude=8.0, weather="clear-sky", step="15min")),
    ],
    ids=["constant", "price", "carbon", "carbon-5min", "solar", "clear-sky"],
)
@pytest.mark.parametrize("tick_s", [1.0, 60.0, 900.0])
def test_it_is_what_a_simulation_would_have_had(name: str, signal: Signal, tick_s: float) -> None:
    start_s = math.floor(NOW / 3600.0) * 3600.0
    days = 12
    end_s, grain_s = start_s + days * DAY, max(tick_s, 300.0)
    whole = load_series(name, signal, folder=Path(), start_s=start_s, end_s=end_s, tick_s=grain_s, seed=3).series
    clock = ManualClock(start_s)
    ours = live(clock, signal, name=name, tick_s=tick_s)

    async def body() -> None:
        for hour in range(0, days * 24, 5):
            clock.advance(start_s + hour * 3600.0)
            reading = await ours.at(clock.site_s())
            held = whole.values[math.floor((clock.site_s() - whole.start_s) / whole.step_s)]
            assert reading.value == pytest.approx(held, rel=1e-9, abs=1e-9)
            assert reading.quality is Quality.MODELLED
            assert ours.forecast(clock.site_s(), HORIZON_S).end_s >= clock.site_s() + HORIZON_S

    with_signal(ours, body)


# -- files


def write_year(path: Path, year: int, *, hours: int, first: datetime | None = None) -> None:
    """Hourly values that name their hour of the year."""
    start = first or datetime(year, 1, 1, tzinfo=UTC)
    rows = (f"{(start + timedelta(hours=k)).isoformat()},{k % 8784}" for k in range(hours))
    path.write_text("\n".join(["time,carbon_g_per_kwh", *rows]) + "\n")


def hour_of_year(now_s: float) -> int:
    when = datetime.fromtimestamp(now_s, UTC)
    return int((when - datetime(when.year, 1, 1, tzinfo=UTC)).total_seconds() // 3600)


@pytest.mark.parametrize("year", [2026, 2037, 2019])
def test_a_years_trace_moved_onto_the_present_year_goes_on_into_the_next(tmp_path: Path, year: int) -> None:
    write_year(tmp_path / "ci.csv", 2015, hours=8760)
    clock = ManualClock(datetime(year, 12, 20, 0, 15, tzinfo=UTC).timestamp())
    signal = live(clock, Signal(kind="file", file="ci.csv", align="year", repeat=True), folder=tmp_path)

    async def body() -> None:
        for _ in range(25 * 4):
            reading = await signal.at(clock.site_s())
            assert reading.value == hour_of_year(clock.site_s())
            assert signal.forecast(clock.site_s(), HORIZON_S).end_s >= clock.site_s() + HORIZON_S
            clock.advance_by(6.0 * 3600.0)

    with_signal(signal, body)


def test_without_repeat_a_years_trace_still_takes_the_new_year_when_it_comes(tmp_path: Path) -> None:
    write_year(tmp_path / "ci.csv", 2015, hours=8760)
    clock = ManualClock(datetime(2026, 12, 28, tzinfo=UTC).timestamp(), compression=3600.0)
    signal = live(clock, Signal(kind="file", file="ci.csv", align="year"), folder=tmp_path)

    async def body() -> None:
        for _ in range(8 * 24):
            reading = await signal.at(clock.site_s())
            assert (reading.value, reading.quality) == (hour_of_year(clock.site_s()), Quality.MEASURED)
            clock.advance_by(3600.0)

    with_signal(signal, body)


def test_a_short_trace_repeats_years_after_its_own_time(tmp_path: Path) -> None:
    write_year(tmp_path / "ci.csv", 2015, hours=72)
    clock = ManualClock(NOW)
    signal = live(clock, Signal(kind="file", file="ci.csv", repeat=True), folder=tmp_path)
    start_s = datetime(2015, 1, 1, tzinfo=UTC).timestamp()

    async def body() -> None:
        for _ in range(60):
            assert (await signal.at(clock.site_s())).value == (clock.site_s() - start_s) // 3600.0 % 72
            clock.advance_by(5.0 * 3600.0)

    with_signal(signal, body)


def test_a_trace_of_the_past_is_refused_at_the_start_with_a_remedy(tmp_path: Path) -> None:
    write_year(tmp_path / "ci.csv", 2015, hours=8760)
    signal = live(ManualClock(NOW), Signal(kind="file", file="ci.csv"), folder=tmp_path)
    with pytest.raises(SeriesError, match=r'covers 2015-01-01.*align = "year"'):
        asyncio.run(signal.open())


def test_wrong_settings_are_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"signals\.carbon\.value"):
        asyncio.run(live(ManualClock(NOW), Signal(kind="constant")).open())


def test_a_file_that_grows_is_read_again_when_it_has_ended(tmp_path: Path) -> None:
    first = datetime(2026, 6, 17, tzinfo=UTC)
    write_year(tmp_path / "ci.csv", 2026, hours=12, first=first)
    clock = ManualClock(NOW)
    signal = live(clock, Signal(kind="file", file="ci.csv"), folder=tmp_path)

    async def body() -> None:
        assert (await signal.at(clock.site_s())).value == 10.0
        clock.advance(first.timestamp() + 12.5 * 3600.0)
        reading = await signal.at(clock.site_s())
        assert (reading.value, reading.quality, reading.age_s) == (11.0, Quality.STALE, 1800.0)
        assert "covers" in (signal.failure or "")
        write_year(tmp_path / "ci.csv", 2026, hours=14, first=first)
        clock.advance_by(1200.0)
        reading = await signal.at(clock.site_s())
        assert (reading.value, reading.quality) == (12.0, Quality.MEASURED)
        assert signal.failure is None

    with_signal(signal, body)


# -- where a source ends or fails


@pytest.mark.parametrize("compression", [1.0, 60.0])
def test_where_it_ends_the_last_value_is_stale_and_then_missing_and_never_zero(compression: float) -> None:
    clock = ManualClock(NOW, compression)
    end_s = math.floor(NOW / 3600.0 + 30.0) * 3600.0
    signal = live(clock, load=Source(end_s=end_s), max_age_s=600.0)

    async def body() -> None:
        assert NOW + 15.0 * 3600.0 < signal.forecast(NOW, HORIZON_S).end_s <= end_s, "about as far as it goes"
        while clock.site_s() < end_s - 60.0:
            clock.advance(min(clock.site_s() + 600.0, end_s - 60.0))
            assert (await signal.at(clock.site_s())).quality is Quality.MEASURED
        for age_s, known in ((0.0, True), (1.0, True), (599.0, True), (601.0, False), (1e6, False)):
            clock.advance(end_s + age_s * compression)
            reading = await signal.at(clock.site_s())
            assert reading.quality is Quality.STALE
            assert reading.age_s == pytest.approx(age_s)
            assert reading.value == (value_at(end_s - 1.0) if known else pytest.approx(math.nan, nan_ok=True))
            assert signal.failure == "signals.carbon: the trace ends; give a longer one"
            assert "no more: signals.carbon: the trace ends" in signal.describe()
        assert len(signal.forecast(clock.site_s(), HORIZON_S).values) == 0

    with_signal(signal, body)


def test_a_gap_is_stale_and_then_missing_and_what_follows_it_is_known() -> None:
    hour_s = math.floor(NOW / 3600.0) * 3600.0
    source = Source(gap=(hour_s + 3.0 * 3600.0, hour_s + 6.0 * 3600.0))
    clock = ManualClock(NOW)
    signal = live(clock, load=source, max_age_s=5000.0)

    async def body() -> None:
        seen = []
        for hour in range(8):
            clock.advance(max(hour_s + hour * 3600.0, NOW))
            reading = await signal.at(clock.site_s())
            seen.append((reading.quality is Quality.STALE, math.isnan(reading.value)))
        fresh, stale, missing = (False, False), (True, False), (True, True)
        assert seen == [fresh, fresh, fresh, stale, stale, missing, fresh, fresh]

    with_signal(signal, body)


def test_a_site_that_begins_in_a_gap_knows_the_value_before_it() -> None:
    hour_s = math.floor(NOW / 3600.0) * 3600.0
    signal = live(ManualClock(NOW), load=Source(gap=(hour_s, hour_s + 7200.0)))

    async def body() -> None:
        reading = await signal.at(NOW)
        assert (reading.value, reading.quality) == (value_at(hour_s - 1.0), Quality.STALE)
        assert reading.age_s == NOW - hour_s

    with_signal(signal, body)


def test_before_anything_is_loaded_nothing_is_known() -> None:
    async def main() -> None:
        source = Source(fails="no network")
        signal = live(ManualClock(NOW), load=source)
        assert signal.describe() == "carbon: not loaded"
        assert len(signal.forecast(NOW, HORIZON_S).values) == 0
        reading = await signal.at(NOW)
        assert math.isnan(reading.value)
        assert reading.age_s == math.inf
        source.fails = ""
        await signal.close()

    asyncio.run(main())


def test_a_source_that_fails_is_asked_again_after_pauses_that_grow_and_at_once_when_the_window_has_ended() -> None:
    clock, source = ManualClock(NOW), Source()
    signal = live(clock, load=source)

    async def body() -> None:
        loaded_until_s = source.asked[0][1]
        source.fails = "no network"
        clock.advance(loaded_until_s - 2.5 * DAY)
        asked_at = []
        while clock.site_s() < loaded_until_s - 2.0 * DAY:
            before = len(source.asked)
            assert (await signal.at(clock.site_s())).quality is Quality.MEASURED
            if signal._loading is not None:
                await asyncio.wait([signal._loading])
            if len(source.asked) > before:
                asked_at.append(clock.site_s())
                assert len(source.asked) == before + 3, "shorter windows would gain nothing"
            clock.advance_by(10.0)
        pauses = [later - earlier for earlier, later in pairwise(asked_at)]
        assert pauses[:5] == [60.0, 120.0, 240.0, 480.0, 900.0]
        assert max(pauses) == 900.0
        before = len(source.asked)
        source.fails = ""
        clock.advance(loaded_until_s + 3600.0)
        assert (await signal.at(clock.site_s())).quality is Quality.MEASURED
        assert len(source.asked) == before + 1

    with_signal(signal, body)


def test_a_source_that_hangs_delays_what_is_known_once_and_can_be_given_a_deadline_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hangs, stop = threading.Event(), threading.Event()
    source = Source()

    def load(name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int) -> LoadedSeries:
        if source.asked:
            hangs.set()
            stop.wait()
        return source(name, signal, folder=folder, start_s=start_s, end_s=end_s, tick_s=tick_s, seed=seed)

    waits, wait = [], asyncio.wait

    async def counted_wait(*arguments: Any, **keywords: Any) -> Any:
        waits.append(keywords)
        return await wait(*arguments, **keywords)

    monkeypatch.setattr("ecovisor.adapters.signals.live.asyncio.wait", counted_wait)
    clock = ManualClock(NOW)
    signal = live(clock, load=load, patience_s=0.01)

    async def body() -> None:
        clock.advance(source.asked[0][1] - DAY)
        for _ in range(50):
            assert (await signal.at(clock.site_s())).quality is Quality.MEASURED
        assert hangs.is_set()
        assert waits == [{"timeout": 0.01}]
        clock.advance(source.asked[0][1] + 3600.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await signal.at(clock.site_s())

    try:
        with_signal(signal, body)
    finally:
        stop.set()
        until_s = time.monotonic() + 60.0
        while any(thread.name == "signal" for thread in threading.enumerate()):
            assert time.monotonic() < until_s
            time.sleep(0.01)


def test_a_plug_in_that_does_not_cover_its_window_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        """
from array import array
from ecovisor.model.series import Series

def short(name, *, folder, start_s, end_s, tick_s, seed):
    return Series(name, "g/kWh", start_s - 7200.0, 3600.0, array("d", [1.0]), origin="own")
"""
    )
    signal = live(ManualClock(NOW), Signal(kind="own.py:short"), folder=tmp_path)
    with pytest.raises(SeriesError, match="a plug-in covers the window"):
        asyncio.run(signal.open())


def test_a_plug_in_runs_a_site(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        """
import math
from array import array
from ecovisor.model.series import Series

def hours(name, *, folder, start_s, end_s, tick_s, seed, factor):
    first = math.floor(start_s / 3600.0)
    values = array("d", [factor * (k % 24) for k in range(first, math.ceil(end_s / 3600.0))])
    return Series(name, "g/kWh", first * 3600.0, 3600.0, values, origin="own")
"""
    )
    clock = ManualClock(NOW)
    signal = live(clock, Signal(kind="own.py:hours", options={"factor": 2.0}), folder=tmp_path)

    async def body() -> None:
        for _ in range(300):
            assert (await signal.at(clock.site_s())).value == 2.0 * (clock.site_s() // 3600.0 % 24)
            clock.advance_by(3600.0)

    with_signal(signal, body)


# -- the sun of a plant


@pytest.mark.parametrize(
    ("signal", "days"),
    [(Signal(kind="pvlib", peak_w=200.0), 20.0), (Signal(kind="constant", value=30.0), 365.0)],
    ids=["pvlib", "constant"],
)
def test_a_plants_sun_is_that_of_the_signal_at_every_instant(signal: Signal, days: float) -> None:
    series = plant_series(signal, folder=Path(), start_s=NOW, tick_s=1.0, days=days)
    trace = SolarTrace.of(series)
    clock = ManualClock(NOW)
    ours = live(clock, signal, name="solar")
    assert series.step_s * len(series.values) == days * DAY

    async def body() -> None:
        for _ in range(100):
            assert trace.at(clock.site_s())[0] == pytest.approx((await ours.at(clock.site_s())).value, rel=1e-9, abs=1e-9)
            clock.advance_by(4.1 * 3600.0)

    with_signal(ours, body)
    assert trace.at(NOW + days * DAY + 5.0 * 3600.0)[0] == trace.at(NOW + 5.0 * 3600.0)[0], "again from its start"


def test_a_short_file_gives_a_plant_its_whole_days(tmp_path: Path) -> None:
    rows = "".join(f"2026-06-{17 + k // 24:02}T{k % 24:02}:00Z,{k}\n" for k in range(60))
    (tmp_path / "sun.csv").write_text("time,solar_w\n" + rows)
    series = plant_series(Signal(kind="file", file="sun.csv"), folder=tmp_path, start_s=NOW, tick_s=60.0)
    assert list(series.values) == list(range(10, 58))
    assert series.start_s == math.floor(NOW / 3600.0) * 3600.0


def test_a_plants_sun_has_no_gaps(tmp_path: Path) -> None:
    rows = "".join(f"2026-06-{17 + k // 24:02}T{k % 24:02}:00Z,{'' if k == 50 else k}\n" for k in range(72))
    (tmp_path / "sun.csv").write_text("time,solar_w\n" + rows)
    with pytest.raises(SeriesError, match=r"no value at 2026-06-19T02:00.*previous"):
        plant_series(Signal(kind="file", file="sun.csv"), folder=tmp_path, start_s=NOW, tick_s=60.0)

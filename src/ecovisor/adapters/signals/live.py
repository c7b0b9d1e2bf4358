"""Signals of a running site: the value that holds now and what is expected, from the same sources as a simulation's.

A `LiveSignal` holds a window of its series and loads the next one, in a thread, before that ends. Where a source ends or fails, the
last value holds on as stale, with its age; when it is too old the value is missing: NaN, never zero.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from ecovisor.adapters.signals import LoadedSeries, load_series
from ecovisor.adapters.signals.columns import fitting_units
from ecovisor.model.errors import EcovisorError, SeriesError
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import iso_utc
from ecovisor.ports.live import Clock, Reading
from ecovisor.settings import Signal

_DAY_S = 86400.0
#: How far ahead values shall be known at any time, for forecasts. [s, site time]
HORIZON_S = 2 * _DAY_S
#: The next window is loaded when the present one reaches less far. [s, site time]
_AHEAD_S = HORIZON_S + _DAY_S
#: Generated series need no step finer than this, whatever the tick. [s]
_GRAIN_S = 300.0
#: Between attempts that gained nothing, doubled each time. [s, wall time]
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60.0, 900.0
#: How long an answer waits for a window that only a forecast needs. [s, wall time]
PATIENCE_S = 0.25


class Loader(Protocol):
    """Loads a series over a window: `ecovisor.adapters.signals.load_series`, or a stand-in."""

    def __call__(
        self, name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float, tick_s: float, seed: int
    ) -> LoadedSeries: ...


@dataclass(frozen=True, slots=True)
class _Held:
    """The value of a step."""

    value: float
    quality: Quality
    until_s: float
    """When the step ends. [s since the epoch, site time]"""


class LiveSignal:
    """One signal of a running site. Implements `ecovisor.ports.Forecaster`.

    Args:
        name: of the signal; `carbon` is in g/kWh, `solar` in W, `price` in 1/kWh.
        signal: its settings.
        folder: relative paths start here.
        clock: for ages and pauses.
        tick_s: length of the site's tick. [s, site time]
        seed: of everything random.
        max_age_s: how long the last value holds on when no more are known. [s, wall time]
        window_s: how much is loaded at a time. [s, site time]
        patience_s: how long an answer may wait for a window that is only needed for the forecast. With a clock that is moved by hand,
            infinite, so that forecasts do not depend on how long loading takes. [s, real time]
        load: loads a window; runs in a thread.
    """

    def __init__(
        self,
        name: str,
        signal: Signal,
        *,
        folder: Path,
        clock: Clock,
        tick_s: float,
        seed: int = 0,
        max_age_s: float = 3600.0,
        window_s: float = 7 * _DAY_S,
        patience_s: float = PATIENCE_S,
        load: Loader = load_series,
    ) -> None:
        self.name = name
        self.failure: str | None = None
        """Why the value was not known when it was last asked for; None: it was."""
        self._signal, self._folder, self._clock, self._load = signal, folder, clock, load
        self._tick_s, self._seed = tick_s, seed
        self._max_age_s, self._window_s, self._patience_s = max_age_s, max(window_s, _AHEAD_S + _DAY_S), patience_s
        self._loaded: LoadedSeries | None = None
        self._last: _Held | None = None
        self._loading: asyncio.Task[None] | None = None
        self._gave_up_on: asyncio.Task[None] | None = None
        self._no_more: str | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._next_try_s = self._tried_at_s = -math.inf

    async def open(self) -> None:
        """Load the first window.

        Raises:
            SettingsError: a setting is missing, unknown or out of bounds.
            SeriesError: the source has nothing for this instant.
        """
        now_s = self._clock.site_s()
        self._loaded = await _in_thread(lambda: self._window(now_s, now_s))

    async def close(self) -> None:
        """Forget what is still being loaded."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait([self._loading])

    async def at(self, site_s: float) -> Reading:
        """The value of the step that holds at an instant. [the signal's unit]

        Waits while the window of that instant is being loaded; whoever has a deadline may cancel, the loading goes on.

        Returns:
            It, with the series' quality; else the last one as `stale`, with its age in wall time; NaN where that is too old.
        """
        self._look_ahead(site_s)
        await self._loaded_for(site_s)
        held = self._held(site_s)
        if held is not None:
            self._last, self.failure = held, None
            return Reading(held.value, held.quality)
        self.failure = self._no_more or f"{self.name} has no value at {iso_utc(site_s)}"
        last = max(filter(None, (self._last, self._before(site_s))), key=lambda one: one.until_s, default=None)
        if last is None:
            return Reading(math.nan, Quality.STALE, math.inf)
        age_s = max(site_s - last.until_s, 0.0) / self._clock.compression
        return Reading(last.value if age_s <= self._max_age_s else math.nan, Quality.STALE, age_s)

    def forecast(self, now_s: float, horizon_s: float) -> Series:
        """What is expected over ``[now_s, now_s + horizon_s)``, as far as it is known; without steps where nothing is."""
        if self._loaded is None:
            return Series(self.name, fitting_units(self.name)[0], now_s, self._tick_s, array("d"), Quality.FORECAST, "not loaded")
        return self._loaded.forecaster.forecast(now_s, horizon_s)

    def describe(self) -> str:
        """One line for people: where the values come from, and why no more of them are known."""
        origin = "not loaded" if self._loaded is None else self._loaded.series.origin
        return f"{self.name}: {origin}" + (f" (no more: {self._no_more})" if self._no_more else "")

    def _held(self, site_s: float) -> _Held | None:
        """The value at an instant, if it is known."""
        if self._loaded is None:
            return None
        series = self._loaded.series
        step = math.floor((site_s - series.start_s) / series.step_s)
        return _of_step(series, step) if 0 <= step < len(series.values) else None

    def _before(self, site_s: float) -> _Held | None:
        """The last known value before an instant."""
        if self._loaded is None:
            return None
        series = self._loaded.series
        last = min(math.floor((site_s - series.start_s) / series.step_s), len(series.values) - 1)
        return next((held for step in range(last, -1, -1) if (held := _of_step(series, step)) is not None), None)

    # -- windows

    def _look_ahead(self, site_s: float) -> None:
        """Begin to load the next window where the present one does not reach far enough."""
        known_until_s = self._known_until_s
        if self._loading is not None or known_until_s >= site_s + _AHEAD_S:
            return
        has_just_ended = self._tried_at_s < known_until_s <= site_s
        if self._clock.monotonic_s() >= self._next_try_s or has_just_ended:
            self._tried_at_s = site_s
            self._loading = asyncio.ensure_future(self._load_more(site_s))

    async def _loaded_for(self, site_s: float) -> None:
        """Wait for what is being loaded: where there is no value without it, and for a moment, once, where there would be no forecast."""
        if self._loading is None:
            return
        if self._held(site_s) is None:
            await asyncio.wait([self._loading])
        elif self._known_until_s < site_s + HORIZON_S and self._loading is not self._gave_up_on:
            _, pending = await asyncio.wait([self._loading], timeout=self._patience_s if self._patience_s < math.inf else None)
            self._gave_up_on = next(iter(pending), None)

    async def _load_more(self, site_s: float) -> None:
        before_s = self._known_until_s
        try:
            self._loaded = await _in_thread(lambda: self._window(site_s, max(before_s, site_s)))
            self._no_more = None
        except (EcovisorError, OSError) as error:
            self._no_more = str(error)
        finally:
            self._loading = None
            if self._known_until_s > before_s:
                self._pause_s, self._next_try_s = _FIRST_PAUSE_S, -math.inf
            else:
                self._next_try_s = self._clock.monotonic_s() + self._pause_s
                self._pause_s = min(2.0 * self._pause_s, _LONGEST_PAUSE_S)

    @property
    def _known_until_s(self) -> float:
        return -math.inf if self._loaded is None else self._loaded.series.end_s

    def _window(self, site_s: float, beyond_s: float) -> LoadedSeries:
        """A window from about ``site_s`` on that reaches beyond an instant: a whole one with a day of the past, or what halves of it do."""
        tick_s = self._tick_s * max(math.floor(_GRAIN_S / self._tick_s), 1)
        windows = [(math.floor(site_s / _DAY_S - 1.0) * _DAY_S, self._window_s)]
        length_s = self._window_s
        while length_s > tick_s and site_s + length_s > beyond_s:
            windows.append((math.floor(site_s / tick_s) * tick_s, length_s))
            length_s /= 2.0
        if site_s + self._tick_s > beyond_s:
            windows.append((site_s, self._tick_s))
        for start_s, length_s in windows:
            end_s = start_s + math.ceil((site_s + length_s - start_s) / tick_s) * tick_s
            try:
                return _load_covering(self._load, self.name, self._signal, self._folder, (start_s, end_s), tick_s, self._seed)
            except SeriesError as error:
                failure = error
        raise failure


def plant_series(
    signal: Signal,
    *,
    folder: Path,
    start_s: float,
    tick_s: float,
    seed: int = 0,
    days: float = 365.0,
    load: Loader = load_series,
) -> Series:
    """The sun of an emulated plant: whole days of a solar signal from ``start_s`` on, as many as it has, at most ``days``. [W]

    Blocks. A plant that repeats them has the same sun at the same time of the day, and with a year of them in the same season.

    Raises:
        SettingsError: a setting is missing, unknown or out of bounds.
        SeriesError: the source has no whole day from there, or a value in it is missing.
    """
    name, length_s = "solar", days * _DAY_S
    grain_s = tick_s * max(math.floor(_GRAIN_S / tick_s), 1)
    try:
        loaded = _load_covering(load, name, signal, folder, (start_s, start_s + length_s), grain_s, seed)
    except SeriesError:
        loaded = _load_covering(load, name, signal, folder, (start_s, start_s + _DAY_S), grain_s, seed)
    series = loaded.series
    first = math.floor((start_s - series.start_s) / series.step_s)
    steps_per_day = _DAY_S / series.step_s
    whole_days = math.floor(min((len(series.values) - first) / steps_per_day, days) + 1e-9)
    values = series.values[first : first + round(whole_days * steps_per_day)]
    for step, value in enumerate(values):
        if math.isnan(value):
            missing_s = series.start_s + (first + step) * series.step_s
            raise SeriesError(f"signals.{name}", f"has no value at {iso_utc(missing_s)}", 'fill = "previous" closes gaps')
    return replace(series, start_s=series.start_s + first * series.step_s, values=values)


def _load_covering(
    load: Loader, name: str, signal: Signal, folder: Path, window: tuple[float, float], tick_s: float, seed: int
) -> LoadedSeries:
    start_s, end_s = window
    loaded = load(name, signal, folder=folder, start_s=start_s, end_s=end_s, tick_s=tick_s, seed=seed)
    series = loaded.series
    if series.start_s > start_s or series.end_s < end_s:
        raise SeriesError(
            f"signals.{name} ({signal.kind})",
            f"covers {iso_utc(series.start_s)} to {iso_utc(series.end_s)}, asked for {iso_utc(start_s)} to {iso_utc(end_s)}",
            "a plug-in covers the window that it is asked for, or raises a SeriesError",
        )
    return loaded


def _of_step(series: Series, step: int) -> _Held | None:
    value = series.values[step]
    return None if math.isnan(value) else _Held(value, series.quality, series.start_s + (step + 1) * series.step_s)


async def _in_thread(work: Callable[[], LoadedSeries]) -> LoadedSeries:
    """What ``work`` returns or raises, from a thread that nobody has to wait for at the end: a source may hang for good."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[LoadedSeries] = loop.create_future()

    def tell(result: LoadedSeries | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if result is not None:
            done.set_result(result)
        else:
            done.set_exception(error or AssertionError("a result or an error"))

    def run() -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:  # told to whoever waits
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=run, name="signal", daemon=True).start()
    return await done

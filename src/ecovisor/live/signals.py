"""The signals of a running site at a tick's start: carbon intensity, price, and the traces of simulated workloads."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ecovisor import wire
from ecovisor.live.sources import MISSING
from ecovisor.model.errors import EcovisorError
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import iso_utc
from ecovisor.ports.live import Reading

#: How long a signal may keep a tick waiting, unless told otherwise. [s, wall time]
DEADLINE_S = 0.5


class Signal(Protocol):
    """One of them; `adapters.signals.live.LiveSignal`."""

    async def open(self) -> None:
        """Load what is needed first."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...

    async def at(self, site_s: float) -> Reading:
        """The value at an instant, NaN where it is missing."""
        ...

    def describe(self) -> str:
        """One line for people."""
        ...


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the coming tick."""

    carbon_g_per_kwh: float
    """NaN: unknown. [g/kWh]"""
    price_per_kwh: float | None
    traces: Mapping[str, float]
    sources: Sequence[wire.SourceState]

    @classmethod
    def nothing(cls) -> Known:
        """Before anything was read."""
        return cls(math.nan, None, {}, ())


class SiteSignals:
    """The signals by name.

    Args:
        signals: `carbon`, `price`, and the traces of workloads.
        traces: which of them are traces.
        deadline_s: how long one of them may keep a tick waiting. [s, wall time]
    """

    def __init__(self, signals: Mapping[str, Signal], traces: Sequence[str] = (), *, deadline_s: float = DEADLINE_S) -> None:
        self._signals = dict(signals)
        self._deadline_s = deadline_s if math.isfinite(deadline_s) else None
        self._traces = list(traces)

    async def open(self) -> None:
        """Load what is needed first. Raises `InputError`."""
        for signal in self._signals.values():
            await signal.open()

    async def close(self) -> None:
        """Let go."""
        for signal in self._signals.values():
            await signal.close()

    async def at(self, site_s: float) -> Known:
        """All of them at an instant."""
        names = list(self._signals)
        readings = dict(zip(names, await asyncio.gather(*(self._read(name, site_s) for name in names)), strict=True))
        price = readings.get("price")
        return Known(
            readings["carbon"].value if "carbon" in readings else math.nan,
            None if price is None or math.isnan(price.value) else price.value,
            {name: 0.0 if math.isnan(readings[name].value) else readings[name].value for name in self._traces},
            [self._state(name, reading) for name, reading in readings.items()],
        )

    async def _read(self, name: str, site_s: float) -> Reading:
        try:
            return await asyncio.wait_for(self._signals[name].at(site_s), self._deadline_s)
        except (TimeoutError, EcovisorError, OSError):
            return Reading(math.nan, Quality.STALE, 0.0)

    def _state(self, name: str, reading: Reading) -> wire.SourceState:
        quality = MISSING if math.isnan(reading.value) else str(reading.quality)
        age_s = reading.age_s if math.isfinite(reading.age_s) else 0.0
        return wire.SourceState(name=name, quality=quality, age_s=age_s, detail=self._signals[name].describe())


def forecast_answer(signal: str, series: Series) -> wire.Forecast:
    """A forecast as readers see it."""
    return wire.Forecast(
        signal=signal,
        unit=series.unit,
        start=iso_utc(series.start_s),
        start_s=series.start_s,
        step_s=series.step_s,
        values=[None if math.isnan(value) else value for value in series.values],
        quality=str(series.quality),
        origin=series.origin,
    )

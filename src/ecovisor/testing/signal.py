"""What every signal plug-in must do: see `SignalContract`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ecovisor.adapters.signals import SignalPlugin
from ecovisor.adapters.signals.columns import fitting_units
from ecovisor.model.series import Quality, Series

#: 2020-06-01T00:00Z.
_START_S = 1_590_969_600.0


class SignalContract:
    """Inherit, and give `make()`: the function or class that a scenario's ``kind`` would name.

    It is called with the run's window, and answers with a regular `Series` in the signal's unit that covers the window, without
    missing or (but for a price) negative values, the same for the same arguments.

    Attributes:
        name: of the signal that it is for: `carbon`, `solar`, `price`, or the trace of a workload.
        options: what the scenario would give under ``options``.
        folder: what relative paths start from.
        start_s, duration_s: a window that the signal can answer for. [s since the epoch, s]
        tick_s: a tick that divides its step. [s]
    """

    name: str = "carbon"
    options: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    folder: Path = Path()
    start_s: float = _START_S
    duration_s: float = 3 * 86400.0
    tick_s: float = 300.0

    def make(self) -> SignalPlugin:
        """The plug-in."""
        raise NotImplementedError("give make()")

    def load(self, seed: int = 0) -> Series:
        """The series for the window."""
        plugin = self.make()
        end_s = self.start_s + self.duration_s
        return plugin(
            self.name, folder=self.folder, start_s=self.start_s, end_s=end_s, tick_s=self.tick_s, seed=seed, **self.options
        )

    def test_says_what_it_is(self) -> None:
        series = self.load()
        assert isinstance(series, Series), f"gave a {type(series).__name__}; a signal is an ecovisor Series"
        assert series.unit in fitting_units(self.name), f"is in {series.unit!r}, {self.name} is in {fitting_units(self.name)}"
        assert isinstance(series.quality, Quality), "say how the values came to be known"
        assert series.origin, "say where the values come from: it stands in every report"

    def test_covers_the_run(self) -> None:
        series = self.load()
        assert series.start_s <= self.start_s, "begins after the run"
        assert series.end_s >= self.start_s + self.duration_s, "ends before the run"

    def test_is_regular_and_fits_the_ticks(self) -> None:
        series = self.load()
        assert 0.0 < series.step_s < math.inf
        ticks = round(self.duration_s / self.tick_s)
        assert len(series.on_ticks(self.start_s, self.tick_s, ticks)) == ticks

    def test_has_no_missing_and_no_negative_values(self) -> None:
        for k, value in enumerate(self.load().values):
            assert math.isfinite(value), f"step {k} is {value!r}"
            assert value >= 0.0 or self.name == "price", f"step {k} is {value!r}; only a price may be negative"

    def test_the_same_arguments_the_same_values(self) -> None:
        assert self.load(seed=7) == self.load(seed=7), "two calls differ: is there a clock, or chance that ignores the seed?"

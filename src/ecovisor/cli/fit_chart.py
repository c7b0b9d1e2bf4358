"""A fitted power curve as a picture: in the terminal, and as a PNG.

Owns what both show: samples and curve above, residuals below, on the same axis of loads. `calibrate` prints the figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from ecovisor.library.calibration import PowerCurveFit, PowerSample
from ecovisor.model.errors import InputError

_CURVE_ROWS, _RESIDUAL_ROWS = 13, 5
_MARGIN = 9
_WIDEST = 100
_CURVE, _SAMPLE, _BOTH = "─", "○", "●"


def draw_chart(samples: Sequence[PowerSample], fit: PowerCurveFit, width: int) -> list[str]:
    """The chart as lines of at most ``width`` characters."""
    columns = max(20, min(width, _WIDEST) - _MARGIN - 2)
    top_w = _round_up(max([*fit.power_curve_w, *(sample.power_w for sample in samples)]))
    power = _Panel(columns, _CURVE_ROWS, 0.0, top_w)
    for column in range(columns):
        power.put(column / (columns - 1), fit.power_w(column / (columns - 1)), _CURVE)
    for sample in samples:
        power.put(sample.load_ratio, sample.power_w, _SAMPLE)
    residuals_w = [sample.power_w - fit.power_w(sample.load_ratio) for sample in samples]
    reach_w = _round_up(max(map(abs, residuals_w)) or 1e-3)
    residual = _Panel(columns, _RESIDUAL_ROWS, -reach_w, reach_w)
    for column in range(columns):
        residual.put(column / (columns - 1), 0.0, _CURVE)
    for sample, value_w in zip(samples, residuals_w, strict=True):
        residual.put(sample.load_ratio, value_w, _SAMPLE)
    return [
        f"power [W]: {_SAMPLE} samples  {_CURVE} curve  {_BOTH} sample on the curve",
        *power.lines(lambda row: row in (0, (_CURVE_ROWS - 1) // 2, _CURVE_ROWS - 1)),
        f"samples above and below the curve [W], within ±{fit.max_error_w:.3g}",
        *residual.lines(lambda row: row in (0, _RESIDUAL_ROWS // 2, _RESIDUAL_ROWS - 1)),
        _axis(columns),
    ]


class _Panel:
    """A grid of characters over loads of 0 to 1 and a range of values."""

    def __init__(self, columns: int, rows: int, low: float, high: float) -> None:
        self._cells = [[" "] * columns for _ in range(rows)]
        self._low, self._high = low, high

    def put(self, load_ratio: float, value: float, mark: str) -> None:
        rows, columns = len(self._cells), len(self._cells[0])
        row = rows - 1 - round((value - self._low) / (self._high - self._low) * (rows - 1))
        cells, column = self._cells[min(max(row, 0), rows - 1)], round(load_ratio * (columns - 1))
        cells[column] = mark if cells[column] in (" ", mark) else _BOTH

    def lines(self, labelled: Callable[[int], bool]) -> list[str]:
        found = []
        for row, cells in enumerate(self._cells):
            value = self._high - (self._high - self._low) * row / (len(self._cells) - 1)
            label = f"{value:.4g}".replace("-", "−") if labelled(row) else ""
            found.append(f"{label:>{_MARGIN - 1}} {'┤' if label else '│'}{''.join(cells)}".rstrip())
        return found


def _axis(columns: int) -> str:
    marks = ["0 %", "25 %", "50 %", "75 %", "100 % load"]
    line = [" "] * (columns + 8)
    for k, mark in enumerate(marks):
        place = round(k / 4 * (columns - 1))
        place = min(max(place - (len(mark) // 2 if 0 < k < 4 else 0), 0), columns - len(mark)) if k else 0
        line[place : place + len(mark)] = mark
    return " " * (_MARGIN + 1) + "".join(line).rstrip()


def _round_up(value: float) -> float:
    """The next number above that reads well: 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value)) if value > 0.0 else 1.0
    return next(step * power for step in (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0) if value <= step * power * (1 + 1e-9))


def save_plot(path: Path, samples: Sequence[PowerSample], fit: PowerCurveFit, title: str) -> None:
    """Write the picture.

    Raises:
        InputError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("--plot", "matplotlib is not installed", "pip install 'ecovisor[plots]'") from None
    ink, curve_colour, sample_colour = "#30353A", "#0072B2", "#E69F00"
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    power, residual = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    loads = [100.0 * sample.load_ratio for sample in samples]
    residuals_w = [sample.power_w - fit.power_w(sample.load_ratio) for sample in samples]
    points = [100.0 * k / (len(fit.power_curve_w) - 1) for k in range(len(fit.power_curve_w))]
    power.plot(points, fit.power_curve_w, "o-", color=curve_colour, markersize=4, label=f"curve of {len(points)} points")
    power.plot(loads, [s.power_w for s in samples], "o", color=sample_colour, markersize=5, alpha=0.6, mec="none", label="samples")
    residual.plot(loads, residuals_w, "o", color=sample_colour, markersize=5, alpha=0.6, mec="none")
    residual.axhline(0.0, color=curve_colour, linewidth=1.2)
    for axes in (power, residual):
        for low, high in fit.empty_intervals_ratio:
            axes.axvspan(100.0 * low, 100.0 * high, color="#E3E6E9", linewidth=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#E3E6E9", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(colors=ink, labelsize=9)
    if fit.empty_intervals_ratio:
        power.fill_between([], [], [], color="#E3E6E9", label="no samples")
    power.set_ylim(bottom=0.0)
    power.set_ylabel("power [W]", color=ink)
    power.legend(frameon=False, fontsize=9, loc="upper left")
    residual.set_ylabel("sample − curve [W]", color=ink)
    residual.set_xlabel("load [%]", color=ink)
    residual.set_xlim(-1.0, 101.0)
    figure.suptitle(f"{title}: RMSE {fit.rmse_w:.3g} W", x=0.01, ha="left", fontsize=12, fontweight="bold", color=ink)
    try:
        figure.savefig(path, dpi=130, format="png")
    except OSError as error:
        raise InputError(str(path), f"cannot be written: {error.strerror}", "name another file") from None

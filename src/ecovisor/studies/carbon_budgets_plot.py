"""What the pictures of figures 6 and 7 have in common: colours, panels over the 48 hours, the stretches in which the static policy is late.

Colours are told apart with any kind of colour vision (Okabe and Ito).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.findings import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

INK, GRID_LINES = "#30353A", "#E3E6E9"
CARBON = "#6B747C"
REQUESTS = {"web-1": "#E69F00", "web-2": "#009E73"}
STATIC, DYNAMIC = "#D55E00", "#0072B2"
POLICIES = {"static": (STATIC, "static carbon rate"), "dynamic": (DYNAMIC, "dynamic carbon budget")}


def numbers(table: Table, column: str) -> Floats:
    """A column as numbers."""
    return np.asarray(table.columns[column], dtype=np.float64)


def panels(heights: Sequence[float], *, width: float = 11.0, share_x: bool = True) -> tuple[Figure, list[Axes]]:
    """A figure with panels below each other."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(heights),
        sharex=share_x,
        squeeze=False,
        figsize=(width, 0.9 + sum(heights)),
        height_ratios=list(heights),
        layout="constrained",
    )
    for ax in axes[:, 0]:
        plain(ax)
    return figure, list(axes[:, 0])


def plain(ax: Axes) -> None:
    """No frame but the axes, a faint grid behind."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="both", color=GRID_LINES, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(colors=INK, labelsize=9)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(10)


def title(figure: Figure, text: str) -> None:
    """The finding, over all panels."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)


def legend_above(ax: Axes, heading: str) -> None:
    """The panel's heading on the left, its legend on the right, both above the data."""
    ax.set_title(heading, loc="left", fontsize=10, color=INK)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=4, frameon=False, fontsize=9, handlelength=1.4, labelcolor=INK)


def course(ax: Axes, time_h: Floats, values: Floats, colour: str, label: str, width: float = 1.5) -> None:
    """A step function of time, each value holding for its tick."""
    step_h = time_h[1] - time_h[0]
    edges_h = np.append(time_h, time_h[-1] + step_h)
    ax.stairs(values, edges_h, baseline=None, color=colour, label=label, linewidth=width)


def hours_axis(ax: Axes, time_h: Floats) -> None:
    """Hours from the start, a line every six."""
    end_h = float(time_h[-1] + time_h[1] - time_h[0])
    ax.set_xlim(0.0, end_h)
    ax.set_xticks(np.arange(0.0, end_h + 0.1, 6.0))
    ax.set_xlabel("time from the start [h]")


def shade(ax: Axes, time_h: Floats, where: NDArray[np.bool_], label: str | None = None) -> None:
    """Mark the ticks that a condition holds in."""
    step_h = time_h[1] - time_h[0]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(int)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        ax.axvspan(time_h[first], time_h[last - 1] + step_h, color=STATIC, alpha=0.12, linewidth=0, label=label)
        label = None


def late(table: Table, app: str, policy: str) -> NDArray[np.bool_]:
    """Ticks in which an application is over its objective."""
    return numbers(table, f"{app}_{policy}_p95_ms") > numbers(table, f"{app}_slo_p95_ms") * (1.0 + 1e-9)


def in_hours(hours_h: float) -> str:
    """A duration for people."""
    return "never" if hours_h == 0.0 else f"{hours_h * 60.0:.0f} min" if hours_h < 1.0 else f"{hours_h:.1f} h"

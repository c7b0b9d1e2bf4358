"""What the pictures of figures 8 and 9 have in common: the axis of days with its nights. Style is that of `carbon_budgets_plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SUN, NIGHT = "#E69F00", "#30353A"
APP = {"spark": ("#009E73", "Spark"), "web": ("#0072B2", "web application")}


def days_axis(ax: Axes, time_h: Floats) -> None:
    """Hours of the day, a line every six, and the days counted."""
    end_h = float(time_h[-1] + time_h[1] - time_h[0])
    ticks_h = np.arange(0.0, end_h + 0.1, 6.0)
    ax.set_xlim(0.0, end_h)
    ax.set_xticks(ticks_h, [f"{h % 24:.0f} h" + (f"\nday {h // 24 + 1:.0f}" if h % 24 == 12 else "") for h in ticks_h])


def nights(ax: Axes, time_h: Floats, awake: NDArray[np.bool_]) -> None:
    """Shade the hours in which nothing is to run."""
    step_h = time_h[1] - time_h[0]
    edges = np.flatnonzero(np.diff(np.concatenate(([False], ~awake, [False])).astype(int)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        ax.axvspan(time_h[first], time_h[last - 1] + step_h, color=NIGHT, alpha=0.06, linewidth=0)

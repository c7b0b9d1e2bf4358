"""The picture of figure 5, drawn from its table alone: power of each application and of the site over time, with the grid's carbon."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np

from ecovisor.studies.findings import Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# After Okabe and Ito, as in `plots`.
_INK, _FAINT, _CARBON = "#30353A", "#E3E6E9", "#0072B2"
_TRAINING, _BLAST, _BASE = "#56B4E9", "#E69F00", "#8C96A0"
_ZONE = "America/Los_Angeles"


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """See `study.Study`."""
    from matplotlib import pyplot
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    table = {name: np.asarray(values, dtype=np.float64) for name, values in findings.tables["power"].columns.items()}
    days = np.append(table["time_s"], 2 * table["time_s"][-1] - table["time_s"][-2]) / 86400.0
    figure, axes = pyplot.subplots(4, sharex=True, figsize=(11, 8.2), height_ratios=(1.0, 1.0, 1.5, 0.9), layout="constrained")
    figure.suptitle("Two tenants of one site, each with its own Wait&Scale", x=0.01, ha="left", fontsize=12, fontweight="bold")
    most_w = 1.1 * table["import_w"].max()
    for ax, column, colour, label in (
        (axes[0], "training_w", _TRAINING, "ML training\n2× [W]"),
        (axes[1], "blast_w", _BLAST, "BLAST\n3× [W]"),
    ):
        ax.stairs(table[column], days, fill=True, color=colour)
        ax.set_ylim(0.0, most_w)
        ax.set_ylabel(label)
    below = np.zeros(len(days) - 1)
    for column, colour, label in (
        ("base_w", _BASE, "base power of the ecovisor"),
        ("training_w", _TRAINING, "ML training"),
        ("blast_w", _BLAST, "BLAST"),
    ):
        axes[2].stairs(below + table[column], days, baseline=below, fill=True, color=colour, label=label)
        below = below + table[column]
    axes[2].stairs(table["import_w"], days, baseline=None, color=_INK, linewidth=0.7, label="import of the site")
    axes[2].set_ylim(0.0, most_w)
    axes[2].set_ylabel("whole site\n[W]")
    axes[2].legend(loc="lower left", bbox_to_anchor=(0.0, 0.98), ncols=4, frameon=False, fontsize=9, handlelength=1.3)
    axes[3].stairs(table["carbon_intensity_g_per_kwh"], days, baseline=None, color=_CARBON, linewidth=1.2)
    threshold = table["blast_threshold_g_per_kwh"][0]
    axes[3].axhline(threshold, color=_BLAST, linewidth=1.4, linestyle=(0, (4, 3)))
    axes[3].annotate(
        "BLAST's\nthreshold", (1.004, threshold), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_INK
    )
    axes[3].set_ylim(0.0, 1.1 * table["carbon_intensity_g_per_kwh"].max())
    axes[3].set_ylabel("grid carbon\n[g/kWh]")
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="both", color=_FAINT, linewidth=0.7)
        ax.set_axisbelow(True)
        ax.tick_params(colors=_INK, labelsize=9)
        ax.yaxis.label.set_color(_INK)
    zone = ZoneInfo(_ZONE)
    axes[3].xaxis.axis_date(zone)
    locator = AutoDateLocator(tz=zone, minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    axes[3].xaxis.set_major_locator(locator)
    axes[3].xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]
    axes[3].set_xlim(days[0], days[-1])
    axes[3].set_xlabel(f"time, {_ZONE}")
    both = (table["training_w"] > 0.0) & (table["blast_w"] > 0.0)
    caption = (
        "Power of each application at its best scale factor, and of the whole site, from their arrival until both are done. They wait by "
        f"thresholds of their own and run at the same time in {100 * float(both.mean()):.0f} % of it, training on at most "
        f"{table['training_w'].max():.3g} W, BLAST on {table['blast_w'].max():.3g} W; below them lies the ecovisor's own base of "
        f"{table['base_w'].max():.3g} W."
    )
    return {"figure5": (figure, caption)}

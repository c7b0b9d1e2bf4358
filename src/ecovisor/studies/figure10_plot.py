"""Draws figure 10 from its tables: the sun and what the job draws of it, the caps of its nodes, and what balancing them is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ecovisor.studies.direct_solar_plot import DYNAMIC, EFFICIENCY, INK, STATIC, SUN, entitle, legend, panels, second_axis
from ecovisor.studies.findings import Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Ten workers that are told apart: after Okabe and Ito, and three more.
_WORKERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C564B", "#5B8C00", "#30353A")
#: Minutes that a line of panel (b) is averaged over, so that ten of them can be followed.
_SMOOTH_MINUTES = 5


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """Panels (a) and (b) over the day, and (c) over the sun."""
    return {"day": _day(findings), "levels": _levels(findings)}


def _columns(findings: Findings, table: str) -> Mapping[str, Any]:
    return {name: np.array(values, dtype=float) for name, values in findings.tables[table].columns.items()}


def _day(findings: Findings) -> tuple[Figure, str]:
    day, caps = _columns(findings, "day"), _columns(findings, "caps")
    figure, (power, cap) = panels([1.0, 1.35], 7.4, share_x=True)
    hour = day["hour_h"]
    power.fill_between(hour, day["solar_w"], color=SUN, alpha=0.28, linewidth=0, step="post")
    power.plot(hour, day["solar_w"], color=SUN, linewidth=1.1, drawstyle="steps-post", label="solar power")
    power.plot(
        hour, day["dynamic_w"], color=DYNAMIC, linewidth=0.8, drawstyle="steps-post", label="application power, dynamic caps"
    )
    power.set_ylim(0, 100)
    power.set_ylabel("power [W]")
    entitle(power, "(a) The application lives on what the sun gives")
    legend(power)
    for k, colour in enumerate(_WORKERS):
        cap.plot(caps["hour_h"], _smooth(caps[f"worker{k + 1}"]), color=colour, linewidth=1.0, alpha=0.9, label=f"worker {k + 1}")
    cap.axhline(1.0, color=INK, linewidth=1.8, linestyle=(0, (4, 2)), label="system policy")
    cap.set_ylim(0, 2)
    cap.set_xlim(hour[0], hour[-1] + 1 / 60)
    cap.set_xticks(range(8, 19, 2), [f"{h}:00" for h in range(8, 19, 2)])
    cap.set_ylabel("cap over the static cap [1]")
    cap.set_xlabel("hour of the day")
    entitle(cap, "(b) Caps differ from node to node, around the static cap", legend_rows=2)
    legend(cap, columns=6)
    shown = 100.0 * day["dynamic_w"].sum() / day["solar_w"].sum()
    caption = (
        f"All of the sun, one job that lasts the whole day. Under dynamic caps the application draws {shown:.0f} % of the solar energy, "
        f"under static ones {100.0 * day['static_w'].sum() / day['solar_w'].sum():.0f} %: the rest is allotted to nodes that wait. "
        f"Dips are steps in which all but the last node wait. Caps are means over {_SMOOTH_MINUTES} minutes; they end where nodes are "
        "suspended in turn, for want of sun."
    )
    return figure, caption


def _smooth(values: Floats) -> Floats:
    """Mean over the minutes around each; where a container was suspended for all of them there is none."""
    known = np.isfinite(values)
    window = np.ones(_SMOOTH_MINUTES)
    total = np.convolve(np.where(known, values, 0.0), window, mode="same")
    count = np.convolve(known.astype(float), window, mode="same")
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / count)


def _levels(findings: Findings) -> tuple[Figure, str]:
    level = _columns(findings, "levels")
    figure, (ax,) = panels([1.0], 4.8, share_x=False)
    x = level["level_percent"]
    right = second_axis(ax, EFFICIENCY)
    right.errorbar(
        x + 0.6, level["dynamic_efficiency_node_s_per_kj"], level["dynamic_efficiency_node_s_per_kj_spread"], color=EFFICIENCY,
        marker="s", markersize=5, linewidth=1.6, capsize=2.5, elinewidth=0.9, label="work per energy, dynamic (right)",
    )  # fmt: skip
    right.plot(
        x + 0.6, level["static_efficiency_node_s_per_kj"], color=EFFICIENCY, linewidth=1.1, linestyle=(0, (3, 2)), marker="s",
        markersize=3.5, markerfacecolor="white", label="work per energy, static (right)",
    )  # fmt: skip
    ax.errorbar(
        x - 0.6, level["improvement_percent"], level["improvement_percent_spread"], color=DYNAMIC, marker="o", markersize=5.5,
        linewidth=1.8, capsize=2.5, elinewidth=0.9, label="run time shortened (left)",
    )  # fmt: skip
    top = float((level["improvement_percent"] + level["improvement_percent_spread"]).max())
    ax.set_ylim(0, 50 if top <= 50 else 10 * np.ceil(top / 10))
    most = float((level["dynamic_efficiency_node_s_per_kj"] + level["dynamic_efficiency_node_s_per_kj_spread"]).max())
    right.set_ylim(0, 80 if most <= 80 else 100)
    ax.set_xlim(6, 94)
    ax.set_xticks(x)
    ax.set_xlabel("available solar power [%]")
    ax.set_ylabel("run time shortened by the dynamic policy [%]", color=DYNAMIC)
    right.set_ylabel("work per energy [node-s/kJ]", color=EFFICIENCY)
    ax.tick_params(axis="y", colors=DYNAMIC)
    ax.axhline(0.0, color=STATIC, linewidth=0.8)
    gain = level["improvement_percent"]
    entitle(ax, f"(c) Run time {gain.min():.0f} to {gain.max():.0f} % shorter: the most where there is little sun")
    legend(ax, right, columns=3)
    work = level["dynamic_efficiency_node_s_per_kj"]
    caption = (
        f"Mean and standard deviation over the starts. Balancing shortens the run by {gain[:3].mean():.0f} % on average at 10 to 30 % of "
        f"the sun and by {gain[-3:].mean():.0f} % at 70 to 90 %. Work per energy goes from {work[0]:.0f} to {work[-1]:.0f} node-s/kJ, for "
        "the nodes' idle power is spread over more work; one node at full power does 100."
    )
    return figure, caption

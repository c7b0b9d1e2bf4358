"""Draws figure 11 from its tables: run time and work per energy over the sun, and what becomes of the replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.direct_solar_plot import DYNAMIC, EFFICIENCY, STATIC, SUN, entitle, legend, panels, second_axis
from ecovisor.studies.findings import Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WASTED = "#D55E00"


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """The paper's figure first, then where the energy goes."""
    return {"levels": _levels(findings), "energy": _energy(findings)}


def _levels(findings: Findings) -> tuple[Figure, str]:
    level = {name: np.array(values, dtype=float) for name, values in findings.tables["levels"].columns.items()}
    x = level["level_percent"]
    figure, (ax,) = panels([1.0], 4.8, share_x=False)
    right = second_axis(ax, EFFICIENCY)
    ax.plot(
        x, level["without_runtime_h"], color=DYNAMIC, linewidth=1.1, linestyle=(0, (3, 2)), marker="o", markersize=4,
        markerfacecolor="white", label="run time without replicas (left)",
    )  # fmt: skip
    ax.errorbar(
        x - 1.2, level["runtime_h"], level["runtime_h_spread"], color=DYNAMIC, marker="o", markersize=5.5, linewidth=1.8, capsize=2.5,
        elinewidth=0.9, label="run time with replicas (left)",
    )  # fmt: skip
    right.plot(
        x, level["without_efficiency_node_s_per_kj"], color=EFFICIENCY, linewidth=1.1, linestyle=(0, (3, 2)), marker="s",
        markersize=3.5, markerfacecolor="white", label="work per energy without (right)",
    )  # fmt: skip
    right.errorbar(
        x + 1.2, level["efficiency_node_s_per_kj"], level["efficiency_node_s_per_kj_spread"], color=EFFICIENCY, marker="s",
        markersize=5, linewidth=1.6, capsize=2.5, elinewidth=0.9, label="work per energy with replicas (right)",
    )  # fmt: skip
    ax.set_ylim(0, None)
    right.set_ylim(0, 100)
    ax.set_xticks(x)
    ax.set_xlabel("available solar power [% of figure 10(a)]")
    ax.set_ylabel("run time [h of sun]", color=DYNAMIC)
    right.set_ylabel("work per energy [node-s/kJ]", color=EFFICIENCY)
    ax.tick_params(axis="y", colors=DYNAMIC)
    work = level["efficiency_node_s_per_kj"]
    best = int(work.argmax())
    entitle(ax, "More sun, more replicas: sooner done, with diminishing returns", legend_rows=2)
    legend(ax, right, columns=2)
    shape = (
        f"Work per energy rises to {work[best]:.0f} node-s/kJ at {x[best]:.0f} % of the sun and falls to {work[-1]:.0f} at {x[-1]:.0f} %."
        if 0 < best < len(x) - 1
        else f"Work per energy goes from {work[0]:.0f} to {work[-1]:.0f} node-s/kJ."
    )
    runtime, without = level["runtime_h"], level["without_runtime_h"]
    caption = (
        f"Mean and standard deviation over the starts. Run time falls from {runtime[0]:.1f} h to {runtime[-1]:.1f} h, "
        f"without replicas to {without[-1]:.1f} h. {shape}"
    )
    return figure, caption


def _energy(findings: Findings) -> tuple[Figure, str]:
    level = {name: np.array(values, dtype=float) for name, values in findings.tables["levels"].columns.items()}
    x = np.arange(len(level["level_percent"]))
    figure, (energy, count) = panels([1.2, 1.0], 6.6, share_x=True)
    useful = level["energy_wh"] - level["wasted_wh"]
    energy.bar(x, useful, 0.62, color=DYNAMIC, label="work that counts, and idling")
    energy.bar(x, level["wasted_wh"], 0.62, bottom=useful, color=_WASTED, label="work that is discarded")
    energy.bar(
        x, level["offered_wh"] - level["energy_wh"], 0.62, bottom=level["energy_wh"], color=SUN, alpha=0.35, label="sun not used",
    )  # fmt: skip
    energy.set_ylabel("sun until the job is done [Wh]")
    energy.grid(visible=False, axis="x")
    entitle(energy, "Where the sun goes while the job runs")
    legend(energy)
    count.bar(x - 0.16, level["replicas_issued"], 0.32, color=STATIC, label="submitted")
    count.bar(x + 0.16, level["replicas_won"], 0.32, color=EFFICIENCY, label="finished first")
    count.set_ylabel("replicas")
    count.grid(visible=False, axis="x")
    count.set_xticks(x, [f"{value:.0f}" for value in level["level_percent"]])
    count.set_xlabel("available solar power [% of figure 10(a)]")
    entitle(count, "Of more replicas a smaller part comes to anything")
    legend(count)
    caption = (
        f"Means over the starts. At {level['level_percent'][-1]:.0f} % of the sun {level['replicas_won'][-1]:.0f} of "
        f"{level['replicas_issued'][-1]:.0f} replicas finish before the task that they repeat."
    )
    return figure, caption

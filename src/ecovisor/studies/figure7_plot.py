"""Figure 7 drawn from its tables: carbon rate and containers of both applications under both policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecovisor.studies import carbon_budgets_plot as common
from ecovisor.studies.carbon_budgets import APPLICATIONS, RATE_MG_PER_S
from ecovisor.studies.findings import Findings, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_QUANTITIES = (("carbon_mg_per_s", "carbon rate", "carbon rate\n[mg/s]"), ("workers", "containers", "containers\nthat run"))


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """Name → figure and its caption."""
    ticks = findings.tables["ticks"]
    return {"fig7": (_courses(ticks), _caption(ticks))}


def _courses(ticks: Table) -> Figure:
    time_h = common.numbers(ticks, "time_h")
    figure, axes = common.panels([1.75] * 4)
    common.title(figure, "Carbon rate and containers of two applications that share a site")
    panels = [(quantity, app) for quantity in _QUANTITIES for app in APPLICATIONS]
    for ax, ((column, heading, label), app), letter in zip(axes, panels, "aabb", strict=True):
        top = max(
            common.numbers(ticks, f"{one.name}_{policy}_{column}").max() for one in APPLICATIONS for policy in common.POLICIES
        )
        for policy, (colour, name) in common.POLICIES.items():
            common.course(ax, time_h, common.numbers(ticks, f"{app.name}_{policy}_{column}"), colour, name)
        common.shade(ax, time_h, common.late(ticks, app.name, "static"), "static rate is late")
        if column == "carbon_mg_per_s":
            top = max(top, RATE_MG_PER_S)
            ax.axhline(RATE_MG_PER_S, color=common.INK, linewidth=1.0, linestyle=(0, (4, 3)))
            ax.annotate(
                f"{RATE_MG_PER_S:g} mg/s",
                (1.005, RATE_MG_PER_S),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                color=common.INK,
            )
        ax.set_ylim(0.0, 1.12 * top)
        ax.set_ylabel(label)
        common.legend_above(ax, f"({letter})  {app.title}: {heading}")
    common.hours_axis(axes[-1], time_h)
    return figure


def _caption(ticks: Table) -> str:
    parts = []
    for app in APPLICATIONS:
        rates = {policy: common.numbers(ticks, f"{app.name}_{policy}_carbon_mg_per_s") for policy in common.POLICIES}
        part = float((rates["dynamic"] < RATE_MG_PER_S).mean())
        parts.append(
            f"{app.title} emits {rates['dynamic'].mean():.1f} mg/s on average under the dynamic budget, below the limit in {part:.0%} of "
            f"the time and at most {rates['dynamic'].max():.1f} mg/s, against {rates['static'].mean():.1f} mg/s under the static rate"
        )
    return "; ".join(parts) + "."

"""Figure 6 drawn from its tables: the paper's panels, and how both policies do over all runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies import carbon_budgets_plot as common
from ecovisor.studies.carbon_budgets import APPLICATIONS, Application
from ecovisor.studies.findings import Findings, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """Name → figure and its caption."""
    ticks = findings.tables["ticks"]
    return {
        "fig6": (_latency(ticks), _latency_caption(ticks)),
        "fig6-runs": (
            _runs(findings.tables["shifts"], findings.tables["year"]),
            _runs_caption(findings.tables["shifts"], findings.tables["year"]),
        ),
    }


def _latency(ticks: Table) -> Figure:
    time_h = common.numbers(ticks, "time_h")
    figure, axes = common.panels([2.1, 2.2, 2.2])
    common.title(figure, "Latency under a static carbon rate and under a dynamic carbon budget")
    _signals(axes[0], ticks)
    for place, (ax, app) in enumerate(zip(axes[1:], APPLICATIONS, strict=True)):
        for policy, (colour, label) in common.POLICIES.items():
            common.course(ax, time_h, common.numbers(ticks, f"{app.name}_{policy}_p95_ms"), colour, label)
        ax.axhline(app.slo_p95_ms, color=common.INK, linewidth=1.0, linestyle=(0, (4, 3)))
        ax.annotate(
            f"{app.slo_p95_ms:g} ms",
            (1.005, app.slo_p95_ms),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            color=common.INK,
        )
        _latency_axis(ax, ticks, app)
        common.legend_above(ax, f"({'bc'[place]})  {app.title}: 95th percentile of latency")
    common.hours_axis(axes[-1], time_h)
    return figure


def _signals(ax: Axes, ticks: Table) -> None:
    time_h = common.numbers(ticks, "time_h")
    intensity = common.numbers(ticks, "carbon_intensity_g_per_kwh")
    common.course(ax, time_h, intensity, common.CARBON, "carbon intensity", width=2.0)
    ax.set_ylabel("carbon intensity\n[g/kWh]")
    ax.set_ylim(0.0, 1.1 * intensity.max())
    other = ax.twinx()
    other.spines[["top", "left"]].set_visible(False)
    other.tick_params(colors=common.INK, labelsize=9)
    top = 0.0
    for app in APPLICATIONS:
        rate = common.numbers(ticks, f"{app.name}_requests_per_s") / 1000.0
        top = max(top, rate.max())
        common.course(other, time_h, rate, common.REQUESTS[app.name], f"requests of {app.title}", width=1.3)
    other.set_ylim(0.0, 1.1 * top)
    other.set_ylabel("requests\n[1000/s]", color=common.INK)
    handles, labels = (
        first + second for first, second in zip(ax.get_legend_handles_labels(), other.get_legend_handles_labels(), strict=True)
    )
    ax.set_title("(a)  carbon intensity and requests", loc="left", fontsize=10, color=common.INK)
    ax.legend(
        handles, labels, loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, frameon=False, fontsize=9, handlelength=1.4,
        labelcolor=common.INK,
    )  # fmt: skip


def _latency_axis(ax: Axes, ticks: Table, app: Application) -> None:
    """Logarithmic: latencies below the objective differ by a few milliseconds, those of an overload by seconds."""
    values = np.concatenate([common.numbers(ticks, f"{app.name}_{policy}_p95_ms") for policy in common.POLICIES])
    ax.set_yscale("log")
    ax.set_ylim(20.0, max(200.0, 1.6 * values.max()))
    marks = [value for value in (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000) if value <= max(200.0, 1.6 * values.max())]
    ax.set_yticks(marks, [f"{value:,}" if value < 1000 else f"{value / 1000:g} s" for value in marks])
    ax.minorticks_off()
    ax.set_ylabel("latency [ms], log")


def _latency_caption(ticks: Table) -> str:
    step_h = common.numbers(ticks, "time_h")[1]
    parts = []
    for app in APPLICATIONS:
        hours = {policy: common.in_hours(float(common.late(ticks, app.name, policy).sum() * step_h)) for policy in common.POLICIES}
        under = " and ".join(_under(duration, common.POLICIES[policy][1]) for policy, duration in hours.items())
        parts.append(f"{app.title} is over {app.slo_p95_ms:g} ms {under}")
    return f"{'; '.join(parts)}. Beyond their capacity requests wait until they time out, after 10 s."


def _under(duration: str, policy: str) -> str:
    return f"never under the {policy}" if duration == "never" else f"for {duration} under the {policy}"


def _runs(shifts: Table, year: Table) -> Figure:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, sharey=True, sharex=True, figsize=(11.0, 4.5), layout="constrained")
    widest = max(common.numbers(table, column).max() for table in (shifts, year) for column in ("static_late_h", "dynamic_late_h"))
    for ax, table, heading in (
        (left, shifts, "the 48 hours, requests shifted at random against carbon"),
        (right, year, "48 hours at a time, over a year of California"),
    ):
        common.plain(ax)
        ax.set_title(heading, loc="left", fontsize=10, color=common.INK)
        for policy, (colour, label) in common.POLICIES.items():
            for app, mark in zip(APPLICATIONS, "os", strict=True):
                chosen = np.array([name == app.title for name in table.columns["application"]])
                part = common.numbers(table, f"{policy}_carbon_g") / common.numbers(table, "budget_g") * 100.0
                ax.scatter(
                    part[chosen],
                    common.numbers(table, f"{policy}_late_h")[chosen],
                    s=30,
                    marker=mark,
                    facecolor=colour if mark == "o" else "none",
                    edgecolor=colour,
                    linewidth=1.1,
                    alpha=0.85,
                    clip_on=False,
                    zorder=3,
                    label=f"{label}, {app.title}",
                )
        ax.set_xlabel("carbon emitted [% of the budget]")
    left.set_ylim(0.0, 1.08 * max(widest, 1.0))
    left.set_xlim(0.0, 102.0)
    left.set_ylabel("time over the objective\n[h of 48 h]")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=common.INK
    )
    common.title(figure, "Carbon and lateness of every run")
    return figure


def _runs_caption(shifts: Table, year: Table) -> str:
    parts = []
    for what, table in (("with shifted requests", shifts), ("over the year", year)):
        change = common.numbers(table, "carbon_change_percent")
        late = [common.numbers(table, f"{policy}_late_h") for policy in common.POLICIES]
        parts.append(
            f"{what} the dynamic budget changes carbon by {_percent(change.mean())} on average "
            f"({_percent(change.min())} to {_percent(change.max())}) "
            f"and is late for {late[1].mean():.1f} h on average, the static rate for {late[0].mean():.1f} h"
        )
    return f"Each mark is an application over 48 hours: {'; '.join(parts)}."


def _percent(value: float) -> str:
    return f"{value:+.0f} %".replace("-", "−")

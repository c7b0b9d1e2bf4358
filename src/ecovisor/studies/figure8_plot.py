"""The pictures of Figure 8, from the tables of its findings alone: the paper's panels for one start, and the run time start by start."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.carbon_budgets_plot import DYNAMIC, INK, STATIC, course, legend_above, numbers, panels, title
from ecovisor.studies.findings import Findings, Table
from ecovisor.studies.virtual_batteries_plot import SUN, days_axis, nights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_POLICIES = (("static", STATIC, "fixed workers (system)"), ("dynamic", DYNAMIC, "the application's own policy"))
_REQUESTS = "#009E73"
_LEAST_MS, _MOST_MS = 40.0, 2e4


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """The days of one start, and run times over all of them."""
    return {"fig8": _days(findings.tables["minutes"]), "fig8-run-times": _run_times(findings)}


def _days(table: Table) -> tuple[Figure, str]:
    time_h, rate = numbers(table, "time_h"), numbers(table, "requests_per_s")
    figure, axes = panels([1.5, 1.2, 1.6, 1.6, 1.8])
    sun, load, spark, web, latency = axes
    hours = time_h % 24.0
    awake_h = hours[rate > 0.0]
    awake = (hours >= np.floor(awake_h.min())) & (hours <= awake_h.max())
    for ax in axes:
        nights(ax, time_h, awake)
    sun.fill_between(time_h, numbers(table, "half_solar_w"), color=SUN, alpha=0.35, linewidth=0, label="half, for each application")
    sun.plot(time_h, numbers(table, "solar_w"), color=SUN, linewidth=0.8, label="the array")
    sun.set_ylim(0.0, None)
    sun.set_ylabel("power [W]")
    legend_above(sun, "(a) Solar power")
    load.plot(time_h, rate, color=_REQUESTS, linewidth=1.2)
    load.set_ylim(0.0, None)
    load.set_ylabel("requests [1/s]")
    load.set_title("(b) Workload of the web application", loc="left", fontsize=10, color=INK)
    _workers(spark, table, time_h, "spark", "(c) Spark")
    for name, colour, _ in _POLICIES:
        end = np.flatnonzero(numbers(table, f"spark_{name}_workers"))[-1]
        if end + 1 < len(time_h):
            spark.plot(time_h[end], 0.0, marker="v", markersize=8, color=colour, clip_on=False, zorder=5)
            spark.annotate("done", (time_h[end], 0.0), (5, 4), textcoords="offset points", fontsize=9, color=colour)
    _workers(web, table, time_h, "web", "(d) Web application")
    for name, colour, label in _POLICIES:
        latency.plot(
            time_h, np.clip(numbers(table, f"web_{name}_p95_ms"), _LEAST_MS, _MOST_MS), color=colour, linewidth=1.2, label=label
        )
    slo_ms = numbers(table, "slo_ms")[0]
    latency.axhline(slo_ms, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    latency.annotate(
        f"objective\n{slo_ms:g} ms", (1.005, slo_ms), xycoords=("axes fraction", "data"), va="center", fontsize=9, color=INK
    )
    latency.set_yscale("log")
    latency.set_ylim(_LEAST_MS, _MOST_MS)
    latency.set_yticks([100.0, 1000.0, 10000.0], ["100 ms", "1 s", "10 s"])
    latency.minorticks_off()
    latency.set_ylabel("p95 latency")
    legend_above(latency, "(e) Latency of the web application")
    days_axis(latency, time_h)
    late = {name: numbers(table, f"web_{name}_p95_ms")[rate > 0.0] > slo_ms * (1.0 + 1e-9) for name, _, _ in _POLICIES}
    most = int(numbers(table, "spark_dynamic_workers").max())
    title(
        figure,
        f"Excess sun feeds up to {most} Spark workers; the web application follows its load: {_minutes(late)} over {slo_ms:g} ms",
    )
    caption = (
        "Each application has half of the array and half of the battery; nights, in which nothing runs, are shaded. Spark adds workers "
        "while its battery is full and ends sooner; the web application runs as many as its latency asks for, where fixed workers leave "
        "requests waiting (its scale is logarithmic; requests are turned away after 10 s). One of the random starts."
    )
    return figure, caption


def _minutes(late: dict[str, NDArray[np.bool_]]) -> str:
    return f"{late['dynamic'].sum():.0f} instead of {late['static'].sum():.0f} minutes"


def _workers(ax: Axes, table: Table, time_h: Floats, app: str, heading: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for name, colour, label in _POLICIES:
        course(ax, time_h, numbers(table, f"{app}_{name}_workers"), colour, label, 1.3)
    ax.set_ylim(0.0, None)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    ax.set_ylabel("workers")
    legend_above(ax, heading)


def _run_times(findings: Findings) -> tuple[Figure, str]:
    starts, reruns = findings.tables["starts"], findings.tables["reruns"]
    what = [str(text) for text in reruns.columns["what"]]
    figure, (above, below) = panels([2.4, 0.45 + 0.3 * len(what)], share_x=False)
    place = numbers(starts, "start")
    for k, (name, colour, label) in enumerate(_POLICIES):
        above.bar(place + 0.38 * (k - 0.5), numbers(starts, f"{name}_elapsed_h"), 0.36, color=colour, label=label)
    above.set_xticks(place)
    above.grid(visible=False, axis="x")
    above.set_xlabel("random start")
    above.set_ylabel("run time [h]")
    legend_above(above, "Spark's run time, nights included")
    change, spread, paper = (numbers(reruns, f"{name}_percent") for name in ("change", "spread", "paper"))
    rows = np.arange(len(what), dtype=np.float64)
    below.barh(rows, change, 0.6, color=[DYNAMIC] * 2 + ["#99C7E0"] * (len(what) - 2))
    below.errorbar(change[:2], rows[:2], xerr=spread[:2], linestyle="none", color=INK, capsize=3, linewidth=1.0)
    below.axvline(paper[0], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    below.annotate(f"paper {_signed(paper[0])}", (paper[0], 1.0), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points",
                   ha="center", fontsize=9, color=INK)  # fmt: skip
    reach = np.minimum(np.nan_to_num(change), 0.0) - np.nan_to_num(spread)
    for row, value, end in zip(rows, change, reach, strict=True):
        below.annotate(_signed(value), (end, row), (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=9,
                       color=INK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})  # fmt: skip
    below.set_yticks(rows, what)
    below.set_ylim(len(what) - 0.4, -0.6)
    below.set_xlim(1.2 * min(float(reach.min()), paper[0]), max(0.0, 1.2 * float(np.nan_to_num(change).max())))
    below.tick_params(axis="y", length=0)
    below.grid(visible=False, axis="y")
    below.set_xlabel("change in run time against fixed workers [%]")
    below.set_title("As assumed, and with one factor changed", loc="left", fontsize=10, color=INK, pad=16)
    title(figure, f"Additional workers change Spark's run time by {_signed(change[0])} (paper: {_signed(paper[0])})")
    caption = (
        f"Above: the job from {len(place)} random first days. Below: the mean change with its standard deviation, and what becomes of it "
        "when one assumption is another, in some of the starts. What the paper does not name decides: the array's size, the battery's "
        "first charge, the nights that the job needs. Workers that the battery does not carry to the evening's checkpoint take most of "
        "the gain with them."
    )
    return figure, caption


def _signed(percent: float) -> str:
    return "–" if np.isnan(percent) else f"{percent:+.0f} %".replace("-", "−")

"""The pictures of figure 4, drawn from its tables alone: carbon and run time by policy, what ten starts can give, and the jobs' lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ecovisor.studies.findings import Findings, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito, as in `plots`: told apart with any kind of colour vision.
_INK, _FAINT, _PAPER, _YEAR = "#30353A", "#E3E6E9", "#D55E00", "#8C96A0"
_COLOURS = {
    "carbon-agnostic": "#8C96A0",
    "suspend-resume": "#E69F00",
    "wait-and-scale-2": "#56B4E9",
    "wait-and-scale-3": "#0072B2",
    "wait-and-scale-4": "#12405F",
}
_SHORT = {
    "carbon-agnostic": "agnostic",
    "suspend-resume": "suspend-\nresume",
    "wait-and-scale-2": "W&S 2×",
    "wait-and-scale-3": "W&S 3×",
    "wait-and-scale-4": "W&S 4×",
}
#: Run-time factors that the paper states against the carbon-agnostic policy.
_STATED = {
    ("ML training", "suspend-resume"): 7.4,
    ("ML training", "wait-and-scale-2"): 2.58,
    ("BLAST", "suspend-resume"): 5.1,
    ("BLAST", "wait-and-scale-2"): 5.1 * (1.0 - 0.7815),
    ("BLAST", "wait-and-scale-3"): 5.1 * (1.0 - 0.834),
}


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """See `study.Study`."""
    tables = findings.tables
    return {
        "figure4": (_bars(tables["policies"]), _bars_caption(tables["policies"])),
        "figure4_ten_starts": (
            _ranges(tables["sets_of_ten"]),
            "What ten random starts can give (5th to 95th percentile of many sets of ten, drawn from the year), our ten starts, and what "
            f"the paper states: {_inside(tables['sets_of_ten'])} of its {len(tables['sets_of_ten'].columns['name'])} numbers lie within.",
        ),
        "figure4_lengths": (
            _lengths(tables["lengths"]),
            "Mean run time over that without waiting, by the length of the job. Suspend-resume's is what the length was fitted to "
            "(ring). Short jobs wait long for what they are; long training jobs have a mean that few of them make, which wait for months. "
            "Crosses: what the paper states, at the fitted length.",
        ),
    }


# -- carbon and run time by policy


def _bars(table: Table) -> Figure:
    from matplotlib import pyplot

    rows = _rows(table)
    titles = list(dict.fromkeys(row["application"] for row in rows))
    figure, axes = pyplot.subplots(
        len(titles), 2, figsize=(11, 3.4 * len(titles)), squeeze=False, layout="constrained", gridspec_kw={"wspace": 0.06}
    )
    figure.suptitle("Carbon and run time under each policy", x=0.01, ha="left", fontsize=12, fontweight="bold")
    for pair, title in zip(axes, titles, strict=True):
        own = [row for row in rows if row["application"] == title]
        for ax, column, label, unit in (
            (pair[0], "carbon_g", "carbon of a job [g CO₂-eq]", "g"),
            (pair[1], "runtime_h", "run time, arrival to completion [h]", "h"),
        ):
            _plain(ax)
            ax.grid(visible=False, axis="x")
            _policy_bars(ax, own, column, unit)
            ax.set_ylabel(label)
            ax.set_title(title if column == "carbon_g" else "", loc="left", fontsize=11, color=_INK)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=9, handlelength=1.4)
    return figure


def _policy_bars(ax: Axes, rows: Sequence[dict[str, Any]], column: str, unit: str) -> None:
    places = np.arange(len(rows), dtype=float)
    values = [row[f"random_{column}"] for row in rows]
    spread = [row[f"random_{column}_spread"] for row in rows]
    below = [min(one, value) for one, value in zip(spread, values, strict=True)]
    year = [row[f"year_{column}"] for row in rows]
    error = {"ecolor": _INK, "elinewidth": 1.0, "capsize": 3}
    ax.bar(places, values, 0.62, yerr=[below, spread], color=[_COLOURS[row["policy"]] for row in rows], error_kw=error)
    ax.bar([], [], color=_YEAR, label="random starts, mean ± standard deviation")
    ax.scatter(places, year, marker="D", s=34, facecolor="white", edgecolor=_INK, zorder=3, label="mean over the year")
    if column == "carbon_g":
        least = [row["least_carbon_g"] for row in rows]
        ax.hlines(least, places - 0.31, places + 0.31, color=_PAPER, linewidth=2.0, zorder=3, label="clairvoyant bound")
    reach = max(*(value + one for value, one in zip(values, spread, strict=True)), *year)
    ax.set_ylim(0.0, 1.16 * reach)
    for place, value, one, mean in zip(places, values, spread, year, strict=True):
        top = max(value + one, mean)
        ax.text(place, top + 0.045 * reach, f"{value:.3g} {unit}", ha="center", fontsize=9, color=_INK)
    ax.set_xticks(places, [_SHORT[row["policy"]] for row in rows])
    ax.tick_params(axis="x", length=0)


def _bars_caption(table: Table) -> str:
    rows = {(row["application"], row["policy"]): row for row in _rows(table)}

    def change(title: str, policy: str, against: str, column: str) -> float:
        return 100.0 * (float(rows[title, policy][column]) / float(rows[title, against][column]) - 1.0)

    ml = [change("ML training", "wait-and-scale-3", "wait-and-scale-2", f"year_{column}") for column in ("carbon_g", "runtime_h")]
    blast = [change("BLAST", "wait-and-scale-3", "wait-and-scale-2", f"year_{column}") for column in ("carbon_g", "runtime_h")]
    return (
        "Waiting for clean power saves carbon and costs time; scaling up in it gives time back. From 2× to 3×, over the year, training has "
        f"{ml[0]:+.1f} % carbon for {ml[1]:+.1f} % run time, BLAST {blast[0]:+.1f} % for {blast[1]:+.1f} %: which factor is best "
        "depends on how the application scales. At 4× BLAST's workers starve, and only its carbon grows."
    ).replace("-", "−").replace("clean−", "clean-")  # fmt: skip


# -- what ten starts can give


def _ranges(table: Table) -> Figure:
    from matplotlib import pyplot

    rows = _rows(table)
    figure, axes = pyplot.subplots(
        1, 2, figsize=(11, 1.6 + 0.42 * len(rows)), layout="constrained", width_ratios=(1.5, 1.0), squeeze=False
    )
    figure.suptitle(
        "What ten random starts can give, and what the paper's ten gave", x=0.01, ha="left", fontsize=12, fontweight="bold"
    )
    for ax, unit, label in (
        (axes[0, 0], "%", "change or reduction [%]"),
        (axes[0, 1], "×", "run time [× that of carbon-agnostic]"),
    ):
        own = [row for row in rows if row["unit"] == unit]
        _plain(ax)
        places = np.arange(len(own), dtype=float)
        ax.hlines(places, [row["low"] for row in own], [row["high"] for row in own], color="#99C7E0", linewidth=7)
        ax.scatter([row["ours"] for row in own], places, s=42, color="#0072B2", zorder=3, label="our ten starts")
        ax.scatter([row["paper"] for row in own], places, s=52, marker="X", color=_PAPER, zorder=4, label="paper")
        ax.hlines([], 0, 0, color="#99C7E0", linewidth=7, label="nine in ten sets of ten starts")
        ax.set_yticks(places, [row["name"].replace(": ", ":\n") for row in own], fontsize=8.5)
        ax.set_ylim(len(own) - 0.4, -0.6)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.set_xlabel(label)
        if unit == "%":
            ax.axvline(0.0, color=_INK, linewidth=0.8)
        else:
            ax.set_xlim(left=0.0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    return figure


def _inside(table: Table) -> int:
    return sum(bool(row["low"] - 1e-9 <= row["paper"] <= row["high"] + 1e-9) for row in _rows(table))


# -- the length of the jobs


def _lengths(table: Table) -> Figure:
    from matplotlib import pyplot

    rows = _rows(table)
    titles = list(dict.fromkeys(row["application"] for row in rows))
    figure, axes = pyplot.subplots(1, len(titles), figsize=(11, 4.4), layout="constrained", squeeze=False)
    figure.suptitle("How long a job takes, by its length", x=0.01, ha="left", fontsize=12, fontweight="bold")
    for ax, title in zip(axes[0], titles, strict=True):
        _plain(ax)
        own = [row for row in rows if row["application"] == title]
        fitted_h = own[0]["fitted_job_h"]
        for policy in dict.fromkeys(row["policy"] for row in own):
            curve = [(row["job_h"], row["factor"]) for row in own if row["policy"] == policy]
            length, factor = np.array(curve).T
            style: Any = "-" if policy != "wait-and-scale-4" else (0, (2, 2))  # it lies on 3×
            ax.plot(
                length, factor, color=_COLOURS[policy], linewidth=1.8, linestyle=style, label=_SHORT[policy].replace("-\n", "-")
            )
            at = float(np.interp(np.log(fitted_h), np.log(length), factor))
            if policy == "suspend-resume":
                ax.scatter([fitted_h], [at], s=70, facecolor="none", edgecolor=_INK, linewidth=1.4, zorder=4)
            elif (title, policy) in _STATED:
                ax.scatter(
                    [fitted_h], [_STATED[title, policy]], s=64, marker="X", color=_COLOURS[policy], edgecolor="white", zorder=4
                )
        ax.axvline(fitted_h, color=_INK, linewidth=0.7, linestyle=(0, (4, 3)))
        ax.annotate(
            f"fitted: {fitted_h:.3g} h", (fitted_h, 0.02), xycoords=("data", "axes fraction"), xytext=(-5, 0),
            textcoords="offset points", ha="right", fontsize=8.5, color=_INK,
        )  # fmt: skip
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_yticks([0.5, 1, 2, 5, 10, 20, 50, 100], ["0.5", "1", "2", "5", "10", "20", "50", "100"])
        ax.set_xticks([0.25, 1, 4, 24, 96, 240], ["¼", "1", "4", "24", "96", "240"])
        ax.minorticks_off()
        ax.set_title(title, loc="left", fontsize=11, color=_INK)
        ax.set_xlabel("job on its base cores [h]")
        ax.set_ylabel("mean run time over that length [×]")
    handles, labels = axes[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False, fontsize=9)
    return figure


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="both", color=_FAINT, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(colors=_INK, labelsize=9)
    ax.yaxis.label.set_color(_INK)
    ax.xaxis.label.set_color(_INK)


def _rows(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table.columns, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]

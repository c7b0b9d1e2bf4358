"""The picture of Figure 9, from the table of its findings alone: state of charge and power of both virtual batteries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.carbon_budgets_plot import INK, legend_above, numbers, panels, title
from ecovisor.studies.findings import Findings
from ecovisor.studies.virtual_batteries_plot import APP, days_axis, nights

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PHYSICAL = "#6B747C"


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """The days of one start."""
    table = findings.tables["minutes"]
    time_h = numbers(table, "time_h")
    figure, axes = panels([2.2, 1.7, 1.7])
    charge, *powers = axes
    hours = time_h % 24.0
    awake_h = hours[numbers(table, "requests_per_s") > 0.0]
    awake = (hours >= np.floor(awake_h.min())) & (hours <= awake_h.max())
    for ax in axes:
        nights(ax, time_h, awake)
    charge.plot(
        time_h,
        numbers(table, "physical_soc_percent"),
        color=_PHYSICAL,
        linewidth=1.0,
        linestyle=(0, (4, 2)),
        label="physical battery",
    )
    least = 100.0
    for app, (colour, label) in APP.items():
        soc = numbers(table, f"{app}_soc_percent")
        least = min(least, float(soc.min()))
        charge.plot(time_h, soc, color=colour, linewidth=1.5, label=label)
    charge.set_ylim(least - 0.08 * (100.0 - least), 100.0 + 0.08 * (100.0 - least))
    charge.set_ylabel("state of charge [%]")
    empty = numbers(table, "empty_percent")[0]
    legend_above(charge, f"(a) State of charge; the axis is cut, empty is {empty:.0f} %")
    most_w = max(float(np.abs(numbers(table, f"{app}_battery_w")).max()) for app in APP)
    for ax, letter, (app, (colour, label)) in zip(powers, "bc", APP.items(), strict=True):
        ax.fill_between(time_h, numbers(table, f"{app}_battery_w"), color=colour, alpha=0.85, linewidth=0, step="post")
        ax.axhline(0.0, color=INK, linewidth=0.8)
        ax.set_ylim(-1.1 * most_w, 1.1 * most_w)
        ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        ax.set_ylabel("power [W]\ncharging above zero")
        ax.set_title(f"({letter}) {label[0].upper()}{label[1:]}: charging and discharging", loc="left", fontsize=10, color=INK)
    days_axis(powers[-1], time_h)
    residual = float(np.abs(numbers(table, "residual_wh")).max())
    title(figure, f"Two virtual batteries, two patterns; their levels sum to the physical one within {residual:.0e} Wh")
    caption = (
        "Both applications run on half of the same array and battery, each under its own policy. Spark lets additional workers draw on a "
        "battery that has been full and waits until it is full again; the web application's load decides what it takes. Dashed: the "
        "physical battery, which holds both, and the sun of one minute that is on its way to them."
    )
    return {"fig9": (figure, caption)}

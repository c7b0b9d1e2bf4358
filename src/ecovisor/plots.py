"""The two pictures of a run: where the site's power came from and went, and every app's carbon.

Owns what they show and how; the data come from a run folder only (``runs``), so that they can be drawn again at any time.
Matplotlib is imported when a picture is drawn, with the backend that needs no screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from ecovisor.model.units import human_duration
from ecovisor.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# After Okabe and Ito: told apart with any kind of colour vision, and in grey by their order.
_SOLAR, _BATTERY, _GRID, _UNSERVED, _CARBON, _INK = "#E69F00", "#009E73", "#8C96A0", "#D55E00", "#0072B2", "#30353A"
_CARBON_ON_USE = "#99C7E0"
_MOST_POINTS = 900
_MOST_APPS = 16
_FLOWS = (
    "solar_to_load_w",
    "battery_discharge_w",
    "grid_to_load_w",
    "unserved_w",
    "solar_to_battery_w",
    "received_w",
    "grid_to_battery_w",
)


def draw(run: Run) -> list[Path]:
    """Draw `flows.png` (where the run kept its tables) and `carbon.png` into the run's folder; the files drawn."""
    drawn = []
    if run.has("flows") and run.has("site"):
        drawn.append(_save(_flows_figure(run), run.path / "flows.png"))
    if run.info["summary"]["apps"]:
        drawn.append(_save(_carbon_figure(run), run.path / "carbon.png"))
    return drawn


@dataclass(frozen=True, slots=True)
class _Bins:
    """A run's ticks gathered into at most `_MOST_POINTS` stretches of whole ticks."""

    start_s: float
    width_s: float
    count: int

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> _Bins:
        ticks_each = -(-int(summary["ticks"]) // _MOST_POINTS)
        return cls(summary["start_s"], summary["tick_s"] * ticks_each, -(-int(summary["ticks"]) // ticks_each))

    def index(self, time_s: Floats) -> NDArray[np.intp]:
        return np.clip(((time_s - self.start_s + 1e-3) // self.width_s).astype(np.intp), 0, self.count - 1)

    def edges_d(self) -> Floats:
        """Bounds of the bins as matplotlib counts time. [days since the epoch]"""
        return np.asarray((self.start_s + self.width_s * np.arange(self.count + 1)) / 86400.0)


def _mean_flows(run: Run, bins: _Bins) -> tuple[dict[str, Floats], Floats]:
    """Mean power of the whole site in each bin [W], by column; and the mean carbon intensity [g/kWh], NaN where unknown."""
    energy = {name: np.zeros(bins.count) for name in _FLOWS}
    intensity, known_s = np.zeros(bins.count), np.zeros(bins.count)
    for batch in run.batches("flows", ["time", "dt_s", "carbon_intensity_g_per_kwh", *_FLOWS]):
        place, dt_s = bins.index(batch["time"]), batch["dt_s"]
        for name in _FLOWS:
            energy[name] += np.bincount(place, np.nan_to_num(batch[name]) * dt_s, bins.count)
        known = np.isfinite(batch["carbon_intensity_g_per_kwh"])
        intensity += np.bincount(place[known], batch["carbon_intensity_g_per_kwh"][known] * dt_s[known], bins.count)
        known_s += np.bincount(place[known], dt_s[known], bins.count)
    covered_s = np.zeros(bins.count)
    for batch in run.batches("site", ["time", "dt_s"]):
        covered_s += np.bincount(bins.index(batch["time"]), batch["dt_s"], bins.count)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: value / covered_s for name, value in energy.items()}, intensity / known_s


def _levels(run: Run, bins: _Bins) -> tuple[Floats, float]:
    """Energy in the battery above its empty line at the end of each bin [Wh], and the usable capacity of all apps [Wh]."""
    level = np.full(bins.count, np.nan)
    for batch in run.batches("site", ["time", "physical_level_wh"]):
        level[bins.index(batch["time"])] = batch["physical_level_wh"]
    first_s, capacity = None, 0.0
    for batch in run.batches("flows", ["time", "capacity_wh"]):
        first_s = batch["time"][0] if first_s is None else first_s
        capacity += float(np.nansum(batch["capacity_wh"][batch["time"] == first_s]))
    return level, capacity


def _flows_figure(run: Run) -> Figure:
    summary, site = run.info["summary"], run.info["settings"].get("site", {})
    zone = ZoneInfo(site.get("timezone", "UTC"))
    bins = _Bins.of(summary)
    flows, intensity = _mean_flows(run, bins)
    level, capacity = _levels(run, bins)
    edges = bins.edges_d()
    panels = {"power": 3.2} | ({"level": 1.2} if capacity > 0 else {}) | ({"carbon": 1.0} if np.isfinite(intensity).any() else {})
    figure, axes = _figure(panels, height=2.0 + 1.25 * sum(panels.values()))
    figure.suptitle(_title(summary, "power of the whole site"), x=0.01, ha="left", fontsize=12, fontweight="bold")
    _stack(axes["power"], edges, flows)
    if "level" in axes:
        ax = axes["level"]
        scale, unit = _unit(capacity, "Wh")
        ax.fill_between(edges[1:], level / scale, color=_BATTERY, alpha=0.35, linewidth=0)
        ax.plot(edges[1:], level / scale, color=_BATTERY, linewidth=1.2)
        ax.axhline(capacity / scale, color=_INK, linewidth=0.7, linestyle=(0, (4, 3)))
        ax.annotate("full", (1.005, capacity / scale), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=_INK)
        ax.set_ylim(0, 1.12 * capacity / scale)
        ax.set_ylabel(f"battery\n[{unit}]")
    if "carbon" in axes:
        ax = axes["carbon"]
        ax.stairs(intensity, edges, color=_CARBON, linewidth=1.2, baseline=None)
        ax.set_ylim(0, 1.1 * np.nanmax(intensity))
        ax.set_ylabel("grid carbon\n[g/kWh]")
    _time_axis(list(axes.values())[-1], zone, edges)
    return figure


def _stack(ax: Axes, edges: Floats, flows: Mapping[str, Floats]) -> None:
    """Sources of the load above zero, what charges the battery below."""
    charge = flows["solar_to_battery_w"] + flows["received_w"]
    peak = max(
        float(np.nanmax(sum(flows[name] for name in _FLOWS[:4]))), float(np.nanmax(charge + flows["grid_to_battery_w"])), 1e-9
    )
    scale, unit = _unit(peak, "W")
    above = [
        ("solar to load", flows["solar_to_load_w"], _SOLAR, 1.0),
        ("battery to load", flows["battery_discharge_w"], _BATTERY, 1.0),
        ("grid to load", flows["grid_to_load_w"], _GRID, 1.0),
        ("unserved", flows["unserved_w"], _UNSERVED, 0.3),
    ]
    below = [("solar to battery", charge, _SOLAR, 0.45), ("grid to battery", flows["grid_to_battery_w"], _GRID, 0.45)]
    for layers, sign in ((above, 1.0), (below, -1.0)):
        base = np.zeros(len(edges) - 1)
        for label, value, colour, alpha in layers:
            if np.nanmax(value) <= 1e-6 * peak:
                continue
            top = base + sign * np.nan_to_num(value) / scale
            ax.fill_between(
                edges,
                np.append(base, base[-1]),
                np.append(top, top[-1]),
                step="post",
                color=colour,
                alpha=alpha,
                linewidth=0,
                label=label,
            )
            base = top
    ax.axhline(0, color=_INK, linewidth=0.8)
    ax.set_ylabel(f"power [{unit}]\ncharging below zero")
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=6, frameon=False, fontsize=9, handlelength=1.2, columnspacing=1.4)


def _carbon_figure(run: Run) -> Figure:
    summary = run.info["summary"]
    apps = sorted(summary["apps"], key=lambda app: -(app.get("baseline_carbon_g") or app["carbon_g"]))
    shown = apps[:_MOST_APPS]
    scale, unit = _unit(max((app["carbon_g"] for app in shown), default=0.0), "g")
    figure, axes = _figure({"carbon": 1.0}, height=1.5 + 0.62 * len(shown))
    ax = axes["carbon"]
    rows = np.arange(len(shown), dtype=np.float64)
    ax.barh(rows - 0.19, [app["carbon_g"] / scale for app in shown], 0.36, color=_CARBON, label="on import")
    ax.barh(rows + 0.19, [app["carbon_on_use_g"] / scale for app in shown], 0.36, color=_CARBON_ON_USE, label="on use")
    agnostic = [
        (row, app["baseline_carbon_g"] / scale) for row, app in zip(rows, shown, strict=True) if app.get("baseline_carbon_g")
    ]
    if agnostic:
        ax.vlines([x for _, x in agnostic], [y - 0.42 for y, _ in agnostic], [y + 0.42 for y, _ in agnostic], color=_UNSERVED,
                  linewidth=2.2, label="the same app carbon-agnostic")  # fmt: skip
    widest = (
        max([*(x for _, x in agnostic), *(max(a["carbon_g"], a["carbon_on_use_g"]) / scale for a in shown)], default=1.0) or 1.0
    )
    for row, app in zip(rows, shown, strict=True):
        reach = max(app["carbon_g"], app["carbon_on_use_g"], app.get("baseline_carbon_g") or 0.0) / scale
        ax.text(reach + 0.015 * widest, row, _remark(app), va="center", fontsize=9, color=_INK)
    ax.set_xlim(0, 1.45 * widest)
    ax.set_yticks(rows, [app["app"] + (f"\n{app['policy']}" if app["policy"] else "") for app in shown])
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"carbon [{unit} CO₂-eq]")
    title = "carbon by app" + (f" (the {len(shown)} largest of {len(apps)})" if len(apps) > len(shown) else "")
    figure.suptitle(_title(summary, title), x=0.01, ha="left", fontsize=12, fontweight="bold")
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, frameon=False, fontsize=9, handlelength=1.2)
    return figure


def _remark(app: Mapping[str, Any]) -> str:
    """How much carbon against the agnostic run, and when the work was done."""
    agnostic = app.get("baseline_carbon_g")
    parts = []
    unfinished = app.get("work_total") and not app.get("runtime_s")
    if agnostic and not unfinished and abs(app["carbon_g"] / agnostic - 1) >= 0.0005:
        parts.append(f"{100 * (app['carbon_g'] / agnostic - 1):+.0f} %".replace("-", "−"))
    if app.get("runtime_s"):
        done = f"done after {human_duration(app['runtime_s'])}"
        before = app.get("baseline_runtime_s")
        parts.append(done + (f" (agnostic: {human_duration(before)})" if before and before != app["runtime_s"] else ""))
    elif app.get("work_total"):
        parts.append(f"{100 * app['work_done'] / app['work_total']:.0f} % of the work done")
    return " · ".join(parts)


def _figure(panels: Mapping[str, float], height: float) -> tuple[Figure, dict[str, Axes]]:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(panels), sharex=True, squeeze=False, figsize=(11, height), height_ratios=list(panels.values()), layout="constrained"
    )
    for ax in axes[:, 0]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis="both", color="#E3E6E9", linewidth=0.7)
        ax.set_axisbelow(True)
        ax.tick_params(colors=_INK, labelsize=9)
        ax.yaxis.label.set_color(_INK)
    return figure, dict(zip(panels, axes[:, 0], strict=True))


def _time_axis(ax: Axes, zone: ZoneInfo, edges: Floats) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    ax.xaxis.axis_date(zone)
    locator = AutoDateLocator(tz=zone, minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))  # type: ignore[no-untyped-call]
    ax.set_xlim(edges[0], edges[-1])
    ax.set_xlabel(f"time, {zone.key}")


def _title(summary: Mapping[str, Any], what: str) -> str:
    name = str(summary.get("title") or "Run").partition(":")[0]
    return f"{name}: {what}"


def _unit(largest: float, unit: str) -> tuple[float, str]:
    """The factor and name of the unit in which `largest` reads well."""
    names = {"g": ("g", "kg", "t"), "W": ("W", "kW", "MW"), "Wh": ("Wh", "kWh", "MWh")}[unit]
    power = 2 if largest >= 5e6 else 1 if largest >= 5e3 else 0
    return 10.0 ** (3 * power), names[power]


def _save(figure: Figure, path: Path) -> Path:
    """Write the picture beside its name first, so that a picture is whole or absent."""
    from matplotlib import pyplot

    partial = path.with_name(f".{path.name}")
    try:
        figure.savefig(partial, dpi=130, format="png")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
        pyplot.close(figure)
    return path

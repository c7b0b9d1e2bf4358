"""The robustness study drawn from its tables: zones and months, what forecasts cost, and where each policy stops paying.

Colours are told apart with any kind of colour vision (Okabe and Ito): blue saves carbon, vermilion costs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ecovisor.studies.findings import Findings, Table
from ecovisor.studies.robustness_forecasts import DAY_AHEAD, DAY_BEFORE, PERFECT, PERSISTENCE
from ecovisor.studies.robustness_results import titles
from ecovisor.studies.robustness_runs import ARBITRAGE, MONTHS, POLICIES, WAITING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_INK, _LINES, _PAYS, _COSTS = "#30353A", "#E3E6E9", "#0072B2", "#D55E00"
_MONTHS = ("J", "F", "M", "A", "M", "J", "J", "A", "S", "O", "N", "D")
_FORECASTS = {
    PERFECT: ("#30353A", "o", "perfect"),
    DAY_AHEAD: ("#0072B2", "D", "day-ahead"),
    DAY_BEFORE: ("#009E73", "s", "the day before, again"),
    PERSISTENCE: ("#D55E00", "^", "the last value, for good"),
}
#: Where the colours of the map end. [%]
_LEAST, _MOST = -30.0, 60.0


def draw(findings: Findings) -> dict[str, tuple[Figure, str]]:
    """Name → figure and its caption."""
    data = _Data(findings.tables["months"], findings.tables["zones"])
    return {
        "robustness": (_map(data), _map_caption(data)),
        "robustness-forecasts": (_forecasts(data), _forecasts_caption(data)),
        "robustness-frontier": (_frontier(data), _frontier_caption(data)),
    }


class _Data:
    """The tables as arrays, zones in the order of their variation, the most variable first."""

    def __init__(self, months: Table, zones: Table) -> None:
        names, cv = list(map(str, zones.columns["zone"])), np.asarray(zones.columns["cv_48h_ratio"], dtype=np.float64)
        order = [names[k] for k in np.argsort(-cv)]
        self.zones = order
        self.cv_percent = {name: 100.0 * value for name, value in zip(names, cv, strict=True)}
        self._columns = {
            name: np.asarray(values, dtype=object if name in ("zone", "policy", "forecast") else np.float64)
            for name, values in months.columns.items()
        }

    def by_month(self, column: str, policy: str, forecast: str) -> Floats:
        """A column of the months' table: zones × months."""
        chosen = (self._columns["policy"] == policy) & (self._columns["forecast"] == forecast)
        found = np.full((len(self.zones), MONTHS), np.nan)
        place = [self.zones.index(zone) for zone in self._columns["zone"][chosen]]
        found[place, self._columns["month"][chosen].astype(int) - 1] = self._columns[column][chosen]
        return found


def _figure(rows: int, columns: int, width: float, height: float, **more: Any) -> tuple[Figure, NDArray[Any]]:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **more)
    for ax in axes.flat:
        ax.tick_params(colors=_INK, labelsize=9)
        for label in (ax.xaxis.label, ax.yaxis.label):
            label.set_color(_INK)
    return figure, axes


def _plain(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="both", color=_LINES, linewidth=0.7)
    ax.set_axisbelow(True)


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)


# -- zones × months


def _map(data: _Data) -> Figure:
    from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm

    colours = LinearSegmentedColormap.from_list("pays", [_COSTS, "#F6F6F4", _PAYS])
    norm = TwoSlopeNorm(0.0, _LEAST, _MOST)
    figure, axes = _figure(2, 2, 12.5, 1.6 + 0.62 * len(data.zones), sharex=True, sharey=True)
    for ax, policy in zip(axes.flat, POLICIES, strict=True):
        saved = 100.0 * data.by_month("saved_ratio", policy, DAY_AHEAD)
        image = ax.imshow(saved, cmap=colours, norm=norm, aspect="auto")
        for (row, month), value in np.ndenumerate(saved):
            if np.isfinite(value):
                dark = value > 0.55 * _MOST or value < 0.55 * _LEAST
                ax.text(month, row, _signed(value), ha="center", va="center", fontsize=8, color="white" if dark else _INK)
        ax.set_title(titles(policy), loc="left", fontsize=10, color=_INK)
        ax.set_xticks(range(MONTHS), _MONTHS)
        ax.set_yticks(range(len(data.zones)), [f"{zone}  {data.cv_percent[zone]:.0f} %" for zone in data.zones])
        ax.set_xticks(np.arange(0.5, MONTHS - 1), minor=True)
        ax.set_yticks(np.arange(0.5, len(data.zones) - 1), minor=True)
        ax.grid(which="minor", color="white", linewidth=1.2)
        ax.tick_params(which="both", length=0)
        ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.55, aspect=32, pad=0.015, ticks=[-30, -15, 0, 15, 30, 45, 60])
    bar.set_label("carbon saved against carbon-agnostic [%]", color=_INK, fontsize=10)
    bar.ax.tick_params(colors=_INK, labelsize=9)
    bar.outline.set_visible(False)
    figure.supxlabel("month of 2022", fontsize=10, color=_INK)
    figure.supylabel("zone, and how much its intensity varies within 48 h (sd over mean)", fontsize=10, color=_INK)
    _title(figure, "Carbon saved with a day-ahead forecast, by zone and month")
    return figure


def _map_caption(data: _Data) -> str:
    parts = []
    for policy in POLICIES:
        saved = data.by_month("saved_ratio", policy, DAY_AHEAD)
        parts.append(f"{titles(policy)} costs carbon in {int((saved < 0.0).sum())} of {int(np.isfinite(saved).sum())} zone-months")
    return (
        f"Zones by their variation, the most variable on top. {'; '.join(parts)}. "
        "A number is the mean over the month's arrivals, for battery arbitrage the whole month."
    )


# -- what forecasts cost


def _forecasts(data: _Data) -> Figure:
    figure, axes = _figure(2, 4, 13.0, 2.0 + 0.58 * len(data.zones), sharey=True)
    rows = np.arange(len(data.zones))
    for column, policy in enumerate(POLICIES):
        quantities = [("saved_ratio", 100.0, "carbon saved [%]"), ("delay_h", 1.0, "delay [h]")]
        for ax, (quantity, factor, label) in zip(axes[:, column], quantities, strict=True):
            if quantity == "delay_h" and policy == ARBITRAGE:
                ax.set_visible(False)
                continue
            _plain(ax)
            values = {forecast: factor * np.nanmean(data.by_month(quantity, policy, forecast), axis=1) for forecast in _FORECASTS}
            ends = np.array(list(values.values()))
            ax.hlines(rows, ends.min(axis=0), ends.max(axis=0), color="#C4CAD0", linewidth=1.6, zorder=1)
            for forecast, (colour, marker, name) in _FORECASTS.items():
                ax.scatter(values[forecast], rows, s=26, color=colour, marker=marker, label=name, zorder=2, linewidths=0)
            ax.set_xlabel(label, fontsize=10)
            if quantity == "saved_ratio":
                ax.axvline(0.0, color=_INK, linewidth=0.8)
                ax.set_title(titles(policy), loc="left", fontsize=10, color=_INK)
            else:
                ax.set_xlim(0.0, None)
    for ax in axes[:, 0]:
        ax.set_yticks(rows, data.zones)
    axes[0, 0].invert_yaxis()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend = figure.legend(
        handles,
        labels,
        loc="lower right",
        bbox_to_anchor=(0.985, 0.12),
        frameon=False,
        fontsize=10,
        labelcolor=_INK,
        title="forecast",
    )
    legend.get_title().set_color(_INK)
    _title(figure, "What a worse forecast costs in carbon and in time")
    return figure


def _forecasts_caption(data: _Data) -> str:
    saved = {
        forecast: 100.0 * float(np.nanmean([data.by_month("saved_ratio", policy, forecast) for policy in WAITING]))
        for forecast in _FORECASTS
    }
    delay_h = {
        forecast: float(np.nanmean([data.by_month("delay_h", policy, forecast) for policy in WAITING])) for forecast in _FORECASTS
    }
    told = "; ".join(
        f"{name} {_signed(saved[forecast], 1)} % and {delay_h[forecast]:.0f} h" for forecast, (_, _, name) in _FORECASTS.items()
    )
    return f"Means of the year, each zone a row. Carbon saved and delay, mean of the waiting policies and all zones: {told}."


# -- the frontier


def _frontier(data: _Data) -> Figure:
    figure, axes = _figure(1, 4, 13.0, 4.3, sharex=True, sharey=True)
    cv = 100.0 * data.by_month("cv_48h_ratio", WAITING[0], PERFECT)
    for ax, policy in zip(axes.flat, POLICIES, strict=True):
        _plain(ax)
        for forecast in (PERSISTENCE, DAY_AHEAD):
            colour, _, name = _FORECASTS[forecast]
            saved = 100.0 * data.by_month("saved_ratio", policy, forecast)
            ax.scatter(cv, saved, s=11, color=colour, alpha=0.55, linewidths=0, label=name)
            slope, offset = _line(cv, saved)
            ends = np.array([0.0, float(cv.max())])
            ax.plot(ends, offset + slope * ends, color=colour, linewidth=1.6)
        ax.axhline(0.0, color=_INK, linewidth=0.9)
        crossing = _crossing(cv, 100.0 * data.by_month("saved_ratio", policy, DAY_AHEAD))
        if crossing > 0.0:
            ax.axvline(crossing, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)))
        told = f"pays from {crossing:.1f} % on" if crossing > 0.0 else "pays everywhere"
        ax.set_title(f"{titles(policy)}: {told}", loc="left", fontsize=10, color=_INK)
        ax.set_xlim(0.0, None)
    axes[0, 0].set_ylabel("carbon saved [%]", fontsize=10)
    legend = axes[0, 0].legend(loc="upper left", frameon=False, fontsize=9, labelcolor=_INK, title="forecast", markerscale=1.6)
    legend.get_title().set_color(_INK)
    figure.supxlabel("variation of carbon intensity within 48 h: standard deviation over mean [%]", fontsize=10, color=_INK)
    _title(figure, "The frontier: what a policy saves against how much the zone varies")
    return figure


def _frontier_caption(data: _Data) -> str:
    cv = 100.0 * data.by_month("cv_48h_ratio", WAITING[0], PERFECT)
    crossings = {policy: _crossing(cv, 100.0 * data.by_month("saved_ratio", policy, DAY_AHEAD)) for policy in POLICIES}
    told = ", ".join(
        f"{titles(policy)} {value:.1f} %" if value > 0.0 else f"{titles(policy)} none" for policy, value in crossings.items()
    )
    return (
        "A dot is a zone in a month, a line the least squares through all of them. "
        f"Variation below which a policy costs carbon with a day-ahead forecast (dashed): {told}."
    )


def _line(cv: Floats, saved: Floats) -> tuple[float, float]:
    known = np.isfinite(saved)
    slope, offset = np.polyfit(cv[known], saved[known], 1)
    return float(slope), float(offset)


def _crossing(cv: Floats, saved: Floats) -> float:
    slope, offset = _line(cv, saved)
    return max(0.0, -offset / slope)


def _signed(value: float, decimals: int = 0) -> str:
    return f"{value:.{decimals}f}".replace("-", "−").replace("−0", "0" if decimals == 0 and abs(value) < 0.5 else "−0")

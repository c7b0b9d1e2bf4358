"""The look of figures 10 and 11: colours, axes, and where legends stand. `figure10_plot` and `figure11_plot` draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# After Okabe and Ito, as in `ecovisor.plots`: told apart with any kind of colour vision.
SUN, STATIC, DYNAMIC, EFFICIENCY, INK, FAINT = "#E69F00", "#8C96A0", "#0072B2", "#009E73", "#30353A", "#E3E6E9"


def panels(heights: list[float], height_inches: float, *, share_x: bool) -> tuple[Figure, list[Axes]]:
    """Panels one below the other."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(heights), squeeze=False, sharex=share_x, figsize=(10, height_inches), height_ratios=heights, layout="constrained"
    )
    for ax in axes[:, 0]:
        plain(ax)
    return figure, list(axes[:, 0])


def plain(ax: Axes) -> None:
    """No frame, a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="both", color=FAINT, linewidth=0.7)
    ax.set_axisbelow(True)
    ax.tick_params(colors=INK, labelsize=9)
    ax.xaxis.label.set_color(INK)
    ax.yaxis.label.set_color(INK)


def second_axis(ax: Axes, colour: str) -> Axes:
    """An axis on the right for another quantity, in its colour."""
    other = ax.twinx()
    other.spines[["top", "left"]].set_visible(False)
    other.tick_params(colors=colour, labelsize=9)
    return other


def entitle(ax: Axes, title: str, legend_rows: int = 1) -> None:
    """The panel's title, above its legend."""
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK, pad=7 + 17 * legend_rows)


def legend(ax: Axes, *others: Axes, columns: int = 4) -> None:
    """One legend for all lines of a panel, above it."""
    handles, labels = [], []
    for one in (ax, *others):
        found, named = one.get_legend_handles_labels()
        handles += found
        labels += named
    ax.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(-0.01, 0.995), ncols=columns, frameon=False, fontsize=9, handlelength=1.6,
        columnspacing=1.4, borderaxespad=0.1,
    )  # fmt: skip

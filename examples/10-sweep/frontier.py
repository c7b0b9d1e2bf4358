"""Draws the frontier of a sweep: carbon against run time, a line for each scale. `python frontier.py sweep.csv frontier.png`."""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean


def frontier(path: Path) -> dict[float, list[tuple[float, float, float]]]:
    """Scale → (percentile, mean run time in h, mean carbon in g) over the seeds, the most patient first."""
    cells = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["app"] == "job" and row["runtime_s"]:
                key = float(row["apps.job.policy.scale"]), float(row["apps.job.policy.percentile"])
                cells[key].append((float(row["runtime_s"]) / 3600, float(row["carbon_g"])))
    lines = defaultdict(list)
    for (scale, percentile), runs in sorted(cells.items()):
        lines[scale].append((percentile, fmean(h for h, _ in runs), fmean(g for _, g in runs)))
    return dict(lines)


def main(table: str, picture: str) -> None:
    """Draw it."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, ax = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for (scale, points), colour in zip(frontier(Path(table)).items(), ("#0072B2", "#009E73", "#D55E00", "#E69F00"), strict=False):
        ax.plot([h for _, h, _ in points], [g for _, _, g in points], marker="o", color=colour, label=f"scale {scale:g}")
        for percentile, h, g in points:
            ax.annotate(f"{percentile:g}", (h, g), textcoords="offset points", xytext=(5, 5), fontsize=8)
    ax.set_xlabel("run time [h]")
    ax.set_ylabel("carbon [g]")
    ax.set_title("Carbon against run time; the number is the percentile", loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])

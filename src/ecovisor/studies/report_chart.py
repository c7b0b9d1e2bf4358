"""One drawing for the report: each number of a paper with ours beside it, on one axis a unit, as an SVG that follows the page's colours."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from ecovisor.studies.findings import Number
from ecovisor.studies.report_words import spelled

_WIDTH, _LABELS, _MARGIN, _ROW, _TOP = 900.0, 400.0, 26.0, 25.0, 8.0
_MOST_CHARACTERS = 60


def paper_and_ours(rows: Sequence[tuple[str, Number]], unit: str) -> str:
    """The numbers of one unit that a paper states, under each other: a ring for the paper's, a dot with its spread for ours.

    Args:
        rows: study and number.
        unit: of all of them.
    """
    shown = [(study, one) for study, one in rows if one.paper is not None and math.isfinite(one.ours)]
    if not shown:
        return ""
    values = [
        value for _, one in shown for value in (one.paper or 0.0, one.ours - (one.spread or 0.0), one.ours + (one.spread or 0.0))
    ]
    low, high, step = _axis(min(0.0, *values), max(0.0, *values))
    height = _TOP + _ROW * len(shown) + 26.0

    def x(value: float) -> float:
        return _LABELS + (value - low) / (high - low) * (_WIDTH - _LABELS - _MARGIN)

    bottom = _TOP + _ROW * len(shown)
    parts = []
    for k in range(round((high - low) / step) + 1):
        value = low + k * step
        style = "zero" if abs(value) < step / 2 else "rule"
        parts.append(f'<line class="{style}" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="soft mid" x="{x(value):.1f}" y="{bottom + 17}">{_tick(value, step)} {escape(unit)}</text>')
    for k, (study, one) in enumerate(shown):
        parts.append(_row(study, one, _TOP + _ROW * (k + 0.5), x))
    label = f"Paper's numbers and ours in {unit}"
    return f'<svg viewBox="0 0 {_WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _row(study: str, one: Number, y: float, place: Callable[[float], float]) -> str:
    paper, ours, spread = one.paper or 0.0, one.ours, one.spread or 0.0
    name = f"{study} · {one.name}"
    short = name if len(name) <= _MOST_CHARACTERS else name[: _MOST_CHARACTERS - 1] + "…"
    told = f"{name}: paper {spelled(paper, one.unit)}, ours {spelled(ours, one.unit)} {one.unit}"
    return (
        f"<g><title>{escape(told)}</title>"
        f'<text x="0" y="{y + 4:.1f}">{escape(short)}</text>'
        f'<line class="gap" x1="{place(paper):.1f}" x2="{place(ours):.1f}" y1="{y}" y2="{y}"/>'
        f'<line class="spread" x1="{place(ours - spread):.1f}" x2="{place(ours + spread):.1f}" y1="{y}" y2="{y}"/>'
        f'<circle class="paper" cx="{place(paper):.1f}" cy="{y}" r="5"/><circle class="ours" cx="{place(ours):.1f}" cy="{y}" r="5"/></g>'
    )


def _axis(low: float, high: float) -> tuple[float, float, float]:
    """Round bounds around the values, and the distance of the lines between them."""
    rough = ((high - low) or 1.0) / 5.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, max(last, first + 1) * step, step


def _tick(value: float, step: float) -> str:
    decimals = max(-math.floor(math.log10(step)), 0)
    return f"{value + 0.0:.{decimals}f}".replace("-", "−") if abs(value) >= step / 2 else "0"

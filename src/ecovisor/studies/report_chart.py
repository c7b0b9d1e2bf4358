"""One drawing for the report: each number of a paper with ours beside it, on one axis a unit.

It is markup, so that it follows the colours and the width of the page; the style is in `report_style.css`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from ecovisor.studies.findings import Number
from ecovisor.studies.report_words import capital, of_paper, spelled


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

    def place(value: float) -> float:
        return 100.0 * (value - low) / (high - low)

    ticks = [low + k * step for k in range(round((high - low) / step) + 1)]
    rules = "".join(
        f'<i class="{"zero" if abs(value) < step / 2 else "rule"}" style="left:{place(value):.2f}%"></i>' for value in ticks
    )
    parts = []
    for study in dict.fromkeys(study for study, _ in shown):
        parts.append(f'<p class="of">{escape(study)}</p>')
        parts += [_row(one, rules, place) for of, one in shown if of == study]
    labels = "".join(f'<em style="left:{place(value):.2f}%">{_tick(value, step)} {escape(unit)}</em>' for value in ticks)
    parts.append(f'<div class="row axis"><span></span><div class="plot">{labels}</div></div>')
    label = escape(f"Paper's numbers and ours in {unit}")
    return f'<div class="chart" role="group" aria-label="{label}">{"".join(parts)}</div>'


def _row(one: Number, rules: str, place: Callable[[float], float]) -> str:
    paper, ours, spread = one.paper or 0.0, one.ours, one.spread or 0.0
    told = f"paper {of_paper(one)} {one.unit}, ours {spelled(ours, one.unit)} {one.unit}"
    marks = [
        _bar("gap", place(min(paper, ours)), place(max(paper, ours))),
        _bar("spread", place(ours - spread), place(ours + spread)),
        f'<i class="paper" style="left:{place(paper):.2f}%"></i>',
        f'<i class="ours" style="left:{place(ours):.2f}%"></i>',
    ]
    name = f"<span>{escape(capital(one.name))}</span>"
    return f'<div class="row">{name}<div class="plot" title="{escape(told)}">{rules}{"".join(marks)}</div></div>'


def _bar(kind: str, first: float, last: float) -> str:
    return f'<i class="{kind}" style="left:{first:.2f}%;width:{last - first:.2f}%"></i>'


#: Values that are no further apart are all zero.
_NOTHING = 1e-12


def _axis(low: float, high: float) -> tuple[float, float, float]:
    """Round bounds around the values, and the distance of the lines between them."""
    rough = (high - low if high - low > _NOTHING else 1.0) / 5.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, max(last, first + 1) * step, step


def _tick(value: float, step: float) -> str:
    decimals = max(-math.floor(math.log10(step)), 0)
    return f"{value + 0.0:.{decimals}f}".replace("-", "−") if abs(value) >= step / 2 else "0"

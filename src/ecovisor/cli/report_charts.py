"""The pictures of a report, drawn as SVG: bars over time, stacked by source, and a carpet of the carbon-free share, a row a day.

Owns geometry: scales, grid lines, labels. Colours are classes of the page's style sheet (``report_page``). Every bar tells its numbers
to who points at it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from html import escape

from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.reporting import Span
from ecovisor.cli.live_tables import quantity
from ecovisor.cli.report_text import carbon, percent

WIDTH, HEIGHT = 960, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 30
_LABEL_PX = 76
_CARPET_ROW, _CARPET_TOP = 17, 20
#: For time without ticks.
_HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="6" height="6" fill="#f8f9fa"/><rect width="1.2" height="6" fill="#ccd2d7"/></pattern></defs>'
)
#: Days that a carpet has room for.
CARPET_DAYS = 92


@dataclass(frozen=True, slots=True)
class Layer:
    """One of the things that are stacked."""

    css: str
    values: Sequence[float]
    """One a span."""


def stacked(
    spans: Sequence[Span], layers: Sequence[Layer], unit: str, calendar: Calendar, *, daily: bool, unknown: Collection[int] = ()
) -> str:
    """Bars of a value per span, stacked.

    Args:
        spans: one after the other.
        layers: from below.
        unit: of their values: `Wh` or `g`.
        calendar: of the labels.
        daily: spans are days.
        unknown: numbers of spans whose value is unknown; these, and those without ticks, are hatched.
    """
    top = max((sum(layer.values[k] for layer in layers) for k in range(len(spans))), default=0.0)
    factor, shown = _unit(top, unit)
    step = _nice_step(top / factor)
    most = max(step, math.ceil(top / factor / step - 1e-9) * step)
    parts = [_grid(most, step, shown)]
    x, y = _across(spans), _down(most * factor)
    gap = 0.6 if len(spans) > 60 else 1.5
    for k, span in enumerate(spans):
        left, right = x(span.start_s), x(span.end_s)
        width = max(0.4, right - left - gap)
        if span.absent or k in unknown:
            parts.append(
                f'<rect class="absent" x="{left:.2f}" y="{_TOP}" width="{right - left:.2f}" height="{HEIGHT - _TOP - _BOTTOM}"/>'
            )
            continue
        base = 0.0
        rects = []
        for layer in layers:
            value = layer.values[k]
            if value > 0.0:
                upper, lower = y(base + value), y(base)
                rects.append(
                    f'<rect class="{layer.css}" x="{left:.2f}" y="{upper:.2f}" width="{width:.2f}" height="{lower - upper:.2f}"/>'
                )
                base += value
        parts.append(f"<g>{''.join(rects)}<title>{escape(_told(span, calendar, daily=daily))}</title></g>")
    parts.append(_time_axis(spans, x, calendar, daily=daily))
    return _svg(HEIGHT, parts)


def carpet(spans: Sequence[Span], calendar: Calendar) -> str:
    """The carbon-free share of every hour: a row a day, a column an hour of the clock; an hour that comes twice is two halves."""
    rows: dict[str, dict[int, list[Span]]] = {}
    for span in spans:
        when = calendar.local(span.start_s)
        rows.setdefault(f"{when:%a %d %b}", {}).setdefault(when.hour, []).append(span)
    cell = (WIDTH - _LEFT - 30 - _RIGHT) / 24
    left = _LEFT + 30
    parts = [
        f'<text class="tick" x="{left + hour * cell:.1f}" y="{_CARPET_TOP - 7}">{hour:02}:00</text>' for hour in range(0, 24, 3)
    ]
    for k, (day, hours) in enumerate(rows.items()):
        top = _CARPET_TOP + k * _CARPET_ROW
        parts.append(f'<text class="tick end" x="{left - 8}" y="{top + 12}">{escape(day)}</text>')
        for hour, found in hours.items():
            width = cell / len(found)
            for place, span in enumerate(found):
                ratio = span.all.carbon_free_ratio
                css = 'class="absent"' if ratio is None or span.absent else f'fill="{_shade(ratio)}"'
                box = f'x="{left + hour * cell + place * width:.2f}" y="{top}" width="{width - 1:.2f}" height="{_CARPET_ROW - 1}"'
                parts.append(f"<rect {css} {box}><title>{escape(_told(span, calendar, daily=False))}</title></rect>")
    return _svg(_CARPET_TOP + len(rows) * _CARPET_ROW + 4, parts)


def share_bar(parts: Sequence[tuple[str, float]]) -> str:
    """A bar of 100 %, cut by source."""
    whole = sum(value for _, value in parts)
    if whole <= 0.0:
        return '<span class="share"></span>'
    cuts = "".join(f'<i class="{css}" style="width:{100 * value / whole:.2f}%"></i>' for css, value in parts if value > 0.0)
    return f'<span class="share">{cuts}</span>'


def legend_shade() -> str:
    """The colours of the carpet, from 0 to 100 %."""
    return "".join(f'<i style="background:{_shade(k / 10)}"></i>' for k in range(11))


# -- geometry


def _across(spans: Sequence[Span]) -> _Scale:
    return _Scale(spans[0].start_s, spans[-1].end_s, _LEFT, WIDTH - _RIGHT)


def _down(most: float) -> _Scale:
    return _Scale(0.0, most, HEIGHT - _BOTTOM, _TOP)


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to places in the picture."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def _grid(most: float, step: float, unit: str) -> str:
    y = _down(most)
    lines = []
    for k in range(round(most / step) + 1):
        at = y(k * step)
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        lines.append(
            f'<text class="tick end" x="{_LEFT - 7}" y="{at + 4:.1f}">{k * step:g}{" " + unit if k * step == most else ""}</text>'
        )
    return "".join(lines)


def _time_axis(spans: Sequence[Span], x: _Scale, calendar: Calendar, *, daily: bool) -> str:
    """Labels where days begin, or every few hours of a short report; as many as there is room for."""
    start_s, end_s = spans[0].start_s, spans[-1].end_s
    hourly = end_s - start_s <= 2.2 * 86_400.0
    places = []
    for span in spans:
        when = calendar.local(span.start_s + 1.0)
        if hourly and when.hour % 3 == 0 and when.minute == 0:
            places.append((span, f"{when:%d %b}" if when.hour == 0 else f"{when:%H:%M}", when.hour == 0))
        elif not hourly and (daily or (when.hour == 0 and when.minute == 0)):
            places.append((span, f"{when:%a %d %b}", True))
    every = max(1, math.ceil(len(places) * _LABEL_PX / (WIDTH - _LEFT)))
    parts = []
    for k, (span, label, strong) in enumerate(places):
        at = x(span.start_s)
        if strong and not daily:
            parts.append(f'<line class="day" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM + 5}"/>')
        middle = (x(span.start_s) + x(span.end_s)) / 2 if daily else at + 3
        if k % every == 0 and middle < WIDTH - 30:
            css = "tick mid" if daily else "tick"
            parts.append(f'<text class="{css}" x="{middle:.1f}" y="{HEIGHT - _BOTTOM + 17}">{escape(label)}</text>')
    return "".join(parts)


def _nice_step(most: float) -> float:
    """1, 2, 2.5 or 5 times a power of ten, so that four or five lines reach the top."""
    if most <= 0.0:
        return 1.0
    size = 10.0 ** math.floor(math.log10(most / 4.0))
    return next(step * size for step in (1.0, 2.0, 2.5, 5.0, 10.0) if most / (step * size) <= 5.0)


def _unit(most: float, unit: str) -> tuple[float, str]:
    for factor, prefix in ((1e6, "M"), (1e3, "k")):
        if most >= 2.0 * factor:
            return factor, "t" if (unit, prefix) == ("g", "M") else prefix + unit
    return 1.0, unit


def _shade(ratio: float) -> str:
    """From grey, all from the grid, to green, all from the sun."""
    low, high = (222, 226, 230), (0, 140, 102)
    return "#" + "".join(f"{round(a + (b - a) * min(1.0, max(0.0, ratio)) ** 0.8):02x}" for a, b in zip(low, high, strict=True))


def _told(span: Span, calendar: Calendar, *, daily: bool) -> str:
    one, when = span.all, calendar.local(span.start_s + 1.0)
    if span.absent:
        return f"{when:%a %d %b %H:%M}: no ticks"
    return (
        f"{when:%a %d %b}{'' if daily else f' {when:%H:%M %Z}'}: load {quantity(one.load_wh, 'Wh')}"
        f" (sun {quantity(one.solar_to_load_wh, 'Wh')}, battery {quantity(one.battery_to_load_wh, 'Wh')},"
        f" grid {quantity(one.grid_to_load_wh, 'Wh')}), to battery from grid {quantity(one.grid_to_battery_wh, 'Wh')},"
        f" carbon {carbon(one)}, carbon-free {percent(one.carbon_free_ratio)}"
    )


def _svg(height: float, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img">{_HATCH}{"".join(parts)}</svg>'

"""A report as one page of HTML that needs nothing else: no script, no address; it prints on paper as it looks.

Owns words, order and style. The numbers are those of ``adapters.stores.ledger.reporting``, the pictures those of ``report_charts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.reporting import Figures, Report
from ecovisor.cli.live_tables import quantity
from ecovisor.cli.report_charts import CARPET_DAYS, Layer, carpet, legend_shade, share_bar, stacked
from ecovisor.cli.report_text import carbon, moment, notes, percent
from ecovisor.model.units import human_duration

#: A longer report shows days instead of hours.
_DAYS_OF_HOURS = 8
_APPS_SHOWN = 60
_NOTHING = "–"
_COLUMNS = (
    "by source",
    "used",
    "sun",
    "battery",
    "grid",
    "grid into<br>battery",
    "carbon-<br>free",
    "carbon<br>on import",
    "on use",
)

_STYLE = """
:root{--sun:#e69f00;--battery:#009e73;--grid:#8c96a0;--store:#c3c9cf;--carbon:#0072b2;--ink:#1d2328;--soft:#59646e;--line:#e1e5e9;--back:#f3f5f7}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
-webkit-print-color-adjust:exact;print-color-adjust:exact;font-variant-numeric:tabular-nums}
main{max-width:1040px;margin:0 auto;padding:34px 40px 40px;background:#fff}
header{border-bottom:3px solid var(--ink);padding-bottom:14px;margin-bottom:20px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px}
h2{font-size:16px;margin:30px 0 4px}
header p,.hint{color:var(--soft);margin:0}
.hint{font-size:13px;margin-bottom:6px;max-width:74ch}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(145px,1fr));gap:10px;margin:0}
.tiles div{background:var(--back);border-radius:6px;padding:10px 14px}
.tiles dt{font-size:12.5px;color:var(--soft)}
.tiles dd{margin:0;font-size:23px;font-weight:650;line-height:1.3;white-space:nowrap}
.tiles small{display:block;font-size:12px;font-weight:400;color:var(--soft);line-height:1.35;white-space:normal}
svg{display:block;width:100%;height:auto}
svg text{font:11.5px system-ui,"Segoe UI",Roboto,sans-serif;fill:var(--soft)}
svg .end{text-anchor:end}svg .mid{text-anchor:middle}
svg .grid{stroke:var(--line)}svg .day{stroke:#c3c9cf;stroke-dasharray:2 3}
svg .sun{fill:var(--sun)}svg .battery{fill:var(--battery)}svg .grid-load{fill:var(--grid)}
svg .store{fill:var(--store)}svg .carbon{fill:var(--carbon)}
svg .absent{fill:url(#hatch)}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:12.5px;color:var(--soft);margin:2px 0 4px}
.legend span{display:flex;align-items:center;gap:6px}
.legend i{width:12px;height:12px;border-radius:2px;display:inline-block}
.legend .ramp i{width:14px;border-radius:0;margin-right:-6px}.legend .ramp i:last-of-type{margin-right:0}
i.sun{background:var(--sun)}i.battery{background:var(--battery)}i.grid-load{background:var(--grid)}i.store{background:var(--store)}
table{border-collapse:collapse;width:100%;font-size:13px}
th{font-weight:600;color:var(--soft);font-size:12px;text-align:right;vertical-align:bottom;padding:4px 0 5px 9px;
border-bottom:1px solid var(--ink)}
td{text-align:right;padding:5px 0 5px 9px;border-bottom:1px solid var(--line);white-space:nowrap}
th:nth-child(2),td:nth-child(2){text-align:left}
th:first-child,td:first-child{text-align:left;padding-left:0;max-width:170px;overflow:hidden;text-overflow:ellipsis}
tr.sum td{font-weight:650;border-bottom:0;border-top:1px solid var(--ink)}
.share{display:flex;width:84px;height:10px;background:var(--line);border-radius:2px;overflow:hidden}
.share i{height:100%}
ul{margin:6px 0;padding-left:20px}
footer{margin-top:26px;padding-top:10px;border-top:1px solid var(--line);font-size:12.5px;color:var(--soft)}
@page{size:A4;margin:13mm 12mm}
@media print{
body{background:#fff;font-size:12px}main{padding:0;max-width:none}section{break-inside:avoid}h2{margin-top:18px;font-size:14px}
.tiles{grid-template-columns:repeat(6,1fr);gap:6px}.tiles div{padding:7px 9px}
.tiles dd{font-size:15.5px}.tiles dt,.tiles small{font-size:9.5px}
table{font-size:10px}th{font-size:9.5px;padding-left:5px}td{padding:3px 0 3px 5px}.share{width:60px;height:8px}
th:first-child,td:first-child{max-width:105px}footer{font-size:10px}
}
@media (max-width:640px){main{padding:20px 16px}.wide{overflow-x:auto}}
"""


def page(report: Report) -> str:
    """The page."""
    calendar = Calendar(report.timezone)
    site = report.site or "Site"
    alone = next(iter(report.apps)) if len(report.apps) == 1 else None
    title = f"{site}: energy and carbon" if alone is None else f"{alone} at {site}: energy and carbon"
    who = "one app" if alone is not None else f"{len(report.apps)} apps, the site's own (_site) among them"
    span = f"{moment(calendar, report.start_s)} to {moment(calendar, report.end_s)}"
    parts = [
        f"<header><h1>{escape(title)}</h1><p>{escape(span)} · {escape(report.timezone)} · {escape(who)}</p></header>",
        _tiles(report),
        _charts(report, calendar),
        _apps(report),
        _days(report, calendar) if len(report.days) > 1 else "",
        _notes(report),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}, {escape(span)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>\n{chr(10).join(parts)}\n</main></body></html>\n"
    )


def _tiles(report: Report) -> str:
    one = report.all
    imported_wh = one.grid_to_load_wh + one.grid_to_battery_wh
    per_kwh = one.carbon_g / one.load_wh * 1000.0 if one.carbon_g is not None and one.load_wh > 0.0 else None
    tiles = [
        ("Energy used", quantity(one.load_wh, "Wh"), "served to load"),
        ("Carbon", carbon(one), "on import" + (f" · {per_kwh:.0f} g per kWh used" if per_kwh is not None else "")),
        ("Carbon-free", percent(one.carbon_free_ratio), "of the energy used, by sun and battery"),
        ("Grid import", quantity(imported_wh, "Wh"), _intensity(one)),
    ]
    if one.cost is not None:
        tiles.append(("Cost", f"{one.cost:,.2f}", "of import" + _partly(one.priced_ratio)))
    gap_s = sum(gap.end_s - gap.start_s for gap in report.gaps)
    missing = f"no ticks for {human_duration(gap_s)}" if gap_s > 0.0 else "no gaps"
    tiles.append(("Metered", f"{100 * report.coverage_ratio:.1f} %", missing))
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(said)}</small></dd></div>" for name, value, said in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def _intensity(one: Figures) -> str:
    if one.intensity_g_per_kwh is None:
        return "grid intensity unknown"
    return f"grid at {one.intensity_g_per_kwh:.0f} g/kWh on average"


def _partly(ratio: float) -> str:
    return f", known for {100 * ratio:.1f} % of the time" if ratio < 1.0 - 1e-6 else ""


def _charts(report: Report, calendar: Calendar) -> str:
    daily = len(report.days) > _DAYS_OF_HOURS
    spans, each = (report.days, "day") if daily else (report.hours, "hour")
    energy = [
        Layer("sun", [span.all.solar_to_load_wh for span in spans]),
        Layer("battery", [span.all.battery_to_load_wh for span in spans]),
        Layer("grid-load", [span.all.grid_to_load_wh for span in spans]),
        Layer("store", [span.all.grid_to_battery_wh for span in spans]),
    ]
    grams = [Layer("carbon", [span.all.carbon_g or 0.0 for span in spans])]
    unknown = {k for k, span in enumerate(spans) if span.all.carbon_g is None}
    legend = (
        '<div class="legend"><span><i class="sun"></i>sun</span><span><i class="battery"></i>battery</span>'
        '<span><i class="grid-load"></i>grid</span><span><i class="store"></i>grid, into the battery</span></div>'
    )
    told = '<p class="hint">Hatched: the carbon of the import is unknown, or there are no ticks.</p>' if unknown else ""
    carbon_bars = stacked(spans, grams, "g", calendar, daily=daily, unknown=unknown)
    parts = [
        f"<section><h2>Energy by source, per {each}</h2>{legend}{stacked(spans, energy, 'Wh', calendar, daily=daily)}</section>",
        f"<section><h2>Carbon of import, per {each}</h2>{told}{carbon_bars}</section>",
    ]
    if len(report.days) <= CARPET_DAYS:
        ramp = f'<div class="legend"><span class="ramp">0 % {legend_shade()} 100 %</span><span>hatched: no load, or no ticks</span></div>'
        parts.append(f"<section><h2>Carbon-free share, hour by hour</h2>{ramp}{carpet(report.hours, calendar)}</section>")
    return "\n".join(parts)


def _apps(report: Report) -> str:
    shown = sorted(report.apps.items(), key=lambda pair: -pair[1].load_wh)[:_APPS_SHOWN]
    priced = report.all.cost is not None
    rows = [f"<tr>{_row(name, one, priced)}</tr>" for name, one in shown]
    if len(report.apps) > len(shown):
        rows.append(f'<tr><td colspan="11">and {len(report.apps) - len(shown)} more apps with less load</td></tr>')
    if len(report.apps) > 1:
        rows.append(f'<tr class="sum">{_row("together", report.all, priced)}</tr>')
    return f"<section><h2>Apps</h2>{_table('app', rows, priced)}</section>"


def _table(first: str, rows: Sequence[str], priced: bool) -> str:
    head = "".join(f"<th>{name}</th>" for name in (first, *_COLUMNS, *(["cost"] if priced else [])))
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _row(name: str, one: Figures, priced: bool) -> str:
    bar = share_bar([("sun", one.solar_to_load_wh), ("battery", one.battery_to_load_wh), ("grid-load", one.grid_to_load_wh)])
    energies = (one.load_wh, one.solar_to_load_wh, one.battery_to_load_wh, one.grid_to_load_wh, one.grid_to_battery_wh)
    cells = [escape(name), bar, *(quantity(value, "Wh") if value else _NOTHING for value in energies)]
    cells += [percent(one.carbon_free_ratio), escape(carbon(one)), quantity(one.carbon_on_use_g, "g")]
    if priced:
        cells.append(_NOTHING if one.cost is None else f"{one.cost:,.2f}")
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _days(report: Report, calendar: Calendar) -> str:
    priced = report.all.cost is not None
    rows = [f"<tr>{_row(f'{calendar.local(span.start_s + 1.0):%a %d %b %Y}', span.all, priced)}</tr>" for span in report.days]
    return f"<section><h2>Days</h2>{_table('day', rows, priced)}</section>"


def _notes(report: Report) -> str:
    said = "".join(f"<li>{escape(note[0].upper() + note[1:])}.</li>" for note in notes(report))
    return (
        f"<section><h2>Notes</h2><ul>{said}</ul></section><footer>Carbon on import is charged when energy is drawn from the grid, carbon "
        "on use when it leaves the battery. Carbon-free is what the sun served, directly or through the battery; of what a battery gave, "
        "the part counts that the sun had in what charged it over this report. Import counts as not carbon-free, however clean the grid. "
        "Hours are those of the site's clocks. Sums are of the ledger's ticks, each counted once.</footer>"
    )

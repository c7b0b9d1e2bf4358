"""A report in the terminal, as CSV and as JSON.

Owns columns, units and wording. All numbers come from ``adapters.stores.ledger.reporting``; CSV and JSON have them unrounded, one row an
app and hour, times with their offset.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecovisor.adapters.stores.ledger.calendar import Calendar
from ecovisor.adapters.stores.ledger.reporting import Figures, Report, Span
from ecovisor.cli.live_tables import plain, quantity
from ecovisor.model.units import human_duration

_PIPE_WIDTH = 150
_NOTHING = "–"
#: A report of at most so many hours shows them one by one in the terminal.
_HOURS_SHOWN = 30
_GAPS_SHOWN = 5
_APPS_SHOWN = 40

CSV_COLUMNS = (
    "solar_to_load_wh",
    "battery_to_load_wh",
    "grid_to_load_wh",
    "load_wh",
    "solar_to_battery_wh",
    "grid_to_battery_wh",
    "received_wh",
    "shared_wh",
    "exported_wh",
    "curtailed_wh",
    "unserved_wh",
    "overdraw_wh",
    "carbon_g",
    "carbon_on_use_g",
    "unknown_carbon_wh",
    "intensity_g_per_kwh",
    "carbon_free_ratio",
    "cost",
    "metered_s",
)


# -- terminal


def print_report(report: Report, out: Path | None = None) -> None:
    """Print to stdout, or as plain text into a file."""
    if out is None:
        console = Console(highlight=False)
        if not console.is_terminal:
            console = Console(highlight=False, width=_PIPE_WIDTH)
        _print(report, console)
        return
    from ecovisor.cli.ledger_report import write

    text = io.StringIO()
    _print(report, Console(file=text, highlight=False, width=_PIPE_WIDTH))
    write(out, text.getvalue())


def _print(report: Report, console: Console) -> None:
    calendar = Calendar(report.timezone)
    alone = f", {escape(next(iter(report.apps)))}" if len(report.apps) == 1 else ""
    console.print(f"[bold]{escape(report.site or 'Site')}[/]{alone}: energy and carbon")
    covered = f"{100 * report.coverage_ratio:.1f} % of it metered"
    console.print(f"{moment(calendar, report.start_s)} to {moment(calendar, report.end_s)}, {escape(report.timezone)}, {covered}")
    console.print(_apps_table(report))
    spans, title = (report.hours, "By hour") if len(report.hours) <= _HOURS_SHOWN else (report.days, "By day")
    console.print(_spans_table(spans, title, calendar))
    for note in notes(report):
        console.print(f"note: {note}", style="yellow", markup=False)


def _apps_table(report: Report) -> Table:
    table = _table("Energy by source, and carbon")
    table.add_column("app")
    for name in ("load", "solar", "battery", "grid", "grid →\nbattery", "carbon-\nfree", "carbon\non import", "on use", "cost"):
        table.add_column(name, justify="right")
    shown = list(report.apps.items())
    if len(shown) > _APPS_SHOWN:
        largest = sorted(shown, key=lambda pair: -pair[1].load_wh)[:_APPS_SHOWN]
        shown = [pair for pair in shown if pair in largest]
    for name, one in shown:
        table.add_row(escape(plain(name)), *_cells(one))
    if len(report.apps) > len(shown):
        table.add_row(f"and {len(report.apps) - len(shown)} more", style="dim")
    if len(report.apps) > 1:
        table.add_section()
        table.add_row("together", *_cells(report.all), style="bold")
    return table


def _cells(one: Figures) -> list[str]:
    return [
        *(
            quantity(value, "Wh") if value else _NOTHING
            for value in (one.load_wh, one.solar_to_load_wh, one.battery_to_load_wh, one.grid_to_load_wh, one.grid_to_battery_wh)
        ),
        percent(one.carbon_free_ratio),
        carbon(one),
        quantity(one.carbon_on_use_g, "g"),
        _NOTHING if one.cost is None else f"{one.cost:,.2f}",
    ]


def _spans_table(spans: Sequence[Span], title: str, calendar: Calendar) -> Table:
    table = _table(title)
    table.add_column("from")
    for name in ("load", "solar", "battery", "grid", "carbon-\nfree", "carbon\non import", "grid\ng/kWh", "cost"):
        table.add_column(name, justify="right")
    for span in spans:
        one = span.all
        when = calendar.local(span.start_s)
        label = f"{when:%a %d %b %H:%M}" if title == "By hour" else f"{when:%a %d %b %Y}"
        if span.absent:
            table.add_row(label, "no ticks", *[""] * 7, style="dim")
            continue
        table.add_row(
            label,
            *(
                quantity(value, "Wh") if value else _NOTHING
                for value in (one.load_wh, one.solar_to_load_wh, one.battery_to_load_wh, one.grid_to_load_wh)
            ),
            percent(one.carbon_free_ratio),
            carbon(one),
            _NOTHING if one.intensity_g_per_kwh is None else f"{one.intensity_g_per_kwh:.0f}",
            _NOTHING if one.cost is None else f"{one.cost:,.2f}",
        )
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")


def percent(ratio: float | None) -> str:
    """A ratio in percent; None is a dash."""
    return _NOTHING if ratio is None else f"{100 * ratio:.0f} %"


def carbon(one: Figures) -> str:
    """Carbon on import; at least that much where the carbon of some import is unknown."""
    if one.carbon_g is None:
        return "unknown"
    return ("≥ " if one.unknown_carbon_wh > 0.0 else "") + quantity(one.carbon_g, "g")


def moment(calendar: Calendar, time_s: float) -> str:
    """An instant as the clocks show it, for people."""
    return f"{calendar.local(time_s):%a %d %b %Y %H:%M}"


def notes(report: Report) -> list[str]:
    """What a reader of the numbers should know."""
    calendar = Calendar(report.timezone)
    said = []
    if report.gaps:
        found = [f"{human_duration(gap.end_s - gap.start_s)} from {moment(calendar, gap.start_s)}" for gap in report.gaps]
        more = f", and {len(found) - _GAPS_SHOWN} more" if len(found) > _GAPS_SHOWN else ""
        said.append(f"there are no ticks for {', '.join(found[:_GAPS_SHOWN])}{more}; what meters counted meanwhile is _site's")
    if report.all.unknown_carbon_wh > 0.0:
        said.append(f"the carbon of {quantity(report.all.unknown_carbon_wh, 'Wh')} of import is unknown and in no sum")
    if 0.0 < report.all.priced_ratio < 1.0 - 1e-6:
        said.append(f"the price was known for {100 * report.all.priced_ratio:.1f} % of the time; cost is of that")
    if report.all.qualities:
        ways = ", ".join(f"{percent(part)} {quality}" for quality, part in report.all.qualities.items())
        said.append(f"power was {ways}")
    return said


# -- files


def csv_text(report: Report) -> str:
    """A row an app and hour; what is unknown is empty."""
    calendar = Calendar(report.timezone)
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("start", "end", "app", *CSV_COLUMNS))
    for span in report.hours:
        bounds = (iso(calendar, span.start_s), iso(calendar, span.end_s))
        for name, one in span.apps.items():
            values = (getattr(one, column) for column in CSV_COLUMNS)
            rows.writerow((*bounds, name, *("" if value is None else value for value in values)))
    return text.getvalue()


def json_text(report: Report) -> str:
    """Everything, as one object."""
    calendar = Calendar(report.timezone)

    def span(one: Span) -> dict[str, object]:
        bounds = _bounds(calendar, one.start_s, one.end_s)
        return {**bounds, "absent": one.absent, "apps": _plain(one.apps), "all": asdict(one.all)}

    answer = {
        "site": report.site,
        "timezone": report.timezone,
        **_bounds(calendar, report.start_s, report.end_s),
        "coverage_ratio": report.coverage_ratio,
        "apps": _plain(report.apps),
        "all": asdict(report.all),
        "gaps": [_bounds(calendar, gap.start_s, gap.end_s) for gap in report.gaps],
        "notes": notes(report),
        "days": [span(one) for one in report.days],
        "hours": [span(one) for one in report.hours],
    }
    return msgspec.json.encode(answer).decode() + "\n"


def iso(calendar: Calendar, time_s: float) -> str:
    """ISO 8601, with the offset that the clocks had."""
    return calendar.local(time_s).isoformat()


def _bounds(calendar: Calendar, start_s: float, end_s: float) -> dict[str, object]:
    return {"start": iso(calendar, start_s), "end": iso(calendar, end_s)}


def _plain(apps: Mapping[str, Figures]) -> dict[str, object]:
    return {name: asdict(one) for name, one in apps.items()}

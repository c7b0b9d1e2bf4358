"""`ecovisor report`: what apps used and emitted, from the ledger of a live site, by hour of its clocks.

Owns the options, which interval they mean, and where the report goes. What it says is ``adapters.stores.ledger.reporting``; how it looks is
``report_text`` in the terminal, as CSV and JSON, and ``report_page`` as a page.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.adapters.stores.ledger.calendar import Calendar
    from ecovisor.adapters.stores.ledger.reporting import Report

#: The state directory of a site file that names none.
DEFAULT_STATE = Path("state")
#: A report is of so many days of the calendar, the one that it ends in among them, unless it is told otherwise.
_DAYS = 7


class Format(StrEnum):
    """How a report looks."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


_BY_SUFFIX = {".csv": Format.CSV, ".json": Format.JSON, ".html": Format.HTML, ".htm": Format.HTML}


def report(
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="State directory of the site; the server may run.")
    ] = DEFAULT_STATE,
    app: Annotated[str | None, typer.Option("--app", metavar="NAME", help="One app. Default: all, and the site's own.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="WHEN", help="A date, an instant, or a duration before the end (36h). Default: the last 7 days."
        ),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help="A date (its first instant) or an instant. Default: the newest tick.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="Default: by the name of --out, else a table in the terminal.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there; what is there is replaced.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", metavar="ZONE", help="IANA name. Default: the site's own.")] = None,
) -> None:
    """Energy by source, carbon, carbon-free share and cost of apps, for every hour of the site's clocks.

    Dates and times without a zone are the site's. Time without ticks is told as gaps, unknown carbon as unknown, never as zero.

    \b
    ecovisor report --state state
    ecovisor report --state state --app web --from 2026-03-01 --to 2026-04-01 --out march.html
    ecovisor report --state state --from 24h --format csv > day.csv
    """
    from ecovisor.adapters.stores.ledger import Ledger
    from ecovisor.adapters.stores.ledger.calendar import Calendar
    from ecovisor.adapters.stores.ledger.reporting import report as gather
    from ecovisor.model.errors import SettingsError
    from ecovisor.model.nearest import did_you_mean

    chosen = form or (_BY_SUFFIX.get(out.suffix.lower(), Format.TABLE) if out else Format.TABLE)
    with Ledger.open(ledger_folder(state), read_only=True) as ledger:
        extent = ledger.extent()
        if extent is None:
            raise SettingsError(str(state), "the ledger holds no ticks yet", "let the site run for a tick")
        if app is not None and app not in (known := ledger.apps()):
            raise SettingsError("--app", f"no app {app!r} in the ledger", did_you_mean(app, known))
        calendar = Calendar(timezone or ledger.timezone)
        start_s, end_s = interval(start, end, extent, calendar)
        found = gather(ledger, ledger.site, start_s, end_s, calendar, app)
    if chosen is Format.TABLE:
        from ecovisor.cli import report_text

        report_text.print_report(found, out)
        return
    text = _render(chosen, found)
    if out is None:
        print(text, end="")
    else:
        write(out, text)


def ledger_folder(state: Path) -> Path:
    """Where the ledger of a state directory is: in its `ledger`, or, given that folder itself, there."""
    return state if (state / "ledger.sqlite").is_file() else state / "ledger"


def interval(start: str | None, end: str | None, extent: tuple[float, float], calendar: Calendar) -> tuple[float, float]:
    """The interval that options mean, in seconds since the epoch.

    Raises:
        SettingsError: they are no times, or the end is not after the start, or nothing was recorded in between.
    """
    from ecovisor.model.errors import SettingsError
    from ecovisor.model.units import duration_s, iso_utc

    end_s = extent[1] if end is None else _instant_s("--to", end, calendar)
    if start is None:
        start_s = max(_days_before(end_s, _DAYS, calendar), extent[0])
    else:
        try:
            start_s = end_s - duration_s(start)
        except ValueError:
            start_s = _instant_s("--from", start, calendar)
    if end_s <= start_s:
        raise SettingsError("--to", f"{iso_utc(end_s)} is not after --from {iso_utc(start_s)}", "give a later end")
    if end_s <= extent[0] or start_s >= extent[1]:
        span = f"{iso_utc(extent[0])} to {iso_utc(extent[1])}"
        raise SettingsError("--from", f"nothing was recorded from {iso_utc(start_s)} to {iso_utc(end_s)}", f"the ledger has {span}")
    return start_s, end_s


def _days_before(end_s: float, days: int, calendar: Calendar) -> float:
    """The beginning of the first of so many days, the last of which the end lies in (or closes)."""
    last = calendar.local(end_s - 1.0)
    return float(calendar.midnight_s(last.replace(tzinfo=None) - timedelta(days=days - 1)))


def _instant_s(option: str, text: str, calendar: Calendar) -> float:
    from ecovisor.model.errors import SettingsError

    try:
        if len(text) == len("2026-03-01"):
            return float(calendar.midnight_s(datetime.combine(date.fromisoformat(text), datetime.min.time())))
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo is not None else when.replace(tzinfo=calendar.zone)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise SettingsError(
            option, f"{text!r} is no time", "write for example 2026-03-01, 2026-03-01T18:00, 2026-03-01T17:00Z or 36h"
        ) from None


def _render(chosen: Format, found: Report) -> str:
    from ecovisor.cli import report_page, report_text

    if chosen is Format.HTML:
        return report_page.page(found)
    return report_text.csv_text(found) if chosen is Format.CSV else report_text.json_text(found)


def write(out: Path, text: str) -> None:
    """Write a file in one go: what was there stays until all of the new one is on the disk.

    Raises:
        SettingsError: the disk refuses.
    """
    from ecovisor.model.errors import SettingsError

    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, "utf-8")
        partial.replace(out)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise SettingsError(str(out), f"cannot be written: {error.strerror}", "choose another place with --out") from None

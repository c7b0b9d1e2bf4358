"""`ecovisor data`: what is in a time series, before a scenario uses it.

Owns the wording; reading and recognising files is ``adapters.signals.describe``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.adapters.signals.describe import SeriesDescription

_GAPS_SHOWN = 5


def data(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A series: CSV or Parquet (also .gz).")] = None,
    column: Annotated[str | None, typer.Option(help="The value column. Default: the only one whose name tells what it is.")] = None,
    time_column: Annotated[str | None, typer.Option(help="The time column. Default: recognised by its name.")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Unit of the value column, where its name does not say it: W, kW, g/kWh, …")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="Zone of times that name none (an IANA name, or UTC).")] = None,
    zones: Annotated[bool, typer.Option("--zones", help="List the grids that `modelled-carbon` knows, and exit.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Describe a time series: its range, step, gaps, time zone, columns and units.

    Problems that a scenario would refuse are printed too; the exit status is 2 only if the file cannot be read at all.

    \b
    ecovisor data traces/california.csv
    ecovisor data load.csv --column load --unit kW --timezone Europe/Berlin
    ecovisor data --zones
    """
    from ecovisor.adapters.signals import describe
    from ecovisor.model.errors import SeriesError, SettingsError

    if zones:
        _print_zones(describe.zones(), json=json)
        return
    if file is None:
        raise SettingsError("data", "no file is named", "name a series, or ask for --zones")
    found = describe.describe_file(file, column=column, time_column=time_column, unit=unit, timezone=timezone)
    if found.rows is None:
        raise SeriesError(*found.problems[0].split(": ", 1))
    if json:
        import msgspec

        print(msgspec.json.encode(found).decode())
    else:
        _print(found)


def _print_zones(means_g_per_kwh: dict[str, float], *, json: bool) -> None:
    if json:
        import msgspec

        print(msgspec.json.encode(means_g_per_kwh).decode())
        return
    for zone, mean in means_g_per_kwh.items():
        print(f"{zone:<14}{mean:6.0f} g/kWh on average")


def _print(found: SeriesDescription) -> None:
    from ecovisor.model.units import human_duration, iso_utc

    print(f"{found.file}: {found.rows} rows")
    print("columns   " + ", ".join(f"{name} [{unit}]" if unit else name for name, unit in found.columns.items()))
    if found.time_column is not None:
        print(f"time      {found.time_column}" + (f", {found.zone}" if found.zone else ""))
    if found.start_s is not None and found.end_s is not None and found.step_s is not None:
        print(f"range     {iso_utc(found.start_s)} to {iso_utc(found.end_s)}, {human_duration(found.end_s - found.start_s)}")
        print(f"step      {human_duration(found.step_s)}, {found.steps} steps")
    if found.value_column is not None:
        print(f"value     {found.value_column}" + (f", in {found.unit}" if found.unit else ""))
        if found.mean is not None:
            print(f"figures   {found.minimum:g} to {found.maximum:g}, mean {found.mean:.6g} {found.unit}")
        print(f"missing   {found.missing or 'none'}" + (f" in {len(found.gaps)} gap(s)" if found.gaps else ""))
    for gap in found.gaps[:_GAPS_SHOWN]:
        print(f"gap       {iso_utc(gap.start_s)} to {iso_utc(gap.end_s)}, {gap.steps} step(s), {gap.place}")
    if len(found.gaps) > _GAPS_SHOWN:
        print(f"gap       and {len(found.gaps) - _GAPS_SHOWN} more")
    for problem in found.problems:
        print(f"problem   {problem}")

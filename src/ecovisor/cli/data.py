"""`ecovisor data`: what is in a time series, before a scenario uses it.

Owns the wording; reading and recognising files is ``adapters.signals``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def data(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A series: CSV or Parquet (also .gz).")] = None,
    zones: Annotated[bool, typer.Option("--zones", help="List the grids that `modelled-carbon` knows, and exit.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON value.")] = False,
) -> None:
    """Describe a time series: its range, step, gaps, time zone, columns and units.

    \b
    ecovisor data traces/california.csv
    ecovisor data --zones
    """
    import msgspec

    from ecovisor.adapters import signals
    from ecovisor.model.errors import SettingsError

    if zones:
        found: Any = signals.zones()
    elif file is not None:
        found = signals.describe_file(file)
    else:
        raise SettingsError("data", "no file is named", "name a series, or ask for --zones")
    found = msgspec.to_builtins(found)
    if json:
        print(msgspec.json.encode(found).decode())
        return
    _show(found, "")


def _show(value: object, indent: str) -> None:
    if isinstance(value, dict):
        width = max((len(str(key)) for key in value), default=0)
        for key, inner in value.items():
            if isinstance(inner, (dict, list)) and inner:
                print(f"{indent}{_words(key)}:")
                _show(inner, indent + "  ")
            else:
                print(f"{indent}{_words(key):<{width}}  {_text(inner)}")
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict):
                print(indent + " · ".join(f"{_words(key)} {_text(part)}" for key, part in inner.items()))
            else:
                print(f"{indent}{_text(inner)}")
    else:
        print(f"{indent}{_text(value)}")


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _text(value: object) -> str:
    if value is None or value == [] or value == {}:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)

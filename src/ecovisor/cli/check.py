"""`ecovisor check`: is a scenario or a live site's file right, with all its data? Nothing is run or written.

Owns the wording of the answer; reading is ``adapters.scenario_files``, loading the signals ``assembly``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ecovisor.settings import Scenario


def check(
    scenario: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A scenario file, or the name of a bundled one.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field before checking; may be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: apps, ticks, notes.")] = False,
) -> None:
    """Check a scenario, or the file of a live site, and the data it names, without running it.

    Exit status 0: it can be simulated, or with a table \\[server] served; what is worth knowing is printed as notes. 2: one line says
    which field is wrong, and why. What this machine lets a live site enforce says 'ecovisor doctor'.

    \b
    ecovisor check my.toml
    ecovisor check my.toml --set run.start=2021-01-01T00:00Z
    """
    from ecovisor.adapters.scenario_files import load_scenario

    loaded, folder = load_scenario(scenario, settings or [])
    told, span = _check_live(loaded, folder) if loaded.server is not None else _check(loaded, folder)
    if json:
        import msgspec

        print(msgspec.json.encode({"scenario": scenario, **told}).decode())
        return
    print(f"{scenario}: fine. {told['apps']} app(s), {span}")
    for note in told["notes"]:
        print(f"note: {note}")


def _check(loaded: Scenario, folder: Path) -> tuple[dict[str, Any], str]:
    from ecovisor import assembly
    from ecovisor.adapters.scenario_checks import interval_of
    from ecovisor.model.units import human_duration, iso_utc

    notes = assembly.check(loaded, folder)
    interval = interval_of(loaded.run)
    span = f"{iso_utc(interval.start_s)} to {iso_utc(interval.end_s)}"
    told = {"apps": sum(app.count for app in loaded.apps), "ticks": interval.ticks, "notes": notes}
    return told, f"{interval.ticks} ticks of {human_duration(interval.tick_s)}, {span}"


def _check_live(loaded: Scenario, folder: Path) -> tuple[dict[str, Any], str]:
    from ecovisor.adapters.scenario_checks import live_interval_of
    from ecovisor.assembly.live_check import check_live
    from ecovisor.model.units import human_duration

    notes = check_live(loaded, folder)
    tick = human_duration(live_interval_of(loaded.run).tick_s)
    compression = 1.0 if loaded.server is None else loaded.server.compression
    span = f"live in ticks of {tick}" + ("" if compression == 1.0 else f", {compression:g} times as fast as time")
    told = {"apps": sum(app.count for app in loaded.apps), "ticks": None, "live": True, "notes": notes}
    return told, span

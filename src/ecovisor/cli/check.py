"""`ecovisor check`: is a scenario right, with all its data? Nothing is run or written.

Owns the wording of the answer; reading is ``adapters.scenario_files``, loading the signals ``assembly``.
"""

from __future__ import annotations

from typing import Annotated

import typer


def check(
    scenario: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A scenario file, or the name of a bundled one.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field before checking; may be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: apps, ticks, notes.")] = False,
) -> None:
    """Check a scenario and the data it names, without running it.

    Exit status 0: it can be simulated; what is worth knowing is printed as notes. 2: one line says which field is wrong, and why.

    \b
    ecovisor check my.toml
    ecovisor check my.toml --set run.start=2021-01-01T00:00Z
    """
    from ecovisor import assembly
    from ecovisor.adapters.scenario_checks import interval_of
    from ecovisor.adapters.scenario_files import load_scenario
    from ecovisor.model.units import human_duration, iso_utc

    loaded, folder = load_scenario(scenario, settings or [])
    notes = assembly.check(loaded, folder)
    interval = interval_of(loaded.run)
    apps = sum(app.count for app in loaded.apps)
    if json:
        import msgspec

        print(msgspec.json.encode({"scenario": scenario, "apps": apps, "ticks": interval.ticks, "notes": notes}).decode())
        return
    span = f"{iso_utc(interval.start_s)} to {iso_utc(interval.end_s)}"
    print(f"{scenario}: fine. {apps} app(s), {interval.ticks} ticks of {human_duration(interval.tick_s)}, {span}")
    for note in notes:
        print(f"note: {note}")

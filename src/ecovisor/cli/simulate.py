"""`ecovisor simulate`: run a scenario, print what happened, leave a run folder.

Owns the order of things: read, run, write, plot, print. Reading is ``adapters.scenario_files``, running ``assembly``, the folder
``adapters.stores.run_folder``, the pictures ``plots``, the printed tables ``cli.report``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.settings import Scenario


def simulate(
    scenario: Annotated[
        str | None, typer.Argument(metavar="SCENARIO|NAME", help="A scenario file, or the name of a bundled one (see --list).")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change one field, by its path in the file; an app by its name. May be repeated. "
            "The value is TOML, or text: apps.web.share=0.3, run.duration=2d, 'apps.web.policy={kind=\"carbon-agnostic\"}'",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run folder to write. Default: runs/NAME, or runs/NAME-2, … where that exists.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that run folder if it exists.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables: the summary and `out`.")] = False,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Draw no plots.")] = False,
    no_baseline: Annotated[
        bool, typer.Option("--no-baseline", help="Do not run every app carbon-agnostic as well; about twice as fast.")
    ] = False,
    optimum: Annotated[
        bool,
        typer.Option(
            "--optimum",
            help="Also find the least carbon that a clairvoyant could have emitted for the same work (see docs/optimum.md).",
        ),
    ] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the bundled scenarios, name first, and exit.")] = False,
) -> None:
    """Simulate a scenario: who used which energy, with how much carbon, and when was the work done.

    Prints the apps and the site's balance, and writes a folder with run.json,
    the tables flows, site, containers and events (Parquet or CSV), and two plots.

    \b
    ecovisor simulate edge-site
    ecovisor simulate my.toml --set run.tick=1min --set apps.web.share=0.3
    ecovisor simulate two-apps --json --no-plots --out /tmp/two
    """
    from ecovisor.adapters.scenario_files import list_bundled, load_scenario
    from ecovisor.model.errors import SettingsError

    if show_list:
        bundled = list_bundled()
        for name, title in bundled.items():
            print(f"{name:<{max(map(len, bundled))}}  {title}")
        return
    if scenario is None:
        raise SettingsError(
            "simulate", "no scenario is named", "name a file or a bundled one; 'ecovisor simulate --list' shows them"
        )
    overrides = [*(settings or []), *(["run.baseline=false"] if no_baseline else [])]
    loaded, folder = load_scenario(scenario, overrides)
    target = out if out is not None else _default_out(Path(scenario).stem, overwrite)
    _run(loaded, scenario, folder, target, overwrite=overwrite, json=json, plots=not no_plots, optimum=optimum)


def _run(
    scenario: Scenario, source: str, folder: Path, target: Path, *, overwrite: bool, json: bool, plots: bool, optimum: bool
) -> None:
    import msgspec

    from ecovisor import assembly
    from ecovisor.adapters.stores.run_folder import RunFolder
    from ecovisor.adapters.stores.run_info import run_info

    with RunFolder(target, table_format=scenario.run.format, overwrite=overwrite) as sink:
        with _progress(source) as progress:
            result = assembly.simulate(scenario, folder, sink=sink, progress=progress, optimum=optimum)
        sink.finish(run_info(scenario, source, result.summary, result.run_info))
    notes = _draw(target) if plots else []
    if json:
        summary = msgspec.to_builtins(result.summary)
        print(msgspec.json.encode({**summary, "out": str(target)}).decode())
        return
    from ecovisor.cli.report import print_summary

    print_summary(result.summary, timezone=scenario.site.timezone, attribution=scenario.run.carbon_attribution, more_notes=notes)
    print(f"run folder: {target}")


def _default_out(name: str, overwrite: bool) -> Path:
    folder, number = Path("runs") / name, 1
    while folder.exists() and not overwrite:
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def _draw(target: Path) -> list[str]:
    """Draw the plots into the run folder; what was left out, as notes."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None or find_spec("numpy") is None:
        return ["no plots: matplotlib is not installed; pip install 'ecovisor[plots]'"]
    from ecovisor import plots, runs

    try:
        plots.draw(runs.open(target))
    except OSError as error:
        return [f"no plots: {error.strerror or error}; the tables are complete"]
    return []


@contextmanager
def _progress(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on stderr where that is a terminal."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("ticks"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield advance

"""`ecovisor study`: run the case studies, print each beside its paper, leave a folder with data, plots and a report.

Owns the order of things and the exit status. What a study is stands in ``studies``; running is ``studies.running``, the folder
``studies.folder``, the report ``studies.report``, the printed tables ``cli.study_tables``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.studies.record import Record
    from ecovisor.studies.report_words import Failure
    from ecovisor.studies.running import Listener, Settings

ALL = "all"
_FAILED, _NOT_RUN = 1, 2


def study(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME …|all", help="Studies by name (see --list), or file.py:Name for one of your own."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The published data sets, as docs/studies.md lists them. Without: modelled series."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Random starts of the studies that have them.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of the random starts and of everything else that is random.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write. Default: studies/NAME, or studies/NAME-2, … where that exists.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace that folder if it exists.")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="Studies to run at once. Default: all cores.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of tables: claims, numbers, whether each held, `out`.")
    ] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the studies, name first, and exit.")] = False,
) -> int:
    """Repeat a paper's evaluation: every claim with its verdict, every number beside ours.

    Prints what the paper says, what comes out here (mean and spread over random
    starts, and over a whole year of them where the study has that), the difference,
    and which claims hold. Writes a folder with the data, study.json, the plots and
    report.html.

    Exit status 1: a claim does not hold; 2: a study could not be run.

    \b
    ecovisor study fig4
    ecovisor study all --data ../data
    ecovisor study fig6 fig7 --seeds 30 --json
    ecovisor study mine.py:Mine
    """
    from ecovisor.model.errors import SettingsError
    from ecovisor.studies import registry
    from ecovisor.studies.running import Settings, usable_cores

    if show_list:
        _list()
        return 0
    if not names:
        raise SettingsError("study", "no study is named", "name one, or 'all'; 'ecovisor study --list' shows them")
    if data is not None and not data.is_dir():
        raise SettingsError(
            f"--data {data}", "is no folder", "name the folder of the data sets, or leave it out for modelled series"
        )
    wanted = list(dict.fromkeys(known for name in names for known in (registry.names() if name == ALL else (name,))))
    for name in wanted:
        registry.study(name)
    target = out if out is not None else _default_out(names, overwrite)
    settings = Settings(data=data, seeds=seeds, seed=seed)
    records, failures = _run(wanted, target, settings, overwrite=overwrite, jobs=jobs or usable_cores())
    _tell(records, failures, target, json=json)
    if failures:
        return _NOT_RUN
    return 0 if all(claim.held for record in records for claim in record.findings.claims) else _FAILED


def _list() -> None:
    from ecovisor.studies import registry

    studies = [registry.study(name) for name in registry.names()]
    for one in studies:
        print(f"{one.name:<{max(len(study.name) for study in studies)}}  {one.title}")


def _default_out(names: Sequence[str], overwrite: bool) -> Path:
    name = ALL if ALL in names else "-".join(one.rpartition(":")[2].lower() for one in dict.fromkeys(names))
    folder, number = Path("studies") / name, 1
    while folder.exists() and not overwrite:
        number += 1
        folder = Path("studies") / f"{name}-{number}"
    return folder


def _run(
    names: Sequence[str], target: Path, settings: Settings, *, overwrite: bool, jobs: int
) -> tuple[list[Record], list[Failure]]:
    """Run them into the target; a study alone is the target, and its errors are raised."""
    from ecovisor.studies.folder import new_folder
    from ecovisor.studies.record import read_record
    from ecovisor.studies.report import write_report
    from ecovisor.studies.report_words import Failure
    from ecovisor.studies.running import run_here, run_many

    errors: dict[str, str] = {}
    with new_folder(target, overwrite=overwrite) as partial:
        with _progress() as listener:
            if len(names) == 1:
                folders = {names[0]: partial}
                run_here(names[0], partial, settings, listener)
            else:
                folders = {name: partial / name.rpartition(":")[2] for name in names}
                errors = run_many(folders, settings, jobs=jobs, listener=listener)
        failures = [Failure(name, errors[name]) for name in names if name in errors]
        write_report([read_record(folders[name]) for name in names if name not in errors], failures, partial)
    places = {name: target / folder.relative_to(partial) for name, folder in folders.items()}
    return [read_record(places[name]) for name in names if name not in errors], failures


def _tell(records: Sequence[Record], failures: Sequence[Failure], target: Path, *, json: bool) -> None:
    from ecovisor.studies.report import PAGE, summary

    if json:
        import msgspec

        print(msgspec.json.encode({**summary(records, failures), "out": str(target)}).decode())
        return
    from ecovisor.cli.study_tables import print_studies

    print_studies(records, failures)
    print(f"report: {target / PAGE}")


@contextmanager
def _progress() -> Iterator[Listener]:
    """A bar for each study on stderr, where that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _name, _what, _done_ratio: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[study]:<10}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, what: str, done_ratio: float) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(what, total=1.0, study=name)
            bars.update(tasks[name], completed=done_ratio, description=what)

        yield show

"""The printed tables of studies: the claims with a verdict, and the paper's numbers with ours beside them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecovisor.studies.record import Record
from ecovisor.studies.report_words import (
    FAILED,
    HELD,
    MODELLED,
    Failure,
    by_change,
    capital,
    compared,
    conclusions,
    conditions,
    difference,
    figure_name,
    heading,
    held,
    of_paper,
    rerun_values,
    spelled,
    with_spread,
)

_PIPE_WIDTH = 140


def print_studies(records: Sequence[Record], failures: Sequence[Failure]) -> None:
    """Print every study, and after several a line for all of them."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    for record in records:
        _print_study(console, record)
    for failure in failures:
        console.print(f"[red]{FAILED}[/] {figure_name(failure.name)} could not be run: {escape(failure.error)}")
    if len(records) > 1:
        good, all_of_them = held(records)
        console.print(f"{good} of {all_of_them} claims hold; {compared(records)} numbers stand beside the paper's")
    if any(record.modelled for record in records):
        console.print(f"note: {MODELLED}", style="yellow")


def _print_study(console: Console, record: Record) -> None:
    findings = record.findings
    console.print(f"[bold]{escape(figure_name(record.name))}: {escape(record.title)}[/]")
    console.print(f"{record.source} · {conditions(record)}", style="dim", markup=False)
    if findings.numbers:
        console.print(_numbers(record))
    for claim in findings.claims:
        mark = f"[green]{HELD}[/]" if claim.held else f"[red]{FAILED}[/]"
        console.print(f"{mark} {escape(capital(claim.text))} [dim]({escape(claim.evidence)})[/]")
    for changed, reruns in by_change(findings.reruns).items():
        values = "; ".join(f"{rerun.name}: {rerun_values(rerun)}" for rerun in reruns)
        console.print(
            f"[dim]rerun:[/] {escape(capital(changed))}. {escape(capital(values))}. [dim]{escape(conclusions(reruns))}[/]"
        )
    for note in findings.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    console.print()


def _numbers(record: Record) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    numbers = record.findings.numbers
    year = any(number.year is not None for number in numbers)
    optimum = any(number.optimum is not None for number in numbers)
    table.add_column("")
    for name in ("paper", "ours", *(["over a year"] if year else []), *(["optimum"] if optimum else []), "difference"):
        table.add_column(name, justify="right", no_wrap=True)
    for number in numbers:
        row = [of_paper(number), with_spread(number.ours, number.spread, number.unit)]
        row += [with_spread(number.year, number.year_spread, number.unit)] if year else []
        row += [spelled(number.optimum, number.unit)] if optimum else []
        table.add_row(escape(capital(heading(number))), *row, difference(number))
    return table

"""The printed tables of studies: the claims with a verdict, and the paper's numbers with ours beside them."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ecovisor.studies.record import Record
from ecovisor.studies.report_words import (
    FAILED,
    HELD,
    MODELLED,
    Failure,
    by_change,
    capital,
    cells,
    columns,
    compared,
    conditions,
    figure_name,
    heading,
    held,
    rerun_values,
    told_once,
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
        console.print(f"{mark} {escape(capital(claim.text))}")
        console.print(Padding(f"[dim]{escape(capital(claim.evidence))}[/]", (0, 0, 0, 2), expand=False))
    for changed, reruns in by_change(findings.reruns).items():
        console.print(f"rerun: {escape(changed)}")
        for one, so in told_once(reruns):
            told = f"{escape(capital(one.name))}: {rerun_values(one)}. [dim]{escape(so)}[/]"
            console.print(Padding(told, (0, 0, 0, 2), expand=False))
    for note in findings.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    console.print()


def _numbers(record: Record) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    shown = columns(record.findings.numbers)
    table.add_column("")
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for number in record.findings.numbers:
        table.add_row(escape(capital(heading(number))), *cells(number, shown))
    return table

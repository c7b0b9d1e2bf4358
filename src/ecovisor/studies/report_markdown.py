"""Studies as Markdown: the page of one, which stands in its folder, and the report of several, with their plots as files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ecovisor.studies.findings import Findings, Rerun
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
    sentence,
    told_once,
)


def study_page(record: Record) -> str:
    """The page of one study."""
    return _study(record, record.folder, 1)


def report(records: Sequence[Record], failures: Sequence[Failure], folder: Path) -> str:
    """The report of several studies; ``folder`` is where it will stand."""
    good, all_of_them = held(records)
    lines = ["# Case studies", "", f"{good} of {all_of_them} claims hold; {compared(records)} numbers stand beside the paper's."]
    if any(record.modelled for record in records):
        lines += ["", f"**{MODELLED}**"]
    failed = [(record, claim) for record in records for claim in record.findings.claims if not claim.held]
    if failed:
        lines += ["", "Claims that do not hold:", ""]
        lines += [f"- {FAILED} {figure_name(record.name)}: {capital(claim.text)} ({claim.evidence})" for record, claim in failed]
    if failures:
        lines += ["", "Studies that could not be run:", "", *(f"- {failure.name}: {failure.error}" for failure in failures)]
    lines += ["", *_table(("study", "claims held", "what"), (_entry(record) for record in records)), ""]
    return "\n".join(lines) + "\n" + "\n".join(_study(record, folder, 2) for record in records)


def _entry(record: Record) -> tuple[str, str, str]:
    good, all_of_them = held([record])
    return figure_name(record.name), f"{good} of {all_of_them}", record.title


def _study(record: Record, folder: Path, level: int) -> str:
    findings, mark = record.findings, "#" * level
    lines = [f"{mark} {figure_name(record.name)}: {record.title}", "", f"{record.source}. {conditions(record).capitalize()}."]
    if record.modelled and level == 1:
        lines += ["", f"**{MODELLED}**"]
    if findings.claims:
        lines += ["", f"{mark}# Claims", ""]
        lines += [
            f"- {HELD if one.held else FAILED} {capital(one.text)} — {capital(one.evidence)} ({one.source})"
            for one in findings.claims
        ]
    for path, caption in record.pictures:
        lines += ["", f"![{path.stem}]({path.relative_to(folder).as_posix()})", "", f"*{sentence(caption)}*"]
    if findings.numbers:
        lines += ["", f"{mark}# Numbers", "", *numbers_table(findings)]
        explained = [number for number in findings.numbers if number.explanation]
        lines += ["", *(f"- {capital(number.name)}: {sentence(number.explanation)}" for number in explained)] if explained else []
    if findings.reruns:
        rows = (
            (capital(changed), "<br>".join(map(_rerun, told_once(group)))) for changed, group in by_change(findings.reruns).items()
        )
        lines += ["", f"{mark}# Again, with one factor changed", "", *_table(("with", "before → after"), rows)]
    if findings.parameters:
        parameters = ((one.name, one.value, one.kind, one.source) for one in findings.parameters)
        lines += ["", f"{mark}# Parameters", "", *_table(("name", "value", "from", "source"), parameters)]
    if findings.origins:
        lines += ["", f"{mark}# Series", "", *(f"- `{name}`: {origin}" for name, origin in findings.origins.items())]
    if findings.notes:
        lines += ["", f"{mark}# Notes", "", *(f"- {sentence(note)}" for note in findings.notes)]
    return "\n".join(lines) + "\n"


def _rerun(told: tuple[Rerun, str]) -> str:
    rerun, conclusion = told
    return f"{capital(rerun.name)}: {rerun_values(rerun)}. {conclusion}".strip()


def numbers_table(findings: Findings) -> list[str]:
    """The comparison."""
    shown = columns(findings.numbers)
    rows = ([capital(heading(number)), *cells(number, shown)] for number in findings.numbers)
    return _table(["", *shown], rows, right=True)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: bool = False) -> list[str]:
    rule = ["---", *(["--:" if right else "---"] * (len(head) - 1))]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (list(head), rule, *cells)]

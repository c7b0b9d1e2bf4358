"""The report of studies as one page that needs nothing else: no script, no outside address; light, dark and on paper.

Owns order and markup; the style is in `report_style.css`, the words in `report_words`, the drawing in `report_chart`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from ecovisor.studies.findings import Claim, Rerun
from ecovisor.studies.record import Record
from ecovisor.studies.report_chart import paper_and_ours
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
    held,
    rerun_values,
    reruns_of,
    sentence,
    shown_unit,
    told_once,
)

_CHARTED = ("%", "×")
_KINDS = {"paper": "from the paper", "data": "from data", "assumed": "assumed", "fitted": "fitted"}


def report(records: Sequence[Record], failures: Sequence[Failure]) -> str:
    """The page."""
    alone = len(records) == 1 and not failures
    title = f"{figure_name(records[0].name)}: {records[0].title}" if alone else "Case studies: the paper's evaluation, repeated"
    style = files(__package__).joinpath("report_style.css").read_text(encoding="utf-8")
    parts = [
        f"<header><h1>{escape(title)}</h1><p>{escape(_subtitle(records, alone=alone))}</p></header>",
        f'<p class="modelled">{escape(MODELLED)}</p>' if any(record.modelled for record in records) else "",
        "" if alone else _summary(records, failures),
        *(_study(record, alone=alone) for record in records),
        _footer(records),
    ]
    sheet = '<div class="sheet alone">' if alone else f'<div class="sheet">{_contents(records)}'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>\n{style}</style></head>\n"
        f"<body>{sheet}<main>\n{chr(10).join(filter(None, parts))}\n</main></div></body></html>\n"
    )


def _subtitle(records: Sequence[Record], *, alone: bool) -> str:
    if not records:
        return "nothing could be run"
    return f"{records[0].source}, {conditions(records[0])}" if alone else conditions(records[0])


def _contents(records: Sequence[Record]) -> str:
    lines = ['<li><a href="#summary">Summary</a></li>']
    for record in records:
        good, all_of_them = held([record])
        style = "" if good == all_of_them else ' class="bad"'
        lines.append(
            f'<li><a href="#{escape(record.name)}">{escape(figure_name(record.name))}<span{style}>{good}/{all_of_them}</span></a></li>'
        )
    return f'<nav aria-label="Contents"><ol>{"".join(lines)}</ol></nav>'


def _summary(records: Sequence[Record], failures: Sequence[Failure]) -> str:
    good, all_of_them = held(records)
    reruns = sum(len(record.findings.reruns) for record in records)
    seconds = sum(record.info["cpu_s"] for record in records)
    tiles = [
        ("Claims that hold", f"{good} of {all_of_them}", "each with its evidence"),
        ("Studies", str(len(records)), f"{len(failures)} could not be run" if failures else "all of them ran"),
        ("Numbers compared", str(compared(records)), "of the paper, with ours beside them"),
        ("Reruns", str(reruns), "with one factor changed, to explain a difference"),
        ("Computing time", f"{seconds:.0f} s", "of processors, for all of it"),
    ]
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}<small>{escape(told)}</small></dd></div>" for name, value, told in tiles)
    parts = [f'<dl class="tiles">{shown}</dl>']
    missing = "".join(
        f'<li class="bad"><b>{FAILED}</b><span>{escape(one.name)}<small>{escape(one.error)}</small></span></li>' for one in failures
    )
    if missing:
        parts.append(f'<h3>Studies that could not be run</h3><ul class="claims">{missing}</ul>')
    failed = "".join(_claim(record, claim, named=True) for record in records for claim in record.findings.claims if not claim.held)
    if failed:
        parts.append(f'<h3>Claims that do not hold</h3><ul class="claims">{failed}</ul>')
    rows = [(figure_name(record.name), number) for record in records for number in record.findings.numbers]
    charts = [paper_and_ours([row for row in rows if row[1].unit == unit], unit) for unit in _CHARTED]
    if any(charts):
        hint = "Ring: the paper's number. Dot: ours, with the standard deviation over the random starts."
        parts.append(f'<h3>The paper\'s numbers and ours</h3><p class="hint">{hint}</p>{"".join(charts)}')
    return f'<section id="summary">{"".join(parts)}</section>'


def _study(record: Record, *, alone: bool) -> str:
    findings = record.findings
    parts = []
    if not alone:
        parts.append(
            f'<h2>{escape(figure_name(record.name))}: {escape(record.title)}</h2><p class="source">{escape(record.source)}</p>'
        )
    first, *others = [_picture(path.read_bytes(), path.stem, caption) for path, caption in record.pictures] or [""]
    parts.append(first)
    if findings.claims:
        claims = "".join(_claim(record, claim) for claim in findings.claims)
        parts.append(f'<h3>What is claimed, and whether it holds</h3><ul class="claims">{claims}</ul>')
    parts += others
    if findings.numbers:
        parts.append(f"<h3>Numbers</h3>{_numbers(record)}")
    if findings.reruns:
        parts.append(f"<h3>Again, with one factor changed</h3>{_reruns(findings.reruns)}")
    if findings.notes:
        parts.append(
            f'<h3>Notes</h3><ul class="notes">{"".join(f"<li>{escape(sentence(note))}</li>" for note in findings.notes)}</ul>'
        )
    parts += [_parameters(record), _series(record)]
    return f'<section class="study" id="{escape(record.name)}">{"".join(parts)}</section>' if not alone else "".join(parts)


def _claim(record: Record, claim: Claim, *, named: bool = False) -> str:
    style, mark = ("", HELD) if claim.held else (' class="bad"', FAILED)
    where = f'<a href="#{escape(record.name)}">{escape(figure_name(record.name))}</a>: ' if named else ""
    because = "".join(f"<small>{escape(_because(rerun))}</small>" for rerun in reruns_of(record, claim.text))
    told = f"{escape(capital(claim.evidence))} · {escape(claim.source)}"
    return f"<li{style}><b>{mark}</b><span>{where}{escape(capital(claim.text))}<small>{told}</small>{because}</span></li>"


def _because(rerun: Rerun) -> str:
    return f"With {rerun.changed}: {rerun_values(rerun)}. {sentence(rerun.conclusion)}"


def _picture(content: bytes, name: str, caption: str) -> str:
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    told = escape(sentence(caption))
    return f'<figure><img alt="{escape(name)}" src="{source}"><figcaption>{told}</figcaption></figure>'


def _numbers(record: Record) -> str:
    numbers = record.findings.numbers
    shown = columns(numbers)
    rows = []
    for number in numbers:
        unit = f' <span class="unit">[{escape(number.unit)}]</span>' if shown_unit(number) else ""
        why = f"<small>{escape(sentence(number.explanation))}</small>" if number.explanation else ""
        rows.append([f"{escape(capital(number.name))}{unit}{why}", *cells(number, shown)])
    return _table(["", *shown], rows, "numbers")


def _reruns(reruns: Iterable[Rerun]) -> str:
    rows = []
    for changed, group in by_change(reruns).items():
        parts = []
        for one, conclusion in told_once(group):
            so = f"<small>{escape(conclusion)}</small>" if conclusion else ""
            parts.append(f"<li>{escape(capital(one.name))}: <b>{escape(rerun_values(one))}</b>{so}</li>")
        rows.append([escape(capital(changed)), f'<ul class="values">{"".join(parts)}</ul>'])
    return _table(("with", "before → after"), rows, "stack")


def _parameters(record: Record) -> str:
    parameters = record.findings.parameters
    if not parameters:
        return ""
    rows = [
        [
            escape(capital(one.name)),
            escape(one.value),
            f'<span class="kind {one.kind}">{_KINDS[one.kind]}</span>',
            escape(capital(one.source)),
        ]
        for one in parameters
    ]
    own = sum(one.kind in ("assumed", "fitted") for one in parameters)
    table = _table(("parameter", "value", "", "where it stands, or why"), rows, "stack")
    return (
        f"<details><summary>Parameters <span>{len(parameters)}, of which {own} assumed or fitted</span></summary>{table}</details>"
    )


def _series(record: Record) -> str:
    series = "".join(f"<dt>{escape(name)}</dt><dd>{escape(origin)}</dd>" for name, origin in record.findings.origins.items())
    tables = ", ".join(f"<code>{escape(one['file'])}</code> ({one['rows']} rows)" for one in record.info["tables"].values())
    read = "".join(f"<dt>{escape(name)}</dt><dd>SHA-256 {digest}</dd>" for name, digest in record.info["files"].items())
    return (
        f"<details><summary>Series and data <span>where they come from, what the plots are drawn from</span></summary>"
        f'<dl class="series">{series}{read}</dl><p class="hint">Tables in the study\'s folder: {tables}.</p></details>'
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], style: str) -> str:
    names = list(head)
    heads = "".join(f"<th>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, names, row))}</tr>" for row in rows)
    return f'<div class="wide"><table class="{style}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(name: str, content: str) -> str:
    label = f' data-label="{name}"' if name else ""
    return f"<td{label}>{content}</td>"


def _footer(records: Sequence[Record]) -> str:
    if not records:
        return ""
    info = records[0].info
    versions = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
    return f"<footer>ecovisor {escape(info['ecovisor'])} · {escape(info['made'])} · {escape(versions)}</footer>"

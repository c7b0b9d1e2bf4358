"""How numbers, differences and verdicts of studies are spelled, alike on the terminal, in Markdown and in HTML."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecovisor.studies.findings import Number, Rerun
from ecovisor.studies.record import Record

NOTHING = "–"
HELD, FAILED = "✓", "✗"
MODELLED = "Input series are modelled: no --data was given. Nothing here is evidence on a real grid, sun or workload."


@dataclass(frozen=True, slots=True)
class Failure:
    """A study that could not be run."""

    name: str
    error: str
    """One line."""


def spelled(value: float | None, unit: str = "") -> str:
    """A number as people read it: a decimal for per cent, else three figures; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if unit == "%":
        text = f"{value:.1f}"
    elif value == 0.0 or 1e-3 <= abs(value) < 1e6:
        decimals = 0 if abs(value) >= 100.0 or value == 0.0 else max(2 - math.floor(math.log10(abs(value))), 0)
        text = f"{value:,.{decimals}f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", "−")


def of_paper(number: Number) -> str:
    """The paper's number with as many figures as it has there."""
    return NOTHING if number.paper is None else f"{number.paper:g}".replace("-", "−")


def with_spread(mean: float | None, spread: float | None, unit: str) -> str:
    """``12.3 ± 0.4``, or the mean alone."""
    text = spelled(mean, unit)
    return text if spread is None or text == NOTHING else f"{text} ± {spelled(spread, unit)}"


def difference(number: Number) -> str:
    """Ours less the paper's, with its sign; of percentages in percentage points."""
    if number.difference is None or not math.isfinite(number.difference):
        return NOTHING
    text = spelled(number.difference, number.unit)
    sign = "" if text.startswith("−") or not text.strip("0.,") else "+"
    return f"{sign}{text}{' pp' if number.unit == '%' else ''}"


def heading(number: Number) -> str:
    """What the number is, with its unit."""
    return f"{number.name} [{number.unit}]" if shown_unit(number) else number.name


def shown_unit(number: Number) -> str:
    """The unit, but for that of a mere number."""
    return "" if number.unit == "1" else number.unit


def rerun_values(rerun: Rerun) -> str:
    """``12.3 → 14.5 %``."""
    unit = f" {rerun.unit}" if rerun.unit else ""
    return f"{spelled(rerun.before, rerun.unit)} → {spelled(rerun.after, rerun.unit)}{unit}"


def reruns_of(record: Record, name: str) -> list[Rerun]:
    """What was tried to explain a number or claim."""
    return [rerun for rerun in record.findings.reruns if rerun.name == name]


def by_change(reruns: Iterable[Rerun]) -> dict[str, list[Rerun]]:
    """The reruns by the factor that was changed, in the order in which they come."""
    changes: dict[str, list[Rerun]] = {}
    for rerun in reruns:
        changes.setdefault(rerun.changed, []).append(rerun)
    return changes


def told_once(reruns: Sequence[Rerun]) -> list[tuple[Rerun, str]]:
    """Each with what follows from it; the same words are left to the last of those on end that they belong to."""
    following = [*(rerun.conclusion for rerun in reruns[1:]), None]
    return [
        (one, "" if one.conclusion == after else sentence(one.conclusion)) for one, after in zip(reruns, following, strict=True)
    ]


def capital(text: str) -> str:
    """With a capital at its beginning, where that is a plain word, and with minus signs for minus."""
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", text)
    return text[:1].upper() + text[1:] if re.match(r"[a-z]+(?![\w-])", text) else text


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = capital(text.strip())
    return text if not text or text[-1] in ".!?…:" else f"{text}."


def figure_name(name: str) -> str:
    """``Figure 4`` for ``fig4``."""
    if name.startswith("fig") and name[3:].isdigit():
        return f"Figure {name[3:]}"
    return name.capitalize() if name.isalpha() else name


def columns(numbers: Sequence[Number]) -> list[str]:
    """Columns of the comparison; those that nothing fills are left out."""
    filled = {
        "paper": any(number.paper is not None for number in numbers),
        "ours": True,
        "over a year": any(number.year is not None for number in numbers),
        "optimum": any(number.optimum is not None for number in numbers),
        "difference": any(number.paper is not None for number in numbers),
    }
    return [column for column, is_filled in filled.items() if is_filled]


def cells(number: Number, of: Sequence[str]) -> list[str]:
    """What stands in those columns."""
    unit = number.unit
    row = {
        "paper": of_paper(number),
        "ours": with_spread(number.ours, number.spread, unit),
        "over a year": with_spread(number.year, number.year_spread, unit),
        "optimum": spelled(number.optimum, unit),
        "difference": difference(number),
    }
    return [row[column] for column in of]


def held(records: Sequence[Record]) -> tuple[int, int]:
    """How many claims held, and of how many."""
    claims = [claim for record in records for claim in record.findings.claims]
    return sum(claim.held for claim in claims), len(claims)


def compared(records: Sequence[Record]) -> int:
    """How many numbers stand beside one of the paper."""
    return sum(number.paper is not None for record in records for number in record.findings.numbers)


def conditions(record: Record) -> str:
    """On what it ran, in a line."""
    settings = record.info["settings"]
    series = "modelled series" if record.modelled else "published data sets"
    return f"{settings['seeds']} random starts, seed {settings['seed']}, {series}"

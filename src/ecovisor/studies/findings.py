"""What a study comes to: numbers beside the published ones, claims with a verdict, parameters with their source, tables to draw.

Plain data. `folder` writes it, `report` prints it; plots are drawn from the tables alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Column = Sequence[float] | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """Something that a study had to assume or was told."""

    name: str
    value: str
    """With its unit, for people."""
    kind: Literal["paper", "data", "assumed", "fitted"]
    """`paper`: stated there; `data`: measured in a named data set; `assumed`: neither, with a reason; `fitted`: chosen so that a published
    number comes out, which the source names."""
    source: str
    """Where it stands, or why it is so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One row of the comparison with a paper."""

    name: str
    """What it is, as a row's heading (`BLAST, Wait&Scale 3×: carbon against suspend-resume`)."""
    unit: str
    """`%`, `×`, `ms`, `Wh`, …"""
    paper: float | None
    """None: the paper states none."""
    ours: float
    """Mean over the random starts; NaN where it could not be had."""
    spread: float | None = None
    """Standard deviation over the random starts, in `unit`; None where there is but one."""
    year: float | None = None
    """Mean over the starts of a whole year; None where the study has no such column."""
    year_spread: float | None = None
    optimum: float | None = None
    """The clairvoyant bound for the same quantity; None: no bound."""
    explanation: str = ""
    """Why it differs, in one sentence; the evidence is in `reruns`."""

    @property
    def difference(self) -> float | None:
        """Ours less the paper's, in `unit`; None without a paper's."""
        return None if self.paper is None else self.ours - self.paper


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A sentence of the paper that the study asserts, and whether it held."""

    text: str
    """In our words, with its direction (`Wait&Scale 3× emits less than suspend-resume for the parallel search`)."""
    held: bool
    evidence: str
    """The numbers that decide it (`14.2 g against 25.1 g, in 10 of 10 starts`)."""
    source: str
    """Where the paper says so (`section 5.1, Key Takeaway`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """The study again with one factor changed: what explains a difference."""

    name: str
    """Of the number or claim that it explains."""
    changed: str
    """`job of 8 h instead of 4 h`."""
    before: float
    after: float
    unit: str
    conclusion: str
    """One sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Columns of equal length; numbers or text. It is what a plot is drawn from."""

    columns: Mapping[str, Column]
    """Name with its unit (`carbon_g`, `runtime_h`) → values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All of one study."""

    numbers: Sequence[Number]
    claims: Sequence[Claim]
    parameters: Sequence[Parameter]
    tables: Mapping[str, Table]
    """By name, which is their file's too."""
    reruns: Sequence[Rerun] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    """Series → its origin and quality."""
    notes: Sequence[str] = ()
    """What a reader should know: what could not be had, what is modelled."""

"""What a study is, and what it is given. The list of all of them is in `registry`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ecovisor.studies.findings import Findings
from ecovisor.studies.traces import Traces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a study is run with."""

    traces: Traces
    """Real traces where there are any, modelled ones otherwise."""
    seeds: int = 10
    """Random starts."""
    seed: int = 0
    """Of the random starts and of everything else that is random."""
    progress: Progress = lambda _what, _done_ratio: None
    """Told now and then what is being done, and which part of the study is done. [0..1]"""


class Study(Protocol):
    """One published figure."""

    name: str
    """`fig4`."""
    title: str
    """One line."""
    source: str
    """`Ecovisor (ASPLOS 2023), Figure 4, section 5.1`."""

    def run(self, context: Context) -> Findings:
        """Everything but the pictures.

        Raises:
            InputError: a trace cannot be used.
        """
        ...

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """Pictures from the tables of the findings alone: name → figure and its caption. The paper's axes come first."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """A study that has been run and written."""

    study: Study
    findings: Findings
    folder: Path
    pictures: tuple[tuple[Path, str], ...]
    """File and caption."""

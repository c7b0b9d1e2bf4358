"""What this machine lets an ecovisor do: each probe tries one thing and says what was found, what follows from it, and the remedy.

Probes leave nothing behind: what they make (a control group, files in the state directory, a socket) they remove. They take where to
look as arguments, so that tests can make up a machine. `ecovisor doctor` runs them in order and prints them; the driver of a live site
does not use them, it tries for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How much of something there is."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found."""

    subject: str
    state: State
    found: str
    follows: str = ""
    """From it, for a running site; empty where all is well."""
    remedy: str = ""
    blocks_serve: bool = False
    """`serve` cannot start like this."""


def human_time(duration_s: float) -> str:
    """A short time the way a person reads it: ``1.2 ms``, ``40 ns``."""
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
    factor, unit = next((one for one in units if duration_s >= 0.9995 * one[0]), units[-1])
    count = duration_s / factor
    return f"{round(count, 1 if count < 9.95 else None):g} {unit}"

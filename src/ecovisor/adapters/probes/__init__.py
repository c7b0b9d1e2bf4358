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
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if duration_s >= factor:
            return f"{duration_s / factor:.2g} {unit}" if duration_s < 100 * factor else f"{duration_s / factor:.0f} {unit}"
    return f"{duration_s / 1e-9:.0f} ns"

"""Which ecovisor this is, to the last byte of what computes: a sweep is never finished by another than began it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ecovisor

_PACKAGE = Path(ecovisor.__file__).parent
#: What a run's figures depend on.
_COMPUTING = (
    "model",
    "physics",
    "settings",
    "presets",
    "ports",
    "library",
    "policies",
    "workloads",
    "engine",
    "adapters",
    "assembly",
    "sweeps",
)


@dataclass(frozen=True, slots=True)
class Version:
    """An ecovisor."""

    version: str
    code: str
    """Of the sources, as far as figures depend on them."""

    def __str__(self) -> str:
        return f"ecovisor {self.version} (sources {self.code})"


@cache
def this_version() -> Version:
    """The one that runs here."""
    stamp = hashlib.sha256()
    for name in _COMPUTING:
        place = _PACKAGE / name
        for source in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            stamp.update(source.relative_to(_PACKAGE).as_posix().encode())
            stamp.update(source.read_bytes())
    return Version(ecovisor.__version__, stamp.hexdigest()[:12])

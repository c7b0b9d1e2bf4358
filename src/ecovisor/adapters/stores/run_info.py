"""What `run.json` says about a run, so that somebody else can repeat and check it.

Owns the list of versions and the order of the keys; the settings come from the scenario, everything measured from the engine.
``run_folder`` writes it, ``ecovisor.runs`` reads it.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping

import msgspec

import ecovisor
from ecovisor.model.summary import RunSummary
from ecovisor.settings import Scenario

_LIBRARIES = ("msgspec", "numpy", "numba", "pyarrow", "pandas", "pvlib")


def run_info(scenario: Scenario, source: str, summary: RunSummary, found: Mapping[str, object]) -> dict[str, object]:
    """Everything that `run.json` holds besides its tables.

    Args:
        scenario: as it was run, `--set` included.
        source: the file or the bundled name that it was read from.
        summary: of the whole run.
        found: what only the running system knows: resolved shares, efficiencies, data files with their checksums.
    """
    return {
        "ecovisor": ecovisor.__version__,
        "scenario": source,
        "seed": scenario.run.seed,
        "versions": {"python": platform.python_version(), **_versions()},
        "settings": msgspec.to_builtins(scenario),
        **found,
        "summary": msgspec.to_builtins(summary),
    }


def _versions() -> dict[str, str]:
    """Of the libraries that this run has loaded."""
    loaded = ((name, sys.modules.get(name)) for name in _LIBRARIES)
    return {name: str(getattr(module, "__version__", "unknown")) for name, module in loaded if module is not None}

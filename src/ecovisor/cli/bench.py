"""`ecovisor bench`: run the benchmarks of the checkout.

Owns finding their registry (`benchmarks/registry.py` beside the source tree) and printing what it measured. The cases and the peers
are the registry's business.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

REGISTRY = Path(__file__).resolve().parents[3] / "benchmarks" / "registry.py"


def bench(
    cases: Annotated[list[str] | None, typer.Argument(metavar="[CASE …]", help="The cases to run, by name. Default: all.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object with `ratios`: case → ratio to the peer.")] = False,
) -> None:
    """Measure speed and memory, against the peer where there is one. Needs a checkout of the source.

    \b
    ecovisor bench
    ecovisor bench vessim_builtin_1000_apps --json
    """
    measured: dict[str, Any] = _registry().run(list(cases or []), lambda line: print(line, file=sys.stderr))
    if json:
        import msgspec

        print(msgspec.json.encode(measured).decode())
        return
    for name, ratio in measured["ratios"].items():
        print(f"{name}: {ratio:.4g}×" if isinstance(ratio, (int, float)) else f"{name}: {ratio}")


def _registry() -> ModuleType:
    from ecovisor.model.errors import InputError

    if not REGISTRY.is_file():
        raise InputError("bench", "the benchmarks are part of the source, and this is an installed package", "run it in a checkout")
    name = "benchmarks.registry"
    root = str(REGISTRY.parents[1])
    if root not in sys.path:
        sys.path.insert(0, root)
    return importlib.import_module(name)

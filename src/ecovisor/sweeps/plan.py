"""What a sweep is before anything runs: scenario, combinations, and an identity by which it is known again.

Made from what a person asks for. `sweep` runs it.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ecovisor.adapters.scenario_checks import interval_of
from ecovisor.adapters.scenario_files import read_tables
from ecovisor.adapters.scenario_keys import apply_override
from ecovisor.engine.memory import COMPILED_FROM_APP_TICKS
from ecovisor.model.errors import SettingsError
from ecovisor.settings import Scenario
from ecovisor.sweeps import files
from ecovisor.sweeps.running import Base, Runner, Task
from ecovisor.sweeps.varying import Axis, axes_of, combine
from ecovisor.sweeps.version import this_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep to be run."""

    source: str
    """The scenario as it was named."""
    axes: tuple[Axis, ...]
    tasks: tuple[Task, ...]
    """In the order of the sweep."""
    base: Base
    paths: frozenset[Path]
    """Files that the scenario names, with any of its values."""
    identity: Mapping[str, object]
    """What it is known by: the same figures come of the same identity."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What is varied."""
        return tuple(axis.key for axis in self.axes)


def plan_sweep(
    source: str,
    varied: Sequence[str],
    *,
    overrides: Sequence[str] = (),
    together: bool = False,
    sample: int | None = None,
    seeds: int | None = None,
) -> Plan:
    """Make the plan of a sweep.

    Args:
        source: a scenario file, or the name of a bundled one.
        varied: `key=values` each (see `varying.parse_axis`).
        overrides: `key=value` each, for all combinations.
        together: the first values of all keys, then the second ones, ….
        sample: only so many combinations, drawn.
        seeds: each combination with so many seeds, from the scenario's own on.

    Raises:
        SettingsError: the scenario cannot be read, or none of the combinations can be used.
    """
    tables, path = read_tables(source)
    first_seed = _seed(tables, overrides)
    axes = axes_of(varied, seeds, first_seed)
    combinations = combine(axes, together=together, sample=sample, seed=first_seed)
    keys = [axis.key for axis in axes]
    tasks = tuple(
        Task(one.index, tuple(f"{key}={value}" for key, value in zip(keys, one.values, strict=True))) for one in combinations
    )
    base = Base(
        tables=msgspec.msgpack.encode(tables),
        label=source,
        folder=str(path.parent.resolve()),
        overrides=tuple(overrides),
        compiled=None,
    )
    usable = _first_usable(base, tasks)
    base = replace(base, compiled=_worth_compiling(usable, len(tasks)))
    paths = _paths(tables, path.parent, overrides, axes)
    identity = {
        "scenario": hashlib.sha256(path.read_bytes()).hexdigest(),
        "settings": list(overrides),
        "vary": {axis.key: list(axis.values) for axis in axes},
        "combinations": hashlib.sha256(msgspec.json.encode([task.settings for task in tasks])).hexdigest(),
        "files": files.checksums(paths),
        "ecovisor": this_version().version,
        "sources": this_version().code,
    }
    return Plan(source=source, axes=axes, tasks=tasks, base=base, paths=frozenset(paths), identity=identity)


def refusals(plan: Plan) -> dict[int, str]:
    """Combinations whose values cannot be used, by number, and why; data are not looked at."""
    runner = Runner(plan.base)
    found = {}
    for task in plan.tasks:
        try:
            runner.scenario(task.settings)
        except SettingsError as error:
            found[task.index] = str(error)
    return found


def _first_usable(base: Base, tasks: Sequence[Task]) -> Scenario:
    """The scenario of the first combination that can be used. Where there is none, the mistake is in the sweep, not in a combination."""
    runner = Runner(base)
    first: SettingsError | None = None
    for task in tasks:
        try:
            return runner.scenario(task.settings)
        except SettingsError as error:
            first = first or error
    assert first is not None, "a sweep has combinations"
    raise first


def _worth_compiling(scenario: Scenario, combinations: int) -> bool | None:
    """Whether every combination is to run as machine code: a second to load, ten times as fast, the same figures."""
    app_ticks = interval_of(scenario.run).ticks * (1 + sum(app.count for app in scenario.apps)) * combinations
    can = find_spec("numba") is not None and find_spec("numpy") is not None
    return True if can and app_ticks >= COMPILED_FROM_APP_TICKS else None


def _seed(tables: Mapping[str, Any], overrides: Sequence[str]) -> int:
    """The scenario's seed."""
    changed = copy.deepcopy(dict(tables))
    for override in overrides:
        apply_override(changed, override)
    run = changed.get("run")
    seed = run.get("seed", 0) if isinstance(run, dict) else 0
    return seed if isinstance(seed, int) else 0


def _paths(tables: dict[str, Any], folder: Path, overrides: Sequence[str], axes: Sequence[Axis]) -> set[Path]:
    """Files that the scenario names, as it is and with any value of any axis."""
    settled = copy.deepcopy(tables)
    for override in overrides:
        apply_override(settled, override)
    found = files.files_in(settled, folder)
    for axis in axes:
        for value in axis.values:
            changed = copy.deepcopy(settled)
            apply_override(changed, f"{axis.key}={value}")
            found |= files.files_in(changed, folder)
    return found

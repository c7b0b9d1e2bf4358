"""Runs a sweep into its folder, or goes on with one that was interrupted.

Owns the folder: `sweep.json` says what the sweep is before anything runs and what came of it afterwards, `done.jsonl` is the `journal`,
`sweep.csv` and `sweep.parquet` the `table`. Where combinations run is the caller's choice of `local` or `cluster`.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ecovisor.model.errors import InputError
from ecovisor.sweeps.journal import FILE, Journal, locked
from ecovisor.sweeps.outcomes import Outcome
from ecovisor.sweeps.plan import Plan
from ecovisor.sweeps.running import Task
from ecovisor.sweeps.table import write_tables

INFO = "sweep.json"
_LIBRARIES = ("msgspec", "numpy", "numba", "pvlib", "distributed")
_NOTES_KEPT = 20
#: What a difference in an identity is called.
_TOLD = {
    "scenario": "the scenario file",
    "settings": "--set",
    "vary": "--vary",
    "combinations": "--zip, --random or --seeds",
    "files": "the files that the scenario names",
    "ecovisor": "the version of ecovisor",
    "sources": "the sources of ecovisor",
}

Execute = Callable[[Sequence[Task]], Generator[Outcome, None, None]]
Progress = Callable[[Outcome | None, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A sweep whose every combination is done."""

    folder: Path
    outcomes: tuple[Outcome, ...]
    """In the order of the sweep."""
    found: int
    """How many of them were done before."""
    elapsed_s: float
    """Of this time. [s]"""
    tables: tuple[Path, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those without figures."""
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)


def run_sweep(plan: Plan, folder: Path, execute: Execute, progress: Progress | None = None) -> Finished:
    """Run what is not done yet of a sweep.

    What was done stays when this is interrupted or killed, and is found again by calling it again with the same plan and folder.
    Combinations that failed are tried again.

    Args:
        plan: of the sweep.
        folder: made if it is not there.
        execute: runs combinations, in any order.
        progress: told of each outcome (None at the beginning), and how many combinations there are to do.

    Raises:
        InputError: the folder holds another sweep, or cannot be written.
    """
    began_s = time.monotonic()
    try:
        holds(plan, folder)  # before anything is written into a folder that is something else
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            _claim(plan, folder)
            outcomes, found, tables = _run(plan, folder, execute, progress)
    except OSError as error:
        raise InputError(
            str(folder), f"cannot be written: {error.strerror or error}", "free some space or choose another place with --out"
        ) from None
    return Finished(folder=folder, outcomes=outcomes, found=found, elapsed_s=time.monotonic() - began_s, tables=tables)


def _run(
    plan: Plan, folder: Path, execute: Execute, progress: Progress | None
) -> tuple[tuple[Outcome, ...], int, tuple[Path, ...]]:
    """Outcomes in order, how many of them were found, and the tables written, which is done however this ends."""
    with Journal(folder) as journal:
        done = _known(plan, journal.found)
        found = len(done)
        missing = [task for task in plan.tasks if task.index not in done]
        if progress is not None:
            progress(None, len(missing))
        try:
            with closing(execute(missing)) as outcomes:
                for outcome in outcomes:
                    done[outcome.index] = outcome
                    journal.append(outcome)
                    if progress is not None:
                        progress(outcome, len(missing))
        finally:
            journal.force()
            ordered = tuple(done[index] for index in sorted(done))
            tables = write_tables(folder, ordered, plan.keys)
            _write_info(plan, folder, ordered, [path.name for path in tables])
    return ordered, found, tuple(tables)


def holds(plan: Plan, folder: Path) -> str | None:
    """How the sweep that a folder holds differs from this one, in words; empty: it is this one. None: it holds none.

    Raises:
        InputError: there is something else.
    """
    try:
        info = msgspec.json.decode((folder / INFO).read_bytes(), type=dict[str, Any])
        theirs: Mapping[str, object] = info["identity"]
    except FileNotFoundError:
        if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise InputError(str(folder), f"is no sweep's folder (it has no {INFO})", "choose another --out") from None
        return None
    except NotADirectoryError:
        raise InputError(str(folder), "is a file", "choose another --out") from None
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise InputError(str(folder / INFO), "cannot be read", "choose another --out, or remove the folder") from None
    ours = msgspec.to_builtins(plan.identity)
    return " and ".join(told for key, told in _TOLD.items() if theirs.get(key) != ours[key])


def _claim(plan: Plan, folder: Path) -> None:
    """Make the folder this sweep's, or see that it is."""
    difference = holds(plan, folder)
    if difference is None:
        _write_info(plan, folder, (), [])
    elif difference:
        if (folder / FILE).is_file() and (folder / FILE).stat().st_size > 0:
            remedy = "choose another --out, or remove the folder"
            raise InputError(str(folder), f"holds another sweep: {difference} changed since", remedy)
        _write_info(plan, folder, (), [])  # nothing of the other is done


def _known(plan: Plan, found: Sequence[Outcome]) -> dict[int, Outcome]:
    """What is done of this plan, by its number."""
    index_of = {task.settings: task.index for task in plan.tasks}
    return {
        index_of[outcome.settings]: outcome
        for outcome in found
        if outcome.error is None and index_of.get(outcome.settings) == outcome.index
    }


def _write_info(plan: Plan, folder: Path, outcomes: Sequence[Outcome], tables: Sequence[str]) -> None:
    notes = list(dict.fromkeys(note for outcome in outcomes for note in outcome.notes))
    info = {
        "scenario": plan.source,
        "vary": {axis.key: list(axis.values) for axis in plan.axes},
        "settings": list(plan.base.overrides),
        "combinations": len(plan.tasks),
        "done": sum(outcome.error is None for outcome in outcomes),
        "failed": {str(outcome.index): outcome.error for outcome in outcomes if outcome.error is not None},
        "elapsed_s": {str(outcome.index): round(outcome.elapsed_s, 4) for outcome in outcomes},
        "tables": list(tables),
        "notes": notes[:_NOTES_KEPT] + ([f"… and {len(notes) - _NOTES_KEPT} more"] if len(notes) > _NOTES_KEPT else []),
        "versions": {"python": platform.python_version(), **_versions()},
        "identity": dict(plan.identity),
    }
    partial = folder / f".{INFO}.partial"
    with partial.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / INFO)


def _versions() -> dict[str, str]:
    loaded = ((name, sys.modules.get(name)) for name in _LIBRARIES)
    return {name: str(getattr(module, "__version__", "unknown")) for name, module in loaded if module is not None}

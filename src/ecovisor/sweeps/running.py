"""Runs one combination of a sweep: the scenario with its values, in a process that has done others before.

Owns what stays warm from one to the next: the file is parsed once, signals whose settings do not change are loaded once, and the loop's
machine code is loaded where the sweep as a whole is worth it. `local` and `cluster` decide which process.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from ecovisor import assembly
from ecovisor.adapters.scenario_checks import interval_of
from ecovisor.adapters.scenario_files import scenario_of
from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.model.errors import EcovisorError, SettingsError
from ecovisor.settings import Scenario
from ecovisor.sweeps.outcomes import Outcome, outcome_of

#: Signals kept by a process; a year of one by the minute is 8 MB.
_SIGNALS_KEPT = 16
#: Kinds of signals that are the same for every seed.
_UNSEEDED = ("file", "pvlib")


@dataclass(frozen=True, slots=True)
class Base:
    """What all combinations of a sweep have in common; small enough to be sent to a process."""

    tables: bytes
    """The scenario's plain tables, as MessagePack."""
    label: str
    """Names the file in errors."""
    folder: str
    """Relative paths in it start here."""
    overrides: tuple[str, ...]
    """`--set`, for all combinations."""
    compiled: bool | None
    """For `assembly.simulate`."""


@dataclass(frozen=True, slots=True)
class Task:
    """One combination to be run."""

    index: int
    settings: tuple[str, ...]
    """`key=value`, one for each axis."""


class Runner:
    """Runs combinations of one sweep, one after the other.

    Args:
        base: of the sweep.
        moved: absolute path to a file, as settings have it → where it is for this process.
    """

    def __init__(self, base: Base, moved: Mapping[str, str] = MappingProxyType({})) -> None:
        self._base = base
        self._moved = moved
        self._folder = Path(base.folder)
        self._signals: OrderedDict[bytes, LoadedSignal] = OrderedDict()

    def scenario(self, settings: tuple[str, ...]) -> Scenario:
        """The scenario with a combination's values.

        Raises:
            SettingsError: a value cannot be used.
        """
        tables: dict[str, Any] = msgspec.msgpack.decode(self._base.tables)
        there = tuple(map(self._there, settings))
        try:
            return scenario_of(tables, self._folder, (*map(self._there, self._base.overrides), *there), self._base.label)
        except SettingsError as error:
            varied = error.where.startswith(tuple(f"--set {setting}" for setting in there))
            where = f"--vary {error.where.removeprefix('--set ')}" if varied else error.where
            raise SettingsError(where, error.problem, error.remedy) from None

    def run(self, task: Task) -> Outcome:
        """Run a combination to its end; what goes wrong is its outcome."""
        began_s = time.perf_counter()
        try:
            with contextlib.redirect_stdout(sys.stderr):  # a policy that prints does not get between the answers
                return self._run(task, began_s)
        except EcovisorError as error:
            told = str(error)
        except Exception as error:  # a plug-in may raise anything, and the others go on
            told = f"{type(error).__name__}: {error}"
        return Outcome(
            index=task.index, settings=task.settings, elapsed_s=time.perf_counter() - began_s, error=" ".join(told.split())
        )

    def _run(self, task: Task, began_s: float) -> Outcome:
        scenario = self.scenario(task.settings)
        loaded = self._loaded(scenario)
        result = assembly.simulate(
            scenario,
            self._folder,
            series={name: one.series for name, one in loaded.items()},
            forecasts={name: one.forecaster for name, one in loaded.items()},
            compiled=self._base.compiled,
        )
        notes = [f"signals.{name}: {note}" for name, one in loaded.items() for note in one.notes]
        outcome = outcome_of(result.summary, task.index, task.settings, scenario.run.seed, time.perf_counter() - began_s)
        return msgspec.structs.replace(outcome, notes=(*notes, *outcome.notes))

    def _there(self, text: str) -> str:
        for path, moved in self._moved.items():
            text = text.replace(path, moved)
        return text

    def _loaded(self, scenario: Scenario) -> dict[str, LoadedSignal]:
        """All signals of a scenario that take time to load."""
        interval = interval_of(scenario.run)
        loaded = {}
        for name, signal in scenario.signals.items():
            if signal.kind == "constant":
                continue
            span = (interval.start_s, interval.end_s, interval.tick_s)
            seed = None if signal.kind in _UNSEEDED else scenario.run.seed
            key = msgspec.json.encode((name, signal, span, seed))
            if key not in self._signals:
                self._signals[key] = load_signal(
                    name,
                    signal,
                    folder=self._folder,
                    start_s=interval.start_s,
                    end_s=interval.end_s,
                    tick_s=interval.tick_s,
                    seed=scenario.run.seed,
                )
                while len(self._signals) > _SIGNALS_KEPT:
                    self._signals.popitem(last=False)
            self._signals.move_to_end(key)
            loaded[name] = self._signals[key]
        return loaded

"""Runs several studies at once, a process each, as many as there are cores; what one of them does wrong stays its own.

Owns the processes: they start when a core is free, tell how far they are through a pipe, and end when this one is interrupted.
Each writes its folder by `folder.run_study`; nothing but progress and errors comes back through the pipe.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from ecovisor.adapters.spawning import start_deaf, stay_deaf
from ecovisor.model.errors import EcovisorError
from ecovisor.studies import registry
from ecovisor.studies.folder import run_study
from ecovisor.studies.study import Context
from ecovisor.studies.traces import Traces

#: Told which study does what, and how much of it is done. [0..1]
Listener = Callable[[str, str, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What every study is run with."""

    data: Path | None
    seeds: int
    seed: int


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_here(name: str, folder: Path, settings: Settings, listener: Listener) -> None:
    """Run one study in this process; raises what it raises."""
    study = registry.study(name)
    context = Context(
        traces=Traces(settings.data, seed=settings.seed),
        seeds=settings.seeds,
        seed=settings.seed,
        progress=lambda what, done_ratio: listener(name, what, done_ratio),
    )
    run_study(study, context, folder)


def run_many(folders: Mapping[str, Path], settings: Settings, *, jobs: int, listener: Listener) -> dict[str, str]:
    """Run studies, each into its folder; the error, in one line, of each that could not be run.

    Args:
        folders: by the study's name; they are begun in this order.
        settings: for all of them.
        jobs: how many at once, at least 1.
        listener: told of each that has begun, how far it is, and with 1.0 that it is done.
    """
    waiting, errors = list(folders), dict[str, str]()
    with _processes() as running:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                running[name] = _begin(name, folders[name], settings)
                listener(name, "starting", 0.0)
            ready = wait([pipe for _, pipe in running.values()])
            for name in [name for name, (_, pipe) in running.items() if pipe in ready]:
                error = _hear(name, running, listener)
                if error is not None:
                    errors[name] = error
    return errors


_Running = dict[str, tuple[BaseProcess, Connection]]


@contextmanager
def _processes() -> Iterator[_Running]:
    """The running processes by study; they are ended when the block is left before they are done."""
    running: _Running = {}
    try:
        yield running
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, pipe in running.values():
            process.join()
            pipe.close()


def _begin(name: str, folder: Path, settings: Settings) -> tuple[BaseProcess, Connection]:
    context = get_context("spawn")  # a forked copy of threads and locks that are held is no place to work in
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, folder, settings, theirs), name=name, daemon=True)
    start_deaf(process)
    theirs.close()
    return process, ours


def _hear(name: str, running: _Running, listener: Listener) -> str | None:
    """Take what a process says; the error that it ended with, if so."""
    process, pipe = running[name]
    try:
        message = pipe.recv()
    except (EOFError, OSError):
        process.join()
        message = ("error", f"its process ended with exit status {process.exitcode}")
    if message[0] == "progress":
        listener(name, message[1], message[2])
        return None
    process.join()
    pipe.close()
    del running[name]
    listener(name, "done" if message[0] == "done" else "failed", 1.0)
    return message[1] if message[0] == "error" else None


def _work(name: str, folder: Path, settings: Settings, pipe: Connection) -> None:
    """In the process of one study."""
    stay_deaf()  # whoever started it ends it

    def tell(_name: str, what: str, done_ratio: float) -> None:
        pipe.send(("progress", what, done_ratio))

    try:
        run_here(name, folder, settings, tell)
    except Exception as error:
        pipe.send(("error", in_a_line(error)))
    else:
        pipe.send(("done",))


def in_a_line(error: Exception) -> str:
    """An error for people; one that nobody raised on purpose with its kind and the line that raised it."""
    told = " ".join(str(error).split())
    if isinstance(error, EcovisorError):
        return told
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {told} ({Path(last.filename).name}, line {last.lineno})"

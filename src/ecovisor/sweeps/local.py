"""Runs a sweep's combinations on this machine: one after the other, or on several processes that stay until the sweep ends.

Owns the processes: started afresh (`spawn`, the same on every system), fed one combination ahead, replaced when they die. A combination
whose process dies twice has failed. They end with the sweep, however that ends. What a process does with a combination is `running`.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from typing import Any

from ecovisor.adapters.spawning import start_deaf, stay_deaf
from ecovisor.sweeps.outcomes import Outcome
from ecovisor.sweeps.running import Base, Runner, Task

_ATTEMPTS = 2
#: Combinations that a process holds, the one it works on included: it never waits for the next.
_AHEAD = 2


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_here(base: Base, tasks: Iterable[Task]) -> Generator[Outcome, None, None]:
    """Run one after the other in this process."""
    runner = Runner(base)
    for task in tasks:
        yield runner.run(task)


def run_in_processes(base: Base, tasks: Iterable[Task], jobs: int) -> Generator[Outcome, None, None]:
    """Run on so many processes; outcomes come as they are done. Closing the iterator ends the processes at once."""
    pool = _Pool(base, deque(tasks), jobs)
    try:
        yield from pool.run()
    finally:
        pool.end()


@dataclass(slots=True, eq=False)
class _Worker:
    process: Any
    pipe: connection.Connection[Any, Any]
    held: deque[Task] = field(default_factory=deque)


class _Pool:
    def __init__(self, base: Base, waiting: deque[Task], jobs: int) -> None:
        self._base = base
        self._waiting = waiting
        self._spawning = multiprocessing.get_context("spawn")
        self._deaths: dict[int, int] = {}
        self._workers = [self._start() for _ in range(min(jobs, len(waiting)))]

    def run(self) -> Iterator[Outcome]:
        for worker in self._workers:
            self._feed(worker)
        while any(worker.held for worker in self._workers):
            ready = connection.wait([worker.pipe for worker in self._workers if worker.held])
            for worker in [worker for worker in self._workers if worker.pipe in ready]:
                try:
                    outcome: Outcome = worker.pipe.recv()
                except (EOFError, OSError):
                    yield from self._bury(worker)
                    continue
                worker.held.popleft()
                self._feed(worker)
                yield outcome

    def end(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.process.close()

    def _start(self) -> _Worker:
        ours, theirs = self._spawning.Pipe()
        process = self._spawning.Process(target=_serve, args=(theirs, self._base), daemon=True)
        start_deaf(process)
        theirs.close()
        return _Worker(process, ours)

    def _feed(self, worker: _Worker) -> None:
        """Give a process as much as it may hold; one that has died is noticed when it is listened to."""
        while self._waiting and len(worker.held) < _AHEAD:
            task = self._waiting.popleft()
            worker.held.append(task)
            try:
                worker.pipe.send(task)
            except OSError:
                return

    def _bury(self, worker: _Worker) -> Iterator[Outcome]:
        """Replace a process that died; what it worked on is tried once more, then has failed."""
        worker.process.join()
        code = worker.process.exitcode
        died = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        worker.process.close()
        worker.pipe.close()
        self._workers.remove(worker)
        task = worker.held.popleft()
        self._waiting.extendleft(reversed(worker.held))
        self._deaths[task.index] = self._deaths.get(task.index, 0) + 1
        if self._deaths[task.index] < _ATTEMPTS:
            self._waiting.appendleft(task)
        else:
            yield Outcome(
                index=task.index,
                settings=task.settings,
                elapsed_s=0.0,
                error=f"the process that ran it died {_ATTEMPTS} times ({died}); it may need more memory than there is: try --jobs 1",
            )
        if self._waiting:
            fresh = self._start()
            self._workers.append(fresh)
            self._feed(fresh)


def _serve(pipe: connection.Connection[Any, Any], base: Base) -> None:
    """What a process does, until the pipe is closed."""
    stay_deaf()
    sys.stdout = sys.stderr
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runner = Runner(base)
    try:
        while True:
            pipe.send(runner.run(pipe.recv()))
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

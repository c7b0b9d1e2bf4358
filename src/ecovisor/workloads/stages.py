"""A Spark-like job (Ecovisor paper, section 5.3): stages of many tasks on workers that hold their results in memory.

A task runs on one worker; a stage begins when every task of the stages before it has been done. Results lie in the memory of the worker
that made them until a checkpoint writes them to stable storage. A worker that dies before that (its container is removed or suspended, or
gets less than its idle power) takes them and its unfinished task with it, and what is lost has to be done again, earlier stages first.
What a worker does with a power is `containers`' business; how many workers there are is a policy's.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ecovisor.ports import ContainerInfo
from ecovisor.presets import ServerParameters
from ecovisor.workloads.containers import effective_cores, group_power_w

INFINITY = float("inf")
_DAY_S = 86400.0
#: A container lost its power if it was granted less than this part of its idle power: more than rounding takes.
_POWERED_RATIO = 1.0 - 1e-9
#: A task that would end this much after the tick ends with it.
_ROUNDING_S = 1e-6


@dataclass(slots=True)
class _Worker:
    """One executor, alive as long as its container runs."""

    task: int | None = None
    """The task that it is at."""
    progress_core_h: float = 0.0
    finished: list[int] = field(default_factory=list)
    """Tasks whose results are in its memory alone."""
    finished_core_h: float = 0.0
    writing: list[int] = field(default_factory=list)
    """Tasks whose results it is writing to stable storage."""
    writing_core_h: float = 0.0
    delay_s: float = 0.0
    """Time at full power before it goes on with its task: starting, or writing."""

    @property
    def held_core_h(self) -> float:
        """What dies with it, its unfinished task included. [core-h]"""
        return self.progress_core_h + self.finished_core_h + self.writing_core_h

    def forget(self) -> None:
        """It has died: nothing is in its memory."""
        self.task, self.progress_core_h = None, 0.0
        self.finished, self.finished_core_h = [], 0.0
        self.writing, self.writing_core_h = [], 0.0


class Stages:
    """Stages of tasks with results in memory and checkpoints.

    Args:
        server: what a container is a part of.
        work_core_h: all tasks together. [core-h]
        stages: how many, each after the one before it.
        tasks_per_stage: independent of each other.
        task_spread_ratio: standard deviation of a task's length over its mean (log-normal). [1]
        checkpoint_interval_s: results are written this often; 0: only in the evening. [s]
        checkpoint_duration_s: time that each worker with results takes to write them, at full power. [s]
        evening_h: hour of the day, UTC, by which the evening's checkpoint is complete; None: there is none. [h]
        startup_s: time at full power before a new worker's first task. [s]
        seed: of the tasks' lengths.
        start_s: nothing is done before this instant. [s since the epoch]

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        *,
        server: ServerParameters,
        work_core_h: float,
        stages: int = 8,
        tasks_per_stage: int = 120,
        task_spread_ratio: float = 0.25,
        checkpoint_interval_s: float = 0.0,
        checkpoint_duration_s: float = 0.0,
        evening_h: float | None = None,
        startup_s: float = 0.0,
        seed: int = 0,
        start_s: float = -INFINITY,
    ) -> None:
        if not 0.0 < work_core_h < INFINITY:
            raise ValueError(f"work_core_h is {work_core_h!r}; give a finite number above 0")
        if stages < 1 or tasks_per_stage < 1:
            raise ValueError(f"{stages} stages of {tasks_per_stage} tasks; give at least 1 of each")
        if not (evening_h is None or 0.0 <= evening_h < 24.0):
            raise ValueError(f"evening_h is {evening_h!r}; give an hour of the day from 0 to 24")
        for name, value in (
            ("task_spread_ratio", task_spread_ratio),
            ("checkpoint_interval_s", checkpoint_interval_s),
            ("checkpoint_duration_s", checkpoint_duration_s),
            ("startup_s", startup_s),
        ):
            if not 0.0 <= value < INFINITY:
                raise ValueError(f"{name} is {value!r}; give a finite number of at least 0")
        self.server = server
        self.checkpoint_interval_s = checkpoint_interval_s
        self.checkpoint_duration_s = checkpoint_duration_s
        self.evening_h = evening_h
        self.startup_s = startup_s
        self.start_s = start_s
        self.work_total = work_core_h
        """[core-h]"""
        self.checkpointed_core_h = 0.0
        """Work whose results are in stable storage. [core-h]"""
        self.lost_core_h = 0.0
        """Work whose results died with their workers, so far. [core-h]"""
        self.executed_core_h = 0.0
        """All work that was ever done: checkpointed, in memory, and lost. [core-h]"""
        self.completed_s = math.nan
        """When the last task was done. [s since the epoch]"""
        self._tasks_per_stage = tasks_per_stage
        self._task_core_h = _task_lengths_core_h(work_core_h, stages * tasks_per_stage, task_spread_ratio, seed)
        self._pending = [deque(range(k * tasks_per_stage, (k + 1) * tasks_per_stage)) for k in range(stages)]
        self._missing = [tasks_per_stage] * stages
        self._stage = 0
        self._workers: dict[str, _Worker] = {}
        self._asked: list[tuple[_Worker | None, float, float]] = []
        self._checkpoint_s = start_s
        self._now_s = start_s

    # -- what policies and reports read

    @property
    def in_memory_core_h(self) -> float:
        """Work that would be lost if every worker died now, unfinished tasks included. [core-h]"""
        return math.fsum(worker.held_core_h for worker in self._workers.values())

    @property
    def work_done(self) -> float:
        """Work that need not be done again: checkpointed or in memory. [core-h]"""
        if self.completed:
            return self.work_total
        return min(self.checkpointed_core_h + self.in_memory_core_h, self.work_total * (1.0 - 1e-12))

    @property
    def completed(self) -> bool:
        """True once the last task is done; then the job has its result, and nothing can be lost any more."""
        return not math.isnan(self.completed_s)

    @property
    def workers_wanted(self) -> int:
        """Workers that the stage could use now: its tasks that are not done; none before the start and after the end."""
        if self.completed or self._now_s < self.start_s:
            return 0
        return self._missing[self._stage]

    @property
    def metrics(self) -> Mapping[str, float]:
        """What the job says of itself."""
        return {
            "workers": float(len(self._workers)),
            "workers_wanted": float(self.workers_wanted),
            "stage": float(self._stage),
            "lost_core_h": self.lost_core_h,
            "in_memory_core_h": self.in_memory_core_h,
            "checkpointed_ratio": self.checkpointed_core_h / self.work_total,
        }

    # -- ports.ContainerWorkload

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        """See `ports.ContainerWorkload`."""
        self._now_s = now_s
        if self.completed:
            self._workers.clear()
            self._asked = [(None, 0.0, 0.0) for _ in containers]
            return [0.0] * len(containers)
        self._meet(containers)
        if now_s < self.start_s:
            self._asked = [(None, one.cores, self._power_w(one, 0.0)) for one in containers]
            return [asked_w for _, _, asked_w in self._asked]
        if self._checkpoint_due(now_s, tick_s):
            self._begin_checkpoint(now_s)
        asked = []
        for one in containers:
            worker = self._workers.get(one.id) if one.running else None
            if worker is not None and worker.task is None:
                self._take_task(worker)
            busy = worker is not None and (worker.task is not None or worker.delay_s > 0.0)
            asked.append((worker, one.cores, self._power_w(one, 1.0 if busy else 0.0)))
        self._asked = asked
        return [asked_w for _, _, asked_w in asked]

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        """See `ports.ContainerWorkload`."""
        curve = self.server.power_curve_w
        end_s = -INFINITY
        for (worker, cores, _), power_w in zip(self._asked, served_w, strict=True):
            if worker is None:
                continue
            if power_w < cores / self.server.cores * curve[0] * _POWERED_RATIO:
                self._lose(worker)
                worker.delay_s = self.startup_s
                continue
            speed_cores = effective_cores(curve, len(curve), self.server.cores, cores, power_w)
            if speed_cores > 0.0:
                end_s = max(end_s, self._work(worker, speed_cores, tick_s))
        if self._stage == len(self._missing) and not self.completed:
            self.completed_s = self._now_s + end_s
            self.checkpointed_core_h = self.work_total
            self._workers.clear()

    # -- workers

    def _power_w(self, one: ContainerInfo, utilisation_ratio: float) -> float:
        if not one.running:
            return 0.0
        curve = self.server.power_curve_w
        return group_power_w(curve, len(curve), self.server.cores, one.cores, utilisation_ratio, one.cap_w)

    def _meet(self, containers: Sequence[ContainerInfo]) -> None:
        """Containers that have come are workers; those that have gone or are suspended have died."""
        running = {one.id for one in containers if one.running}
        for gone in [name for name in self._workers if name not in running]:
            self._lose(self._workers.pop(gone))
        for one in containers:
            if one.running and one.id not in self._workers:
                self._workers[one.id] = _Worker(delay_s=self.startup_s)

    def _take_task(self, worker: _Worker) -> None:
        if self._stage < len(self._pending) and self._pending[self._stage]:
            worker.task = self._pending[self._stage].popleft()
            worker.progress_core_h = 0.0

    def _work(self, worker: _Worker, speed_cores: float, tick_s: float) -> float:
        """A worker's tick; returns when in it the last of its tasks was done, minus infinity if none was. [s]"""
        left_s, done_s = tick_s, -INFINITY
        if worker.delay_s > 0.0:
            passed_s = min(worker.delay_s, left_s)
            worker.delay_s -= passed_s
            left_s -= passed_s
            if worker.delay_s > 0.0:
                return done_s
        self._end_writing(worker)
        while worker.task is not None and left_s > 0.0:
            needed_core_h = self._task_core_h[worker.task] - worker.progress_core_h
            needed_s = needed_core_h / speed_cores * 3600.0
            if needed_s > left_s + _ROUNDING_S:
                done_core_h = speed_cores * left_s / 3600.0
                worker.progress_core_h += done_core_h
                self.executed_core_h += done_core_h
                break
            left_s = max(left_s - needed_s, 0.0)
            done_s = tick_s - left_s
            self.executed_core_h += needed_core_h
            self._finish(worker)
        return done_s

    def _finish(self, worker: _Worker) -> None:
        if worker.task is not None:
            worker.finished.append(worker.task)
            worker.finished_core_h += self._task_core_h[worker.task]
            self._missing[worker.task // self._tasks_per_stage] -= 1
        worker.task, worker.progress_core_h = None, 0.0
        while self._stage < len(self._missing) and self._missing[self._stage] == 0:
            self._stage += 1
        self._take_task(worker)

    def _lose(self, worker: _Worker) -> None:
        """A worker dies: its results and its unfinished task have to be done again."""
        self.lost_core_h += worker.held_core_h
        results = worker.finished + worker.writing
        for task in results:
            self._missing[task // self._tasks_per_stage] += 1
        for task in results if worker.task is None else [*results, worker.task]:
            self._pending[task // self._tasks_per_stage].appendleft(task)
        self._stage = next((k for k, missing in enumerate(self._missing) if missing), len(self._missing))
        worker.forget()

    # -- checkpoints

    def _checkpoint_due(self, now_s: float, tick_s: float) -> bool:
        if self.checkpoint_interval_s > 0.0 and now_s - self._checkpoint_s >= self.checkpoint_interval_s:
            return True
        if self.evening_h is None:
            return False
        begin_s = self.evening_h * 3600.0 - math.ceil(self.checkpoint_duration_s / tick_s) * tick_s
        return (now_s - begin_s) % _DAY_S < tick_s

    def _begin_checkpoint(self, now_s: float) -> None:
        self._checkpoint_s = now_s
        for worker in self._workers.values():
            if worker.finished:
                worker.writing += worker.finished
                worker.writing_core_h += worker.finished_core_h
                worker.finished, worker.finished_core_h = [], 0.0
                worker.delay_s += self.checkpoint_duration_s
                if worker.delay_s == 0.0:
                    self._end_writing(worker)

    def _end_writing(self, worker: _Worker) -> None:
        self.checkpointed_core_h += worker.writing_core_h
        worker.writing, worker.writing_core_h = [], 0.0


def _task_lengths_core_h(work_core_h: float, count: int, spread_ratio: float, seed: int) -> list[float]:
    """Lengths of ``count`` tasks, log-normal, that together are ``work_core_h``. [core-h]"""
    chance = random.Random(seed)
    sigma = math.sqrt(math.log1p(spread_ratio**2))
    lengths = [chance.lognormvariate(0.0, sigma) for _ in range(count)]
    total = math.fsum(lengths)
    return [work_core_h * length / total for length in lengths]

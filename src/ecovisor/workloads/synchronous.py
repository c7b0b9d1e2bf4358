"""A synchronous parallel job (Ecovisor paper, section 5.4.1): in every step each node reads, computes, and waits for the slowest.

A step of a node is I/O for a fixed time, at idle power; then work, as fast as its power allows; then the barrier, at idle power. When all
are there the next step begins. Steps are played out event by event, so that they may be shorter or longer than a tick; what is begun
is carried on in the next tick. `nodes` says what power is worth, `stragglers` who is late.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecovisor.model.errors import SettingsError
from ecovisor.ports import ContainerInfo
from ecovisor.presets import ServerParameters
from ecovisor.workloads.nodes import Ranks
from ecovisor.workloads.parallel import INFINITY, ParallelJob, check_options
from ecovisor.workloads.stragglers import chance, slowdown


@dataclass(frozen=True, slots=True)
class _Played:
    """What a tick comes to: the state at its end, and for how long each node was busy in it."""

    step: int
    io_left_s: list[float]
    work_left_node_s: list[float]
    busy_s: list[float]
    done_s: float
    """When the job was complete, from the tick's start; infinite: it is not. [s]"""


class Synchronous(ParallelJob[_Played]):
    """A parallel job of ``nodes`` nodes and ``steps`` steps. Work is in seconds of one node at full speed (node-s).

    Args:
        server: what a node runs on.
        nodes: nodes; a container each, in the order in which they are first seen.
        steps: steps of the job.
        compute_s: work of a node in a step, on average. [node-s]
        io_s: what a node reads or writes in a step takes this long at any power. [s]
        imbalance_ratio: how unequal the nodes' parts of the work are throughout: their standard deviation over their mean. [1]
        straggler_ratio: part of the nodes' steps that take longer for no fault of theirs. [0..1]
        straggler_worst: how many times longer at most. [1]
        seed: of the imbalance and the stragglers.
        start_s: nothing is asked for before this instant. [s since the epoch]

    Raises:
        SettingsError: a count below 1, a duration below 0, or a ratio out of its range.
    """

    def __init__(
        self,
        *,
        server: ServerParameters,
        nodes: int = 10,
        steps: int = 60,
        compute_s: float = 120.0,
        io_s: float = 10.0,
        imbalance_ratio: float = 0.2,
        straggler_ratio: float = 0.05,
        straggler_worst: float = 3.0,
        seed: int = 0,
        start_s: float = -INFINITY,
    ) -> None:
        super().__init__(server, start_s)
        check_options(
            {
                "nodes": (nodes, 1, INFINITY),
                "steps": (steps, 1, INFINITY),
                "compute_s": (compute_s, 1e-3, INFINITY),
                "io_s": (io_s, 0.0, INFINITY),
                "imbalance_ratio": (imbalance_ratio, 0.0, 1.0),
                "straggler_ratio": (straggler_ratio, 0.0, 1.0),
                "straggler_worst": (straggler_worst, 1.0, INFINITY),
            }
        )
        self.nodes, self.steps, self.io_s = nodes, steps, io_s
        self._stragglers = (straggler_ratio, straggler_worst, seed)
        self._ranks = Ranks(nodes)
        self.work_node_s = tuple(compute_s * part for part in _parts(nodes, imbalance_ratio, seed))
        """Work of each node in every step. [node-s]"""
        self.work_total = math.fsum(self.work_node_s) * steps
        self._step = 0
        self._io_left_s, self._work_left = self._begun(0)
        self._slow = self._slowdowns(0)
        self._busy_ratio: dict[str, float] = {}
        self._task: list[int | None] = []

    # -- what its app's policy and the reports see

    @property
    def work_done(self) -> float:
        """Work done by all nodes. [node-s]"""
        if self._step >= self.steps:
            return self.work_total
        left = math.fsum(self._work_left)
        whole = math.fsum(self.work_node_s)
        return whole * self._step + max(0.0, whole - left)

    @property
    def metrics(self) -> Mapping[str, float]:
        """`step` of `steps`, nodes `waiting` at the barrier, and `busy_ratio_ID` of each container over the last tick."""
        waiting = sum(work <= 0.0 and io <= 0.0 for work, io in zip(self._work_left, self._io_left_s, strict=True))
        return {"step": float(self._step), "steps": float(self.steps), "waiting": float(waiting)} | {
            f"busy_ratio_{one}": ratio for one, ratio in self._busy_ratio.items()
        }

    # -- how a tick goes

    def _meet(self, containers: Sequence[ContainerInfo]) -> None:
        self._task = self._ranks.of(containers)

    def _keep(self, played: _Played, tick_s: float) -> float:
        self._busy_ratio = {
            one.id: played.busy_s[task] / tick_s
            for one, task in zip(self._containers, self._task, strict=True)
            if task is not None and one.running
        }
        if played.step != self._step:
            self._slow = self._slowdowns(played.step)
        self._step, self._io_left_s, self._work_left = played.step, played.io_left_s, played.work_left_node_s
        return played.done_s

    def _play(self, tick_s: float, begin_s: float, busy_w: Sequence[float]) -> tuple[_Played, list[float]]:
        on = [False] * self.nodes
        speed = [0.0] * self.nodes
        for one, task, power_w in zip(self._containers, self._task, busy_w, strict=True):
            if task is not None and power_w > 0.0:
                on[task] = True
                speed[task] = self._server.speed_ratio(one.cores, power_w)
        step, busy_s, done_s, clock_s = self._step, [0.0] * self.nodes, INFINITY, begin_s
        io_left, work_left, slow = list(self._io_left_s), list(self._work_left), self._slow
        while True:
            arrive_s = [clock_s + _needed_s(io_left[k], work_left[k] * slow[k], on[k], speed[k]) for k in range(self.nodes)]
            release_s = max(arrive_s)
            if release_s > tick_s:
                break
            for k in range(self.nodes):
                if work_left[k] > 0.0:
                    busy_s[k] += work_left[k] * slow[k] / speed[k]
            step += 1
            clock_s = release_s
            if step >= self.steps:
                done_s = release_s
                io_left, work_left = [0.0] * self.nodes, [0.0] * self.nodes
                break
            io_left, work_left = self._begun(step)
            slow = self._slowdowns(step)
        if done_s == INFINITY:
            for k in range(self.nodes):
                if on[k]:
                    self._partly(k, tick_s - clock_s, io_left, work_left, busy_s, slow[k], speed[k])
        until_s = done_s if done_s < INFINITY else tick_s
        mean_w = []
        for one, task, power_w in zip(self._containers, self._task, busy_w, strict=True):
            idle_w = self._server.idle_w(one.cores)
            spent_s = busy_s[task] if task is not None else 0.0
            energy_j = power_w * spent_s + idle_w * (until_s - begin_s - spent_s) if power_w > 0.0 else 0.0
            mean_w.append(min(energy_j / tick_s, power_w))
        return _Played(step, io_left, work_left, busy_s, done_s), mean_w

    @staticmethod
    def _partly(
        k: int, left_s: float, io_left: list[float], work_left: list[float], busy_s: list[float], slow: float, speed: float
    ) -> None:
        """What node ``k`` does of its step in the rest of a tick."""
        reading_s = min(left_s, io_left[k])
        io_left[k] -= reading_s
        left_s -= reading_s
        if work_left[k] <= 0.0 or left_s <= 0.0:
            return
        needed_s = work_left[k] * slow / speed if speed > 0.0 else INFINITY
        if needed_s <= left_s:
            busy_s[k] += needed_s
            work_left[k] = 0.0
        else:
            busy_s[k] += left_s
            work_left[k] -= left_s * speed / slow

    def _begun(self, step: int) -> tuple[list[float], list[float]]:
        """I/O and work of every node at the beginning of a step."""
        if step >= self.steps:
            return [0.0] * self.nodes, [0.0] * self.nodes
        return [self.io_s] * self.nodes, list(self.work_node_s)

    def _slowdowns(self, step: int) -> list[float]:
        """How many times longer each node takes in a step."""
        ratio, worst, seed = self._stragglers
        return [slowdown(ratio, worst, seed, 1, step, k) for k in range(self.nodes)]


def _needed_s(io_left_s: float, slowed_work_node_s: float, on: bool, speed_ratio: float) -> float:
    """How long a node still needs to the barrier; infinite if it is off, or has work and no speed. [s]"""
    if slowed_work_node_s > 0.0:
        return io_left_s + slowed_work_node_s / speed_ratio if on and speed_ratio > 0.0 else INFINITY
    if io_left_s > 0.0:
        return io_left_s if on else INFINITY
    return 0.0


def _parts(nodes: int, imbalance_ratio: float, seed: int) -> list[float]:
    """The nodes' parts of the work: drawn uniformly, then moved and stretched to a mean of 1 and the deviation asked for. [1]"""
    drawn = [chance(seed, 0, k) for k in range(nodes)]
    mean = math.fsum(drawn) / nodes
    deviation = math.sqrt(math.fsum((one - mean) ** 2 for one in drawn) / nodes)
    if deviation == 0.0 or imbalance_ratio == 0.0:
        return [1.0] * nodes
    parts = [1.0 + imbalance_ratio * (one - mean) / deviation for one in drawn]
    if min(parts) <= 0.0:
        raise SettingsError(
            "workload.options.imbalance_ratio", f"is {imbalance_ratio!r}, which leaves a node without work", "lower it"
        )
    return parts

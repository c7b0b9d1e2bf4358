"""A parallel job with stragglers and replicas against them (Ecovisor paper, section 5.4.1): rounds of tasks, each round as long as its
slowest task.

Every task runs on a node of its own. Its progress is tracked; once it is known to be slow, spare containers that run may try it anew,
several at a time. The first to finish counts, the work of the others is discarded: their energy is wasted. How many spares run is up
to the app's policy. Played out event by event, across ticks. `nodes` says what power is worth, `stragglers` who is slow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ecovisor.ports import ContainerInfo
from ecovisor.presets import ServerParameters
from ecovisor.workloads.nodes import Ranks
from ecovisor.workloads.parallel import INFINITY, ParallelJob, check_options
from ecovisor.workloads.stragglers import slowdown

#: Of two events closer than this the later is taken with the earlier: rounding. [s]
_SAME_S = 1e-9


@dataclass(slots=True)
class _Attempt:
    """One container's try at a task."""

    task: int
    slow: float
    """How many times longer it takes than it should. [1]"""
    left_node_s: float
    watched_node_s: float = 0.0
    """Work that it should have done by now. [node-s]"""
    energy_j: float = 0.0


@dataclass(slots=True)
class _State:
    """The round under way, and what has been spent."""

    round: int = 0
    done: set[int] = field(default_factory=set)
    originals: dict[int, _Attempt] = field(default_factory=dict)
    replicas: dict[str, _Attempt] = field(default_factory=dict)
    """By container."""
    issued: dict[int, int] = field(default_factory=dict)
    """Replicas of each task so far in this round."""
    issued_total: int = 0
    won_total: int = 0
    wasted_j: float = 0.0
    done_s: float = INFINITY

    def copy(self) -> _State:
        return replace(
            self,
            done=set(self.done),
            originals={task: replace(one) for task, one in self.originals.items()},
            replicas={name: replace(one) for name, one in self.replicas.items()},
            issued=dict(self.issued),
        )


class Replicas(ParallelJob[_State]):
    """``rounds`` rounds of ``tasks`` equal tasks. Work is in seconds of one container at full speed (node-s).

    The first ``tasks`` containers that are seen have a task each; all others are spares.

    Args:
        server: what containers run on.
        tasks: tasks of a round.
        rounds: rounds of the job.
        compute_s: work of a task. [node-s]
        straggler_ratio: part of the tries that are slow. [0..1]
        straggler_worst: how many times longer the slowest takes; the others are uniform between that and 1. [1]
        stalled: a slow try is slow because it waits, and draws power in proportion to its speed; False: it draws full power.
        watch_ratio: a task's speed is known once it should have done this part of its work. [0..1]
        slow_ratio: it is slow if it takes this many times longer than it should. [1]
        most_replicas: tries at a task at a time, besides the original.
        seed: of the stragglers.
        start_s: nothing is asked for before this instant. [s since the epoch]

    Raises:
        SettingsError: an option is out of its range.
    """

    def __init__(
        self,
        *,
        server: ServerParameters,
        tasks: int = 10,
        rounds: int = 40,
        compute_s: float = 300.0,
        straggler_ratio: float = 0.2,
        straggler_worst: float = 5.0,
        stalled: bool = False,
        watch_ratio: float = 0.2,
        slow_ratio: float = 1.5,
        most_replicas: int = 4,
        seed: int = 0,
        start_s: float = -INFINITY,
    ) -> None:
        super().__init__(server, start_s)
        check_options(
            {
                "tasks": (tasks, 1, INFINITY),
                "rounds": (rounds, 1, INFINITY),
                "compute_s": (compute_s, 1e-3, INFINITY),
                "straggler_ratio": (straggler_ratio, 0.0, 1.0),
                "straggler_worst": (straggler_worst, 1.0, INFINITY),
                "watch_ratio": (watch_ratio, 0.0, 1.0),
                "slow_ratio": (slow_ratio, 1.0, INFINITY),
                "most_replicas": (most_replicas, 0, INFINITY),
            }
        )
        self.tasks, self.rounds, self.compute_s = tasks, rounds, compute_s
        self._stragglers = (straggler_ratio, straggler_worst, seed)
        self._stalled = stalled
        self._watch_node_s, self._slow_ratio, self._most = watch_ratio * compute_s, slow_ratio, most_replicas
        self.work_total = tasks * rounds * compute_s
        self._ranks = Ranks(tasks)
        self._task: list[int | None] = []
        self._state = _State()
        self._begin_round(self._state)

    # -- what its app's policy and the reports see

    @property
    def work_done(self) -> float:
        """Work that counts: of each task, what its best try has done. [node-s]"""
        state = self._state
        if state.round >= self.rounds:
            return self.work_total
        done = (state.round * self.tasks + len(state.done)) * self.compute_s
        for task, original in state.originals.items():
            least = min([original.left_node_s, *(one.left_node_s for one in state.replicas.values() if one.task == task)])
            done += self.compute_s - least
        return done

    @property
    def metrics(self) -> Mapping[str, float]:
        """`tasks`, the `round`, `replicas_running`, `replicas_wanted` besides, all `replicas_issued` and `replicas_won`, `wasted_wh`."""
        state = self._state
        return {
            "tasks": float(self.tasks),
            "round": float(state.round),
            "replicas_running": float(len(state.replicas)),
            "replicas_wanted": float(sum(self._missing(state, task) for task in state.originals)),
            "replicas_issued": float(state.issued_total),
            "replicas_won": float(state.won_total),
            "wasted_wh": state.wasted_j / 3600.0,
        }

    # -- how a tick goes

    def _meet(self, containers: Sequence[ContainerInfo]) -> None:
        self._task = self._ranks.of(containers)
        spares = {one.id for one, task in zip(containers, self._task, strict=True) if task is None}
        for name in [name for name in self._state.replicas if name not in spares]:  # its container has gone, and its work with it
            self._state.wasted_j += self._state.replicas.pop(name).energy_j

    def _keep(self, played: _State, tick_s: float) -> float:
        self._state = played
        return played.done_s

    def _play(self, tick_s: float, begin_s: float, busy_w: Sequence[float]) -> tuple[_State, list[float]]:
        state, clock_s = self._state.copy(), begin_s
        cores = [one.cores for one in self._containers]
        idle_w = [self._server.idle_w(one) for one in cores]
        on = [k for k, power_w in enumerate(busy_w) if power_w > 0.0]
        speed = [self._server.speed_ratio(cores[k], power_w) if power_w > 0.0 else 0.0 for k, power_w in enumerate(busy_w)]
        energy_j = [0.0] * len(busy_w)
        while clock_s < tick_s and state.round < self.rounds:
            self._issue(state, on)
            working = [(k, one) for k in on if (one := self._attempt(state, k)) is not None]
            step_s = tick_s - clock_s
            for k, one in working:
                step_s = min(step_s, self._to_event_s(one, speed[k]))
            for k in on:
                energy_j[k] += idle_w[k] * step_s
            for k, one in working:
                above_idle_w = (busy_w[k] - idle_w[k]) / (one.slow if self._stalled else 1.0)
                energy_j[k] += above_idle_w * step_s
                one.energy_j += (idle_w[k] + above_idle_w) * step_s
                one.watched_node_s += speed[k] * step_s
                one.left_node_s -= speed[k] * step_s / one.slow
            for k, one in working:
                if speed[k] > 0.0 and one.left_node_s * one.slow <= _SAME_S * speed[k]:
                    self._finish(state, one)
            clock_s += step_s
            if len(state.done) == self.tasks:
                state.round += 1
                self._begin_round(state)
                if state.round >= self.rounds:
                    state.done_s = clock_s
        return state, [min(energy / tick_s, power_w) for energy, power_w in zip(energy_j, busy_w, strict=True)]

    def _attempt(self, state: _State, k: int) -> _Attempt | None:
        """What container ``k`` is trying; None: it waits."""
        task = self._task[k]
        return state.replicas.get(self._containers[k].id) if task is None else state.originals.get(task)

    def _to_event_s(self, one: _Attempt, speed_ratio: float) -> float:
        """Until a try is finished, or known for what it is. [s]"""
        if speed_ratio <= 0.0:
            return INFINITY
        finished_s = one.left_node_s * one.slow / speed_ratio
        watch_s = (self._watch_node_s - one.watched_node_s) / speed_ratio
        return min(watch_s, finished_s) if watch_s > _SAME_S else finished_s

    def _finish(self, state: _State, winner: _Attempt) -> None:
        """The first to finish counts; all others that try the same task are given up."""
        task = winner.task
        if task in state.done:
            return
        state.done.add(task)
        original = state.originals.pop(task)
        if original is not winner:
            state.won_total += 1
            state.wasted_j += original.energy_j
        for name in [name for name, one in state.replicas.items() if one.task == task]:
            loser = state.replicas.pop(name)
            if loser is not winner:
                state.wasted_j += loser.energy_j

    def _begin_round(self, state: _State) -> None:
        state.done, state.issued = set(), {}
        state.originals = {} if state.round >= self.rounds else {task: self._new(state, task) for task in range(self.tasks)}

    def _new(self, state: _State, task: int) -> _Attempt:
        ratio, worst, seed = self._stragglers
        number = state.issued.get(task, 0)
        return _Attempt(task, slowdown(ratio, worst, seed, 2, state.round, task, number), self.compute_s)

    def _missing(self, state: _State, task: int) -> int:
        """How many more replicas a task could do with: none unless it is slow, and a new try at full speed would be sooner."""
        one = state.originals[task]
        known = one.watched_node_s >= self._watch_node_s - _SAME_S
        if not known or one.slow < self._slow_ratio or one.left_node_s * one.slow <= self.compute_s:
            return 0
        return max(0, self._most - sum(other.task == task for other in state.replicas.values()))

    def _issue(self, state: _State, on: Sequence[int]) -> None:
        """Give each free spare that runs a replica: of the slow task with the fewest, of these the one with the most left."""
        free = [self._containers[k].id for k in on if self._task[k] is None and self._containers[k].id not in state.replicas]
        if not free:
            return
        missing = {task: count for task in state.originals if (count := self._missing(state, task)) > 0}
        for name in free:
            if not missing:
                return
            task = min(missing, key=lambda one: (-missing[one], -state.originals[one].left_node_s * state.originals[one].slow, one))
            state.issued[task] = state.issued.get(task, 0) + 1
            state.issued_total += 1
            state.replicas[name] = self._new(state, task)
            missing[task] -= 1
            if missing[task] == 0:
                del missing[task]

"""The processes of one container where there are no cgroups: found by descent, measured in `/proc`, capped by stopping and continuing.

It plays the same role as `cgroups.Group`. What it cannot see, and `survey` says so: processes that leave the session, lose their parent
and clear their environment between two looks, and short-lived children of a parent that ignores how they end. `duty_cycle` decides when
processes run; `keeper` calls `step` when that asks for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence

from ecovisor.adapters.platforms.process.duty_cycle import Throttle
from ecovisor.adapters.platforms.process.processes import Process, children, newest_pid

#: As with cgroups. [cores]
SMALLEST_CORES = 0.01

#: `/proc` counts the time of ended children in ticks, user and system apart: so much may be missing for each process. [s]
_ROUNDING_S = 0.02

#: New processes are looked for in every period at first, then in every fifth: they are stopped with their group even before they are
#: found, and what they used until then is counted when they are.
_FIRST_PERIODS = 10
_EVERY_PERIODS = 5

#: A group that grows while it is stopped is stopped again, so often.
_ROUNDS = 20


class Session:
    """Everything that descends from one process.

    Args:
        pid: of the first process, a session and group of its own.
        cpus: CPUs of this machine.
        phase_ratio: see `Throttle`.
        spent_s: CPU time of processes that had ended before. [s]
        found: it was started by an earlier keeper, which may have left it stopped.
        led: its first process is still there.
    """

    def __init__(
        self, pid: int, *, cpus: int, phase_ratio: float = 0.0, spent_s: float = 0.0, found: bool = False, led: bool = True
    ) -> None:
        self._leader = pid
        self._cpus = cpus
        self._phase_ratio = phase_ratio
        self._members: dict[int, Process] = {}
        self._ended_s = spent_s
        self._seen_s = spent_s
        self._newest = b""
        self._periods = 0
        self._throttle: Throttle | None = None
        self._frozen = False
        self._stopped = found
        if led:
            self.add(pid)

    # -- who belongs to it

    def add(self, pid: int) -> None:
        """A process belongs to it, as do its children."""
        if pid not in self._members and self._found(pid):
            self._newest = b""

    def _found(self, pid: int) -> bool:
        """Take a process in; False if it is gone.

        It may have been stopped with its group before we knew of it, when nobody else of the group was left to be continued.
        """
        try:
            self._members[pid] = Process(pid)
            if not self._stopped:
                os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return pid in self._members
        except PermissionError:  # it became another user, which we are not allowed to signal
            return True
        return True

    def has(self, pid: int) -> bool:
        """Whether a process was last seen in it."""
        return pid in self._members

    def reaped(self, pid: int, used_s: float) -> None:
        """One of its processes has ended and was waited for by us; so much time had it and its children used. [s]"""
        member = self._members.pop(pid, None)
        if member is not None:
            member.close()
            self._ended_s += used_s

    def pids(self) -> list[int]:
        self._refresh()
        return [pid for pid, member in self._members.items() if member.stat.state not in "ZX"]

    def _refresh(self, *, discover: bool = True) -> bool:
        """Look again at every process, and for new ones; whether there are any."""
        for pid in [pid for pid, member in self._members.items() if not member.refresh()]:
            self._members.pop(pid).close()
        found = False
        if discover and self._newest != (newest := newest_pid()):
            self._newest = newest
            found = self._discover()
        used_s = self._sum_s()
        if used_s < self._seen_s - _ROUNDING_S * (len(self._members) + 1):
            self._ended_s += self._seen_s - used_s  # ended, and their parent did not wait for them: nobody else counts them
            used_s = self._seen_s
        self._seen_s = max(self._seen_s, used_s)
        return found

    def _discover(self) -> bool:
        count = len(self._members)
        waiting = list(self._members)
        while waiting:
            waiting += [child for child in children(waiting.pop()) if child not in self._members and self._found(child)]
        return len(self._members) > count

    # -- what it used

    def _sum_s(self) -> float:
        return self._ended_s + sum(member.cpu_s() + member.stat.children_s for member in self._members.values())

    def cpu_s(self) -> float:
        self._refresh(discover=self._throttle is None or self._frozen)  # otherwise `step` looks for new processes
        return self._seen_s

    # -- what it may use

    @property
    def joins(self) -> Sequence[str]:
        return ()

    def limit(self, cores: float) -> float:
        if cores >= self._cpus:
            self._throttle = None
            if self._stopped and not self._frozen:
                self._signal(signal.SIGCONT)
                self._stopped = False
            return cores
        cores = max(cores, SMALLEST_CORES)
        if self._throttle is None:
            self._throttle = Throttle(cores, self._cpus, self._phase_ratio)
        elif cores != self._throttle.limit_cores:
            self._throttle.change(cores)
        return cores

    def step(self, now_s: float) -> float | None:
        """Stop or continue as the limit asks for; returns when to call again, None if only a change makes that necessary. [s]"""
        throttle = self._throttle
        if throttle is None or self._frozen:
            return None
        grown = False
        if throttle.begins(now_s):
            self._periods += 1
            grown = self._refresh(discover=self._periods <= _FIRST_PERIODS or self._periods % _EVERY_PERIODS == 0)
        used_s = max(self._seen_s, self._sum_s())
        threads = sum(member.stat.threads for member in self._members.values())
        runs, again_s = throttle.step(now_s, used_s, threads)
        if runs == self._stopped or (grown and self._stopped):
            self._signal(signal.SIGCONT if runs else signal.SIGSTOP)
            self._stopped = not runs
        return again_s

    def freeze(self) -> None:
        self._frozen = self._stopped = True
        for _ in range(_ROUNDS):
            grown = self._refresh()
            self._signal(signal.SIGSTOP)
            if not grown:
                break

    def thaw(self) -> None:
        if self._frozen:
            self._frozen = self._stopped = False
            self._refresh()
            self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._refresh()
        self._signal(signal.SIGKILL)

    def remove(self) -> None:
        if self.pids():
            raise OSError(f"processes {self.pids()} are still there")
        for member in self._members.values():
            member.close()
        self._members.clear()

    def let_go(self) -> None:
        """Nobody will call `step` any more: leave nothing stopped that was not suspended."""
        if self._stopped and not self._frozen:
            self._signal(signal.SIGCONT)
            self._stopped = False

    def _signal(self, number: int) -> None:
        """To the whole group at once, and to each process that has left it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if any(member.stat.group == self._leader for member in self._members.values()):
                os.killpg(self._leader, number)
        for pid, member in self._members.items():
            if member.stat.group != self._leader and member.stat.state not in "ZX":
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)

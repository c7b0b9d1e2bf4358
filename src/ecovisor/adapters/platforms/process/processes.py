"""What the kernel says of processes, in `/proc`. `sessions` adds up what belongs to a container; `containers` recognises its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

#: Processes of a container have its folder in their environment under this name, and so have their children, unless they remove it.
MARK = "ECOVISOR_FOLDER"

_TICK_S = 1.0 / (os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100)
_STAT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Stat:
    """One line of `/proc/PID/stat`."""

    state: str
    """`R` running, `S` sleeping, `T` stopped, `Z` ended and not yet reaped, …"""
    parent: int
    group: int
    session: int
    children_s: float
    """CPU time of ended children that it has waited for, and of theirs. [s]"""
    threads: int
    started: int
    """Ticks of the kernel's clock since the machine was started. With the pid it names a process for good."""


def parse_stat(data: bytes) -> Stat:
    """A line of `/proc/PID/stat`; the program's name in it may hold anything, brackets too."""
    fields = data[data.rindex(b")") + 2 :].split()
    return Stat(
        state=fields[0].decode(),
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        children_s=(int(fields[13]) + int(fields[14])) * _TICK_S,
        threads=int(fields[17]),
        started=int(fields[19]),
    )


def stat(pid: int) -> Stat | None:
    """Of a process; None if there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        return parse_stat(os.read(descriptor, _STAT_BYTES))
    except ProcessLookupError:
        return None
    finally:
        os.close(descriptor)


class Process:
    """One process, whatever other process has its number later.

    Raises:
        ProcessLookupError: there is no such process.
    """

    __slots__ = ("_clock", "_descriptor", "pid", "stat")

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._clock = (~pid << 3) | 2  # the clock of a process's CPU time, in nanoseconds: clock_getcpuclockid(3)
        try:
            self._descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        except OSError as error:
            raise ProcessLookupError(pid) from error
        try:
            self.stat = self._read()
        except ProcessLookupError:
            self.close()
            raise

    def _read(self) -> Stat:
        return parse_stat(os.pread(self._descriptor, _STAT_BYTES, 0))

    def refresh(self) -> bool:
        """Take a new look; False if it is gone."""
        try:
            self.stat = self._read()
        except ProcessLookupError:
            return False
        return True

    def cpu_s(self) -> float:
        """Its own CPU time, all threads; up to a tick of the kernel behind while it runs; 0 when it is gone. [s]"""
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            return 0.0

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)


def children(pid: int) -> list[int]:
    """Children of all threads of a process; empty when it is gone."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names are all that is needed
    except OSError:
        return found
    for thread in threads:
        try:
            descriptor = os.open(f"/proc/{pid}/task/{thread}/children", os.O_RDONLY)
        except OSError:
            continue
        try:
            while data := os.read(descriptor, 65536):
                found.extend(map(int, data.split()))
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)
    return found


def mark_of(pid: int) -> str | None:
    """What a process has in its environment under `MARK`; None if nothing, or if it is not ours to read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - pathlib would double the cost
            variables = file.read().split(b"\0")
    except OSError:
        return None
    start = f"{MARK}=".encode()
    return next((variable[len(start) :].decode(errors="replace") for variable in variables if variable.startswith(start)), None)


def all_pids() -> Iterable[int]:
    """Every process of the machine that we may see."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def newest_pid() -> bytes:
    """Changes whenever a process or thread has been started somewhere."""
    with open("/proc/loadavg", "rb") as file:  # noqa: PTH123
        return file.read().rsplit(b" ", 1)[1]


def boot() -> str:
    """Names the time since the machine was started; start times of processes mean nothing across it."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        return file.read().strip()

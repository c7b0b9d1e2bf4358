"""Groups of processes whose CPU time the kernel counts, limits and freezes: cgroup v1 and v2.

One group for each container, below one group of the platform. `survey` finds out where; `containers` uses them. The files are read and
written through a `Tree`, so that tests can make one up.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

#: Over which a quota is given. [µs]
PERIOD_US = 100_000

#: The kernel accepts no smaller one. [µs]
SMALLEST_QUOTA_US = 1_000

#: Smallest limit. [cores]
SMALLEST_CORES = SMALLEST_QUOTA_US / PERIOD_US

#: A quota beyond this is no limit on any machine, and more than old kernels accept. [cores]
_LARGEST_CORES = 10_000.0

#: After so many looks at a group that grows faster than it is stopped, what is left waits for the next call.
_ROUNDS = 100


class Tree:
    """The file system in which the kernel shows its groups."""

    def make(self, path: str) -> None:
        """A new group; nothing happens if there is one."""
        Path(path).mkdir(0o755, exist_ok=True)

    def remove(self, path: str) -> None:
        """Remove a group without processes; nothing happens if there is none."""
        with contextlib.suppress(FileNotFoundError):
            Path(path).rmdir()

    def exists(self, path: str) -> bool:
        """Whether there is such a group or file."""
        return Path(path).exists()

    def read(self, path: str) -> str:
        """A small file, whole."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            data = piece = os.read(descriptor, 65536)
            while piece:
                piece = os.read(descriptor, 65536)
                data += piece
        finally:
            os.close(descriptor)
        return data.decode()

    def write(self, path: str, text: str) -> None:
        """Write in one system call, because the kernel answers it with what is wrong (a buffered file would lose that)."""
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)

    def groups(self, path: str) -> list[str]:
        """Names of the groups in a group."""
        try:
            return [entry.name for entry in Path(path).iterdir() if entry.is_dir()]
        except FileNotFoundError:
            return []


class Group(Protocol):
    """The processes of one container."""

    @property
    def joins(self) -> Sequence[str]:
        """Files into which a process writes 0 to belong to it."""
        ...

    def limit(self, cores: float) -> float:
        """Limit CPU time over wall time; returns the limit in force. [cores]"""
        ...

    def cpu_s(self) -> float:
        """CPU time used by all that were ever in it. [s]"""
        ...

    def pids(self) -> list[int]:
        """Processes in it now."""
        ...

    def freeze(self) -> None:
        """Nothing in it runs from now on."""
        ...

    def thaw(self) -> None:
        """Everything in it may run again."""
        ...

    def kill(self) -> None:
        """End everything in it that is there now, frozen or not; to be repeated until `pids` is empty."""
        ...

    def remove(self) -> None:
        """Forget it, when it is empty. Raises OSError as long as it is not."""
        ...


def quota_us(cores: float) -> int | None:
    """The quota for a limit, at least the smallest; None: no limit. [µs]"""
    if cores >= _LARGEST_CORES:
        return None
    return max(SMALLEST_QUOTA_US, round(cores * PERIOD_US))


def in_force(quota: int | None) -> float:
    """The limit that a quota is. [cores]"""
    return math.inf if quota is None else quota / PERIOD_US


def read_pids(tree: Tree, path: str) -> list[int]:
    """Processes of a group; empty if there is no such group."""
    try:
        return [int(pid) for pid in tree.read(f"{path}/cgroup.procs").split()]
    except OSError:
        return []


def signal_all(pids: Sequence[int], number: int) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def prepare(tree: Tree, mechanism: str, parents: Mapping[str, str]) -> None:
    """The platform's own group, below which those of its containers are made. Raises OSError."""
    for path in dict.fromkeys(parents.values()):
        tree.make(path)
        if mechanism == "cgroup-v2":
            tree.write(f"{path}/cgroup.subtree_control", "+cpu")


def below(parents: Mapping[str, str], name: str) -> dict[str, str]:
    """Paths of a group in the platform's own."""
    return {controller: f"{path}/{name}" for controller, path in parents.items()}


class GroupV2:
    """A group of the unified hierarchy.

    Args:
        tree: where it is.
        path: of the group itself; it is made if it does not exist.
        bound_cores: what groups above it allow. [cores]
    """

    def __init__(self, tree: Tree, path: str, bound_cores: float) -> None:
        self._tree = tree
        self._path = path
        self._bound_cores = bound_cores
        tree.make(path)

    @property
    def joins(self) -> Sequence[str]:
        return [f"{self._path}/cgroup.procs"]

    def limit(self, cores: float) -> float:
        quota = quota_us(min(cores, self._bound_cores))
        self._tree.write(f"{self._path}/cpu.max", f"{'max' if quota is None else quota} {PERIOD_US}")
        return in_force(quota)

    def cpu_s(self) -> float:
        for line in self._tree.read(f"{self._path}/cpu.stat").splitlines():
            name, _, value = line.partition(" ")
            if name == "usage_usec":
                return int(value) / 1e6
        raise OSError(f"{self._path}/cpu.stat: no usage_usec")

    def pids(self) -> list[int]:
        return read_pids(self._tree, self._path)

    def freeze(self) -> None:
        self._tree.write(f"{self._path}/cgroup.freeze", "1")

    def thaw(self) -> None:
        self._tree.write(f"{self._path}/cgroup.freeze", "0")

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.limit(math.inf)  # what dies needs a little time of its own
        try:
            self._tree.write(f"{self._path}/cgroup.kill", "1")
        except FileNotFoundError:  # Linux before 5.14
            signal_all(self.pids(), signal.SIGKILL)

    def remove(self) -> None:
        self._tree.remove(self._path)


class GroupV1:
    """A group in each of the hierarchies `cpu`, `cpuacct` and, if there is one, `freezer`.

    Args:
        tree: where it is.
        paths: of the group, by controller; made if they do not exist.
        bound_cores: what groups above it allow; the kernel refuses more. [cores]
    """

    def __init__(self, tree: Tree, paths: Mapping[str, str], bound_cores: float) -> None:
        self._tree = tree
        self._cpu = paths["cpu"]
        self._cpuacct = paths["cpuacct"]
        self._freezer = paths.get("freezer")
        self._bound_cores = bound_cores
        self._paths = list(dict.fromkeys(paths.values()))  # `cpu` and `cpuacct` are often one
        for path in self._paths:
            tree.make(path)

    @property
    def joins(self) -> Sequence[str]:
        return [f"{path}/cgroup.procs" for path in self._paths]

    def limit(self, cores: float) -> float:
        quota = None if cores > self._bound_cores else quota_us(cores)
        self._tree.write(f"{self._cpu}/cpu.cfs_period_us", str(PERIOD_US))
        self._tree.write(f"{self._cpu}/cpu.cfs_quota_us", "-1" if quota is None else str(quota))
        return min(in_force(quota), self._bound_cores)

    def cpu_s(self) -> float:
        return int(self._tree.read(f"{self._cpuacct}/cpuacct.usage")) / 1e9

    def pids(self) -> list[int]:
        return read_pids(self._tree, self._cpuacct)

    def freeze(self) -> None:
        if self._freezer is not None:
            self._tree.write(f"{self._freezer}/freezer.state", "FROZEN")
            return
        stopped: set[int] = set()
        for _ in range(_ROUNDS):  # a process may start another before it is stopped
            left = [pid for pid in self.pids() if pid not in stopped]
            if not left:
                return
            signal_all(left, signal.SIGSTOP)
            stopped.update(left)

    def thaw(self) -> None:
        if self._freezer is not None:
            self._tree.write(f"{self._freezer}/freezer.state", "THAWED")
        else:
            signal_all(self.pids(), signal.SIGCONT)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.limit(math.inf)  # what dies needs a little time of its own
        if self._freezer is not None:  # frozen, they start no others; a frozen process dies when it is thawed
            self._tree.write(f"{self._freezer}/freezer.state", "FROZEN")
        signal_all(self.pids(), signal.SIGKILL)
        if self._freezer is not None:
            self._tree.write(f"{self._freezer}/freezer.state", "THAWED")

    def remove(self) -> None:
        for path in self._paths:
            self._tree.remove(path)

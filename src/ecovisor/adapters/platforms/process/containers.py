"""One container, as the keeper holds it: its processes, its limit, its output, its record on disk, and how it ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ecovisor.adapters.platforms.process import folders, processes
from ecovisor.adapters.platforms.process.cgroups import Group, GroupV1, GroupV2, Tree
from ecovisor.adapters.platforms.process.folders import Folder
from ecovisor.adapters.platforms.process.loop import Timer
from ecovisor.adapters.platforms.process.output import Output
from ecovisor.adapters.platforms.process.protocol import cores_in, cores_out
from ecovisor.adapters.platforms.process.sessions import Session

#: Where there are no cgroups, CPU time that only we know is written down whenever it has grown by so much. [s]
_REMEMBER_EVERY_S = 10.0

Key = tuple[str, str]


@dataclass(slots=True)
class Record:
    """What a new keeper must know of a container, and what is left of one that ended."""

    app: str
    id: str
    mechanism: str
    """`cgroup-v2`, `cgroup-v1`, `duty-cycle`."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Path of its control group, by controller."""
    pid: int = 0
    started: int = 0
    """Of that process; see `processes.Stat`."""
    boot: str = ""
    started_wall_s: float = 0.0
    """[s since the epoch]"""
    limit_cores: float | None = None
    """None: no limit. [cores]"""
    suspended: bool = False
    cpu_s: float = 0.0
    """As of the last time that it was written. [s]"""
    ended: bool = False
    exit_code: int | None = None
    """Of its first process; None also if nobody was there to see it."""

    def write(self, folder: Folder) -> None:
        """Put it on disk."""
        folders.write_atomically(folder.record, json.dumps(asdict(self)))


def read_record(folder: Folder) -> Record | None:
    """None if there is none that can be used; what a newer version added to it is passed over."""
    try:
        found = json.loads(folder.record.read_text("utf-8"))
        record = Record(**{field.name: found[field.name] for field in fields(Record) if field.name in found})
        numbers = (record.pid, record.started, record.started_wall_s, record.cpu_s, record.limit_cores or 0.0)
        return record if all(isinstance(number, int | float) for number in numbers) else None
    except (OSError, ValueError, TypeError):
        return None


def group_of(record: Record, bound_cores: float, cpus: int, *, found: bool = False, led: bool = True) -> Group:
    """Its processes; for ``found`` and ``led`` see `Session`. Raises OSError."""
    if record.mechanism == "cgroup-v2":
        return GroupV2(Tree(), record.groups["cpu"], bound_cores)
    if record.mechanism == "cgroup-v1":
        return GroupV1(Tree(), record.groups, bound_cores)
    phase_ratio = record.pid * 0.618 % 1.0  # any spread will do
    return Session(record.pid, cpus=cpus, phase_ratio=phase_ratio, spent_s=record.cpu_s, found=found, led=led)


class Container:
    """A container whose first process exists, or has ended.

    Args:
        record: of it.
        folder: of it.
        group: its processes; None if it has ended and has none any more.
        output: its output; None likewise.
    """

    def __init__(self, record: Record, folder: Folder, group: Group | None, output: Output | None) -> None:
        self.record = record
        self.folder = folder
        self.group = group
        self.output = output
        self.first_ended = record.ended
        self.starting = False
        """Its command does not run yet."""
        self.late = False
        """It took too long to start."""
        self.waiting: list[Callable[[str], None]] = []
        """Who waits for its end, after it was asked to."""
        self.watch: int | None = None
        """Descriptor that tells of the end of the first process; None without one."""
        self.driver: Timer | None = None
        """The next step of its duty cycle."""

    @property
    def key(self) -> Key:
        """App and id."""
        return self.record.app, self.record.id

    @property
    def mark(self) -> str:
        """Its folder, which its processes have in their environment; see `processes.MARK`."""
        return str(self.folder.path)

    # -- what it may use

    def limit(self, cores: float) -> float:
        """Returns the limit in force. Raises OSError. [cores]"""
        if self.group is None:
            return cores_in(self.record.limit_cores)
        limit_cores = self.group.limit(cores)
        if cores_out(limit_cores) != self.record.limit_cores:
            self.record.limit_cores = cores_out(limit_cores)
            self.record.write(self.folder)
        return limit_cores

    def suspend(self) -> None:
        """Raises OSError."""
        if self.group is not None and not self.record.suspended:
            self.group.freeze()
            self.record.suspended = True
            self.record.write(self.folder)

    def resume(self) -> None:
        """Raises OSError."""
        if self.group is not None and self.record.suspended:
            self.group.thaw()
            self.record.suspended = False
            self.record.write(self.folder)

    # -- how it is

    def status(self) -> list[Any]:
        """As it travels: app, id, state, CPU time, limit, exit code, start."""
        record = self.record
        state = "exited" if record.ended else "suspended" if record.suspended else "running"
        exit_code = record.exit_code if record.ended else None
        return [record.app, record.id, state, self.cpu_s(), record.limit_cores, exit_code, record.started_wall_s]

    def cpu_s(self) -> float:
        """CPU time so far; what it was at the end. [s]"""
        record = self.record
        if self.group is not None:
            with contextlib.suppress(OSError, ValueError):
                used_s = max(record.cpu_s, self.group.cpu_s())
                if isinstance(self.group, Session) and used_s >= record.cpu_s + _REMEMBER_EVERY_S:
                    record.cpu_s = used_s
                    record.write(self.folder)
                return used_s
        return record.cpu_s

    # -- how it ends

    def first_process_ended(self, status: int | None) -> None:
        """Its first process was waited for; None: it is gone, and nobody knows how."""
        self.first_ended = True
        self.record.exit_code = None if status is None else os.waitstatus_to_exitcode(status)

    def has_ended(self) -> bool:
        """Whether nothing of it runs any more. A process that left the first one behind keeps it running."""
        if self.record.ended:
            return True
        return self.first_ended and (self.group is None or not self.group.pids())

    def settle(self) -> None:
        """Write down how it ended, and let go of what only a running container needs.

        Raises:
            OSError: its group is not quite empty; nothing has changed then.
        """
        record = self.record
        record.cpu_s = self.cpu_s()
        if self.group is not None:
            self.group.remove()
            self.group = None
        record.ended, record.suspended = True, False
        if self.output is not None:
            self.output.finish()
            self.output = None
        self.folder.pipe.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a full disk; a later keeper finds out by itself that it has ended
            record.write(self.folder)

    def ask_to_end(self) -> None:
        """SIGTERM to the group of its first process; to everything else that is there if that is gone."""
        if self.group is None:
            return
        self.resume()
        try:
            if self.first_ended:
                raise ProcessLookupError
            os.killpg(self.record.pid, signal.SIGTERM)
        except (ProcessLookupError, PermissionError):
            for pid in self.group.pids():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM)

    def first_process_lives(self) -> bool:
        """Whether the process of the record is there, and not another with its number."""
        seen = processes.stat(self.record.pid)
        same = seen is not None and seen.started == self.record.started and self.record.boot == processes.boot()
        return seen is not None and same and seen.state not in "ZX"


def new_record(app: str, container_id: str, mechanism: str, groups: Mapping[str, str]) -> Record:
    """Of a container that is about to be started."""
    return Record(app=app, id=container_id, mechanism=mechanism, groups=groups, boot=processes.boot(), started_wall_s=time.time())

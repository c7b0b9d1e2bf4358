"""All containers over time: hearing of their ends, ending them, driving duty cycles, taking in output, taking over what was left.

`keeper` tells what servers ask for; `starting` adds containers.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from ecovisor.adapters.platforms.process import cgroups, folders, processes
from ecovisor.adapters.platforms.process.cgroups import Tree
from ecovisor.adapters.platforms.process.containers import Container, Key, group_of, read_record
from ecovisor.adapters.platforms.process.loop import Loop
from ecovisor.adapters.platforms.process.output import PAUSE_S, PIECE_BYTES, Output
from ecovisor.adapters.platforms.process.protocol import cores_in
from ecovisor.adapters.platforms.process.sessions import Session

#: What SIGKILL does not end within this time (a process that waits for a dead disk) is reported. [s]
_KILL_S = 10.0

#: How often to look at what nothing tells us of: orphans, and what is left when a first process has ended. [s]
_LOOK_S = 0.25
_SELDOM_S = 5.0

#: How often to look whether a container that was asked to end has ended. [s]
_PRESS_S = 0.02


class Care:
    """Of all containers of one platform.

    Args:
        loop: to be called by.
        root: folder of the platform.
        bound_cores: what control groups above ours allow. [cores]
        keep_bytes: of each container's output. [bytes]
    """

    def __init__(self, loop: Loop, root: Path, bound_cores: float, keep_bytes: int) -> None:
        self.containers: dict[Key, Container] = {}
        self.cpus = len(os.sched_getaffinity(0))
        self._loop = loop
        self._root = root
        self._bound_cores = bound_cores
        self._keep_bytes = keep_bytes
        self._newest = b""

    @property
    def idle(self) -> bool:
        """Whether no container runs."""
        return all(container.record.ended for container in self.containers.values())

    # -- what another keeper left

    def take_over(self, parents: Mapping[str, str]) -> None:
        """Containers that run go on under their limits; the others have ended; groups that no record knows are removed."""
        for folder in list(folders.each(self._root)):
            record = read_record(folder)
            if record is None:
                cgroups.signal_all(
                    [pid for pid in processes.all_pids() if processes.mark_of(pid) == str(folder.path)], signal.SIGKILL
                )
                folders.discard(self._root, folder)
                continue
            container = Container(record, folder, None, None)
            self.containers[container.key] = container
            if not record.ended:
                try:
                    self._adopt(container)
                except Exception:  # one container's trouble must not keep us from the others
                    traceback.print_exc(file=sys.stderr)
        tree = Tree()
        known = {path for container in self.containers.values() for path in container.record.groups.values()}
        for parent in dict.fromkeys(parents.values()):
            for name in tree.groups(parent):
                if f"{parent}/{name}" not in known:
                    _clear(tree, f"{parent}/{name}")
            with contextlib.suppress(OSError):  # some are known
                tree.remove(parent)

    def _adopt(self, container: Container) -> None:
        record = container.record
        led = container.first_process_lives()
        container.first_ended = not led
        if record.boot != processes.boot():
            container.settle()
            return
        try:
            container.group = group = group_of(record, self._bound_cores, self.cpus, found=True, led=led)
        except OSError:  # its control group cannot even be made: nothing can run there
            container.settle()
            return
        if isinstance(group, Session):
            for pid in processes.all_pids():
                if processes.mark_of(pid) == container.mark:
                    group.add(pid)
        with contextlib.suppress(OSError):
            container.output = Output(container.folder, self._keep_bytes)
        with contextlib.suppress(OSError):
            group.limit(cores_in(record.limit_cores))
        with contextlib.suppress(OSError):
            if record.suspended:
                group.freeze()
            else:
                group.thaw()
        self.attend(container)
        self.look(container)

    # -- day by day

    def attend(self, container: Container) -> None:
        """From now on: hear of its first process's end, take in its output, drive its duty cycle."""
        if not container.first_ended:
            with contextlib.suppress(OSError, AttributeError):  # where the kernel cannot tell, looking must do
                container.watch = os.pidfd_open(container.record.pid)
                self._loop.watch(container.watch, lambda: self._first_ended(container))
        if container.output is not None:
            self._loop.watch(container.output.descriptor, lambda: self._pump(container))
        self.drive(container)

    def look_around(self) -> None:
        """See to what nothing tells us of, again and again."""
        present = list(self.containers.values())
        unsure = [one for one in present if not one.record.ended and (one.first_ended or one.watch is None)]
        driven = [one for one in present if isinstance(one.group, Session)]
        self._loop.after(_LOOK_S if unsure or driven else _SELDOM_S, self.look_around)  # first: what follows may fail
        self.reap()
        for container in unsure:
            self.look(container)
        for container in driven:
            if container.driver is None:  # without a limit, or its last step failed
                self.drive(container)
        if driven and self._newest != (newest := processes.newest_pid()):
            self._newest = newest
            self._find_orphans()

    def reap(self) -> None:
        """Hear of all our children that have ended: first processes, and those that lost their parent."""
        first = {container.record.pid: container for container in self.containers.values() if not container.first_ended}
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for container in self.containers.values():
                if isinstance(container.group, Session):
                    container.group.reaped(pid, used.ru_utime + used.ru_stime)
            if pid in first:
                self._unwatch(first[pid])
                first[pid].first_process_ended(status)

    def _first_ended(self, container: Container) -> None:
        self._unwatch(container)
        self.reap()
        if not container.first_ended:  # it was no child of ours
            container.first_process_ended(None)
        self.look(container)
        if not container.record.ended:  # something of it is left
            self._loop.after(_LOOK_S, lambda: self.look(container))

    def _unwatch(self, container: Container) -> None:
        if container.watch is not None:
            self._loop.forget(container.watch)
            os.close(container.watch)
            container.watch = None

    def look(self, container: Container) -> None:
        """Whether a container has ended by now."""
        if container.record.ended or container.starting:
            return
        if not container.first_ended and container.watch is None and not container.first_process_lives():
            container.first_process_ended(None)
        if container.first_ended and isinstance(container.group, Session):
            self._find_orphans()
        if container.has_ended():
            self._unwatch(container)
            if container.output is not None:
                self._loop.forget(container.output.descriptor)
            with contextlib.suppress(OSError):  # its group is not quite empty: at the next look
                container.settle()

    def _find_orphans(self) -> None:
        """Processes that lost their parent have become our children; give them to the container that they came from."""
        capped = [(one, one.group) for one in self.containers.values() if isinstance(one.group, Session)]
        for pid in processes.children(os.getpid()) if capped else ():
            if not any(session.has(pid) for _, session in capped):
                seen, mark = processes.stat(pid), processes.mark_of(pid)
                for container, session in capped:
                    if mark == container.mark or (seen is not None and seen.session == container.record.pid):
                        session.add(pid)

    def drive(self, container: Container) -> None:
        """Take the next step of its duty cycle now; nothing happens where the kernel does that."""
        if container.driver is not None:
            container.driver.cancel()
            container.driver = None
        if isinstance(container.group, Session):
            again_s = container.group.step(self._loop.now_s())
            if again_s is not None:
                container.driver = self._loop.at(again_s, lambda: self.drive(container))

    def _pump(self, container: Container) -> None:
        output = container.output
        if output is None:
            return
        taken = output.pump()
        if taken is None:
            self._loop.forget(output.descriptor)
        elif taken == PIECE_BYTES:
            self._loop.forget(output.descriptor)
            self._loop.after(PAUSE_S, lambda: self._listen_again(container, output))

    def _listen_again(self, container: Container, output: Output) -> None:
        if container.output is output:
            self._loop.watch(output.descriptor, lambda: self._pump(container))

    # -- the end

    def end(self, container: Container, grace_s: float, then: Callable[[str], None]) -> None:
        """End a container and forget it; ``then`` is told what is wrong, or nothing, when it is gone."""
        container.waiting.append(then)
        if len(container.waiting) == 1:
            with contextlib.suppress(OSError):
                container.ask_to_end()
            self.drive(container)
            now_s = self._loop.now_s()
            self._press(container, now_s + grace_s, now_s + grace_s + _KILL_S)

    def _press(self, container: Container, kill_at_s: float, give_up_at_s: float) -> None:
        self.reap()
        self.look(container)
        now_s = self._loop.now_s()
        if container.record.ended:
            self._forget(container)
        elif now_s >= give_up_at_s:
            pids = [] if container.group is None else container.group.pids()
            self._tell(container, f"container {container.record.id}: processes {pids} do not end, not even by SIGKILL")
        else:
            if now_s >= kill_at_s and container.group is not None:
                with contextlib.suppress(OSError):
                    container.group.kill()
            self._loop.after(_PRESS_S, lambda: self._press(container, kill_at_s, give_up_at_s))

    def _forget(self, container: Container) -> None:
        self.reap()  # what ended since the last look is not left to be seen
        self.drive(container)
        self.containers.pop(container.key, None)
        folders.discard(self._root, container.folder)
        for path in container.record.groups.values():
            with contextlib.suppress(OSError):  # it has others
                Tree().remove(str(Path(path).parent))
        self._tell(container, "")

    @staticmethod
    def _tell(container: Container, problem: str) -> None:
        waiting, container.waiting = container.waiting, []
        for then in waiting:
            then(problem)

    def let_go(self) -> None:
        """Nobody looks after them any more: they go on, and another keeper may come."""
        for container in self.containers.values():
            if isinstance(container.group, Session):
                container.group.let_go()
            if container.output is not None:
                container.output.close()


def _clear(tree: Tree, path: str) -> None:
    """A group that no record knows: its container was about to start, or about to be forgotten."""
    for _ in range(50):
        cgroups.signal_all(cgroups.read_pids(tree, path), signal.SIGKILL)
        try:
            tree.remove(path)
        except OSError:
            time.sleep(0.01)
        else:
            return

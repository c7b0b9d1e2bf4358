"""Starting a container: its folder, its group with the limit in it, its process, its record; and all of it undone if one step fails."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ecovisor.adapters.platforms.process import cgroups, folders, processes
from ecovisor.adapters.platforms.process.care import Care
from ecovisor.adapters.platforms.process.cgroups import Tree
from ecovisor.adapters.platforms.process.containers import Container, group_of, new_record
from ecovisor.adapters.platforms.process.loop import Loop
from ecovisor.adapters.platforms.process.output import Output, writing_end
from ecovisor.adapters.platforms.process.protocol import Message, cores_in, cores_out
from ecovisor.adapters.platforms.process.spawn import PATH, Launch, Spawned, problem_text, spawn

#: A command that does not run by then is ended. [s]
_START_S = 8.0


class Starting:
    """Starts containers of one platform.

    Args:
        loop: to be called by.
        care: who looks after them.
        root: folder of the platform.
        mechanism: `cgroup-v2`, `cgroup-v1`, `duty-cycle`.
        parents: the platform's own control group, by controller.
        bound_cores: what groups above it allow. [cores]
        keep_bytes: of each container's output. [bytes]
    """

    def __init__(
        self, loop: Loop, care: Care, root: Path, mechanism: str, parents: Mapping[str, str], bound_cores: float, keep_bytes: int
    ) -> None:
        self._loop = loop
        self._care = care
        self._root = root
        self._mechanism = mechanism
        self._parents = parents
        self._bound_cores = bound_cores
        self._keep_bytes = keep_bytes

    def start(self, request: Message, then: Callable[[str, float], None]) -> None:
        """Start what a server asks for; ``then`` is told what is wrong, or nothing, and the limit in force. [cores]

        Raises:
            OSError: the machine has no room for it (disk, processes, descriptors); nothing is left of it.
        """
        app, container_id = request["app"], request["id"]
        groups = cgroups.below(self._parents, f"{app}:{container_id}")
        container = Container(
            new_record(app, container_id, self._mechanism, groups), folders.locate(self._root, app, container_id), None, None
        )
        folders.discard(self._root, container.folder)  # what no record spoke of
        try:
            launch, spawned = self._spawn(container, request)
        except OSError:
            self._undo(container)
            raise
        os.close(launch.output)
        container.starting = True
        self._care.containers[container.key] = container
        os.write(spawned.word, b"!")
        os.close(spawned.word)
        self._care.attend(container)
        late = self._loop.after(_START_S, lambda: self._give_up(container))

        def launched() -> None:
            late.cancel()
            self._loop.forget(spawned.problem)
            problem = problem_text(launch, os.read(spawned.problem, 4096))
            os.close(spawned.problem)
            container.starting = False
            if container.late:
                problem = f'command "{launch.argv[0]}": did not start within {_START_S:g} s'
            if problem:
                self._care.end(container, 0.0, lambda _: then(problem, 0.0))
            else:
                self._care.look(container)  # it may be over already
                then("", cores_in(container.record.limit_cores))

        self._loop.watch(spawned.problem, launched)

    def _spawn(self, container: Container, request: Message) -> tuple[Launch, Spawned]:
        """A process that waits for its word, with everything that it needs around it."""
        record, folder = container.record, container.folder
        folders.make(folder, request["uid"], request["gid"])
        if record.groups:
            cgroups.prepare(Tree(), self._mechanism, self._parents)
            container.group = group_of(record, self._bound_cores, self._care.cpus)
            record.limit_cores = cores_out(container.group.limit(cores_in(request["cores_limit"])))
        container.output = Output(folder, self._keep_bytes)
        launch = Launch(
            argv=request["argv"],
            environment={"PATH": PATH, "HOME": str(folder.work), **request["environment"], processes.MARK: container.mark},
            work=folder.work,
            directory=request["directory"],
            uid=request["uid"],
            gid=request["gid"],
            joins=container.group.joins if container.group is not None else (),
            output=writing_end(folder),
        )
        try:
            spawned = spawn(launch)
        except OSError:
            os.close(launch.output)
            raise
        try:
            self._write_down(container, spawned.pid, cores_in(request["cores_limit"]))
        except OSError:
            for descriptor in (launch.output, spawned.word, spawned.problem):
                os.close(descriptor)
            raise
        return launch, spawned

    def _write_down(self, container: Container, pid: int, cores_limit: float) -> None:
        """The child exists: what a new keeper would need to know of it."""
        record = container.record
        record.pid = pid
        seen = processes.stat(pid)
        record.started = 0 if seen is None else seen.started
        if container.group is None:
            container.group = group_of(record, self._bound_cores, self._care.cpus)
            record.limit_cores = cores_out(container.group.limit(cores_limit))
        record.write(container.folder)

    def _give_up(self, container: Container) -> None:
        """Neither running nor refused: end it, which ends the waiting."""
        container.late = True
        if container.group is not None:
            with contextlib.suppress(OSError):
                container.group.kill()

    def _undo(self, container: Container) -> None:
        if container.output is not None:
            container.output.close()
        if container.group is not None:
            self._care.reap()
            with contextlib.suppress(OSError):
                container.group.remove()
        folders.discard(self._root, container.folder)

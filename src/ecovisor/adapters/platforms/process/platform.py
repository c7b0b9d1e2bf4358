"""The server's side of containers as process groups: `ProcessPlatform` fills the port `ecovisor.ports.live.Platform`."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ecovisor.adapters.platforms.process import folders
from ecovisor.adapters.platforms.process.keeper import Config
from ecovisor.adapters.platforms.process.keeper_client import KeeperClient
from ecovisor.adapters.platforms.process.output import tail
from ecovisor.adapters.platforms.process.protocol import Message, cores_in, cores_out
from ecovisor.adapters.platforms.process.survey import MECHANISMS, Survey, survey
from ecovisor.adapters.platforms.process.users import DEFAULT_UIDS, Users, why_not_separate
from ecovisor.model.errors import Refused, SettingRefused, StoreError, Unavailable
from ecovisor.ports.live import ContainerRequest, ContainerState, ContainerStatus, Isolation

#: Longest time for the keeper to answer. It does nothing that takes long. [s]
_DEADLINE_S = 5.0

#: To start a command, which may wait for a slow disk. [s]
_START_DEADLINE_S = 10.0

#: Beyond the grace that a container is given: for SIGKILL, and a folder to be put away. [s]
_STOP_DEADLINE_S = 15.0

#: Names become folders and control groups.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")

_SHARED = "beside their own files, containers see what any user of this machine sees: its processes, its network, files open to all"


class ProcessPlatform:
    """Containers are process groups of this machine.

    Args:
        state_dir: folder for all that must outlive the server; made if it does not exist. Users of apps must be able to pass through
            the folders that it lies in.
        mechanism: `auto`, `cgroup-v2`, `cgroup-v1` or `duty-cycle`; see `isolation` for what became of it.
        uids: numbers for the users of apps; None: all containers run as our own user.
        log_bytes: kept of a container's output, at most. [bytes]
    """

    def __init__(
        self, state_dir: Path, *, mechanism: str = "auto", uids: range | None = DEFAULT_UIDS, log_bytes: int = 4 * 1024 * 1024
    ) -> None:
        if mechanism not in ("auto", *MECHANISMS):
            raise Refused(f"mechanism {mechanism!r}: there are auto, {', '.join(MECHANISMS)}")
        self._root = Path(os.path.abspath(state_dir))  # noqa: PTH100 - a link in the state folder's path may lead elsewhere tomorrow
        self._wanted = mechanism
        self._uids = uids
        self._log_bytes = log_bytes
        self._survey: Survey | None = None
        self._shared = ""
        self._users: Users | None = None
        self._keeper: KeeperClient | None = None
        self._lock: int | None = None

    # -- life

    async def open(self) -> None:
        """Raises `Refused` (not on this machine, or not twice at once), `StoreError` (the state folder), `Unavailable` (the keeper)."""
        found = self._look()
        if found.mechanism == "none":
            raise Refused("; ".join(found.reasons))
        try:
            folders.prepare(self._root)
        except OSError as error:
            raise StoreError(f"{error.filename or self._root}: {error.strerror}") from error
        self._lock = self._only_one()
        try:
            self._users = None if self._shared or self._uids is None else Users(self._root, self._uids)
            config = Config(
                root=str(self._root),
                mechanism=found.mechanism,
                parents=found.parents,
                bound_cores=cores_out(found.bound_cores),
                keep_bytes=self._log_bytes,
            )
            self._keeper = KeeperClient(self._root, config)
            await self._keeper.connect()
            await self._empty_trash()
        except BaseException:
            await self._let_go()
            raise

    async def close(self, *, stop_containers: bool) -> None:
        if self._keeper is None:
            return
        try:
            if stop_containers:
                there = await self.status()
                await asyncio.gather(*(self.stop(one.app, one.id) for one in there))
                await self._keeper.end()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _only_one(self) -> int:
        lock = os.open(self._root / "keeper" / "server", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Refused(f"{self._root}: another server runs its containers; stop that one, or use another folder") from None
        return lock

    def _look(self) -> Survey:
        if self._survey is None:
            self._survey = survey(self.group_name, self._wanted)
            self._shared = why_not_separate(self._uids) if self._survey.mechanism != "none" else ""
        return self._survey

    def isolation(self) -> Isolation:
        found = self._look()
        notes = list(found.reasons)
        if found.mechanism == "duty-cycle":
            notes.append(
                "no control groups: processes are stopped and continued to hold their limits, which a program that sets out to evade it "
                "can evade; run the server as root, or where control groups can be written"
            )
        if found.mechanism == "cgroup-v1" and "freezer" not in found.parents:
            notes.append("no freezer: containers are suspended by SIGSTOP, which they can notice; mount the freezer controller")
        if found.mechanism != "none":
            notes += [self._shared] if self._shared else [*self._closed_folders(), _SHARED]
        return Isolation("process", found.mechanism, found.mechanism != "none" and not self._shared, notes)

    def _closed_folders(self) -> list[str]:
        """Folders above ours that users of apps cannot pass through."""
        above = [self._root, *self._root.parents]
        closed = [str(folder) for folder in reversed(above) if folder.exists() and not folder.stat().st_mode & 0o001]
        if not closed:
            return []
        return [
            f"containers cannot use the whole path of their own folder: {closed[0]} is closed to other users; chmod o+x {closed[0]}"
        ]

    @property
    def group_name(self) -> str:
        """Name of the control group that holds those of all containers; one for each state folder."""
        return f"ecovisor-{hashlib.sha256(os.fsencode(self._root)).hexdigest()[:12]}"

    def user(self, app: str) -> int | None:
        """Number of the user and group that an app's containers run as; None: our own.

        Raises:
            Refused: no number is left.
        """
        return None if self._users is None else self._users.of(app)

    # -- containers

    async def start(self, request: ContainerRequest) -> None:
        for name in (request.app, request.id):
            if not _NAME.fullmatch(name):
                raise Refused(f"name {name!r}: letters, digits, '_', '-' and '.', not '-' or '.' first, 101 at most")
        cores = _checked(request.cores_limit)
        environment = {**request.command.environment, **request.environment}
        _check_texts("argv", request.command.argv)
        _check_texts("environment", [*environment, *environment.values()])
        if not request.command.argv or not request.command.argv[0]:
            raise Refused("argv: there is no command")
        if bad := [name for name in environment if not name or "=" in name]:
            raise Refused(f"environment: {bad[0]!r} cannot be the name of a variable")
        uid = self.user(request.app)
        await self._ask(
            "start",
            _START_DEADLINE_S,
            app=request.app,
            id=request.id,
            argv=list(request.command.argv),
            directory=request.command.directory,
            environment=environment,
            cores_limit=cores_out(cores),
            uid=uid,
            gid=uid,
        )

    async def stop(self, app: str, container_id: str, *, grace_s: float = 5.0) -> None:
        await self._ask("stop", grace_s + _STOP_DEADLINE_S, app=app, id=container_id, grace_s=grace_s)
        await self._empty_trash()

    async def set_cores_limit(self, app: str, container_id: str, cores_limit: float) -> float:
        cores = _checked(cores_limit)
        answer = await self._ask("limit", app=app, id=container_id, cores=cores_out(cores))
        return cores_in(answer["cores"])

    async def suspend(self, app: str, container_id: str) -> None:
        await self._ask("suspend", app=app, id=container_id)

    async def resume(self, app: str, container_id: str) -> None:
        await self._ask("resume", app=app, id=container_id)

    async def status(self) -> Sequence[ContainerStatus]:
        """An exit code is None if the keeper was ended too while the container ran, so that nobody saw how it ended."""
        answer = await self._ask("status")
        return [
            ContainerStatus(app, container_id, ContainerState(state), cpu_s, cores_in(limit), exit_code, started_wall_s)
            for app, container_id, state, cpu_s, limit, exit_code, started_wall_s in answer["containers"]
        ]

    async def logs(self, app: str, container_id: str, *, max_bytes: int = 65536) -> bytes:
        if _NAME.fullmatch(app) and _NAME.fullmatch(container_id):
            folder = folders.locate(self._root, app, container_id)
            if folder.path.exists():
                try:
                    return tail(folder, max_bytes)
                except OSError as error:
                    raise Unavailable(f"{error.filename}: {error.strerror}") from error
        raise Refused(f"container {container_id} of app {app}: there is none of this name")

    async def _ask(self, do: str, deadline_s: float | None = None, **fields: object) -> Message:
        if self._keeper is None:
            raise Unavailable(f"{self._root}: the platform is not open")
        return await self._keeper.ask(do, deadline_s=_DEADLINE_S if deadline_s is None else deadline_s, **fields)

    async def _empty_trash(self) -> None:
        """Containers may leave a lot."""
        await asyncio.to_thread(folders.empty_trash, self._root)


def _checked(cores_limit: float) -> float:
    if math.isnan(cores_limit) or cores_limit < 0.0:
        raise SettingRefused(f"limit of {cores_limit!r} cores: it must be at least 0")
    return cores_limit


def _check_texts(where: str, texts: Sequence[str]) -> None:
    if any("\0" in text for text in texts):
        raise Refused(f"{where}: a text holds the character 0, which no command can be given")

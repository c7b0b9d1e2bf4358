"""The keeper: parent of all containers, for as long as there are any.

A server starts one with `python -m ecovisor.adapters.platforms.process.keeper CONFIG` and speaks to it over a Unix socket. When the server
is gone, whatever ended it, the keeper goes on enforcing the last limits, and the next server finds it. It ends when nobody is connected
and nothing runs, or when a server that wants another one asks it to (SIGTERM); containers then go on, and the new keeper takes them over
from their records. It loads nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ecovisor.adapters.platforms.process.care import Care
from ecovisor.adapters.platforms.process.cgroups import Tree
from ecovisor.adapters.platforms.process.containers import Container
from ecovisor.adapters.platforms.process.loop import Loop
from ecovisor.adapters.platforms.process.protocol import PROTOCOL, Message, Unframing, cores_in, cores_out, framed, short_path
from ecovisor.adapters.platforms.process.spawn import become_reaper
from ecovisor.adapters.platforms.process.starting import Starting

SOCKET = "socket"

#: Nobody has connected for so long after the start: the server that wanted us is gone already. [s]
_LONELY_S = 15.0

#: Of a keeper that drives duty cycles; containers have the ordinary one. [nice]
_PRIORITY = -10


@dataclass(frozen=True, slots=True)
class Config:
    """What a server wants of its keeper."""

    root: str
    """Folder of the platform; see `folders`."""
    mechanism: str
    """`cgroup-v2`, `cgroup-v1`, `duty-cycle`."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """The platform's own control group, by controller."""
    bound_cores: float | None = None
    """What groups above it allow; None: no limit. [cores]"""
    keep_bytes: int = 4 * 1024 * 1024
    """Of a container's output. [bytes]"""
    protocol: int = PROTOCOL

    def text(self) -> str:
        """As an argument of a command line."""
        return json.dumps(asdict(self))


class Keeper:
    """Answers a server's requests."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._root = Path(config.root)
        self._loop = Loop()
        bound_cores = cores_in(config.bound_cores)
        self._care = Care(self._loop, self._root, bound_cores, config.keep_bytes)
        self._starting = Starting(
            self._loop, self._care, self._root, config.mechanism, config.parents, bound_cores, config.keep_bytes
        )
        self._listening = socket.socket(socket.AF_UNIX)
        self._connection: Connection | None = None
        self._requests: dict[str, Callable[[Message, Answer], None]] = {
            "hello": self._hello, "start": self._start, "stop": self._stop, "limit": self._limit, "suspend": self._suspend,
            "resume": self._resume, "status": self._status, "end": self._end,
        }  # fmt: skip

    # -- life

    def listen(self) -> None:
        """Be there for a server. Raises OSError."""
        folder = self._root / "keeper"
        (folder / SOCKET).unlink(missing_ok=True)
        with short_path(folder, SOCKET) as path:
            self._listening.bind(path)
        (folder / SOCKET).chmod(0o600)
        self._listening.listen(8)
        self._listening.setblocking(False)
        self._loop.watch(self._listening.fileno(), self._accept)

    def run(self) -> None:
        """Until there is nothing to do."""
        become_reaper()
        self._end_on_sigterm()
        self._listening.listen(8)  # again, because who listened last is whom a server sees at the other end
        self._care.take_over(self._config.parents)
        self._care.look_around()
        self._loop.after(_LONELY_S, self._leave_if_idle)
        self._loop.run()
        self._care.let_go()
        for parent in self._config.parents.values():
            with contextlib.suppress(OSError):  # containers go on in it
                Tree().remove(parent)
        (self._root / "keeper" / SOCKET).unlink(missing_ok=True)

    def _end_on_sigterm(self) -> None:
        self._woken, self._waking = socket.socketpair()
        for end in (self._woken, self._waking):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waking.fileno())
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._loop.watch(self._woken.fileno(), self._leave)

    def _leave(self) -> None:
        self._loop.running = False

    def _leave_if_idle(self) -> None:
        if self._connection is None and self._care.idle:
            self._leave()
        elif self._connection is None:
            self._loop.after(_LONELY_S, self._leave_if_idle)

    # -- the server

    def _accept(self) -> None:
        connection, _ = self._listening.accept()
        if self._connection is not None:
            self._connection.close()  # a new server is right: the old one lost its lock
        self._connection = Connection(self._loop, connection, self._answer, self._lost)

    def _lost(self, connection: Connection) -> None:
        if self._connection is connection:
            self._connection = None
            self._leave_if_idle()

    def _answer(self, request: Message, answer: Answer) -> None:
        try:
            self._requests[request["do"]](request, answer)
        except OSError as error:
            answer(unavailable=f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))

    def _find(self, request: Message, answer: Answer) -> Container | None:
        container = self._care.containers.get((request["app"], request["id"]))
        if container is None:
            answer(refused=f"container {request['id']} of app {request['app']}: there is none of this name")
        return container

    # -- requests

    def _hello(self, request: Message, answer: Answer) -> None:
        answer(ok={"config": asdict(self._config), "pid": os.getpid()})

    def _start(self, request: Message, answer: Answer) -> None:
        there = self._care.containers.get((request["app"], request["id"]))
        if there is not None:
            state = "has exited" if there.record.ended else "is being stopped" if there.waiting else "runs"
            answer(refused=f"container {request['id']} of app {request['app']}: there is one already, which {state}; stop it first")
            return
        self._starting.start(
            request, lambda problem, cores: answer(refused=problem) if problem else answer(ok={"cores": cores_out(cores)})
        )

    def _stop(self, request: Message, answer: Answer) -> None:
        container = self._care.containers.get((request["app"], request["id"]))
        if container is None:
            answer(ok={})
            return
        self._care.end(container, request["grace_s"], lambda problem: answer(unavailable=problem) if problem else answer(ok={}))

    def _limit(self, request: Message, answer: Answer) -> None:
        if container := self._find(request, answer):
            cores = container.limit(cores_in(request["cores"]))
            self._care.drive(container)
            answer(ok={"cores": cores_out(cores)})

    def _suspend(self, request: Message, answer: Answer) -> None:
        if container := self._find(request, answer):
            container.suspend()
            answer(ok={})

    def _resume(self, request: Message, answer: Answer) -> None:
        if container := self._find(request, answer):
            container.resume()
            self._care.drive(container)
            answer(ok={})

    def _status(self, request: Message, answer: Answer) -> None:
        self._care.reap()
        containers = list(self._care.containers.values())
        for container in containers:
            if container.first_ended or container.watch is None:
                self._care.look(container)
        answer(ok={"containers": [container.status() for container in containers if not container.starting]})

    def _end(self, request: Message, answer: Answer) -> None:
        if self._care.containers:
            answer(refused="there are containers")
            return
        answer(ok={})
        self._leave()


class Answer:
    """Answers one request, once."""

    __slots__ = ("_connection", "_number")

    def __init__(self, connection: Connection, number: int) -> None:
        self._connection = connection
        self._number = number

    def __call__(self, **result: object) -> None:
        self._connection.send({"n": self._number, **result})


class Connection:
    """To one server.

    Args:
        loop: to be called by.
        peer: the socket.
        request: called with each request, and how to answer it.
        lost: called when the server is gone.
    """

    def __init__(
        self, loop: Loop, peer: socket.socket, request: Callable[[Message, Answer], None], lost: Callable[[Connection], None]
    ) -> None:
        self._loop = loop
        self._peer = peer
        self._request = request
        self._lost = lost
        self._incoming = Unframing()
        self._outgoing = b""
        peer.setblocking(False)
        loop.watch(peer.fileno(), self._ready)

    def _ready(self) -> None:
        self._flush()
        try:
            data = self._peer.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            self._lost(self)
            return
        for message in self._incoming.feed(data):
            self._request(message, Answer(self, message["n"]))

    def send(self, message: Message) -> None:
        """Send, now or when there is room; nobody hears it if the server is gone."""
        self._outgoing += framed(message)
        self._flush()

    def _flush(self) -> None:
        if not self._outgoing or self._peer.fileno() < 0:
            return
        with contextlib.suppress(OSError):  # full, or gone: then reading tells
            self._outgoing = self._outgoing[self._peer.send(self._outgoing) :]
        self._loop.watch(self._peer.fileno(), self._ready, writing=bool(self._outgoing))

    def close(self) -> None:
        """Hang up."""
        if self._peer.fileno() >= 0:
            self._loop.forget(self._peer.fileno())
            self._peer.close()


def main(text: str) -> int:
    """Become a daemon; returns, in the process that was started, once the daemon can be spoken to."""
    config = Config(**json.loads(text))
    root = Path(config.root)
    os.umask(0o077)
    lock = os.open(root / "keeper" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another keeper is at work", file=sys.stderr)
        return 3
    _raise_descriptors()
    if config.mechanism == "duty-cycle":
        with contextlib.suppress(OSError):  # where we may: who stops others should not wait for a CPU behind them
            os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    keeper = Keeper(config)
    keeper.listen()
    if os.fork() > 0:
        return 0
    os.setsid()
    os.chdir("/")
    log = os.open(root / "keeper" / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for mine, descriptor in enumerate((nothing, log, log)):
        os.dup2(descriptor, mine)
    os.close(nothing)
    os.close(log)
    keeper.run()
    os._exit(0)  # whoever waits for our end need not wait for Python's


def _raise_descriptors() -> None:
    """Three for each container."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

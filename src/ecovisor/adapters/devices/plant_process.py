"""A plant as a process of its own: starting it, finding the one that runs already, ending it.

    python -m ecovisor.adapters.devices.plant_process STATE_DIR

runs the plant that ``STATE_DIR/plant.json`` describes; `launch_plant` writes that file and starts it in a session of its own, so that a
terminal's Ctrl-C and the end of the server leave it alone. `plant_server` is what runs inside.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ecovisor.adapters.clocks import Anchor
from ecovisor.adapters.devices.plant_protocol import Hello, PlantConfig, Stop, Welcome, ask
from ecovisor.adapters.devices.plant_server import CONFIG, LOCK, LOG, SOCKET, run_plant
from ecovisor.model.errors import EcovisorError, Refused, Unavailable

_POLL_S = 0.02
_ASK_S = 2.0


@dataclass(slots=True)
class PlantProcess:
    """A plant that runs.

    Attributes:
        state_dir: what it owns.
        pid: of its process.
        anchor: of its site time.
        found: it ran already; nothing was started.
    """

    state_dir: Path
    pid: int
    anchor: Anchor
    found: bool

    @property
    def socket_path(self) -> Path:
        """Where `EmulatedPlantClient` connects."""
        return self.state_dir / SOCKET

    def running(self) -> bool:
        """Whether it has not ended."""
        _reap(self.pid)
        return _owner(self.state_dir) == self.pid

    def stop(self, timeout_s: float = 5.0) -> None:
        """End it: asked first, then by SIGTERM, at last by SIGKILL. Nothing happens if it has ended.

        Raises:
            Unavailable: it runs on regardless.
        """
        with contextlib.suppress(EcovisorError):
            ask(self.socket_path, Stop(), min(timeout_s, _ASK_S))
        for number in (None, signal.SIGTERM, signal.SIGKILL):
            if number is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, number)
            until_s = time.monotonic() + timeout_s
            while self.running():
                if time.monotonic() > until_s:
                    break
                time.sleep(_POLL_S)
            else:
                return
        raise Unavailable(f"plant at {self.state_dir}: process {self.pid} does not end")


def launch_plant(config: PlantConfig, state_dir: Path, *, timeout_s: float = 15.0) -> PlantProcess:
    """The plant of a state directory: the one that runs there, or else a new process. Blocks until it answers.

    One that runs keeps its own sun and site time; what its state directory holds goes on in a new one (`PlantConfig`).

    Args:
        config: what plant.
        state_dir: made if it is not there; for this plant alone.
        timeout_s: how long it may take to start. [s]

    Raises:
        Refused: one with another battery or compression runs there, or the directory's path is too long for a socket.
        Unavailable: it did not start; the message holds what it said.
        OSError: the directory cannot be made or written.
    """
    state_dir = state_dir.resolve()
    state_dir.mkdir(parents=True, exist_ok=True)
    if _owner(state_dir) is not None:
        return _found(config, state_dir, timeout_s)
    (state_dir / CONFIG).write_bytes(msgspec.json.encode(config))
    pid = _spawn(state_dir)
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            welcome = _hello(state_dir)
        except Unavailable as error:
            ended = _reap(pid)
            if ended and _owner(state_dir) is not None:  # somebody else was quicker
                return _found(config, state_dir, timeout_s)
            if ended or time.monotonic() > until_s:
                if not ended:
                    _kill(pid)
                why = _last_line(state_dir / LOG) or str(error)
                raise Unavailable(f"the plant in {state_dir} did not start: {why}") from None
            time.sleep(_POLL_S)
        else:
            if welcome.pid != pid:  # somebody else was quicker; ours may still wait for its turn
                _kill(pid)
            return PlantProcess(state_dir, welcome.pid, welcome.anchor, found=welcome.pid != pid)


def _found(config: PlantConfig, state_dir: Path, timeout_s: float) -> PlantProcess:
    """The plant that owns the directory; it may still be starting."""
    until_s = time.monotonic() + timeout_s
    while True:
        try:
            welcome = _hello(state_dir)
            break
        except Unavailable:
            if time.monotonic() > until_s:
                raise
            time.sleep(_POLL_S)
    for name, runs, wanted in (
        ("battery", welcome.battery, config.battery),
        ("time compression", welcome.anchor.compression, config.compression),
    ):
        if runs != wanted:
            raise Refused(
                f"{state_dir}: a plant with another {name} runs there (process {welcome.pid}): {runs} instead of {wanted}; "
                "end it, or choose another directory"
            )
    return PlantProcess(state_dir, welcome.pid, welcome.anchor, found=True)


def _hello(state_dir: Path) -> Welcome:
    welcome = ask(state_dir / SOCKET, Hello(), _ASK_S)
    if not isinstance(welcome, Welcome):
        raise Unavailable(f"plant at {state_dir}: answered with {type(welcome).__name__}")
    return welcome


def _spawn(state_dir: Path) -> int:
    log = str(state_dir / LOG)
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", __name__, str(state_dir)],
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGTERM, signal.SIGINT),
    )


def _kill(pid: int) -> None:
    """End a child of ours."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _reap(pid: int) -> bool:
    """Whether a child of ours has ended; processes of others are not ours to wait for."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return False


def _owner(state_dir: Path) -> int | None:
    """Process of the plant that has the directory; None if there is none, 0 if it is just starting."""
    try:
        lock = os.open(state_dir / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(lock, 32) or b"0")
    finally:
        os.close(lock)
    return None


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def main(state_dir: Path) -> int:
    """Run the plant of a directory; 0 once it was told to end."""
    import asyncio

    try:
        config = msgspec.json.decode((state_dir / CONFIG).read_bytes(), type=PlantConfig)
        asyncio.run(run_plant(config, state_dir))
    except (EcovisorError, OSError, msgspec.DecodeError) as error:
        print(f"{state_dir}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(
        main(Path(sys.argv[1])) if len(sys.argv) == 2 else "usage: python -m ecovisor.adapters.devices.plant_process STATE_DIR"
    )

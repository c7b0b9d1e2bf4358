"""Process platforms for tests, and the certainty that nothing of theirs is left: stopped processes above all."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.adapters.platforms.process.survey import survey
from ecovisor.ports.live import Command

BUSY = Command(["/bin/sh", "-c", "while :; do :; done"])
STUBBORN = Command(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
QUIET = Command(["/bin/sleep", "1000"])


def needs(mechanism: str) -> pytest.MarkDecorator:
    """Skip where a mechanism does not work, with the reason."""
    found = survey(f"ecovisor-probe-{os.getpid()}", mechanism)
    return pytest.mark.skipif(found.mechanism == "none", reason="; ".join(found.reasons))


def shell(script: str, **environment: str) -> Command:
    return Command(["/bin/sh", "-c", script], environment=environment)


@contextlib.contextmanager
def state_folder(folder: Path) -> Iterator[Path]:
    """A folder for a platform; whatever still runs of it at the end is killed, and the test fails for it."""
    state = folder / "state"
    try:
        yield state
    finally:
        left = end_everything(state)
    assert left == [], f"left behind: {left}"


def end_everything(state: Path) -> list[str]:
    """Kill the keeper of a state folder and all that came from it; returns what that was. A keeper may still be about to leave."""
    left: list[str] = []
    for _ in range(60):
        if not belonging(state) and not groups_of(state):
            return left
        time.sleep(0.05)
    for _ in range(100):
        found, groups = belonging(state), groups_of(state)
        if not found and not groups:
            break
        left += [*found.values(), *map(str, groups)]
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in groups:
            remove(group)
        time.sleep(0.05)
    return list(dict.fromkeys(left))


def remove(group: Path) -> None:
    """End everything in a control group and in those below it, frozen or not, and remove them."""
    for inner in [path for path in group.iterdir() if path.is_dir()]:
        remove(inner)
    with contextlib.suppress(OSError):
        for pid in (group / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
    for name, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        with contextlib.suppress(OSError):
            (group / name).write_text(value)
    with contextlib.suppress(OSError):
        group.rmdir()


def belonging(state: Path) -> dict[int, str]:
    """Processes that have the state folder in their environment or command line."""
    needle = os.fsencode(state)
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes()
                if needle in (entry / "environ").read_bytes() or (b"keeper" in line and needle in line):
                    found[int(entry.name)] = line.replace(b"\0", b" ").decode(errors="replace")[:200]
    return found


def keeper_pid(state: Path) -> int:
    """Of the keeper of a state folder."""
    (pid,) = [pid for pid, line in belonging(state).items() if ".keeper" in line]
    return pid


def groups_of(state: Path) -> list[Path]:
    """Control groups of a state folder's platform."""
    name = ProcessPlatform(state).group_name
    return [path for path in Path("/sys/fs/cgroup").glob(f"*/{name}") if path.is_dir()] + list(Path("/sys/fs/cgroup").glob(name))

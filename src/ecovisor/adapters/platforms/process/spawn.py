"""Starting one process of a container: from our own rights to those of its app's user, with nothing of ours left to it.

The keeper has one thread, so that a child may safely prepare itself in Python between `fork` and `exec`. It waits for a word before it
goes on, so that its number is on disk first; without the keeper it ends. `containers` takes over.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

#: Where commands are looked for that are not named by their path.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_prctl = ctypes.CDLL(None, use_errno=True).prctl

#: Soft and hard, never above what we have ourselves. Open files: soft as everywhere, because old programs use `select`. No core
#: files, because they would fill the disk. No real-time priority, because a quota does not hold for it.
_LIMITS = {
    resource.RLIMIT_CORE: (0, 0),
    resource.RLIMIT_NOFILE: (1024, 65536),
    getattr(resource, "RLIMIT_RTPRIO", resource.RLIMIT_CORE): (0, 0),
}

#: Processes and threads of one app's user: enough for any service, and a fork bomb ends there.
_PROCESSES = (4096, 4096)


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start, and as whom."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    work: Path
    """Where it starts."""
    directory: str | None
    """Where it goes from there, with the rights of its user."""
    uid: int | None
    """None: our own user."""
    gid: int | None
    joins: Sequence[str]
    """Files of control groups; see `cgroups.Group`."""
    output: int
    """Descriptor that becomes standard output and error."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A child that waits for its word."""

    pid: int
    word: int
    """Write one byte and close it."""
    problem: int
    """Ends without a byte when the command runs, else gives what `problem_text` reads."""


def become_reaper() -> None:
    """Descendants that lose their parent become our children: we hear of their end, and what they used."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(launch: Launch) -> Spawned:
    """Fork a child that becomes the command once it is told to.

    Raises:
        OSError: no process, no descriptor to be had.
    """
    word_in, word_out = os.pipe()
    problem_in, problem_out = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        for descriptor in (word_in, word_out, problem_in, problem_out):
            os.close(descriptor)
        raise
    if pid == 0:
        os.close(word_out)
        _child(launch, word_in, problem_out)
    os.close(word_in)
    os.close(problem_out)
    return Spawned(pid, word_out, problem_in)


def _child(launch: Launch, word: int, problem: int) -> NoReturn:
    """In the child: never returns, never runs what the parent was about to do."""
    step = "start"
    try:
        os.setsid()
        if not os.read(word, 1):
            os._exit(0)
        step = "prepare"
        _restore_signals()
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(launch.output, 1)
        os.dup2(launch.output, 2)
        os.umask(0o077)
        os.setpriority(os.PRIO_PROCESS, 0, max(0, os.getpriority(os.PRIO_PROCESS, 0)))
        _limit(launch.uid is not None)
        os.chdir(launch.work)
        step = "join its control group"
        for path in launch.joins:
            descriptor = os.open(path, os.O_WRONLY)
            os.write(descriptor, b"0")
            os.close(descriptor)
        step = "become its user"
        if launch.uid is not None and launch.gid is not None:
            os.setgroups([])
            os.setresgid(launch.gid, launch.gid, launch.gid)
            os.setresuid(launch.uid, launch.uid, launch.uid)
        if _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "no_new_privs")
        if launch.directory is not None:
            step = "directory"
            os.chdir(launch.directory)
        step = "command"
        _become(launch.argv, launch.environment)
    except OSError as error:
        os.write(problem, json.dumps([step, error.errno]).encode())
    except BaseException as error:  # whatever it was, it must not go on as a second keeper
        os.write(problem, json.dumps([f"{step}: {error}"[:500], 0]).encode())
    finally:
        os._exit(127)


def _restore_signals() -> None:
    """What Python set for itself would be inherited, and what whoever started us ignores, as `nohup` does."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _limit(own_user: bool) -> None:
    wanted = dict(_LIMITS)
    if own_user:
        wanted[resource.RLIMIT_NPROC] = _PROCESSES
    for kind, (soft, hard) in wanted.items():
        most = resource.getrlimit(kind)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)  # noqa: PLW2901
        resource.setrlimit(kind, (soft, hard))


def _become(argv: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Run the command in our place. A name without a slash is looked for in its own PATH."""
    if "/" in argv[0]:
        os.execve(argv[0], list(argv), dict(environment))  # noqa: S606 - what the operator allows, without a shell
    denied: OSError | None = None
    for folder in environment["PATH"].split(":"):
        try:
            os.execve(f"{folder or '.'}/{argv[0]}", list(argv), dict(environment))  # noqa: S606 - what the operator allows, without a shell
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            denied = denied or error
    raise denied or FileNotFoundError(errno.ENOENT, "not found")


def problem_text(launch: Launch, data: bytes) -> str:
    """Why a command was not started, for people: the field, its value, the reason, the remedy."""
    if not data:
        return ""
    step, number = json.loads(data)
    reason = os.strerror(number) if number else ""
    if step == "command":
        return _command_problem(launch, number, reason)
    if step == "directory":
        assert launch.directory is not None
        hint = obstacle(launch.directory, launch.uid, launch.gid) if number == errno.EACCES else ""
        return f'directory "{launch.directory}": {reason}{hint}'
    return f"could not {step}: {reason}" if reason else f"could not start: {step}"


def _command_problem(launch: Launch, number: int, reason: str) -> str:
    name = launch.argv[0]
    if number == errno.ENOENT and "/" not in name:
        return f'command "{name}": not found in PATH={launch.environment["PATH"]}; give its whole path'
    hint = ""
    if number == errno.EACCES:
        hint = obstacle(name, launch.uid, launch.gid) if "/" in name else ""
    elif number == errno.ENOENT and Path(name).exists():
        hint = "; the interpreter that its first line names does not exist"
    elif number == errno.ENOEXEC:
        hint = "; it is no program, and has no first line that names one"
    return f'command "{name}": {reason}{hint}'


def obstacle(path: str, uid: int | None, gid: int | None) -> str:
    """Who may not use a file, and which folder on the way keeps them from it, as an addition to a sentence; empty for ourselves."""
    if uid is None:
        return ""
    try:
        whole = Path(path).resolve(strict=True)
    except OSError:
        return ""
    for folder in reversed(whole.parents):
        seen = folder.stat()
        bit = 0o100 if seen.st_uid == uid else 0o010 if seen.st_gid == gid else 0o001
        if not seen.st_mode & bit:
            return (
                f" for user {uid}: {folder} is closed to other users (mode {seen.st_mode & 0o777:o}); "
                "use a copy that every user can reach, or do without separate users"
            )
    return f" for user {uid}"

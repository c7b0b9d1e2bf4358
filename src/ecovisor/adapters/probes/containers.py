"""Probes of what containers as processes rest on: control groups, caps that hold, users of their own.

The platform itself answers how it would cap and separate (`isolation`, which makes a group, limits it, and removes it); here its answer
is put into words, and beside it stands what the kernel offers and whether another user can really start a process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ecovisor.adapters.probes import Finding, State
from ecovisor.adapters.probes.installation import user_name
from ecovisor.ports.live import Isolation

_DEADLINE_S = 10.0
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "freezer", "memory")
#: How a platform's notes about caps begin; the others are about who may touch what.
_ABOUT_CAPS = ("no cgroup", "no control groups", "no duty-cycle", "no freezer", "containers as processes need")
_CAPS = {
    "cgroup-v2": "quotas of control groups, version 2",
    "cgroup-v1": "quotas of control groups, version 1",
    "duty-cycle": "processes are stopped and continued",
    "simulated": "no process is started; the load is made up",
}


def probe_cgroups(mountinfo: Path = Path("/proc/self/mountinfo")) -> Finding:
    """Which control groups the kernel shows, and with which controllers."""
    remedy = "mount them, or ask whoever runs this machine; inside a container it may need to be started with them"
    try:
        lines = mountinfo.read_text("utf-8").splitlines()
    except OSError as error:
        problem = f"{mountinfo} cannot be read ({error.strerror})"
        return Finding("control groups", State.MISSING, problem, "caps by stopping and continuing", "use Linux")
    first, second, unified = set[str](), set[str](), False
    for line in lines:
        before, _, after = line.partition(" - ")
        words = after.split(" ")
        if words[0] == "cgroup":
            first |= set(words[2].split(",")) & set(_CONTROLLERS)
        elif words[0] == "cgroup2":
            unified = True
            with contextlib.suppress(OSError):
                second |= set((Path(before.split(" ")[4]) / "cgroup.controllers").read_text("utf-8").split()) & set(_CONTROLLERS)
    parts = [f"version 2 with {_listed(second)}"] if unified else []
    parts += [f"version 1 with {_listed(first)}"] if first else []
    if "cpu" in second or {"cpu", "cpuacct"} <= first:
        return Finding("control groups", State.OK, "; ".join(parts))
    found = "; ".join(parts) or "none are mounted"
    return Finding("control groups", State.MISSING, found, "no CPU quotas: caps by stopping and continuing", remedy)


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "no controller of use"


def probe_platform(state_dir: Path, mechanism: str = "auto") -> list[Finding]:
    """How the platform `process` would cap and separate containers here."""
    try:
        from ecovisor.adapters.platforms.process.platform import ProcessPlatform
    except ImportError as error:  # no fcntl, no pwd
        found = f"containers as processes do not work on this system ({error})"
        remedy = 'use Linux, or platform = "simulated" in [server]'
        return [Finding("caps", State.MISSING, found, "serve cannot start containers", remedy, blocks_serve=True)]
    caps, users = describe_isolation(ProcessPlatform(state_dir / "containers", mechanism=mechanism).isolation())
    if not caps.blocks_serve:
        return [caps, users]
    return [caps if mechanism == "auto" else replace(caps, remedy=caps.remedy or 'set cap_mechanism = "auto" in [server]')]


def describe_isolation(isolation: Isolation) -> list[Finding]:
    """A platform's own answer as findings: how caps hold, and how apps are separated."""
    caps_notes = [note for note in isolation.notes if note.startswith(_ABOUT_CAPS)]
    return [_caps(isolation, caps_notes), _separation(isolation, [note for note in isolation.notes if note not in caps_notes])]


def _caps(isolation: Isolation, notes: Sequence[str]) -> Finding:
    problem, remedy = _told(notes)
    if isolation.cap_mechanism == "none":
        return Finding("caps", State.MISSING, "none", problem or "containers cannot run", remedy, blocks_serve=True)
    found = f"{isolation.cap_mechanism}: {_CAPS.get(isolation.cap_mechanism, 'as the platform does it')}"
    if isolation.cap_mechanism == "duty-cycle":
        return Finding("caps", State.LIMITED, found, f"caps hold within 5 % instead of 1 %; {problem}", remedy)
    if "cgroup" in isolation.cap_mechanism:
        found += " (a group was made, limited and removed)"
    without_freezer = [note for note in notes if note.startswith("no freezer")]
    if without_freezer:
        return Finding("caps", State.LIMITED, found, *_told(without_freezer))
    return Finding("caps", State.OK, found)


def _separation(isolation: Isolation, notes: Sequence[str]) -> Finding:
    subject = "separate users"
    if isolation.platform == "simulated":
        return Finding(subject, State.OK, "no process is started")
    if not isolation.separate_users:
        problem, remedy = _told(notes)
        return Finding(subject, State.LIMITED, "all containers run as one user", problem or "no isolation between apps", remedy)
    found = "each app's containers run under a user of their own"
    closed = [note for note in notes if "closed" in note]
    if closed:
        return Finding(subject, State.LIMITED, found, *_told(closed))
    return Finding(subject, State.OK, found, "; ".join(notes))


def _told(notes: Sequence[str]) -> tuple[str, str]:
    """What is wrong, and the remedies, of notes that say both (`what; remedy`)."""
    parts = [note.rpartition("; ") for note in notes]
    problems = [before or after for before, _, after in parts]
    remedies = list(dict.fromkeys(after for before, _, after in parts if before))
    return "; ".join(problems), "; ".join(remedies)


def probe_python_for_others(user_id: int | None = None, python: str = sys.executable) -> Finding:
    """Whether containers that are Python programs can start under users of their own: really starts one."""
    subject = "python for containers"
    if user_id is None:
        from ecovisor.adapters.platforms.process.users import DEFAULT_UIDS

        user_id = DEFAULT_UIDS[0]
    if os.geteuid() != 0:
        return Finding(subject, State.OK, f"{python}, as {user_name(os.geteuid())}")
    fault = _fault_as(user_id, ["/bin/true"])
    if fault:
        remedy = "allow the server to change users (CAP_SETUID, CAP_SETGID, and these numbers in its namespace)"
        return Finding(subject, State.LIMITED, f"nothing starts as user {user_id}: {fault}", "containers do not start", remedy)
    fault = _fault_as(user_id, [python, "-c", "pass"])
    if not fault:
        return Finding(subject, State.OK, f"other users can run {python}")
    closed = closed_folder(python)
    remedy = f"install Python and ecovisor where others may read them, or open {closed} to them (chmod o+x {closed})"
    follows = "containers whose command is Python, {python} included, do not start under their own users"
    return Finding(subject, State.LIMITED, f"other users cannot run {python} ({fault})", follows, remedy)


def _fault_as(user_id: int, command: Sequence[str]) -> str:
    """Why a command does not run as an unprivileged user; empty if it does."""
    try:
        done = subprocess.run(  # noqa: S603 - /bin/true, and our own Python
            command, user=user_id, group=user_id, extra_groups=[], cwd="/", capture_output=True, timeout=_DEADLINE_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return getattr(error, "strerror", None) or str(error)
    return f"exit status {done.returncode}" if done.returncode else ""


def closed_folder(path: str) -> Path:
    """The first folder on the way to a file, its links followed, that others may not enter; its own folder if they may enter all."""
    here = Path(path)
    for target in (here, here.resolve()):
        for folder in reversed(target.parents):
            with contextlib.suppress(OSError):
                if not folder.stat().st_mode & 0o001:
                    return folder
    return here.parent

"""A user of its own for every app: numbers from a range, the same for as long as the state folder lives, never given to another app."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
from pathlib import Path

from ecovisor.adapters.platforms.process.folders import write_atomically
from ecovisor.model.errors import Refused, StoreError

#: Numbers that systemd's list of ranges has as unused, beyond those of people, services, containers and subordinate users.
DEFAULT_UIDS = range(1_900_000_000, 1_900_065_536)

#: What it takes to start processes as somebody else, to own their folders, to signal them: bits of capabilities(7).
_CAPABILITIES = {"CAP_CHOWN": 0, "CAP_DAC_OVERRIDE": 1, "CAP_KILL": 5, "CAP_SETGID": 6, "CAP_SETUID": 7}


class Users:
    """Which app has which number; user and group have the same.

    Args:
        root: folder of the platform. Where the numbers of a range begin depends on it, so that the apps of two sites on one machine
            are not the same users.
        uids: to choose from.
    """

    def __init__(self, root: Path, uids: range) -> None:
        self._path = root / "users.json"
        self._uids = uids
        self._first = int.from_bytes(hashlib.sha256(os.fsencode(root.resolve())).digest()[:8]) % len(uids)
        self._known: dict[str, int] = {}
        if self._path.exists():
            try:
                self._known = {str(app): int(uid) for app, uid in json.loads(self._path.read_text("utf-8"))["uids"].items()}
            except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
                raise StoreError(f"{self._path}: {error}; restore it from a backup, or delete it when no container runs") from error

    def of(self, app: str) -> int:
        """Number of an app's user, a new one for a new app.

        Raises:
            Refused: all are given away.
            StoreError: it cannot be written down.
        """
        if app not in self._known:
            taken = set(self._known.values())
            count = len(self._uids)
            free = (number for k in range(count) if (number := self._uids[(self._first + k) % count]) not in taken)
            if (uid := next(free, None)) is None:
                raise Refused(f"app {app}: all {count} users from {self._uids[0]} on are given away; configure a larger range")
            try:
                write_atomically(self._path, json.dumps({"uids": {**self._known, app: uid}}, indent=1))
            except OSError as error:
                raise StoreError(f"{self._path}: {error.strerror}") from error
            self._known[app] = uid
        return self._known[app]


def why_not_separate(
    uids: range | None, status: Path = Path("/proc/self/status"), mapped: Path = Path("/proc/self/uid_map")
) -> str:
    """What keeps us from giving every app a user of its own, with the remedy; empty if nothing does."""
    start = f"no isolation: all apps' containers run as user {own_name()}, "
    if uids is None:
        return f"{start}because separate users are switched off; switch them on"
    if os.geteuid() != 0:
        return f"{start}because the server is not root; run it as root"
    lines = status.read_text("utf-8").splitlines()
    held = int(next(line.split()[1] for line in lines if line.startswith("CapEff:")), 16)
    missing = [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]
    if missing:
        return f"{start}because the server lacks {', '.join(missing)}; add them to its capabilities"
    ranges = [tuple(map(int, line.split())) for line in mapped.read_text("utf-8").splitlines()]
    if not any(inside <= uids[0] and uids[-1] < inside + count for inside, _, count in ranges):
        return f"{start}because users {uids[0]} to {uids[-1]} do not exist in this user namespace; configure a range that does"
    return ""


def own_name() -> str:
    """Of the user that we are."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())

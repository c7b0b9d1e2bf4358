"""The RAPL domains of a powercap tree: which there are, which together are the machine, and their files.

Owns the layout that the kernel documents (`Documentation/power/powercap`): zones `intel-rapl:N` (a package, or psys: the whole
platform) and within them `intel-rapl:N:M` (core, uncore, dram), each with `name`, `energy_uj` and `max_energy_range_uj`. All of them
also stand side by side in `/sys/class/powercap`; both arrangements are read. AMD's packages appear under the same names. The same
packages may stand there a second time as `intel-rapl-mmio`: those are looked at only where there are no others.
`powercap` makes one counter of them.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CONTROL_TYPES = ("intel-rapl", "intel-rapl-mmio")


class DomainError(Exception):
    """A file of a domain cannot be read, or does not hold a number; the message says which, and the remedy where there is one."""


@dataclass(frozen=True, slots=True)
class RaplDomain:
    """One energy counter of the tree."""

    folder: Path
    name: str
    """Of the domain, with its package's: `package-0`, `package-0 dram`, `psys`."""

    @property
    def label(self) -> str:
        """For messages: `package-0 dram (intel-rapl:0:2)`."""
        return f"{self.name} ({self.folder.name})"

    def energy_uj(self) -> int:
        """The counter. [µJ]

        Raises:
            DomainError: it cannot be read.
        """
        return _number(self.folder / "energy_uj", self.label)

    def range_uj(self) -> int:
        """The counter goes back to 0 at this value; 0 where the kernel does not say. [µJ]

        Raises:
            DomainError: it is there and cannot be read.
        """
        try:
            return _number(self.folder / "max_energy_range_uj", self.label)
        except DomainError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return 0
            raise


def find_domains(root: Path) -> tuple[list[RaplDomain], list[RaplDomain]]:
    """The domains that can stand for the machine, in two ways that must not be added.

    Returns:
        The packages, each followed by its dram (core and uncore are part of the package's energy); and psys, which holds all of
        that and more, where there is exactly one of it.
    """
    for control_type in _CONTROL_TYPES:
        zones = _zones(root, control_type)
        named = {name: _read_name(path) for name, path in zones.items()}
        tops = [name for name in zones if name.count(":") == 1]
        packages: dict[str, RaplDomain] = {}
        for top in tops:
            if not named[top].startswith("package"):
                continue
            packages.setdefault(named[top], RaplDomain(zones[top], named[top]))
            for name, path in zones.items():
                if name.startswith(f"{top}:") and named[name] == "dram":
                    packages.setdefault(f"{named[top]} dram", RaplDomain(path, f"{named[top]} dram"))
        platform = [RaplDomain(zones[top], "psys") for top in tops if named[top] == "psys"]
        if packages or platform:
            return list(packages.values()), platform if len(platform) == 1 else []
    return [], []


def _zones(root: Path, control_type: str) -> dict[str, Path]:
    """Folders of zones by their names, packages before what is in them."""
    pattern = re.compile(re.escape(control_type) + r":\d+(?::\d+)?")
    found: dict[str, Path] = {}
    folders = [root, root / control_type]
    while folders:
        for path in _entries(folders.pop(0)):
            if pattern.fullmatch(path.name) and path.name not in found:
                found[path.name] = path
                folders.append(path)
    return {name: found[name] for name in sorted(found, key=lambda name: [int(part) for part in name.split(":")[1:]])}


def _entries(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError:
        return


def _read_name(folder: Path) -> str:
    try:
        return (folder / "name").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path, label: str) -> int:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise DomainError(f"{label}: {path} {_why(error)}; {_remedy(error, path)}") from error
    except UnicodeDecodeError:
        text = "?"
    try:
        value = int(text)
    except ValueError:
        raise DomainError(f"{label}: {path} holds {text.strip()[:40]!r}, which is no counter; see the kernel's log") from None
    if value < 0:
        raise DomainError(f"{label}: {path} holds {value}, a counter is at least 0; see the kernel's log")
    return value


def _why(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "may not be read by this user"
    if error.errno == errno.ENOENT:
        return "is not there"
    return f"cannot be read ({error.strerror or error})"


def _remedy(error: OSError, path: Path) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        files = path.parent.parent / f"{path.parent.name.partition(':')[0]}*" / "*energy*_uj"
        return f"as root: 'chgrp GROUP {files} && chmod g+r {files}' with a group of this user's, or run as root"
    if error.errno == errno.ENOENT:
        return "load the driver again (modprobe intel_rapl_msr)"
    return "see the kernel's log"

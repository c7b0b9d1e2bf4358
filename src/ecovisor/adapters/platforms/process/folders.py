"""Where containers live on disk. Everything but a container's own folder is ours alone.

    keeper/                     socket, lock and log of the keeper
    users.json                  which app has which user
    trash/                      folders of containers that were stopped, until they are deleted
    apps/APP/CONTAINER/
        work/                   the container's own folder: its user may do there what it likes, others may not look
        record.json             what a new keeper needs to know
        pipe                    what it writes goes in here …
        output, output.1        … and comes out here

Server and keeper both know it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

_serial = itertools.count()


class Folder:
    """Of one container."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def work(self) -> Path:
        """Where it runs, unless its command says otherwise."""
        return self.path / "work"

    @property
    def record(self) -> Path:
        """See `containers.Record`."""
        return self.path / "record.json"

    @property
    def pipe(self) -> Path:
        """Its standard output and error. A pipe with a name, so that a new keeper finds it again."""
        return self.path / "pipe"

    @property
    def output(self) -> Path:
        """The newest part of what it wrote."""
        return self.path / "output"

    @property
    def older_output(self) -> Path:
        """The part before."""
        return self.path / "output.1"


def locate(root: Path, app: str, container_id: str) -> Folder:
    """The folder of a container, whether or not it exists."""
    return Folder(root / "apps" / app / container_id)


def prepare(root: Path) -> None:
    """Make the folders that are there whatever runs. Others may pass through to what is theirs, and list nothing."""
    if not root.exists():
        root.mkdir(parents=True)
        root.chmod(0o711)
    (root / "apps").mkdir(mode=0o711, exist_ok=True)
    (root / "apps").chmod(0o711)
    for name in ("keeper", "trash"):
        (root / name).mkdir(mode=0o700, exist_ok=True)
        (root / name).chmod(0o700)


def make(folder: Folder, uid: int | None, gid: int | None) -> None:
    """A folder for a new container, owned where it should be by its user."""
    folder.path.parent.mkdir(mode=0o711, exist_ok=True)
    folder.path.parent.chmod(0o711)
    folder.path.mkdir(mode=0o711)
    folder.path.chmod(0o711)
    folder.work.mkdir(mode=0o700)
    os.mkfifo(folder.pipe, 0o600)
    if uid is not None and gid is not None:
        os.chown(folder.work, uid, gid)
        os.chown(folder.pipe, uid, gid)


def discard(root: Path, folder: Folder) -> None:
    """A container is gone: put its folder into the trash, which takes no time, however much is in it."""
    with contextlib.suppress(FileNotFoundError):
        folder.path.rename(root / "trash" / _fresh_name())
    with contextlib.suppress(OSError):  # there are other containers of the app
        folder.path.parent.rmdir()


def _fresh_name() -> str:
    """That nothing in the trash has."""
    return f"{os.getpid()}.{time.time_ns()}.{next(_serial)}"


def each(root: Path) -> Iterator[Folder]:
    """The folders of all containers."""
    for path in sorted((root / "apps").glob("*/*")):
        if path.is_dir():
            yield Folder(path)


def empty_trash(root: Path) -> None:
    """Delete what is in the trash, whatever containers left there: trees of any depth, links, folders without permissions."""
    trash = os.open(root / "trash", os.O_RDONLY | os.O_DIRECTORY)
    left: set[str] = set()
    try:
        while names := set(os.listdir(trash)) - left:  # noqa: PTH208 - by descriptor
            for name in names:
                try:
                    _flatten(trash, name)
                except OSError:  # somebody still writes there; another time
                    left.add(name)
    finally:
        os.close(trash)


def _flatten(trash: int, name: str) -> None:
    """Delete one thing in the trash; the folders in it come to lie beside it, so that depth does not matter. Follows no link."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=trash, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=trash)
        return
    _allow_ourselves(name, trash)
    inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=trash)
    try:
        with os.scandir(inside) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    _allow_ourselves(entry.name, inside)
                    os.rename(entry.name, _fresh_name(), src_dir_fd=inside, dst_dir_fd=trash)
                else:
                    os.unlink(entry.name, dir_fd=inside)
    finally:
        os.close(inside)
    os.rmdir(name, dir_fd=trash)


def _allow_ourselves(name: str, descriptor: int) -> None:
    """A folder's owner may have taken away his own permissions. Root needs none, and must not follow a link that an app puts there."""
    if os.geteuid() != 0:
        os.chmod(name, 0o700, dir_fd=descriptor)


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace a small file; a reader, and a crash, see the old or the new one."""
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    beside.replace(path)

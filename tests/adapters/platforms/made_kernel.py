"""Control groups made up of plain files, with the rules of the kernel that matter here.

A group has its files as soon as it is made and loses them when it is removed; a process is in one group; a group with processes or groups
is not removed; limits are checked; in version 2 a group that holds processes gives its controllers to no other.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from ecovisor.adapters.platforms.process.cgroups import Tree
from ecovisor.adapters.platforms.process.survey import Kernel

V1_FILES = {
    "cpu": {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"},
    "cpuacct": {"cpuacct.usage": "0"},
    "freezer": {"freezer.state": "THAWED"},
}
V2_FILES = {"cgroup.freeze": "0", "cgroup.kill": "", "cgroup.events": "populated 0", "cpu.stat": "usage_usec 0\nuser_usec 0"}


class MadeKernel(Tree):
    """A tree below a folder; `hierarchies` says which controllers have which mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.v1: dict[str, Path] = {}
        self.v2: Path | None = None
        self.v2_root = Path()
        self.mounts: list[str] = []
        self.own: list[str] = []
        self.read_only = False
        self.killed: list[str] = []

    # -- making it

    def mount_v1(self, controllers: str, own: str = "/") -> None:
        point = self.folder / controllers
        for controller in controllers.split(","):
            self.v1[controller] = point
        point.mkdir(parents=True)
        self._fill(point)
        self.mounts.append(f"30 25 0:27 / {point} rw,relatime shared:9 - cgroup cgroup rw,{controllers}")
        self.own.append(f"3:{controllers}:{own}")
        self._walk(point, own)

    def mount_v2(self, controllers: str = "cpu memory", own: str = "/", root: str = "/") -> None:
        self.v2 = self.v2_root = self.folder / "unified"
        self.v2.mkdir(parents=True)
        (self.v2 / "cgroup.controllers").write_text(controllers)
        (self.v2 / "cgroup.subtree_control").write_text("")
        (self.v2 / "cgroup.procs").write_text("1\n2\n")
        self.mounts.append(f"42 25 0:39 {root} {self.v2} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate")
        self.own.append(f"0::{own}")
        self._walk(self.v2, own if root == "/" else own.removeprefix(root))

    def _walk(self, point: Path, own: str) -> None:
        path = point
        for name in own.strip("/").split("/"):
            if name:
                path /= name
                self.make(str(path))

    def kernel(self) -> Kernel:
        mountinfo, membership = self.folder / "mountinfo", self.folder / "membership"
        mountinfo.write_text("\n".join(["25 1 0:22 / /sys rw - sysfs sysfs rw", *self.mounts]) + "\n")
        membership.write_text("\n".join([*self.own, "1:name=systemd:/x"]) + "\n")
        return Kernel(self, mountinfo, membership)

    def put(self, pid: int, group: Path) -> None:
        """Move a process."""
        hierarchy = next(point for point in (*self.v1.values(), self.v2) if point is not None and group.is_relative_to(point))
        for procs in hierarchy.rglob("cgroup.procs"):
            pids = procs.read_text().split()
            if str(pid) in pids:
                procs.write_text("".join(f"{other}\n" for other in pids if other != str(pid)))
        with (group / "cgroup.procs").open("a") as file:
            file.write(f"{pid}\n")

    def give(self, group: Path) -> None:
        """As systemd does for a unit with Delegate=yes: every group above has given its controllers."""
        for parent in group.relative_to(self.v2_root).parents:
            (self.v2_root / parent / "cgroup.subtree_control").write_text("cpu")
        (group / "cgroup.controllers").write_text("cpu memory")

    # -- what the kernel does

    def _fill(self, path: Path) -> None:
        unified = self.v2 is not None and path.is_relative_to(self.v2)
        files = {"cgroup.procs": ""}
        if unified:
            given = (path.parent / "cgroup.subtree_control").read_text()
            files |= V2_FILES | {"cgroup.controllers": given, "cgroup.subtree_control": ""}
            if "cpu" in given:
                files["cpu.max"] = "max 100000"
        else:
            for controller, point in self.v1.items():
                if path.is_relative_to(point):
                    files |= V1_FILES.get(controller, {})
        for name, text in files.items():
            (path / name).write_text(text)

    def make(self, path: str) -> None:
        if Path(path).exists():
            return
        self._check_writable(path)
        super().make(path)
        self._fill(Path(path))

    def remove(self, path: str) -> None:
        group = Path(path)
        if group.exists():
            if (group / "cgroup.procs").read_text().strip() or any(inner.is_dir() for inner in group.iterdir()):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            shutil.rmtree(group)

    def write(self, path: str, text: str) -> None:
        self._check_writable(path)
        file = Path(path)
        if file.name == "cgroup.procs":
            self.put(os.getpid() if text == "0" else int(text), file.parent)
            return
        if file.name == "cgroup.subtree_control":
            self._give(file, text)
            return
        if file.name == "cpu.cfs_quota_us":
            above = int((file.parent.parent / file.name).read_text()) if (file.parent.parent / file.name).exists() else -1
            if (int(text) != -1 and int(text) < 1000) or (above != -1 and int(text) > above):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        if file.name == "cpu.max" and text.split(maxsplit=1)[0] != "max" and int(text.split(maxsplit=1)[0]) < 1000:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        if file.name == "cgroup.kill":
            self.killed.append(path)
            (file.parent / "cgroup.procs").write_text("")
            return
        if not file.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        file.write_text(text)

    def _give(self, file: Path, text: str) -> None:
        if text.removeprefix("+") not in (file.parent / "cgroup.controllers").read_text().split():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
        if (file.parent / "cgroup.procs").read_text().strip() and file.parent != self.v2:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(file))
        file.write_text(text.removeprefix("+"))
        for inner in file.parent.iterdir():
            if inner.is_dir():
                (inner / "cgroup.controllers").write_text(text.removeprefix("+"))
                (inner / "cpu.max").write_text("max 100000")

    def _check_writable(self, path: str) -> None:
        if self.read_only:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

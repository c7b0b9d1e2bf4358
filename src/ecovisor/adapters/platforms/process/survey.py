"""How containers can be capped on this machine, found out by trying; and why not better, each reason with its remedy.

`platform` asks before it starts a keeper, and for `doctor`. Nothing of a trial is left.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecovisor.adapters.platforms.process.cgroups import Group, GroupV1, GroupV2, Tree, below, prepare, read_pids

#: Into this group a server moves itself, when the one that it was started in is to hold others (cgroup v2 allows no both).
_LEAF = "ecovisor-server"

MECHANISMS = ("cgroup-v2", "cgroup-v1", "duty-cycle")


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found."""

    mechanism: str
    """`cgroup-v2`, `cgroup-v1`, `duty-cycle`, or `none`."""
    parents: Mapping[str, str]
    """The platform's own control group, by controller; it need not exist yet."""
    bound_cores: float
    """What groups above it allow; infinite: no limit. [cores]"""
    reasons: Sequence[str]
    """Why not something better, each with what to do about it."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Where to look; another one for tests."""

    tree: Tree
    mountinfo: Path = Path("/proc/self/mountinfo")
    membership: Path = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class _Mount:
    controllers: frozenset[str]
    unified: bool
    root: str
    point: str


class _Unfit(Exception):
    """This way of capping does not work here; says why, and what to do."""


def survey(name: str, wanted: str = "auto", kernel: Kernel | None = None) -> Survey:
    """Find the best mechanism, or try one alone.

    Args:
        name: of the platform's own control group.
        wanted: `auto`, or one of `MECHANISMS`.
        kernel: where to look.
    """
    reasons: list[str] = []
    if not sys.platform.startswith("linux"):
        reasons.append(f"containers as processes need Linux, this is {sys.platform}; use the simulated platform")
        return Survey("none", {}, math.inf, reasons)
    kernel = kernel or Kernel(Tree())
    for mechanism in MECHANISMS if wanted == "auto" else (wanted,):
        try:
            if mechanism == "cgroup-v2":
                parents, bound_cores = _try_v2(name, kernel)
            elif mechanism == "cgroup-v1":
                parents, bound_cores = _try_v1(name, kernel)
            else:
                parents, bound_cores = {}, math.inf
        except (_Unfit, OSError) as why:
            reasons.append(f"no {mechanism}: {why}")
        else:
            return Survey(mechanism, parents, bound_cores, reasons)
    return Survey("none", {}, math.inf, reasons)


# -- version 1


def _try_v1(name: str, kernel: Kernel) -> tuple[dict[str, str], float]:
    mounts = [mount for mount in _mounts(kernel) if not mount.unified]
    own = _memberships(kernel)
    parents: dict[str, str] = {}
    for controller in ("cpu", "cpuacct", "freezer"):
        mount = next((mount for mount in mounts if controller in mount.controllers), None)
        if mount is not None:
            parents[controller] = f"{_inside(mount, own.get(controller, '/'), kernel.tree)}/{name}"
        elif controller != "freezer":
            raise _Unfit(f"the {controller} controller is not mounted as version 1")
    _trial(kernel.tree, "cgroup-v1", parents)
    bound_cores = math.inf
    for group in _upwards(parents["cpu"]):
        with contextlib.suppress(OSError, ValueError):
            quota = int(kernel.tree.read(f"{group}/cpu.cfs_quota_us"))
            if quota > 0:
                bound_cores = min(bound_cores, quota / int(kernel.tree.read(f"{group}/cpu.cfs_period_us")))
    return parents, bound_cores


# -- version 2


def _try_v2(name: str, kernel: Kernel) -> tuple[dict[str, str], float]:
    mount = next((mount for mount in _mounts(kernel) if mount.unified), None)
    if mount is None:
        raise _Unfit("the unified hierarchy is not mounted")
    if "cpu" not in kernel.tree.read(f"{mount.point}/cgroup.controllers").split() and mount.root == "/":
        raise _Unfit("the cpu controller is not in the unified hierarchy (another hierarchy has it)")
    own = _inside(mount, _memberships(kernel).get("", "/"), kernel.tree).removesuffix(f"/{_LEAF}")
    reasons = []
    for base in dict.fromkeys((own, mount.point)):
        parents = {"cpu": f"{base}/{name}"}
        try:
            _enable(kernel.tree, base)
            _trial(kernel.tree, "cgroup-v2", parents)
        except _Unfit as why:
            reasons.append(str(why))
        else:
            return parents, _bound_v2(kernel.tree, parents["cpu"])
    raise _Unfit(" · ".join(dict.fromkeys(reasons)))


def _enable(tree: Tree, base: str) -> None:
    """Let groups in ``base`` have CPU limits."""
    try:
        if "cpu" not in tree.read(f"{base}/cgroup.controllers").split():
            raise _Unfit(f"{base} was not given the cpu controller; start the server with Delegate=yes in its systemd unit")
        if "cpu" in tree.read(f"{base}/cgroup.subtree_control").split():
            return
        try:
            tree.write(f"{base}/cgroup.subtree_control", "+cpu")
        except OSError:
            if read_pids(tree, base) != [os.getpid()]:
                raise
            # We are alone in it: go one down, so that it may hold groups instead of processes.
            tree.make(f"{base}/{_LEAF}")
            tree.write(f"{base}/{_LEAF}/cgroup.procs", "0")
            tree.write(f"{base}/cgroup.subtree_control", "+cpu")
    except OSError as error:
        raise _Unfit(
            f"{base}/cgroup.subtree_control: {error.strerror}; start the server as root, or alone in a group of its own "
            "(systemd-run --scope -p Delegate=yes …)"
        ) from error


def _bound_v2(tree: Tree, path: str) -> float:
    bound_cores = math.inf
    for group in _upwards(path):
        with contextlib.suppress(OSError, ValueError):
            quota, period = tree.read(f"{group}/cpu.max").split()
            bound_cores = min(bound_cores, int(quota) / int(period))
    return bound_cores


# -- both


def _trial(tree: Tree, mechanism: str, parents: Mapping[str, str]) -> None:
    """Make a group, limit it, remove it."""
    paths = below(parents, f"trial:{os.getpid()}")
    try:
        prepare(tree, mechanism, parents)
        group: Group = GroupV2(tree, paths["cpu"], math.inf) if mechanism == "cgroup-v2" else GroupV1(tree, paths, math.inf)
        group.limit(0.01)
        group.cpu_s()
    except OSError as error:
        raise _Unfit(f"{error.filename or parents['cpu']}: {error.strerror}; run the server as root") from error
    finally:
        for path in (*paths.values(), *parents.values()):
            with contextlib.suppress(OSError):  # containers of ours are in it
                tree.remove(path)


def _mounts(kernel: Kernel) -> list[_Mount]:
    """Hierarchies that are mounted: proc(5), mountinfo."""
    found = []
    for line in kernel.mountinfo.read_text("utf-8").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ")[:3]
        if kind in {"cgroup", "cgroup2"}:
            root, point = before.split(" ")[3:5]
            found.append(_Mount(frozenset(options.split(",")), kind == "cgroup2", root, point))
    return found


def _memberships(kernel: Kernel) -> dict[str, str]:
    """Our own group by controller; under an empty name that of the unified hierarchy."""
    own = {}
    for line in kernel.membership.read_text("utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        own.update(dict.fromkeys(controllers.split(","), path))
    return own


def _inside(mount: _Mount, path: str, tree: Tree) -> str:
    """Our own group as seen through a mount, which may show a part of the hierarchy only; the mount itself if we are not in that part."""
    relative = path if mount.root == "/" else path.removeprefix(mount.root) if path.startswith(mount.root) else "/"
    whole = mount.point + relative.rstrip("/")
    return whole if tree.exists(whole) else mount.point


def _upwards(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents][:-1]

"""Control groups of both versions on a made-up kernel: what is written, what is chosen, and what is said where it cannot be."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.platforms.made_kernel import MadeKernel

from ecovisor.adapters.platforms.process.cgroups import GroupV1, GroupV2, Tree, below, in_force, prepare, quota_us
from ecovisor.adapters.platforms.process.survey import Survey, survey

V1 = ("cpu", "cpuacct", "freezer")


@pytest.fixture
def kernel(tmp_path: Path) -> MadeKernel:
    return MadeKernel(tmp_path / "cgroup")


def made_v1(kernel: MadeKernel, *controllers: str, bound_cores: float = math.inf) -> GroupV1:
    for controller in controllers:
        kernel.mount_v1(controller)
    parents = {name: str(kernel.v1[name] / "ecovisor-x") for name in V1 if name in kernel.v1}
    prepare(kernel, "cgroup-v1", parents)
    return GroupV1(kernel, below(parents, "web:1"), bound_cores)


def made_v2(kernel: MadeKernel, bound_cores: float = math.inf) -> GroupV2:
    kernel.mount_v2()
    kernel.write(str(kernel.v2_root / "cgroup.subtree_control"), "+cpu")
    parents = {"cpu": str(kernel.v2_root / "ecovisor-x")}
    prepare(kernel, "cgroup-v2", parents)
    return GroupV2(kernel, below(parents, "web:1")["cpu"], bound_cores)


# -- quotas


@given(st.floats(0.0, 20_000.0))
def test_a_quota_is_the_limit_over_100_ms_and_at_least_1_ms(cores: float) -> None:
    quota = quota_us(cores)
    if quota is None:
        assert cores >= 10_000.0
    else:
        assert quota >= 1000
        assert quota == pytest.approx(cores * 100_000, abs=0.5) or quota == 1000
        assert in_force(quota) == pytest.approx(max(cores, 0.01), abs=1e-5)
    assert quota_us(math.inf) is None


def test_version_1_writes_quota_and_period(kernel: MadeKernel) -> None:
    group = made_v1(kernel, *V1)
    folder = kernel.v1["cpu"] / "ecovisor-x" / "web:1"
    for cores, text, limit in ((0.05, "5000", 0.05), (1.5, "150000", 1.5), (0.0, "1000", 0.01), (math.inf, "-1", math.inf)):
        assert group.limit(cores) == limit
        assert (folder / "cpu.cfs_quota_us").read_text() == text
        assert (folder / "cpu.cfs_period_us").read_text() == "100000"


def test_version_2_writes_cpu_max(kernel: MadeKernel) -> None:
    group = made_v2(kernel)
    file = kernel.v2_root / "ecovisor-x" / "web:1" / "cpu.max"
    for cores, text, limit in (
        (0.05, "5000 100000", 0.05),
        (1.5, "150000 100000", 1.5),
        (0.0, "1000 100000", 0.01),
        (math.inf, "max 100000", math.inf),
    ):
        assert group.limit(cores) == limit
        assert file.read_text() == text


def test_what_groups_above_allow_bounds_the_limit_in_force(kernel: MadeKernel, tmp_path: Path) -> None:
    first = made_v1(kernel, *V1, bound_cores=1.0)
    assert [first.limit(cores) for cores in (0.5, 1.0, 1.5, math.inf)] == [0.5, 1.0, 1.0, 1.0]
    second = made_v2(MadeKernel(tmp_path / "other"), bound_cores=1.0)
    assert [second.limit(cores) for cores in (0.5, 1.0, 1.5, math.inf)] == [0.5, 1.0, 1.0, 1.0]


def test_the_kernels_no_is_not_lost(kernel: MadeKernel) -> None:
    group = made_v1(kernel, *V1)
    (kernel.v1["cpu"] / "ecovisor-x" / "cpu.cfs_quota_us").write_text("50000")
    with pytest.raises(OSError, match="Invalid argument"):
        group.limit(0.9)


def test_a_real_file_system_answers_in_the_same_call(tmp_path: Path) -> None:
    """`/dev/full` takes no byte: a write that is buffered would not hear of it."""
    with pytest.raises(OSError, match="No space left"):
        Tree().write("/dev/full", "1")


# -- CPU time, freezing, killing


def test_cpu_time_is_read_in_seconds(kernel: MadeKernel, tmp_path: Path) -> None:
    first = made_v1(kernel, *V1)
    (kernel.v1["cpuacct"] / "ecovisor-x" / "web:1" / "cpuacct.usage").write_text("1234567890\n")
    assert first.cpu_s() == pytest.approx(1.23456789)
    other = MadeKernel(tmp_path / "other")
    second = made_v2(other)
    (other.v2_root / "ecovisor-x" / "web:1" / "cpu.stat").write_text("nr_periods 3\nusage_usec 1234567\nuser_usec 1\n")
    assert second.cpu_s() == pytest.approx(1.234567)
    (other.v2_root / "ecovisor-x" / "web:1" / "cpu.stat").write_text("nr_periods 3\n")
    with pytest.raises(OSError, match="no usage_usec"):
        second.cpu_s()


def test_freezing_and_killing_by_the_kernel(kernel: MadeKernel, tmp_path: Path) -> None:
    first = made_v1(kernel, *V1)
    state = kernel.v1["freezer"] / "ecovisor-x" / "web:1" / "freezer.state"
    first.freeze()
    assert state.read_text() == "FROZEN"
    first.thaw()
    assert state.read_text() == "THAWED"
    first.limit(0.01)
    first.kill()
    assert state.read_text() == "THAWED", "what is frozen does not die"
    assert (kernel.v1["cpu"] / "ecovisor-x" / "web:1" / "cpu.cfs_quota_us").read_text() == "-1", "what dies must be able to"

    other = MadeKernel(tmp_path / "other")
    second = made_v2(other)
    folder = other.v2_root / "ecovisor-x" / "web:1"
    second.freeze()
    assert (folder / "cgroup.freeze").read_text() == "1"
    second.thaw()
    assert (folder / "cgroup.freeze").read_text() == "0"
    second.kill()
    assert other.killed == [f"{folder}/cgroup.kill"]


def test_groups_are_joined_in_every_hierarchy_and_removed_when_empty(kernel: MadeKernel) -> None:
    group = made_v1(kernel, "cpu,cpuacct", "freezer")
    assert len(group.joins) == 2, "cpu and cpuacct share one"
    for path in group.joins:
        kernel.write(path, "0")
    assert group.pids() == [os.getpid()]
    with pytest.raises(OSError, match="busy"):
        group.remove()
    for point in set(kernel.v1.values()):
        kernel.put(os.getpid(), point)
    group.remove()
    group.remove()
    assert group.pids() == []
    assert not any(point.joinpath("ecovisor-x", "web:1").exists() for point in kernel.v1.values())


# -- the survey


def choose(kernel: MadeKernel, wanted: str = "auto") -> Survey:
    found = survey("ecovisor-x", wanted, kernel.kernel())
    assert not list(kernel.folder.rglob("*trial*")), "a trial leaves nothing"
    assert not list(kernel.folder.rglob("ecovisor-x"))
    return found


def test_version_2_is_preferred_where_it_has_the_cpu(kernel: MadeKernel) -> None:
    kernel.mount_v2()
    for controller in V1:
        kernel.mount_v1(controller)
    found = choose(kernel)
    assert (found.mechanism, list(found.reasons)) == ("cgroup-v2", [])
    assert found.parents == {"cpu": f"{kernel.v2_root}/ecovisor-x"}


def test_a_hybrid_machine_falls_back_to_version_1_and_says_why(kernel: MadeKernel) -> None:
    kernel.mount_v2(controllers="hugetlb")
    kernel.mount_v1("cpu,cpuacct")
    found = choose(kernel)
    assert found.mechanism == "cgroup-v1"
    assert found.parents == dict.fromkeys(("cpu", "cpuacct"), f"{kernel.v1['cpu']}/ecovisor-x")
    (reason,) = found.reasons
    assert reason.startswith("no cgroup-v2: ")
    assert "another hierarchy has it" in reason


def test_without_any_hierarchy_the_duty_cycle_is_left(kernel: MadeKernel) -> None:
    kernel.folder.mkdir()
    found = choose(kernel)
    assert (found.mechanism, found.parents, found.bound_cores) == ("duty-cycle", {}, math.inf)
    assert [reason.split(":")[0] for reason in found.reasons] == ["no cgroup-v2", "no cgroup-v1"]


def test_without_permission_the_remedy_is_said(kernel: MadeKernel) -> None:
    for controller in V1:
        kernel.mount_v1(controller)
    kernel.mount_v2()
    kernel.read_only = True
    found = choose(kernel)
    assert found.mechanism == "duty-cycle"
    assert all("Permission denied" in reason and "as root" in reason for reason in found.reasons)


@pytest.mark.parametrize("wanted", ["cgroup-v2", "cgroup-v1"])
def test_what_is_asked_for_is_not_replaced_by_something_else(kernel: MadeKernel, wanted: str) -> None:
    kernel.folder.mkdir()
    found = choose(kernel, wanted)
    assert found.mechanism == "none"
    (reason,) = found.reasons
    assert reason.startswith(f"no {wanted}: ")


def test_version_1_goes_below_the_group_of_the_server_and_knows_its_bound(kernel: MadeKernel) -> None:
    kernel.mount_v1("cpu", own="/docker/abc")
    kernel.mount_v1("cpuacct", own="/docker/abc")
    (kernel.v1["cpu"] / "docker" / "abc" / "cpu.cfs_quota_us").write_text("150000")
    found = choose(kernel)
    assert found.parents["cpu"] == f"{kernel.v1['cpu']}/docker/abc/ecovisor-x"
    assert found.bound_cores == 1.5


def test_a_group_that_the_mount_does_not_show_is_replaced_by_the_mount(kernel: MadeKernel) -> None:
    kernel.mount_v1("cpu")
    kernel.mount_v1("cpuacct")
    kernel.own = [line.replace(":/", ":/docker/elsewhere") for line in kernel.own]
    assert choose(kernel).parents["cpu"] == f"{kernel.v1['cpu']}/ecovisor-x"


def test_a_part_of_version_2_that_was_delegated_is_used(kernel: MadeKernel) -> None:
    kernel.mount_v2(own="/user.slice/app.scope")
    own = kernel.v2_root / "user.slice" / "app.scope"
    kernel.give(own)
    (own / "cpu.max").write_text("75000 100000")
    found = choose(kernel)
    assert found.parents == {"cpu": f"{own}/ecovisor-x"}
    assert found.bound_cores == 0.75


def test_a_server_alone_in_its_group_goes_one_down(kernel: MadeKernel) -> None:
    kernel.mount_v2(own="/system.slice/ecovisor.service")
    own = kernel.v2_root / "system.slice" / "ecovisor.service"
    kernel.give(own)
    kernel.put(os.getpid(), own)
    found = choose(kernel)
    assert found.parents == {"cpu": f"{own}/ecovisor-x"}
    assert (own / "ecovisor-server" / "cgroup.procs").read_text().split() == [str(os.getpid())]
    kernel.own = ["0::/system.slice/ecovisor.service/ecovisor-server"]
    assert choose(kernel).parents == found.parents, "and finds the place again from there"


def test_a_group_with_other_processes_is_left_alone(kernel: MadeKernel) -> None:
    kernel.mount_v2(own="/user.slice/session.scope")
    own = kernel.v2_root / "user.slice" / "session.scope"
    kernel.give(own)
    kernel.put(os.getpid(), own)
    kernel.put(4711, own)
    found = choose(kernel)
    assert found.parents == {"cpu": f"{kernel.v2_root}/ecovisor-x"}, "root may go to the top instead"
    assert not (own / "ecovisor-server").exists()


def test_a_container_that_shows_only_its_own_part_of_version_2(kernel: MadeKernel) -> None:
    kernel.mount_v2(own="/docker/abc", root="/docker/abc")
    found = choose(kernel)
    assert found.parents == {"cpu": f"{kernel.v2_root}/ecovisor-x"}

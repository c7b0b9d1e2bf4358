"""Probes say what is there by trying it, leave nothing behind, and tell what is missing with a remedy."""

from __future__ import annotations

import errno
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.adapters.meters.trees import Tree

from ecovisor.adapters.probes import Finding, State, containers, human_time, installation, machine, network, storage
from ecovisor.ports.live import Isolation

ROOT = Path(__file__).parents[2]


def told(finding: Finding) -> str:
    """What a finding says; one that is not ok says what follows, and what to do."""
    if finding.state is not State.OK:
        assert finding.follows
        assert finding.remedy
    assert "\n" not in finding.found + finding.follows + finding.remedy
    return f"{finding.state}: {finding.found} → {finding.follows}; {finding.remedy}" + (" BLOCKS" if finding.blocks_serve else "")


# -- the installation


def test_the_extras_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    names = {extra: {re.split(r"[<>=; ]", line)[0] for line in extras[extra]} for extra in ("server", "fast")}
    assert names == {"server": {*installation.SERVER_NEEDS, *installation.SERVER_WANTS}, "fast": set(installation.FAST)}


def test_a_server_needs_its_extra() -> None:
    assert [told(finding) for finding in installation.probe_extras(lambda name: True)] == ["ok: installed → ; "] * 2
    server, fast = installation.probe_extras(lambda name: name not in ("uvicorn", "plotly", "numba"))
    assert told(server) == "missing: without uvicorn, plotly → serve cannot start; pip install 'ecovisor[server]' BLOCKS"
    assert "limited: without numba" in told(fast)
    server, _ = installation.probe_extras(lambda name: name != "uvloop")
    assert told(server).startswith("limited: without uvloop")
    assert not server.blocks_serve


def test_windows_cannot_serve_and_a_mac_only_in_part() -> None:
    assert told(installation.probe_python("linux")).startswith("ok: 3.")
    assert not installation.probe_python("darwin").blocks_serve
    assert told(installation.probe_python("darwin")).startswith("limited")
    assert told(installation.probe_python("win32")).endswith("BLOCKS")


def test_root_may_do_what_others_may_not() -> None:
    assert told(installation.probe_user(0)) == "ok: root → ; "
    assert "(uid 4000000000), not root" in told(installation.probe_user(4_000_000_000))
    assert installation.user_name(4_000_000_000) == "4000000000"


# -- containers


def mountinfo(tmp_path: Path, *hierarchies: str, unified: str | None = None) -> Path:
    lines = [f"3{k} 25 0:2{k} / /sys/fs/cgroup/{k} rw - cgroup cgroup rw,{names}" for k, names in enumerate(hierarchies)]
    if unified is not None:
        (tmp_path / "unified").mkdir()
        (tmp_path / "unified" / "cgroup.controllers").write_text(unified)
        lines.append(f"40 25 0:30 / {tmp_path / 'unified'} rw - cgroup2 cgroup2 rw")
    path = tmp_path / "mountinfo"
    path.write_text("25 1 0:23 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" + "\n".join(lines) + "\n")
    return path


def test_control_groups_are_named_with_their_controllers(tmp_path: Path) -> None:
    both = containers.probe_cgroups(mountinfo(tmp_path, "cpu,cpuacct", "freezer", "name=systemd", unified="cpuset io\n"))
    assert told(both) == "ok: version 2 with cpuset; version 1 with cpu, cpuacct, freezer → ; "


@pytest.mark.parametrize(
    ("hierarchies", "unified", "said"),
    [
        ((), "cpu memory io", "ok: version 2 with cpu, memory"),
        (("cpu",), None, "missing: version 1 with cpu → no CPU quotas"),
        ((), "", "missing: version 2 with no controller of use"),
        ((), None, "missing: none are mounted"),
    ],
)
def test_without_a_cpu_controller_there_are_no_quotas(
    tmp_path: Path, hierarchies: tuple[str, ...], unified: str | None, said: str
) -> None:
    assert told(containers.probe_cgroups(mountinfo(tmp_path, *hierarchies, unified=unified))).startswith(said)


def test_a_system_without_mountinfo_has_no_control_groups(tmp_path: Path) -> None:
    assert "cannot be read (No such file" in told(containers.probe_cgroups(tmp_path / "none"))


def isolation(mechanism: str, *notes: str, users: bool = True) -> tuple[Finding, Finding]:
    caps, separation = containers.describe_isolation(Isolation("process", mechanism, users, notes))
    return caps, separation


def test_quotas_hold_whatever_else_is_missing() -> None:
    caps, users = isolation("cgroup-v1", "no cgroup-v2: another hierarchy has the controller", "apart from files, all is shared")
    assert told(caps) == "ok: cgroup-v1: quotas of control groups, version 1 (a group was made, limited and removed) → ; "
    assert told(users) == "ok: each app's containers run under a user of their own → apart from files, all is shared; "
    caps, _ = isolation("cgroup-v1", "no freezer: containers notice; mount the freezer controller")
    assert "limited" in told(caps)
    assert told(caps).endswith("→ no freezer: containers notice; mount the freezer controller")


def test_a_duty_cycle_is_limited_with_all_reasons_and_remedies() -> None:
    notes = [
        "no cgroup-v2: not given; use Delegate=yes",
        "no cgroup-v1: denied; run as root",
        "no control groups: leaves; run as root",
    ]
    caps, users = isolation("duty-cycle", *notes, "no isolation: all run as alice; run it as root", users=False)
    assert told(caps) == (
        "limited: duty-cycle: processes are stopped and continued → caps hold within 5 % instead of 1 %; no cgroup-v2: not given; "
        "no cgroup-v1: denied; no control groups: leaves; use Delegate=yes; run as root"
    )
    assert told(users) == "limited: all containers run as one user → no isolation: all run as alice; run it as root"


def test_folders_closed_to_other_users_are_told() -> None:
    _, users = isolation("cgroup-v2", "containers cannot use their folder: /root is closed; chmod o+x /root", "apart from, x")
    assert told(users).endswith("/root is closed; chmod o+x /root")
    assert users.state is State.LIMITED


def test_a_simulated_platform_starts_nothing() -> None:
    caps, users = containers.describe_isolation(Isolation("simulated", "simulated", separate_users=False))
    assert (caps.state, users.state) == (State.OK, State.OK)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers as processes need Linux")
def test_the_platforms_answer_here_is_tried_and_nothing_of_it_is_left(tmp_path: Path) -> None:
    def groups() -> set[str]:
        return {str(path) for path in Path("/sys/fs/cgroup").rglob("*ecovisor*") if path.is_dir()}

    before = groups()
    caps, users = containers.probe_platform(tmp_path)
    assert {caps.subject, users.subject} == {"caps", "separate users"}
    assert not caps.blocks_serve
    assert groups() <= before
    assert list(tmp_path.iterdir()) == []
    (alone,) = containers.probe_platform(tmp_path, "cgroup-v2") if "v2" not in caps.found else [caps]
    assert alone is caps or alone.blocks_serve
    assert alone is caps or alone.remedy


def test_a_system_without_unix_users_runs_no_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ecovisor.adapters.platforms.process.platform", None)
    (finding,) = containers.probe_platform(tmp_path)
    assert told(finding).startswith("missing: containers as processes do not work on this system")
    assert told(finding).endswith("BLOCKS")


def test_other_users_are_let_in_by_every_folder_or_the_closed_one_is_named(tmp_path: Path) -> None:
    inner = tmp_path / "open" / "closed" / "open"
    inner.mkdir(parents=True)
    for folder in (*reversed(tmp_path.parents), tmp_path):
        if not folder.stat().st_mode & 0o001:
            assert containers.closed_folder(str(inner / "python")) == folder
            break
    else:
        (tmp_path / "open" / "closed").chmod(0o700)
        assert containers.closed_folder(str(inner / "python")) == tmp_path / "open" / "closed"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can start processes as others")
def test_a_python_that_others_cannot_run_is_found_by_running_it(tmp_path: Path) -> None:
    assert told(containers.probe_python_for_others(65534, "/bin/true")).startswith("ok: other users can run /bin/true")
    closed = tmp_path / "python"
    closed.write_text("#!/bin/sh\n")
    closed.chmod(0o700)
    finding = containers.probe_python_for_others(65534, str(closed))
    assert told(finding).startswith(f"limited: other users cannot run {closed} (Permission denied)")
    assert told(containers.probe_python_for_others(65534, "/bin/false")).startswith(
        "limited: other users cannot run /bin/false (exit status 1)"
    )


def test_who_cannot_change_users_runs_python_as_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    assert told(containers.probe_python_for_others(1)).startswith(f"ok: {sys.executable}, as ")


def test_a_namespace_without_other_users_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(subprocess, "run", refuse)
    assert "nothing starts as user 7: Operation not permitted" in told(containers.probe_python_for_others(7))


# -- the machine


def test_a_meter_is_ok_and_none_is_modelled_power(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "powercap")
    tree.add("intel-rapl:0", "package-0")
    assert told(machine.probe_meter(["powercap"], options={"powercap": {"root": tree.root}})).startswith(
        "ok: powercap: RAPL package-0"
    )
    absent = machine.probe_meter(["powercap"], options={"powercap": {"root": tmp_path / "none"}})
    assert told(absent).startswith(f"limited: powercap: there is no {tmp_path / 'none'} → power is modelled from CPU time")
    assert absent.remedy.startswith("RAPL needs Linux")


def test_busy_processors_are_told() -> None:
    assert machine.probe_processors(4, (1.0, 1.0, 1.0)).found == "4 usable, load 1.0"
    assert told(machine.probe_processors(4, (6.5, 1.0, 1.0))).startswith("limited: 4 usable, load 6.5")
    assert machine.probe_processors().found.partition(" ")[0].isdigit()


@pytest.mark.parametrize(("late_s", "state"), [(0.0001, State.OK), (0.03, State.LIMITED)])
def test_a_machine_that_wakes_late_is_told(late_s: float, state: State) -> None:
    now = [100.0]

    def sleep(duration_s: float) -> None:
        now[0] += duration_s + late_s

    finding = machine.probe_clock(sleep, lambda: now[0])
    assert finding.state is state
    assert f"ends {human_time(late_s)} late" in told(finding)
    assert machine.probe_clock().found.startswith("resolution ")


@pytest.mark.parametrize(
    ("duration_s", "said"),
    [
        (2.0, "2 s"),
        (0.5, "500 ms"),
        (0.00123, "1.2 ms"),
        (9.97e-5, "100 µs"),
        (1.2e-5, "12 µs"),
        (9.9999e-4, "1 ms"),
        (4e-8, "40 ns"),
        (0.0, "0 ns"),
    ],
)
def test_short_times_read_well(duration_s: float, said: str) -> None:
    assert human_time(duration_s) == said


# -- the state directory


def test_a_state_directory_is_written_to_and_left_as_it_was(tmp_path: Path) -> None:
    written, space = storage.probe_state_dir(tmp_path)
    assert told(written).startswith(f"ok: {tmp_path}: writable, a forced write takes")
    assert space.found.endswith("GB free")
    assert list(tmp_path.iterdir()) == []
    to_be_made, _ = storage.probe_state_dir(tmp_path / "a" / "b")
    assert f"{tmp_path / 'a' / 'b'} (to be made): writable" in told(to_be_made)
    assert list(tmp_path.iterdir()) == []


def test_a_state_directory_that_cannot_be_written_blocks(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, said in (
        (tmp_path / "file", "is no folder"),
        (tmp_path / "file" / "state", "is no folder"),
        (Path("/proc/ecovisor"), "No such file"),
    ):
        (finding,) = storage.probe_state_dir(path)
        assert told(finding).startswith(f"missing: {path}")
        assert said in told(finding)
        assert told(finding).endswith("BLOCKS")


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("os.fsync", OSError(errno.ENOSPC, "No space left on device")),
        ("os.fsync", OSError(errno.EIO, "Input/output error")),
        ("sqlite3.connect", sqlite3.OperationalError("disk I/O error")),
    ],
)
def test_a_disk_that_fails_blocks_and_nothing_is_left(
    tmp_path: Path, part: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(part, fail)
    (finding,) = storage.probe_state_dir(tmp_path)
    assert told(finding).endswith("BLOCKS")
    assert (getattr(error, "strerror", None) or str(error)) in finding.found
    assert list(tmp_path.iterdir()) == []


def test_slow_disks_and_network_folders_are_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(storage, "_fsync_s", lambda path: 0.4)
        assert "limited" in told(storage.probe_state_dir(tmp_path)[0])
        assert "a forced write takes 400 ms" in told(storage.probe_state_dir(tmp_path)[0])
    monkeypatch.setattr(storage, "_journal_mode", lambda path: "delete")
    assert "SQLite keeps its journal as 'delete' here" in told(storage.probe_state_dir(tmp_path)[0])


def test_a_full_disk_blocks_before_it_is_full() -> None:
    assert told(storage.probe_space(2_000_000_000)) == "ok: 2.0 GB free → ; "
    assert told(storage.probe_space(500_000_000)).startswith("limited: 0.5 GB free")
    assert told(storage.probe_space(1_000_000)).endswith("BLOCKS")


def test_a_running_server_is_known_by_its_lock(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    lock = tmp_path / "ledger.lock"
    assert storage.running_server(lock) is None
    assert not lock.exists()
    lock.write_text("pid         42\ncommits 0\n")
    assert storage.running_server(lock) is None
    with lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert storage.running_server(lock) == "42"
        lock.write_text("")
        assert storage.running_server(lock) == "unknown"
    assert storage.running_server(lock) is None


def test_sockets_whose_path_is_too_long_block(tmp_path: Path) -> None:
    assert told(storage.probe_sockets(Path("/s"), ["web"])) == "ok: their longest path has 25 of 107 bytes → ; "
    longest = storage.probe_sockets(Path("/s"), ["a" * (107 - len("/s/sockets/.sock"))])
    assert longest.state is State.OK
    finding = storage.probe_sockets(Path("/s"), ["web", "ä" + "a" * (106 - len("/s/sockets/.sock"))])
    assert told(finding).endswith("BLOCKS")
    assert "has 108 bytes" in told(finding)


def test_the_limit_of_a_sockets_path_is_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("other systems have other limits")
    monkeypatch.chdir(tmp_path)
    for length, fits in ((107, True), (108, False)):
        with socket.socket(socket.AF_UNIX) as one:
            if fits:
                one.bind("s" * length)
            else:
                with pytest.raises(OSError, match="too long"):
                    one.bind("s" * length)


# -- addresses


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_address_is_free_or_taken(taken: str) -> None:
    assert told(network.probe_listen("127.0.0.1:0")) == "ok: 127.0.0.1:0 is free → ; "
    finding = network.probe_listen(taken, "server.metrics_listen")
    assert finding.subject == "address metrics_listen"
    assert told(finding).startswith(f"missing: {taken} is in use by another process → serve cannot start; choose another")
    assert finding.blocks_serve


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:http!", "is no host:port"),
        ("127.0.0.1", "is no host:port"),
        ("127.0.0.1:99999", "is no host:port"),
        ("192.0.2.1:0", "cannot be opened (Cannot assign requested address)"),
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_opened_blocks(address: str, said: str) -> None:
    assert said in told(network.probe_listen(address))
    assert network.probe_listen(address).blocks_serve


def test_a_port_that_only_root_may_open_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, where: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    class Refusing(socket.socket):
        bind = refuse

    monkeypatch.setattr(socket, "socket", Refusing)
    assert "127.0.0.1:80 may not be opened by this user" in told(network.probe_listen("127.0.0.1:80"))


def test_beyond_this_machine_tokens_need_tls(tmp_path: Path) -> None:
    def probe(address: str, *, insecure: bool = False, certificate: Path | None = None, key: Path | None = None) -> str:
        return told(network.probe_protection(address, certificate, key, allow_insecure=insecure))

    for address in ("127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:1"):
        assert probe(address).startswith("ok: only this machine")
    for address in ("0.0.0.0:1", "[::]:1", "example.org:1"):
        assert probe(address).endswith("BLOCKS")
        assert probe(address, insecure=True).startswith(f"limited: {address} without TLS → everybody on the way")
    made = trustme.CA().issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    made.private_key_pem.write_to_path(str(key))
    for pem in made.cert_chain_pems:
        pem.write_to_path(str(chain), append=True)
    assert probe("0.0.0.0:1", certificate=chain, key=key) == f"ok: TLS with {chain} → ; "
    assert probe("0.0.0.0:1", certificate=key, key=chain).endswith("BLOCKS")
    assert "No such file" in probe("0.0.0.0:1", certificate=tmp_path / "none.pem", key=key)

"""Containers as process groups: what they are given and what not, what ends with them, what outlives whom."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.platforms.made import BUSY, QUIET, belonging, groups_of, keeper_pid, needs, shell, state_folder

import ecovisor
from ecovisor.adapters.platforms.process import cgroups, folders, keeper_client, platform, processes
from ecovisor.adapters.platforms.process.cgroups import GroupV1, GroupV2, Tree, below
from ecovisor.adapters.platforms.process.output import Output, tail, writing_end
from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.adapters.platforms.process.survey import survey
from ecovisor.model.errors import Refused, Unavailable
from ecovisor.ports.live import Command, ContainerRequest, ContainerState, ContainerStatus

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers as processes need Linux")

both = pytest.mark.parametrize(
    "mechanism",
    [pytest.param("cgroup-v1", marks=needs("cgroup-v1")), pytest.param("cgroup-v2", marks=needs("cgroup-v2")), "duty-cycle"],
)

#: As `both`, but with the duty cycle alone among the quick tests: what is claimed is the keeper's business, whoever caps.
each = pytest.mark.parametrize(
    "mechanism",
    [
        pytest.param("cgroup-v1", marks=[needs("cgroup-v1"), pytest.mark.slow]),
        pytest.param("cgroup-v2", marks=[needs("cgroup-v2"), pytest.mark.slow]),
        "duty-cycle",
    ],
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="separate users need root")


@contextlib.asynccontextmanager
async def opened(state: Path, mechanism: str = "duty-cycle", **options: Any) -> AsyncIterator[ProcessPlatform]:
    made = ProcessPlatform(state, mechanism=mechanism, **options)
    await made.open()
    try:
        yield made
    finally:
        await made.close(stop_containers=True)


async def start(made: ProcessPlatform, command: Command, container_id: str = "1", app: str = "web", cores: float = 0.3) -> None:
    await made.start(ContainerRequest(app, container_id, command, cores))


async def status(made: ProcessPlatform, container_id: str = "1", app: str = "web") -> ContainerStatus:
    (found,) = [one for one in await made.status() if (one.app, one.id) == (app, container_id)]
    return found


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(600):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that within 30 s")


async def said(made: ProcessPlatform, container_id: str = "1", app: str = "web", lines: int = 1) -> str:
    """What a container wrote, once it wrote so many lines."""

    async def there() -> bool:
        return (await made.logs(app, container_id)).count(b"\n") >= lines

    await until(there)
    return (await made.logs(app, container_id)).decode()


async def exited(made: ProcessPlatform, container_id: str = "1") -> ContainerStatus:
    async def ended() -> bool:
        return (await status(made, container_id)).state is ContainerState.EXITED

    await until(ended)
    return await status(made, container_id)


# -- what a container is given


def test_a_container_has_nothing_of_the_servers(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOVISOR_SECRET", "token")
    script = (
        "env; echo --; ls -l /proc/self/fd; echo --; cat /proc/self/status; echo --; "
        "cat /proc/self/limits; echo --; umask; nice; pwd; echo end"
    )

    async def scene() -> str:
        async with opened(state) as made:
            command = shell(script, GIVEN="by the operator", BOTH="operator")
            await made.start(ContainerRequest("web", "1", command, environment={"BOTH": "request"}))
            await exited(made)
            return (await made.logs("web", "1")).decode()

    groups = os.getgroups()
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT)]
    try:
        if os.geteuid() == 0:
            os.setgroups([4, 5])
        variables, descriptors, process, limits, rest = asyncio.run(scene()).split("--\n")
    finally:
        for number, handler in before:
            signal.signal(number, handler)
        if os.geteuid() == 0:
            os.setgroups(groups)
    folder = state / "apps" / "web" / "1"
    found = dict(line.split("=", 1) for line in variables.splitlines())
    found.pop("_", None)
    assert found == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": f"{folder}/work",
        "PWD": f"{folder}/work",
        "ECOVISOR_FOLDER": str(folder),
        "GIVEN": "by the operator",
        "BOTH": "request",
    }
    links = dict(re.findall(r" (\d+) -> (.*)", descriptors))
    assert links.pop("3").endswith("/fd"), "what `ls` itself has opened"
    assert links == {"0": "/dev/null", "1": f"{folder}/pipe", "2": f"{folder}/pipe"}
    facts = dict(line.split(":\t", 1) for line in process.splitlines())
    assert facts["NoNewPrivs"] == "1"
    ignored = {number for number in signal.valid_signals() if int(facts["SigIgn"], 16) >> (number - 1) & 1}
    assert not ignored, "Python ignores SIGPIPE, and `nohup` SIGHUP; programs do not expect that"
    assert int(facts["SigBlk"], 16) == 0
    if os.geteuid() == 0:
        assert len(set(facts["Uid"].split())) == 1
        assert facts["Uid"].split()[0] not in {"0", "65534"}
        assert facts["Gid"] == facts["Uid"]
        assert facts["Groups"].split() == []
        assert int(facts["CapEff"], 16) == 0
    assert rest.split() == ["0077", "0", f"{folder}/work", "end"]
    limit = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert limit["Max core file size"] == ["0", "0"]
    assert limit["Max realtime priority"] == ["0", "0"]
    assert limit["Max open files"][0] == "1024"
    assert os.geteuid() != 0 or limit["Max processes"] == ["4096", "4096"]


@pytest.fixture
def open_state() -> Iterator[Path]:
    """A state folder that every user can reach, as in production; temporary folders of tests are closed to others."""
    with tempfile.TemporaryDirectory(prefix="ecovisor-test-") as folder:
        Path(folder).chmod(0o755)
        with state_folder(Path(folder)) as made:
            yield made


@as_root
def test_apps_can_neither_read_nor_signal_each_other(open_state: Path) -> None:
    state = open_state

    async def scene() -> tuple[str, str]:
        async with opened(state) as made:
            await start(made, shell("echo secret > mine; echo $$; exec sleep 1000"), app="bank", cores=1.0)
            pid = int(await said(made, app="bank"))
            folder = state / "apps" / "bank" / "1"
            script = f"""
                for file in {folder}/work/mine {folder}/record.json {folder}/output {folder}/pipe {state}/users.json {state}/keeper/log
                do cat "$file"; done
                ls {folder}/work; ls {state}/apps; echo x > {folder}/work/yours; echo x > {folder}/yours
                kill -STOP {pid}; kill -KILL {pid}; cat /proc/{pid}/environ; echo done
            """
            await start(made, shell(script), app="thief", cores=1.0)
            await said(made, app="thief", lines=12)
            await asyncio.sleep(0.1)
            assert (await status(made, app="bank")).state is ContainerState.RUNNING
            users = made.user("bank"), made.user("thief")
            assert len({*users, os.geteuid(), None}) == 4
            return (await made.logs("thief", "1")).decode(), str((folder / "work" / "yours").exists())

    said_by_thief, written = asyncio.run(scene())
    assert "secret" not in said_by_thief
    assert len(re.findall(r"[Pp]ermission denied|not permitted", said_by_thief)) == 13, said_by_thief
    assert written == "False"


def test_users_stay_the_same_for_as_long_as_the_folder_lives(state: Path) -> None:
    async def users(*apps: str) -> list[int | None]:
        async with opened(state) as made:
            return [made.user(app) for app in apps]

    first = asyncio.run(users("a", "b"))
    again = asyncio.run(users("c", "b", "a"))
    if os.geteuid() == 0:
        assert again[1:] == [first[1], first[0]]
        assert len({*first, *again}) == 3
    else:
        assert {*first, *again} == {None}


# -- what cannot be started


IMPOSSIBLE = [
    (Command(["no-such-program"]), r"not found in PATH=/usr/local/sbin:.*; give its whole path"),
    (Command(["/no/such/program"]), r'command "/no/such/program": No such file'),
    (Command(["/etc/passwd"]), r'command "/etc/passwd": Permission denied'),
    (Command(["/tmp"]), r'command "/tmp": Permission denied'),
    (Command([]), "there is no command"),
    (Command([""]), "there is no command"),
    (Command(["sh"], directory="/no/such/folder"), r'directory "/no/such/folder": No such file'),
    (Command(["sh"], directory="/etc/passwd"), r'directory "/etc/passwd": Not a directory'),
    (Command(["sh", "a\0b"]), "character 0"),
    (Command(["sh"], environment={"A=B": "1"}), "cannot be the name of a variable"),
    (Command(["sh"], environment={"A": "1\0"}), "character 0"),
    (Command(["sh", "x" * 4_000_000]), "Argument list too long"),
]


@each
def test_a_command_that_cannot_run_is_refused_with_its_reason_and_leaves_nothing(state: Path, mechanism: str) -> None:
    async def scene() -> None:
        async with opened(state, mechanism) as made:
            for command, reason in IMPOSSIBLE:
                with pytest.raises(Refused, match=reason):
                    await start(made, command)
                assert list(await made.status()) == []
                assert list((state / "apps").iterdir()) == []
                assert groups_of(state) == []
            await start(made, QUIET)
            assert (await status(made)).state is ContainerState.RUNNING

    asyncio.run(scene())


def test_scripts_that_are_no_programs_are_refused(state: Path, tmp_path: Path) -> None:
    async def scene() -> None:
        folder = tmp_path / "programs"
        folder.mkdir()
        for name, text in (("bare", "echo"), ("lost", "#!/no/such/interpreter\n")):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        made = ProcessPlatform(state, mechanism="duty-cycle", uids=None)
        await made.open()
        try:
            with pytest.raises(Refused, match="it is no program, and has no first line"):
                await start(made, Command([str(folder / "bare")]))
            with pytest.raises(Refused, match="the interpreter that its first line names does not exist"):
                await start(made, Command([str(folder / "lost")]))
        finally:
            await made.close(stop_containers=True)

    asyncio.run(scene())


@as_root
def test_a_program_behind_a_closed_folder_is_refused_with_the_folder(state: Path, tmp_path: Path) -> None:
    async def scene() -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        (closed / "program").write_text("#!/bin/sh\n")
        (closed / "program").chmod(0o755)
        async with opened(state) as made:
            with pytest.raises(Refused, match=r"Permission denied for user \d+: /\S+ is closed to other users \(mode 700\)"):
                await start(made, Command([str(closed / "program")]))

    asyncio.run(scene())


def test_names_that_are_no_names_are_refused(state: Path) -> None:
    async def scene() -> None:
        async with opened(state) as made:
            for name in ("", ".", "..", "a/b", "../x", "-rf", ".hidden", "a b", "a\n", "é", "x" * 200):
                for app, container_id in ((name, "1"), ("web", name)):
                    with pytest.raises(Refused, match="name "):
                        await start(made, QUIET, container_id, app)
                    with pytest.raises(Refused, match="there is none of this name"):
                        await made.logs(app, container_id)
            assert list((state / "apps").iterdir()) == []

    asyncio.run(scene())


# -- what belongs to a container


DAEMON = "(setsid sh -c 'echo $$; while :; do :; done' &) ; exit 7"


@both
def test_what_becomes_a_daemon_is_metered_capped_and_stopped(state: Path, mechanism: str) -> None:
    async def scene() -> None:
        async with opened(state, mechanism) as made:
            await start(made, shell(DAEMON), cores=0.2)
            pid = int(await said(made))

            async def used() -> bool:
                return (await status(made)).cpu_s > 0.15

            await until(used)
            assert (await status(made)).state is ContainerState.RUNNING, "something of it runs"
            await made.suspend("web", "1")
            await asyncio.sleep(0.05)
            before_s = (await status(made)).cpu_s
            await asyncio.sleep(0.2)
            assert (await status(made)).cpu_s == pytest.approx(before_s, abs=1e-3)
            await made.stop("web", "1", grace_s=0.0)
            assert processes.stat(pid) is None

    asyncio.run(scene())


@each
def test_the_first_process_says_how_it_ended_also_when_another_ends_later(state: Path, mechanism: str) -> None:
    async def scene() -> None:
        async with opened(state, mechanism) as made:
            await start(made, shell("(setsid sh -c 'echo up; sleep 0.3' &) ; exit 7"))
            await said(made)
            assert (await status(made)).exit_code is None
            assert (await exited(made)).exit_code == 7

    asyncio.run(scene())


@each
def test_ended_children_stay_counted(state: Path, mechanism: str) -> None:
    """200 short children, each waited for; the container's own `times` says what they used."""

    async def scene() -> None:
        async with opened(state, mechanism) as made:
            script = "k=0; while [ $k -lt 60 ]; do sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; k=$((k+1)); done; times"
            await start(made, shell(script), cores=2.0)
            final = await exited(made)
            lines = (await made.logs("web", "1")).decode().split("\n")
            minutes = [part for line in lines[:2] for part in re.findall(r"(\d+)m([\d.]+)s", line)]
            own_s = sum(60.0 * int(m) + float(s) for m, s in minutes)
            assert final.cpu_s == pytest.approx(own_s, rel=0.1, abs=0.03)

    asyncio.run(scene())


@each
def test_nothing_is_left_of_a_container_with_many_processes(state: Path, mechanism: str) -> None:
    async def scene() -> None:
        async with opened(state, mechanism) as made:
            await start(
                made, shell("trap '' TERM; for k in 1 2 3 4 5 6 7 8; do (setsid sleep 1000 &); sleep 1000 & done; echo up; wait")
            )
            await said(made)

            async def all_there() -> bool:
                return len([line for line in belonging(state).values() if line.startswith("sleep")]) == 16

            await until(all_there)
            await made.stop("web", "1", grace_s=0.1)
            assert [line for line in belonging(state).values() if "keeper" not in line] == []
            assert list((state / "apps").iterdir()) == []
            assert list((state / "trash").iterdir()) == []

    asyncio.run(scene())


# -- the server ends, the keeper ends


SERVER = """
import asyncio, os, signal, sys
from pathlib import Path
from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.ports.live import Command, ContainerRequest

async def main():
    made = ProcessPlatform(Path(sys.argv[1]), mechanism=sys.argv[2])
    await made.open()
    for k, script in enumerate(sys.argv[3:]):
        await made.start(ContainerRequest("web", str(k), Command(["/bin/sh", "-c", script]), 0.2))
    await made.suspend("web", "1")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def killed_server(state: Path, mechanism: str, *scripts: str) -> None:
    """A server that starts containers, suspends the second, and is killed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(ecovisor.__file__).parents[1])}
    command = [sys.executable, "-c", SERVER, str(state), mechanism, *scripts]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


BUSY_SCRIPT = "while :; do :; done"


@each
def test_containers_outlive_a_killed_server_under_their_limits(state: Path, mechanism: str) -> None:
    killed_server(state, mechanism, BUSY_SCRIPT, BUSY_SCRIPT, "sleep 0.2; exit 5")

    async def scene() -> None:
        async with opened(state, mechanism) as made:
            first, second = await status(made, "0"), await status(made, "1")
            assert (first.state, first.cores_limit) == (ContainerState.RUNNING, 0.2)
            assert (second.state, second.cores_limit) == (ContainerState.SUSPENDED, 0.2)
            assert (await exited(made, "2")).exit_code == 5, "the keeper saw it"
            began_s, before_s = time.monotonic(), (await status(made, "0")).cpu_s
            await asyncio.sleep(1.0)
            used_s = (await status(made, "0")).cpu_s - before_s
            assert 0.0 < used_s <= 0.2 * (time.monotonic() - began_s) + 0.03
            assert (await status(made, "1")).cpu_s == pytest.approx(second.cpu_s, abs=1e-3)
            await made.resume("web", "1")

            async def goes_on() -> bool:
                return (await status(made, "1")).cpu_s > second.cpu_s + 0.01

            await until(goes_on)
            with pytest.raises(Refused, match="there is one already, which runs"):
                await start(made, QUIET, "0")

    asyncio.run(scene())


@both
def test_containers_outlive_a_killed_server_and_a_killed_keeper(state: Path, mechanism: str) -> None:
    killed_server(state, mechanism, BUSY_SCRIPT, BUSY_SCRIPT, "while [ ! -e go ]; do sleep 0.05; done; exit 5", "exit 6")
    record = folders.locate(state, "web", "3").record
    for _ in range(600):
        if json.loads(record.read_text())["ended"]:
            break
        time.sleep(0.05)
    os.kill(keeper_pid(state), signal.SIGKILL)
    (folders.locate(state, "web", "2").work / "go").touch()

    async def scene() -> None:
        async with opened(state, mechanism) as made:
            first, second = await status(made, "0"), await status(made, "1")
            assert (first.state, first.cores_limit) == (ContainerState.RUNNING, 0.2)
            assert (second.state, second.cores_limit) == (ContainerState.SUSPENDED, 0.2)
            assert (await exited(made, "2")).exit_code is None, "nobody was there to see it"
            assert (await exited(made, "3")).exit_code == 6, "this end was written down"
            began_s, before_s = time.monotonic(), (await status(made, "0")).cpu_s
            await asyncio.sleep(1.0)
            used_s = (await status(made, "0")).cpu_s - before_s
            assert 0.0 < used_s <= 0.2 * (time.monotonic() - began_s) + 0.03
            await made.resume("web", "1")

            async def goes_on() -> bool:
                return (await status(made, "1")).cpu_s > second.cpu_s + 0.01

            await until(goes_on)

    asyncio.run(scene())


@each
def test_a_keeper_that_is_killed_is_replaced(state: Path, mechanism: str) -> None:
    async def scene() -> None:
        async with opened(state, mechanism) as made:
            await start(made, shell("echo one; read x < /proc/self/fd/0; while :; do echo more; sleep 0.05; done"), cores=0.1)
            await said(made)
            pid = keeper_pid(state)
            os.kill(pid, signal.SIGKILL)

            async def answers() -> bool:
                with contextlib.suppress(Unavailable):
                    return (await status(made)).state is ContainerState.RUNNING
                return False

            await until(answers)
            assert keeper_pid(state) != pid
            assert (await status(made)).cores_limit == pytest.approx(0.1)
            lines = (await made.logs("web", "1")).count(b"\n")
            await said(made, lines=lines + 5)

    asyncio.run(scene())


def test_a_recycled_process_number_is_not_taken_for_ours(state: Path) -> None:
    killed_server(state, "duty-cycle", "sleep 1000", "sleep 1000")
    os.kill(keeper_pid(state), signal.SIGKILL)
    for pid in belonging(state):
        os.kill(pid, signal.SIGKILL)
    other = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
    try:
        for container_id in ("0", "1"):
            file = state / "apps" / "web" / container_id / "record.json"
            record = json.loads(file.read_text())
            file.write_text(json.dumps({**record, "pid": other.pid}))

        async def scene() -> None:
            async with opened(state) as made:
                assert [(one.state, one.exit_code) for one in await made.status()] == [(ContainerState.EXITED, None)] * 2

        asyncio.run(scene())
        assert other.poll() is None, "it was never ours"
    finally:
        other.kill()
        other.wait()


def test_records_of_before_a_reboot_have_ended(state: Path) -> None:
    """Even if a process of today has the same number and was started as long after the start of the machine."""
    killed_server(state, "duty-cycle", "sleep 1000", "sleep 1000")
    os.kill(keeper_pid(state), signal.SIGKILL)
    for file in state.glob("apps/*/*/record.json"):
        record = json.loads(file.read_text())
        file.write_text(json.dumps({**record, "boot": "another"}))

    async def scene() -> None:
        async with opened(state) as made:
            assert {one.state for one in await made.status()} == {ContainerState.EXITED}

    try:
        asyncio.run(scene())
        others = [pid for pid, line in belonging(state).items() if "keeper" not in line]
        assert len(others) >= 2, "they are not ours to end"
    finally:
        for pid in belonging(state):
            os.kill(pid, signal.SIGKILL)


def test_records_of_other_versions_and_damaged_ones(state: Path) -> None:
    killed_server(state, "duty-cycle", BUSY_SCRIPT, BUSY_SCRIPT, "sleep 1000")
    os.kill(keeper_pid(state), signal.SIGKILL)
    newer = folders.locate(state, "web", "0").record
    newer.write_text(json.dumps({**json.loads(newer.read_text()), "invented_later": 1}))
    folders.locate(state, "web", "1").record.write_text("{")
    strange = folders.locate(state, "web", "2").record
    strange.write_text(json.dumps({**json.loads(strange.read_text()), "started": None}))
    (state / "apps" / "stray").write_text("x")
    (state / "apps" / "web" / "stray").write_text("x")

    async def scene() -> None:
        async with opened(state) as made:
            assert {one.id: one.state for one in await made.status()} == {"0": ContainerState.RUNNING}
            await made.stop("web", "0", grace_s=0.0)
            assert [line for line in belonging(state).values() if "keeper" not in line] == [], "what no record knows was ended"
        (state / "apps" / "web" / "stray").unlink()

    asyncio.run(scene())


@each
def test_what_was_about_to_start_leaves_nothing(state: Path, mechanism: str) -> None:
    """A keeper that is killed between making a folder and writing the record."""

    async def scene() -> None:
        async with opened(state, mechanism) as made:
            folder = folders.locate(state, "web", "1")
            folders.make(folder, None, None)
            caught = subprocess.Popen(["/bin/sleep", "1000"])
            parents = survey(made.group_name, mechanism).parents
            if parents:
                cgroups.prepare(Tree(), mechanism, parents)
                paths = below(parents, "web:1")
                group = GroupV2(Tree(), paths["cpu"], 1.0) if mechanism == "cgroup-v2" else GroupV1(Tree(), paths, 1.0)
                for file in group.joins:
                    Tree().write(file, str(caught.pid))
            os.kill(keeper_pid(state), signal.SIGKILL)

            async def answers() -> bool:
                with contextlib.suppress(Unavailable):
                    return list(await made.status()) == []
                return False

            await until(answers)
            assert not folder.path.exists()
            assert groups_of(state) == []
            if not parents:
                caught.kill()
            assert caught.wait() == -signal.SIGKILL
            await start(made, QUIET)

    asyncio.run(scene())


@both
def test_a_keeper_ends_when_nothing_needs_it(state: Path, mechanism: str) -> None:
    async def scene() -> None:
        made = ProcessPlatform(state, mechanism=mechanism)
        await made.open()
        await start(made, shell("exit 0"))
        await exited(made)
        await made.close(stop_containers=False)

        async def gone() -> bool:
            return belonging(state) == {} and groups_of(state) == []

        await until(gone)
        async with opened(state, mechanism) as again:
            assert (await status(again)).exit_code == 0

    asyncio.run(scene())


def test_a_keeper_that_should_do_something_else_is_replaced(state: Path) -> None:
    async def scene() -> None:
        made = ProcessPlatform(state, mechanism="duty-cycle", log_bytes=1000)
        await made.open()
        await start(made, BUSY, cores=0.1)
        before = keeper_pid(state)
        await made.close(stop_containers=False)
        async with opened(state, log_bytes=2000) as again:
            assert keeper_pid(state) != before
            assert (await status(again)).state is ContainerState.RUNNING

    asyncio.run(scene())


def test_two_servers_do_not_share_a_folder(state: Path) -> None:
    async def scene() -> None:
        async with opened(state):
            with pytest.raises(Refused, match="another server runs its containers"):
                await ProcessPlatform(state, mechanism="duty-cycle").open()

    asyncio.run(scene())


def test_a_keeper_that_does_not_answer_is_unavailable_in_time(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with opened(state) as made:
            await start(made, QUIET)
            pid = keeper_pid(state)
            monkeypatch.setattr(platform, "_DEADLINE_S", 0.2)
            os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(Unavailable, match=r"did not answer `status` within 0\.2 s"):
                    await made.status()
            finally:
                os.kill(pid, signal.SIGCONT)
            monkeypatch.setattr(platform, "_DEADLINE_S", 5.0)
            assert (await status(made)).state is ContainerState.RUNNING

    asyncio.run(scene())


def test_a_keeper_that_cannot_be_started_says_why(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1, b"", b"Traceback\nModuleNotFoundError: No module named 'json'\n")

    monkeypatch.setattr(keeper_client, "_run", broken)
    with pytest.raises(Unavailable, match="cannot be started: ModuleNotFoundError: No module named 'json'"):
        asyncio.run(ProcessPlatform(state, mechanism="duty-cycle").open())


def test_a_platform_that_is_not_open_says_so(state: Path) -> None:
    made = ProcessPlatform(state)
    with pytest.raises(Unavailable, match="not open"):
        asyncio.run(made.status())
    asyncio.run(made.close(stop_containers=True))


# -- output


def test_output_is_bounded_and_its_end_is_kept(state: Path) -> None:
    async def scene() -> None:
        async with opened(state, log_bytes=100_000) as made:
            # 3 MB in all
            await start(made, shell("yes 0123456789 | head -c 3000000; echo; echo the end"), cores=2.0)
            await exited(made)
            folder = folders.locate(state, "web", "1")
            sizes = [path.stat().st_size for path in (folder.output, folder.older_output)]
            assert sum(sizes) <= 100_000
            last = await made.logs("web", "1", max_bytes=100_000)
            assert len(last) >= 50_000
            assert last.endswith(b"\nthe end\n")
            assert await made.logs("web", "1", max_bytes=8) == b"the end\n"

    asyncio.run(scene())


def test_a_program_may_open_its_output_anew(state: Path) -> None:
    async def scene() -> None:
        async with opened(state) as made:
            await start(made, shell("echo anew > /dev/stdout; echo err > /dev/stderr"))
            assert (await exited(made)).exit_code == 0
            assert await made.logs("web", "1") == b"anew\nerr\n"

    asyncio.run(scene())


def test_a_full_disk_loses_output_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folders.Folder(tmp_path)
    os.mkfifo(folder.pipe)
    output = Output(folder, 1000)
    end = writing_end(folder)
    write = os.write
    try:
        os.write(end, b"before\n")
        output.pump()

        def full(descriptor: int, data: bytes) -> int:
            if descriptor == end:
                return write(descriptor, data)
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            os.write(end, b"lost\n")
            assert output.pump() == 5
        os.write(end, b"after\n")
        output.finish()
    finally:
        os.close(end)
    assert tail(folder, 100) == b"before\nafter\n"


# -- what is left on disk


def test_the_trash_takes_whatever_a_container_leaves(tmp_path: Path) -> None:
    root = tmp_path / "state"
    folders.prepare(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    folder = folders.locate(root, "web", "1")
    folders.make(folder, None, None)
    descriptor = os.open(folder.work, os.O_RDONLY)
    for _ in range(1050):  # far deeper than recursion or a path may be
        os.mkdir("deep", dir_fd=descriptor)
        below = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    (folder.work / "link").symlink_to(outside)
    (folder.work / "dangling").symlink_to("/no/such/file")
    (folder.work / "closed").mkdir(mode=0o000)
    (folder.work / "file").write_text("x")
    try:
        folders.discard(root, folder)
        assert list((root / "apps").iterdir()) == []
        folders.empty_trash(root)
        assert list((root / "trash").iterdir()) == []
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True)  # a depth that the clean-up of temporary folders does not survive
    assert (outside / "precious").read_text() == "x"


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o777])
def test_a_folder_that_users_cannot_pass_is_named(tmp_path: Path, mode: int) -> None:
    above = tmp_path / "above"
    above.mkdir()
    above.chmod(mode)
    notes = ProcessPlatform(above / "state", mechanism="duty-cycle").isolation().notes
    closed = [note for note in notes if "closed to other users" in note]
    if os.geteuid() == 0:
        assert len(closed) == 1 or (mode != 0o700 and closed == [])


# -- without root


@as_root
def test_without_root_it_says_that_there_is_no_isolation_and_still_caps(tmp_path: Path) -> None:
    """The same program as another user; a Python that everybody can run is needed for it."""
    python = next((name for name in (sys.executable, "/usr/bin/python3") if everybody_runs(name)), None)
    if python is None:
        pytest.skip("no Python that another user could run")
    source = Path(ecovisor.__file__).parents[1]
    if not all(folder.stat().st_mode & 0o001 for folder in [source, *source.parents]):
        pytest.skip("another user cannot read our source")
    folder = Path(os.path.realpath(os.environ.get("TMPDIR", "/tmp"))) / f"ecovisor-test-{os.getpid()}"
    folder.mkdir()
    try:
        os.chown(folder, 65534, 65534)
        script = UNPRIVILEGED.format(folder=folder / "state")
        done = subprocess.run(
            [python, "-c", script], env={"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}, user=65534, group=65534,
            extra_groups=[], cwd="/", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)
    assert found["mechanism"] == "duty-cycle"
    assert found["separate"] is False
    assert any("not root" in note and "no isolation: all apps' containers run as user" in note for note in found["notes"])
    assert any("no control groups" in note for note in found["notes"])
    assert any(note.startswith(("no cgroup-v1: ", "no cgroup-v2: ")) for note in found["notes"])
    assert found["uid"] == "65534"
    assert 0.0 < found["used_s"] <= 0.1 * found["wall_s"] + 0.03


UNPRIVILEGED = """
import asyncio, json, time
from pathlib import Path
from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.ports.live import Command, ContainerRequest

async def main():
    made = ProcessPlatform(Path("{folder}"))
    await made.open()
    try:
        began = time.monotonic()
        await made.start(ContainerRequest("web", "1", Command(["/bin/sh", "-c", "id -u; while :; do :; done"]), 0.1))
        await asyncio.sleep(1.5)
        (one,) = await made.status()
        wall = time.monotonic() - began
        uid = (await made.logs("web", "1")).decode().strip()
        how = made.isolation()
    finally:
        await made.close(stop_containers=True)
    found = dict(mechanism=how.cap_mechanism, separate=how.separate_users, notes=how.notes)
    print(json.dumps(dict(**found, uid=uid, used_s=one.cpu_s, wall_s=wall)))

asyncio.run(main())
"""


def everybody_runs(program: str) -> bool:
    whole = Path(program).resolve()
    return whole.exists() and all(part.stat().st_mode & 0o001 for part in [whole, *whole.parents])


# -- what stays light


def test_the_keeper_loads_nothing_but_the_standard_library() -> None:
    script = "import sys, ecovisor.adapters.platforms.process.keeper; print(*sys.modules)"
    environment = {"PYTHONPATH": str(Path(ecovisor.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-s", "-S", "-P", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) <= {"ecovisor", "__main__"}
    assert "asyncio" not in loaded


@both
def test_a_suspended_container_hears_that_it_is_to_end(state: Path, mechanism: str) -> None:
    async def scene() -> None:
        async with opened(state, mechanism) as made:
            await start(made, shell("trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"))
            await said(made)
            await made.suspend("web", "1")
            async with asyncio.timeout(20.0):
                await made.stop("web", "1", grace_s=60.0)

    asyncio.run(scene())


def test_what_a_container_used_since_anybody_looked_is_counted_at_its_end(state: Path) -> None:
    async def scene() -> None:
        async with opened(state) as made:
            await start(made, shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; times"), cores=100.0)
            record = folders.locate(state, "web", "1").record

            async def ended() -> bool:
                return bool(json.loads(record.read_text())["ended"])

            await until(ended)
            found = re.findall(r"(\d+)m([\d.]+)s", (await made.logs("web", "1")).decode())
            own_s = sum(60.0 * int(minutes) + float(seconds) for minutes, seconds in found)
            assert own_s > 0.05
            assert (await status(made)).cpu_s == pytest.approx(own_s, rel=0.1, abs=0.02)

    asyncio.run(scene())


def test_stubborn_containers_end_after_their_grace(state: Path) -> None:
    async def scene() -> None:
        async with opened(state) as made:
            await start(made, shell("trap '' TERM; echo up; while :; do sleep 1; done"))
            await said(made)
            began_s = time.monotonic()
            await made.stop("web", "1", grace_s=0.3)
            assert time.monotonic() - began_s >= 0.3, "it was given its grace"
            assert list(await made.status()) == []

    asyncio.run(scene())

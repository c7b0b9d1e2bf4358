"""A disk that is full, read-only or damaged under the whole server: nothing is told that is not kept, and it goes on where it can."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos import checking
from tests.chaos.running import Folder, Server

MOST_WAITING = 4
SHORT_QUEUE = f"import ecovisor.live.recording as recording; recording.QUEUE_TICKS = {MOST_WAITING}"


@contextlib.contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of the process grows beyond its first page any more."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


def test_on_a_full_disk_nothing_is_told_and_the_battery_rests_until_there_is_space(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        with Server(folder, prelude=SHORT_QUEUE) as server:
            server.ready().wait_for_tick(2)
            begin = checking.standing(folder.state_dir / "ledger").baseline
            assert begin is not None
            with server.client("stored") as stored, full_disk(server.pid):
                before = stored.get("/v1/energy").json()["battery"]
                server.wait_until(lambda: not server.readiness().ok)
                reasons = server.readiness().reasons
                assert len(reasons) == 1
                assert "ticks wait for the ledger" in reasons[0]
                assert "disk" in reasons[0]
                site, steps = server.site(), checking.steps(folder.state_dir / "ledger")
                assert steps[-1].tick == site.tick - 1, "what is published is on the disk"
                server.wait_until(lambda: rests(folder))
                refused = stored.patch("/v1/battery", json={"max_discharge_w": 1.25})
                assert refused.status_code == 503
                assert server.site().tick == site.tick, "no tick is published meanwhile"
                assert checking.steps(folder.state_dir / "ledger") == steps
                assert not server.site().apps[0].stale, "what can be seen is looked at"
            server.wait_until(lambda: server.readiness().ok)
            server.wait_for_tick(site.tick + MOST_WAITING + 2)
            with server.client("stored") as stored:
                now = stored.get("/v1/energy").json()["battery"]
                assert now["max_discharge_w"] == before["max_discharge_w"] != 1.25, "what could not be kept was not done"
                assert stored.patch("/v1/battery", json={"charge_rate_w": 0.5}).status_code == 200
            found = checking.steps(folder.state_dir / "ledger")
            checking.time_is_whole(found)
            assert len([one for one in found if one.kind == "gap"]) == 1
            assert len(server.told("gap")) == 1
            assert [line for line in server.errors if "again" in line], "the log says that it works again"
            server.kill()
        with Server(folder) as server:
            server.ready()
            end = checking.standing(folder.state_dir / "ledger").baseline
            assert end is not None
            assert server.stop() == 0
        found = checking.steps(folder.state_dir / "ledger")
        checking.no_energy_is_negative(found)
        checking.rows_are_the_meters(found, begin, end)


def rests(folder: Folder) -> bool:
    """Whether the battery neither charges nor discharges, over a tick."""
    before = folder.plant()
    time.sleep(folder.tick_wall_s)
    after = folder.plant()
    return (after.charge_wh, after.discharge_wh) == (before.charge_wh, before.discharge_wh)


@pytest.mark.slow
def test_a_full_disk_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        with Server(folder, prelude=SHORT_QUEUE) as server:
            server.ready().wait_for_tick(1)
            with full_disk(server.pid):
                server.wait_until(lambda: not server.readiness().ok)
                tick = server.site().tick
                assert server.stop() == 0
                assert [line for line in server.errors if "did not take" in line]
        assert checking.steps(folder.state_dir / "ledger")[-1].tick == tick - 1, "the last good state"
        with Server(folder) as server:
            server.ready().wait_for_tick(tick + 1)
            assert server.stop() == 0
        found = checking.steps(folder.state_dir / "ledger")
        checking.time_is_whole(found)
        assert len([one for one in found if one.kind == "gap"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("plant", ["runs", "gone"])
def test_a_server_that_does_not_start_on_a_full_disk_leaves_containers_running(tmp_path: Path, plant: str) -> None:
    def no_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    with Folder(tmp_path) as folder:
        with Server(folder) as server:
            server.ready().wait_for_tick(2)
            before = folder.records()
            server.kill()
        if plant == "gone":
            os.kill(folder.plant_pid(), signal.SIGKILL)
        with Server(folder, preexec_fn=no_space) as server:
            assert server.ended() == 2
            assert len(server.errors) == 1
            assert str(folder.state_dir) in server.errors[0]
        with Server(folder) as server:
            server.ready().wait_for_tick(server.site().tick + 2)
            assert {key: one.pid for key, one in folder.records().items()} == {key: one.pid for key, one in before.items()}
            assert server.stop() == 0
        checking.time_is_whole(checking.steps(folder.state_dir / "ledger"))


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Nobody can write there."""
    if os.geteuid() != 0:
        modes = {one: one.stat().st_mode for one in (path, *path.rglob("*")) if not one.is_symlink()}
        for one, mode in modes.items():
            one.chmod(mode & ~0o222)
        try:
            yield
        finally:
            for one, mode in modes.items():
                one.chmod(mode)
        return
    if subprocess.run(["mount", "--bind", path, path], capture_output=True, check=False).returncode != 0:
        pytest.skip("root writes everywhere, and may not mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", path], check=True)
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.parametrize("fresh", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_read_only_state_directory_is_one_line_and_status_2(tmp_path: Path, fresh: bool) -> None:
    with Folder(tmp_path) as folder:
        if not fresh:
            with Server(folder) as server:
                server.ready()
                assert server.stop() == 0
            os.kill(folder.plant_pid(), signal.SIGKILL)
        with read_only(folder.path), Server(folder) as server:
            assert server.ended() == 2
            assert server.lines == []
            assert len(server.errors) == 1
            assert server.errors[0].startswith("error: ")
            assert str(folder.state_dir) in server.errors[0]
        folder.left_alone()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["ledger", "plant", "containers", "sockets"])
def test_a_file_where_a_part_s_folder_should_be_is_one_line_and_status_2(tmp_path: Path, part: str) -> None:
    with Folder(tmp_path) as folder:
        folder.state_dir.mkdir()
        (folder.state_dir / part).write_text("in the way")
        with Server(folder) as server:
            assert server.ended() == 2
            assert server.lines == []
            assert len(server.errors) == 1
            assert part in server.errors[0]
        folder.left_alone()


def run(*arguments: str) -> None:
    """A command that succeeds."""
    subprocess.run([sys.executable, "-m", "ecovisor", *arguments], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_damaged_tail_is_told_in_one_line_and_a_backup_goes_on(tmp_path: Path, damage: str) -> None:
    with Folder(tmp_path) as folder:
        ledger_dir, backup = folder.state_dir / "ledger", tmp_path / "backup.sqlite"
        with Server(folder) as server:
            server.ready().wait_for_tick(3)
            begin = checking.standing(ledger_dir).baseline
            assert begin is not None
            run("backup", "--state", str(folder.state_dir), "--to", str(backup))
            kept = checking.steps(ledger_dir)
            server.wait_for_tick(server.site().tick + 2)
            assert server.stop() == 0
        file = ledger_dir / "ledger.sqlite"
        size = file.stat().st_size
        with file.open("r+b") as ledger:
            if damage == "cut":
                ledger.truncate(size - 8192)
            else:
                ledger.seek(size - 8192)
                ledger.write(os.urandom(8192))
        with Server(folder) as server:
            assert server.ended() == 2
            assert len(server.errors) == 1
            assert "ecovisor restore" in server.errors[0]
        run("restore", str(backup), "--state", str(folder.state_dir), "--overwrite")
        with Server(folder) as server:
            server.ready().wait_for_tick(len(kept) + 1)
            end = checking.standing(ledger_dir).baseline
            assert end is not None
            assert server.stop() == 0
        found = checking.steps(ledger_dir)
        checking.time_is_whole(found)
        assert found[len(kept)].kind in ("tick", "gap")
        checking.rows_are_the_meters(found, begin, end)

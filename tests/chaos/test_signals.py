"""Signals, closed terminals, places that are taken: the server ends in order, or says in one line why it does not start."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import termios
from pathlib import Path

import pytest
from tests.chaos import checking
from tests.chaos.running import Folder, Server


def ended_in_order(folder: Folder, ticks: int) -> None:
    """All ticks are there, nothing but the plant runs on."""
    found = checking.steps(folder.state_dir / "ledger")
    checking.time_is_whole(found)
    assert sum(one.tick is not None for one in found) >= ticks
    assert set(folder.processes()) <= {folder.plant_pid()}


@pytest.mark.parametrize(
    "numbers",
    [
        (signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        pytest.param((signal.SIGTERM,), marks=pytest.mark.slow),
        pytest.param((signal.SIGINT, signal.SIGINT), marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_server_in_order_and_more_of_them_change_nothing(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    with Folder(tmp_path) as folder, Server(folder) as server:
        server.ready().wait_for_tick(2)
        for number in numbers:
            server.process.send_signal(number)
        assert server.ended() == 0
        assert server.errors == []
        ended_in_order(folder, 2)


@pytest.mark.slow
def test_a_signal_while_it_starts_ends_it_without_a_word(tmp_path: Path) -> None:
    with Folder(tmp_path, tick_wall_s=60.0) as folder:
        for number in (signal.SIGINT, signal.SIGTERM):
            with Server(folder) as server:  # it waits for the beginning of a tick
                server.wait_until(lambda: folder.listens())
                assert server.stop(number) == 128 + number
                assert server.errors == []
            folder.left_alone()  # a keeper that nobody spoke to waits for a while


def test_a_file_is_read_again_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder, Server(folder) as server:
        server.ready().wait_for_tick(1)
        good = folder.file.read_text()
        before = server.shares()
        for bad in (
            good.replace("share = 0.2", "share = twenty"),
            good.replace("share = 0.2", "share = 0.9"),
            good.replace('commands = ["bursts"]\ncores = 0.25\nwork', 'commands = ["none"]\ncores = 0.25\nwork'),
        ):
            assert bad != good
            folder.file.write_text(bad)
            told = len(server.errors)
            server.process.send_signal(signal.SIGHUP)
            server.wait_until(lambda told=told: len(server.errors) > told)  # type: ignore[misc]
            assert len(server.errors) == told + 1, "one line"
            assert "the site goes on as it was" in server.errors[-1]
            assert server.shares() == before
        folder.file.write_text(good.replace("share = 0.2", "share = 0.1").replace("overhead_w = 1.0", "overhead_w = 2.0"))
        for _ in range(3):
            server.process.send_signal(signal.SIGHUP)
        assert server.said("apps.remote.share").endswith("0.2 → 0.1")
        assert server.said("site.overhead_w").endswith("1.0 → 2.0 (waits for a restart)")
        assert server.wait_for(lambda: server.shares()["remote"] == 0.1 or None)
        folder.file.write_text(good)
        server.process.send_signal(signal.SIGHUP)
        server.wait_until(lambda: server.shares() == before)
        assert server.stop() == 0


@pytest.mark.slow
def test_closing_the_terminal_ends_the_server_in_order(tmp_path: Path) -> None:
    master, terminal = os.openpty()

    def own_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with Folder(tmp_path) as folder:
        with Server(folder, stdin=terminal, stdout=terminal, stderr=terminal, preexec_fn=own_terminal) as server:
            os.close(terminal)
            server.wait_until(lambda: folder.listens())
            server.wait_for_tick(2)
            os.read(master, 65536)
            os.close(master)
            assert server.ended() == 0
        ended_in_order(folder, 2)


def test_a_second_server_on_the_same_state_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder, Server(folder) as server:
        server.ready()
        with Server(folder) as second:
            assert second.ended() == 2
            assert len(second.errors) == 1
            assert f"pid {server.pid}" in second.errors[0].replace("         ", " ").replace("  ", " ")
        server.wait_for_tick(server.site().tick + 1)
        assert server.stop() == 0


def test_a_taken_port_is_one_clear_line_and_nothing_is_left_running(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Folder(tmp_path) as folder:
        port = taken.getsockname()[1]
        with Server(folder, arguments=["--set", f"server.listen=127.0.0.1:{port}"]) as server:
            assert server.ended() == 2
            assert server.lines == []
            assert len(server.errors) == 1
            assert f"127.0.0.1:{port}" in server.errors[0]
        folder.left_alone()

"""Parts of the keeper on their own: its loop, its messages, and what it does when something of its own fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ecovisor
from ecovisor.adapters.platforms.process import care, folders
from ecovisor.adapters.platforms.process.care import Care
from ecovisor.adapters.platforms.process.containers import Container, new_record
from ecovisor.adapters.platforms.process.loop import Loop
from ecovisor.adapters.platforms.process.protocol import Unframing, framed, peer_pid, short_path
from ecovisor.adapters.platforms.process.sessions import Session

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

texts = st.text(st.characters(codec="utf-8"), max_size=20)
messages = st.lists(
    st.dictionaries(texts, st.one_of(texts, st.integers(), st.none(), st.lists(texts, max_size=3)), max_size=4), max_size=6
)


@given(messages, st.lists(st.integers(1, 40), min_size=1, max_size=50))
def test_messages_arrive_whole_however_they_are_cut(sent: list[dict[str, object]], cuts: list[int]) -> None:
    data = b"".join(map(framed, sent))
    receiving, arrived, place = Unframing(), [], 0
    for k in range(len(data)):
        piece = data[place : place + cuts[k % len(cuts)]]
        place += len(piece)
        arrived += receiving.feed(piece)
    assert arrived == sent


def test_a_socket_may_lie_as_deep_as_it_likes(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as calling:
        with short_path(folder, "socket") as path:
            listening.bind(path)
        listening.listen()
        with short_path(folder, "socket") as path:
            calling.connect(path)
        assert peer_pid(calling) == os.getpid()
    assert (folder / "socket").exists()


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_timers_are_called_in_order_and_not_when_cancelled(loop: Loop) -> None:
    called: list[str] = []
    loop.after(0.02, lambda: called.append("third"))
    loop.after(0.0, lambda: called.append("first"))
    loop.after(0.01, lambda: called.append("never")).cancel()
    loop.after(0.01, lambda: called.append("second"))
    loop.after(0.03, lambda: setattr(loop, "running", False))
    loop.run()
    assert called == ["first", "second", "third"]


def test_what_fails_in_the_loop_is_told_and_ends_nothing_else(loop: Loop, capfd: pytest.CaptureFixture[str]) -> None:
    receiving, sending = socket.socketpair()
    heard: list[bytes] = []

    def fail() -> None:
        raise ZeroDivisionError("in a timer")

    def hear() -> None:
        heard.append(receiving.recv(4))
        loop.running = len(heard) < 2
        raise ZeroDivisionError("in a callback")

    def say() -> None:
        sending.send(b"word")

    with receiving, sending:
        loop.watch(receiving.fileno(), hear)
        for delay_s, callback in ((0.0, fail), (0.0, say), (0.01, say)):
            loop.after(delay_s, callback)
        loop.run()
        loop.forget(receiving.fileno())
    assert heard == [b"word", b"word"]
    assert capfd.readouterr().err.count("ZeroDivisionError: in a callback") == 2


def test_a_step_of_the_duty_cycle_that_fails_is_taken_again(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A container that was left stopped because of it would be stopped for good."""
    monkeypatch.setattr(care, "_LOOK_S", 0.01)
    process = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
    try:
        session = Session(process.pid, cpus=2)
        session.limit(0.5)
        looking_after = Care(loop, tmp_path, 1.0, 1000)
        container = Container(new_record("web", "1", "duty-cycle", {}), folders.locate(tmp_path, "web", "1"), session, None)
        container.record.pid = process.pid
        looking_after.containers[container.key] = container
        step, calls = session.step, []

        def sometimes(now_s: float) -> float | None:
            calls.append(now_s)
            if len(calls) == 2:
                raise OSError(24, "Too many open files")
            loop.running = len(calls) < 5
            return step(now_s)

        monkeypatch.setattr(Session, "step", lambda _, now_s: sometimes(now_s))
        looking_after.attend(container)
        looking_after.look_around()
        loop.after(20.0, lambda: setattr(loop, "running", False))
        loop.run()
        assert len(calls) == 5
        assert "Too many open files" in capfd.readouterr().err
        assert container.watch is not None
        os.close(container.watch)
    finally:
        process.kill()
        process.wait()
        session.remove()


UNSPOKEN = """
import os, sys
from pathlib import Path
from ecovisor.adapters.platforms.process.spawn import Launch, spawn
folder = Path(sys.argv[1])
launch = Launch(["touch", "ran"], {"PATH": "/usr/bin:/bin"}, folder, None, None, None, (), os.open("/dev/null", os.O_RDWR))
child = spawn(launch)
if sys.argv[2] == "spoken":
    os.write(child.word, b"!")
os.close(child.word)
print(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]), (folder / "ran").exists(), os.read(child.problem, 100))
"""


@pytest.mark.parametrize(("word", "said"), [("spoken", "0 True b''"), ("unspoken", "0 False b''")])
def test_a_child_runs_only_when_it_is_told_to(tmp_path: Path, word: str, said: str) -> None:
    """A keeper that is killed before it wrote down who its child is leaves nothing that runs."""
    environment = {"PYTHONPATH": str(Path(ecovisor.__file__).parents[1])}
    command = [sys.executable, "-c", UNSPOKEN, str(tmp_path), word]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == said

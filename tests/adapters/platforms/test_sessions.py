"""Sessions of real processes without control groups: who belongs to one, and what of its CPU time is counted."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecovisor.adapters.platforms.process.processes import Process, children, mark_of, parse_stat, stat
from ecovisor.adapters.platforms.process.sessions import Session

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")


class Family:
    """Processes of a script, in a session of their own, that all end with the test."""

    def __init__(self, script: str) -> None:
        self.first = subprocess.Popen(
            [sys.executable, "-S", "-c", script], start_new_session=True, stdout=subprocess.PIPE, stdin=subprocess.PIPE
        )
        self.session = Session(self.first.pid, cpus=len(os.sched_getaffinity(0)))

    def line(self) -> str:
        assert self.first.stdout is not None
        return self.first.stdout.readline().decode().strip()

    def tell(self) -> None:
        assert self.first.stdin is not None
        self.first.stdin.write(b"\n")
        self.first.stdin.flush()

    def end(self) -> None:
        for _ in range(100):
            self.session.kill()
            self.first.poll()
            if not self.session.pids():
                break
            time.sleep(0.02)
        assert self.first.stdin is not None
        assert self.first.stdout is not None
        self.first.stdin.close()
        self.first.stdout.close()
        self.first.wait()
        self.session.remove()


@pytest.fixture
def family() -> Iterator[list[Family]]:
    made: list[Family] = []
    yield made
    for one in made:
        one.end()


BURN = """
import os, signal, sys, time
def burn(seconds):
    while time.process_time() < seconds: pass
def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # one piece, whoever else writes
"""


def test_children_are_found_wherever_they_went(family: list[Family]) -> None:
    script = (
        BURN
        + """
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
    time.sleep(1000)
say("up")
time.sleep(1000)
"""
    )
    one = Family(script)
    family.append(one)
    assert one.line() == "up"
    for _ in range(200):
        pids = one.session.pids()
        sessions = {found.session for pid in pids if (found := stat(pid)) is not None}
        if len(pids) == 3 and len(sessions) == 2:
            break
        time.sleep(0.02)
    assert one.first.pid in pids
    assert len(pids) == 3
    one.session.freeze()
    for _ in range(200):
        states = {found.state for pid in pids if (found := stat(pid)) is not None}
        if states == {"T"}:
            break
        time.sleep(0.02)
    assert states == {"T"}
    one.session.thaw()
    assert len(one.session.pids()) == 3


def test_threads_and_waited_children_are_counted(family: list[Family]) -> None:
    script = (
        BURN
        + """
import threading
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        burn(0.1)
        os._exit(0)
    os.waitpid(pid, 0)
workers = [threading.Thread(target=lambda: [None for _ in range(400_000)]) for _ in range(3)]
for worker in workers: worker.start()
for worker in workers: worker.join()
used = os.times()
say(used.user + used.system, used.children_user + used.children_system)
sys.stdin.readline()
"""
    )
    one = Family(script)
    family.append(one)
    own_s, children_s = map(float, one.line().split())
    assert children_s >= 0.25
    assert one.session.cpu_s() == pytest.approx(own_s + children_s, abs=0.05)


def test_children_that_nobody_waits_for_stay_counted(family: list[Family]) -> None:
    """Their parent ignores how they end, so that the kernel adds their time to nobody's."""
    script = (
        BURN
        + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
def more(*_):
    burn(time.process_time() + 0.3)
    say("more")
signal.signal(signal.SIGUSR1, more)
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        burn(0.2)
        say("used")
        os.read(0, 1)
        os._exit(0)
    sys.stdout.flush()
while True: time.sleep(1)
"""
    )
    one = Family(script)
    family.append(one)
    for _ in range(3):
        assert one.line() == "used"
    before_s = one.session.cpu_s()
    assert before_s >= 0.6
    for _ in range(3):
        one.tell()
    for _ in range(200):
        if len(one.session.pids()) == 1:
            break
        time.sleep(0.02)
    assert len(one.session.pids()) == 1
    assert one.session.cpu_s() >= before_s, "a counter never goes back"
    after_s = one.session.cpu_s()
    assert after_s == pytest.approx(before_s, abs=0.1)
    one.first.send_signal(signal.SIGUSR1)
    assert one.line() == "more"
    assert one.session.cpu_s() == pytest.approx(after_s + 0.3, abs=0.1), "and what comes later is counted too"


def test_what_was_reaped_by_us_counts_once() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", BURN + "burn(0.3)"], start_new_session=True)
    session = Session(process.pid, cpus=2)
    before_s = children_s()
    process.wait()
    used_s = children_s() - before_s
    session.reaped(process.pid, used_s)
    session.reaped(process.pid, used_s)
    assert session.cpu_s() == pytest.approx(used_s, abs=1e-6)
    assert not session.has(process.pid)
    session.remove()


def children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def comes_to(pid: int, state: str) -> bool:
    for _ in range(200):
        seen = stat(pid)
        if seen is not None and seen.state == state:
            return True
        time.sleep(0.005)
    return False


def test_what_was_stopped_before_it_was_known_goes_on_when_it_is_found() -> None:
    """Its parent forked it, was stopped with its group, and had ended before the group was to go on."""
    script = "import os, time\nif os.fork() == 0: time.sleep(1000)\nos.write(1, b'up\\n'); time.sleep(1000)"
    first = subprocess.Popen([sys.executable, "-S", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    assert first.stdout is not None
    session = Session(first.pid, cpus=2)
    first.stdout.readline()
    (child,) = children(first.pid)
    try:
        os.killpg(first.pid, signal.SIGSTOP)
        first.kill()
        first.wait()
        session.reaped(first.pid, 0.0)
        assert comes_to(child, "T")
        session.add(child)
        assert comes_to(child, "S")
    finally:
        first.stdout.close()
        os.kill(child, signal.SIGKILL)


def test_a_session_that_still_runs_is_not_forgotten(family: list[Family]) -> None:
    one = Family("import time; time.sleep(1000)")
    family.append(one)
    with pytest.raises(OSError, match="are still there"):
        one.session.remove()


def test_limits_of_the_machine_or_more_are_none(family: list[Family]) -> None:
    one = Family("import time; time.sleep(1000)")
    family.append(one)
    cpus = len(os.sched_getaffinity(0))
    assert one.session.limit(cpus) == cpus
    assert one.session.step(time.monotonic()) is None
    assert one.session.limit(0.0) == 0.01
    assert one.session.step(time.monotonic()) is not None
    assert one.session.limit(float("inf")) == float("inf")
    assert one.session.step(time.monotonic()) is None


def test_what_was_stopped_goes_on_when_nobody_looks_after_it(family: list[Family]) -> None:
    one = Family(BURN + "say('up')\nwhile True: pass")
    family.append(one)
    assert one.line() == "up"
    one.session.limit(0.01)
    one.session.step(time.monotonic())
    for _ in range(200):
        time.sleep(0.02)
        one.session.step(time.monotonic())
        seen = stat(one.first.pid)
        if seen is not None and seen.state == "T":
            break
    assert seen is not None
    assert seen.state == "T"
    one.session.let_go()
    seen = stat(one.first.pid)
    assert seen is not None
    assert seen.state in "RS"


# -- what the kernel says


def test_names_with_anything_in_them_do_not_confuse() -> None:
    line = b"77 (a) R 1 (b) c) S 5 6 7 0 -1 4194304 1 2 3 4 100 50 30 20 20 0 9 0 123456 1 2 3\n"
    found = parse_stat(line)
    assert (found.state, found.parent, found.group, found.session) == ("S", 5, 6, 7)
    assert (found.threads, found.started) == (9, 123456)
    assert found.children_s == pytest.approx(50 / os.sysconf("SC_CLK_TCK"))


def test_we_know_ourselves(monkeypatch: pytest.MonkeyPatch) -> None:
    here = stat(os.getpid())
    assert here is not None
    assert (here.parent, here.group, here.session) == (os.getppid(), os.getpgrp(), os.getsid(0))
    process = Process(os.getpid())
    assert process.cpu_s() == pytest.approx(time.process_time(), abs=0.02)
    process.close()


def test_what_is_gone_is_gone() -> None:
    process = subprocess.Popen(["/bin/sh", "-c", "exec sleep 1000"], env={"ECOVISOR_FOLDER": "/x/y", "A": "b"})
    seen = Process(process.pid)
    for _ in range(200):
        if mark_of(process.pid) is not None:
            break
        time.sleep(0.01)
    assert mark_of(process.pid) == "/x/y"
    assert process.pid in children(os.getpid())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not seen.refresh()
    assert seen.cpu_s() == 0.0
    seen.close()
    assert stat(process.pid) is None
    assert mark_of(process.pid) is None
    assert children(process.pid) == []
    with pytest.raises(ProcessLookupError):
        Process(process.pid)
    assert not Path(f"/proc/{process.pid}").exists()

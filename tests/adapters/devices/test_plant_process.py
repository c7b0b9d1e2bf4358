"""The plant as a process: found or started, unhurt by what its clients do, ended by whom it should be; and what goes on in the next one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecovisor.adapters.clocks import Anchor, RealClock
from ecovisor.adapters.devices import plant_process, plant_server
from ecovisor.adapters.devices.emulated import EmulatedPlant, PlantState, SolarTrace
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.adapters.devices.emulated_client import EmulatedPlantClient
from ecovisor.adapters.devices.plant_process import PlantProcess, launch_plant
from ecovisor.adapters.devices.plant_protocol import (
    Accepted,
    Command,
    Done,
    Draw,
    Failed,
    Hello,
    PlantConfig,
    Read,
    State,
    Stop,
    Sun,
    Welcome,
    address_of,
    ask,
    connected,
    line_of,
    reply_of,
)
from ecovisor.adapters.devices.plant_server import PlantServer, Saved, anchor_for
from ecovisor.model.errors import Refused, Unavailable
from ecovisor.ports.live import PlantReading, SetPoint

#: Examples may take their time: the machine has others to serve.
untimed = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SITE = 1_790_000_000.0
BATTERY = PlantBattery(
    capacity_wh=1000.0,
    charge_c_rate=1.0,
    discharge_c_rate=1.0,
    charge_efficiency=1.0,
    discharge_efficiency=1.0,
    initial_level_wh=500.0,
)
CONFIG = PlantConfig(
    battery=BATTERY,
    solar=SolarTrace(start_s=0.0, step_s=60.0, values_w=[100.0]),
    site_start_s=SITE,
    compression=60.0,
)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantProcess]:
    """One that all tests here share; whatever they do to it, it goes on."""
    process = launch_plant(CONFIG, tmp_path_factory.mktemp("plant"))
    yield process
    process.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state directory; what runs there in the end is ended."""
    yield tmp_path / "plant"
    owner = plant_process._owner(tmp_path / "plant")
    if owner:
        os.kill(owner, signal.SIGKILL)


def read(process: PlantProcess) -> PlantReading:
    state = ask(process.socket_path, Read(), 10.0)
    assert isinstance(state, State)
    return state.reading


def wait_until_ended(process: PlantProcess) -> None:
    until_s = time.monotonic() + 60.0
    while process.running():
        assert time.monotonic() < until_s, "it goes on"
        time.sleep(0.02)


# -- clients


def test_its_site_time_is_that_of_whoever_has_its_anchor(plant: PlantProcess) -> None:
    ours = RealClock(plant.anchor)
    for _ in range(20):
        before_s = ours.site_s()
        reading = read(plant)
        assert before_s <= reading.site_s <= ours.site_s()


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"GET / HTTP/1.1\n",
        b"\xff\xfe\x00\x01\n",
        b"null\n",
        b"[]\n",
        b'{"type":"read"\n',
        b'{"type":"explode"}\n',
        b'{"type":"command","charge_w":"all"}\n',
        b'{"type":"command","charge_w":NaN,"discharge_w":0,"export_limit_w":null}\n',
        b'{"type":"command","charge_w":1e999,"discharge_w":0,"export_limit_w":null}\n',
        b'{"type":"command","charge_w":-5,"discharge_w":0,"export_limit_w":null}\n',
        b'{"type":"draw","client":"x","total_wh":-1,"confirmed_wh":0}\n',
        b'{"type":"sun","ratio":-1}\n',
        b"[" * 10_000 + b"\n",
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_what_is_no_request_is_answered_as_refused_and_the_next_one_works(plant: PlantProcess, line: bytes) -> None:
    with connected(plant.socket_path) as client:
        client.settimeout(10.0)
        with client.makefile("rb") as lines:
            client.sendall(line)
            with pytest.raises(Refused):
                reply_of(lines.readline())
            client.sendall(line_of(Read()))
            assert isinstance(reply_of(lines.readline()), State)


def test_half_a_request_is_no_request(plant: PlantProcess) -> None:
    before = read(plant).load_wh
    whole = line_of(Draw("half", 1e9, 0.0))
    for length in (1, len(whole) // 2, len(whole) - 1):
        with connected(plant.socket_path) as client:
            client.sendall(whole[:length])
    with connected(plant.socket_path) as client:
        client.sendall(whole[:-1])
        client.shutdown(socket.SHUT_WR)
        client.settimeout(10.0)
        assert client.recv(100) == b"", "it hangs up without an answer"
    assert read(plant).load_wh < before + 1e6


def test_a_client_that_will_write_no_more_still_gets_its_answer(plant: PlantProcess) -> None:
    with connected(plant.socket_path) as client:
        client.sendall(line_of(Read()) + line_of(Hello()))
        client.shutdown(socket.SHUT_WR)
        client.settimeout(10.0)
        with client.makefile("rb") as lines:
            replies = [reply_of(line) for line in lines]
    assert [type(reply) for reply in replies] == [State, Welcome]


def test_a_line_without_end_costs_its_client_the_connection_alone(plant: PlantProcess) -> None:
    with connected(plant.socket_path) as client:
        client.settimeout(10.0)
        with contextlib.suppress(ConnectionError):
            client.sendall(b"x" * 10_000_000)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b"", "it hangs up"
    read(plant)


def test_a_client_that_never_reads_delays_nobody(plant: PlantProcess) -> None:
    with connected(plant.socket_path) as greedy:
        greedy.settimeout(0.05)
        with pytest.raises(TimeoutError):
            greedy.sendall(line_of(Hello()) * 1_000_000)
        for _ in range(5):
            read(plant)


def test_idle_clients_delay_nobody(plant: PlantProcess) -> None:
    idle = [connected(plant.socket_path) for _ in range(14)]
    try:
        read(plant)
    finally:
        for client in idle:
            client.close()


def test_a_client_that_is_killed_hurts_nobody(plant: PlantProcess) -> None:
    script = """
import sys, time
from pathlib import Path
from ecovisor.adapters.devices.plant_protocol import Draw, Read, connected, line_of
client = connected(Path(sys.argv[1]))
client.sendall(line_of(Read()) * 50 + line_of(Draw("killed", 1e9, 0.0))[:-1])
print("ready", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", script, str(plant.socket_path)], stdout=subprocess.PIPE) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == b"ready\n"
        client.kill()
    assert read(plant).load_wh < 1e6


# -- starting and ending


def test_a_plant_that_runs_is_found_and_not_started_again(plant: PlantProcess) -> None:
    found = launch_plant(CONFIG, plant.state_dir)
    assert found.found
    assert not plant.found
    assert (found.pid, found.anchor) == (plant.pid, plant.anchor)


@pytest.mark.parametrize(
    "other", [PlantConfig(battery=None, compression=60.0), PlantConfig(battery=BATTERY, compression=61.0)], ids=["battery", "pace"]
)
def test_another_plant_that_runs_in_its_place_is_refused(plant: PlantProcess, other: PlantConfig) -> None:
    with pytest.raises(Refused, match="runs there"):
        launch_plant(other, plant.state_dir)
    read(plant)


def test_several_who_start_it_at_once_get_the_same_one(folder: Path) -> None:
    script = """
import sys, msgspec
from pathlib import Path
from ecovisor.adapters.devices.plant_process import launch_plant
from ecovisor.adapters.devices.plant_protocol import PlantConfig
print(launch_plant(msgspec.json.decode(sys.argv[2], type=PlantConfig), Path(sys.argv[1])).pid)
"""
    command = [sys.executable, "-c", script, str(folder), msgspec.json.encode(CONFIG).decode()]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    pids = {starter.communicate()[0].strip() for starter in starters}
    assert len(pids) == 1, f"started {pids}"
    assert pids == {str(plant_process._owner(folder))}


def test_who_was_too_late_leaves_no_process_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours would wait for the lock a little longer, and take over if the other's plant were stopped right then."""
    pids = []

    def spawn(state_dir: Path) -> int:
        pids.append(starts(state_dir))
        while plant_process._owner(state_dir) is None or not (state_dir / plant_server.SOCKET).exists():
            time.sleep(0.01)
        pids.append(os.posix_spawn(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"], os.environ))
        return pids[1]

    starts = plant_process._spawn
    monkeypatch.setattr(plant_process, "_spawn", spawn)
    process = launch_plant(CONFIG, folder)
    assert (process.found, process.pid) == (True, pids[0])
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[1], os.WNOHANG)
    process.stop()


def test_stopped_it_is_gone_and_leaves_no_socket(folder: Path) -> None:
    process = launch_plant(CONFIG, folder)
    process.stop()
    assert not process.running()
    assert not process.socket_path.exists()
    with pytest.raises(Unavailable, match="no such file"):
        read(process)
    process.stop()


def test_it_takes_leave_of_its_clients_whether_they_read_or_not(folder: Path) -> None:
    process = launch_plant(CONFIG, folder)
    with connected(process.socket_path) as idle, connected(process.socket_path) as greedy:
        greedy.settimeout(0.05)
        with pytest.raises(TimeoutError):
            greedy.sendall(line_of(Hello()) * 1_000_000)
        process.stop()
        idle.settimeout(10.0)
        assert idle.recv(1) == b""
    assert (folder / plant_server.LOG).read_text() == ""


def test_a_plant_that_does_not_answer_is_ended_all_the_same(folder: Path) -> None:
    process = launch_plant(CONFIG, folder)
    os.kill(process.pid, signal.SIGSTOP)
    process.stop(timeout_s=0.1)
    assert not process.running()


def test_sigterm_ends_it_with_its_state_written_down(folder: Path) -> None:
    process = launch_plant(CONFIG, folder)
    ask(process.socket_path, Sun(0.25), 10.0)
    os.kill(process.pid, signal.SIGTERM)
    wait_until_ended(process)
    saved = msgspec.json.decode((folder / plant_server.STATE).read_bytes(), type=Saved)
    assert saved.state.sun_ratio == 0.25
    assert not process.socket_path.exists()


def test_ctrl_c_in_the_terminal_of_whoever_started_it_leaves_it_alone(folder: Path) -> None:
    script = """
import sys, time, msgspec
from pathlib import Path
from ecovisor.adapters.devices.plant_process import launch_plant
from ecovisor.adapters.devices.plant_protocol import PlantConfig
print(launch_plant(PlantConfig(), Path(sys.argv[1])).pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        os.killpg(starter.pid, signal.SIGINT)
    assert os.getsid(pid) == pid
    found = launch_plant(PlantConfig(), folder)
    assert (found.found, found.pid) == (True, pid)
    found.stop()


def test_it_ends_when_its_directory_vanishes(folder: Path) -> None:
    process = launch_plant(CONFIG, folder)
    shutil.rmtree(folder)
    until_s = time.monotonic() + 60.0
    while os.waitpid(process.pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < until_s, "it goes on"
        time.sleep(0.02)


def test_a_long_path_is_no_obstacle(folder: Path) -> None:
    process = launch_plant(CONFIG, folder / ("long" * 30))
    try:
        assert read(process).site_s >= SITE
    finally:
        process.stop()


def test_a_path_that_is_too_long_for_any_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Refused, match="too long for a Unix socket"), address_of(tmp_path / ("x" * 120)):
        pass


def test_a_plant_that_does_not_start_says_why(folder: Path) -> None:
    folder.mkdir()
    (folder / plant_server.STATE).write_text('{"state":')
    with pytest.raises(Unavailable, match=r"did not start: .*plant\.state\.json.*truncated.*remove it"):
        launch_plant(CONFIG, folder)
    assert plant_process._owner(folder) is None


def test_a_plant_that_is_not_there_in_time_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = []

    def spawn(state_dir: Path) -> int:
        pids.append(starts(state_dir))
        return pids[0]

    starts = plant_process._spawn
    monkeypatch.setattr(plant_process, "_spawn", spawn)
    with pytest.raises(Unavailable, match="did not start: .*no such file"):
        launch_plant(CONFIG, folder, timeout_s=0.0)
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)


# -- what goes on


def test_killed_and_started_again_its_site_time_and_battery_go_on_and_its_meters_start_anew(folder: Path) -> None:
    first = launch_plant(CONFIG, folder)
    ask(first.socket_path, Command(0.0, 500.0, 20.0), 10.0)
    ask(first.socket_path, Draw("c", 1.0, 0.0), 10.0)
    until_s = time.monotonic() + 60.0
    saved = before = read(first)
    while saved.level_wh > 500.0 - 500.0 * 60.0 / 3600.0:  # a second of wall time: it has been written down meanwhile
        assert time.monotonic() < until_s
        time.sleep(0.05)
        saved = msgspec.json.decode((folder / plant_server.STATE).read_bytes(), type=Saved).state  # type: ignore[assignment]
    os.kill(first.pid, signal.SIGKILL)
    os.waitpid(first.pid, 0)
    assert first.socket_path.exists()
    second = launch_plant(CONFIG, folder)
    try:
        now = read(second)
        assert second.anchor == first.anchor
        assert now.site_s > before.site_s
        assert now.epoch != before.epoch
        assert now.discharge_wh == 0.0
        assert now.level_wh <= saved.level_wh
    finally:
        second.stop()


def test_without_persistence_it_starts_anew(folder: Path) -> None:
    config = PlantConfig(battery=BATTERY, persist=False)
    first = launch_plant(config, folder)
    ask(first.socket_path, Sun(0.5), 10.0)
    first.stop()
    assert not (folder / plant_server.STATE).exists()
    second = launch_plant(config, folder)
    welcome = ask(second.socket_path, Hello(), 10.0)
    second.stop()
    assert isinstance(welcome, Welcome)
    assert welcome.sun_ratio == 1.0


def test_a_disk_that_takes_no_state_is_told_once_and_stops_nothing(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{plant_server.STATE}.part").mkdir()
    process = launch_plant(CONFIG, folder)
    try:
        until_s = time.monotonic() + 60.0
        while not (said := (folder / plant_server.LOG).read_text()):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert "Is a directory" in said
        read(process)
    finally:
        process.stop()
    assert (folder / plant_server.LOG).read_text().count("\n") == 1


def test_where_site_time_goes_on() -> None:
    state, anchor = PlantState(site_s=SITE + 6000.0), Anchor(1000.0, SITE, 60.0)
    saved = Saved(state, anchor, "this run", wall_s=50_000.0)

    def goes_on(config: PlantConfig, saved: Saved | None, boot: str, monotonic_s: float, wall_s: float) -> tuple[float, float]:
        found = anchor_for(config, saved, boot=boot, monotonic_s=monotonic_s, wall_s=wall_s)
        clock = RealClock(found, monotonic=lambda: monotonic_s)
        return clock.site_s(), clock.compression

    assert goes_on(CONFIG, None, "", 7.0, 50_000.0) == (SITE, 60.0), "at first as configured"
    assert goes_on(PlantConfig(), None, "", 7.0, 50_000.0) == (50_000.0, 1.0), "or by the wall clock"
    assert anchor_for(CONFIG, saved, boot="this run", monotonic_s=1200.0, wall_s=0.0) is anchor, "by the old anchor"
    other_pace = PlantConfig(compression=1.0)
    assert goes_on(other_pace, saved, "this run", 1200.0, 0.0) == (SITE + 12_000.0, 1.0), "from there at another pace"
    assert goes_on(CONFIG, saved, "another run", 5.0, 50_010.0) == (SITE + 6600.0, 60.0), "by the wall clock after a restart"
    assert goes_on(CONFIG, saved, "another run", 5.0, 40_000.0) == (SITE + 6000.0, 60.0), "which may have been set back"
    assert goes_on(CONFIG, saved, "this run", 999.0, 50_010.0)[0] == SITE + 6600.0, "the machine was started anew, namelessly"


# -- within


class Line:
    """A server without a socket: what each line is answered with, and when."""

    def __init__(self) -> None:
        self.now_s = 100.0
        clock = RealClock(Anchor(100.0, SITE, 1.0), monotonic=lambda: self.now_s, wall=lambda: 0.0)
        self.plant = EmulatedPlant.starting(BATTERY, CONFIG.solar, site_s=SITE)
        self.server = PlantServer(self.plant, clock)

    def load_wh(self) -> float:
        return self.plant.read(SITE + self.now_s - 100.0).load_wh


def test_every_request_has_its_answer() -> None:
    async def main() -> None:
        line = Line()
        answers = {
            type(request).__name__: line.server.answer(line_of(request))
            for request in (Hello(), Read(), Command(5e3, 0.0, None), Draw("c", 0.0, 0.0), Sun(1.0), Stop())
        }
        assert isinstance(answers["Hello"], Welcome)
        assert isinstance(answers["Read"], State)
        assert answers["Command"] == Accepted(1000.0, 0.0, None)
        assert answers["Draw"] == State(line.plant.read(SITE))
        assert answers["Sun"] == answers["Stop"] == Done()
        assert line.server.stopped.is_set()
        assert isinstance(line.server.answer(b"{}"), Failed)

    asyncio.run(main())


@untimed
@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.sampled_from(["works", "request lost", "answer lost"])), max_size=20))
def test_energy_is_booked_once_whatever_is_lost_on_the_way(draws: list[tuple[float, str]]) -> None:
    async def main() -> None:
        line = Line()
        fates = iter([fate for _, fate in draws] + ["works"])

        class Client(EmulatedPlantClient):
            async def _line(self, request: object) -> bytes:
                fate = next(fates)
                if fate == "request lost":
                    raise ConnectionError(fate)
                reply = line_of(line.server.answer(line_of(request)))  # type: ignore[arg-type]
                if fate == "answer lost":
                    raise ConnectionError(fate)
                return reply

        times = iter(range(0, 10_000, 100))
        client = Client(Path("nowhere"), monotonic=lambda: float(next(times)))
        for energy_wh, fate in draws:
            line.now_s += 60.0
            if fate == "works":
                reading = await client.draw(energy_wh)
                assert reading.load_wh == line.load_wh()
            else:
                with pytest.raises(Unavailable, match=fate):
                    await client.draw(energy_wh)
        line.now_s += 60.0
        await client.draw(1.0)
        assert line.load_wh() == pytest.approx(sum(energy_wh for energy_wh, _ in draws) + 1.0)

    asyncio.run(main())


def test_a_plant_that_has_started_anew_is_told_what_was_not_confirmed_and_no_more() -> None:
    async def main() -> None:
        line = Line()
        line.server.answer(line_of(Draw("c", 100.0, 90.0)))
        assert line.load_wh() == pytest.approx(10.0)
        line.server.answer(line_of(Draw("c", 104.0, 90.0)))
        assert line.load_wh() == pytest.approx(14.0)
        for k in range(40):
            line.server.answer(line_of(Draw(f"client {k}", 1.0, 0.0)))
        assert len(line.server._totals_wh) <= 16

    asyncio.run(main())


def test_a_client_tells_a_plant_that_has_started_anew_what_the_old_one_did_not_confirm() -> None:
    async def main() -> None:
        old, new = Line(), Line()
        lines = [old, old, None, new]

        class Client(EmulatedPlantClient):
            async def _line(self, request: object) -> bytes:
                line = lines.pop(0)
                if line is None:
                    raise ConnectionError("killed")
                return line_of(line.server.answer(line_of(request)))  # type: ignore[arg-type]

        times = iter(range(0, 10_000, 100))
        client = Client(Path("nowhere"), monotonic=lambda: float(next(times)))
        await client.draw(100.0)
        await client.draw(20.0)
        with pytest.raises(Unavailable, match="killed"):
            await client.draw(3.0)
        await client.draw(0.5)
        assert old.load_wh() == pytest.approx(120.0)
        assert new.load_wh() == pytest.approx(3.5)

    asyncio.run(main())


def test_a_trace_that_has_ended_makes_it_unavailable_and_it_says_so() -> None:
    async def main() -> None:
        solar = SolarTrace(start_s=SITE, step_s=60.0, values_w=[1.0], repeats=False)
        now_s = 100.0
        clock = RealClock(Anchor(0.0, SITE, 1.0), monotonic=lambda: now_s, wall=lambda: 0.0)
        server = PlantServer(EmulatedPlant.starting(None, solar, site_s=SITE), clock)
        with pytest.raises(Unavailable, match="the emulated sun is known from"):
            reply_of(line_of(server.answer(line_of(Read()))))

    asyncio.run(main())


def test_its_main_program_says_in_one_line_what_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plant_process.main(tmp_path) == 1
    (tmp_path / plant_server.CONFIG).write_text('{"battery":{"capacity_wh":-1}}')
    assert plant_process.main(tmp_path) == 1
    lines = capsys.readouterr().err.splitlines()
    assert "No such file" in lines[0]
    assert "battery" in lines[1]


def test_a_set_point_travels_unchanged(plant: PlantProcess) -> None:
    async def main() -> None:
        client = EmulatedPlantClient(plant.socket_path, deadline_s=10.0)
        try:
            for set_point in (SetPoint(0.1 + 0.2, 0.0, 1.0 / 3.0), SetPoint(0.0, 1e-9), SetPoint()):
                assert await client.command(set_point) == set_point
            assert await client.anchor() == plant.anchor
        finally:
            await client.close()

    asyncio.run(main())

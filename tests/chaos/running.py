"""The real command in a process of its own, on a folder of its own: started, hurt, started again; everything of it ended by its id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import httpx
import msgspec

from ecovisor import wire
from ecovisor.adapters.devices.plant_process import PlantProcess, launch_plant
from ecovisor.adapters.devices.plant_protocol import PlantConfig, Read, Settle, State, Stop, ask
from ecovisor.adapters.devices.plant_server import CONFIG, SOCKET
from ecovisor.adapters.platforms.process import folders
from ecovisor.adapters.platforms.process.containers import Record, read_record
from ecovisor.adapters.sockets import socket_path
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.model.errors import EcovisorError
from ecovisor.ports.live import PlantReading

T = TypeVar("T")

#: The machine may be very busy: nothing depends on how quick it is, only whether it comes at all. [s]
PATIENCE_S = 120.0

BURSTS = "while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.3; done"

SITE = f"""
schema = 1
[site]
name = "chaos"
overhead_w = 1.0
excess = ["export"]
[site.server]
cores = 2.0
power_curve_w = [8.0, 13.0, 17.0, 20.5, 24.0]
[site.battery]
capacity_wh = 2000.0
empty_ratio = 0.3
initial_ratio = 0.5
charge_c_rate = 0.5
[signals.carbon]
kind = "constant"
value = 250.0
[signals.solar]
kind = "modelled-solar"
peak_w = 26.0
latitude = 34.1
longitude = -118.1
[[apps]]
name = "real"
grid_share = 0.3
solar_share = 0.3
battery_energy_share = 0.3
battery_power_share = 0.3
commands = ["bursts"]
cores = 0.25
containers = 2
workload = {{ kind = "containers" }}
policy = {{ kind = "carbon-agnostic" }}
webhook_allow = ["http://127.0.0.1:HOOK"]
[[apps]]
name = "stored"
share = 0.3
workload = {{ kind = "constant", demand_w = 4.0 }}
policy = {{ kind = "battery-arbitrage", charge_below_g_per_kwh = 0.0, discharge_above_g_per_kwh = 0.0 }}
[[apps]]
name = "remote"
share = 0.2
commands = ["bursts"]
cores = 0.25
workload = {{ kind = "containers" }}
policy = {{ kind = "remote" }}
[run]
start = 2026-06-21T17:00:00Z
tick = "1min"
[server]
listen = "127.0.0.1:0"
compression = COMPRESSION
separate_users = false
meters = []
webhook_failures = 1000
[server.commands.bursts]
argv = ["/bin/sh", "-c", "{BURSTS}"]
"""


class Folder:
    """A site file and its state directory; when it is left, nothing of the site runs any more.

    Args:
        path: a new folder.
        tick_wall_s: length of a tick of a minute. [s, wall time]
        replace: texts of the site file and what stands there instead.
    """

    def __init__(self, path: Path, *, tick_wall_s: float = 0.4, replace: Mapping[str, str] | None = None, hook: int = 9) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.file = path / "site.toml"
        self.state_dir = path / "state"
        self.tick_wall_s = tick_wall_s
        self._plants: list[PlantProcess] = []
        text = SITE.replace("COMPRESSION", repr(60.0 / tick_wall_s)).replace("HOOK", str(hook))
        for old, new in (replace or {}).items():
            assert old in text, old
            text = text.replace(old, new)
        self.file.write_text(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for plant in self._plants:
            plant.stop()
        with contextlib.suppress(EcovisorError):
            ask(self.plant_socket, Stop(), 5.0)
        for number in (signal.SIGTERM, signal.SIGKILL):
            until_s = time.monotonic() + 5.0
            while (pids := list(self.processes())) and time.monotonic() < until_s:
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
                        os.kill(pid, number)
                time.sleep(0.05)
        sockets = self.state_dir / "sockets"
        if sockets.is_symlink():  # the path is too long for sockets
            shutil.rmtree(sockets.resolve(), ignore_errors=True)

    def processes(self, *, servers: bool = True) -> Iterator[int]:
        """All processes that have this folder in their command or environment: server, plant, keeper, containers."""
        own = os.fsencode(self.path)
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                seen = own in command or own in (entry / "environ").read_bytes()
                if (
                    seen
                    and (servers or b"serve" not in command)
                    and (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
                ):
                    yield int(entry.name)

    def listens(self) -> bool:
        """Whether a server answers on the operator's socket."""
        path = socket_path(self.state_dir.resolve(), None)
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(path)) == 0

    def left_alone(self) -> None:
        """Wait until nothing of it runs."""
        until_s = time.monotonic() + PATIENCE_S
        while pids := list(self.processes()):
            assert time.monotonic() < until_s, f"these run on: {pids}"
            time.sleep(0.1)

    # -- the plant

    @property
    def plant_socket(self) -> Path:
        return self.state_dir / "plant" / SOCKET

    def plant(self, *, settled: bool = False) -> PlantReading:
        """Its meters now."""
        answer = ask(self.plant_socket, Settle() if settled else Read(), 30.0)
        assert isinstance(answer, State)
        return answer.reading

    def plant_pid(self) -> int:
        return int((self.state_dir / "plant" / "plant.lock").read_text() or "0")

    def start_plant(self) -> int:
        """Start it again, as its server would; its process."""
        config = msgspec.json.decode((self.state_dir / "plant" / CONFIG).read_bytes(), type=PlantConfig)
        self._plants.append(launch_plant(config, self.state_dir / "plant", timeout_s=PATIENCE_S))
        return self._plants[-1].pid

    # -- containers

    def records(self) -> dict[tuple[str, str], Record]:
        """What the keeper has written down of the containers."""
        found = {}
        for folder in folders.each(self.state_dir / "containers"):
            record = read_record(folder)
            if record is not None:
                found[record.app, record.id] = record
        return found

    def container_pids(self, app: str, container: str) -> list[int]:
        """Its processes, by what their environment says."""
        mark = os.fsencode(folders.locate(self.state_dir / "containers", app, container).path)
        found = []
        for pid in self.processes(servers=False):
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
        return found

    def keeper_pid(self) -> int:
        """Its process."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                if b"platforms.process.keeper" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return pid
        raise AssertionError("no keeper runs")


def operator_of(state_dir: Path, app: str | None = None) -> httpx.Client:
    """A client through the operator's own socket, or an app's."""
    transport = httpx.HTTPTransport(uds=str(socket_path(state_dir.resolve(), app)))
    return httpx.Client(transport=transport, base_url="http://site", timeout=30.0)


class Server:
    """`ecovisor serve` on a folder.

    Args:
        folder: of the site.
        prelude: Python that runs before the command, in its process.
        arguments: added to the command.
        stdin: of the process.
    """

    def __init__(self, folder: Folder, *, prelude: str = "", arguments: Sequence[str] = (), **popen: Any) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._told = threading.Condition()
        command = [sys.executable, "-m", "ecovisor", "serve", "--config", str(folder.file), *arguments]
        if prelude:
            program = f"{prelude}\nfrom ecovisor.cli import main\nmain()"
            command = [sys.executable, "-c", program, "serve", "--config", str(folder.file), *arguments]
        popen = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, **popen}
        self.process = subprocess.Popen(command, text=True, **popen)
        self._threads = [
            threading.Thread(target=self._read, args=(stream, into))
            for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
            if stream is not None
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: IO[str], into: list[str]) -> None:
        with stream:
            for line in stream:
                with self._told:
                    into.append(line.rstrip("\n"))
                    self._told.notify_all()
        with self._told:
            self._told.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        if error is not None:
            print("server said:", *self.lines, *self.errors, sep="\n  ")

    @property
    def pid(self) -> int:
        return self.process.pid

    def ready(self) -> Self:
        """Wait until the site runs."""
        self.said("state:")
        return self

    def said(self, text: str, *, error: bool = False) -> str:
        """Wait for a line that holds a text."""
        lines = self.errors if error else self.lines
        with self._told:
            found = self._told.wait_for(
                lambda: any(text in line for line in lines) or not any(thread.is_alive() for thread in self._threads), PATIENCE_S
            )
            assert found, f"nothing with {text!r} was said"
            for line in lines:
                if text in line:
                    return line
        raise AssertionError(f"it ended without saying {text!r}: {self.lines} {self.errors}")

    def kill(self) -> None:
        """End it as a power cut would, as far as it can tell."""
        self.process.send_signal(signal.SIGKILL)
        self.ended()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end; its exit status."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; its exit status."""
        status = self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        return status

    # -- questions of the operator, through the socket that is the operator's own

    @property
    def url(self) -> str:
        return self.said("ecovisor chaos: ").split()[-1]

    def client(self, app: str | None = None) -> httpx.Client:
        """Through the socket of the operator, or of an app."""
        return operator_of(self.folder.state_dir, app)

    def site(self) -> wire.SiteSnapshot:
        """The newest snapshot."""
        with self.client() as operator:
            return msgspec.json.decode(operator.get("/v1/admin/site").raise_for_status().content, type=wire.SiteSnapshot)

    def readiness(self) -> wire.Health:
        """What `/readyz` says."""
        with self.client() as operator:
            return msgspec.json.decode(operator.get("/readyz").content, type=wire.Health)

    def wait_for_tick(self, tick: int) -> wire.SiteSnapshot:
        """Wait until a tick has been published."""
        return self.wait_for(lambda: site if self.readiness().ok and (site := self.site()).tick >= tick else None)

    def wait_for(self, condition: Callable[[], T | None]) -> T:
        """Ask again and again until the answer is true."""
        until_s = time.monotonic() + PATIENCE_S
        while not (answer := condition()):
            assert self.process.poll() is None, f"it has ended: {self.lines} {self.errors}"
            assert time.monotonic() < until_s, "it does not come"
            time.sleep(min(self.folder.tick_wall_s / 4.0, 0.2))
        return answer

    def events(self, kind: str) -> list[wire.Notification]:
        """All of a kind that was told."""
        with Ledger.open(self.folder.state_dir / "ledger", read_only=True) as ledger:
            return [one for one in ledger.events(None, "", 1_000_000) if one.kind == kind]

    def shares(self) -> dict[str, float]:
        """Of the grid, by app, as they were last set."""
        with self.client() as operator:
            answer = operator.get("/v1/admin/apps").raise_for_status()
        return {one.name: one.shares.grid for one in msgspec.json.decode(answer.content, type=list[wire.AppEntry])}

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Ask again and again until it is true."""
        self.wait_for(lambda: condition() or None)

    def told(self, kind: str, text: str = "", count: int = 1) -> list[wire.Notification]:
        """Wait until something was told."""
        return self.wait_for(
            lambda: found if len(found := [one for one in self.events(kind) if text in one.detail]) >= count else None
        )

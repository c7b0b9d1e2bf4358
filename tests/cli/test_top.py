"""`ecovisor top` and the tables that it, `status` and `demo` show: what is in them, how they fit, and how the view is left."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from tests.cli.live_site import server
from tests.cli.standing_in import failed
from tests.dashboard.played import PlayedSite, token_of
from tests.dashboard.played_server import PlayedServer

from ecovisor import wire
from ecovisor.cli import live_tables, run
from ecovisor.cli.live_reader import Seen
from ecovisor.cli.live_tables import figures, quantity, render, sorted_apps
from ecovisor.cli.top import Watch
from ecovisor.model.errors import Unavailable

__all__ = ["server"]

COMMAND = [sys.executable, "-m", "ecovisor", "top"]
SITE = PlayedSite(past_ticks=60)
SNAPSHOT = SITE.site_snapshot()


def drawn(
    snapshot: wire.SiteSnapshot | wire.Snapshot, width: int, *, height: int | None = None, sort: str = "power", alarm: str = ""
) -> list[str]:
    """Lines as a terminal without colours shows them."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(render(snapshot, width, height=height, sort=sort, alarm=alarm))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


# -- the tables


def test_the_figures_are_the_snapshots() -> None:
    lines = drawn(SNAPSHOT, 160)
    assert lines[0].startswith(f"edge-site  tick {SNAPSHOT.tick}  Mon 01 Jun 2020 07:00:00 PDT")
    for value, unit in (
        (SNAPSHOT.solar_w, "W"),
        (SNAPSHOT.import_w, "W"),
        (SNAPSHOT.node_power_w, "W"),
        (SNAPSHOT.carbon_intensity_g_per_kwh, "g/kWh"),
    ):
        assert quantity(value, unit) in lines[1]
    for app in SNAPSHOT.apps:
        [row] = [line for line in lines if line.startswith(app.app + " ") and "g/h" in line]
        shown = [app.load.power_w, app.load.solar_w, app.load.battery_w, app.load.grid_w]
        assert all(quantity(value, "W") in row for value in shown)
        assert quantity(app.carbon.total_g, "g") in row
    for app in SNAPSHOT.apps:
        rows = [line for line in lines if line.startswith(app.app + " ") and "encode --fast" in line]
        assert len(rows) == len(app.containers)
        for container, row in zip(app.containers, rows, strict=True):
            assert f" {container.id} " in row
            assert container.state in row
            assert ("none" if container.cap_w is None else quantity(container.cap_w, "W")) in row


@pytest.mark.parametrize("width", [60, 80, 100, 140, 250])
@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_no_line_is_wider_than_the_screen(width: int, count: int) -> None:
    site = PlayedSite(names=[f"app-{k}" for k in range(count)], past_ticks=3)
    for snapshot in (site.site_snapshot(), site.snapshot("_site")):
        lines = drawn(snapshot, width)
        assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize("height", [5, 10, 24, 50])
@pytest.mark.parametrize("width", [80, 140])
def test_a_short_screen_is_not_overfilled_and_says_what_is_left_out(width: int, height: int) -> None:
    site = PlayedSite(names=[f"app-{k}" for k in range(100)], past_ticks=3)
    lines = drawn(site.site_snapshot(), width, height=height)
    assert len(lines) <= max(height, 8)
    assert any("more apps" in line for line in lines)
    assert any(line.startswith("_site") for line in lines)


def test_what_is_wrong_is_said_in_words() -> None:
    site = PlayedSite(past_ticks=3)
    site.sources["carbon"] = wire.SourceState(name="carbon", quality="stale", age_s=340.0, detail="no answer in 5 s")
    site.carbon_known = False
    site.advance(gap=True)
    site.advance(dt_s=420.0)
    told = "\n".join(drawn(site.site_snapshot(), 140, alarm="disconnected since 12:00:00: gone"))
    for part in ("late 1", "gaps 1", "! carbon stale for 6 min: no answer in 5 s", "! the last tick took 7 min instead of 5 min"):
        assert part in told
    assert "! disconnected since 12:00:00: gone" in told
    assert "carbon unknown" in told
    assert "\n".join(drawn(site.snapshot("web"), 140)).count("! ") == 2


@given(
    name=st.text(min_size=1, max_size=80),
    state=st.text(max_size=40),
    zone=st.sampled_from(["UTC", "Asia/Kolkata", "Nowhere/At-all", "../../etc/passwd", ""]),
    value=st.floats(min_value=0, max_value=1e12),
)
@settings(max_examples=60, deadline=None)
def test_whatever_apps_are_called_it_is_text_on_one_line(name: str, state: str, zone: str, value: float) -> None:
    app = SNAPSHOT.apps[0]
    container = msgspec.structs.replace(app.containers[0], id=name, state=state, command=name, power_w=value)
    source = wire.SourceState(name=name, quality="stale", age_s=value, detail=name)
    hostile = msgspec.structs.replace(app, app=name, containers=[container], load=msgspec.structs.replace(app.load, power_w=value))
    snapshot = msgspec.structs.replace(SNAPSHOT, site=name, timezone=zone, apps=[hostile], sources=[source])
    usual = msgspec.structs.replace(
        SNAPSHOT, apps=[SNAPSHOT.apps[0]], sources=[msgspec.structs.replace(source, name="x", detail="x")]
    )
    for width in (80, 160):
        console = Console(file=io.StringIO(), width=width, highlight=False, force_terminal=True, color_system=None)
        console.print(render(snapshot, width))
        assert isinstance(console.file, io.StringIO)
        text = console.file.getvalue()
        assert all(character.isprintable() or character == "\n" for character in text)
        assert len(text.splitlines()) <= len(drawn(usual, width)) + len(snapshot.apps[0].containers) + 6


def test_markup_in_names_is_shown_as_it_is() -> None:
    named = msgspec.structs.replace(SNAPSHOT.apps[0], app="[red]x[/]")
    assert any(line.startswith("[red]x[/]") for line in drawn(msgspec.structs.replace(SNAPSHOT, apps=[named]), 140))


@pytest.mark.parametrize("sort", live_tables.SORTS)
def test_apps_are_in_the_asked_order_and_the_site_is_last(sort: str) -> None:
    keys = {
        "power": lambda app: -app.load.power_w,
        "carbon": lambda app: -app.carbon.total_g,
        "grid share": lambda app: -app.totals.grid_to_load_wh / app.totals.load_wh,
        "battery": lambda app: -app.battery.level_wh,
        "name": lambda app: app.app,
    }  # fmt: skip
    apps = sorted_apps(SNAPSHOT.apps, sort)
    assert apps[-1].app == "_site"
    assert [keys[sort](app) for app in apps[:-1]] == sorted(keys[sort](app) for app in apps[:-1])


@given(st.floats(min_value=-1e9, max_value=1e9))
def test_numbers_have_three_figures_and_no_exponent(value: float) -> None:
    text = figures(value)
    assert "e" not in text
    back = float(text.replace("−", "-").replace(",", ""))
    assert abs(back - value) <= max(0.005, abs(value) * 0.006)
    assert text != "-0"
    assert quantity(value, "W").endswith(" kW" if abs(value) >= 999.5 else " W")


def test_bars_are_as_long_as_what_they_show() -> None:
    for value in (0.0, 1.0, 12.5, 50.0, 99.9, 100.0, 250.0):
        bar = live_tables.level_bar(value, 100.0, 20, "green")
        assert cell_len(bar.plain) == 20
        assert bar.plain.count("█") == int(min(value, 100.0) / 5.0 + 1 / 16)
    load = msgspec.structs.replace(SNAPSHOT.apps[0].load, solar_w=10.0, battery_w=20.0, grid_w=10.0)
    assert live_tables.source_bar(load, 8).plain == "██▓▓▓▓░░"


# -- watching


class Sequence:
    """Answers in order: snapshots, None (nothing new) or errors."""

    def __init__(self, *answers: wire.SiteSnapshot | Unavailable | None) -> None:
        self.answers = list(answers)

    def read(self) -> Seen | None:
        answer = self.answers.pop(0)
        if isinstance(answer, Unavailable):
            raise answer
        return None if answer is None else Seen(answer, 0.5)


def test_the_last_figures_stay_while_nobody_answers() -> None:
    now_s = [100.0]
    gone = Unavailable("it is gone")
    watch = Watch(Sequence(SNAPSHOT, None, gone, gone, SNAPSHOT), lambda: now_s[0], lambda: 0.0)  # type: ignore[arg-type]
    assert watch.look()
    assert watch.alarm() == ""
    assert not watch.look()
    now_s[0] += 30.0
    assert watch.alarm() == "no new tick for 30.5 s"
    assert not watch.look()
    assert not watch.look()
    assert watch.alarm().startswith("disconnected since ")
    assert watch.alarm().endswith(": it is gone")
    assert watch.look()
    assert watch.alarm() == ""


@pytest.mark.parametrize(("compression", "pause_s"), [(1.0, 2.0), (60.0, 1.25), (10_000.0, 0.2)])
def test_it_asks_some_times_a_tick(compression: float, pause_s: float) -> None:
    watch = Watch(Sequence(msgspec.structs.replace(SNAPSHOT, compression=compression)))  # type: ignore[arg-type]
    watch.look()
    assert watch.pause_s() == pytest.approx(pause_s)


# -- the command


def test_once_prints_the_tables_once(server: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["top", "--once"]) == 0
    told = capsys.readouterr().out
    assert told.count("edge-site") == 1
    assert "render" in told
    assert "power of cap" in told


def test_an_app_sees_only_itself(server: PlayedServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOVISOR_TOKEN", token_of("train"))
    assert run(["top", "--once"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("train  tick 30")
    assert not any(other in told for other in ("render", "web", "_site"))


def test_an_order_that_there_is_not(server: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--sort: 'size' is no order; write one of power, carbon" in failed(["top", "--sort", "size"], capsys)


def test_nobody_there_is_one_line(server: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.stop()
    assert "cannot be reached" in failed(["top"], capsys)


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Whatever happens, it does not outlive the test."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


class Heard:
    """What a file descriptor says, collected while it says it."""

    def __init__(self, descriptor: int) -> None:
        self.text = ""
        self._thread = threading.Thread(target=self._listen, args=(descriptor,), daemon=True)
        self._thread.start()

    def _listen(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):  # a terminal whose other end is closed
            while part := os.read(descriptor, 65536):
                self.text += part.decode("utf-8", "replace")

    def until(self, found: Callable[[str], bool]) -> None:
        """Wait until what has been said is right."""
        deadline_s = time.monotonic() + 30.0
        while not found(self.text):
            assert time.monotonic() < deadline_s, self.text[-3000:]
            time.sleep(0.02)

    def finish(self) -> None:
        """It will say no more."""
        self._thread.join()


def test_without_a_terminal_it_prints_once_a_tick_and_survives_the_server(server: PlayedServer) -> None:
    with ended(subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = Heard(process.stdout.fileno()), Heard(process.stderr.fileno())
        out.until(lambda text: "tick 30 " in text)
        server.api.site.advance()
        out.until(lambda text: "tick 31 " in text)
        server.stop()
        err.until(lambda text: "disconnected since" in text)
        server.api.site.advance()
        server.start()
        out.until(lambda text: "tick 32 " in text)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        out.finish()
        err.finish()
    assert [out.text.count(f"tick {tick} ") for tick in (30, 31, 32)] == [1, 1, 1]
    assert err.text.count("disconnected") == 1
    assert "\x1b" not in out.text


def test_in_a_terminal_keys_sort_and_quit_and_the_terminal_is_left_as_it_was(server: PlayedServer) -> None:
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 100))
    before = termios.tcgetattr(theirs)
    environment = {**os.environ, "TERM": "xterm-256color"}
    with ended(subprocess.Popen(COMMAND, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)) as process:
        heard = Heard(ours)
        heard.until(lambda text: "by power (s)  quit (q)" in text)
        os.write(ours, b"s")
        heard.until(lambda text: "by carbon (s)" in text)
        server.api.site.advance()
        heard.until(lambda text: "tick 31" in text)
        os.write(ours, b"q")
        assert process.wait() == 0
        assert termios.tcgetattr(theirs) == before
        os.close(theirs)
        heard.finish()
    os.close(ours)
    assert heard.text.count("\x1b[?1049h") == heard.text.count("\x1b[?1049l") == 1  # the other screen, and back
    assert heard.text.rindex("\x1b[?25h") > heard.text.rindex("\x1b[?25l")  # the cursor shows again

"""`ecovisor demo`: a complete ecovisor on this machine, with three applications as real processes; `make run` starts it.

Owns the demonstration: a throw-away state directory, the policy process of one app, the live table, the keys, the summary at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor import wire
    from ecovisor.assembly.live import LiveSite

#: The app that is driven by a process of its own.
REMOTE_APP = "sunny"


def demo(
    ticks: Annotated[int | None, typer.Option("--ticks", min=1, help="End after so many ticks. Default: until Ctrl-C.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end instead of tables.")] = False,
    dark_from: Annotated[
        int | None,
        typer.Option("--dark-from", metavar="TICK", min=1, help="Take the sun away from this tick on, as the key 's' does."),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="Of the dashboard and the REST interface; 0 takes a free one.")] = 7780,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field of the demo's site file.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="Keep the state here. Default: a folder that is removed at the end.")
    ] = None,
    show_site: Annotated[
        bool, typer.Option("--show-site", help="Print the demo's site file, to start your own from, and exit.")
    ] = False,
) -> None:
    """Watch three applications share one machine's sun, battery and grid.

    Real processes, metered and capped; sun, battery and grid meter are emulated, five minutes a second.
    'steady' takes what comes, 'stored' lives from its battery, 'sunny' is driven by a process of its own
    and works by the sun alone. Press s to take the sun away: sunny slows down within two ticks.

    \b
    ecovisor demo                        keys: s sun on/off · q quit
    ecovisor demo --ticks 20 --json      without a person
    """
    from ecovisor.demo import SITE

    if show_site:
        print(SITE.read_text("utf-8"), end="")
        return
    from ecovisor.adapters.scenario_files import load_scenario
    from ecovisor.api.logs import log_to
    from ecovisor.cli.serve import run

    log_to(sys.stderr, logging.ERROR)
    with _state_dir(state) as folder:
        if not _others_can_run_python():
            print(
                f"note: no isolation: {sys.executable} is closed to other users, so all containers run as this one", file=sys.stderr
            )
            settings = ["server.separate_users=false", *(settings or [])]
        overrides = [f"server.state_dir={folder}", f"server.listen=127.0.0.1:{port}", *(settings or [])]
        scenario, base = load_scenario(str(SITE), overrides)
        run(lambda: _session(scenario, base, ticks=ticks, json=json, dark_from=dark_from))


async def _session(scenario: object, base: Path, *, ticks: int | None, json: bool, dark_from: int | None) -> None:
    from ecovisor.assembly import live
    from ecovisor.cli.serve import announce
    from ecovisor.cli.signals import Foreground
    from ecovisor.settings import Scenario

    if not isinstance(scenario, Scenario):
        raise AssertionError("a scenario was loaded")
    foreground = Foreground()
    site = await foreground.open(live.open_site(scenario, base))
    try:
        if not json:
            announce(site)
        seen: list[dict[str, object]] = []
        async with _policy_process(site):
            watcher = asyncio.create_task(_watch(site, ticks, dark_from, seen, show=not json))
            try:
                await foreground.run(site)
            finally:
                watcher.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watcher
        snapshot = site.ecovisor.site_state()
    finally:
        await site.close()
    _sum_up(snapshot, seen, json=json)


async def _watch(site: LiveSite, ticks: int | None, dark_from: int | None, seen: list[dict[str, object]], *, show: bool) -> None:
    """After every tick: the table, the keys, what was ordered for it, and what the workers say they have done."""
    tick = site.ecovisor.tick
    first = tick
    with _screen(show) as (update, keys):
        loop = asyncio.get_running_loop()
        orders: asyncio.Queue[str] = asyncio.Queue()
        if keys:
            loop.add_reader(
                sys.stdin.fileno(), lambda: orders.put_nowait(os.read(sys.stdin.fileno(), 1).decode("ascii", "replace"))
            )
        try:
            while True:
                waiting = asyncio.ensure_future(site.ecovisor.wait_published(tick))
                key = asyncio.ensure_future(orders.get())
                await asyncio.wait((waiting, key), return_when=asyncio.FIRST_COMPLETED)
                if key.done():
                    await _obey(site, key.result())
                key.cancel()
                if not waiting.done():
                    waiting.cancel()
                    continue
                tick = waiting.result()
                if dark_from is not None and tick - first == dark_from:
                    await site.ecovisor.set_sun(0.0)
                snapshot = site.ecovisor.site_state()
                update(snapshot)
                work = {app.app: app.progress.work_done for app in snapshot.apps if app.app != "_site"}
                seen.append({"tick": tick, "sun_ratio": snapshot.sun_ratio, "solar_w": snapshot.solar_w, "work": work})
                if ticks is not None and tick - first >= ticks:
                    site.stop()
                    return
        finally:
            if keys:
                loop.remove_reader(sys.stdin.fileno())


async def _obey(site: LiveSite, key: str) -> None:
    if key in ("q", "\x03"):
        site.stop()
    elif key == "s":
        await site.ecovisor.set_sun(0.0 if site.ecovisor.site_state().sun_ratio > 0.0 else 1.0)


@contextlib.contextmanager
def _screen(show: bool) -> Iterator[tuple[Callable[[wire.SiteSnapshot], None], bool]]:
    """What shows a snapshot, and whether there are keys."""
    if not show:
        yield (lambda _: None), False
        return
    from rich.console import Console

    from ecovisor.cli.live_tables import render

    console = Console()
    if not console.is_terminal:
        yield (lambda snapshot: console.print(render(snapshot, console.width))), False
        return
    from rich.live import Live

    with _keys() as keys, Live(console=console, auto_refresh=False, screen=False) as screen:
        yield (lambda snapshot: screen.update(render(snapshot, console.width, note="s: sun on/off  q: quit"), refresh=True)), keys


@contextlib.contextmanager
def _keys() -> Iterator[bool]:
    """The terminal gives every key at once."""
    if not sys.stdin.isatty():
        yield False
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.asynccontextmanager
async def _policy_process(site: LiveSite) -> AsyncIterator[None]:
    """The process that drives one app through the SDK, as its developers would start it."""
    from ecovisor.demo import POLICY

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ecovisor", "run-policy", f"{POLICY}:FollowTheSun", "--unix", str(site.socket_of(REMOTE_APP)),
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 5.0)
        except TimeoutError:
            process.kill()
            await process.wait()


def _others_can_run_python() -> bool:
    """Whether a user of its own could run this Python with this package: every folder on the way lets others pass."""
    for path in (Path(sys.executable), Path(sys.executable).resolve(), Path(__file__)):
        if any(not folder.stat().st_mode & 0o001 for folder in path.absolute().parents):
            return False
    return True


@contextlib.contextmanager
def _state_dir(state: Path | None) -> Iterator[Path]:
    if state is not None:
        yield state.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="ecovisor-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _sum_up(snapshot: wire.SiteSnapshot, seen: list[dict[str, object]], *, json: bool) -> None:
    """What every app used, emitted and did."""
    import msgspec

    apps = {
        app.app: {
            "energy": msgspec.to_builtins(app.totals),
            "grid_share": app.totals.grid_to_load_wh / app.totals.load_wh if app.totals.load_wh > 0.0 else None,
            "carbon_g": app.carbon.total_g,
            "work": app.progress.work_done,
            "work_per_s": app.progress.metrics.get("units_per_s"),
        }
        for app in snapshot.apps
    }
    if json:
        told = {
            "apps": apps,
            "ticks": snapshot.tick,
            "residual_wh": snapshot.residual_wh,
            "late_ticks": snapshot.late_ticks,
            "gaps": snapshot.gaps,
            "platform": snapshot.platform,
            "seen": seen,
        }
        print(msgspec.json.encode(told).decode())
        return
    from rich.console import Console
    from rich.table import Table

    from ecovisor.cli.live_tables import quantity, share_of

    table = Table(title=f"{snapshot.tick} ticks of {snapshot.tick_s / 60.0:g} min", box=None, header_style="dim")
    for title in ("app", "load", "sun", "battery", "grid", "grid share", "carbon", "work"):
        table.add_column(title, justify="left" if title == "app" else "right")
    for app in snapshot.apps:
        energy = app.totals
        parts = (energy.load_wh, energy.solar_to_load_wh, energy.battery_to_load_wh, energy.grid_to_load_wh)
        table.add_row(
            app.app,
            *(quantity(part, "Wh") for part in parts),
            share_of(energy.grid_to_load_wh, energy.load_wh),
            quantity(app.carbon.total_g, "g"),
            f"{app.progress.work_done:g}" if app.progress.work_done else "–",
        )
    console = Console()
    console.print(table)
    console.print(
        f"meters and flows differ by {snapshot.residual_wh:.1g} Wh · late ticks {snapshot.late_ticks} · gaps {snapshot.gaps}"
    )

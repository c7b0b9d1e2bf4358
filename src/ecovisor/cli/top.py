"""`ecovisor top`: a running site, live, in a terminal.

Owns the loop: ask, draw, listen to the keys; what is drawn is ``live_tables``. Without a terminal, plain tables once a tick.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from ecovisor.cli.connection import CaFile, State, TokenFile, Unix, Url

if TYPE_CHECKING:
    from rich.console import Console, Group

    from ecovisor.cli.live_reader import Seen, SiteReader

_PIPE_WIDTH = 140
_LEAST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 2.0


def top(
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
    state: State = None,
    once: Annotated[bool, typer.Option("--once", help="Print the tables once and end.")] = False,
    sort: Annotated[str, typer.Option("--sort", help="Order of the apps: power, carbon, grid share, battery or name.")] = "power",
) -> None:
    """Watch a running site: sun, grid and battery, every app, every container.

    Keys: s sorts by the next column, q quits. Written to a file or a pipe, it prints the tables once a tick.
    With the operator's token or socket it shows the whole site, with an app's that app.

    \b
    ecovisor top                         in the folder of a site that runs there
    ecovisor top --token-file operator.token
    ECOVISOR_TOKEN=… ecovisor top --url https://site.example:7780 --once
    """
    from rich.console import Console

    from ecovisor.cli.live_reader import SiteReader
    from ecovisor.cli.live_tables import SORTS
    from ecovisor.model.errors import SettingsError

    if sort not in SORTS:
        raise SettingsError("--sort", f"{sort!r} is no order", f"write one of {', '.join(SORTS)}")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    with SiteReader(url, token_file, unix, ca_file, state) as reader:
        watch = Watch(reader)
        watch.look()
        if watch.lost is not None:
            raise watch.lost
        if once:
            console.print(watch.drawn(console.width, None, sort))
        elif console.is_terminal and sys.stdin.isatty() and os.name == "posix":
            _live(console, watch, sort)
        else:
            _lines(console, watch, sort)


class Watch:
    """What was last seen of a site, and whether it can still be seen.

    Args:
        reader: asks.
        monotonic_s: a clock for durations. [s]
        wall_s: wall time. [s since the epoch]
    """

    def __init__(
        self, reader: SiteReader, monotonic_s: Callable[[], float] = time.monotonic, wall_s: Callable[[], float] = time.time
    ) -> None:
        from ecovisor.model.errors import Unavailable

        self._reader = reader
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self._seen: Seen | None = None
        self._seen_s = self._lost_wall_s = 0.0
        self.lost: Unavailable | None = None

    def look(self) -> bool:
        """Ask for the newest snapshot; whether it is another one. Raises `AuthenticationError`."""
        from ecovisor.model.errors import Unavailable

        try:
            seen = self._reader.read()
        except Unavailable as error:
            if self.lost is None:
                self._lost_wall_s = self._wall_s()
            self.lost = error
            return False
        self.lost = None
        if seen is None:
            return False
        self._seen, self._seen_s = seen, self._monotonic_s()
        return True

    def pause_s(self) -> float:
        """How long to wait before the next look: some part of a tick, and longer while nobody answers. [s]"""
        if self.lost is not None or self._seen is None:
            return _LONGEST_PAUSE_S
        snapshot = self._seen.snapshot
        return min(max(snapshot.tick_s / snapshot.compression / 4.0, _LEAST_PAUSE_S), _LONGEST_PAUSE_S)

    def alarm(self) -> str:
        """That the figures are old, and why; empty while they are not."""
        from ecovisor.cli.live_reader import usual_wait_s
        from ecovisor.cli.live_tables import age

        if self.lost is not None:
            return f"disconnected since {time.strftime('%H:%M:%S', time.localtime(self._lost_wall_s))}: {self.lost}"
        if self._seen is None:
            return ""
        silent_s = self._seen.age_s + self._monotonic_s() - self._seen_s
        return f"no new tick for {age(silent_s)}" if silent_s > usual_wait_s(self._seen.snapshot) else ""

    def drawn(self, width: int, height: int | None, sort: str, note: str = "") -> Group:
        """The tables."""
        from ecovisor.cli.live_tables import render

        if self._seen is None:
            raise AssertionError("nothing has been seen")
        return render(self._seen.snapshot, width, height=height, sort=sort, note=note, alarm=self.alarm())


def _lines(console: Console, watch: Watch, sort: str) -> None:
    """Tables once a tick, until interrupted; what is wrong goes to stderr."""
    told = ""
    new = True
    while True:
        if new:
            console.print(watch.drawn(console.width, None, sort))
            console.print()
        alarm = watch.alarm()
        if alarm and not told:
            print(alarm, file=sys.stderr, flush=True)
        told = alarm
        time.sleep(watch.pause_s())
        new = watch.look()


def _live(console: Console, watch: Watch, sort: str) -> None:
    from rich.live import Live

    from ecovisor.cli.live_tables import SORTS

    orders = list(SORTS)
    with _keys() as key_within, Live(console=console, auto_refresh=False, screen=True) as screen:
        while True:
            note = f"by {sort} (s)  quit (q)"
            screen.update(watch.drawn(console.width, console.height, sort, note), refresh=True)
            key = key_within(watch.pause_s())
            if key in {"q", "Q", "\x03", "\x04"}:
                return
            if key in {"s", "S"}:
                sort = orders[(orders.index(sort) + 1) % len(orders)]
            else:
                watch.look()


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """The terminal gives every key at once; what is yielded waits for one, "" if none comes in time."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def key_within(longest_s: float) -> str:
        ready, _, _ = select.select([terminal], [], [], longest_s)
        return os.read(terminal, 1).decode("ascii", "replace") or "q" if ready else ""

    try:
        yield key_within
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)

"""How a site that runs in the foreground hears of the world: SIGINT and SIGTERM end it, SIGHUP reloads it, a closed terminal ends it.

Signals that come while it ends change nothing: all that takes long then has a deadline.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ecovisor.assembly.live import LiveSite


async def run_until_told(site: LiveSite, reload: Callable[[], Awaitable[None]] | None = None) -> None:
    """Tick until SIGINT or SIGTERM, or until the terminal is closed; SIGHUP reloads, or ends it where there is nothing to reload.

    From then on signals are ignored, until the event loop ends.
    """
    loop = asyncio.get_running_loop()
    reloading = _Reloading(reload)
    terminal = _Terminal()

    def hung_up() -> None:
        if reload is None or terminal.closed():
            terminal.let_go()
            site.stop()
        else:
            reloading.ask()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, site.stop)
    loop.add_signal_handler(signal.SIGHUP, hung_up)
    try:
        await site.run()
    finally:
        await reloading.end()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _nothing)
        loop.add_signal_handler(signal.SIGHUP, terminal.let_go)


def _nothing() -> None:
    """It ends already."""


class _Reloading:
    """One reload after the other; signals that come while one waits are one."""

    def __init__(self, reload: Callable[[], Awaitable[None]] | None) -> None:
        self._reload = reload
        self._again = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._again and self._reload is not None:
            self._again = False
            await self._reload()

    async def end(self) -> None:
        """What is being reloaded is reloaded in full."""
        self._again = False
        if self._task is not None:
            await self._task


class _Terminal:
    """The terminal that standard input and output were connected to at first."""

    def __init__(self) -> None:
        self._descriptors = [number for number in range(3) if os.isatty(number)]

    def closed(self) -> bool:
        """Whether it is there no more."""
        return any(not os.isatty(number) for number in self._descriptors)

    def let_go(self) -> None:
        """What is printed from now on goes nowhere, if the terminal is closed."""
        if not self.closed():
            return
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in self._descriptors:
            os.dup2(nowhere, number)
        os.close(nowhere)
        self._descriptors = []

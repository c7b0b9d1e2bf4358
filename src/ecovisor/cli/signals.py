"""How a site that runs in the foreground hears of the world: SIGINT and SIGTERM end it, SIGHUP reloads it, a closed terminal ends it.

Signals that come while it ends change nothing: all that takes long then has a deadline.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecovisor.assembly.live import LiveSite


class Foreground:
    """One site, opened and run."""

    def __init__(self) -> None:
        self._terminal = _Terminal()
        self._opening: asyncio.Task[LiveSite] | None = None
        self._site: LiveSite | None = None
        self._asked: signal.Signals | None = None

    async def open(self, opening: Coroutine[Any, Any, LiveSite]) -> LiveSite:
        """Open a site; a signal breaks that off.

        Raises:
            KeyboardInterrupt: SIGINT came.
            SystemExit: another signal came.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up, lambda: None)  # the file has just been read
        self._opening = asyncio.create_task(opening)
        try:
            self._site = await self._opening
        except asyncio.CancelledError:
            if self._asked is None:
                raise
            raise KeyboardInterrupt if self._asked is signal.SIGINT else SystemExit(128 + self._asked) from None
        if self._asked is not None:
            self._site.stop()
        return self._site

    async def run(self, site: LiveSite, reload: Callable[[], Awaitable[None]] | None = None) -> None:
        """Tick until SIGINT or SIGTERM, or until the terminal is closed; SIGHUP reloads, or ends it where there is nothing to reload.

        From then on signals are ignored, until the event loop ends.
        """
        loop = asyncio.get_running_loop()
        reloading = _Reloading(reload)
        again = reloading.ask if reload is not None else partial(self._end, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up, again)
        try:
            await site.run()
        finally:
            await reloading.end()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, _nothing)
            loop.add_signal_handler(signal.SIGHUP, self._terminal.let_go)

    def _hung_up(self, otherwise: Callable[[], None]) -> None:
        if self._terminal.closed():
            self._terminal.let_go()
            otherwise = partial(self._end, signal.SIGHUP)
        otherwise()

    def _end(self, number: signal.Signals) -> None:
        self._asked = number
        if self._site is not None:
            self._site.stop()
        elif self._opening is not None:
            self._opening.cancel()


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

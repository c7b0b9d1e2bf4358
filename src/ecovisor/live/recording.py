"""From a settled tick to one that is durable and published: commits in order, in a thread, with patience where the disk has trouble.

Sensing never waits for the disk: up to `QUEUE_TICKS` ticks wait here in order, then the site says that it is not ready and settles no
more until the store answers; what passed meanwhile is a gap. Only what is on disk is published and told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ecovisor.live.events import ToldTick
from ecovisor.model.errors import StoreError

log = logging.getLogger("ecovisor.live")

#: Ticks that may wait for the disk.
QUEUE_TICKS = 60
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0

B = TypeVar("B")
B_contra = TypeVar("B_contra", contravariant=True)
S = TypeVar("S")


class Commits(Protocol[B_contra]):
    """Where ticks become durable."""

    def commit(self, batch: B_contra) -> object:
        """One durable transaction. Raises `StoreError`; the same batch may be committed again then."""
        ...


@dataclass(frozen=True, slots=True)
class Settled(Generic[B, S]):
    """A tick on its way to the disk, and what is published when it has got there."""

    batch: B
    told: ToldTick
    snapshot: S


class Recording(Generic[B, S]):
    """The way of ticks to the disk.

    Args:
        ledger: takes them; called in a thread of its own.
        publish: called on the event loop when one is durable.
        most: ticks that may wait; None: `QUEUE_TICKS`.
    """

    def __init__(self, ledger: Commits[B], publish: Callable[[Settled[B, S]], None], most: int | None = None) -> None:
        self._ledger = ledger
        self._publish = publish
        self._most = QUEUE_TICKS if most is None else most
        self._queue: asyncio.Queue[Settled[B, S] | None] = asyncio.Queue()
        self._unrecorded = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._task: asyncio.Task[None] | None = None
        self.failure: str | None = None
        """Why the newest attempt failed; None: it did not."""

    def start(self) -> None:
        """Begin to take ticks."""
        self._task = asyncio.create_task(self._run(), name="recording")

    def add(self, settled: Settled[B, S]) -> None:
        """Record a tick after those before it."""
        self._unrecorded += 1
        self._queue.put_nowait(settled)

    @property
    def waiting(self) -> int:
        """Ticks that are settled and not durable."""
        return self._unrecorded

    @property
    def full(self) -> bool:
        """No more ticks should be settled."""
        return self.waiting >= self._most

    async def drain(self) -> None:
        """Wait until all ticks added so far are durable."""
        await self._queue.join()

    async def stop(self, timeout_s: float) -> None:
        """Record what waits, as far as the disk lets it within a time, and end. [s]"""
        self._queue.put_nowait(None)
        if self._task is not None:
            try:
                await asyncio.wait_for(self._task, timeout_s)
            except TimeoutError:
                log.error("stopped with %d ticks that the ledger did not take: %s", self.waiting, self.failure)
        self._writer.shutdown(wait=True)

    async def _run(self) -> None:
        while (settled := await self._queue.get()) is not None:
            await self._commit(settled.batch)
            self._unrecorded -= 1
            self._publish(settled)
            self._queue.task_done()
        self._queue.task_done()

    async def _commit(self, batch: B) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._writer, self._ledger.commit, batch)
            except Exception as error:
                if self.failure is None:
                    unexpected = None if isinstance(error, StoreError) else error
                    log.error("the ledger does not take the tick, trying again: %s", error, exc_info=unexpected)
                self.failure = str(error)
                await asyncio.sleep(wait_s)
                wait_s = min(2.0 * wait_s, _LONGEST_WAIT_S)
            else:
                if self.failure is not None:
                    log.warning("the ledger works again; %d ticks wait", self.waiting - 1)
                self.failure = None
                return

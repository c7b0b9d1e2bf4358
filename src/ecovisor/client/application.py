"""An app on a live server, as coroutines: its energy system, what it says of itself, and its ticks.

This is the only implementation. `AsyncApp` is used as it is in an event loop; `blocking.App` is the same for ordinary programs.
"""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from ecovisor import wire
from ecovisor.client import endpoints
from ecovisor.client.energy import Energy
from ecovisor.client.exchange import Exchange
from ecovisor.client.following import TICK, Event, Following
from ecovisor.client.held import Held
from ecovisor.client.persistence import Ended, Patience, persist
from ecovisor.model.errors import SettingRefused, Unavailable

logger = logging.getLogger("ecovisor.client")

#: Called at every tick with the app in both roles, `energy` and `app`, as a policy is.
OnTick = Callable[["AsyncApp", "AsyncApp"], Awaitable[None] | None]
C = TypeVar("C", bound=OnTick)


class AsyncApp(Energy):
    """One app of a live site; `ecovisor.connect_async` makes it.

    All of `ports.VirtualEnergy` and `ports.AppView` by the same names, as functions to be awaited; properties too (``await
    app.idle_power_w()``). Only subscribing is not awaited: `on_tick`, `notify_…`.
    """

    def __init__(self, exchange: Exchange, held: Held, patience: Patience) -> None:
        super().__init__(exchange, held)
        self._patience = patience
        self._following = Following(exchange, patience, self._current)
        self._callbacks: list[OnTick] = []
        self._present: Event | None = None  # the newest tick's, once it has been told
        self._answered: int | None = None
        self._stopping = False
        self.late_ticks = 0
        """Ticks that were over before they could be answered, so far."""

    # -- ports.AppView

    @property
    def name(self) -> str:
        """The app's name."""
        return self._held.snapshot.app

    async def progress_ratio(self) -> float:
        progress = (await self._now()).progress
        return progress.work_done / progress.work_total if progress.work_total > 0.0 else math.nan

    async def completed(self) -> bool:
        progress = (await self._now()).progress
        return progress.work_total > 0.0 and progress.work_done >= progress.work_total

    async def metrics(self) -> Mapping[str, float]:
        return (await self._now()).progress.metrics

    async def report(
        self, metrics: Mapping[str, float] | None = None, *, work_done: float | None = None, work_total: float | None = None
    ) -> None:
        """Tell what the app knows of itself; policies, dashboard and reports see it from the next tick on.

        Args:
            metrics: by name (`queue`, `p95_ms`, …); finite.
            work_done: so far, in a unit of the app's own.
            work_total: all of it; None or 0: no end.

        Raises:
            SettingRefused: a value is not finite, or work is negative.
        """
        named = dict(metrics or {})
        for name, value in (*named.items(), ("work_done", work_done or 0.0), ("work_total", work_total or 0.0)):
            if not math.isfinite(value):
                raise SettingRefused(f"report: {name} is {value!r}; give a finite number")
        request = wire.AppMetrics(metrics=named, work_done=work_done, work_total=work_total)
        await self._exchange.ask(endpoints.METRICS, request)

    # -- ticks

    def on_tick(self, callback: C) -> C:
        """Call ``callback(energy, app)`` at every tick that `run` answers. A decorator, too."""
        self._callbacks.append(callback)
        return callback

    async def run(self, ticks: int | None = None, *, callback: OnTick | None = None) -> int:
        """Call what `on_tick` has collected at every tick, beginning with the present one, and tell the server when all is set.

        A tick that is over before its turn comes is not answered: its event is late, and `late_ticks` counts it. If the server cannot be
        reached while a callback runs, that tick is left as it is and the next one is waited for; anything else that a callback raises
        comes out.

        Args:
            ticks: how many to answer; None: until `stop` or `close`.
            callback: called in this run only, after the others.

        Returns:
            How many were answered.

        Raises:
            AuthenticationError: the token is no longer accepted.
        """
        answered = 0
        own = [] if callback is None else [callback]
        self._stopping = False
        while not self._stopping and (ticks is None or answered < ticks):
            event = await self._unanswered()
            if event is None:
                break
            try:
                with self._standing_still():
                    for call in (*self._callbacks, *own):
                        await _finished(call(self, self))
            except Unavailable as error:
                if not self._exchange.closed:
                    logger.warning("tick %d was not answered: %s", event.tick, error)
            if self._exchange.closed:
                break
            await self.tick_done()
            answered += 1
        return answered

    def stop(self) -> None:
        """Let `run` return when the present tick has been answered; for callbacks."""
        self._stopping = True

    async def wait_for_tick(self) -> Event | None:
        """Wait for the next tick; the one before counts as answered. None once the app is closed."""
        await self.tick_done()
        return await self._unanswered()

    async def _unanswered(self) -> Event | None:
        """The event of the newest tick, once there is one that has not been answered; None once the app is closed."""
        event = self._present
        if event is not None and event.tick != self._answered:
            try:
                await persist(self._exchange, self._patience, self._now)
            except Ended:
                return None
            if event.tick == self._held.snapshot.tick:
                return event
        while True:
            event = await self.next_event()
            if event is None or (event.kind == TICK and not event.late and event.tick != self._answered):
                return event

    async def tick_done(self) -> None:
        """Say that all is set for the snapshot's tick, once. In lockstep the site waits for it; `run` and `wait_for_tick` do it."""
        tick = self._held.snapshot.tick
        if tick == self._answered:
            return
        try:
            await persist(self._exchange, self._patience, lambda: self._exchange.ask(endpoints.TICK, wire.TickDone(tick=tick)))
        except Ended:
            return
        self._answered = tick

    async def events(self) -> AsyncIterator[Event]:
        """Everything that happens, in order and without gaps, until the app is closed; first the present tick.

        Connections that break are made again, and what happened meanwhile is told, `late`. At a tick's event the snapshot is that tick's.
        """
        while (event := await self.next_event()) is not None:
            yield event

    async def next_event(self) -> Event | None:
        """The next of `events`; None once the app is closed."""
        try:
            event = await self._following.next()
            if event.kind == TICK and event.tick > self._held.snapshot.tick:
                await persist(self._exchange, self._patience, self.refresh)
        except Ended:
            return None
        if event.kind != TICK:
            return event
        if event.tick < self._held.snapshot.tick:
            self.late_ticks += 1
            return msgspec.structs.replace(event, late=True)
        self._present = event
        with self._standing_still():
            for callback, value in self._observe():
                await _finished(callback(value))
        return event

    async def _current(self) -> Event:
        """The event that told the newest tick: its id is that of the tick before, which was recorded with it."""
        now = await self.refresh()
        return Event(id=f"{now.tick - 1}.0", kind=TICK, app=now.app, tick=now.tick, time=now.time, wall_time=now.wall_time)

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        self._held.standing_still = True
        try:
            yield
        finally:
            self._held.standing_still = False

    # -- webhooks

    async def add_callback(self, url: str, events: Sequence[str] = (TICK,), *, threshold_ratio: float = 0.1) -> wire.CallbackState:
        """Have the server send events to a URL; the answer has the key of their signatures, told once.

        Raises:
            Refused: the operator does not allow this app that target.
        """
        request = wire.AddCallback(url=url, events=list(events), threshold_ratio=threshold_ratio)
        return await self._exchange.ask(endpoints.ADD_CALLBACK, request)

    async def list_callbacks(self) -> list[wire.CallbackState]:
        """The registered webhooks."""
        return await self._exchange.ask(endpoints.CALLBACKS)

    async def remove_callback(self, callback_id: str) -> None:
        """End a webhook."""
        await self._exchange.ask(endpoints.REMOVE_CALLBACK, id=callback_id)

    # -- the end

    async def close(self) -> None:
        """Let go of the server; `run`, `events` and `wait_for_tick` end."""
        self._exchange.end()
        await self._following.leave()
        await self._exchange.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


async def _finished(result: Awaitable[None] | None) -> None:
    if inspect.isawaitable(result):
        await result

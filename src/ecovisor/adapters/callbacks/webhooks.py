"""Keeps registered callbacks and delivers events to them: each in order, at least once, until its receiver has failed too often.

Every callback has a task that reads events later than the last acknowledged one, as a reader of the event stream does: a slow receiver is
behind, and costs nothing else. It waits, longer and longer, after failures. How many requests are under way at once is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import secrets
import ssl
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from ecovisor import __version__, wire
from ecovisor.adapters.callbacks.registrations import Callback, Progress, Register, Registration, Registry
from ecovisor.adapters.callbacks.sending import Lookup, Sender, look_up
from ecovisor.adapters.callbacks.signature import sign
from ecovisor.adapters.callbacks.targets import Address, allowed_target, check_target, is_public
from ecovisor.model.errors import EcovisorError, Refused, SettingRefused, StoreError, Unavailable, UnknownApp
from ecovisor.ports.live import Clock

logger = logging.getLogger("ecovisor.callbacks")

_KIND = re.compile(r"[a-z0-9_]{1,40}")
_BATCH = 100
_MANY = 999_999_999
"""More events than any tick has."""


class EventSource(Protocol):
    """What deliveries need of a running ecovisor; see `ecovisor.api.backend.Backend`."""

    @property
    def clock(self) -> Clock:
        """For signatures."""
        ...

    @property
    def registry(self) -> Registry:
        """Where registrations are kept."""
        ...

    @property
    def tick(self) -> int:
        """The newest published tick."""
        ...

    async def wait_published(self, after_tick: int) -> int:
        """Wait until a later tick has been published."""
        ...

    async def events_since(self, app: str | None, after: str, *, limit: int = 1000) -> Sequence[wire.Notification]:
        """Events later than an id, oldest first."""
        ...

    def allowed_webhooks(self, app: str) -> Sequence[str]:
        """Targets that the operator allows an app."""
        ...


@dataclass(frozen=True, slots=True)
class WebhookLimits:
    """Bounds of deliveries; durations are wall time."""

    deadline_s: float = 10.0
    """Of one request. [s]"""
    failures: int = 20
    """In a row, after which a callback is dead."""
    first_wait_s: float = 1.0
    """After the first failure; each further one doubles it. [s]"""
    longest_wait_s: float = 300.0
    """[s]"""
    concurrent: int = 32
    """Requests under way at once."""
    per_app: int = 16
    """Registrations of one app."""
    save_every_s: float = 1.0
    """Between two writes of how far deliveries have come. [s]"""


class Webhooks:
    """Callbacks and their deliveries; plays `ecovisor.api.callbacks.Callbacks`.

    Args:
        source: events, the registry, and what the operator allows.
        limits: of deliveries.
        tls: context for HTTPS; None: the system's certificates.
        lookup: names to addresses.
        public: which addresses a name may lead to.
        sleep: waits between attempts. [s]
        chance: spreads the waits of callbacks that failed together.
    """

    def __init__(
        self,
        source: EventSource,
        *,
        limits: WebhookLimits | None = None,
        tls: ssl.SSLContext | None = None,
        lookup: Lookup = look_up,
        public: Callable[[Address], bool] = is_public,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: random.Random | None = None,
    ) -> None:
        self._source = source
        self._limits = limits or WebhookLimits()
        self._register = Register(source.registry)
        self._make_sender = partial(
            Sender,
            deadline_s=self._limits.deadline_s,
            connections=self._limits.concurrent,
            tls=tls,
            lookup=lookup,
            public=public,
        )
        self._sender: Sender | None = None
        self._sleep = sleep
        self._chance = chance or random.Random()
        self._callbacks: dict[str, Callback] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._saver: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(self._limits.concurrent)
        self._unsaved = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, "webhooks")  # one after the other: an older state never overwrites a newer one
        self._changing = asyncio.Lock()

    # -- running

    async def start(self) -> None:
        """Read the registrations and go on delivering where it was left. Raises `StoreError`."""
        self._callbacks = {one.registration.id: one for one in await asyncio.to_thread(self._register.load)}
        self._sender = self._make_sender()
        self._saver = asyncio.create_task(self._save_now_and_then())
        for callback in self._callbacks.values():
            self._drive(callback)

    async def stop(self) -> None:
        """Break off what is under way (it will be delivered again), and note how far it came."""
        tasks = [*self._tasks.values(), *([self._saver] if self._saver is not None else [])]
        self._tasks.clear()
        self._saver = None
        await _end(tasks)
        if self._sender is not None:
            await self._sender.close()
            self._sender = None
        if self._unsaved.is_set():
            await self._save()
        await asyncio.to_thread(self._disk.shutdown)

    # -- what apps ask for

    def of(self, app: str) -> Sequence[wire.CallbackState]:
        """The app's registrations, oldest first, without their secrets."""
        return [one.state() for one in self._callbacks.values() if one.registration.app == app]

    async def register(self, app: str, request: wire.AddCallback) -> wire.CallbackState:
        """Keep a registration and deliver to it the events from now on; on disk when it returns, with its secret told this once.

        Raises:
            SettingRefused: no target, or no kind of event.
            Refused: the operator does not allow the target, or there are too many registrations.
            StoreError: it could not be kept.
        """
        if not request.events or len(request.events) > 64 or not all(_KIND.fullmatch(kind) for kind in request.events):
            raise SettingRefused(
                f"events: {request.events[:5]!r} are no kinds of event; write for example ['tick', 'battery_full']"
            )
        check_target(app, request.url, self._source.allowed_webhooks(app))
        async with self._changing:
            if len(self.of(app)) >= self._limits.per_app:
                raise Refused(f"app {app!r} has {self._limits.per_app} callbacks, as many as it may; delete one first")
            registration = Registration(
                id=secrets.token_hex(8),
                app=app,
                url=request.url,
                events=list(dict.fromkeys(request.events)),
                threshold_ratio=request.threshold_ratio,
                secret=f"eco_hook_{secrets.token_urlsafe(32)}",
                since=f"{max(self._source.tick, 0)}.{_MANY}",
                registered_s=self._source.clock.wall_s(),
            )
            await asyncio.to_thread(self._register.add, registration)
            callback = Callback(registration, Progress(acknowledged=registration.since))
            self._callbacks[registration.id] = callback
        if self._sender is not None:
            self._drive(callback)
        return callback.state(secret=True)

    async def remove(self, app: str, callback_id: str) -> bool:
        """End a registration; False if the app has none of this id. Raises `StoreError`."""
        async with self._changing:
            callback = self._callbacks.get(callback_id)
            if callback is None or callback.registration.app != app:
                return False
            await asyncio.to_thread(self._register.remove, callback_id)
            del self._callbacks[callback_id]
        task = self._tasks.pop(callback_id, None)
        if task is not None:
            await _end([task])
        return True

    async def forget(self, app: str) -> None:
        """End all registrations of an app that has left. Raises `StoreError`."""
        for state in self.of(app):
            await self.remove(app, state.id)

    def check_allowed(self, targets: Sequence[str]) -> None:
        """Raises `SettingRefused` for a line of `webhook_allow` that is no target."""
        for line in targets:
            allowed_target(line)

    # -- delivering

    def _drive(self, callback: Callback) -> None:
        if not callback.progress.dead:
            self._tasks[callback.registration.id] = asyncio.create_task(self._deliver_all(callback))

    async def _deliver_all(self, callback: Callback) -> None:
        failures = 0
        while not callback.progress.dead:
            try:
                await self._deliver_new(callback)
                failures = 0
            except UnknownApp:
                return  # it has left; whoever let it go forgets its callbacks
            except (Unavailable, StoreError) as error:
                failures += 1
                logger.warning("events of %s cannot be read: %s", callback.registration.app, error)
                await self._sleep(self._wait_s(failures))
            except Exception:
                logger.exception("callback %s ends: this should not have happened", callback.registration.id)
                return

    async def _deliver_new(self, callback: Callback) -> None:
        """Deliver what has been told since the last acknowledged event; wait for something to be told if nothing has."""
        tick, progress = self._source.tick, callback.progress
        events = await self._source.events_since(callback.registration.app, progress.acknowledged, limit=_BATCH)
        if not events:
            await self._source.wait_published(tick)
            return
        for event in events:
            if callback.wants(event):
                await self._deliver(callback, event)
                if progress.dead:
                    return
            progress.acknowledged = event.id
            self._unsaved.set()

    async def _deliver(self, callback: Callback, event: wire.Notification) -> None:
        """Post an event until it is acknowledged, or the callback is dead."""
        body, progress = msgspec.json.encode(event), callback.progress
        while True:
            try:
                async with self._slots:
                    await self._post(callback.registration, event, body)
            except EcovisorError as error:
                progress.failures += 1
                progress.last_error = str(error)
            else:
                progress.failures, progress.last_error = 0, ""
                return
            self._unsaved.set()
            extra = {"callback": callback.registration.id, "event": event.id, "app": callback.registration.app}
            if progress.failures >= self._limits.failures:
                progress.dead = True
                logger.error("callback is dead after %d failures: %s", progress.failures, progress.last_error, extra=extra)
                await self._save()
                return
            logger.warning("delivery failed: %s", progress.last_error, extra=extra)
            await self._sleep(self._wait_s(progress.failures))

    async def _post(self, registration: Registration, event: wire.Notification, body: bytes) -> None:
        """One attempt. What the operator allows is asked anew each time. Raises `EcovisorError`."""
        if self._sender is None:
            raise Unavailable("stopped")
        target = check_target(registration.app, registration.url, self._source.allowed_webhooks(registration.app))
        headers = sign(registration.secret, event.id, body, self._source.clock.wall_s())
        headers |= {"Content-Type": "application/json", "User-Agent": f"ecovisor/{__version__}"}
        await self._sender.post(target, registration.url, body, headers)

    def _wait_s(self, failures: int) -> float:
        """After so many failures in a row: doubling, up to a limit, and by chance up to half of it shorter. [s]"""
        limits = self._limits
        whole_s = min(limits.first_wait_s * 2.0 ** min(failures - 1, 30), limits.longest_wait_s)
        return whole_s * self._chance.uniform(0.5, 1.0)

    # -- progress on disk

    async def _save_now_and_then(self) -> None:
        while True:
            await self._unsaved.wait()
            await self._save()
            await asyncio.sleep(self._limits.save_every_s)

    async def _save(self) -> None:
        progress = {key: msgspec.structs.replace(one.progress) for key, one in self._callbacks.items()}
        self._unsaved.clear()
        try:
            await asyncio.get_running_loop().run_in_executor(self._disk, self._register.save_progress, progress)
        except StoreError as error:
            logger.warning("progress of callbacks is not kept: %s", error)
            self._unsaved.set()
        except asyncio.CancelledError:
            self._unsaved.set()
            raise


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

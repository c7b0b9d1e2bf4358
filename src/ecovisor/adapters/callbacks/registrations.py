"""What is known of a callback, and how it outlives the process: the registration once, how far its deliveries have come every now and then.

Progress is written for all callbacks together, at most once in a while: what a crash forgets of it is delivered twice, which receivers
expect. A registration, its end and its death are on disk before they are told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from ecovisor import wire
from ecovisor.library.notifications import changed

_KIND = "webhook"
_PROGRESS = "webhook_progress"
_ALL = "all"


class Registry(Protocol):
    """Small durable facts by kind and key; slow, so called off the event loop. Raises `StoreError`."""

    def get(self, kind: str, key: str) -> bytes | None:
        """The value, or None."""
        ...

    def items(self, kind: str) -> Sequence[tuple[str, bytes]]:
        """All of a kind, by key."""
        ...

    def put(self, kind: str, key: str, value: bytes) -> None:
        """Set; on disk when it returns."""
        ...

    def delete(self, kind: str, key: str) -> None:
        """Remove, if it is there."""
        ...


class Registration(msgspec.Struct, frozen=True, kw_only=True):
    """What an app has registered."""

    id: str
    app: str
    url: str
    events: list[str]
    threshold_ratio: float
    secret: str
    since: str
    """Id of the last event before it."""
    registered_s: float
    """Wall time. [s since the epoch]"""


class Progress(msgspec.Struct, kw_only=True):
    """How far deliveries have come."""

    acknowledged: str
    failures: int = 0
    dead: bool = False
    last_error: str = ""


@dataclass(slots=True)
class Callback:
    """A registration at work."""

    registration: Registration
    progress: Progress
    last_told: dict[str, float] = field(default_factory=dict)

    def wants(self, event: wire.Notification) -> bool:
        """Whether an event is to be delivered: of a kind it asked for, and, for changes, far enough from what was last told."""
        if event.kind not in self.registration.events:
            return False
        if not event.kind.endswith("_change"):
            return True
        value = math.nan if event.value is None else event.value
        known = event.kind in self.last_told
        if known and not changed(value, self.last_told[event.kind], self.registration.threshold_ratio):
            return False
        self.last_told[event.kind] = value
        return True

    def state(self, *, secret: bool = False) -> wire.CallbackState:
        """As its app sees it."""
        one, progress = self.registration, self.progress
        return wire.CallbackState(
            id=one.id,
            url=one.url,
            events=list(one.events),
            threshold_ratio=one.threshold_ratio,
            failures=progress.failures,
            dead=progress.dead,
            last_error=progress.last_error,
            acknowledged=progress.acknowledged,
            secret=one.secret if secret else None,
        )


class Register:
    """The callbacks in the registry; all functions wait for the disk and raise `StoreError`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def load(self) -> list[Callback]:
        """All callbacks, oldest first."""
        stored = self._registry.get(_PROGRESS, _ALL)
        progress = msgspec.json.decode(stored, type=dict[str, Progress]) if stored is not None else {}
        found = [msgspec.json.decode(record, type=Registration) for _, record in self._registry.items(_KIND)]
        found.sort(key=lambda one: (one.registered_s, one.id))
        return [Callback(one, progress.get(one.id) or Progress(acknowledged=one.since)) for one in found]

    def add(self, registration: Registration) -> None:
        """Keep one."""
        self._registry.put(_KIND, registration.id, msgspec.json.encode(registration))

    def remove(self, callback_id: str) -> None:
        """Keep it no longer."""
        self._registry.delete(_KIND, callback_id)

    def save_progress(self, progress: dict[str, Progress]) -> None:
        """Keep how far all of them have come."""
        self._registry.put(_PROGRESS, _ALL, msgspec.json.encode(progress))

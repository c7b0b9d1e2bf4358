"""What the REST interface asks of a running ecovisor; `ecovisor.live` provides it, tests play it.

Nothing here blocks the event loop. Functions raise `SettingRefused` and `Infeasible` (answered with 422), `UnknownApp` (404),
`Refused` (409), `Unavailable` and `StoreError` (503).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ecovisor import wire
from ecovisor.ports import VirtualEnergy
from ecovisor.ports.live import Clock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Published:
    """A snapshot, serialised once for all who ask."""

    body: bytes
    """JSON."""
    etag: str
    """Quoted, as in the header."""
    tick: int


@dataclass(frozen=True, slots=True)
class Changed(Generic[T]):
    """What a change returned, and which tick it governs first."""

    value: T
    effective_tick: int


class Registry(Protocol):
    """Small durable facts by kind and key; a change is on disk before the call returns."""

    def get(self, kind: str, key: str) -> bytes | None:
        """The value, or None."""
        ...

    def items(self, kind: str) -> Sequence[tuple[str, bytes]]:
        """All of a kind, by key."""
        ...

    def put(self, kind: str, key: str, value: bytes) -> None:
        """Set. Raises `StoreError`."""
        ...

    def delete(self, kind: str, key: str) -> None:
        """Remove, if it is there. Raises `StoreError`."""
        ...


class Backend(Protocol):
    """A running ecovisor."""

    @property
    def clock(self) -> Clock:
        """Site and wall time."""
        ...

    @property
    def registry(self) -> Registry:
        """Where tokens and callbacks are kept. Slow: call it off the event loop."""
        ...

    @property
    def tick(self) -> int:
        """The newest published tick: that of the snapshots; negative before the first, and then there is nothing else to ask."""
        ...

    # What apps know

    def apps(self) -> Sequence[str]:
        """Names of the apps, without `_site`."""
        ...

    def shares(self) -> Mapping[str, wire.Shares]:
        """Shares by app, without `_site`: those that were last set. An app that joins at the next tick is there, one that leaves is not."""
        ...

    def snapshot(self, app: str) -> Published:
        """`wire.Snapshot`, with the settings made since the tick. Raises `UnknownApp`."""
        ...

    def site_snapshot(self) -> Published:
        """`wire.SiteSnapshot`."""
        ...

    def energy(self, app: str) -> VirtualEnergy:
        """The app's virtual energy system: for its getters only; changes go through `change`."""
        ...

    async def usage(self, app: str, start_s: float, end_s: float, container: str | None) -> wire.Usage:
        """From the ledger."""
        ...

    async def history(self, app: str, metric: str, start_s: float, end_s: float, step_s: float | None) -> wire.History:
        """From the ledger; None: a step of one tick."""
        ...

    async def forecast(self, app: str, signal: str, horizon_s: float) -> wire.Forecast:
        """Of `carbon` or `solar`."""
        ...

    async def logs(self, app: str, container_id: str, max_bytes: int) -> bytes:
        """The last of what a container wrote."""
        ...

    # Events

    async def wait_published(self, after_tick: int) -> int:
        """Wait until a tick later than ``after_tick`` has been published; returns the newest."""
        ...

    async def events_since(self, app: str | None, after: str, *, limit: int = 1000) -> Sequence[wire.Notification]:
        """Events later than an id, oldest first, the tick events among them; None: of all apps. From memory or from the ledger."""
        ...

    # Changes

    async def change(self, app: str, change: Callable[[VirtualEnergy], T]) -> Changed[T]:
        """Apply settings to an app's virtual energy system, in one go, between ticks' computations; on disk when it returns.

        What ``change`` raises comes out, and nothing has changed then. Containers and caps have been enforced when it returns.
        """
        ...

    async def report_metrics(self, app: str, metrics: wire.AppMetrics) -> None:
        """What an app says of itself."""
        ...

    async def tick_done(self, app: str, tick: int) -> None:
        """In lockstep: an app has answered a tick. Otherwise nothing."""
        ...

    # The operator's

    async def add_app(self, request: wire.AddApp) -> int:
        """Let an app join; returns its first tick. On disk when it returns."""
        ...

    async def remove_app(self, app: str) -> int:
        """Let an app leave, its containers ended; returns the first tick without it."""
        ...

    async def set_shares(self, shares: Mapping[str, wire.Shares]) -> int:
        """Change shares; returns the tick that they govern first."""
        ...

    async def set_sun(self, ratio: float) -> None:
        """Scale the emulated sun; `Refused` where the plant is real."""
        ...

    def allowed_webhooks(self, app: str) -> Sequence[str]:
        """Targets that the operator allows an app."""
        ...

    def ready(self) -> Sequence[str]:
        """Why it is not ready to serve; empty when it is."""
        ...

    def site_name(self) -> str:
        """For titles."""
        ...

"""Registered webhooks: what the interface asks of whoever delivers them (`ecovisor.adapters.callbacks` does), and the routes on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ecovisor import wire
from ecovisor.api.calls import Call, Reply
from ecovisor.api.problems import Rejected
from ecovisor.model.errors import Refused, SettingRefused


class Callbacks(Protocol):
    """Keeps registrations, and delivers events to them."""

    def of(self, app: str) -> Sequence[wire.CallbackState]:
        """The app's registrations, oldest first, without their secrets."""
        ...

    async def register(self, app: str, request: wire.AddCallback) -> wire.CallbackState:
        """Keep a registration; on disk when it returns, with its secret told this once.

        Raises `Refused` for a target that the operator does not allow (with the line to add), and for too many registrations;
        `SettingRefused` for what is no target or no kind of event; `StoreError`.
        """
        ...

    async def remove(self, app: str, callback_id: str) -> bool:
        """End a registration; False if the app has none of this id. Raises `StoreError`."""
        ...

    async def forget(self, app: str) -> None:
        """End all registrations of an app that has left. Raises `StoreError`."""
        ...

    def check_allowed(self, targets: Sequence[str]) -> None:
        """Raises `SettingRefused` for a line of `webhook_allow` that is no target."""
        ...


class NoCallbacks:
    """Where nobody delivers them."""

    def of(self, app: str) -> Sequence[wire.CallbackState]:
        """None."""
        return ()

    async def register(self, app: str, request: wire.AddCallback) -> wire.CallbackState:
        """Raises `Refused`."""
        raise Refused("this server delivers no callbacks; read /v1/events instead")

    async def remove(self, app: str, callback_id: str) -> bool:
        """There is none."""
        return False

    async def forget(self, app: str) -> None:
        """There is nothing to forget."""

    def check_allowed(self, targets: Sequence[str]) -> None:
        """Raises `SettingRefused` if there are any."""
        if targets:
            raise SettingRefused("webhook_allow: this server delivers no callbacks; leave it out")


async def list_callbacks(call: Call) -> Sequence[wire.CallbackState]:
    """``GET /v1/callbacks``."""
    return call.api.callbacks.of(call.app)


async def get_callback(call: Call) -> wire.CallbackState:
    """``GET /v1/callbacks/{id}``."""
    for state in call.api.callbacks.of(call.app):
        if state.id == call.path["id"]:
            return state
    raise _unknown(call.path["id"])


async def add_callback(call: Call) -> Reply:
    """``POST /v1/callbacks``."""
    state = await call.api.callbacks.register(call.app, call.body)
    return call.json(state, status=201, headers=((b"location", f"/v1/callbacks/{state.id}".encode()),))


async def remove_callback(call: Call) -> Reply:
    """``DELETE /v1/callbacks/{id}``."""
    if not await call.api.callbacks.remove(call.app, call.path["id"]):
        raise _unknown(call.path["id"])
    return Reply(status=204)


def _unknown(callback_id: str) -> Rejected:
    return Rejected(404, "unknown-callback", f"this app has no callback {callback_id!r}", field="id")

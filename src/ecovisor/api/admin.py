"""What the operator asks and changes: the physical site, apps, shares, tokens, the emulated sun, and metrics of everything."""

from __future__ import annotations

import asyncio

from ecovisor import wire
from ecovisor.api.calls import Call, Reply
from ecovisor.api.tokens import OPERATOR
from ecovisor.model.errors import UnknownApp
from ecovisor.model.units import iso_utc


async def get_site(call: Call) -> Reply:
    """``GET /v1/admin/site``."""
    published = call.backend.site_snapshot()
    return call.of_snapshot(published, published.body)


async def list_apps(call: Call) -> list[wire.AppEntry]:
    """``GET /v1/admin/apps``."""
    shares = call.backend.shares()
    return [
        wire.AppEntry(name=name, shares=held, webhook_allow=list(call.backend.allowed_webhooks(name)))
        for name, held in shares.items()
    ]


async def add_app(call: Call) -> Reply:
    """``POST /v1/admin/apps``. If the token cannot be stored, the app is there without one: rotate it."""
    request: wire.AddApp = call.body
    call.api.callbacks.check_allowed(request.webhook_allow)
    effective_tick = await call.backend.add_app(request)
    token = await asyncio.to_thread(call.api.tokens.issue, request.name)
    answer = wire.Credentials(app=request.name, token=token, effective_tick=effective_tick)
    return call.json(answer, status=201, headers=_SECRET)


async def remove_app(call: Call) -> wire.SettingAnswer:
    """``DELETE /v1/admin/apps/{name}``: its tokens and callbacks end with it."""
    name = _existing(call)
    effective_tick = await call.backend.remove_app(name)
    await asyncio.to_thread(call.api.tokens.revoke, name)
    await call.api.callbacks.forget(name)
    call.api.streams.close(name)
    return _done(effective_tick)


async def set_shares(call: Call) -> wire.SettingAnswer:
    """``PUT /v1/admin/shares``."""
    request: wire.ChangeShares = call.body
    return _done(await call.backend.set_shares(request.shares))


async def set_sun(call: Call) -> wire.SettingAnswer:
    """``PUT /v1/admin/sun``: it acts at once, and apps see it in the tick after."""
    request: wire.SetSun = call.body
    await call.backend.set_sun(request.sun_ratio)
    told = {"sun_ratio": request.sun_ratio}
    return wire.SettingAnswer(effective_tick=call.backend.tick, asked=dict(told), in_force=dict(told), clipped={})


def _done(effective_tick: int) -> wire.SettingAnswer:
    return wire.SettingAnswer(effective_tick=effective_tick, asked={}, in_force={}, clipped={})


# -- tokens

_SECRET = ((b"cache-control", b"no-store"),)


async def rotate_app_token(call: Call) -> Reply:
    """``POST /v1/admin/apps/{name}/token``."""
    return await _rotated(call, _existing(call))


async def rotate_operator_token(call: Call) -> Reply:
    """``POST /v1/admin/token``."""
    return await _rotated(call, None)


async def _rotated(call: Call, app: str | None) -> Reply:
    lifetime_s: float | None = call.query["lifetime"]
    grace_s: float = call.query["grace"] or 0.0
    token = await asyncio.to_thread(call.api.tokens.issue, app, lifetime_s=lifetime_s, grace_s=grace_s)
    if not grace_s:
        call.api.streams.close(app or OPERATOR)
    expires = None if lifetime_s is None else iso_utc(call.backend.clock.wall_s() + lifetime_s)
    return call.json(wire.Credentials(app=app or OPERATOR, token=token, expires=expires), status=201, headers=_SECRET)


def _existing(call: Call) -> str:
    """The app of the path, those included that join at the next tick, and those not that leave then."""
    name = call.path["name"]
    if name not in call.backend.shares():
        raise UnknownApp(f"there is no app {name!r}")
    return name


# -- metrics


async def get_metrics(call: Call) -> Reply:
    """``GET /metrics``."""
    return Reply(await call.api.metrics.text(call.backend.site_snapshot()), media=b"text/plain; version=0.0.4; charset=utf-8")

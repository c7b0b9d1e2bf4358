"""What an app asks about itself: parts of the tick's snapshot, and the ledger.

Snapshots are bytes, serialised once for all who ask; the parts are cut out of them undecoded.
"""

from __future__ import annotations

import msgspec

from ecovisor import wire
from ecovisor.api.calls import Call, Reply
from ecovisor.api.problems import Rejected
from ecovisor.model.units import human_duration

_LOG_BYTES = 64 * 1024
_DAY_S = 86400.0
_LONGEST_FORECAST_S = 14 * _DAY_S


class _Carbon(msgspec.Struct):
    budget: msgspec.Raw


class _Parts(msgspec.Struct):
    """Parts of a snapshot, as they stand in it."""

    solar: msgspec.Raw
    grid: msgspec.Raw
    battery: msgspec.Raw
    load: msgspec.Raw
    carbon: _Carbon
    containers: msgspec.Raw


_parts = msgspec.json.Decoder(_Parts)
_containers = msgspec.json.Decoder(list[wire.ContainerView])


async def get_energy(call: Call) -> Reply:
    """``GET /v1/energy``."""
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, published.body)


async def get_solar(call: Call) -> Reply:
    """``GET /v1/solar``."""
    return _part(call, "solar")


async def get_grid(call: Call) -> Reply:
    """``GET /v1/grid``."""
    return _part(call, "grid")


async def get_battery(call: Call) -> Reply:
    """``GET /v1/battery``."""
    return _part(call, "battery")


async def get_app(call: Call) -> Reply:
    """``GET /v1/app``."""
    return _part(call, "load")


async def list_containers(call: Call) -> Reply:
    """``GET /v1/containers``."""
    return _part(call, "containers")


def _part(call: Call, name: str) -> Reply:
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, bytes(getattr(_parts.decode(published.body), name)))


async def get_carbon_budget(call: Call) -> Reply:
    """``GET /v1/carbon/budget``."""
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, bytes(_parts.decode(published.body).carbon.budget))


# -- containers


async def get_container(call: Call) -> wire.ContainerView:
    """``GET /v1/containers/{id}``."""
    return _container(call, call.path["id"])


async def get_container_logs(call: Call) -> Reply:
    """``GET /v1/containers/{id}/logs``."""
    found = _container(call, call.path["id"])
    text = await call.backend.logs(call.app, found.id, _LOG_BYTES)
    return Reply(text, media=b"text/plain; charset=utf-8", headers=((b"cache-control", b"no-store"),))


async def get_carbon_rate(call: Call) -> wire.RateState:
    """``GET /v1/carbon/rate``."""
    found = _container(call, call.query["container"])
    return wire.RateState(container=found.id, carbon_rate_g_per_h=found.carbon_rate_g_per_h)


def _container(call: Call, container_id: str) -> wire.ContainerView:
    containers = _containers.decode(_parts.decode(call.backend.snapshot(call.app).body).containers)
    for view in containers:
        if view.id == container_id:
            return view
    raise unknown_container(container_id)


def unknown_container(container_id: str) -> Rejected:
    """The app has no container of this id; whether another app has is not said."""
    return Rejected(404, "unknown-container", f"this app has no container {container_id!r}", field="container")


# -- past and future


async def get_usage(call: Call) -> wire.Usage:
    """``GET /v1/usage``."""
    start_s, end_s = _interval(call)
    return await call.backend.usage(call.app, start_s, end_s, call.query["container"])


async def get_history(call: Call) -> wire.History:
    """``GET /v1/history``."""
    start_s, end_s = _interval(call)
    step_s: float | None = call.query["step"]
    most = call.api.limits.max_points
    if (end_s - start_s) / (step_s or call.backend.energy(call.app).tick_s) > most:
        raise Rejected(
            422,
            "invalid",
            f"the interval has more than {most} steps",
            field="step",
            bound=most,
            remedy="ask for a shorter interval, or for longer steps",
        )
    return await call.backend.history(call.app, call.query["metric"], start_s, end_s, step_s)


async def get_forecast(call: Call) -> wire.Forecast:
    """``GET /v1/forecast/{signal}``."""
    horizon_s = call.query["horizon"] or _DAY_S
    if horizon_s > _LONGEST_FORECAST_S:
        raise Rejected(
            422,
            "invalid",
            f"horizon: {human_duration(horizon_s)} is longer than 14 days",
            field="horizon",
            bound=_LONGEST_FORECAST_S,
        )
    return await call.backend.forecast(call.app, call.path["signal"], horizon_s)


def _interval(call: Call) -> tuple[float, float]:
    start_s: float = call.query["start"]
    end_s: float = call.backend.clock.site_s() if call.query["end"] is None else call.query["end"]
    if not start_s < end_s:
        default = " (the default: now)" if call.query["end"] is None else ""
        raise Rejected(
            422, "invalid", f"start is not before end{default}", field="start", bound=end_s, remedy="intervals are [start, end)"
        )
    return start_s, end_s

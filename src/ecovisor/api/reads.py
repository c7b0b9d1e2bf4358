"""What an app asks about itself: parts of the tick's snapshot, its containers as they are now, and the ledger.

Snapshots are bytes, serialised once a tick; the parts are cut out of them undecoded. Containers and their caps are looked up in the live
system, because a policy that has just added one must find it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from ecovisor import wire
from ecovisor.api.calls import Call, Reply
from ecovisor.api.problems import Rejected
from ecovisor.model.units import human_duration
from ecovisor.ports import ContainerInfo, VirtualEnergy

_LOG_BYTES = 64 * 1024
_DAY_S = 86400.0
_LONGEST_FORECAST_S = 14 * _DAY_S


class _Parts(msgspec.Struct):
    """Parts of a snapshot, as they stand in it."""

    solar: msgspec.Raw
    grid: msgspec.Raw
    battery: msgspec.Raw


class _Load(msgspec.Struct):
    load: wire.LoadState


class _Budget(msgspec.Struct):
    budget: msgspec.Raw


class _Carbon(msgspec.Struct):
    carbon: _Budget


class _Containers(msgspec.Struct):
    containers: list[wire.ContainerView]


_parts = msgspec.json.Decoder(_Parts)
_load = msgspec.json.Decoder(_Load)
_carbon = msgspec.json.Decoder(_Carbon)
_containers = msgspec.json.Decoder(_Containers)


async def get_energy(call: Call) -> Reply:
    """``GET /v1/energy``."""
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, published.body)


async def get_solar(call: Call) -> Reply:
    """``GET /v1/solar``."""
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, bytes(_parts.decode(published.body).solar))


async def get_grid(call: Call) -> Reply:
    """``GET /v1/grid``."""
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, bytes(_parts.decode(published.body).grid))


async def get_battery(call: Call) -> Reply:
    """``GET /v1/battery``."""
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, bytes(_parts.decode(published.body).battery))


async def get_carbon_budget(call: Call) -> Reply:
    """``GET /v1/carbon/budget``."""
    published = call.backend.snapshot(call.app)
    return call.of_snapshot(published, bytes(_carbon.decode(published.body).carbon.budget))


async def get_app(call: Call) -> wire.LoadState:
    """``GET /v1/app``: the tick's, but for the idle power, which is that of the containers of now."""
    load = _load.decode(call.backend.snapshot(call.app).body).load
    return msgspec.structs.replace(load, idle_power_w=call.energy.idle_power_w)


# -- containers


async def list_containers(call: Call) -> list[wire.ContainerView]:
    """``GET /v1/containers``."""
    return containers_now(call.energy, _containers.decode(call.backend.snapshot(call.app).body).containers)


async def get_container(call: Call) -> wire.ContainerView:
    """``GET /v1/containers/{id}``."""
    return _one(await list_containers(call), call.path["id"])


async def get_container_logs(call: Call) -> Reply:
    """``GET /v1/containers/{id}/logs``."""
    _one(await list_containers(call), call.path["id"])
    text = await call.backend.logs(call.app, call.path["id"], _LOG_BYTES)
    return Reply(text, media=b"text/plain; charset=utf-8", headers=((b"cache-control", b"no-store"),))


async def get_carbon_rate(call: Call) -> wire.RateState:
    """``GET /v1/carbon/rate``."""
    found = _one(await list_containers(call), call.query["container"])
    return wire.RateState(container=found.id, carbon_rate_g_per_h=found.carbon_rate_g_per_h)


def containers_now(energy: VirtualEnergy, told: Sequence[wire.ContainerView]) -> list[wire.ContainerView]:
    """The containers that there are now, with what the tick's snapshot knows of each."""
    known = {view.id: view for view in told}
    now = energy.list_containers()
    floor_w = _floor_of_new_w(energy, now, known)
    return [_now(info, known.get(info.id), floor_w) for info in now]


def _now(info: ContainerInfo, told: wire.ContainerView | None, floor_w_per_core: float) -> wire.ContainerView:
    cap_w = info.cap_w if info.cap_w < math.inf else None
    if told is None:
        return wire.ContainerView(
            id=info.id,
            state="starting" if info.running else "suspended",
            cores=info.cores,
            power_w=info.power_w,
            cap_w=cap_w,
            floor_w=floor_w_per_core * info.cores,
            command="",
            exit_code=None,
            carbon_rate_g_per_h=None,
            quality="estimated",
        )
    state = told.state
    if not info.running and state in {"running", "starting"}:
        state = "suspended"
    elif info.running and state == "suspended":
        state = "running"
    floor_w = told.floor_w * info.cores / told.cores
    return msgspec.structs.replace(told, state=state, cores=info.cores, power_w=info.power_w, cap_w=cap_w, floor_w=floor_w)


def _floor_of_new_w(energy: VirtualEnergy, now: Sequence[ContainerInfo], known: dict[str, wire.ContainerView]) -> float:
    """Idle power of a core of the containers that are too new to be in the snapshot: what the others leave of the app's. [W]"""
    new_cores = math.fsum(info.cores for info in now if info.running and info.id not in known)
    if new_cores == 0.0:
        return 0.0
    others_w = math.fsum(
        known[info.id].floor_w * info.cores / known[info.id].cores for info in now if info.running and info.id in known
    )
    return max(energy.idle_power_w - others_w, 0.0) / new_cores


def _one(containers: Sequence[wire.ContainerView], container_id: str) -> wire.ContainerView:
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
    if (end_s - start_s) / (step_s or call.energy.tick_s) > most:
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

"""The table of routes: routing, OpenAPI, the documentation and the tests of server and client are made from it, and from nothing else.

Each row says who may ask, what is sent and what is answered, by structs of `ecovisor.wire`. Who answers is named in the row; handlers are
in `reads`, `changes`, `events`, `callbacks`, `admin` and `public`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from ecovisor import wire
from ecovisor.api import admin, callbacks, changes, events, public, reads
from ecovisor.api.calls import Call
from ecovisor.api.decoding import Kind, Query

Handler = Callable[[Call], Awaitable[Any]]


class Who(StrEnum):
    """Who may ask."""

    APP = "app"
    """An app, of itself; the operator may read, naming the app with `?app=`."""
    OPERATOR = "operator"
    ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked."""

    method: str
    path: str
    who: Who
    handler: Handler
    summary: str
    answer: Any = None
    """Type of the answer's body; None: there is none."""
    request: type[msgspec.Struct] | None = None
    query: tuple[Query, ...] = ()
    errors: tuple[int, ...] = ()
    """Statuses of problems, besides those that every route may have."""
    status: int = 200
    media: str = "application/json"

    @property
    def name(self) -> str:
        """Unique; `operationId` in OpenAPI."""
        return self.handler.__name__

    @property
    def reads(self) -> bool:
        """Whether nothing changes."""
        return self.method == "GET"

    @property
    def parameters(self) -> tuple[Query, ...]:
        """The query parameters, with the operator's."""
        return (*self.query, APP) if self.who is Who.APP and self.reads else self.query


APP = Query("app", Kind.NAME, "The operator's: whose resource. An app may only name itself.")
CONTAINER = Query("container", Kind.NAME, "Id of a container; default: the whole app.")
START = Query("start", Kind.INSTANT, "Site time; bounds snap outward to ticks.", required=True)
END = Query("end", Kind.INSTANT, "Site time, not included. Default: now.")
HORIZON = Query("horizon", Kind.DURATION, "How far to look. Default: 24h; at most 14d.")
KINDS = Query("kinds", Kind.NAMES, "Only these kinds of event, joined by commas. Default: all.")
AFTER = Query("after", Kind.EVENT, "Only events later than this id; the header `Last-Event-ID` does the same and goes first.")
GRACE = Query("grace", Kind.DURATION, "For how long the token before goes on, wall time. Default: it ends at once.")
LIFETIME = Query("lifetime", Kind.DURATION, "When the new token expires, wall time. Default: never.")

_STREAM = "text/event-stream"

ROUTES: tuple[Route, ...] = (
    # -- what an app sees
    Route("GET", "/v1/energy", Who.APP, reads.get_energy, "All that the app knows at this tick", wire.Snapshot),
    Route("GET", "/v1/solar", Who.APP, reads.get_solar, "The virtual solar array", wire.SolarState),
    Route("GET", "/v1/grid", Who.APP, reads.get_grid, "The virtual grid connection", wire.GridState),
    Route("GET", "/v1/battery", Who.APP, reads.get_battery, "The virtual battery", wire.BatteryState),
    Route(
        "PATCH",
        "/v1/battery",
        Who.APP,
        changes.change_battery,
        "Set charge rate and largest discharge",
        wire.SettingAnswer,
        wire.ChangeBattery,
    ),
    Route("GET", "/v1/app", Who.APP, reads.get_app, "What the app draws, its cap and scale", wire.LoadState),
    Route(
        "PATCH", "/v1/app", Who.APP, changes.change_app, "Cap or scale all containers together", wire.SettingAnswer, wire.ScaleApp
    ),
    Route(
        "PUT", "/v1/app/metrics", Who.APP, changes.report_metrics, "Tell the app's own metrics", None, wire.AppMetrics, status=204
    ),
    Route("PUT", "/v1/app/tick", Who.APP, changes.finish_tick, "Lockstep: all is set for a tick", None, wire.TickDone, status=204),
    # -- containers
    Route("GET", "/v1/containers", Who.APP, reads.list_containers, "The app's containers", list[wire.ContainerView]),
    Route(
        "POST",
        "/v1/containers",
        Who.APP,
        changes.add_container,
        "Start a container",
        wire.SettingAnswer,
        wire.AddContainer,
        errors=(409,),
        status=201,
    ),
    Route("GET", "/v1/containers/{id}", Who.APP, reads.get_container, "One container", wire.ContainerView, errors=(404,)),
    Route(
        "PATCH",
        "/v1/containers/{id}",
        Who.APP,
        changes.change_container,
        "Cap, resize, suspend or resume a container",
        wire.SettingAnswer,
        wire.ChangeContainer,
        errors=(404,),
    ),
    Route(
        "DELETE",
        "/v1/containers/{id}",
        Who.APP,
        changes.remove_container,
        "Stop and remove a container",
        wire.SettingAnswer,
        errors=(404,),
    ),
    Route(
        "GET",
        "/v1/containers/{id}/logs",
        Who.APP,
        reads.get_container_logs,
        "The last 64 KiB that a container wrote",
        str,
        errors=(404,),
        media="text/plain",
    ),
    # -- past and future
    Route(
        "GET",
        "/v1/usage",
        Who.APP,
        reads.get_usage,
        "Energy, carbon and cost over an interval",
        wire.Usage,
        query=(START, END, CONTAINER),
    ),
    Route(
        "GET",
        "/v1/history",
        Who.APP,
        reads.get_history,
        "A column of the ledger over an interval",
        wire.History,
        query=(
            Query("metric", Kind.NAME, "A column of the `flows` table.", required=True),
            START,
            END,
            Query("step", Kind.DURATION, "Default: one tick."),
        ),
    ),
    Route(
        "GET",
        "/v1/forecast/{signal}",
        Who.APP,
        reads.get_forecast,
        "What carbon intensity, or the app's solar power, is expected to be",
        wire.Forecast,
        query=(HORIZON,),
        errors=(404,),
    ),
    # -- carbon
    Route(
        "GET",
        "/v1/carbon/budget",
        Who.APP,
        reads.get_carbon_budget,
        "The carbon budget; null: none is set",
        wire.BudgetState | None,
    ),
    Route(
        "PUT", "/v1/carbon/budget", Who.APP, changes.set_carbon_budget, "Set the carbon budget", wire.SettingAnswer, wire.SetBudget
    ),
    Route(
        "GET",
        "/v1/carbon/rate",
        Who.APP,
        reads.get_carbon_rate,
        "The limit on a container's rate of emission",
        wire.RateState,
        query=(Query("container", Kind.NAME, "Id of the container.", required=True),),
        errors=(404,),
    ),
    Route(
        "PUT",
        "/v1/carbon/rate",
        Who.APP,
        changes.set_carbon_rate,
        "Limit a container's rate of emission",
        wire.SettingAnswer,
        wire.SetRate,
        query=(Query("container", Kind.NAME, "Id of the container.", required=True),),
        errors=(404,),
    ),
    # -- events
    Route(
        "GET",
        "/v1/events",
        Who.APP,
        events.stream_events,
        "Events as they happen (server-sent events)",
        wire.Notification,
        query=(KINDS, AFTER),
        media=_STREAM,
    ),
    Route("GET", "/v1/callbacks", Who.APP, callbacks.list_callbacks, "Registered webhooks", list[wire.CallbackState]),
    Route(
        "POST",
        "/v1/callbacks",
        Who.APP,
        callbacks.add_callback,
        "Have events sent to a URL",
        wire.CallbackState,
        wire.AddCallback,
        errors=(409,),
        status=201,
    ),
    Route("GET", "/v1/callbacks/{id}", Who.APP, callbacks.get_callback, "One webhook", wire.CallbackState, errors=(404,)),
    Route("DELETE", "/v1/callbacks/{id}", Who.APP, callbacks.remove_callback, "End a webhook", errors=(404,), status=204),
    # -- the operator's
    Route("GET", "/v1/admin/site", Who.OPERATOR, admin.get_site, "The physical system and all apps", wire.SiteSnapshot),
    Route("GET", "/v1/admin/apps", Who.OPERATOR, admin.list_apps, "Apps and their shares", list[wire.AppEntry]),
    Route(
        "POST",
        "/v1/admin/apps",
        Who.OPERATOR,
        admin.add_app,
        "Let an app join, with a token",
        wire.Credentials,
        wire.AddApp,
        errors=(409,),
        status=201,
    ),
    Route("DELETE", "/v1/admin/apps/{name}", Who.OPERATOR, admin.remove_app, "Let an app leave", wire.SettingAnswer, errors=(404,)),
    Route(
        "POST",
        "/v1/admin/apps/{name}/token",
        Who.OPERATOR,
        admin.rotate_app_token,
        "Give an app a new token",
        wire.Credentials,
        query=(GRACE, LIFETIME),
        errors=(404,),
        status=201,
    ),
    Route(
        "POST",
        "/v1/admin/token",
        Who.OPERATOR,
        admin.rotate_operator_token,
        "Make a new operator's token",
        wire.Credentials,
        query=(GRACE, LIFETIME),
        status=201,
    ),
    Route(
        "PUT",
        "/v1/admin/shares",
        Who.OPERATOR,
        admin.set_shares,
        "Change shares at one tick boundary",
        wire.SettingAnswer,
        wire.ChangeShares,
        errors=(404,),
    ),
    Route(
        "PUT",
        "/v1/admin/sun",
        Who.OPERATOR,
        admin.set_sun,
        "Scale the emulated sun",
        wire.SettingAnswer,
        wire.SetSun,
        errors=(409,),
    ),
    Route(
        "GET",
        "/v1/admin/events",
        Who.OPERATOR,
        events.stream_site_events,
        "Events of all apps (server-sent events)",
        wire.Notification,
        query=(KINDS, AFTER),
        media=_STREAM,
    ),
    Route("GET", "/metrics", Who.OPERATOR, admin.get_metrics, "For Prometheus", str, media="text/plain"),
    # -- anyone's
    Route("GET", "/healthz", Who.ANYONE, public.get_health, "Whether the server is alive", wire.Health),
    Route("GET", "/readyz", Who.ANYONE, public.get_readiness, "Whether it does all that it should; 503 if not", wire.Health),
    Route("GET", "/openapi.json", Who.ANYONE, public.get_openapi, "This interface, as OpenAPI 3.1", dict[str, Any]),
    Route("GET", "/docs", Who.ANYONE, public.get_docs, "This interface, for people", str, media="text/html"),
)

#: Path parameters: what they are, and the only values where they are listed.
PATH_PARAMETERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "id": ("Id, as the list has it.", ()),
    "name": ("Name of an app.", ()),
    "signal": ("Which signal.", ("carbon", "solar")),
}

#: Statuses of problems that a route may always have, by who may ask.
COMMON_ERRORS: dict[Who, tuple[int, ...]] = {
    Who.ANYONE: (422, 429, 500, 503),
    Who.APP: (401, 403, 422, 429, 500, 503),
    Who.OPERATOR: (401, 403, 422, 429, 500, 503),
}
BODY_ERRORS = (400, 408, 413, 415)


def errors_of(route: Route) -> tuple[int, ...]:
    """All statuses of problems that a route may have, sorted."""
    body = BODY_ERRORS if route.request is not None else ()
    named = (404,) if route.who is Who.APP and route.reads else ()
    return tuple(sorted({*COMMON_ERRORS[route.who], *body, *named, *route.errors}))

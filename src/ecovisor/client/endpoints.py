"""What the client asks of the REST interface: one row per request, with the structs of `ecovisor.wire` that go and come.

The server has its own table of routes; a test proves that the two agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

from ecovisor import wire

A = TypeVar("A")

#: Numbers cross exactly: the shortest text of a float reads back as the same float.
encode = msgspec.json.Encoder().encode


class Endpoint(Generic[A]):
    """One request.

    Args:
        method, path: of HTTP; ``{name}`` in the path stands for a part to be filled in.
        answer: what the answer's body is, as the server's table has it.
        request: the struct that is sent; None where there is none.
        query: names of the query parameters that may be given.
        decode: the body's value; default: JSON of the answer's type.
    """

    def __init__(
        self,
        method: str,
        path: str,
        answer: type[A],
        request: type[msgspec.Struct] | None = None,
        *,
        query: tuple[str, ...] = (),
        decode: Callable[[bytes], A] | None = None,
    ) -> None:
        self.method = method
        self.path = path
        self.answer = answer
        self.request = request
        self.query = query
        self.decode: Callable[[bytes], A] = msgspec.json.Decoder(answer).decode if decode is None else decode

    @property
    def changes(self) -> bool:
        """Whether it is to change something."""
        return self.method != "GET"


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _nothing(body: bytes) -> None:
    return None


ENERGY = Endpoint("GET", "/v1/energy", wire.Snapshot)
APP = Endpoint("GET", "/v1/app", wire.LoadState)
CONTAINERS = Endpoint("GET", "/v1/containers", list[wire.ContainerView])
LOGS = Endpoint("GET", "/v1/containers/{id}/logs", str, decode=_text)
USAGE = Endpoint("GET", "/v1/usage", wire.Usage, query=("start", "end", "container"))
HISTORY = Endpoint("GET", "/v1/history", wire.History, query=("metric", "start", "end"))
FORECAST = Endpoint("GET", "/v1/forecast/{signal}", wire.Forecast, query=("horizon",))
EVENTS = Endpoint("GET", "/v1/events", wire.Notification)

CHANGE_BATTERY = Endpoint("PATCH", "/v1/battery", wire.SettingAnswer, wire.ChangeBattery)
CHANGE_APP = Endpoint("PATCH", "/v1/app", wire.SettingAnswer, wire.ScaleApp)
ADD_CONTAINER = Endpoint("POST", "/v1/containers", wire.SettingAnswer, wire.AddContainer)
CHANGE_CONTAINER = Endpoint("PATCH", "/v1/containers/{id}", wire.SettingAnswer, wire.ChangeContainer)
REMOVE_CONTAINER = Endpoint("DELETE", "/v1/containers/{id}", wire.SettingAnswer)
SET_BUDGET = Endpoint("PUT", "/v1/carbon/budget", wire.SettingAnswer, wire.SetBudget)
SET_RATE = Endpoint("PUT", "/v1/carbon/rate", wire.SettingAnswer, wire.SetRate, query=("container",))
METRICS = Endpoint("PUT", "/v1/app/metrics", type(None), wire.AppMetrics, decode=_nothing)
TICK = Endpoint("PUT", "/v1/app/tick", type(None), wire.TickDone, decode=_nothing)

CALLBACKS = Endpoint("GET", "/v1/callbacks", list[wire.CallbackState])
ADD_CALLBACK = Endpoint("POST", "/v1/callbacks", wire.CallbackState, wire.AddCallback)
REMOVE_CALLBACK = Endpoint("DELETE", "/v1/callbacks/{id}", type(None), decode=_nothing)

ALL: tuple[Endpoint[Any], ...] = tuple(one for one in globals().copy().values() if isinstance(one, Endpoint))

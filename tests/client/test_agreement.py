"""The client's requests are rows of the server's table of routes."""

from __future__ import annotations

from typing import Any

import pytest

from ecovisor.api.decoding import Kind
from ecovisor.api.routes import ROUTES, Route, Who
from ecovisor.client import endpoints
from ecovisor.client.endpoints import Endpoint

TABLE: dict[tuple[str, str], Route] = {(route.method, route.path): route for route in ROUTES}
#: What an app can also ask for, and has from the snapshot already.
IN_THE_SNAPSHOT = {
    ("GET", "/v1/solar"),
    ("GET", "/v1/grid"),
    ("GET", "/v1/battery"),
    ("GET", "/v1/carbon/budget"),
    ("GET", "/v1/carbon/rate"),
    ("GET", "/v1/containers/{id}"),
    ("GET", "/v1/callbacks/{id}"),
}


@pytest.mark.parametrize("endpoint", endpoints.ALL, ids=lambda one: f"{one.method} {one.path}")
def test_a_request_of_the_client_is_a_route_of_the_server(endpoint: Endpoint[Any]) -> None:
    route = TABLE[endpoint.method, endpoint.path]
    assert route.who is Who.APP
    assert route.answer == (None if endpoint.answer is type(None) else endpoint.answer)
    assert route.request is endpoint.request
    taken = {query.name for query in route.parameters}
    assert set(endpoint.query) <= taken
    assert {query.name for query in route.query if query.required} <= set(endpoint.query)


def test_the_client_has_a_function_for_all_that_an_app_may_do() -> None:
    asked = {(endpoint.method, endpoint.path) for endpoint in endpoints.ALL}
    assert {key for key, route in TABLE.items() if route.who is Who.APP} == asked | IN_THE_SNAPSHOT


def test_instants_and_durations_may_be_seconds() -> None:
    from ecovisor.api.decoding import query_values

    for route in ROUTES:
        for query in route.query:
            if query.kind in (Kind.INSTANT, Kind.DURATION):
                text = repr(1_590_969_600.1234567)
                values = query_values(f"{query.name}={text}".encode(), [query])
                assert values[query.name] == float(text)

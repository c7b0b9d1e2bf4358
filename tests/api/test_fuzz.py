"""Requests made up over the whole table of routes: never a 500, never a hang, always a problem where there is no answer."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.serving import Site

from ecovisor import wire
from ecovisor.api.decoding import Kind
from ecovisor.api.limits import Limits
from ecovisor.api.routes import ROUTES, Route, Who, errors_of

STREAMS = {"stream_events", "stream_site_events"}
HARMFUL = {"remove_app", "rotate_app_token", "rotate_operator_token"}
"""They take the fuzzer's tokens away; `test_isolation` and `test_changes` try them."""

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["c1", "app", "tick", "..", "\x00", "https://x", "http://169.254.169.254/"]),
)
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8
)
GOOD = st.floats(0.0, 100.0) | st.integers(0, 10) | st.none() | st.booleans()
SEGMENTS = st.one_of(st.sampled_from(["c1", "c2", "carbon", "..", "%2e%2e", "%00"]), st.from_regex(r"[!-~]{1,20}", fullmatch=True))
ODD = st.one_of(
    st.text(max_size=30), st.sampled_from(["nan", "-1", "1e400", "0s", "..", "1590969600", "c1", "app", "neighbour", "_site"])
)
FITTING = {
    Kind.INSTANT: ["1590969600", "2020-06-01T00:00:00Z", "2020-06-01T02:10:00+02:00"],
    Kind.DURATION: ["1h", "900", "2d 4h"],
    Kind.NAME: ["c1", "app", "demand_w", "solar_w"],
    Kind.NAMES: ["tick", "tick,gap"],
    Kind.EVENT: ["0.0", "12.3"],
}


@st.composite
def bodies(draw: st.DrawFn, route: Route) -> bytes | None:
    """What a client may send: a struct's fields with any values, or any bytes."""
    if route.request is None or draw(st.integers(0, 9)) == 0:
        return draw(st.none() | st.binary(max_size=60))
    values = draw(st.sampled_from([GOOD, GOOD, TREES]))
    fields: dict[str, Any] = {name: draw(values) for name in route.request.__struct_fields__ if draw(st.booleans())}
    if draw(st.integers(0, 5)) == 0:
        fields[draw(st.text(max_size=10))] = draw(TREES)
    return json.dumps(fields).encode()


@st.composite
def queries(draw: st.DrawFn, route: Route) -> list[Any]:
    """Declared parameters with fitting values for the most part, and others."""
    asked = [query for query in route.query if draw(st.integers(0, 9)) < (9 if query.required else 4)]
    found = [(query.name, draw(st.sampled_from(FITTING[query.kind]) if draw(st.integers(0, 5)) else ODD)) for query in asked]
    if draw(st.integers(0, 5)) == 0:
        found.append((draw(st.sampled_from(["app", "x", *(query.name for query in route.parameters)])), draw(ODD)))
    return found


FUZZED = pytest.mark.parametrize("route", [one for one in ROUTES if one.name not in STREAMS | HARMFUL], ids=lambda one: one.name)
SHARED = [HealthCheck.function_scoped_fixture]


@FUZZED
@settings(max_examples=6, deadline=None, suppress_health_check=SHARED)
@given(data=st.data())
def test_no_request_brings_the_server_down(site: Site, route: Route, data: st.DataObject) -> None:
    try_once(site, route, data)


@pytest.mark.slow
@FUZZED
@settings(max_examples=500, deadline=None, suppress_health_check=SHARED)
@given(data=st.data())
def test_no_request_among_many_brings_the_server_down(site: Site, route: Route, data: st.DataObject) -> None:
    try_once(site, route, data)


def try_once(site: Site, route: Route, data: st.DataObject) -> None:
    """One request, and what must hold of its answer."""
    fitting = None if route.who is Who.OPERATOR else "app"
    who = data.draw(st.sampled_from([fitting, fitting, fitting, "app", None, ""]))
    path = re.sub(r"{\w+}", lambda _: data.draw(SEGMENTS), route.path)
    query = data.draw(queries(route))
    if who is None and route.who is Who.APP:
        query.append(("app", data.draw(st.sampled_from(["app", "neighbour", "_site", "nobody"]))))
    body = data.draw(bodies(route))
    headers = {"content-type": data.draw(st.sampled_from(["application/json"] * 5 + ["text/plain"]))}
    with site.client(who) as client:
        try:
            answer = client.request(route.method, path, params=query, content=body, headers=headers)
        except httpx.InvalidURL:
            return  # the client itself refuses
    status = answer.status_code
    assert status not in {500, 503}, answer.text
    if status >= 400:
        problem = msgspec.json.decode(answer.content, type=wire.Problem)
        assert problem.status == status
        assert answer.headers["content-type"] == "application/problem+json"
    if answer.headers.get("content-type", "").startswith("application/json"):
        json.loads(answer.content, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    plain = "/" not in path.removeprefix(re.split(r"{", route.path)[0])
    if plain and "{" not in route.path:
        assert status in {route.status, 304, *errors_of(route)}, "every status is documented"


def test_the_fuzzer_is_held_back_by_no_limit(site: Site) -> None:
    assert site.interface.limits == Limits()
    assert Limits().requests_burst > 12 * len(ROUTES)

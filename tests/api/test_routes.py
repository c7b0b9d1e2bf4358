"""Routes, OpenAPI, the pages and the running server say the same, because all of it is made from one table."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route as StarletteRoute
from tests.api.serving import Site, serving

from ecovisor import wire
from ecovisor.api import problems
from ecovisor.api.openapi import document
from ecovisor.api.routes import PATH_PARAMETERS, ROUTES, Route, Who, errors_of
from ecovisor.testing.sites import START_S

#: What stands for path and query parameters, so that the played site has an answer.
PATH = {"id": "c1", "name": "app", "signal": "carbon"}
QUERY = {"start": str(START_S), "end": str(START_S + 900), "container": "c1", "metric": "demand_w"}
BODIES: dict[str, dict[str, Any]] = {
    "change_battery": {"charge_rate_w": 3.0},
    "change_app": {"cap_w": 20.0},
    "report_metrics": {"metrics": {"queue": 3}},
    "finish_tick": {"tick": 1},
    "add_container": {"cores": 1},
    "change_container": {"cap_w": 3.0},
    "set_carbon_budget": {"budget_g": 10.0},
    "set_carbon_rate": {"carbon_rate_g_per_h": 5.0},
    "add_app": {"name": "new", "shares": {"grid": 0, "solar": 0, "battery_energy": 0, "battery_power": 0}},
    "set_shares": {"shares": {"app": {"grid": 0, "solar": 0, "battery_energy": 0, "battery_power": 0}}},
    "set_sun": {"sun_ratio": 0.5},
}
STREAMS = {"stream_events", "stream_site_events"}
CALLBACKS = {"add_callback", "get_callback", "remove_callback"}


def ask(site: Site, route: Route, app: str | None) -> httpx.Response:
    """A request that a route answers well."""
    path = re.sub(r"{(\w+)}", lambda found: PATH[found[1]], route.path)
    query = {one.name: QUERY[one.name] for one in route.query if one.name in QUERY}
    with site.client(app) as client:
        return client.request(route.method, path, params=query, json=BODIES.get(route.name))


def test_the_document_is_openapi_3_1(site: Site) -> None:
    with site.client("") as client:
        served = client.get("/openapi.json").raise_for_status().json()
    assert served["openapi"].startswith("3.1")
    assert list(OpenAPIV31SpecValidator(served).iter_errors()) == []


def test_document_and_routing_have_the_routes_of_the_table(site: Site) -> None:
    table = {(route.method, route.path) for route in ROUTES}
    specified = {(method.upper(), path) for path, methods in document(ROUTES)["paths"].items() for method in methods}
    assert specified == table
    routed = {route.path for route in site.interface._router.routes if isinstance(route, StarletteRoute)}
    assert routed == {path for _, path in table}
    assert len(table) == len(ROUTES)


@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
def test_the_server_allows_the_methods_of_the_table_and_no_other(site: Site, path: str) -> None:
    methods = {route.method for route in ROUTES if route.path == path}
    expected = methods | ({"HEAD"} if "GET" in methods else set())
    with site.client(None) as client:
        answer = client.request("OPTIONS", re.sub(r"{(\w+)}", lambda found: PATH[found[1]], path))
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == expected


def test_names_of_operations_are_unique() -> None:
    names = [route.name for route in ROUTES]
    assert len(set(names)) == len(names)


def test_every_parameter_of_a_path_is_described() -> None:
    named = {name for route in ROUTES for name in re.findall(r"{(\w+)}", route.path)}
    assert named == set(PATH_PARAMETERS)


ASKED = [route for route in ROUTES if route.name not in STREAMS | CALLBACKS]


@pytest.mark.parametrize("route", ASKED, ids=lambda route: route.name)
def test_a_route_answers_what_the_table_says(route: Route, site: Site) -> None:
    who = None if route.who is Who.OPERATOR else "app"
    if route.reads:
        answer = ask(site, route, who)
    else:
        with serving() as own:
            answer = ask(own, route, who)
    assert answer.status_code == route.status, answer.text
    if route.answer is None:
        assert answer.content == b""
        return
    assert answer.headers["content-type"].partition(";")[0] == route.media
    if route.answer is not str:
        strict = msgspec.json.decode(answer.content, type=route.answer)
        assert msgspec.to_builtins(strict) == answer.json(), "nothing is sent that the struct does not have"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.who is not Who.ANYONE], ids=lambda route: route.name)
def test_a_route_that_is_somebodys_asks_for_a_token(site: Site, route: Route) -> None:
    answer = ask(site, route, "")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.who is Who.OPERATOR], ids=lambda route: route.name)
def test_what_is_the_operators_is_no_apps(site: Site, route: Route) -> None:
    answer = ask(site, route, "app")
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.who is Who.APP and not route.reads], ids=lambda route: route.name
)
def test_only_the_app_itself_changes_its_settings(site: Site, route: Route) -> None:
    path = re.sub(r"{(\w+)}", lambda found: PATH[found[1]], route.path)
    with site.client(None) as client:
        answer = client.request(route.method, path, params={"app": "app"}, json=BODIES.get(route.name))
        assert answer.status_code in {403, 422}
        assert client.request(route.method, path, json=BODIES.get(route.name)).status_code in {403, 422}


def test_statuses_that_can_happen_are_documented() -> None:
    paths = document(ROUTES)["paths"]
    for route in ROUTES:
        described = set(paths[route.path][route.method.lower()]["responses"])
        assert described == {str(route.status), *(str(status) for status in errors_of(route))}


def test_every_field_of_the_document_says_what_it_is() -> None:
    schemas = document(ROUTES)["components"]["schemas"]
    assert schemas["ChangeBattery"]["properties"]["charge_rate_w"]["description"].endswith("[W]")
    silent = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if field.endswith(("_w", "_wh", "_g")) and "description" not in inner
    }
    assert silent == set()


def test_the_page_of_the_documentation_names_every_route_and_no_address_outside(site: Site) -> None:
    with site.client("") as client:
        answer = client.get("/docs")
    page = answer.text
    for route in ROUTES:
        assert f'id="{route.name}"' in page
        assert route.path in page
    for name in document(ROUTES)["components"]["schemas"]:
        assert f'id="schema-{name}"' in page
    loaded = re.findall(r"(?:src|href)=\"?([^\"\s>]+)", page)
    assert [one for one in loaded if not one.startswith(("#", "data:,", "openapi.json"))] == []
    assert "<script" not in page
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_links_within_the_page_lead_somewhere(site: Site) -> None:
    with site.client("") as client:
        page = client.get("/docs").text
    ids = set(re.findall(r'id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids


def test_the_written_page_has_the_routes_of_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rest.md").read_text("utf-8")
    written = set(re.findall(r"^\| `(GET|PATCH|POST|PUT|DELETE) (/[^`?]*)", text, re.MULTILINE))
    assert written == {(route.method, route.path) for route in ROUTES}


def test_requests_and_answers_are_structs_of_the_wire() -> None:
    for route in ROUTES:
        if route.request is not None:
            assert getattr(wire, route.request.__name__) is route.request
            assert route.request.__struct_config__.forbid_unknown_fields


def test_the_written_page_has_every_type_of_problem() -> None:
    api = Path(problems.__file__).parent
    kinds = {name for _, _, name in problems._OURS} | {"internal"}
    for source in api.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in {"Rejected", "_refuse"} and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                    kinds.add(str(node.args[1].value))
    text = (Path(__file__).parents[2] / "docs" / "rest.md").read_text("utf-8")
    assert set(re.findall(r"`tag:([a-z-]+)`", text)) == kinds | {"url"}

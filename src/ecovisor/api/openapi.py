"""The table of routes as OpenAPI 3.1. Schemas come from the structs of `ecovisor.wire`, descriptions from the lines below their fields."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from types import ModuleType
from typing import Any

import msgspec

from ecovisor import __version__, wire
from ecovisor.api.decoding import Kind, Query
from ecovisor.api.routes import PATH_PARAMETERS, Route, Who, errors_of
from ecovisor.wire import answers, requests

Json = dict[str, Any]

_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"{(\w+)}")
_INTRODUCTION = """\
A virtual energy system for every application: its own grid connection, solar array, battery and carbon account.

Send `Authorization: Bearer TOKEN`; through a Unix socket that is an app's own, none is needed. The operator reads an app's resources with
`?app=NAME`. Powers are in W, energies in Wh, carbon in g. Settings govern the tick that their answer names; what is valid but beyond a
limit is kept as asked, clipped, and told. Errors are `application/problem+json` (RFC 9457)."""

_QUERY_SCHEMAS: Mapping[Kind, Json] = {
    Kind.INSTANT: {
        "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number", "minimum": 0}],
        "description": "ISO 8601 with its zone, or seconds since the epoch.",
    },
    Kind.DURATION: {
        "anyOf": [{"type": "string", "examples": ["1h", "1h 30min"]}, {"type": "number", "exclusiveMinimum": 0}],
        "description": "`5min`, `1h`, `2d`, or seconds.",
    },
    Kind.NAME: {"type": "string"},
    Kind.NAMES: {"type": "string", "description": "Names joined by commas."},
    Kind.EVENT: {"type": "string", "pattern": r"^\d+\.\d+$"},
}


def document(routes: Sequence[Route]) -> Json:
    """The OpenAPI document of a table of routes."""
    types = [wire.Problem, *(route.request for route in routes if route.request), *(_of(route) for route in routes)]
    schemas, components = msgspec.json.schema_components([one for one in types if one is not None], ref_template=_REF)
    by_type = dict(zip([str(one) for one in types if one is not None], schemas, strict=True))
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "ecovisor", "version": __version__, "description": _INTRODUCTION, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {name: _described(name, schema) for name, schema in sorted(components.items())},
            "securitySchemes": {
                "app": {"type": "http", "scheme": "bearer", "description": "An app's token, `eco_app_…`."},
                "operator": {"type": "http", "scheme": "bearer", "description": "The operator's token, `eco_op_…`."},
            },
        },
    }


def _of(route: Route) -> Any:
    """The type of an answer that is JSON, or of the events in a stream."""
    return None if route.answer is str else route.answer


def _operation(route: Route, schemas: Mapping[str, Json]) -> Json:
    operation: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route)],
        "security": _SECURITY[route.who] if route.reads or route.who is not Who.APP else [{"app": []}],
        "responses": _responses(route, schemas),
    }
    parameters = [_path_parameter(name) for name in _PARAMETER.findall(route.path)]
    parameters += [_query_parameter(query) for query in route.parameters]
    if parameters:
        operation["parameters"] = parameters
    if route.request is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schemas[str(route.request)]}},
        }
    return operation


_SECURITY: Mapping[Who, list[Json]] = {
    Who.APP: [{"app": []}, {"operator": []}],
    Who.OPERATOR: [{"operator": []}],
    Who.ANYONE: [],
}


def _tag(route: Route) -> str:
    parts = route.path.strip("/").split("/")
    return parts[1] if len(parts) > 1 else "server"


def _responses(route: Route, schemas: Mapping[str, Json]) -> Json:
    good: Json = {"description": route.summary}
    if route.answer is not None:
        schema = {"type": "string"} if route.answer is str else schemas[str(route.answer)]
        good["content"] = {route.media: {"schema": schema}}
    responses: Json = {str(route.status): good}
    for status in errors_of(route):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": schemas[str(wire.Problem)]}},
        }
    return responses


def _path_parameter(name: str) -> Json:
    text, listed = PATH_PARAMETERS[name]
    schema: Json = {"type": "string", "enum": list(listed)} if listed else {"type": "string"}
    return {"name": name, "in": "path", "required": True, "description": text, "schema": schema}


def _query_parameter(query: Query) -> Json:
    return {
        "name": query.name,
        "in": "query",
        "required": query.required,
        "description": query.doc,
        "schema": _QUERY_SCHEMAS[query.kind],
    }


# -- descriptions of fields


def _described(name: str, schema: Json) -> Json:
    """A schema whose properties say what the lines below the fields say in the source."""
    texts = _field_texts(answers).get(name) or _field_texts(requests).get(name) or {}
    properties = {
        field: {**inner, "description": texts[field]} if field in texts else inner
        for field, inner in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else schema


@cache
def _field_texts(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class → field → the string below it; empty where there is no source to read."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except OSError:
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        texts = found.setdefault(node.name, {})
        for field, below in zip(node.body, node.body[1:], strict=False):
            text = _text_of(below)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and text is not None:
                texts[field.target.id] = " ".join(text.split())
    return found


def _text_of(node: ast.stmt) -> str | None:
    """The string that a statement consists of."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None

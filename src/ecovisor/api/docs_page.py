"""`/docs`: the OpenAPI document as one page for people. No script, and no address outside."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}
code,pre{font:.9em/1.5 ui-monospace,monospace}
nav a{display:inline-block;margin-right:1rem}
h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
details{border:1px solid var(--line);border-radius:.4rem;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer}
summary code{font-weight:600}
.method{display:inline-block;min-width:4rem}
.who{float:right;opacity:.7}
table{border-collapse:collapse;width:100%;margin:.5rem 0}
td,th{text-align:left;vertical-align:top;padding:.25rem .6rem;border-top:1px solid var(--line)}
th{background:var(--soft)}
"""
_CODE = re.compile(r"`([^`]+)`")


def render_page(document: Json) -> bytes:
    """The page for an OpenAPI document of ours."""
    return "".join(_page(document)).encode()


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])} REST</title>'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
    yield f"<style>{_STYLE}</style><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    for paragraph in info["description"].split("\n\n"):
        yield f"<p>{_text(paragraph)}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    tags = _by_tag(document)
    yield "<nav>" + "".join(f'<a href="#{escape(tag)}">{escape(tag)}</a>' for tag in [*tags, "schemas"]) + "</nav>"
    for tag, operations in tags.items():
        yield f'<h2 id="{escape(tag)}">{escape(tag)}</h2>'
        for path, method, operation in operations:
            yield from _operation(path, method, operation)
    yield '<h2 id="schemas">schemas</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield from _schema(name, schema)
    yield "</html>"


def _by_tag(document: Json) -> dict[str, list[tuple[str, str, Json]]]:
    tags: dict[str, list[tuple[str, str, Json]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append((path, method, operation))
    return tags


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    who = " or ".join(name for scheme in operation["security"] for name in scheme) or "anyone"
    yield f'<details id="{escape(operation["operationId"])}"><summary><code><span class="method">{method.upper()}</span>'
    yield f'{escape(path)}</code> {_text(operation["summary"])} <span class="who">{who}</span></summary>'
    if operation.get("parameters"):
        yield "<table><tr><th>parameter<th>in<th>type<th>meaning</tr>"
        for one in operation["parameters"]:
            needed = " (required)" if one["required"] else ""
            yield f"<tr><td><code>{escape(one['name'])}</code>{needed}<td>{one['in']}<td>{_type(one['schema'])}"
            yield f"<td>{_text(one['description'])}</tr>"
        yield "</table>"
    if "requestBody" in operation:
        yield f"<p>Send {_type(operation['requestBody']['content']['application/json']['schema'])}.</p>"
    errors = []
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        if "application/problem+json" in content:
            errors.append(status)
            continue
        for media, body in content.items():
            yield f"<p>Answers {status}: {_type(body['schema'])} as <code>{escape(media)}</code>.</p>"
        if not content:
            yield f"<p>Answers {status} without a body.</p>"
    yield f"<p>Problems: {', '.join(errors)}.</p></details>"


def _schema(name: str, schema: Json) -> Iterator[str]:
    # The target of links lies inside, so that following one opens it.
    yield f'<details><summary><code>{escape(name)}</code></summary><div id="schema-{escape(name)}">'
    if "description" in schema:
        yield f"<p>{_text(schema['description'].replace('``', '`'))}</p>"
    if schema.get("properties"):
        yield "<table><tr><th>field<th>type<th>meaning</tr>"
        for field, inner in schema["properties"].items():
            needed = "" if field in schema.get("required", ()) else " (optional)"
            yield f"<tr><td><code>{escape(field)}</code>{needed}<td>{_type(inner)}<td>{_text(inner.get('description', ''))}</tr>"
        yield "</table>"
    yield "</div></details>"


def _type(schema: Json) -> str:
    """A schema in a few words, with links."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f'<a href="#schema-{escape(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_type(schema['additionalProperties'])}"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    return escape(" ".join([kind, *bounds]))


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}


def _text(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))

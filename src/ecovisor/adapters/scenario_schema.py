"""From plain tables to the types of ``settings``, with errors that a person can act on.

Owns the translation of msgspec's validation errors: which field, which value, which bound, which nearest key. What the types cannot
say (shares that add up, names that must exist) is checked afterwards by ``scenario_checks``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.settings import App, Battery, Command, Plant, Policy, Run, Scenario, Server, Serving, Signal, Site, Workload

_TABLES: dict[str, type[msgspec.Struct]] = {
    "": Scenario,
    "site": Site,
    "site.server": Server,
    "site.battery": Battery,
    "signals.*": Signal,
    "apps[]": App,
    "apps[].workload": Workload,
    "apps[].policy": Policy,
    "run": Run,
    "server": Serving,
    "server.plant": Plant,
    "server.commands.*": Command,
}
_KINDS = {
    "str": "text",
    "object": "a table",
    "array": "a list",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def decode(tables: Mapping[str, Any]) -> Scenario:
    """The scenario that `tables` (as TOML gives them) describe.

    Raises:
        SettingsError: an unknown key, a missing one, a value of the wrong type or beyond its bound; `where` is the field.
    """
    _refuse_other_schemas(tables)
    _refuse_non_finite(tables, "")
    try:
        return msgspec.convert(tables, Scenario)
    except msgspec.ValidationError as error:
        raise _translated(error, tables) from None


def _refuse_other_schemas(tables: Mapping[str, Any]) -> None:
    schema = tables.get("schema")
    if schema is None:
        raise SettingsError("schema", "missing", "write 'schema = 1' as the first line")
    if schema != 1 or isinstance(schema, bool):
        raise SettingsError("schema", f"{schema!r} is not supported", "this version reads 'schema = 1'")


def _refuse_non_finite(value: object, path: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_non_finite(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            _refuse_non_finite(inner, f"{path}[{k}]")
    elif isinstance(value, float) and not math.isfinite(value):
        remedy = "leave the field out where there is no limit" if value > 0 else "give a number"
        raise SettingsError(path, f"is {value}, must be a finite number", remedy)


def _translated(error: msgspec.ValidationError, tables: Mapping[str, Any]) -> SettingsError:
    problem, _, at = str(error).partition(" - at `$")
    path = at.rstrip("`").lstrip(".")
    if "[...]" in path:
        path = path.replace("signals[...]", f"signals.{_culprit(tables['signals'], Signal)}")
    if "commands[...]" in path:
        path = path.replace("commands[...]", f"commands.{_culprit(tables['server']['commands'], Command)}")
    if match := re.match(r"Object contains unknown field `(.+)`", problem):
        return SettingsError(_join(path, match[1]), "no such key", did_you_mean(match[1], _fields(path)))
    if match := re.match(r"Object missing required field `(.+)`", problem):
        return SettingsError(_join(path, match[1]), "missing", f"add {match[1]} = …")
    value = _value_at(tables, path)
    if problem.startswith("Invalid enum value"):
        return SettingsError(path, f"{value!r} is not one of its values", did_you_mean(str(value), _choices(path)))
    if "matching regex" in problem:
        reserved = isinstance(value, str) and value.startswith("_")
        return SettingsError(
            path,
            f"{value!r} is " + ("reserved: names that begin with '_' are the site's own" if reserved else "no name"),
            "use letters, digits, '.', '_' and '-', a letter or digit first, at most 63",
        )
    if match := re.match(r"Expected `.+?` (>=|<=|>|<) (\S+)$", problem):
        return SettingsError(path, f"is {value}, must be {_BOUNDS[match[1]]} {float(match[2]):g}", "give a value within the bound")
    if match := re.match(r"Expected `(\w+)(?: \| null)?`, got `(\w+)`", problem):
        wanted, got = _KINDS.get(match[1], match[1]), _KINDS.get(match[2], match[2])
        shown = "" if isinstance(value, (dict, list)) else f" ({value!r})"
        quotes = f'; put it in quotes, with its unit: "{value}s"' if wanted == "text" and got.endswith("number") else ""
        return SettingsError(path, f"is {got}{shown}, must be {wanted}{quotes}", "" if quotes else f"give {wanted}")
    return SettingsError(path or "the file", problem, "see docs/scenario.md")


def _culprit(named: Mapping[str, Any], table: type[msgspec.Struct]) -> str:
    """The table of several that cannot be decoded: msgspec names no key of a mapping."""
    for name, values in named.items():
        try:
            msgspec.convert(values, table)
        except msgspec.ValidationError:
            return str(name)
    return "…"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _table(path: str) -> type[msgspec.Struct] | None:
    general = re.sub(r"\[\d+\]", "[]", path)
    for named in ("signals", "server.commands"):
        if general.startswith(f"{named}."):
            general = f"{named}.*"
    return _TABLES.get(general)


def _fields(path: str) -> tuple[str, ...]:
    table = _table(path)
    return table.__struct_fields__ if table is not None else ()


def _choices(path: str) -> list[str]:
    """The values of a field whose type is a `Literal`, or a list of one."""
    parent, _, field = re.sub(r"\[\d+\]$", "", path).rpartition(".")
    table = _table(parent)
    hint = get_type_hints(table)[field] if table is not None else str
    while get_origin(hint) is list:
        hint = get_args(hint)[0]
    return [str(choice) for choice in get_args(hint)] if get_origin(hint) is Literal else []


def _value_at(tables: Mapping[str, Any], path: str) -> object:
    value: Any = tables
    for key, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        value = value[key] if key else value[int(index)]
    return value

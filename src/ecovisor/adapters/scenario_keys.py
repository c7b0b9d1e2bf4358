"""Key paths into a scenario: `--set site.battery.capacity_wh=2000`, `apps.train.share=0.3`, `apps[0].share=0.3`.

Owns the grammar of `--set` and the names by which errors point at a field. Works on the plain tables that TOML gives, before they
are decoded; whether a key exists and its value fits is found afterwards, by ``scenario_schema``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time

from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean

_INDEX = re.compile(r"\[(\d+)\]")
_APP = re.compile(r"apps\[(\d+)\]")
_EXAMPLE = "write for example --set site.battery.capacity_wh=2000 or --set apps.NAME.share=0.3"


def apply_override(tables: dict[str, object], override: str) -> str:
    """Set one value in `tables`, in place; tables on the way are made where they are missing.

    Args:
        tables: a scenario as TOML gives it.
        override: ``key.path=value``; the value is TOML, or else text.

    Returns:
        The canonical path of the field: apps by index (``apps[0].share``).

    Raises:
        SettingsError: no ``=``, an empty key, no such app, or a step into what is no table.
    """
    path, equals, text = override.partition("=")
    where = f"--set {override}"
    if not equals:
        raise SettingsError(where, "has no '='", _EXAMPLE)
    keys = _keys(path.strip(), tables, where)
    target: object = tables
    for k, key in enumerate(keys[:-1]):
        if isinstance(key, int) and isinstance(target, list):
            target = _item(target, key, where, canonical(keys[:k]))
        elif isinstance(key, str) and isinstance(target, dict):
            target = target.setdefault(key, {})
        else:
            raise SettingsError(where, f"{canonical(keys[:k])} is no table with a key {key!r}", _EXAMPLE)
    last = keys[-1]
    if isinstance(last, str) and isinstance(target, dict):
        target[last] = value_of(text)
    elif isinstance(last, int) and isinstance(target, list):
        _item(target, last, where, canonical(keys[:-1]))
        target[last] = value_of(text)
    else:
        raise SettingsError(where, f"{canonical(keys[:-1])} is no table with a key {last!r}", _EXAMPLE)
    return canonical(keys)


def value_of(text: str) -> object:
    """`text` as a TOML value (``0.3``, ``true``, ``["share"]``), or itself where it is none (``5min``)."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return plain(parsed["value"]) if parsed.keys() == {"value"} else text.strip()


def plain(value: object) -> object:
    """`value` with TOML's dates and times as ISO 8601 text, as the schema has them, at any depth."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, (date, time)) else value


def canonical(keys: Iterable[str | int]) -> str:
    """``("apps", 0, "share")`` as ``apps[0].share``."""
    path = ""
    for key in keys:
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
    return path or "the file"


def with_app_name(field: str, tables: Mapping[str, object]) -> str:
    """`field`, followed by the name of the app that it belongs to, if it has one: ``apps[2].policy.kind (app 'train')``."""
    match = _APP.match(field)
    apps = tables.get("apps")
    if match is None or not isinstance(apps, list) or int(match[1]) >= len(apps):
        return field
    app = apps[int(match[1])]
    name = app.get("name") if isinstance(app, dict) else None
    return f"{field} (app {name!r})" if isinstance(name, str) else field


def _keys(path: str, tables: Mapping[str, object], where: str) -> list[str | int]:
    head, _, rest = path.partition(".")
    if head == "apps" and rest:
        name, rest = _leading_name(rest, _app_names(tables))
        names = _app_names(tables)
        if name not in names:
            raise SettingsError(
                where, f"no app is called {name!r}", did_you_mean(name, names) if names else "the scenario has no apps"
            )
        keys: list[str | int] = ["apps", names.index(name)]
    elif head == "signals" and rest:
        signals = tables.get("signals")
        name, rest = _leading_name(rest, list(signals) if isinstance(signals, dict) else [])
        keys = ["signals", name]
    else:
        keys, rest = [], path
    for part in rest.split(".") if rest else []:
        name, bracket, _ = part.partition("[")
        indices = part[len(name) :]
        if not name or (bracket and not re.fullmatch(r"(\[\d+\])+", indices)):
            raise SettingsError(where, f"{path!r} is no key path", _EXAMPLE)
        keys.append(name)
        keys.extend(int(index) for index in _INDEX.findall(indices))
    if not keys:
        raise SettingsError(where, "has no key before '='", _EXAMPLE)
    return keys


def _leading_name(rest: str, known: Iterable[str]) -> tuple[str, str]:
    """The longest known name that `rest` starts with (names may contain dots), or what precedes the first dot; and what follows."""
    fits = [name for name in known if rest == name or rest.startswith(f"{name}.")]
    name = max(fits, key=len) if fits else rest.partition(".")[0]
    return name, rest[len(name) + 1 :]


def _app_names(tables: Mapping[str, object]) -> list[str]:
    apps = tables.get("apps")
    return [str(app.get("name", "")) if isinstance(app, dict) else "" for app in apps] if isinstance(apps, list) else []


def _item(items: list[object], index: int, where: str, path: str) -> object:
    if index >= len(items):
        raise SettingsError(where, f"{path} has {len(items)} entries, numbered from 0", "give a smaller index")
    return items[index]

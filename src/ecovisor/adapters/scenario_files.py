"""Reading a scenario: find the file or the bundled one, apply `--set`, decode, check. One wrong field is one line.

Owns where scenarios are found and how an error names file and field. The grammar of key paths is in ``scenario_keys``, decoding in
``scenario_schema``, what must hold between fields in ``scenario_checks``. ``assembly`` takes the scenario and its folder next.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecovisor.adapters import scenario_checks, scenario_keys, scenario_schema
from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.settings import Scenario

BUNDLED = Path(__file__).parent.parent / "scenarios"


def list_bundled() -> dict[str, str]:
    """Name and title of every bundled scenario, by name."""
    return {path.stem: str(tomllib.loads(path.read_text("utf-8")).get("title", "")) for path in sorted(BUNDLED.glob("*.toml"))}


def load_scenario(path_or_bundled_name: str, overrides: Sequence[str] = ()) -> tuple[Scenario, Path]:
    """Read, override, decode and check a scenario.

    Args:
        path_or_bundled_name: a TOML file, or the name of a bundled scenario; a file of that name comes first.
        overrides: ``key.path=value`` each, applied in order before validation.

    Returns:
        The scenario, and the folder that relative paths in it are resolved against.

    Raises:
        SettingsError: missing file, not UTF-8, no TOML, unsupported schema, or a field that cannot be used.
    """
    tables, path = read_tables(path_or_bundled_name)
    return scenario_of(tables, path.parent, overrides, path_or_bundled_name), path.parent


def read_tables(path_or_bundled_name: str) -> tuple[dict[str, Any], Path]:
    """The plain tables of a scenario file, not checked, and where it is.

    Raises:
        SettingsError: missing file, not UTF-8, or no TOML.
    """
    path = _find(path_or_bundled_name)
    return _parse(path, path_or_bundled_name), path


def scenario_of(tables: dict[str, Any], folder: Path, overrides: Sequence[str], label: str) -> Scenario:
    """Override, decode and check the tables of a scenario, which change in place.

    Args:
        tables: of `read_tables`.
        folder: relative paths in them start here.
        overrides: ``key.path=value`` each.
        label: names the file in errors.

    Raises:
        SettingsError: a field that cannot be used.
    """
    overridden = {scenario_keys.apply_override(tables, override): override for override in overrides}
    try:
        scenario = scenario_schema.decode(tables)
        scenario_checks.check(scenario, folder)
    except SettingsError as error:
        source = _override_behind(error.where, overridden)
        place = f"--set {source}" if source else label
        raise SettingsError(f"{place}: {scenario_keys.with_app_name(error.where, tables)}", error.problem, error.remedy) from None
    return scenario


def _find(text: str) -> Path:
    path = Path(text)
    if path.is_file():
        return path
    bundled = BUNDLED / f"{text}.toml"
    if re.fullmatch(r"[\w-]+", text) and bundled.is_file():
        return bundled
    if path.is_dir():
        raise SettingsError(text, "is a folder", "name the scenario file in it")
    if path.suffix == ".toml" or path.name != text:
        raise SettingsError(text, "no such file", "check the path, or write a scenario with 'ecovisor init'")
    raise SettingsError(text, "neither a file nor a bundled scenario", did_you_mean(text, [p.stem for p in BUNDLED.glob("*.toml")]))


def _parse(path: Path, label: str) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(label, f"is not UTF-8 (byte {error.start})", "save it as UTF-8") from None
    except OSError as error:
        raise SettingsError(label, f"cannot be read: {error.strerror}", "check its permissions") from None
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(label, str(error), text) from None
    return {key: scenario_keys.plain(value) for key, value in tables.items()}


def _syntax_error(label: str, message: str, text: str) -> SettingsError:
    problem, _, at = message.partition(" (at ")
    match = re.search(r"line (\d+)", at)
    line = int(match[1]) if match else max(len(text.splitlines()), 1)
    return SettingsError(f"{label}: line {line}", f"is no TOML: {problem[:1].lower()}{problem[1:]}", "see https://toml.io")


def _override_behind(field: str, overridden: dict[str, str]) -> str | None:
    """The `--set` that an error about `field` is about: it set the field, something in it, or what it is in."""

    def within(inner: str, outer: str) -> bool:
        return inner == outer or (inner.startswith(outer) and inner[len(outer)] in ".[")

    for path, override in reversed(overridden.items()):
        if within(path, field) or within(field, path):
            return override
    return None

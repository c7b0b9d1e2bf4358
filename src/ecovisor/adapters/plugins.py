"""Finds what a `kind` names beyond the built-in ones: an entry point somebody installed, or `file.py:Name` beside the scenario.

One loader for signals, policies, workloads and devices, so that they are all named, found, made and refused alike.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean


def load_plugin(group: str, kind: str, folder: Path, known: Iterable[str], where: str) -> object:
    """The object that ``kind`` names.

    Args:
        group: entry point group (``ecovisor.signals``).
        kind: an entry point's name, or ``file.py:Name`` with the file relative to ``folder``.
        folder: folder of the scenario or site file.
        known: names of the built-in kinds, for the error message.
        where: file and field that hold ``kind`` (``site.toml: signals.carbon.kind``).

    Raises:
        SettingsError: nothing has that name, or what has it cannot be loaded.
    """
    path, colon, name = kind.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file((folder / path).resolve(), path, name, where)
    points = entry_points(group=group)
    for point in points:
        if point.name == kind:
            try:
                return point.load()
            except Exception as error:
                raise SettingsError(
                    where, f"plug-in {kind!r} ({point.value}) does not load: {_one_line(error)}", "repair or reinstall it"
                ) from error
    names = [*known, *(point.name for point in points)]
    raise SettingsError(where, f"unknown kind {kind!r}", f"{did_you_mean(kind, names)} (or 'file.py:Name' for your own)")


class _FunctionPolicy:
    """A plug-in that is a plain function ``tick(energy, app)``."""

    def __init__(self, function: Any) -> None:
        self.tick = function


def plugin_maker(
    group: str,
    kind: str,
    options: Mapping[str, object],
    folder: Path,
    known: Iterable[str],
    where: str,
    roles: Collection[Collection[str]],
) -> Callable[[], Any]:
    """What makes instances of a plug-in: its class with the options, or a plain function ``tick(energy, app)`` as it is.

    One is made at once, so that mistakes are found before anything runs.

    Args:
        group, kind, folder, known: see `load_plugin`.
        options: keyword arguments of the class.
        where: the table that holds ``kind`` and ``options`` (``site.toml: apps[0].policy``).
        roles: what an instance must be able to do, for one of the roles that it may play.

    Raises:
        SettingsError: it cannot be found, loaded or made, or lacks functions of every role.
    """
    found: Any = load_plugin(group, kind, folder, known, f"{where}.kind")

    if isinstance(found, type):

        def make() -> Any:
            try:
                return found(**options)
            except Exception as error:
                raise SettingsError(
                    f"{where}.options", f"{kind} cannot be made: {_one_line(error)}", "check its options"
                ) from error

    elif not callable(found):
        raise SettingsError(f"{where}.kind", f"{kind} is neither a class nor a function", "name one")
    elif options:
        raise SettingsError(f"{where}.options", f"{kind} is a function and takes none", "make it a class, or remove them")
    else:

        def make() -> Any:
            return _FunctionPolicy(found)

    one = make()
    lacking = [[function for function in role if not callable(getattr(one, function, None))] for role in roles]
    if all(lacking):
        nearest = min(lacking, key=len)
        raise SettingsError(
            f"{where}.kind",
            f"{kind} has no {nearest[0]}()",
            f"give it {', or '.join(' and '.join(role) for role in roles)}",
        )
    return make


def policies_in(path: str, folder: Path, where: str) -> list[str]:
    """Names of the policies that a file defines: classes with a ``tick()``, and a function ``tick``.

    Raises:
        SettingsError: there is no such file, or it does not load.
    """
    module = _module((folder / path).resolve(), path, where)
    own = {name: one for name, one in vars(module).items() if getattr(one, "__module__", None) == module.__name__}
    return [
        name for name, one in own.items() if (callable(getattr(one, "tick", None)) if isinstance(one, type) else name == "tick")
    ]


def _from_file(file: Path, path: str, name: str, where: str) -> object:
    module = _module(file, path, where)
    if not hasattr(module, name):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise SettingsError(where, f"{path} has no {name!r}", did_you_mean(name, public))
    found: object = getattr(module, name)
    return found


def _module(file: Path, path: str, where: str) -> ModuleType:
    if not file.is_file():
        raise SettingsError(where, f"there is no file {path!r} in {file.parent}", "paths are relative to the scenario file")
    module_name = f"ecovisor_plugin_{file.stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None, "a .py file always has a loader"
        assert spec.loader is not None, "a .py file always has a loader"
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise SettingsError(where, f"{path} does not load: {_one_line(error)}", "repair it") from error
    return module


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"

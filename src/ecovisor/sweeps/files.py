"""The files that a scenario reads: what a sweep depends on beside its settings, and what has to be where it runs.

Owns finding them (`file` and `weather` of signals, plug-ins `file.py:Name`, and options that name a file) and laying them out again under
another root, for workers that do not share the disk. What a plug-in reads beyond its options is not known.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_NAMING = ("file", "weather")


def files_in(tables: Mapping[str, Any], folder: Path) -> set[Path]:
    """Absolute paths of the files that the tables of a scenario name and that exist.

    Args:
        tables: as TOML gives them, decoded or not.
        folder: relative paths start here.
    """
    named = {_plug_in(text) for text in _named(tables)}
    paths = {Path(os.path.normpath(Path.cwd() / folder / name)) for name in named if name and "\0" not in name}
    return {path for path in paths if path.is_file()}


def checksums(paths: Iterable[Path]) -> dict[str, str]:
    """Path → SHA-256, in the order of the paths."""
    found = {}
    for path in sorted(paths):
        with path.open("rb") as file:
            found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def placed(path: Path, root: Path) -> Path:
    """Where an absolute path lies under another root."""
    return root.joinpath(*path.parts[1:])


def unpack(contents: Mapping[str, bytes], root: Path) -> None:
    """Lay files out under a root."""
    for name, content in contents.items():
        target = placed(Path(name), root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def replaced(value: Any, paths: Iterable[str], root: Path) -> Any:
    """Plain tables, or a value in them, with absolute paths to files that were laid out under a root as they are there."""
    known = set(paths)

    def there(text: str) -> str:
        name = _plug_in(text)
        if not Path(name).is_absolute() or os.path.normpath(name) not in known:
            return text
        return str(placed(Path(os.path.normpath(name)), root)) + text[len(name) :]

    def walk(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: walk(one) for key, one in inner.items()}
        if isinstance(inner, list):
            return [walk(one) for one in inner]
        return there(inner) if isinstance(inner, str) else inner

    return walk(value)


def _named(tables: Mapping[str, Any]) -> Iterator[str]:
    """Texts that may be names of files."""
    signals = tables.get("signals")
    apps = tables.get("apps")
    parts = [part for app in (apps if isinstance(apps, list) else []) if isinstance(app, dict) for part in app.values()]
    for table in (*(signals.values() if isinstance(signals, dict) else ()), *parts):
        if isinstance(table, dict):
            yield from (table[key] for key in _NAMING if isinstance(table.get(key), str))
            kind = table.get("kind")
            if isinstance(kind, str) and ".py:" in kind:
                yield kind
            yield from _texts(table.get("options"))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _plug_in(text: str) -> str:
    """The file of ``file.py:Name``, and any other text as it is."""
    path, colon, _ = text.rpartition(":")
    return path if colon and path.endswith(".py") else text

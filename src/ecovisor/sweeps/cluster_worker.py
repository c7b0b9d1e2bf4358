"""What happens in a worker of a Dask cluster: files of a sweep are laid out in a folder of the worker's own, and combinations run on them.

Loaded only where `distributed` is installed: in workers, and by `cluster`, which sends the work. Each process runs one combination at a
time, whatever its threads.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from distributed import WorkerPlugin

from ecovisor.model.errors import Unavailable
from ecovisor.sweeps import files
from ecovisor.sweeps.outcomes import Outcome
from ecovisor.sweeps.running import Base, Runner, Task
from ecovisor.sweeps.version import Version, this_version

#: Sweeps that a process keeps the files of.
_KEPT = 4


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that a worker needs to run combinations of a sweep."""

    version: Version
    base: Base
    contents: dict[str, bytes]
    """Absolute path where the sweep was begun → bytes."""
    token: str
    """Tells bundles apart."""


class Delivery(WorkerPlugin):
    """Brings a bundle to every worker, also to those that join later."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def setup(self, worker: Any) -> None:
        """Called in each worker."""
        _BUNDLES[self._bundle.token] = self._bundle

    def teardown(self, worker: Any) -> None:
        """Called when the sweep is over."""
        forget(self._bundle.token)


def run_there(task: Task, *, token: str, version: Version) -> Outcome:
    """Run a combination of the bundle with this token.

    Raises:
        Unavailable: this worker's ecovisor is another one, or the bundle has not come.
    """
    if this_version() != version:
        raise Unavailable(other(version, this_version()))
    with _ONE_AT_A_TIME:
        place = _placed(token)
        outcome = place.runner.run(task)
    if outcome.error is None:
        return outcome
    return msgspec.structs.replace(outcome, error=outcome.error.replace(str(place.root), ""))


def version_there() -> Version:
    """The worker's ecovisor."""
    return this_version()


def forget(token: str) -> None:
    """Drop a bundle and its files."""
    _BUNDLES.pop(token, None)
    place = _PLACES.pop(token, None)
    if place is not None:
        shutil.rmtree(place.root, ignore_errors=True)


def other(ours: Version, theirs: object) -> str:
    """What to say of a worker with another ecovisor."""
    return f"it has {theirs}, here it is {ours}; install the same on both"


@dataclass(frozen=True, slots=True)
class _Place:
    root: Path
    runner: Runner


_ONE_AT_A_TIME = threading.Lock()
_BUNDLES: dict[str, Bundle] = {}
_PLACES: OrderedDict[str, _Place] = OrderedDict()


def _placed(token: str) -> _Place:
    """A bundle's files laid out in a folder of this process's own, and what runs on them."""
    if token not in _PLACES:
        bundle = _BUNDLES.get(token)
        if bundle is None:
            raise Unavailable("a worker was not given the scenario; run the same command again")
        root = Path(tempfile.mkdtemp(prefix="ecovisor-sweep-"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        files.unpack(bundle.contents, root)
        folder = files.placed(Path(bundle.base.folder), root)
        folder.mkdir(parents=True, exist_ok=True)
        tables = files.replaced(msgspec.msgpack.decode(bundle.base.tables), bundle.contents, root)
        base = replace(bundle.base, tables=msgspec.msgpack.encode(tables), folder=str(folder))
        moved = {name: str(files.placed(Path(name), root)) for name in sorted(bundle.contents, key=len, reverse=True)}
        _PLACES[token] = _Place(root, Runner(base, moved))
        while len(_PLACES) > _KEPT:
            shutil.rmtree(_PLACES.popitem(last=False)[1].root, ignore_errors=True)
    return _PLACES[token]

"""Runs a sweep's combinations on a Dask cluster that is there already.

Owns what travels: the scenario's tables and the bytes of every file that it names go with the first combination and are laid out in a
folder of each worker's own, so workers need not share the disk. They need the same ecovisor, down to the sources, which is checked before
and with each combination. A worker that is lost costs what it was doing: Dask gives that to another. `distributed` is imported only here.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import logging
import pickle
import shutil
import tempfile
import threading
import uuid
from collections import OrderedDict
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from ecovisor.model.errors import InputError, Unavailable
from ecovisor.sweeps import files
from ecovisor.sweeps.outcomes import Outcome
from ecovisor.sweeps.running import Base, Runner, Task
from ecovisor.sweeps.version import Version, this_version

_CONNECT_S = 15
#: Combinations that the scheduler knows at a time.
_KNOWN = 1000
#: Sweeps that a worker keeps the files of.
_KEPT = 4


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that a worker needs to run combinations of a sweep."""

    version: Version
    base: Base
    contents: dict[str, bytes]
    """Absolute path here → bytes."""
    token: str
    """Tells bundles apart."""


def pack(base: Base, paths: Iterable[Path]) -> Bundle:
    """Read the files of a sweep.

    Raises:
        InputError: one of them cannot be read.
    """
    try:
        contents = {str(path): path.read_bytes() for path in sorted(paths)}
    except OSError as error:
        raise InputError(str(error.filename), f"cannot be read: {error.strerror}", "check its permissions") from None
    token = hashlib.sha256(pickle.dumps((this_version(), base, contents), protocol=5)).hexdigest()[:16]
    return Bundle(this_version(), base, contents, token)


def run_on_cluster(address: str, base: Base, tasks: Sequence[Task], paths: Iterable[Path]) -> Generator[Outcome, None, None]:
    """Run on the workers of the scheduler at ``address``; outcomes come as they are done.

    Raises:
        InputError: `distributed` is not installed, or a file cannot be read.
        Unavailable: no scheduler there, no workers, workers with another ecovisor, or the scheduler was lost.
    """
    try:
        import dask
        import distributed
    except ModuleNotFoundError as error:
        raise InputError("--dask", f"needs {error.name}, which is not installed", "pip install 'ecovisor[dask]'") from None
    untyped: Any = distributed
    bundle = pack(base, paths)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it is raised below
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}))
        try:
            client = stack.enter_context(untyped.Client(address, timeout=_CONNECT_S, set_as_default=False))
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"--dask {address}: no scheduler answers there: {_told(error)}; start one with 'dask scheduler'"
            ) from None
        _check_workers(client, address)
        run = f"ecovisor-{uuid.uuid4().hex[:12]}"
        held = client.submit(_same, bundle, key=f"{run}-scenario", pure=False)

        def submit(task: Task) -> Any:
            return client.submit(run_there, held, task, key=f"{run}-{task.index}", pure=False)

        waiting = iter(tasks)
        task_of = {f"{run}-{task.index}": task for task in tasks}
        done = untyped.as_completed([submit(task) for task in islice(waiting, _KNOWN)], loop=client.loop)
        for future in done:
            task = task_of[future.key]
            if future.status == "cancelled":
                raise Unavailable(
                    f"--dask {address}: the scheduler was lost; what is done is kept, the same command goes on from there"
                )
            raised = future.exception()
            yield future.result() if raised is None else _lost(task, raised, address)
            future.release()
            for following in islice(waiting, 1):
                done.add(submit(following))


def run_there(bundle: Bundle, task: Task) -> Outcome:
    """Run a combination; called in a worker, one at a time in each process.

    Raises:
        Unavailable: this worker's ecovisor is another one.
    """
    if this_version() != bundle.version:
        raise Unavailable(_other(bundle.version, this_version()))
    with _ONE_AT_A_TIME:
        place = _placed(bundle)
        outcome = place.runner.run(task)
    if outcome.error is None:
        return outcome
    return msgspec.structs.replace(outcome, error=outcome.error.replace(str(place.root), ""))


def version_there() -> Version:
    """The worker's ecovisor; called in a worker."""
    return this_version()


@dataclass(frozen=True, slots=True)
class _Place:
    root: Path
    runner: Runner


_ONE_AT_A_TIME = threading.Lock()
_PLACES: OrderedDict[str, _Place] = OrderedDict()


def _same(bundle: Bundle) -> Bundle:
    """The bundle, as a task of its own: computed again from the scheduler's copy when the workers that held it are lost."""
    return bundle


def _placed(bundle: Bundle) -> _Place:
    """The bundle's files laid out in a folder of this process's own."""
    if bundle.token not in _PLACES:
        root = Path(tempfile.mkdtemp(prefix="ecovisor-sweep-"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        files.unpack(bundle.contents, root)
        folder = files.placed(Path(bundle.base.folder), root)
        folder.mkdir(parents=True, exist_ok=True)
        tables = files.replaced(msgspec.msgpack.decode(bundle.base.tables), bundle.contents, root)
        base = replace(bundle.base, tables=msgspec.msgpack.encode(tables), folder=str(folder))
        moved = {name: str(files.placed(Path(name), root)) for name in sorted(bundle.contents, key=len, reverse=True)}
        _PLACES[bundle.token] = _Place(root, Runner(base, moved))
        while len(_PLACES) > _KEPT:
            shutil.rmtree(_PLACES.popitem(last=False)[1].root, ignore_errors=True)
    return _PLACES[bundle.token]


def _check_workers(client: Any, address: str) -> None:
    ours = this_version()
    try:
        theirs: dict[str, Any] = client.run(version_there, on_error="return")
    except Exception as error:  # whatever a worker without ecovisor makes of it
        raise Unavailable(f"--dask {address}: {_missing(error)}") from None
    if not theirs:
        raise Unavailable(f"--dask {address}: the scheduler has no workers; start some with 'dask worker {address} --nthreads 1'")
    for worker, version in theirs.items():
        if isinstance(version, Exception):
            raise Unavailable(f"--dask {address}: worker {worker}: {_missing(version)}")
        if version != ours:
            raise Unavailable(f"--dask {address}: worker {worker}: {_other(ours, version)}")


def _missing(error: Exception) -> str:
    import ecovisor

    return f"it cannot load this ecovisor ({_told(error)}); install there: pip install 'ecovisor[dask]=={ecovisor.__version__}'"


def _other(ours: Version, theirs: object) -> str:
    return f"it has {theirs}, here it is {ours}; install the same on both"


def _lost(task: Task, error: BaseException, address: str) -> Outcome:
    """A combination that killed its workers has failed; anything else is no combination's fault."""
    if type(error).__name__ != "KilledWorker":
        raise Unavailable(f"--dask {address}: {_told(error)}") from None
    told = "every worker that ran it died; it may need more memory than they have"
    return Outcome(index=task.index, settings=task.settings, elapsed_s=0.0, error=told)


def _told(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

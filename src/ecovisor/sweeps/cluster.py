"""Runs a sweep's combinations on a Dask cluster that is there already.

Owns what travels: the scenario's tables and the bytes of every file that it names, so that workers need not share the disk, and which
workers are accepted: those with the same ecovisor, down to the sources, which is checked before and with each combination. A worker that is
lost costs what it was doing: Dask gives that to another. `cluster_worker` does the work; `distributed` is imported by these two only.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
import uuid
from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecovisor.model.errors import InputError, Unavailable
from ecovisor.sweeps.outcomes import Outcome
from ecovisor.sweeps.running import Base, Task
from ecovisor.sweeps.version import this_version

if TYPE_CHECKING:
    from ecovisor.sweeps.cluster_worker import Bundle

_CONNECT_S = 15
#: Combinations that the scheduler knows at a time, and how many more it is told of at once.
_KNOWN, _MORE = 1000, 100


def pack(base: Base, paths: Iterable[Path]) -> Bundle:
    """Read the files of a sweep.

    Raises:
        InputError: one of them cannot be read.
    """
    from ecovisor.sweeps.cluster_worker import Bundle

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
        import distributed
    except ModuleNotFoundError as error:
        raise InputError("--dask", f"needs {error.name}, which is not installed", "pip install 'ecovisor[dask]'") from None
    from ecovisor.sweeps.cluster_worker import Delivery, run_there

    untyped: Any = distributed
    bundle = pack(base, paths)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it is raised below
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(untyped.Client(address, timeout=_CONNECT_S, set_as_default=False))
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"--dask {address}: no scheduler answers there: {_told(error)}; start one with 'dask scheduler'"
            ) from None
        _check_workers(client, address)
        client.register_plugin(Delivery(bundle), name=f"ecovisor-sweep-{bundle.token}")
        stack.callback(_take_back, client, bundle)
        run = f"ecovisor-{uuid.uuid4().hex[:12]}"
        waiting = iter(tasks)
        task_of = {(run, task.index): task for task in tasks}

        def submit(count: int) -> list[Any]:
            """Several at once, under one name, which is how Dask sees that they are alike and spreads them evenly."""
            some = list(islice(waiting, count))
            keys = [(run, task.index) for task in some]
            given = {"token": bundle.token, "version": bundle.version}
            return list(client.map(run_there, some, key=keys, pure=False, **given)) if some else []

        known = submit(_KNOWN)
        done, missing = untyped.as_completed(known, loop=client.loop), len(known)
        for future in done:
            task = task_of[future.key]
            if future.status == "cancelled":
                raise Unavailable(
                    f"--dask {address}: the scheduler was lost; what is done is kept, the same command goes on from there"
                )
            raised = future.exception()
            yield future.result() if raised is None else _lost(task, raised, address)
            future.release()
            missing -= 1
            if missing <= _KNOWN - _MORE:
                more = submit(_MORE)
                missing += len(more)
                done.update(more)


def _take_back(client: Any, bundle: Bundle) -> None:
    """Workers need the bundle no longer; those that cannot be told any more forget it in time."""
    with contextlib.suppress(Exception):
        client.unregister_worker_plugin(f"ecovisor-sweep-{bundle.token}")


def _check_workers(client: Any, address: str) -> None:
    from ecovisor.sweeps.cluster_worker import other, version_there

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
            raise Unavailable(f"--dask {address}: worker {worker}: {other(ours, version)}")


def _missing(error: Exception) -> str:
    import ecovisor

    return f"it cannot load this ecovisor ({_told(error)}); install there: pip install 'ecovisor[dask]=={ecovisor.__version__}'"


def _lost(task: Task, error: BaseException, address: str) -> Outcome:
    """A combination that killed its workers has failed; anything else is no combination's fault."""
    if type(error).__name__ != "KilledWorker":
        raise Unavailable(f"--dask {address}: {_told(error)}") from None
    told = "every worker that ran it died; it may need more memory than they have"
    return Outcome(index=task.index, settings=task.settings, elapsed_s=0.0, error=told)


def _told(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

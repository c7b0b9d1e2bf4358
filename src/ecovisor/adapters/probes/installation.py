"""Probes of the installation: the interpreter, the optional parts, and who would run the server."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable

from ecovisor.adapters.probes import Finding, State

#: Modules of `pip install 'ecovisor[server]'`: without the first a server cannot start, without the others it does less.
SERVER_NEEDS = ("aiohttp", "starlette", "uvicorn")
SERVER_WANTS = ("httptools", "plotly", "uvloop")
#: Of `pip install 'ecovisor[fast]'`.
FAST = ("numba", "numpy", "pyarrow")


def probe_python(system: str = sys.platform) -> Finding:
    """The interpreter and the system it runs on."""
    found = f"{platform.python_version()} ({platform.python_implementation()}) on {platform.system()} {platform.release()}"
    if system == "win32":
        remedy = "run the server on Linux, or in WSL"
        return Finding("python", State.MISSING, found, "serve needs process groups and signals", remedy, blocks_serve=True)
    if not system.startswith("linux"):
        follows = "no control groups, no RAPL, and containers as processes need Linux"
        return Finding("python", State.LIMITED, found, follows, 'use Linux, or platform = "simulated" in [server]')
    return Finding("python", State.OK, found)


def probe_extras(has: Callable[[str], bool] | None = None) -> list[Finding]:
    """The optional parts of the installation."""
    has = has or (lambda name: importlib.util.find_spec(name) is not None)
    needed, wanted, fast = ([name for name in names if not has(name)] for names in (SERVER_NEEDS, SERVER_WANTS, FAST))
    return [_server(needed, wanted), _fast(fast)]


def _server(needed: list[str], wanted: list[str]) -> Finding:
    subject, install, lacking = "extra server", "pip install 'ecovisor[server]'", f"without {', '.join(needed + wanted)}"
    if needed:
        return Finding(subject, State.MISSING, lacking, "serve cannot start", install, blocks_serve=True)
    if wanted:
        return Finding(subject, State.LIMITED, lacking, "REST is slower, or the dashboard has no plots", install)
    return Finding(subject, State.OK, "installed")


def _fast(lacking: list[str]) -> Finding:
    if lacking:
        follows = "large sites tick slowly, and there are no Parquet files"
        return Finding("extra fast", State.LIMITED, f"without {', '.join(lacking)}", follows, "pip install 'ecovisor[fast]'")
    return Finding("extra fast", State.OK, "installed")


def probe_user(user_id: int | None = None) -> Finding:
    """Who would run the server."""
    user_id = os.geteuid() if user_id is None else user_id
    if user_id == 0:
        return Finding("user", State.OK, "root")
    follows = "control groups, RAPL and separate users are probably out of reach; see their lines"
    remedy = "run the server as root where caps must hold"
    return Finding("user", State.LIMITED, f"{user_name(user_id)} (uid {user_id}), not root", follows, remedy)


def user_name(user_id: int) -> str:
    """Of a user by number; the number where it has no name."""
    try:
        import pwd

        return pwd.getpwuid(user_id).pw_name
    except (ImportError, KeyError):
        return str(user_id)

"""The SDK: an app's energy system on a live server, for programs and policies.

    from ecovisor import connect

    with connect("http://127.0.0.1:8080", token) as app:
        app.set_battery_charge_rate(20.0)

`application` has what an app can do, `blocking` the same for ordinary programs, `driving` lets a policy drive one. Importing this package
loads none of it, and no HTTP library: that happens when somebody connects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecovisor.client.application import AsyncApp
    from ecovisor.client.blocking import App
    from ecovisor.client.connecting import PathLike
    from ecovisor.client.driving import drive
    from ecovisor.client.following import Event

__all__ = ["App", "AsyncApp", "Event", "connect", "connect_async", "drive"]

_WHERE = {"App": "blocking", "AsyncApp": "application", "Event": "following", "drive": "driving"}
INFINITY = float("inf")


def connect(
    url: str | None = None,
    token: str | None = None,
    *,
    unix: PathLike | None = None,
    ca_file: PathLike | None = None,
    timeout_s: float = 10.0,
    silence_s: float = 45.0,
    give_up_s: float = INFINITY,
    wait_s: float = 0.0,
) -> App:
    """Connect to a live server as one app.

    Without a URL or a socket, `ECOVISOR_SOCKET` or `ECOVISOR_URL` say where it is; without a token, `ECOVISOR_TOKEN` or the file that
    `ECOVISOR_TOKEN_FILE` names has it.

    Args:
        url: of the server.
        token: of the app.
        unix: the app's own Unix socket, instead of a URL; needs no token.
        ca_file: certificates to trust, PEM, for a server with its own.
        timeout_s: for an answer, wall time. [s]
        silence_s: for a sign of life in the stream of events, wall time. [s]
        give_up_s: without any contact while waiting for events, until that is raised; default: never. [s]
        wait_s: how long to try if there is no server yet. [s]

    Raises:
        SettingsError: nothing says where the server is, or a file cannot be read.
        Unavailable: it cannot be reached.
        AuthenticationError: the token is not accepted.
    """
    from ecovisor.client.connecting import find, meet_now
    from ecovisor.client.persistence import Patience

    patience = Patience(timeout_s=timeout_s, silence_s=silence_s, give_up_s=give_up_s)
    return meet_now(find(url, token, unix, ca_file), patience, wait_s)


async def connect_async(
    url: str | None = None,
    token: str | None = None,
    *,
    unix: PathLike | None = None,
    ca_file: PathLike | None = None,
    timeout_s: float = 10.0,
    silence_s: float = 45.0,
    give_up_s: float = INFINITY,
    wait_s: float = 0.0,
) -> AsyncApp:
    """Connect to a live server as one app, within an event loop of asyncio; see `connect`."""
    from ecovisor.client.connecting import find, meet
    from ecovisor.client.on_httpx import Awaiting
    from ecovisor.client.persistence import Patience

    address = find(url, token, unix, ca_file)
    patience = Patience(timeout_s=timeout_s, silence_s=silence_s, give_up_s=give_up_s)
    return await meet(address, Awaiting(address.target, patience), patience, wait_s)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)

"""Connecting to a live server: where it is, who one is, and the first snapshot.

What is not given is taken from the environment, which containers that the site has started already have: `ECOVISOR_URL` with
`ECOVISOR_TOKEN` or `ECOVISOR_TOKEN_FILE`, or `ECOVISOR_SOCKET`, the app's own Unix socket, which needs no token.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from ecovisor.client.application import AsyncApp
from ecovisor.client.blocking import App, complete
from ecovisor.client.exchange import Exchange
from ecovisor.client.held import Held
from ecovisor.client.persistence import Patience, persist
from ecovisor.client.transport import Target, Transport
from ecovisor.model.errors import SettingsError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, and who asks."""

    target: Target
    token: str | None


def find(
    url: str | None = None,
    token: str | None = None,
    unix: PathLike | None = None,
    ca_file: PathLike | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Address:
    """What is given, and otherwise what the environment says.

    Raises:
        SettingsError: nothing says where, two places are named, or one of them cannot be.
    """
    if url is not None and unix is not None:
        raise SettingsError("connect", "both a URL and a socket are given", "name one of them")
    if url is None and unix is None:
        unix = environment.get("ECOVISOR_SOCKET") or None
        url = None if unix is not None else environment.get("ECOVISOR_URL") or None
    if unix is not None:
        return Address(Target("http://localhost", os.fspath(unix)), token)
    if url is None:
        raise SettingsError("connect", "nothing says where the server is", "give its URL, or set ECOVISOR_URL or ECOVISOR_SOCKET")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError("connect", f"{url!r} is no URL of a server", "write for example http://127.0.0.1:8080")
    token = token if token is not None else _token(environment)
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise SettingsError("connect", "the token has blanks or other characters that no token has", "copy it anew")
    return Address(Target(url.rstrip("/"), None, None if ca_file is None else os.fspath(ca_file)), token)


def _token(environment: Mapping[str, str]) -> str | None:
    if token := environment.get("ECOVISOR_TOKEN"):
        return token.strip()
    path = environment.get("ECOVISOR_TOKEN_FILE")
    return read_token(path) if path else None


def read_token(path: PathLike) -> str:
    """The token that a file holds. Raises `SettingsError`."""
    try:
        return Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SettingsError(f"token file {os.fspath(path)}", f"cannot be read: {reason}", "name a readable file") from None


def meet_now(address: Address, patience: Patience, wait_s: float = 0.0) -> App:
    """`meet`, without the waiting in between."""
    from ecovisor.client.on_httpx import Blocking

    return App(complete(meet(address, Blocking(address.target, patience), patience, wait_s)))


async def meet(address: Address, transport: Transport, patience: Patience, wait_s: float) -> AsyncApp:
    """Ask for the first snapshot; on any failure nothing is left open.

    Args:
        address: where.
        transport: how.
        patience: of what comes later.
        wait_s: how long to try if there is no server yet. [s]

    Raises:
        Unavailable: there is no server.
        AuthenticationError: the token is not accepted.
    """
    exchange = Exchange(transport, address.target, address.token)
    try:
        found = await persist(exchange, replace(patience, give_up_s=wait_s), lambda: exchange.snapshot(""))
        assert found is not None, "without a tag there is always a snapshot"
        return AsyncApp(exchange, Held(*found, transport.monotonic_s()), patience)
    except BaseException:
        await transport.close()
        raise

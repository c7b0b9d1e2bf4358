"""Where a running site is and who asks: the options and environment variables of every command that talks to one.

Owns the order in which they count, and what is said when nobody is there. Readings for the terminal are ``live_reader``'s; what the
operator changes is in ``apps``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self, TypeVar

import typer

from ecovisor.model.errors import AuthenticationError, SettingsError, Unavailable

if TYPE_CHECKING:
    import msgspec

    from ecovisor.client.connecting import Address
    from ecovisor.client.endpoints import Endpoint
    from ecovisor.client.transport import Transport

#: Where `serve` and `demo` listen unless they are told otherwise.
DEFAULT_URL = "http://127.0.0.1:7780"
#: The state directory of a site file that names none, when it lies here.
DEFAULT_STATE = Path("state")
#: For an answer, wall time. [s]
DEADLINE_S = 10.0
START = "start it with 'ecovisor serve --config site.toml'"

State = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="DIR",
        help="State directory of a site on this machine; its operator's socket needs no token. Default: state, if one is here.",
    ),
]
Url = Annotated[str | None, typer.Option("--url", help=f"Of the server. Default: $ECOVISOR_URL, else {DEFAULT_URL}.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", help="File with a token. Default: $ECOVISOR_TOKEN, or the file $ECOVISOR_TOKEN_FILE.")
]
Unix = Annotated[
    Path | None, typer.Option("--unix", help="The operator's or an app's own socket, instead of URL and token; $ECOVISOR_SOCKET.")
]
CaFile = Annotated[Path | None, typer.Option("--ca-file", help="Certificates to trust (PEM), for a server with its own.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object or list instead.")]

A = TypeVar("A")


def locate(
    url: str | None = None,
    token_file: Path | None = None,
    unix: Path | None = None,
    state: Path | None = None,
    ca_file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Address:
    """What the command line says, else the environment, else the site whose state directory is here, else the usual address.

    Raises:
        SettingsError: more than one place is named, one of them cannot be, or a file cannot be read.
    """
    from ecovisor.adapters.sockets import socket_path
    from ecovisor.client.connecting import find, read_token

    named = [option for option, value in (("--state", state), ("--url", url), ("--unix", unix)) if value is not None]
    if len(named) > 1:
        raise SettingsError(" and ".join(named), "name two places", "give one of them")
    if state is not None:
        unix = socket_path(state, None)
    elif url is None and unix is None and (token_file is not None or not environment.get("ECOVISOR_SOCKET")):
        url = environment.get("ECOVISOR_URL") or None
        knows_a_token = token_file or environment.get("ECOVISOR_TOKEN") or environment.get("ECOVISOR_TOKEN_FILE")
        if url is None and not knows_a_token and socket_path(DEFAULT_STATE, None).exists():
            unix = socket_path(DEFAULT_STATE, None)
        elif url is None:
            url = DEFAULT_URL
    return find(url, None if token_file is None else read_token(token_file), unix, ca_file, environment)


class Operator:
    """Asks a running site for what only its operator may know and change. A context manager.

    Args:
        address: see `locate`.
        transport: instead of a network, for tests.

    Raises:
        SettingsError: the certificates cannot be used.
    """

    def __init__(self, address: Address, transport: Transport | None = None) -> None:
        from ecovisor.client.exchange import Exchange
        from ecovisor.client.on_httpx import Blocking
        from ecovisor.client.persistence import Patience

        self.address = address
        self._transport = transport or Blocking(address.target, Patience(timeout_s=DEADLINE_S))
        self._exchange = Exchange(self._transport, address.target, address.token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from ecovisor.client.blocking import complete

        complete(self._transport.close())

    def socket_of(self, app: str) -> Path | None:
        """The socket of an app, if the site is reached through the operator's, beside it."""
        path = self.address.target.socket_path
        return None if path is None else Path(path).absolute().with_name(f"{app}.sock")

    def ask(
        self, endpoint: Endpoint[A], body: msgspec.Struct | None = None, *, query: Mapping[str, str] | None = None, **parts: str
    ) -> A:
        """Ask, and decode the answer.

        Raises:
            EcovisorError: what the server says is wrong; `Unavailable` with the command that starts it, if nobody is there.
        """
        from ecovisor.client.blocking import complete

        try:
            return complete(self._exchange.ask(endpoint, body, query=query, **parts))
        except AuthenticationError as error:
            if self.address.token is None and self.address.target.socket_path is None:
                where = self.address.target
                raise AuthenticationError(
                    f"{where}: no token; give --token-file with the operator's, or on its own machine --state with its state directory"
                ) from None
            raise error from None
        except Unavailable as error:
            if _nobody_there(error):
                raise Unavailable(f"{self.address.target}: no site runs there; {START}") from None
            raise error from None


def _nobody_there(error: Unavailable) -> bool:
    import httpx

    return isinstance(error.__cause__, httpx.ConnectError)


def print_json(told: object) -> None:
    """What `--json` prints."""
    import msgspec

    print(msgspec.json.encode(told).decode())

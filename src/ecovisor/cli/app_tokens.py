"""`ecovisor apps add` and `ecovisor apps token`: what hands out a token, which is told once.

Owns where a token goes: to the terminal, or to a file that only its owner can read. The rest of `ecovisor apps` is ``apps``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from ecovisor.cli.app_shares import RESOURCES, listed
from ecovisor.cli.connection import CaFile, Json, Operator, State, TokenFile, Unix, Url, locate, print_json

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

Share = Annotated[float | None, typer.Option("--share", min=0.0, max=1.0, help="Of everything at once; the next four override it.")]
GridShare = Annotated[float | None, typer.Option("--grid-share", min=0.0, max=1.0, help="Of the grid connection's limit.")]
SolarShare = Annotated[float | None, typer.Option("--solar-share", min=0.0, max=1.0, help="Of the solar array's output.")]
EnergyShare = Annotated[
    float | None, typer.Option("--battery-energy-share", min=0.0, max=1.0, help="Of the battery's usable capacity.")
]
PowerShare = Annotated[
    float | None,
    typer.Option("--battery-power-share", min=0.0, max=1.0, help="Of the battery's power. Default: as of its capacity."),
]
Save = Annotated[
    Path | None,
    typer.Option("--save", metavar="FILE", help="Write the token to a file that only you can read, instead of printing it."),
]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '.', '_', '-'.")],
    share: Share = None,
    grid_share: GridShare = None,
    solar_share: SolarShare = None,
    battery_energy_share: EnergyShare = None,
    battery_power_share: PowerShare = None,
    command: Annotated[
        list[str] | None,
        typer.Option(
            "--command",
            metavar="COMMAND",
            help="Of the site file's commands, one that its containers may run; the first is started. May be repeated.",
        ),
    ] = None,
    containers: Annotated[int | None, typer.Option("--containers", min=0, help="At the start. Default: 1.")] = None,
    cores: Annotated[float | None, typer.Option("--cores", min=0.001, help="Of each container. Default: 1.")] = None,
    webhook_allow: Annotated[
        list[str] | None,
        typer.Option(
            "--webhook-allow", metavar="URL", help="https://host[:port] that its callbacks may be sent to. May be repeated."
        ),
    ] = None,
    save: Save = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
    json: Json = False,
) -> None:
    """Let an app join at the next tick, with its shares, its containers, a token and a socket of its own.

    It stays until it is removed, whatever becomes of the server; the site file need not know it.

    \b
    ecovisor apps add batch --share 0.2 --command work --containers 2 --cores 0.5
    ecovisor apps add web --solar-share 0.5 --battery-energy-share 0.1 --command serve --save web.token
    """
    from ecovisor import wire
    from ecovisor.cli import operator_endpoints as ask
    from ecovisor.model.errors import SettingsError
    from ecovisor.presets import shares_of
    from ecovisor.settings import App

    if not _NAME.fullmatch(name):
        raise SettingsError(
            name, "cannot be the name of an app", "letters, digits, '.', '_' and '-', a letter or digit first, 63 at most"
        )
    if not command and (containers or cores is not None):
        raise SettingsError("--containers and --cores", "say nothing without a command", "give --command, one of [server.commands]")
    held = shares_of(
        App(
            name=name,
            share=share,
            grid_share=grid_share,
            solar_share=solar_share,
            battery_energy_share=battery_energy_share,
            battery_power_share=battery_power_share,
        )
    )
    shares = wire.Shares(**{resource: getattr(held, resource) for resource in RESOURCES})
    request = wire.AddApp(
        name=name,
        shares=shares,
        commands=command or [],
        containers=0 if not command else 1 if containers is None else containers,
        cores=1.0 if cores is None else cores,
        webhook_allow=webhook_allow or [],
    )
    with _keeping(save) as keep, Operator(locate(url, token_file, unix, state, ca_file)) as operator:
        credentials = operator.ask(ask.ADD_APP, request)
        keep(credentials.token)
        socket = operator.socket_of(name)
        where = operator.address.target.url if socket is None else None
    if json:
        print_json({"app": name, "token": None if save else credentials.token, "effective_tick": credentials.effective_tick,
                     "socket": None if socket is None else str(socket), "shares": shares})  # fmt: skip
        return
    print(f"{name} joins at tick {credentials.effective_tick}, with {listed(shares)}")
    if save is None:
        print(f"token:  {credentials.token}   (told once; 'ecovisor apps token {name}' makes another)")
    else:
        print(f"token:  in {save}   ('ecovisor apps token {name}' makes another)")
    if socket is not None:
        print(f"socket: {socket}   (who may open it needs no token)")
    reached = f"--unix {socket}" if socket is not None else f"--url {where} --token-file {save or 'FILE'}"
    print(f"next:   ecovisor run-policy policy.py:NAME {reached}")
    if not command:
        print("note:   it runs no containers, because no --command was given")


def token(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="The app. Or --operator.")] = None,
    operators: Annotated[bool, typer.Option("--operator", help="Make a new operator's token.")] = False,
    grace: Annotated[
        str | None, typer.Option("--grace", metavar="SPAN", help="The token before goes on for so long (1h). Default: it ends now.")
    ] = None,
    lifetime: Annotated[
        str | None, typer.Option("--lifetime", metavar="SPAN", help="The new one ends after so long (90d). Default: never.")
    ] = None,
    save: Save = None,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
    json: Json = False,
) -> None:
    """Make a new token; the one before ends. It is told once: only its hash is kept.

    \b
    ecovisor apps token web --save web.token
    ecovisor apps token web --grace 1h
    ecovisor apps token --operator
    """
    from ecovisor.cli import operator_endpoints as ask
    from ecovisor.model.errors import SettingsError

    if (name is None) != operators:
        given = "both are" if operators else "neither is"
        raise SettingsError("NAME or --operator", f"{given} given", "name an app, or write --operator")
    query = {key: value for key, value in (("grace", grace), ("lifetime", lifetime)) if value is not None}
    with _keeping(save) as keep, Operator(locate(url, token_file, unix, state, ca_file)) as operator:
        if name is None:
            credentials = operator.ask(ask.ROTATE_OPERATOR, query=query)
        else:
            credentials = operator.ask(ask.ROTATE_APP, query=query, name=name)
        keep(credentials.token)
    ends = "" if credentials.expires is None else f"; it ends at {credentials.expires}"
    if json:
        print_json({"app": credentials.app, "token": None if save else credentials.token, "expires": credentials.expires})
    elif save is not None:
        print(f"the new token of {credentials.app} is in {save}{ends}")
    else:
        print(credentials.token, flush=True)
        print(f"that is the new token of {credentials.app}, told once{ends}", file=sys.stderr)


@contextlib.contextmanager
def _keeping(file: Path | None) -> Iterator[Callable[[str], None]]:
    """What writes a token to a file that only its owner can read; the file is made sure of before there is a token to lose.

    Raises:
        SettingsError: it cannot be written; nothing has been asked then.
    """
    if file is None:
        yield lambda _: None
        return
    from ecovisor.model.errors import SettingsError

    beside = file.with_name(f".{file.name}.new")
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        remedy = "name a file in a folder that exists"
        raise SettingsError(f"--save {file}", f"cannot be written: {error.strerror}", remedy) from None

    def keep(told: str) -> None:
        try:
            os.write(descriptor, f"{told}\n".encode())
            os.fsync(descriptor)
            beside.replace(file)
        except OSError as error:
            remedy = "the new token is lost; make another with 'ecovisor apps token'"
            raise SettingsError(f"--save {file}", f"could not be written: {error.strerror}", remedy) from None

    try:
        yield keep
    finally:
        os.close(descriptor)
        beside.unlink(missing_ok=True)

"""`ecovisor apps …`: who shares a running site; apps that join and leave, their shares, their tokens.

Owns what the operator types and is told. The site is found by ``connection``; what it does is the REST interface's, under `/v1/admin`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecovisor.cli.app_shares import RESOURCES, changed, left, listed
from ecovisor.cli.connection import CaFile, Operator, State, TokenFile, Unix, Url, locate

if TYPE_CHECKING:
    from ecovisor import wire

_PIPE_WIDTH = 140

app = typer.Typer(
    name="apps",
    help="Who shares a running site: list apps, add and remove them, change their shares, make tokens. For the site's operator.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object or list instead.")]
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


@app.command("list")
def list_apps(
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
    json: Json = False,
) -> None:
    """List the apps of a running site: shares, containers, power, carbon.

    \b
    ecovisor apps list                         in the folder of a site that runs there
    ecovisor apps list --state /srv/site/state --json
    """
    from ecovisor.cli import operator_endpoints as ask

    with Operator(locate(url, token_file, unix, state, ca_file)) as operator:
        snapshot, entries = operator.ask(ask.SITE), operator.ask(ask.APPS)
    if json:
        _print_json(_told(snapshot, entries))
    else:
        _print_table(snapshot, entries)


@app.command("add")
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
        _print_json({"app": name, "token": None if save else credentials.token, "effective_tick": credentials.effective_tick,
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
        print(
            "note:   it runs nothing; 'ecovisor apps add --command …' names what its containers run, of the site's [server.commands]"
        )


@app.command("shares")
def set_shares(
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=SHARE…", help="NAME=0.3 of everything; NAME.grid, .solar, .battery, .battery_energy or .battery_power."
        ),
    ],
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
    json: Json = False,
) -> None:
    """Change shares of one or several apps, all at the same tick boundary.

    Of each resource at most 1 may be given away; what no app holds is the site's own. Energy above a smaller
    battery moves to the site, with its carbon.

    \b
    ecovisor apps shares web=0.3 batch=0.2
    ecovisor apps shares web.solar=0.6 batch.solar=0.1 batch.battery=0
    """
    from ecovisor import wire
    from ecovisor.cli import operator_endpoints as ask

    with Operator(locate(url, token_file, unix, state, ca_file)) as operator:
        held = {entry.name: entry.shares for entry in operator.ask(ask.APPS)}
        new = changed(held, changes)
        answer = operator.ask(ask.SET_SHARES, wire.ChangeShares(shares=new))
    if json:
        _print_json({"effective_tick": answer.effective_tick, "shares": new})
        return
    for name, shares in new.items():
        print(f"{name}: {listed(shares)}, from tick {answer.effective_tick} on")


@app.command("token")
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
        _print_json({"app": credentials.app, "token": None if save else credentials.token, "expires": credentials.expires})
    elif save is not None:
        print(f"the new token of {credentials.app} is in {save}{ends}")
    else:
        print(credentials.token, flush=True)
        print(f"that is the new token of {credentials.app}, told once{ends}", file=sys.stderr)


@app.command("remove")
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The app.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
    json: Json = False,
) -> None:
    """Let an app leave: its containers are stopped, its token, socket and callbacks end. The ledger keeps what it did.

    What is in its battery becomes the site's, with its carbon.

    \b
    ecovisor apps remove batch
    """
    from ecovisor.cli import operator_endpoints as ask

    with Operator(locate(url, token_file, unix, state, ca_file)) as operator:
        if not yes and sys.stdin.isatty():
            typer.confirm(f"Stop the containers of {name} and end its token?", abort=True, err=True)
        answer = operator.ask(ask.REMOVE_APP, name=name)
    if json:
        _print_json({"app": name, "effective_tick": answer.effective_tick})
    else:
        print(f"{name} has left, from tick {answer.effective_tick} on; the ledger keeps what it did")


# -- tokens


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
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise SettingsError(
            f"--save {file}", f"cannot be written: {error.strerror}", "name a file in a folder that exists"
        ) from None

    def keep(told: str) -> None:
        os.write(descriptor, f"{told}\n".encode())
        os.fsync(descriptor)
        beside.replace(file)

    try:
        yield keep
    finally:
        os.close(descriptor)
        beside.unlink(missing_ok=True)


# -- what is shown


def _told(snapshot: wire.SiteSnapshot, entries: Sequence[wire.AppEntry]) -> list[dict[str, object]]:
    from ecovisor.cli.live_tables import SITE

    seen = {one.app: one for one in snapshot.apps}
    told: list[dict[str, object]] = []
    for name, shares, allowed in (*((one.name, one.shares, one.webhook_allow) for one in entries), (SITE, left(entries), [])):
        now = seen.get(name)
        told.append(
            {
                "app": name,
                "shares": shares,
                "webhook_allow": allowed,
                "containers": None if now is None else now.containers,
                "power_w": None if now is None else now.load.power_w,
                "carbon_g": None if now is None else now.carbon.total_g,
                "carbon_rate_g_per_h": None if now is None else now.carbon.rate_g_per_h,
                "unknown_carbon_wh": None if now is None else now.carbon.unknown_wh,
            }
        )
    return told


def _print_table(snapshot: wire.SiteSnapshot, entries: Sequence[wire.AppEntry]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ecovisor.cli.live_tables import SITE, figures, plain, quantity

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    table.add_column("app", no_wrap=True)
    for title in ("grid", "solar", "battery", "its power", "containers", "power", "carbon", "now"):
        table.add_column(title, justify="right", no_wrap=True)
    seen = {one.app: one for one in snapshot.apps}
    for name, shares in (*((one.name, one.shares) for one in entries), (SITE, left(entries))):
        now = seen.get(name)
        held = [figures(getattr(shares, one)) for one in RESOURCES]
        if now is None:
            table.add_row(Text(plain(name)), *held, "–", "–", "–", "–")
            continue
        unknown = "+?" if now.carbon.unknown_wh > 0.0 else ""
        running = sum(one.state == "running" for one in now.containers)
        count = "–" if name == SITE else f"{running} of {len(now.containers)}"
        carbon = quantity(now.carbon.total_g, "g") + unknown
        table.add_row(
            Text(plain(name)), *held, count, quantity(now.load.power_w, "W"), carbon, quantity(now.carbon.rate_g_per_h, "g/h")
        )
    console.print(table)


def _print_json(told: object) -> None:
    import msgspec

    print(msgspec.json.encode(told).decode())

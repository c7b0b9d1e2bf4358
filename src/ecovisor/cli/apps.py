"""`ecovisor apps …`: who shares a running site; apps that join and leave, their shares, their tokens.

Owns what the operator types and is told; what hands out tokens is ``app_tokens``. The site is found by ``connection``; what it does is the
REST interface's, under `/v1/admin`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ecovisor.cli import app_tokens
from ecovisor.cli.app_shares import RESOURCES, changed, left, listed
from ecovisor.cli.connection import CaFile, Json, Operator, State, TokenFile, Unix, Url, locate, print_json

if TYPE_CHECKING:
    from ecovisor import wire

#: The site's own app, which holds what no other does.
SITE = "_site"
_PIPE_WIDTH = 140

app = typer.Typer(
    name="apps",
    help="Who shares a running site: list apps, read what they write, add and remove them, change shares, make tokens. For its operator.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
        print_json(_told(snapshot, entries))
    else:
        _print_table(snapshot, entries)


def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The app.")],
    container: Annotated[str | None, typer.Argument(metavar="CONTAINER", help="Default: all of them.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Of each container, the last so many.")] = 20,
    state: State = None,
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
) -> None:
    """Print what an app's containers wrote last, and why one did not start.

    \b
    ecovisor apps logs web
    ecovisor apps logs web c2 --lines 500
    """
    from ecovisor.cli import operator_endpoints as ask
    from ecovisor.client.endpoints import LOGS
    from ecovisor.model.errors import SettingsError
    from ecovisor.model.nearest import did_you_mean

    with Operator(locate(url, token_file, unix, state, ca_file)) as operator:
        there = {one.app: [each.id for each in one.containers] for one in operator.ask(ask.SITE).apps if one.app != SITE}
        if name not in there:
            raise SettingsError(name, "there is no such app", did_you_mean(name, there))
        if container is not None and container not in there[name]:
            raise SettingsError(container, f"{name} has no such container", did_you_mean(container, there[name]))
        for one in there[name] if container is None else [container]:
            written = operator.ask(LOGS, query={"app": name}, id=one).splitlines()[-lines:]
            if container is None and len(there[name]) > 1:
                print(f"== {one}")
            for line in written or [f"{one} has written nothing"]:
                print("".join(c if c.isprintable() or c == "\t" else "�" for c in line))


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
        print_json({"effective_tick": answer.effective_tick, "shares": new})
        return
    for name, shares in new.items():
        print(f"{name}: {listed(shares)}, from tick {answer.effective_tick} on")


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
        print_json({"app": name, "effective_tick": answer.effective_tick})
    else:
        print(f"{name} has left, from tick {answer.effective_tick} on; the ledger keeps what it did")


# -- what is shown


def _told(snapshot: wire.SiteSnapshot, entries: Sequence[wire.AppEntry]) -> list[dict[str, object]]:
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

    from ecovisor.cli.live_tables import figures, plain, quantity

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
    for one in snapshot.apps:
        for container in one.containers:
            if container.state == "failed" or container.exit_code:
                ended = "did not start" if container.state == "failed" else f"ended with exit code {container.exit_code}"
                print(f"! {one.app}/{container.id} {ended}; 'ecovisor apps logs {one.app} {container.id}' shows what it wrote")


app.command("list")(list_apps)
app.command("logs")(logs)
app.command("add")(app_tokens.add)
app.command("shares")(set_shares)
app.command("token")(app_tokens.token)
app.command("remove")(remove)

"""`ecovisor serve`: run a site live, until it is told to end.

Owns what a terminal sees of it; ``signals`` has the signals. Building is ``assembly.live``, the tick ``live.ecovisor``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.assembly.live import LiveSite


def serve(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The site file, with a table \\[server].")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one field: server.listen=127.0.0.1:0. May be repeated."),
    ] = None,
    keep_containers: Annotated[
        bool, typer.Option("--keep-containers", help="When it ends, leave containers running under their last caps.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every request, not only what is wrong.")] = False,
) -> None:
    """Run a site live: meter and cap containers, settle every tick, keep the ledger, serve REST and the dashboard.

    Everything that apps did is in the ledger under the state directory; after a crash, run the same command again.
    SIGHUP reads the file again and says what changed. 'ecovisor demo' shows a running site without a file.

    \b
    ecovisor check site.toml && ecovisor doctor --config site.toml
    ecovisor serve --config site.toml
    ecovisor serve --config site.toml --set server.listen=127.0.0.1:0
    """
    from ecovisor.adapters.scenario_files import load_scenario
    from ecovisor.api.logs import log_to
    from ecovisor.assembly import live
    from ecovisor.cli.signals import Foreground

    overrides = settings or []
    scenario, folder = load_scenario(str(config), overrides)
    log_to(sys.stderr, logging.INFO if verbose else logging.WARNING)

    async def session() -> None:
        foreground = Foreground()
        site = await foreground.open(live.open_site(scenario, folder))

        async def reload() -> None:
            try:
                again, _ = load_scenario(str(config), overrides)
                changes = await site.reload(again)
            except Exception as error:
                logging.getLogger("ecovisor").error("%s was not read again: %s; the site goes on as it was", config, error)
                return
            with contextlib.suppress(OSError):  # nobody reads it any more
                for line in changes or ["nothing has changed"]:
                    print(f"reload: {line}", flush=True)

        try:
            announce(site)
            await foreground.run(site, reload)
        finally:
            await site.close(stop_containers=not keep_containers, stop_plant=False)
        if site.plant_process is not None:
            print(
                f"the emulated plant goes on, as process {site.plant_process.pid}; 'kill {site.plant_process.pid}' ends it",
                flush=True,
            )

    run(session)


def announce(site: LiveSite) -> None:
    """Say where it is, and tokens that were made now and will not be told again."""
    print(f"ecovisor {site.ecovisor.site_name()}: {site.url}", flush=True)
    token = site.new_tokens.get("_operator")
    if token is not None:
        print(f"dashboard:      {site.url}/#token={token}")
        print(f"operator token: {token}  (told once; 'ecovisor apps token --operator' makes another)")
    print(f"state:          {site.state_dir}   operator's socket: {site.socket_of(None)}", flush=True)
    for note in site.notes:
        print(f"note: {note}", flush=True)


def run(session: Callable[[], Awaitable[None]]) -> None:
    """Run on the fastest event loop there is."""
    from ecovisor.api.server import loop_factory

    async def main() -> None:
        sys.setswitchinterval(0.001)  # a tick's computation lets readers through
        await session()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())

"""`ecovisor status`: one look at a running site, for people and for scripts.

Owns what counts as degraded, and the exit status: 0 healthy, 1 degraded with reasons, 2 unreachable.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from ecovisor.cli.connection import CaFile, State, TokenFile, Unix, Url

if TYPE_CHECKING:
    from ecovisor import wire
    from ecovisor.cli.live_reader import Seen

DEGRADED = 1


def status(
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    ca_file: CaFile = None,
    state: State = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: status, reasons, and the whole snapshot.")] = False,
) -> int:
    """Say whether a running site is well, in a few lines.

    Exit status 0: healthy; 1: degraded, with every reason; 2: it cannot be reached or does not accept the token.
    With the operator's token or socket it is about the whole site, with an app's about that app.

    \b
    ecovisor status                      in the folder of a site that runs there
    ecovisor status --token-file operator.token
    ecovisor status --json | jq .reasons
    """
    from ecovisor.cli.live_reader import SiteReader

    with SiteReader(url, token_file, unix, ca_file, state) as reader:
        health = reader.readiness()
        seen = reader.read()
    if seen is None:
        raise AssertionError("the first answer is a snapshot")
    reasons = reasons_of(seen, health)
    if json:
        import msgspec

        told = {
            "status": "degraded" if reasons else "healthy",
            "reasons": reasons,
            "age_s": seen.age_s,
            "snapshot": seen.snapshot,
        }
        print(msgspec.json.encode(told).decode())
    else:
        _print(seen, reasons)
    return DEGRADED if reasons else 0


def reasons_of(seen: Seen, health: wire.Health) -> list[str]:
    """Why the site is not as it should be; empty when it is."""
    from ecovisor.cli.live_tables import age, warnings

    reasons = (
        list(health.reasons) if health.reasons else [] if health.ok else ["the server is not ready; the operator's token shows why"]
    )
    if seen.overdue_s > 0.0:
        reasons.append(f"no new tick for {age(seen.age_s)}")
    return reasons + warnings(seen.snapshot)


def _print(seen: Seen, reasons: list[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    from ecovisor import wire
    from ecovisor.cli.live_tables import age, headline, plain, quantity, share_of, site_line

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    snapshot = seen.snapshot
    verdict = Text("degraded", style="bold red") if reasons else Text("healthy", style="bold green")
    console.print(verdict.append("  ").append_text(headline(snapshot, console.width)))
    if isinstance(snapshot, wire.SiteSnapshot):
        console.print(site_line(snapshot, console.width))
        apps = snapshot.apps
        sources = " · ".join(f"{plain(one.name)} {one.quality} ({age(one.age_s)})" for one in snapshot.sources)
        console.print(Text(f"containers by {plain(snapshot.platform, 60)} · {sources}", style="dim"))
    else:
        apps = [snapshot]
        console.print(
            f"load {quantity(snapshot.load.power_w, 'W')} · grid share {share_of(snapshot.totals.grid_to_load_wh, snapshot.totals.load_wh)}"
            f" · battery {share_of(snapshot.battery.level_wh, snapshot.battery.capacity_wh)} · {quantity(snapshot.carbon.total_g, 'g')}"
        )
    states = Counter(container.state for app in apps for container in app.containers)
    counted = ", ".join(f"{number} {plain(state)}" for state, number in sorted(states.items())) or "none"
    own = len([app for app in apps if app.app != "_site"])
    console.print(Text(f"{own} app(s) · containers: {counted} · published {age(seen.age_s)} ago"))
    for reason in reasons:
        console.print(Text(f"! {reason}", style="yellow"))

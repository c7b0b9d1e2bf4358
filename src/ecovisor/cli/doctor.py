"""`ecovisor doctor`: what a live site would enforce on this machine and what not, with the remedies.

Owns which probes run, their order and wording for people; trying things out is ``adapters.probes``. Exit status 0, or 1 where something
makes `serve` impossible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.adapters.probes import Finding
    from ecovisor.settings import Scenario, Serving

_PIPE_WIDTH = 100
_STYLES = {"ok": "green", "limited": "yellow", "missing": "red"}


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="A site file: look at what it asks for.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field of it before looking; may be repeated.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: findings, serve_possible.")] = False,
) -> None:
    """What will be enforced on this machine and what not: caps, users, meters, ledger, addresses.

    Tries things out (a control group with a quota, a forced write, a process as another user) and leaves nothing behind.
    Exit status 1: 'ecovisor serve' cannot start here.

    \b
    ecovisor doctor
    ecovisor doctor --config site.toml --json
    """
    from ecovisor.adapters.scenario_files import load_scenario

    scenario, folder = (None, Path()) if config is None else load_scenario(str(config), settings or [])
    findings = list(_examine(scenario, folder))
    possible = not any(finding.blocks_serve for finding in findings)
    if json:
        import msgspec

        answer = {"serve_possible": possible, "findings": [msgspec.to_builtins(finding) for finding in findings]}
        print(msgspec.json.encode(answer).decode())
    else:
        _print(findings)
    if not possible:
        raise typer.Exit(1)


def _examine(scenario: Scenario | None, folder: Path) -> Iterator[Finding]:
    from ecovisor.adapters.probes import installation, machine
    from ecovisor.settings import Serving

    serving = (scenario.server if scenario is not None else None) or Serving()
    python = installation.probe_python()
    yield python
    yield from installation.probe_extras()
    if python.blocks_serve:  # what follows asks a Unix system
        return
    yield installation.probe_user()
    yield machine.probe_processors()
    yield from _containers(serving, folder / serving.state_dir)
    yield machine.probe_meter(serving.meters, folder)
    if scenario is not None:
        yield _power_curve(scenario)
    yield machine.probe_clock()
    yield from _serving(serving, folder, [app.name for app in scenario.apps] if scenario is not None else [])


def _containers(serving: Serving, state_dir: Path) -> Iterator[Finding]:
    from ecovisor.adapters.probes import containers
    from ecovisor.ports.live import Isolation

    if serving.platform == "simulated":
        yield from containers.describe_isolation(Isolation("simulated", "simulated", separate_users=False))
        return
    yield containers.probe_cgroups()
    found = containers.probe_platform(state_dir, serving.cap_mechanism)
    yield from found
    if not any(finding.blocks_serve for finding in found):
        yield containers.probe_python_for_others()


def _power_curve(scenario: Scenario) -> Finding:
    """Whether the site says what its servers draw, or takes the default."""
    from ecovisor.adapters.probes import Finding, State
    from ecovisor.presets import resolve_server

    server = resolve_server(scenario.site.server)
    low_w, high_w = server.power_curve_w[0], server.power_curve_w[-1]
    found = f"{low_w:g} to {high_w:g} W for {server.cores:g} cores"
    given = scenario.site.server
    if given.preset is not None:
        return Finding("power curve", State.OK, f"{found}, preset {given.preset}")
    if given.power_curve_w is not None:
        return Finding("power curve", State.OK, f"{found}, {len(server.power_curve_w)} points")
    follows = "modelled power is that of a microserver, whatever this machine is"
    return Finding(
        "power curve", State.LIMITED, f"{found}, the default", follows, "'ecovisor calibrate' prints the lines for site.server"
    )


def _serving(serving: Serving, folder: Path, apps: Sequence[str]) -> Iterator[Finding]:
    from dataclasses import replace

    from ecovisor.adapters.probes import Finding, State, network, storage

    state_dir = folder / serving.state_dir
    yield from storage.probe_state_dir(state_dir)
    yield storage.probe_sockets(state_dir, apps)
    listening = [network.probe_listen(serving.listen)]
    if serving.metrics_listen is not None:
        listening.append(network.probe_listen(serving.metrics_listen, "server.metrics_listen"))
    pid = storage.running_server(state_dir / "ledger" / "ledger.lock")
    if pid is not None:
        yield Finding(
            "server", State.LIMITED, f"one runs on this state directory, with pid {pid}", "another cannot start", "stop it first"
        )
        listening = [replace(one, blocks_serve=False) for one in listening]  # most likely by that very server
    yield from listening
    certificate = None if serving.tls_certificate is None else folder / serving.tls_certificate
    key = None if serving.tls_key is None else folder / serving.tls_key
    yield network.probe_protection(serving.listen, certificate, key, allow_insecure=serving.allow_insecure)


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in findings:
        said = Text(finding.found)
        if finding.follows:
            said.append(f"\n→ {finding.follows}", style="dim" if finding.state == "ok" else "")
        if finding.remedy:
            said.append(f"\nremedy: {finding.remedy}", style="cyan")
        table.add_row(Text(finding.state, style=_STYLES[finding.state]), finding.subject, said)
    console.print(table)
    console.print()
    for line in _verdict(findings):
        console.print(line)


def _verdict(findings: Sequence[Finding]) -> list[str]:
    blocking = [finding.subject for finding in findings if finding.blocks_serve]
    if blocking:
        return [f"[bold red]serve cannot start here[/]: {', '.join(blocking)}"]
    limited = [finding.subject for finding in findings if finding.state != "ok"]
    if limited:
        return [f"[bold]serve can start here[/], with limits: {', '.join(limited)}"]
    return ["[bold green]serve can start here[/], and enforces everything"]

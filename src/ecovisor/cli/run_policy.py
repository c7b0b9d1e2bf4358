"""`ecovisor run-policy`: a policy file, or a built-in policy, drives one app of a live site.

Owns what is printed of every tick. Where the site is says ``connection``, which policy ``adapters.policies``; the policy is called by
``client.driving``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecovisor.cli.connection import CaFile, State, TokenFile, Unix, Url

if TYPE_CHECKING:
    from ecovisor import wire
    from ecovisor.client import App
    from ecovisor.client.connecting import Address
    from ecovisor.model.errors import PolicyError

_WIDTHS = (7, 18, 10, 10, 10, 11, 12)


def run_policy(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="FILE[:NAME]|KIND",
            help="A policy file, with the policy's name if it defines several; or a built-in policy: carbon-agnostic, suspend-resume, "
            "wait-and-scale, battery-arbitrage, static-carbon-rate.",
        ),
    ],
    url: Url = None,
    token_file: TokenFile = None,
    unix: Unix = None,
    app: Annotated[
        str | None, typer.Option("--app", metavar="NAME", help="The app, by the state directory of a site on this machine.")
    ] = None,
    state: State = None,
    ca_file: CaFile = None,
    ticks: Annotated[int | None, typer.Option(min=1, help="How many ticks to drive. Default: until it is interrupted.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="KEY=VALUE",
            help="An option of the policy; may be repeated. The value is TOML, or text: scale=3, window=24h.",
        ),
    ] = None,
    keep_going: Annotated[bool, typer.Option("--keep-going", help="When the policy fails, go on at the next tick.")] = False,
    wait: Annotated[str, typer.Option(metavar="DURATION", help="How long to try if there is no server yet.")] = "0s",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a tick and one at the end, a line each.")] = False,
) -> None:
    """Drive an app of a live site with a policy, the same file that a simulation takes.

    Prints a line a tick: what the app saw, what the policy set, and what a limit clipped.

    \b
    ecovisor run-policy policy.py --unix state/sockets/web.sock
    ecovisor run-policy policy.py:SunFirst --url http://127.0.0.1:7780 --token-file web.token
    ecovisor run-policy suspend-resume --app batch --option percentile=25
    """
    from ecovisor.adapters.policies import named_policy
    from ecovisor.client.connecting import meet_now
    from ecovisor.client.driving import drive
    from ecovisor.client.persistence import Patience

    name, make = named_policy(policy, _options(option or []), Path.cwd())
    address = _address(url, token_file, unix, app, state, ca_file)
    one = make()
    with _notes_on_stderr(), meet_now(address, Patience(), _seconds(wait)) as connected:
        told = _Told(connected, name, str(address.target), json=json)
        try:
            drive(connected, one, ticks=ticks, keep_going=keep_going, after=told.tick)
        except KeyboardInterrupt:
            if ticks is not None:
                raise
        finally:
            told.end()


# -- what the command line says


def _options(given: list[str]) -> dict[str, object]:
    from ecovisor.adapters.scenario_keys import value_of
    from ecovisor.model.errors import SettingsError

    found: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.strip().isidentifier():
            raise SettingsError(f"--option {text}", "is no KEY=VALUE", "write for example --option scale=3")
        found[key.strip()] = value_of(value)
    return found


def _seconds(wait: str) -> float:
    from ecovisor.model.errors import SettingsError
    from ecovisor.model.units import duration_s

    if wait in {"0", "0s"}:
        return 0.0
    try:
        return duration_s(wait)
    except ValueError as error:
        raise SettingsError("--wait", str(error), "write for example 30s") from None


def _address(
    url: str | None, token_file: Path | None, unix: Path | None, app: str | None, state: Path | None, ca_file: Path | None
) -> Address:
    """Where the app is: by its socket in a state directory if it is named, else where the options and the environment say."""
    from ecovisor.adapters.sockets import socket_path
    from ecovisor.cli.connection import DEFAULT_STATE, locate
    from ecovisor.model.errors import SettingsError

    if app is not None:
        if url is not None or unix is not None:
            raise SettingsError("--app", "names a socket in a state directory, and another place is given too", "give one of them")
        return locate(unix=socket_path(state or DEFAULT_STATE, app))
    address = locate(url, token_file, unix, state, ca_file)
    if address.target.socket_path is not None and Path(address.target.socket_path).name == socket_path(DEFAULT_STATE, None).name:
        raise SettingsError("run-policy", "this is the operator's socket, and a policy drives one app", "add --app NAME")
    return address


# -- what is told


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """What the client has to say of its connection."""
    logger, handler = logging.getLogger("ecovisor.client"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("note: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


class _Told:
    """Prints ticks, and counts them."""

    def __init__(self, app: App, policy: str, where: str, *, json: bool) -> None:
        from ecovisor.model.units import human_duration

        self._app = app
        self._policy = policy
        self._json = json
        self._ticks = self._failed = 0
        if not json:
            now = app.snapshot
            print(f"{policy} drives {app.name} at {where}: ticks of {human_duration(now.tick_s)}, times in {now.timezone}")
            print(_columns(("tick", "time", "power", "solar", "grid", "battery", "carbon")) + "  set", flush=True)

    def tick(self, app: App, error: PolicyError | None) -> None:
        """A tick has been driven, or the policy has failed in it."""
        self._ticks += 1
        self._failed += error is not None
        now = app.snapshot
        if self._json:
            _print_json(_figures(now) | {"settings": app.answers, "error": None if error is None else _cause(error)})
            return
        print(_columns(_cells(now)) + "  " + ", ".join(text for answer in app.answers for text in _settings(answer)), flush=True)
        if error is not None:
            print(f"tick {now.tick}: {self._policy} failed: {_cause(error)}", file=sys.stderr)

    def end(self) -> None:
        """No more ticks."""
        name, late = self._app.name, self._app.late_ticks
        if self._json:
            summary = {"app": name, "policy": self._policy, "ticks": self._ticks}
            _print_json(summary | {"failed_ticks": self._failed, "late_ticks": late})
            return
        failed = f", and failed in {self._failed} of them" if self._failed else ""
        missed = f"; {late} more had passed before their turn" if late else ""
        print(f"{self._policy} drove {name} for {self._ticks} ticks{failed}{missed}", flush=True)


def _figures(now: wire.Snapshot) -> dict[str, Any]:
    return {
        "tick": now.tick,
        "time": now.time,
        "power_w": now.load.power_w,
        "solar_w": now.solar.power_w,
        "grid_w": now.grid.power_w,
        "battery_level_wh": now.battery.level_wh,
        "carbon_intensity_g_per_kwh": now.grid.carbon_intensity_g_per_kwh,
        "carbon_g": now.carbon.total_g,
    }


def _cells(now: wire.Snapshot) -> tuple[str, ...]:
    intensity = now.grid.carbon_intensity_g_per_kwh
    return (
        str(now.tick),
        _local(now),
        f"{now.load.power_w:.1f} W",
        f"{now.solar.power_w:.1f} W",
        f"{now.grid.power_w:.1f} W",
        f"{now.battery.level_wh:.1f} Wh",
        "unknown" if intensity is None else f"{intensity:.0f} g/kWh",
    )


def _columns(cells: tuple[str, ...]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))


def _local(now: wire.Snapshot) -> str:
    """The tick's start in the site's zone."""
    from datetime import UTC, datetime
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        zone: Any = ZoneInfo(now.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = UTC
    return datetime.fromtimestamp(now.now_s, zone).strftime("%d %b %H:%M:%S")


def _settings(answer: wire.SettingAnswer) -> Iterator[str]:
    """What was asked, and what came of it where that is less."""
    for field, asked in answer.asked.items():
        clipped = answer.clipped.get(field)
        came = f" → {_amount(answer.in_force.get(field))} ({clipped})" if clipped else ""
        yield f"{field} {_amount(asked)}{came}"


def _amount(value: float | None) -> str:
    return "no limit" if value is None else f"{value:g}"


def _cause(error: PolicyError) -> str:
    return f"{type(error.cause).__name__}: {' '.join(str(error.cause).split())}"


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode(), flush=True)

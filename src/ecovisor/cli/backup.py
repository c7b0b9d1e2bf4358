"""`ecovisor backup` and `ecovisor restore`: the ledger of a site as one file, and back.

Owns options and wording; how it is done safely is ``adapters.stores.ledger.copies``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecovisor.cli.ledger_report import DEFAULT_STATE, ledger_folder

if TYPE_CHECKING:
    from ecovisor.adapters.stores.ledger.copies import Copied

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object: file, bytes, ticks, last_tick, end, site.")]


def backup(
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The backup.")],
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="State directory of the site; the server may run.")
    ] = DEFAULT_STATE,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
    json: _Json = False,
) -> None:
    """Copy the ledger into one file while the server runs; it is read through and checked before it gets its name.

    Ticks, events, roll-ups, checkpoint, tokens (as hashes), callbacks and settings are in it. Keep it as safe as the state directory.

    \b
    ecovisor backup --state state --to site-2026-03-01.backup
    """
    from ecovisor.adapters.stores.ledger.copies import back_up

    with _progress(quiet=json) as progress:
        copied = back_up(ledger_folder(state), to, overwrite=overwrite, progress=progress)
    _tell(copied, f"{to}: a backup of {_what(copied)}", json=json)


def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="State directory to be; no server may run on it.")
    ] = DEFAULT_STATE,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the ledger that is there; what it recorded since the backup is gone.")
    ] = False,
    json: _Json = False,
) -> None:
    """Make a backup the ledger of a state directory. A server that is started on it goes on after the backup's last tick.

    \b
    ecovisor restore site-2026-03-01.backup --state state
    """
    from ecovisor.adapters.stores.ledger import copies

    with _progress(quiet=json) as progress:
        copied = copies.restore(source, ledger_folder(state), overwrite=overwrite, progress=progress)
    _tell(copied, f"{copied.path}: restored {_what(copied)}", json=json)


def _what(copied: Copied) -> str:
    from ecovisor.model.units import iso_utc

    end = f", until {iso_utc(copied.end_s)}" if copied.end_s is not None else ""
    return f"{copied.site or 'a site'}: {copied.ticks} ticks{end}, {copied.bytes / 1e6:.1f} MB"


def _tell(copied: Copied, said: str, *, json: bool) -> None:
    if not json:
        print(said)
        return
    import msgspec

    from ecovisor.model.units import iso_utc

    answer = {
        "file": str(copied.path),
        "bytes": copied.bytes,
        "ticks": copied.ticks,
        "last_tick": copied.tick,
        "end": None if copied.end_s is None else iso_utc(copied.end_s),
        "site": copied.site,
    }
    print(msgspec.json.encode(answer).decode())


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on stderr while it takes long, for people who look."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield told

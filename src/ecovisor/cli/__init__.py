"""The command line: `ecovisor VERB …`, one file per verb.

Owns how the program ends: exit status 0, or 2 with one line on stderr for anything a person can put right, 130 when interrupted.
Verbs import what they need when they run, so that `--help` is quick. What they do is in ``adapters``, ``assembly`` and ``plots``.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Annotated

import typer

from ecovisor.cli import (
    apps,
    backup,
    bench,
    calibrate,
    check,
    data,
    demo,
    doctor,
    init,
    ledger_report,
    run_policy,
    serve,
    simulate,
    status,
    study,
    sweep,
    top,
)
from ecovisor.model.errors import EcovisorError

INTERRUPTED = 130
_BROKEN_PIPE = 141

app = typer.Typer(
    name="ecovisor",
    help="Every application its own energy system: a share of grid, solar array and battery, run by its own policy.",
    epilog="Start with:  ecovisor simulate two-apps  ·  ecovisor simulate --list  ·  ecovisor init",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(serve.serve)
app.command()(status.status)
app.command()(top.top)
app.add_typer(apps.app)
app.command()(run_policy.run_policy)
app.command()(ledger_report.report)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(simulate.simulate)
app.command()(sweep.sweep)
app.command()(study.study)
app.command()(init.init)
app.command()(check.check)
app.command()(data.data)
app.command()(calibrate.calibrate)
app.command()(doctor.doctor)
app.command()(bench.bench)


def _show_version(asked: bool) -> None:
    if asked:
        from ecovisor import __version__

        print(f"ecovisor {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Every application its own energy system: a share of grid, solar array and battery, run by its own policy."""


def main() -> None:
    """Run the command line and end the process with its exit status."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line; the exit status. Errors that a person can put right are one line on stderr."""
    try:
        status = app(arguments, prog_name="ecovisor", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except EcovisorError as error:
        return _refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        message = getattr(error, "format_message", None)  # a usage error, whichever click this typer brings
        if message is None:
            raise
        return _refuse(str(message())) if message() else 2  # without a verb, the help was printed


def _refuse(message: str) -> int:
    print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _terminate(number: int, frame: FrameType | None) -> None:
    """End as when interrupted, so that what is half written is removed."""
    raise SystemExit(128 + number)

"""`ecovisor calibrate`: the power curve of a server, from a file of load and power or from a ladder of loads on this machine.

Owns the wording, the table and the lines to paste. Reading files is ``adapters.meters.samples``, the ladder ``adapters.meters.ladder``, the
fit ``library.calibration``, the pictures ``cli.fit_chart``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.adapters.meters.ladder import Ladder
    from ecovisor.adapters.meters.samples import Asked
    from ecovisor.library.calibration import PowerCurveFit, PowerSample

_PIPE_WIDTH = 100
_POWERCAP = Path("/sys/class/powercap")


@dataclass(slots=True)
class _Measured:
    """Samples, and what is to be said about them."""

    source: str
    samples: list[PowerSample]
    cores: float | None
    notes: list[str] = field(default_factory=list)


def calibrate(
    file: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A CSV or Parquet file of load and power. Default: measure here.")
    ] = None,
    load_column: Annotated[str | None, typer.Option(help="The column of loads. Default: by unit or name.")] = None,
    load_unit: Annotated[str | None, typer.Option(help="Its unit, where its name does not say it: % or ratio.")] = None,
    power_column: Annotated[str | None, typer.Option(help="The column of powers. Default: by unit or name.")] = None,
    power_unit: Annotated[str | None, typer.Option(help="Its unit, where its name does not say it: W, kW.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Use only the file's rows that hold this; may be repeated.")
    ] = None,
    rungs: Annotated[int, typer.Option(help="Loads of the ladder, from idle to full.", min=2, max=101)] = 11,
    hold: Annotated[str, typer.Option(help="Time on each rung; the first fifth is left to settle.")] = "5s",
    root: Annotated[Path, typer.Option(help="The powercap tree of the ladder's meter.")] = _POWERCAP,
    psys: Annotated[
        bool, typer.Option("--psys", help="Meter the whole platform where RAPL knows it, not packages and memory.")
    ] = False,
    save: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the ladder's samples, for --from.")] = None,
    points: Annotated[int | None, typer.Option(help="Points of the curve, 2 to 21. Default: by cross-validation.")] = None,
    cores: Annotated[float | None, typer.Option(help="Cores of the server. Default: of this machine, for a ladder.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the fit as a picture.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Fit a server's power curve, and print the lines for the table `site.server` of a scenario.

    Without --from it loads this machine from 0 to 100 % in steps, about a minute in all, and reads its power by RAPL.

    \b
    ecovisor calibrate --from load_and_power.csv
    ecovisor calibrate --from log.csv --load-unit % --power-column watts --power-unit W
    ecovisor calibrate --hold 10s --save samples.csv --plot curve.png
    """
    from ecovisor.adapters.meters.samples import Asked
    from ecovisor.library.calibration import fit_power_curve

    if file is not None:
        measured = _from_file(file, Asked(load_column, load_unit), Asked(power_column, power_unit), only or [], cores)
    else:
        measured = _from_ladder(root, rungs, hold, psys=psys, cores=cores)
        if save is not None:
            _save(save, measured.samples)
        _refuse_a_busy_machine(measured.samples)
    fit = fit_power_curve(measured.samples, points)
    measured.notes += _notes(fit)
    if plot is not None:
        from ecovisor.cli.fit_chart import save_plot

        save_plot(plot, measured.samples, fit, f"Power curve from {file.name if file else measured.source}")
    if json:
        _print_json(measured, fit)
    else:
        _print(measured, fit)


def _from_file(file: Path, load: Asked, power: Asked, only: Sequence[str], cores: float | None) -> _Measured:
    from ecovisor.adapters.meters.samples import read_samples
    from ecovisor.model.errors import SettingsError

    filters = []
    for condition in only:
        column, equals, value = condition.partition("=")
        if not equals:
            raise SettingsError(f"--only {condition}", "has no '='", "write --only COLUMN=VALUE")
        filters.append((column.strip(), value.strip()))
    found = read_samples(file, load=load, power=power, only=filters)
    notes = [f"load is column {found.load_column!r}, power {found.power_column!r}"]
    if found.rows_without_value:
        notes.append(f"{found.rows_without_value} row(s) without a value were passed over")
    if cores is None:
        notes.append("how many cores the server has is not in the file: add cores = N to the lines, or ask with --cores N")
    return _Measured(str(file), found.samples, cores, notes)


def _from_ladder(root: Path, rungs: int, hold: str, *, psys: bool, cores: float | None) -> _Measured:
    import asyncio
    import os
    import time

    from ecovisor.adapters.meters import choose_meter
    from ecovisor.adapters.meters.ladder import Burners, Ladder, climb, machine_busy
    from ecovisor.model.errors import InputError, SettingsError
    from ecovisor.model.units import duration_s

    try:
        hold_s = duration_s(hold)
    except ValueError as error:
        raise SettingsError("--hold", str(error), "write for example --hold 5s") from None
    settle_s = hold_s / 5.0
    count = max(1, round(hold_s - settle_s))
    ladder = Ladder([k / (rungs - 1) for k in range(rungs)], settle_s, count, (hold_s - settle_s) / count)

    async def run() -> tuple[str, list[PowerSample]]:
        choice = await choose_meter(["powercap"], options={"powercap": {"root": root, "prefer_psys": psys}})
        if choice.meter is None:
            raise InputError(
                "calibrate",
                f"this machine has no power meter ({choice.failures[0][1]})",
                "measure load and power by other means, and fit those: ecovisor calibrate --from FILE.csv",
            )
        with Burners() as burners, _progress(ladder) as progress:
            samples = await climb(
                choice.meter,
                ladder,
                burners,
                busy=machine_busy,
                monotonic_s=time.monotonic,
                sleep=asyncio.sleep,
                progress=progress,
            )
        return choice.meter.describe(), samples

    meter, samples = asyncio.run(run())
    notes = [f"meter: {meter}", "RAPL sees processors and memory, not disks, fans and the power supply's losses"]
    return _Measured("a ladder of loads on this machine", samples, cores or float(os.cpu_count() or 1), notes)


def _refuse_a_busy_machine(samples: Sequence[PowerSample]) -> None:
    from ecovisor.library.calibration import span_enough
    from ecovisor.model.errors import InputError

    loads = [sample.load_ratio for sample in samples]
    if not span_enough(loads):
        raise InputError(
            "calibrate",
            f"other work kept this machine at {min(loads):.0%} load or more, even on the idle rung",
            "repeat it when idle",
        )


@contextmanager
def _progress(ladder: Ladder) -> Iterator[Callable[[int, float], None] | None]:
    """A progress bar on stderr where that is a terminal, else a line when the ladder begins."""
    import sys

    from ecovisor.model.units import human_duration

    if not sys.stderr.isatty():
        seconds = human_duration(round(ladder.duration_s, 1))
        print(f"measuring {len(ladder.loads_ratio)} loads, {seconds} in all; other work on this machine blurs it", file=sys.stderr)
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("loads"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=len(ladder.loads_ratio))

        def advance(rung: int, load_ratio: float) -> None:
            bar.update(task, completed=rung, description=f"measuring at {load_ratio:.0%}")

        yield advance


def _save(path: Path, samples: Sequence[PowerSample]) -> None:
    from ecovisor.model.errors import InputError

    rows = "".join(f"{sample.load_ratio:.6f},{sample.power_w:.6f}\n" for sample in samples)
    try:
        path.write_text(f"load_ratio,power_w\n{rows}", "utf-8")
    except OSError as error:
        raise InputError(str(path), f"cannot be written: {error.strerror}", "name another file") from None


def _notes(fit: PowerCurveFit) -> list[str]:
    """What a reader should know of the fit before trusting it."""
    notes = []
    if fit.cross_validation_rmse_w:
        left_out_w = fit.cross_validation_rmse_w[len(fit.power_curve_w)]
        notes.append(f"{len(fit.power_curve_w)} points by cross-validation: RMSE {left_out_w:.3g} W on samples left out of the fit")
    for low, high in _joined(fit.empty_intervals_ratio):
        outside = high <= fit.measured_from_ratio or low >= fit.measured_to_ratio
        notes.append(f"no samples from {low:.0%} to {high:.0%}: {'extrapolated' if outside else 'interpolated'}")
    if fit.measured_to_ratio < 0.9 or fit.measured_from_ratio > 0.1:
        notes.append(f"measured from {fit.measured_from_ratio:.0%} to {fit.measured_to_ratio:.0%} load only")
    if fit.power_curve_w[0] <= 1e-9:
        notes.append("the fitted idle power is 0 W, which no server has: look at the samples at idle")
    return notes


def _joined(intervals: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Neighbours made one."""
    joined: list[tuple[float, float]] = []
    for low, high in intervals:
        if joined and abs(joined[-1][1] - low) < 1e-9:
            joined[-1] = (joined[-1][0], high)
        else:
            joined.append((low, high))
    return joined


def _toml(measured: _Measured, fit: PowerCurveFit) -> str:
    cores = "" if measured.cores is None else f"cores = {measured.cores:g}\n"
    return f"[site.server]\n{cores}power_curve_w = {[round(power_w, 3) for power_w in fit.power_curve_w]}"


def _print_json(measured: _Measured, fit: PowerCurveFit) -> None:
    import msgspec

    answer = {
        "source": measured.source,
        "cores": measured.cores,
        **msgspec.to_builtins(fit),
        "empty_intervals_ratio": fit.empty_intervals_ratio,
        "notes": measured.notes,
        "toml": _toml(measured, fit),
    }
    print(msgspec.json.encode(answer).decode())


def _print(measured: _Measured, fit: PowerCurveFit) -> None:
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ecovisor.cli.fit_chart import draw_chart

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    console.print(f"[bold]Power curve[/] fitted to {fit.samples} samples from {escape(measured.source)}", soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("load", "power", "samples above", "off by, mean", "off by, most"):
        table.add_column(name, justify="right")
    last = len(fit.power_curve_w) - 1
    for k, power_w in enumerate(fit.power_curve_w):
        within = [s for s in measured.samples if k < last and min(int(s.load_ratio * last), last - 1) == k]
        off_w = [s.power_w - fit.power_w(s.load_ratio) for s in within]
        mean, most = (f"{sum(off_w) / len(off_w):+.2f} W", f"{max(map(abs, off_w)):.2f} W") if off_w else ("", "")
        count = "" if k == last else str(fit.samples_per_interval[k]) if off_w else "none"
        table.add_row(f"{k / last:.0%}", f"{power_w:.2f} W", count, mean.replace("-", "−"), most)
    console.print(table)
    for line in draw_chart(measured.samples, fit, console.width):
        console.print(line, markup=False, no_wrap=True)
    console.print()
    explained = "" if fit.r2_ratio is None else f" · R² {fit.r2_ratio:.4f}"
    console.print(
        f"RMSE {fit.rmse_w:.3g} W · largest error {fit.max_error_w:.3g} W{explained} · a straight line: RMSE {fit.straight_rmse_w:.3g} W"
    )
    for note in measured.notes:
        console.print(f"note: {note}", style="yellow", markup=False)
    console.print()
    print(_toml(measured, fit))

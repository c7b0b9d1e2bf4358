"""`ecovisor sweep`: one scenario many times with other values, on all cores or a Dask cluster, into one table.

Owns the order of things and what is printed while and after; the sweep itself is ``ecovisor.sweeps``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ecovisor.sweeps.outcomes import Outcome
    from ecovisor.sweeps.plan import Plan
    from ecovisor.sweeps.running import Task
    from ecovisor.sweeps.sweep import Execute, Finished

_FAILED = 1
_TOLD_EVERY_S = 30.0
#: Combinations from which the time that is left is told.
_TOLD_FROM = 10
_REFUSALS_SHOWN = 5


def sweep(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO|NAME", help="A scenario file, or the name of a bundled one.")],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            help="Vary one field, by its path in the file as with --set. Values are parted by commas; FIRST..LAST:STEP is a range with "
            "both ends: apps.web.share=0.1,0.2 · apps.job.policy.scale=1..3:0.5 · apps.job.policy.window=12h..48h:12h · "
            '\'apps.job.policy={kind="carbon-agnostic"},{kind="suspend-resume"}\'. May be repeated: all combinations are run.',
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one field for all combinations; may be repeated.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Run each combination with N seeds, from run.seed on.")
    ] = None,
    together: Annotated[bool, typer.Option("--zip", help="First values of all keys together, then the second ones, …")] = False,
    sample: Annotated[
        int | None, typer.Option("--random", min=1, metavar="N", help="Only N of the combinations, drawn by run.seed.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write, or to go on in. Default: sweeps/NAME, or sweeps/NAME-2, …")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes. Default: one for each core.")] = None,
    dask: Annotated[
        str | None,
        typer.Option("--dask", metavar="tcp://HOST:PORT", help="Run on this Dask cluster instead; needs 'ecovisor\\[dask]'."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object: out, combinations, done, failed, tables, …")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be run, and check its values; run nothing.")] = False,
) -> int:
    """Run a scenario with every combination of values; one table of what came of them.

    The folder holds sweep.csv, and sweep.parquet where pyarrow is installed: a row for
    each combination and app, with the varied values, energies, carbon and run time,
    and one for the site. The same command goes on where it was interrupted or killed.
    A combination that fails is a row with its error; the exit status is then 1.

    \b
    ecovisor sweep two-apps --vary apps.job.policy.percentile=10..50:10
    ecovisor sweep two-apps --vary 'apps.job.policy={kind="carbon-agnostic"},{kind="suspend-resume"}'
    ecovisor sweep my.toml --vary signals.carbon.zone=DE,FR --vary apps.job.cores=1..4 --seeds 5
    ecovisor sweep my.toml --vary apps.a.share=0.2,0.8 --vary apps.b.share=0.8,0.2 --zip
    ecovisor sweep my.toml --vary run.seed=1..1000 --dask tcp://10.0.0.5:8786
    """
    from ecovisor.model.errors import SettingsError
    from ecovisor.sweeps.plan import plan_sweep
    from ecovisor.sweeps.sweep import run_sweep

    if jobs is not None and dask is not None:
        raise SettingsError("--jobs", "is for this machine, and --dask for a cluster", "give one of them")
    plan = plan_sweep(scenario, vary or [], overrides=settings or [], together=together, sample=sample, seeds=seeds)
    if dry_run:
        return _rehearse(plan, json=json)
    folder = out if out is not None else _default_out(plan, Path(scenario).stem)
    count = _Count()
    try:
        with _progress(scenario, len(plan.tasks), count) as progress:
            finished = run_sweep(plan, folder, _execution(plan, jobs, dask), progress)
    except KeyboardInterrupt:
        import sys

        print(
            f"{count.done} combination(s) were done and are kept in {folder}; the same command goes on from there", file=sys.stderr
        )
        raise
    _tell(finished, plan, json=json)
    return _FAILED if finished.failed else 0


def _execution(plan: Plan, jobs: int | None, dask: str | None) -> Execute:
    """Where combinations run."""

    def execute(tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
        if dask is not None:
            from ecovisor.sweeps.cluster import run_on_cluster

            return run_on_cluster(dask, plan.base, tasks, plan.paths)
        from ecovisor.sweeps.local import cores, run_here, run_in_processes

        count = min(cores() if jobs is None else jobs, max(len(tasks), 1))
        return run_here(plan.base, tasks) if count == 1 else run_in_processes(plan.base, tasks, count)

    return execute


def _default_out(plan: Plan, name: str) -> Path:
    """The first of `sweeps/NAME`, `sweeps/NAME-2`, … that is free, or holds this very sweep."""
    from ecovisor.model.errors import InputError
    from ecovisor.sweeps.sweep import holds

    number = 1
    while True:
        folder = Path("sweeps") / (name if number == 1 else f"{name}-{number}")
        try:
            if not holds(plan, folder):
                return folder
        except InputError:
            pass  # something else is there
        number += 1


def _rehearse(plan: Plan, *, json: bool) -> int:
    from ecovisor.sweeps.plan import refusals

    refused = refusals(plan)
    if json:
        import msgspec

        told = {
            "scenario": plan.source,
            "combinations": len(plan.tasks),
            "vary": {axis.key: axis.values for axis in plan.axes},
            "files": sorted(map(str, plan.paths)),
            "refused": {str(index): why for index, why in refused.items()},
        }
        print(msgspec.json.encode(told).decode())
        return _FAILED if refused else 0
    print(f"{plan.source}: {len(plan.tasks)} combination(s)")
    for axis in plan.axes:
        shown = ", ".join(axis.values[:8]) + (f", … {axis.values[-1]}" if len(axis.values) > 8 else "")
        print(f"  {axis.key}: {len(axis.values)} ({shown})")
    for path in sorted(map(str, plan.paths)):
        print(f"  reads {path}")
    for index, why in list(refused.items())[:_REFUSALS_SHOWN]:
        print(f"  combination {index} would fail: {why}")
    if len(refused) > _REFUSALS_SHOWN:
        print(f"  … and {len(refused) - _REFUSALS_SHOWN} more would fail")
    return _FAILED if refused else 0


def _tell(finished: Finished, plan: Plan, *, json: bool) -> None:
    if json:
        import msgspec

        told = {
            "out": str(finished.folder),
            "combinations": len(finished.outcomes),
            "done": len(finished.outcomes) - len(finished.failed),
            "found": finished.found,
            "failed": [{"combination": one.index, "settings": one.settings, "error": one.error} for one in finished.failed],
            "elapsed_s": round(finished.elapsed_s, 3),
            "tables": [str(path) for path in finished.tables],
        }
        print(msgspec.json.encode(told).decode())
        return
    from ecovisor.cli.sweep_text import print_sweep

    print_sweep(finished, plan)


class _Count:
    """How many combinations are done of this time, and how many of them failed."""

    def __init__(self) -> None:
        self.done = self.failed = 0

    def add(self, outcome: Outcome) -> None:
        self.done += 1
        self.failed += outcome.error is not None


@contextmanager
def _progress(title: str, total: int, count: _Count) -> Iterator[Callable[[Outcome | None, int], None]]:
    """A bar on stderr where that is a terminal, now and then a line where it is not; both with the time that is left."""
    import sys

    if not sys.stderr.isatty():
        yield _lines(title, total, count)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("combinations{task.fields[failed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, failed="")

        def advance(outcome: Outcome | None, missing: int) -> None:
            if outcome is not None:
                count.add(outcome)
            bar.update(task, completed=count.done, total=missing, failed=f", {count.failed} failed" if count.failed else "")

        yield advance


def _lines(title: str, total: int, count: _Count) -> Callable[[Outcome | None, int], None]:
    """Progress for logs: a line at the beginning where something is done already, and one every half minute."""
    import sys
    import time

    from ecovisor.model.units import human_duration

    began_s = told_s = time.monotonic()

    def advance(outcome: Outcome | None, missing: int) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if outcome is not None:
            count.add(outcome)
        elif missing < total:
            print(f"{title}: {total - missing} of {total} combinations are done already", file=sys.stderr)
        if outcome is not None and now_s - told_s >= _TOLD_EVERY_S:
            told_s = now_s
            left_s = max(round((now_s - began_s) / count.done * (missing - count.done)), 1)
            left = (
                f", about {human_duration(left_s)} left" if count.done >= _TOLD_FROM else ""
            )  # the first ones load what others find
            failed = f", {count.failed} failed" if count.failed else ""
            print(f"{title}: {total - missing + count.done} of {total} combinations{failed}{left}", file=sys.stderr)

    return advance

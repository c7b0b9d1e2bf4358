"""The printed table of a sweep: a line for each combination and app, seeds taken together. All figures are in the sweep's own table."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecovisor.model.units import human_duration
from ecovisor.sweeps.varying import SEED

if TYPE_CHECKING:
    from ecovisor.sweeps.outcomes import Outcome
    from ecovisor.sweeps.plan import Plan
    from ecovisor.sweeps.sweep import Finished

_PIPE_WIDTH = 140
_SHOWN = 40
_ERRORS_SHOWN = 5
_NOTHING = "–"


def print_sweep(finished: Finished, plan: Plan) -> None:
    """Print a sweep to stdout."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    keys = [key for key in plan.keys if key != SEED]
    groups = _grouped(finished.outcomes, plan)
    rows = [(values, apps) for values, outcomes in groups for apps in _by_app(outcomes)]
    alone = len({apps[0]["app"] for _, apps in rows}) == 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in _short(keys):
        table.add_column(escape(name))
    if not alone:
        table.add_column("app")
    seeds = any(len(outcomes) > 1 for _, outcomes in groups)
    for name, unit in (("work done", ""), ("done after", ""), ("grid", "Wh"), ("carbon", "g ± sd" if seeds else "g")):
        table.add_column(f"{name}\n[dim]{unit}[/]", justify="right")
    table.add_column("against\nagnostic", justify="right")
    for values, apps in rows[:_SHOWN]:
        table.add_row(*map(escape, values), *([] if alone else [escape(apps[0]["app"])]), *_cells(apps))
    if rows:
        console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"and {len(rows) - _SHOWN} more lines in {finished.tables[0].name}")
    failed = finished.failed
    for one in failed[:_ERRORS_SHOWN]:
        told = f"combination {one.index} ({', '.join(one.settings)}) failed: {one.error}"
        console.print(told, style="red", markup=False, soft_wrap=True)
    if len(failed) > _ERRORS_SHOWN:
        console.print(f"and {len(failed) - _ERRORS_SHOWN} more failed")
    total = len(finished.outcomes)
    before = f" ({finished.found} of them before)" if finished.found else ""
    console.print(
        f"{total - len(failed)} of {total} combinations{before} in {human_duration(round(finished.elapsed_s, 1))}", markup=False
    )
    console.print(f"table: {' and '.join(str(path) for path in finished.tables)}", markup=False, soft_wrap=True)


def _grouped(outcomes: Sequence[Outcome], plan: Plan) -> list[tuple[tuple[str, ...], list[Outcome]]]:
    """Outcomes with figures by their values, the seed left out."""
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.error is None:
            values = (setting.partition("=")[2] for setting in outcome.settings)
            shown = tuple(value for key, value in zip(plan.keys, values, strict=True) if key != SEED)
            groups.setdefault(shown, []).append(outcome)
    return list(groups.items())


def _by_app(outcomes: Sequence[Outcome]) -> list[list[dict[str, Any]]]:
    """The same app in each outcome; `_site` only where it draws power."""
    return [
        list(apps)
        for apps in zip(*(outcome.apps for outcome in outcomes), strict=False)
        if apps[0]["app"] != "_site" or apps[0]["demand_wh"] > 0
    ]


def _cells(apps: Sequence[dict[str, Any]]) -> list[str]:
    carbon_g = [app["carbon_g"] for app in apps]
    spread = f" ± {stdev(carbon_g):.2f}" if len(carbon_g) > 1 else ""
    runtimes_s = [app["runtime_s"] for app in apps]
    return [
        _work(apps),
        human_duration(fmean(runtimes_s)) if all(value is not None for value in runtimes_s) else _NOTHING,
        f"{fmean(app['grid_to_load_wh'] + app['grid_to_battery_wh'] for app in apps):.1f}",
        f"{fmean(carbon_g):.2f}{spread}",
        _against(apps),
    ]


def _work(apps: Sequence[dict[str, Any]]) -> str:
    done = fmean(app["work_done"] for app in apps)
    total = apps[0]["work_total"]
    return f"{done:,.4g}{'' if total is None else f' of {total:,.4g}'} {escape(apps[0]['work_unit'])}"


def _against(apps: Sequence[dict[str, Any]]) -> str:
    """Carbon against the carbon-agnostic run; a job that is not done is not compared with one that is."""
    if any(app["work_total"] is not None and app["completed_s"] is None for app in apps):
        return "unfinished"
    pairs = [(app["carbon_g"], app["baseline_carbon_g"]) for app in apps]
    if any(not agnostic for _, agnostic in pairs):
        return _NOTHING
    change = 100 * fmean(carbon / agnostic - 1 for carbon, agnostic in pairs)
    return "same" if abs(change) < 0.05 else f"{change:+.1f} %".replace("-", "−")


def _short(keys: Sequence[str]) -> list[str]:
    """The end of each key path, as long as it takes to tell them apart."""
    parts = [key.split(".") for key in keys]
    for length in range(1, max(map(len, parts), default=1) + 1):
        names = [".".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return list(keys)

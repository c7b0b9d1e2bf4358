"""The printed summary of a run: the apps' work, their energy and carbon, and the site's balance.

Owns columns, units and wording for people. All numbers come from ``model.summary``; ``--json`` prints those unrounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ecovisor.model.summary import AppSummary, RunSummary, SiteSummary
from ecovisor.model.units import human_duration

#: Apps shown; of more, those with the most energy.
SHOWN = 24
_PIPE_WIDTH = 140
_NOTHING = "–"
_ENERGY = ((1e6, "MWh"), (1e3, "kWh"), (1.0, "Wh"))
_CARBON = ((1e6, "t"), (1e3, "kg"), (1.0, "g"))


def print_summary(summary: RunSummary, *, timezone: str, attribution: str, more_notes: Sequence[str] = ()) -> None:
    """Print a run to stdout.

    Args:
        summary: the run.
        timezone: zone of the times shown.
        attribution: `import` or `use`: the carbon that is compared with the carbon-agnostic run.
        more_notes: what to say after the summary's own notes.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    zone = ZoneInfo(timezone)
    start = datetime.fromtimestamp(summary.start_s, zone)
    length = human_duration(summary.tick_s * summary.ticks)
    console.print(f"[bold]{escape(summary.title or 'A run')}[/]")
    console.print(f"{length} from {start:%Y-%m-%d %H:%M} {timezone}, {summary.ticks} ticks of {human_duration(summary.tick_s)}")
    apps, left_out = _shown(summary.apps)
    console.print(_work_table(apps, zone))
    console.print(_energy_table(apps, attribution))
    if left_out:
        console.print(f"and {left_out} more apps, all of them in run.json")
    optima = [app for app in apps if app.optimum is not None]
    if optima:
        console.print(_optimum_table(optima, zone))
    console.print(_site_table(summary.site))
    residuals = f"balance {summary.site.balance_residual_wh:.2g} Wh · virtual against physical {summary.site.residual_wh:.2g} Wh"
    console.print(f"residual: {residuals}")
    for name, origin in summary.signals.items():
        console.print(f"{name}: {origin}", style="dim", markup=False)
    for note in (*summary.notes, *_optimum_notes(apps), *more_notes):
        console.print(f"note: {note}", style="yellow", markup=False)


def _shown(apps: Sequence[AppSummary]) -> tuple[list[AppSummary], int]:
    if len(apps) <= SHOWN:
        return list(apps), 0
    largest = sorted(apps[:-1], key=lambda app: -app.demand_wh)[: SHOWN - 1]
    keep = {app.app for app in (*largest, apps[-1])}
    return [app for app in apps if app.app in keep], len(apps) - len(keep)


def _work_table(apps: Sequence[AppSummary], zone: ZoneInfo) -> Table:
    table = _table("Work")
    for name in ("app", "workload", "policy"):
        table.add_column(name)
    for name in ("work done", "done at", "done after", "agnostic after", "unserved"):
        table.add_column(name, justify="right")
    energy = _scale((app.unserved_wh for app in apps), _ENERGY)
    for app in apps:
        total = "" if app.work_total is None else f" of {_amount(app.work_total)}"
        done_at = _NOTHING if app.completed_s is None else f"{datetime.fromtimestamp(app.completed_s, zone):%a %d %b %H:%M}"
        late = " [red]late[/]" if app.deadline_met is False else ""
        table.add_row(
            app.app if app.count == 1 else f"{app.app} ×{app.count}",
            escape(app.workload),
            escape(app.policy),
            f"{_amount(app.work_done)}{total} {escape(app.work_unit)}",
            done_at + late,
            _NOTHING if app.runtime_s is None else human_duration(app.runtime_s),
            _NOTHING if app.baseline_runtime_s is None else human_duration(app.baseline_runtime_s),
            _quantity(app.unserved_wh, energy),
        )
    return table


def _energy_table(apps: Sequence[AppSummary], attribution: str) -> Table:
    table = _table("Energy used, by source, and carbon")
    energies = [(app.solar_to_load_wh, app.battery_discharge_wh, app.grid_to_load_wh, app.grid_to_battery_wh) for app in apps]
    energy = _scale((value for row in energies for value in row), _ENERGY)
    carbon = _scale((value for app in apps for value in (app.carbon_g, app.carbon_on_use_g)), _CARBON)
    table.add_column("app")
    for name in ("solar", "battery", "grid", "grid → battery"):
        table.add_column(f"{name}\n[dim]{energy.unit}[/]", justify="right")
    table.add_column("battery\n[dim]cycles[/]", justify="right")
    for name in ("carbon on import", "on use"):
        table.add_column(f"{name}\n[dim]{carbon.unit}[/]", justify="right")
    table.add_column("against\nagnostic", justify="right")
    priced = any(app.cost is not None for app in apps)
    if priced:
        table.add_column("cost", justify="right")
    for app, row in zip(apps, energies, strict=True):
        table.add_row(
            app.app,
            *(_number(value, energy) for value in row),
            _NOTHING if app.battery_cycles == 0 else f"{app.battery_cycles:.2f}",
            _number(app.carbon_g, carbon),
            _number(app.carbon_on_use_g, carbon),
            _compared(app, attribution),
            *([_NOTHING if app.cost is None else f"{app.cost:.2f}"] if priced else []),
        )
    return table


def _compared(app: AppSummary, attribution: str) -> str:
    """Carbon against the agnostic run; a job that is not done is not compared with one that is."""
    if app.work_total is not None and app.completed_s is None:
        return "unfinished"
    if attribution == "use":
        return _against(app.carbon_on_use_g, app.baseline_carbon_on_use_g)
    return _against(app.carbon_g, app.baseline_carbon_g)


def _optimum_table(apps: Sequence[AppSummary], zone: ZoneInfo) -> Table:
    """What no policy could have gone below, and on which terms."""
    table = _table("Optimum: the least carbon on import for the same work, clairvoyant")
    carbon = _scale((value for app in apps for value in (app.carbon_g, (app.optimum and app.optimum.carbon_g) or 0.0)), _CARBON)
    table.add_column("app")
    for name in ("ours", "optimum"):
        table.add_column(f"{name}\n[dim]{carbon.unit}[/]", justify="right")
    table.add_column("ours over\noptimum", justify="right")
    table.add_column("on at most", justify="right")
    table.add_column("until", justify="right")
    table.add_column("steps", justify="right")
    for app in apps:
        best = app.optimum
        if best is None or best.carbon_g is None:
            table.add_row(app.app, _number(app.carbon_g, carbon), "no bound")
            continue
        until = _NOTHING if best.until_s is None else f"{datetime.fromtimestamp(best.until_s, zone):%a %d %b %H:%M}"
        steps = _NOTHING if best.resolution_s is None else f"≤ {human_duration(best.resolution_s)}"
        table.add_row(
            app.app,
            _number(app.carbon_g, carbon),
            f"{best.carbon_g / carbon.factor:.{carbon.decimals}f}",
            _NOTHING if best.ratio is None else f"{best.ratio:.2f}",
            f"{best.cores:g} cores",
            until,
            steps,
        )
    return table


def _optimum_notes(apps: Sequence[AppSummary]) -> list[str]:
    """Why there is no bound, and what was relaxed where there is one: once for all apps that it holds for."""
    notes = [f"apps.{app.app}: no bound: {app.optimum.reason}" for app in apps if app.optimum and app.optimum.carbon_g is None]
    bound = [app for app in apps if app.optimum and app.optimum.carbon_g is not None]
    relaxed: dict[str, list[str]] = {}
    for app in bound:
        for text in app.optimum.relaxations if app.optimum else ():
            relaxed.setdefault(text, []).append(app.app)
    told = [text if len(names) == len(bound) else f"{text} ({', '.join(names)})" for text, names in relaxed.items()]
    if told:
        notes.append(f"the optimum is a relaxation, which can only lower it: {'; '.join(told)}")
    notes += [
        f"apps.{app.app}: the optimum is for the {app.optimum.work_core_h:.4g} core-h that were done"
        for app in apps
        if app.optimum and app.optimum.work_core_h is not None and app.completed_s is None
    ]
    return notes


def _site_table(site: SiteSummary) -> Table:
    table = _table("Site: what came in and where it went")
    sources = {"solar": site.solar_collected_wh, "grid import": site.import_wh}
    stored = site.final_level_wh - site.initial_level_wh
    uses = {"load": site.load_wh, "export": site.export_wh, "curtailed": site.curtailed_wh, "battery losses": site.battery_loss_wh}
    (sources if stored < 0 else uses)["from the battery" if stored < 0 else "left in the battery"] = abs(stored)
    energy = _scale((*sources.values(), *uses.values()), _ENERGY)
    for name in ("in", energy.unit, "out", energy.unit):
        table.add_column(name, justify="right" if name == energy.unit else "left")
    sides = [list(sources.items()), [(name, value) for name, value in uses.items() if value or name == "load"]]
    for k in range(max(map(len, sides))):
        cells = [(items[k][0], _number(items[k][1], energy)) if k < len(items) else ("", "") for items in sides]
        table.add_row(*cells[0], *cells[1])
    table.add_section()
    totals = [_number(sum(value for _, value in items), energy) for items in sides]
    table.add_row("together", totals[0], "together", totals[1])
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")


class _Scale(NamedTuple):
    """How the numbers of one column are shown."""

    factor: float
    unit: str
    decimals: int


def _scale(values: Iterable[float], units: Sequence[tuple[float, str]]) -> _Scale:
    """The unit in which the largest value reads well, from 10 of it up, and as many decimals as that leaves room for."""
    largest = max(map(abs, values), default=0.0)
    factor, unit = next((unit for unit in units if largest >= 10 * unit[0]), units[-1])
    return _Scale(factor, unit, 2 if largest < 100 * factor else 1)


def _number(value: float, scale: _Scale) -> str:
    return _NOTHING if value == 0 else f"{value / scale.factor:.{scale.decimals}f}"


def _amount(work: float) -> str:
    return f"{work:,.0f}" if work >= 1000 else f"{work:.4g}"


def _quantity(value: float, scale: _Scale) -> str:
    return _NOTHING if value == 0 else f"{_number(value, scale)} {scale.unit}"


def _against(carbon_g: float, agnostic_g: float | None) -> str:
    if agnostic_g is None or agnostic_g <= 0:
        return _NOTHING
    change = 100 * (carbon_g / agnostic_g - 1)
    return "same" if abs(change) < 0.05 else f"{change:+.1f} %".replace("-", "−")

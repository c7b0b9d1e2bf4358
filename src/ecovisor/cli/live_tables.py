"""A running site in a terminal: one line of state, one of the site's energy, a row per app, a row per container.

Owns what `top`, `status` and `demo` show of a snapshot and how it fits a width. Snapshots come from ``live_reader`` or from the
running system itself; nothing here reads a clock, a socket or the size of a screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ecovisor import wire
from ecovisor.model.units import human_duration

#: The site's own app, always shown last.
SITE = "_site"
_NOTHING = "–"
_SOLAR, _BATTERY, _GRID, _ALARM, _DIM = "yellow", "green", "bright_black", "bold red", "dim"
_BLOCKS = " ▏▎▍▌▋▊▉█"
#: Names, commands and states are cut to this many characters.
_MOST_TEXT = 28


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit, to three figures, in kilo-units from 1000 up: ``0.42 W``, ``45.6 W``, ``1.23 kWh``; None is ``–``."""
    if value is None or value != value:
        return _NOTHING
    factor, prefix = (1000.0, "k") if abs(value) >= 999.5 and unit != "g/kWh" else (1.0, "")
    return f"{figures(value / factor)} {prefix}{unit}"


def figures(value: float) -> str:
    """Three figures without an exponent; what rounds to nothing is 0."""
    size = abs(value)
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    text = f"{value:,.{decimals}f}"
    return "0" if text.strip("-0.") == "" else text.replace("-", "−")


def share_of(part: float, whole: float) -> str:
    """A part in percent; ``–`` of nothing."""
    return f"{100 * part / whole:.0f} %" if whole > 0 else _NOTHING


def age(span_s: float) -> str:
    """A span of time, to a tenth of a second while it is short."""
    return human_duration(round(span_s, 1) if span_s < 60 else span_s)


def plain(text: str, most: int = _MOST_TEXT) -> str:
    """What somebody else named, on one line and without control characters, cut to ``most`` characters."""
    shown = "".join(c if c.isprintable() else "�" for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


# -- bars


def level_bar(value: float, whole: float, width: int, style: str) -> Text:
    """How much of ``whole`` is there, to an eighth of a character."""
    eighths = round(8 * width * min(max(value / whole, 0.0), 1.0)) if whole > 0 else 0
    full, rest = divmod(eighths, 8)
    bar = "█" * full + (_BLOCKS[rest] if rest else "")
    return Text.assemble((bar, f"{style} on grey23"), ("·" * (width - len(bar)), "grey50 on grey23"))


def source_bar(load: wire.LoadState, width: int) -> Text:
    """Which part of the load sun, battery and grid served; told apart by their shading too."""
    parts = ((load.solar_w, "█", _SOLAR), (load.battery_w, "▓", _BATTERY), (load.grid_w, "░", "white"))
    total = sum(part for part, _, _ in parts)
    if total <= 0:
        return Text("·" * width, style=_DIM)
    bar, shown, so_far = Text(), 0, 0.0
    for part, glyph, style in parts:
        so_far += part
        until = round(width * so_far / total)
        bar.append(glyph * (until - shown), style=style)
        shown = until
    return bar


def cap_bar(power_w: float, cap_w: float | None, most_w: float, width: int) -> Text:
    """Power against its cap; without one, against the largest power shown. Red where the cap is exceeded."""
    over = cap_w is not None and power_w > cap_w * 1.01 + 0.005
    return level_bar(
        power_w, cap_w if cap_w is not None else most_w, width, "red" if over else "cyan" if cap_w is not None else "blue"
    )


# -- lines


def warnings(snapshot: wire.SiteSnapshot | wire.Snapshot) -> list[str]:
    """What is not as it should be, in words; empty when all is well."""
    sources = snapshot.sources if isinstance(snapshot, wire.SiteSnapshot) else snapshot.stale
    apps = snapshot.apps if isinstance(snapshot, wire.SiteSnapshot) else [snapshot]
    told = [
        f"{plain(source.name)} {source.quality} for {age(source.age_s)}: {plain(source.detail, 80)}".removesuffix(": ")
        for source in sources
        if source.quality in {"stale", "missing"}
    ]
    last_dt_s = max((app.last_dt_s for app in apps), default=snapshot.tick_s)
    if last_dt_s > 1.01 * snapshot.tick_s:
        told.append(f"the last tick took {age(last_dt_s)} instead of {age(snapshot.tick_s)}")
    failed = sum(container.state == "failed" for app in apps for container in app.containers)
    if failed:
        told.append(f"{failed} container(s) failed")
    return told


def headline(snapshot: wire.SiteSnapshot | wire.Snapshot, width: int, note: str = "") -> Text:
    """Where and when, how many ticks were late or missed, and a note (which keys there are)."""
    name = snapshot.site if isinstance(snapshot, wire.SiteSnapshot) else snapshot.app
    line = Text().append(plain(name), style="bold")
    line.append(f"  tick {snapshot.tick:,}  {_local(snapshot.now_s, snapshot.timezone, short=width < 120)}")
    if width >= 120:
        line.append(f"  ticks of {human_duration(snapshot.tick_s)}", style=_DIM)
    if snapshot.compression != 1:
        line.append(f"  ×{snapshot.compression:g}", style=_DIM)
    if isinstance(snapshot, wire.SiteSnapshot):
        for what, number in (("late", snapshot.late_ticks), ("gaps", snapshot.gaps)):
            if number or width >= 100:
                line.append(f"  {what} {number}", style="yellow" if number else _DIM)
    if note:
        line.append(f"  {note}", style=_DIM)
    return line


def site_line(snapshot: wire.SiteSnapshot, width: int) -> Text:
    """Sun, grid, battery, load, intensity and carbon of the whole site."""
    short = width < 120
    line = Text()
    line.append("☀ " if short else "solar ", style=_SOLAR)
    line.append(quantity(snapshot.solar_w, "W"))
    if snapshot.sun_ratio != 1:
        line.append(f" (sun ×{figures(snapshot.sun_ratio)})", style="yellow")
    if snapshot.curtailed_w >= 0.005:
        line.append(f" (−{quantity(snapshot.curtailed_w, 'W')}{'' if short else ' curtailed'})", style=_DIM)
    line.append("  grid ", style="white")
    line.append(quantity(snapshot.import_w, "W"))
    if snapshot.export_w >= 0.005:
        line.append(f" (export {quantity(snapshot.export_w, 'W')})")
    line.append("  bat " if short else "  battery ", style=_BATTERY)
    if snapshot.battery_capacity_wh > 0:
        line.append_text(level_bar(snapshot.battery_level_wh, snapshot.battery_capacity_wh, 6 if short else 16, _BATTERY))
        line.append(f" {share_of(snapshot.battery_level_wh, snapshot.battery_capacity_wh)}")
        if not short:
            line.append(f" of {quantity(snapshot.battery_capacity_wh, 'Wh')}")
        line.append(_direction(snapshot.battery_charge_w, snapshot.battery_discharge_w))
    else:
        line.append("none", style=_DIM)
    line.append("  load ", style="cyan")
    line.append(quantity(snapshot.node_power_w, "W"))
    line.append("  ", style="none")
    line.append(quantity(snapshot.carbon_intensity_g_per_kwh, "g/kWh"))
    if not short:
        rates = [app.carbon.rate_g_per_h for app in snapshot.apps]
        known = [rate for rate in rates if rate is not None]
        line.append(f" = {quantity(sum(known), 'g/h')}" if len(known) == len(rates) else " (carbon unknown)")
        if width >= 150:
            line.append(f"  residual {snapshot.residual_wh:.1g} Wh", style=_DIM)
    return line


# -- tables


class _Column(NamedTuple):
    """A column of a table, left out where the screen is narrower than ``from_width``."""

    title: str
    cell: Callable[[wire.Snapshot], RenderableType]
    from_width: int = 0
    left: bool = False


SORTS: Mapping[str, Callable[[wire.Snapshot], object]] = {
    "power": lambda app: -app.load.power_w,
    "carbon": lambda app: -app.carbon.total_g,
    "grid share": lambda app: -app.totals.grid_to_load_wh / (app.totals.load_wh or 1.0),
    "battery": lambda app: -app.battery.level_wh,
    "name": lambda app: app.app,
}


def sorted_apps(apps: Sequence[wire.Snapshot], sort: str = "power") -> list[wire.Snapshot]:
    """The apps in an order of `SORTS`, `_site` last."""
    return sorted(apps, key=lambda app: (app.app == SITE, SORTS[sort](app), app.app))


def _columns(width: int) -> list[_Column]:
    bar = 10 if width < 120 else 14
    everything = [
        _Column("app", lambda app: Text(plain(app.app, 14 if width < 120 else _MOST_TEXT), style="bold"), left=True),
        _Column("power", lambda app: quantity(app.load.power_w, "W")),
        _Column("sun▕battery▕grid"[: bar + 6], lambda app: source_bar(app.load, bar), left=True),
        _Column("solar", lambda app: quantity(app.load.solar_w, "W"), 130),
        _Column("battery", lambda app: quantity(app.load.battery_w, "W"), 130),
        _Column("grid", lambda app: quantity(app.load.grid_w, "W"), 130),
        _Column("battery", lambda app: _battery_cell(app.battery, width), left=True),
        _Column("set-points", lambda app: _set_points(app.battery), 150, left=True),
        _Column("carbon", lambda app: quantity(app.carbon.rate_g_per_h, "g/h")),
        _Column("total", lambda app: _carbon_total(app.carbon), 72),
        _Column("grid share", lambda app: share_of(app.totals.grid_to_load_wh, app.totals.load_wh), 78),
        _Column("progress", lambda app: _progress(app.progress), 100),
    ]
    return [column for column in everything if width >= column.from_width]


def apps_table(apps: Sequence[wire.Snapshot], width: int) -> Table:
    """A row per app."""
    table = _table()
    columns = _columns(width)
    for column in columns:
        table.add_column(column.title, justify="left" if column.left else "right", no_wrap=True)
    for app in apps:
        table.add_row(*(column.cell(app) for column in columns))
    return table


def containers_table(apps: Sequence[wire.Snapshot], width: int, most_rows: int | None = None) -> Table | None:
    """A row per container, in the order of the apps; None where there are none."""
    rows = [(app, container) for app in apps for container in app.containers]
    if not rows:
        return None
    most_w = max(container.power_w for _, container in rows) or 1.0
    wide = width >= 100
    table = _table()
    for title in ("app", "container", "state"):
        table.add_column(title, no_wrap=True)
    for title in ("power", "cap"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("power of cap", no_wrap=True)
    table.add_column("cores", justify="right", no_wrap=True)
    if wide:
        table.add_column("command", no_wrap=True)
    for app, container in rows[:most_rows]:
        cells: list[RenderableType] = [
            Text(plain(app.app, 14 if not wide else _MOST_TEXT)),
            Text(plain(container.id, 16)),
            _state(container),
            quantity(container.power_w, "W"),
            quantity(container.cap_w, "W") if container.cap_w is not None else Text("none", style=_DIM),
            cap_bar(container.power_w, container.cap_w, most_w, 12 if width < 120 else 24),
            f"{container.cores:g}",
        ]
        table.add_row(*cells, *([Text(plain(container.command), style=_DIM)] if wide else []))
    left_out = len(rows) - len(rows[:most_rows])
    if left_out:
        table.add_row(Text(f"… {left_out} more", style=_DIM))
    return table


def render(
    snapshot: wire.SiteSnapshot | wire.Snapshot,
    width: int,
    *,
    height: int | None = None,
    sort: str = "power",
    note: str = "",
    alarm: str = "",
) -> Group:
    """A snapshot as lines and tables for a screen of ``width`` columns.

    Args:
        snapshot: of the site, or of one app.
        width: columns of the screen.
        height: lines of the screen; None: as many as it takes.
        sort: one of `SORTS`.
        note: what to say beside the time (which keys there are).
        alarm: what to say in red, on a line of its own (that the connection is lost, and since when).
    """
    site = isinstance(snapshot, wire.SiteSnapshot)
    apps = sorted_apps(snapshot.apps if isinstance(snapshot, wire.SiteSnapshot) else [snapshot], sort)
    told = warnings(snapshot)
    lines: list[RenderableType] = [headline(snapshot, width, note)]
    if isinstance(snapshot, wire.SiteSnapshot):
        lines.append(site_line(snapshot, width))
    lines += [Text(f"! {one}", style=_ALARM) for one in [alarm] if one]
    lines += [Text(f"! {warning}", style="yellow") for warning in told]
    room = None if height is None else max(height - len(lines) - 3, 1)
    shown = apps if room is None or len(apps) <= room else [*apps[: room - 1], apps[-1]] if site else apps[:room]
    lines.append(apps_table(shown, width))
    if len(shown) < len(apps):
        lines.append(Text(f"… {len(apps) - len(shown)} more apps", style=_DIM))
    room = None if room is None else room - len(shown) - 5
    if room is None or room > 0:
        containers = containers_table(apps, width, room)
        if containers is not None:
            lines += [Text(), containers]
    return Group(*lines)


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style=_DIM, show_edge=False)


def _battery_cell(battery: wire.BatteryState, width: int) -> Text:
    if battery.capacity_wh <= 0:
        return Text("none", style=_DIM)
    cell = level_bar(battery.level_wh, battery.capacity_wh, 6 if width < 120 else 10, _BATTERY)
    cell.append(f" {share_of(battery.level_wh, battery.capacity_wh):>5}")
    if width >= 110:
        cell.append(_direction(battery.charge_w, battery.discharge_w))
    return cell


def _direction(charge_w: float, discharge_w: float) -> str:
    flows = [(arrow, power_w) for arrow, power_w in (("↑", charge_w), ("↓", discharge_w)) if power_w >= 0.005]
    return "".join(f" {arrow}{quantity(power_w, 'W')}" for arrow, power_w in flows)


def _set_points(battery: wire.BatteryState) -> Text:
    discharge = "any" if battery.max_discharge_w is None else quantity(battery.max_discharge_w, "W")
    return Text(f"↑{quantity(battery.charge_rate_w, 'W')} ↓{discharge}", style=_DIM)


def _carbon_total(carbon: wire.CarbonState) -> Text:
    total = Text(quantity(carbon.total_g, "g"))
    if carbon.unknown_wh > 0:
        total.append("+?", style="yellow")
    if carbon.budget is not None:
        spent = share_of(carbon.budget.spent_g, carbon.budget.budget_g)
        total.append(f" {spent}", style="red" if carbon.budget.remaining_g <= 0 else _DIM)
    return total


def _progress(progress: wire.Progress) -> str:
    if progress.work_total > 0:
        return share_of(progress.work_done, progress.work_total)
    return figures(progress.work_done) if progress.work_done > 0 else _NOTHING


def _state(container: wire.ContainerView) -> Text:
    styles = {"running": "green", "suspended": "yellow", "failed": "red", "exited": "bright_black"}
    code = "" if container.exit_code in {None, 0} else f" {container.exit_code}"
    return Text(plain(container.state, 12) + code, style=styles.get(container.state, "none"))


def _local(now_s: float, zone: str, *, short: bool) -> str:
    try:
        known = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = ZoneInfo("UTC")
    return datetime.fromtimestamp(now_s, known).strftime("%a %d %b %H:%M:%S %Z" if short else "%a %d %b %Y %H:%M:%S %Z")

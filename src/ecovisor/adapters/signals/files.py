"""A signal from a file: table → columns → instants and numbers → grid → gaps → placement, to a `Series` that covers the run.

Form (order of time, step, numbers) is checked in the whole file; a missing value matters where the run uses it. Every failure
is a `SeriesError` that names file, row, column, value, bound and remedy. `load_signal` in the package takes over.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecovisor.adapters.signals.columns import ValueColumn, fitting_units, names_utc, plain, time_index, unit_in_name, value_column
from ecovisor.adapters.signals.grid import Grid, fill_gaps, gaps, lay_on_grid
from ecovisor.adapters.signals.instants import read_instants
from ecovisor.adapters.signals.numbers import is_missing, read_numbers
from ecovisor.adapters.signals.placement import Placement, place
from ecovisor.adapters.signals.tables import Table, open_table
from ecovisor.model.errors import SeriesError, SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import duration_s, human_duration, iso_utc
from ecovisor.settings import Signal


@dataclass(frozen=True, slots=True)
class FileSignal:
    """What a file gave.

    Attributes:
        series: the signal; it covers the run, and what the trace has around it.
        forecast: the forecast column asked for (``forecast = "column:NAME"``), on the same steps; None without one.
        files: (path as given, SHA-256) of what was read.
        notes: what was chosen, filled or moved, for people.
    """

    series: Series
    forecast: Series | None
    files: list[tuple[str, str]]
    notes: list[str]


def load_file(name: str, signal: Signal, *, folder: Path, start_s: float, end_s: float) -> FileSignal:
    """Reads the file of a signal for a run over ``[start_s, end_s)``.

    Raises:
        SettingsError: a setting is missing, unknown or contradictory.
        SeriesError: the file cannot be used.
    """
    file, max_gap_s, zero_negative = _settings(name, signal)
    table = open_table(folder / file, file)
    fitting = fitting_units(name, scaled=signal.scale_to_peak_w is not None)
    time = time_index(table, signal.time_column)
    chosen = value_column(table, name, time, asked=signal.column, unit=signal.unit, fitting=fitting)
    grid = read_grid(table, time, chosen, signal.timezone)
    notes = [f"{chosen.note}: column {chosen.name!r}"] if chosen.note else []
    if name != "price":
        grid, note = _without_negative(grid, chosen, zero=zero_negative)
        notes += note
    scale = _scale(grid, chosen, signal.scale_to_peak_w)
    quality, filled = Quality.MEASURED, set[int]()
    if signal.fill == "previous":
        grid, filled = fill_gaps(grid, max_gap_s)
    placed = place(grid, start_s, end_s, align_year=signal.align == "year", repeat=signal.repeat)
    notes += placed.notes
    first = math.floor((start_s - placed.start_s) / grid.step_s)
    used = placed.indices[first : math.ceil((end_s - placed.start_s) / grid.step_s)]
    _refuse_gaps(grid, chosen, used, signal.fill, max_gap_s)
    published = _estimated_by_publisher(table, grid)
    for steps, how in ((filled, "were missing and took the value before them"), (published, "were estimated by the publisher")):
        count = sum(k in steps for k in used) if steps else 0
        if count:
            quality = Quality.ESTIMATED
            notes.append(f"{count} of {len(used)} values {how}")
    series = Series(
        name,
        "W" if scale is not None else chosen.unit,
        placed.start_s,
        grid.step_s,
        _placed_values(grid, placed, scale),
        quality,
        ", ".join([f"{file}, column {chosen.name!r}", *notes]),
    )
    forecast = None
    if signal.forecast.startswith("column:"):
        column = _column_like(table, time, signal.forecast.removeprefix("column:"), chosen, signal=name, fitting=fitting)
        own = read_grid(table, time, column, signal.timezone)
        values, origin = _placed_values(own, placed, scale), f"{file}, column {column.name!r}"
        forecast = replace(series, values=values, quality=Quality.FORECAST, origin=origin)
    return FileSignal(series, forecast, [(file, table.sha256)], notes)


def read_grid(table: Table, time: int, chosen: ValueColumn, zone: str | None) -> Grid:
    """The values of a column on the regular grid of its times.

    Raises:
        SeriesError: times or values are malformed.
    """
    column = table.names[time]
    where = f"{table.label}: column {column!r}"
    times = read_instants(table.read(time), table.lines, where, zone=zone, utc_named=names_utc(column))
    cells, lines = table.read(chosen.index), table.lines
    if any(map(math.isnan, times)):
        for k, time_s in enumerate(times):
            if math.isnan(time_s) and not is_missing(cells[k]):
                raise SeriesError(
                    f"{table.label}: row {lines[k]}, column {column!r}",
                    f"{table.read(time)[k]} never was in {zone}: the clock was set forward",
                    "check timezone, or remove the row",
                )
        existing = [k for k, time_s in enumerate(times) if not math.isnan(time_s)]
        times = array("d", [times[k] for k in existing])
        cells, lines = [cells[k] for k in existing], [lines[k] for k in existing]
    values = read_numbers(cells, lines, table.label, chosen.name, chosen.factor)
    return lay_on_grid(times, values, lines, table.label)


def _settings(name: str, signal: Signal) -> tuple[str, float, bool]:
    """The file, the longest gap to close [s], and whether negative values are taken as 0."""
    where = f"signals.{name}"
    if signal.file is None:
        raise SettingsError(f"{where}.file", "is missing", "name a CSV or Parquet file, relative to the scenario file")
    if signal.scale_to_peak_w is not None and name in ("carbon", "price"):
        raise SettingsError(
            f"{where}.scale_to_peak_w", f"{signal.scale_to_peak_w:g} W does not fit {name}, which is no power", "remove it"
        )
    for option, value in signal.options.items():
        if option != "negative":
            raise SettingsError(f"{where}.options.{option}", "unknown option", did_you_mean(option, ["negative"]))
        if value not in ("error", "zero"):
            raise SettingsError(f"{where}.options.negative", f"{value!r} is unknown", "choose 'error' or 'zero'")
    try:
        return signal.file, duration_s(signal.max_gap), signal.options.get("negative") == "zero"
    except ValueError as error:
        raise SettingsError(f"{where}.max_gap", str(error), "write for example '1h'") from None


def _estimated_by_publisher(table: Table, grid: Grid) -> set[int]:
    """Steps that the file itself marks as estimated (Electricity Maps' column ``Data estimated``)."""
    index = next((i for i, name in enumerate(table.names) if plain(name) in ("data_estimated", "is_estimated")), None)
    if index is None:
        return set()
    marked = {line for line, cell in zip(table.lines, table.read(index), strict=True) if str(cell).strip().lower() == "true"}
    return {
        round((time_s - grid.start_s) / grid.step_s) for time_s, line in zip(grid.times, grid.lines, strict=True) if line in marked
    }


def _without_negative(grid: Grid, chosen: ValueColumn, *, zero: bool) -> tuple[Grid, list[str]]:
    lowest = min((value for value in grid.values if value < 0.0), default=0.0)
    if lowest == 0.0:
        return grid, []
    if not zero:
        k = next(k for k, value in enumerate(grid.values) if value < 0.0)
        raise SeriesError(
            f"{grid.label}: {grid.place(k)}, column {chosen.name!r}",
            f"{grid.values[k]:g} {chosen.unit} is negative, the bound is 0",
            'repair the row, or take all negative values as 0: options = {negative = "zero"}',
        )
    count = sum(value < 0.0 for value in grid.values)
    values = array("d", [max(value, 0.0) for value in grid.values])  # in this order a NaN stays NaN
    return replace(grid, values=values), [f"{count} negative values, down to {lowest:g} {chosen.unit}, taken as 0"]


def _scale(grid: Grid, chosen: ValueColumn, peak_w: float | None) -> float | None:
    if peak_w is None:
        return None
    largest = max((value for value in grid.values if not math.isnan(value)), default=0.0)
    if largest <= 0.0:
        raise SeriesError(
            f"{grid.label}: column {chosen.name!r}", "has no value above 0 to scale to the peak", "choose another column"
        )
    return peak_w / largest


def _placed_values(grid: Grid, placed: Placement, scale: float | None) -> array[float]:
    values = grid.values
    if isinstance(placed.indices, range):
        chosen = values[placed.indices.start : placed.indices.stop]
    else:
        chosen = array("d", [values[k] for k in placed.indices])
    return chosen if scale is None else array("d", [value * scale for value in chosen])


def _refuse_gaps(grid: Grid, chosen: ValueColumn, used: Sequence[int], fill: str, max_gap_s: float) -> None:
    missing = next((k for k in used if math.isnan(grid.values[k])), None)
    if missing is None:
        return
    first, count = next(gap for gap in gaps(grid.values) if gap[0] <= missing < sum(gap))
    length_s = count * grid.step_s
    problem = f"the value is missing for {human_duration(length_s)} from {iso_utc(grid.start_s + first * grid.step_s)}"
    if fill == "error":
        remedy = 'fill = "previous" closes gaps up to max_gap'
    elif first == 0:
        problem, remedy = f"{problem}, and there is none before it to take", "start the run later"
    else:
        problem = f"{problem}, the bound is max_gap = {human_duration(max_gap_s)}"
        remedy = "raise max_gap, or choose a run without the gap"
    raise SeriesError(f"{grid.label}: {grid.place(first)}, column {chosen.name!r}", problem, remedy)


def _column_like(table: Table, time: int, name: str, chosen: ValueColumn, *, signal: str, fitting: tuple[str, ...]) -> ValueColumn:
    """Another column of the file: in the unit its name carries, else in that of the chosen one."""
    index = table.index(name)
    if unit_in_name(name) is None:
        return replace(chosen, index=index, name=name)
    return value_column(table, signal, time, asked=name, unit=None, fitting=fitting)

"""Reads a time column: ISO 8601 or epoch seconds, with a zone or without, to seconds since the epoch.

Local times are resolved by the zone's rules: in a repeated hour the order of the rows decides, an hour that never was is told
apart. `grid` takes over with the instants.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as datetime_time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ecovisor.adapters.signals.tables import Cell
from ecovisor.model.errors import SeriesError
from ecovisor.model.nearest import did_you_mean

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - to subtract from naive times
#: Epoch seconds beyond these (years 1 and 5138) cannot be written as a date, or are milliseconds by mistake.
_EARLIEST_S, _LATEST_S = -62_135_596_800.0, 1e11


def read_instants(
    cells: Sequence[Cell], lines: Sequence[int], where: str, *, zone: str | None, utc_named: bool = False
) -> array[float]:
    """The instants of a time column. [s since the epoch, UTC]

    Args:
        cells: ISO 8601 text, numbers (as text or not) of epoch seconds, or datetimes.
        lines: line in the file of each.
        where: file and column, for messages.
        zone: IANA zone of naive times, or None.
        utc_named: the column's name says UTC.

    Returns:
        One instant a cell; NaN where a local time was skipped by the change to summer time and so never was.

    Raises:
        SeriesError: not a time, naive without a zone, naive and aware mixed, an unknown zone.
    """
    if isinstance(cells[0], date) and not isinstance(cells[0], datetime):
        midnight = datetime_time()
        cells = [None if cell is None else datetime.combine(cell, midnight) for cell in cells]
    first = cells[0]
    if isinstance(first, (int, float)) or (isinstance(first, str) and re.fullmatch(r"\s*-?\d+(\.\d*)?(e\+?\d+)?\s*", first)):
        return _epoch_seconds(cells, lines, where)
    times = list(_datetimes(cells, lines, where))
    naive = [when.tzinfo is None for when in times]
    if not any(naive):
        return array("d", [when.timestamp() for when in times])
    if not all(naive):
        k = naive.index(not naive[0])
        kinds = ("no time zone", "a time zone") if naive[k] else ("a time zone", "no time zone")
        raise SeriesError(
            _row(where, lines[k]), f"{cells[k]} has {kinds[0]}, the rows before have {kinds[1]}", "give every row its zone"
        )
    if zone is None and not utc_named:
        raise SeriesError(
            _row(where, lines[0]), f"{cells[0]} names no time zone", 'set timezone = "UTC" (or another), or append an offset'
        )
    rules = UTC if zone is None else find_zone(zone, where)
    if rules is UTC or zone in ("UTC", "Etc/UTC"):
        return array("d", [(when - _EPOCH).total_seconds() for when in times])
    if utc_named:
        raise SeriesError(where, f"the column's name says UTC, the settings say timezone = {zone!r}", "leave timezone out")
    return _from_local(times, lines, where, rules)


def _datetimes(cells: Sequence[Cell], lines: Sequence[int], where: str) -> list[datetime]:
    """The cells as datetimes.

    Raises:
        SeriesError: names the first cell that is none.
    """
    try:
        return [cell if isinstance(cell, datetime) else datetime.fromisoformat(cell) for cell in cells]
    except (ValueError, TypeError):
        for cell, line in zip(cells, lines, strict=True):
            try:
                if not isinstance(cell, datetime):
                    datetime.fromisoformat(cell)
            except (ValueError, TypeError):
                problem = f"{cell!r} is no ISO 8601 time" if cell not in (None, "") else "the time is missing"
                raise SeriesError(_row(where, line), problem, "write 2020-01-31T13:00Z, or epoch seconds") from None
        raise


def find_zone(name: str, where: str) -> tzinfo:
    """The rules of a time zone.

    Raises:
        SeriesError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SeriesError(where, f"there is no time zone {name!r}", did_you_mean(name, available_timezones())[:120]) from None


def _epoch_seconds(cells: Sequence[Cell], lines: Sequence[int], where: str) -> array[float]:
    try:
        times = array("d", map(float, cells))
    except (ValueError, TypeError):
        times = array("d")
        for cell, line in zip(cells, lines, strict=True):
            try:
                times.append(float(cell))
            except (ValueError, TypeError):
                problem = f"{cell!r} is no number, the rows before are epoch seconds"
                raise SeriesError(_row(where, line), problem, "write all times in one form") from None
    for k, time_s in enumerate(times):
        if not _EARLIEST_S <= time_s <= _LATEST_S:
            remedy = "divide by 1000: milliseconds are not read" if math.isfinite(time_s) else "repair or remove the row"
            raise SeriesError(_row(where, lines[k]), f"{cells[k]} is no instant in epoch seconds", remedy)
    if 19000101 <= times[0] <= 21001231 and re.fullmatch(r"(19|20|21)\d\d(0[1-9]|1[0-2])[0-3]\d", str(cells[0]).strip()):
        raise SeriesError(_row(where, lines[0]), f"{cells[0]} looks like a date, not epoch seconds", "write it as 2020-01-31")
    return times


def _from_local(times: list[datetime], lines: Sequence[int], where: str, rules: tzinfo) -> array[float]:
    """Local times to instants; a day without a change of the clock costs one look at the rules."""
    instants = array("d")
    steady: dict[date, float | None] = {}
    before_s, step_s = -math.inf, math.nan
    for k, when in enumerate(times):
        day = when.date()
        if day not in steady:
            steady[day] = _steady_offset_s(day, rules)
        offset_s = steady[day]
        local_s = (when - _EPOCH).total_seconds()
        if offset_s is not None:
            instant_s = local_s - offset_s
        else:
            earlier_s, later_s = (local_s - _offset_s(when.replace(fold=fold), rules) for fold in (0, 1))
            if earlier_s > later_s:
                instants.append(math.nan)
                continue
            if earlier_s < later_s and k == 0:
                raise SeriesError(
                    _row(where, lines[0]), f"{when} happened twice, when the clock was set back", "give the first row its offset"
                )
            # Of the two instants the one that keeps the step (clocks may move by half an hour), else the first that comes after.
            keeps_step = later_s - before_s == step_s != earlier_s - before_s
            instant_s = earlier_s if earlier_s > before_s and not keeps_step else later_s
        instants.append(instant_s)
        before_s, step_s = instant_s, instant_s - before_s
    return instants


def _steady_offset_s(day: date, rules: tzinfo) -> float | None:
    """The zone's offset all through a day, or None where it changes."""
    noon = datetime.combine(day, datetime_time(12))
    offsets = {_offset_s(noon + timedelta(hours=h), rules) for h in (-18, -12, 0, 12, 18)}
    return offsets.pop() if len(offsets) == 1 else None


def _offset_s(when: datetime, rules: tzinfo) -> float:
    offset = rules.utcoffset(when.replace(tzinfo=rules))
    assert offset is not None, "a ZoneInfo always knows its offset"
    return offset.total_seconds()


def _row(where: str, line: int) -> str:
    file, _, column = where.partition(": ")
    return f"{file}: row {line}, {column}" if column else f"{file}: row {line}"

"""Hours and days as the clocks of a site show them: the buckets that roll-ups are kept in, and that reports are told in.

A bucket is named by the instant at which it begins. In a zone half an hour off, hours begin at half past in UTC; the day on which the
clocks change has 23 or 25 hours. ``rollups`` fills the buckets, ``sums`` reads them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ecovisor.model.errors import InputError

HOUR_S = 3600.0
#: Offsets of zones change at, and by, whole quarters of an hour.
_QUARTER_S = 900.0


class Calendar:
    """The clocks of a time zone.

    Args:
        timezone: IANA name (`Europe/Berlin`).

    Raises:
        InputError: there is no such zone.
    """

    def __init__(self, timezone: str) -> None:
        try:
            self.zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InputError(
                "timezone", f"{timezone!r} is unknown here", "give an IANA name such as Europe/Berlin, or UTC"
            ) from None
        self.timezone = timezone
        self._quarter = -1
        self._offset_s = 0.0

    def local(self, time_s: float) -> datetime:
        """An instant as the clocks show it."""
        return datetime.fromtimestamp(time_s, self.zone)

    def hour_s(self, time_s: float) -> int:
        """Start of the clock's hour that an instant lies in. [s since the epoch]"""
        offset_s = self._offset(time_s)
        return int((time_s + offset_s) // HOUR_S * HOUR_S - offset_s)

    def day_s(self, time_s: float) -> int:
        """Start of the calendar day that an instant lies in. [s since the epoch]"""
        return self.midnight_s(self.local(time_s))

    def midnight_s(self, when: datetime) -> int:
        """The first instant of the date of `when`. [s since the epoch]"""
        return int(datetime(when.year, when.month, when.day, tzinfo=self.zone).timestamp())

    def hours(self, start_s: float, end_s: float) -> list[float]:
        """The interval's bounds, and where an hour begins between them. [s since the epoch]"""
        return self._edges(start_s, end_s, hourly=True)

    def days(self, start_s: float, end_s: float) -> list[float]:
        """The interval's bounds, and where a day begins between them. [s since the epoch]"""
        return self._edges(start_s, end_s, hourly=False)

    def _edges(self, start_s: float, end_s: float, *, hourly: bool) -> list[float]:
        bucket = self.hour_s if hourly else self.day_s
        edges, current = [start_s], bucket(start_s)
        at_s = start_s // _QUARTER_S * _QUARTER_S + _QUARTER_S
        while at_s < end_s:
            found = bucket(at_s)
            if found != current:
                edges.append(at_s)
                current = found
            at_s += _QUARTER_S
        return [*edges, end_s]

    def _offset(self, time_s: float) -> float:
        """From UTC to the clocks. [s]"""
        quarter = int(time_s // _QUARTER_S)
        if quarter != self._quarter:
            offset = datetime.fromtimestamp(quarter * _QUARTER_S, UTC).astimezone(self.zone).utcoffset()
            self._quarter = quarter
            self._offset_s = offset.total_seconds() if offset is not None else 0.0
        return self._offset_s

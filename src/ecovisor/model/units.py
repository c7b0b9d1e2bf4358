"""Units: what the suffix of a name means, and how a person's words for a duration or an instant become numbers.

Inside, every quantity is a float in the unit that its name ends with: ``_w`` watts, ``_wh`` watt-hours, ``_g`` grams of
CO2-equivalent, ``_g_per_kwh``, ``_s`` seconds (instants: seconds since 1970-01-01T00:00Z), ``_ratio`` 0..1. Foreign units are
converted once, where they enter.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

WH_PER_KWH = 1000.0

_SECONDS = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)\s*")

#: Unit spellings met in files, to (canonical unit, factor). Power in W, energy in Wh, intensity in g/kWh, ratios as "1", rates in 1/s.
UNIT_FACTORS: dict[str, tuple[str, float]] = {
    "w": ("W", 1.0),
    "kw": ("W", 1e3),
    "mw": ("W", 1e6),
    "gw": ("W", 1e9),
    "w/m2": ("W/m2", 1.0),
    "g/kwh": ("g/kWh", 1.0),
    "kg/kwh": ("g/kWh", 1e3),
    "kg/mwh": ("g/kWh", 1.0),
    "lbs/mwh": ("g/kWh", 0.45359237),
    "1": ("1", 1.0),
    "%": ("1", 0.01),
    "1/kwh": ("1/kWh", 1.0),
    "1/mwh": ("1/kWh", 1e-3),
    "1/s": ("1/s", 1.0),
    "1/min": ("1/s", 1.0 / 60.0),
}


#: Spellings of the same: typographic signs, the CO2 in ``gCO2eq/kWh``, words.
_SPELLINGS = (
    (re.compile(r"[₂²]"), "2"),
    (re.compile(r"\s|\^|\*\*"), ""),
    (re.compile(r"co2(?:-?eq?)?"), ""),
    (re.compile(r"^watts?$"), "w"),
    (re.compile(r"^(?:lb|lbs)/"), "lbs/"),
    (re.compile(r"^percent$"), "%"),
    (re.compile(r"^ratio$"), "1"),
    (re.compile(r"^req(?:uest)?s?/"), "1/"),
    (re.compile(r"^(?:eur|usd|gbp|chf|sek|nok|dkk|pln|aud|cad|[€$£])/"), "1/"),
)


def unit_factor(text: str) -> tuple[str, float]:
    """The canonical unit of a unit's spelling, and the factor that converts a value into it.

    Raises:
        ValueError: not a unit we know, or ``mW``, which would be a milliwatt or a careless megawatt.
    """
    if text.strip() == "mW":
        raise ValueError("'mW' is a milliwatt; write 'MW' for megawatts")
    spelling = text.strip().lower()
    for pattern, plain in _SPELLINGS:
        spelling = pattern.sub(plain, spelling)
    if spelling not in UNIT_FACTORS:
        raise ValueError(f"unknown unit {text!r}")
    return UNIT_FACTORS[spelling]


def duration_s(text: str | float) -> float:
    """Seconds in a duration such as ``"5min"``, ``"1h 30min"``, ``"2d"`` or a plain number of seconds.

    Raises:
        ValueError: not a positive duration.
    """
    if isinstance(text, (int, float)):
        total = float(text)
    else:
        total, end = 0.0, 0
        while end < len(text):
            part = _DURATION.match(text, end)
            if part is None:
                raise ValueError(f"{text!r} is no duration; write for example '5min', '1h 30min' or '2d'")
            total += float(part[1]) * _SECONDS[part[2]]
            end = part.end()
    if not 0.0 < total < math.inf:
        raise ValueError(f"{text!r} is no positive duration")
    return total


def instant_s(text: str | datetime) -> float:
    """Seconds since the epoch of an ISO 8601 instant *with* its zone.

    Raises:
        ValueError: not ISO 8601, or naive.
    """
    when = text if isinstance(text, datetime) else datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"{text} names no time zone; append 'Z' or an offset such as '+02:00'")
    return when.timestamp()


def iso_utc(time_s: float) -> str:
    """``time_s`` as ISO 8601 in UTC, to the second (or microsecond where it has one)."""
    return datetime.fromtimestamp(time_s, UTC).isoformat().replace("+00:00", "Z")


def human_duration(span_s: float) -> str:
    """``span_s`` the way a person would say it: ``3 d 4 h``, ``12 min``, ``0.5 s``."""
    if span_s < 60:
        return f"{span_s:g} s"
    minutes = round(span_s / 60)
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{n} {u}" for n, u in ((days, "d"), (hours, "h"), (minutes, "min")) if n]
    return " ".join(parts[:2]) or "0 min"

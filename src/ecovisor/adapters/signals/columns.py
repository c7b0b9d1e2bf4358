"""Which column of a table holds the time, which the value, and in which unit: by what was asked for, else by name.

Column names are matched without case, in the spellings of the usual publishers; Electricity Maps exports of every generation
are known by their carbon intensity columns. Reading the cells is the business of `instants` and `numbers`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecovisor.adapters.signals.tables import Cell, Table
from ecovisor.model.errors import SeriesError
from ecovisor.model.units import unit_factor

_TIME_NAMES = ("time", "datetime", "timestamp", "date_time", "date", "measured_on")
_UTC = re.compile(r"(?:^|[^a-z])utc(?:$|[^a-z])")
#: Units at the end of a name (``load_kw``, ``ci_g_per_kwh``) and the spelling that `unit_factor` knows.
_SUFFIX = re.compile(
    r"(?:^|_)(?P<unit>w_per_m2|w_m2|[kmg]?w|(?:g|kg|lbs?)_per_[km]wh|(?:[a-z]{3}_)?per_[km]wh|per_s|ratio|percent)$"
)
_BRACKETS = re.compile(r"[\[(]([^\])]+)[\])]")
_INTENSITY_UNIT = re.compile(r"\bk?gco2\S*/[km]wh")

#: What each signal must be in. Others are demands (W), utilisations (1) or request rates (1/s).
FITTING_UNITS = {"carbon": ("g/kWh",), "solar": ("W",), "price": ("1/kWh",)}
_SCALABLE = ("W", "W/m2", "1")


def fitting_units(signal: str, *, scaled: bool = False) -> tuple[str, ...]:
    """Canonical units that a signal of this name may have; ``scaled``: it is rescaled to a peak power."""
    return _SCALABLE if scaled else FITTING_UNITS.get(signal, ("W", "1", "1/s"))


def plain(name: str) -> str:
    """A column name in lower case with single underscores, typographic signs replaced."""
    return re.sub(r"[\s_]+", "_", name.strip().lower().replace("₂", "2"))


def names_utc(column: str) -> bool:
    """True where the column's own name says that its times are in UTC (``datetime_utc``, ``Datetime (UTC)``)."""
    return _UTC.search(column.lower()) is not None


def unit_in_name(column: str) -> str | None:
    """The unit that a column's name carries (``load_kw`` → ``kw``, ``GHI (W/m^2)`` → ``W/m^2``), or None."""
    name = plain(column)
    for inside in _BRACKETS.findall(column):
        try:
            unit_factor(inside)
        except ValueError:
            continue
        return str(inside)
    spelled = _INTENSITY_UNIT.search(name)
    if spelled:
        return spelled[0]
    suffix = _SUFFIX.search(name)
    if suffix is None:
        return None
    unit = suffix["unit"]
    if re.match(r"(?:(?!lbs)[a-z]{3}_)?per_", unit):  # a price (the currency is not ours to convert) or a rate
        unit = unit[unit.index("per_") :].replace("per_", "1/", 1)
    return {"w_per_m2": "w/m2", "w_m2": "w/m2"}.get(unit, unit.replace("_per_", "/"))


def carbon_basis(column: str) -> str | None:
    """``life cycle``, ``direct`` or ``unstated`` for a consumption-based carbon intensity column of any export; None for others."""
    name = re.sub(r"[^a-z]", "", column.lower())
    intensity = ("carbon" in name and "intensity" in name) or (name.startswith("ci") and unit_in_name(column) is not None)
    if not intensity or any(word in name for word in ("forecast", "production", "import", "export", "unit", "marginal")):
        return None
    if "lca" in name or "lifecycle" in name:
        return "life cycle"
    return "direct" if "direct" in name else "unstated"


def time_index(table: Table, asked: str | None) -> int:
    """Position of the time column.

    Of several known by name, one that says UTC comes first, then epoch seconds, then times with a zone.

    Raises:
        SeriesError: there is none, or no telling which.
    """
    if asked is not None:
        return table.index(asked)
    if table.names[0] == "1":
        return 0
    known = [i for i, name in enumerate(table.names) if _is_time_name(name)]
    if not known:
        raise SeriesError(table.label, f"no time column among {', '.join(table.names)[:200]}", 'name it: time_column = "…"')
    return min(known, key=lambda i: (_preference(table.names[i], table.read(i)[0]), i))


def _is_time_name(name: str) -> bool:
    words = re.sub(r"[^a-z]+", "_", name.lower()).strip("_")
    if words.startswith("creation"):
        return False
    stem = re.sub(r"(?:^|_)(?:utc|gmt|local)(?=_|$)", "", words).strip("_")
    return (
        stem in _TIME_NAMES
        or words == "utc"
        or stem.endswith(("_datetime", "_timestamp", "_time"))
        or (stem.startswith(("datetime_", "timestamp_")))
    )


def _preference(name: str, first: Cell) -> int:
    if names_utc(name):
        return 0
    text = str(first).strip()
    if re.fullmatch(r"-?\d+(?:\.\d*)?", text):
        return 1
    return 2 if re.search(r"(?:Z|[+-]\d\d:?\d\d)$", text) else 3


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """The chosen value column.

    Attributes:
        index: its position.
        name: its name.
        unit: canonical unit.
        factor: from the file's unit to the canonical one.
        note: how it was chosen, where that needs saying.
    """

    index: int
    name: str
    unit: str
    factor: float
    note: str = ""


def value_column(
    table: Table, signal: str, time: int, *, asked: str | None, unit: str | None, fitting: tuple[str, ...]
) -> ValueColumn:
    """The column that holds a signal's values, and how to convert it.

    Args:
        table: the file.
        signal: name of the signal (``carbon``, ``solar``, …).
        time: position of the time column.
        asked: the column's name from the settings, or None.
        unit: its unit from the settings, or None.
        fitting: canonical units that will do.

    Raises:
        SeriesError: no such column, no or several fitting ones, or a unit that does not fit.
    """
    note = ""
    if asked is not None:
        index = table.index(asked)
    else:
        index, note = _choose(table, signal, time, unit, fitting)
    name = table.names[index]
    where = f"{table.label}: column {name!r}"
    told = _unit_told(name, signal)
    try:
        canonical, factor = unit_factor(unit or told or "")
    except ValueError as error:
        problem = str(error) if unit else "its name carries no unit"
        raise SeriesError(where, problem, f'give one: unit = "{_example(fitting)}"') from None
    if unit and told and unit_factor(told) != (canonical, factor):
        raise SeriesError(
            where, f"its name says {told!r}, the settings say unit = {unit!r}", "leave unit out, or rename the column"
        )
    if canonical not in fitting:
        remedy = "choose another column or give its unit"
        if signal == "solar" and canonical in _SCALABLE:
            remedy = "set scale_to_peak_w to turn it into the output of an array"
        raise SeriesError(where, f"is in {unit or told} ({canonical}), signals.{signal} needs {' or '.join(fitting)}", remedy)
    return ValueColumn(index, name, canonical, factor, note)


def _unit_told(name: str, signal: str) -> str | None:
    told = unit_in_name(name)
    return "g/kWh" if told is None and signal == "carbon" and carbon_basis(name) else told


def _choose(table: Table, signal: str, time: int, unit: str | None, fitting: tuple[str, ...]) -> tuple[int, str]:
    others = [i for i in range(len(table.names)) if i != time]
    if signal == "carbon":
        bases = {i: carbon_basis(table.names[i]) for i in others}
        for basis in ("life cycle", "unstated", "direct"):
            having = [i for i in others if bases[i] == basis]
            if len(having) == 1:
                note = "" if basis == "unstated" else f"{basis} carbon intensity"
                return having[0], note
            if having:
                break
    fit = [i for i in others if _fits(table.names[i], fitting)]
    if len(fit) == 1:
        return fit[0], ""
    if not fit and len(others) == 1 and unit is not None:
        return others[0], ""
    names = ", ".join(table.names[i] for i in fit or others)[:200]
    problem = f"several columns could be signals.{signal}" if fit else f"no column's name carries {' or '.join(fitting)}"
    raise SeriesError(table.label, f"{problem}: {names}", 'choose one: column = "…", and its unit where the name has none')


def _fits(name: str, fitting: tuple[str, ...]) -> bool:
    told = unit_in_name(name)
    return told is not None and unit_factor(told)[0] in fitting and not name.lower().endswith("forecast")


def _example(fitting: tuple[str, ...]) -> str:
    return {"W": "MW"}.get(fitting[0], fitting[0])

"""What is summed of each table: the columns of the hourly and daily roll-ups, each said once in SQL and once for columns in memory.

The rows of the running hour are folded in memory as they come; what was written before the process began, and the edges of any
interval that cut an hour, are summed by SQL. Tests hold the two to each other. ``schema`` makes tables of these names, ``rollups``
folds, ``sums`` asks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from ecovisor.model.series import Quality

#: From best to worst: the quality of an interval is the worst in it.
QUALITIES = (Quality.MEASURED, Quality.MODELLED, Quality.FORECAST, Quality.ESTIMATED, Quality.STALE)


class Kind(Enum):
    """How rows of ticks become one number."""

    ENERGY = auto()
    """Power times time. [Wh]"""
    SUM = auto()
    """Sum of amounts; unknown ones add nothing."""
    LAST = auto()
    """A level: the last one counts."""
    DURATION = auto()
    """Time for which there are rows. [s]"""
    KNOWN = auto()
    """Time for which the column is known. [s]"""
    INTEGRAL = auto()
    """Column times time, where it is known."""
    UNKNOWN_CARBON = auto()
    """Import whose carbon is unknown. [Wh]"""
    COST = auto()
    """Import times price, where the price is known."""
    PRICED = auto()
    """Time for which the price is known. [s]"""
    QUALITY = auto()
    """Time for which the row has this quality. [s]"""


@dataclass(frozen=True, slots=True)
class Measure:
    """A column of a roll-up."""

    name: str
    kind: Kind
    source: str = ""
    """The column of the table of ticks, or the quality."""


def _energies(*columns: str) -> tuple[Measure, ...]:
    return tuple(Measure(f"{column.removesuffix('_w')}_wh", Kind.ENERGY, column) for column in columns)


def _of_kind(kind: Kind, *columns: str) -> tuple[Measure, ...]:
    return tuple(Measure(column, kind, column) for column in columns)


_TIMES = (
    Measure("metered_s", Kind.DURATION),
    *(Measure(f"{quality}_s", Kind.QUALITY, str(quality)) for quality in QUALITIES),
)

FLOWS = (
    *_TIMES,
    *_energies(
        "demand_w",
        "solar_w",
        "solar_to_load_w",
        "solar_to_battery_w",
        "battery_discharge_w",
        "grid_to_load_w",
        "grid_to_battery_w",
        "unserved_w",
        "overdraw_w",
        "exported_w",
        "shared_w",
        "curtailed_w",
        "received_w",
    ),
    *_of_kind(
        Kind.SUM,
        "self_discharge_wh",
        "transfer_in_wh",
        "transfer_out_wh",
        "netting_credit_wh",
        "battery_adjust_wh",
        "carbon_g",
        "carbon_on_use_g",
    ),
    *_of_kind(Kind.LAST, "battery_level_wh", "capacity_wh", "stored_carbon_g"),
    Measure("intensity_known_s", Kind.KNOWN, "carbon_intensity_g_per_kwh"),
    Measure("intensity_integral", Kind.INTEGRAL, "carbon_intensity_g_per_kwh"),
    Measure("unknown_carbon_wh", Kind.UNKNOWN_CARBON),
    Measure("cost", Kind.COST),
    Measure("priced_s", Kind.PRICED),
)

SITE = (
    Measure("metered_s", Kind.DURATION),
    *_energies(
        "solar_collected_w",
        "import_w",
        "export_w",
        "battery_charge_w",
        "battery_discharge_w",
        "curtailed_w",
        "netting_relief_w",
        "node_power_w",
    ),
    *_of_kind(Kind.SUM, "netting_spilled_wh"),
    *_of_kind(Kind.LAST, "buffer_wh", "physical_level_wh", "below_line_wh"),
)

CONTAINERS = (
    *_TIMES,
    Measure("power_wh", Kind.ENERGY, "power_w"),
    Measure("carbon_g", Kind.SUM, "carbon_g"),
    Measure("unknown_carbon_wh", Kind.UNKNOWN_CARBON),
)


@dataclass(frozen=True, slots=True)
class Rolled:
    """A table that is rolled up."""

    table: str
    keys: tuple[str, ...]
    measures: tuple[Measure, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the measures."""
        return tuple(measure.name for measure in self.measures)

    @property
    def last(self) -> tuple[str, ...]:
        """Names of the levels among them."""
        return tuple(measure.name for measure in self.measures if measure.kind is Kind.LAST)


ROLLED = (Rolled("flows", ("app",), FLOWS), Rolled("site", (), SITE), Rolled("containers", ("app", "container"), CONTAINERS))
ROLLED_BY_TABLE = {rolled.table: rolled for rolled in ROLLED}


def sql(measure: Measure, rolled: Rolled, columns: Collection[str], flows: Collection[str], text_ids: Mapping[str, int]) -> str:
    """The measure as an aggregate over rows `r` of the table and their steps `s` (and, for containers, the app's flows `f`).

    Args:
        measure: what to sum.
        rolled: of which table.
        columns: that the table has; others count as unknown.
        flows: columns that `flows` has.
        text_ids: ids of texts: of the qualities.
    """

    def col(name: str, alias: str = "r") -> str:
        have = columns if alias == "r" else flows
        return f'{alias}."{name}"' if name in have else "NULL"

    source = measure.source
    match measure.kind:
        case Kind.ENERGY:
            return f"TOTAL({col(source)} * s.dt_s) / 3600.0"
        case Kind.SUM:
            return f"TOTAL({col(source)})"
        case Kind.LAST:
            return col(source)
        case Kind.DURATION:
            return "TOTAL(s.dt_s)"
        case Kind.KNOWN:
            return f"TOTAL(CASE WHEN {col(source)} IS NOT NULL THEN s.dt_s END)"
        case Kind.INTEGRAL:
            return f"TOTAL({col(source)} * s.dt_s)"
        case Kind.UNKNOWN_CARBON if rolled.table == "flows":
            power = f"({col('grid_to_load_w')} + {col('grid_to_battery_w')})"
            return f"TOTAL(CASE WHEN {col('carbon_g')} IS NULL THEN {power} * s.dt_s END) / 3600.0"
        case Kind.UNKNOWN_CARBON:
            served = f"({col('demand_w', 'f')} - {col('unserved_w', 'f')})"
            part = f"CASE WHEN {served} > 0 THEN {col('power_w')} * {col('grid_to_load_w', 'f')} / {served} END"
            power = f"CASE WHEN r.container = {text_ids.get('_battery', -1)} THEN {col('grid_to_battery_w', 'f')} ELSE {part} END"
            return f"TOTAL(CASE WHEN {col('carbon_g')} IS NULL THEN ({power}) * s.dt_s END) / 3600.0"
        case Kind.COST:
            return f"TOTAL(({col('grid_to_load_w')} + {col('grid_to_battery_w')}) * s.dt_s * s.price_per_kwh) / 3600000.0"
        case Kind.PRICED:
            return "TOTAL(CASE WHEN s.price_per_kwh IS NOT NULL THEN s.dt_s END)"
        case Kind.QUALITY:
            return f"TOTAL(CASE WHEN {col('quality')} = {text_ids.get(source, -1)} THEN s.dt_s END)"

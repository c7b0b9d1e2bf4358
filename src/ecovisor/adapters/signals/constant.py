"""A signal that never changes: the same value from the run's start to its end."""

from __future__ import annotations

from array import array

from ecovisor.adapters.signals.columns import fitting_units
from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Quality, Series
from ecovisor.model.units import unit_factor
from ecovisor.settings import Signal


def load_constant(name: str, signal: Signal, *, start_s: float, end_s: float, tick_s: float) -> Series:
    """The constant series over ``[start_s, end_s)`` on steps of ``tick_s`` seconds.

    Raises:
        SettingsError: the value is missing, no number or a negative power, or its unit does not fit.
    """
    field = f"signals.{name}.value"
    value = signal.value
    if value is None:
        raise SettingsError(field, "is missing", "give the value, for example value = 400.0")
    unit, factor = _unit(name, signal.unit)
    if not abs(value) < float("inf") or (value < 0.0 and name != "price"):
        raise SettingsError(field, f"{value:g} {unit} is out of bounds, it must be finite and at least 0", "give another")
    count = max(round((end_s - start_s) / tick_s), 1)
    origin = f"constant {value * factor:g} {unit}"
    return Series(name, unit, start_s, tick_s, array("d", [value * factor]) * count, Quality.MODELLED, origin)


def _unit(name: str, told: str | None) -> tuple[str, float]:
    """The canonical unit, and the factor into it."""
    fitting = fitting_units(name)
    if told is None:
        return fitting[0], 1.0
    where = f"signals.{name}.unit"
    try:
        unit, factor = unit_factor(told)
    except ValueError as error:
        raise SettingsError(where, str(error), f"write {' or '.join(fitting)}") from None
    if unit not in fitting:
        raise SettingsError(where, f"{told!r} does not fit", f"write {' or '.join(fitting)}")
    return unit, factor

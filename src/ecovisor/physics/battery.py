"""The battery: how much it can take and give in a tick, what it loses, and when it counts as full or empty.

Levels are Wh above the operator's "empty" line (30 % state of charge in the Ecovisor paper, section 4); powers are at the terminals.
`settlement` decides what flows; this module says what is possible and what is left.
"""

from __future__ import annotations

#: Within this part of its capacity of full or empty, a level is exactly full or empty.
SNAP_RATIO = 1e-9


def usable_capacity_wh(nominal_wh: float, empty_ratio: float, reserve_wh: float) -> float:
    """Capacity that apps can share [Wh]: nominal, less what lies below the empty line, less the solar buffer's reserve."""
    usable_wh = nominal_wh * (1.0 - empty_ratio) - reserve_wh
    return usable_wh if usable_wh > 0.0 else 0.0


def self_discharge_ratio(self_discharge_per_hour: float, hours_h: float) -> float:
    """Part of a level that is lost over ``hours_h``: ``1 − (1 − s)^h``. [1]"""
    return float(1.0 - (1.0 - self_discharge_per_hour) ** hours_h)


def charge_room_w(level_wh: float, capacity_wh: float, charge_efficiency: float, hours_h: float) -> float:
    """Constant power that fills the battery exactly at the end of the tick: ``room/(ηc·h)``. [W]"""
    return (capacity_wh - level_wh) / (charge_efficiency * hours_h) if level_wh < capacity_wh else 0.0


def discharge_room_w(level_wh: float, discharge_efficiency: float, hours_h: float) -> float:
    """Constant power that empties the battery exactly at the end of the tick: ``level·ηd/h``. [W]"""
    return level_wh * discharge_efficiency / hours_h


def snapped_level_wh(level_wh: float, before_wh: float, capacity_wh: float) -> float:
    """The level, exactly full where it rose to within `SNAP_RATIO` of full, exactly 0 where it fell to within it of empty. [Wh]

    Only in the direction of change, so that ticks short enough to move less than the tolerance still add up.
    """
    if level_wh > before_wh:
        return capacity_wh if level_wh >= capacity_wh * (1.0 - SNAP_RATIO) else level_wh
    if level_wh < before_wh:
        return 0.0 if level_wh <= capacity_wh * SNAP_RATIO else level_wh
    return level_wh

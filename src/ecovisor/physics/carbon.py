"""Carbon: charged when energy is imported, and carried by the battery to where the energy is used.

Stored carbon is a well-mixed pool: a discharge takes its proportion, losses leave it in the pool, transfers carry theirs, and what
remains when the battery is empty is booked to that tick. Σ on import + initial stored = Σ on use + final stored.
"""

from __future__ import annotations

WH_PER_KWH = 1000.0


def imported_carbon_g(import_w: float, hours_h: float, carbon_intensity_g_per_kwh: float) -> float:
    """Carbon of the energy imported in a tick: ``P·h/1000 × intensity``. [g] NaN where the intensity is unknown."""
    return import_w * hours_h / WH_PER_KWH * carbon_intensity_g_per_kwh


def released_carbon_g(stored_carbon_g: float, drawn_wh: float, start_wh: float, level_after_wh: float) -> float:
    """Carbon that leaves the pool when ``drawn_wh`` is drawn from ``start_wh``: its proportion, or all of it at level 0. [g]"""
    if level_after_wh <= 0.0:
        return stored_carbon_g
    if drawn_wh <= 0.0:
        return 0.0
    return stored_carbon_g * (drawn_wh / start_wh)


def transferred_carbon_g(stored_carbon_g: float, moved_wh: float, level_wh: float) -> float:
    """Carbon that moves with ``moved_wh`` of ``level_wh``. [g]"""
    if moved_wh >= level_wh:
        return stored_carbon_g
    return stored_carbon_g * (moved_wh / level_wh)

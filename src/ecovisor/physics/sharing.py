"""Excess solar and the physical sum: what happens at the site once every app has settled.

Excess policies act in the site's configured order and for all apps at once (paper, section 3.1: redistribute, net meter, curtail).
`netting` then turns all virtual charges and discharges into one physical set-point.
"""

from __future__ import annotations

from ecovisor.physics.battery import charge_room_w


def acceptance_w(
    start_wh: float,
    capacity_wh: float,
    charge_w: float,
    battery_discharge_w: float,
    charge_limit_w: float,
    charge_efficiency: float,
    hours_h: float,
) -> float:
    """Further charge that a battery accepts from others: ``min(limit, room/(ηc·h)) − own charge``, nothing if it discharged. [W]

    ``start_wh`` is the level after self-discharge, before any charge of the tick.
    """
    if battery_discharge_w > 0.0:
        return 0.0
    accepted_w = charge_room_w(start_wh, capacity_wh, charge_efficiency, hours_h)
    if charge_limit_w < accepted_w:
        accepted_w = charge_limit_w
    accepted_w -= charge_w
    return accepted_w if accepted_w > 0.0 else 0.0


def part_ratio(limit_w: float, total_w: float) -> float:
    """The part of ``total_w`` that fits under ``limit_w``, for a pro-rata cut: ``min(1, limit/total)``; 0 of nothing. [1]"""
    if total_w <= 0.0:
        return 0.0
    return limit_w / total_w if limit_w < total_w else 1.0


def netting(
    charge_w: float,
    battery_discharge_w: float,
    site_room_wh: float,
    charge_efficiency: float,
    discharge_efficiency: float,
    hours_h: float,
) -> tuple[float, float, float, float, float]:
    """The physical set-point that stands for all virtual ones.

    Every app is settled with full losses, as if alone; physically only the net passes the converter. The losses avoided,
    ``min(C, D)·(1/ηd − ηc)·h``, are credited to `_site` as far as it has room; the rest is spilled, by a set-point so much lower that the
    physical level changes by what the virtual levels change by.

    Args:
        charge_w, battery_discharge_w: sums of all virtual charges C and discharges D. [W]
        site_room_wh: room left in `_site`'s battery. [Wh]
        charge_efficiency, discharge_efficiency: ηc and ηd. [1]
        hours_h: length of the tick. [h]

    Returns:
        ``charge_set_point_w, discharge_set_point_w, relief_w`` [W] (one of the first two is 0; the relief is by how much the net
        set-point lies below C − D), ``credit_wh, spilled_wh`` [Wh].
    """
    both_w = charge_w if charge_w < battery_discharge_w else battery_discharge_w
    avoided_wh = both_w * (1.0 / discharge_efficiency - charge_efficiency) * hours_h
    credit_wh = avoided_wh if avoided_wh < site_room_wh else site_room_wh
    spilled_wh = avoided_wh - credit_wh
    gained_wh = charge_efficiency * charge_w * hours_h - battery_discharge_w * hours_h / discharge_efficiency + credit_wh
    if both_w <= 0.0:
        return charge_w, battery_discharge_w, 0.0, credit_wh, spilled_wh
    charge_set_point_w = 0.0
    discharge_set_point_w = 0.0
    if gained_wh > 0.0:
        charge_set_point_w = gained_wh / (charge_efficiency * hours_h)
    else:
        discharge_set_point_w = -gained_wh * discharge_efficiency / hours_h
    relief_w = (charge_w - battery_discharge_w) - (charge_set_point_w - discharge_set_point_w)
    return charge_set_point_w, discharge_set_point_w, relief_w if relief_w > 0.0 else 0.0, credit_wh, spilled_wh


def metered_flows(import_w: float, export_w: float, relief_w: float) -> tuple[float, float, float]:
    """What the grid meter sees of all virtual imports and exports.

    Returns:
        ``import_w, export_w, relief_curtailed_w`` [W]: the net, less the relief of `netting`; relief that no import is left to absorb
        is curtailed, never exported without leave.
    """
    net_w = import_w - export_w
    after_relief_w = net_w - relief_w
    if after_relief_w >= 0.0:
        return after_relief_w, 0.0, 0.0
    exported_w = -net_w if net_w < 0.0 else 0.0
    return 0.0, exported_w, -after_relief_w - exported_w

"""How the physical battery follows the virtual ones, and how the meters of the plant are held against the apps' flows.

Demand is known only after it was served, so a set-point is what is expected of the coming tick, plus what the battery owes: the
difference between the virtual levels and the measured one. An error of one tick is so made good in the next and never adds up. The solar
buffer is an account: sun is used physically when it shines, and by the apps one tick later; the difference stands in ``buffer_wh``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecovisor.ports.live import PlantReading, SetPoint


@dataclass(frozen=True, slots=True)
class VirtualTotals:
    """Sums over all apps since the site began. [Wh]"""

    import_wh: float
    export_wh: float
    charge_wh: float
    discharge_wh: float
    curtailed_wh: float
    buffer_wh: float
    """Not a sum: collected and not yet given to the apps. [Wh]"""


def set_point(
    expected_charge_w: float,
    expected_discharge_w: float,
    virtual_level_wh: float,
    measured_level_wh: float,
    hours_h: float,
    charge_efficiency: float,
    discharge_efficiency: float,
    export_limit_w: float,
) -> SetPoint:
    """What the battery is told for the coming tick.

    Args:
        expected_charge_w, expected_discharge_w: sums over the apps' expected flows, at the terminals. [W]
        virtual_level_wh: sum of the apps' levels. [Wh]
        measured_level_wh: of the plant, above the empty line. [Wh]
        hours_h: length of the tick. [h]
        charge_efficiency, discharge_efficiency: of the battery. [1]
        export_limit_w: what may leave the site. [W]
    """
    gain_wh = expected_charge_w * hours_h * charge_efficiency - expected_discharge_w * hours_h / discharge_efficiency
    gain_wh += virtual_level_wh - measured_level_wh
    if gain_wh >= 0.0:
        return SetPoint(gain_wh / charge_efficiency / hours_h, 0.0, export_limit_w)
    return SetPoint(0.0, -gain_wh * discharge_efficiency / hours_h, export_limit_w)


def unexplained_wh(
    before: PlantReading,
    after: PlantReading,
    charge_efficiency: float,
    discharge_efficiency: float,
    loss_ratio: float,
) -> float:
    """What the battery's level changed by beyond what its own meters and efficiencies explain. [Wh]

    Self-discharge acts all along while the battery is used, so up to one tick's loss of what was stored meanwhile is not told apart.

    Args:
        before, after: readings at the tick's start and end, of one epoch.
        charge_efficiency, discharge_efficiency: of the battery. [1]
        loss_ratio: part of the level lost in the tick. [1]
    """
    stored_wh = (after.charge_wh - before.charge_wh) * charge_efficiency
    stored_wh -= (after.discharge_wh - before.discharge_wh) / discharge_efficiency
    return after.level_wh - (before.level_wh * (1.0 - loss_ratio) + stored_wh)


def residual_wh(begin: PlantReading, begin_totals: VirtualTotals, now: PlantReading, totals: VirtualTotals) -> float:
    """What the plant's meters and the apps' flows differ by since a beginning; rounding, if all is well. [Wh]

    Metered net import = Σ virtual net import − Σ curtailed − what the buffer has grown + what the battery was given beyond its virtual
    flows. (Solar energy that the apps curtail has been collected; where no inverter is told, it leaves through the meter.)
    """
    metered_wh = now.import_wh - begin.import_wh - (now.export_wh - begin.export_wh)
    virtual_wh = totals.import_wh - begin_totals.import_wh - (totals.export_wh - begin_totals.export_wh)
    virtual_wh -= totals.curtailed_wh - begin_totals.curtailed_wh
    virtual_wh -= totals.buffer_wh - begin_totals.buffer_wh
    physical_wh = now.charge_wh - begin.charge_wh - (now.discharge_wh - begin.discharge_wh)
    booked_wh = totals.charge_wh - begin_totals.charge_wh - (totals.discharge_wh - begin_totals.discharge_wh)
    return metered_wh - (virtual_wh + physical_wh - booked_wh)

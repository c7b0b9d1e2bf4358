"""What the zero-carbon policies of the Ecovisor paper, section 5.3, share: workers that run by day, on sun and battery alone.

Which hours are day, what the supply can carry without the grid, and how a number of workers comes about. How many there shall be is decided
in `battery_smoothing` and `opportunistic_workers`.
"""

from __future__ import annotations

import math

from ecovisor.ports import ContainerInfo, VirtualEnergy

#: Part of what is in a battery that its discharge surely gives: more than good batteries lose.
DELIVERED_RATIO = 0.9


def is_day(now_s: float, morning_h: float, evening_h: float) -> bool:
    """Whether an instant lies between two hours of the day, UTC; an evening before the morning is the next day's."""
    hour_h = now_s / 3600.0 % 24.0
    return (hour_h - morning_h) % 24.0 < (evening_h - morning_h) % 24.0


def battery_supply_w(level_wh: float, discharge_limit_w: float, tick_s: float) -> float:
    """Power that the battery surely gives throughout a tick. [W]"""
    return min(discharge_limit_w, DELIVERED_RATIO * level_wh * 3600.0 / tick_s)


def carried(power_w: float, worker_w: float) -> int:
    """Whole workers that a power carries."""
    return math.floor(power_w / worker_w * (1.0 + 1e-12))


def guaranteed_workers(
    wanted: int, running: int, worker_w: float, solar_w: float, battery_w: float, level_ratio: float, resume_ratio: float
) -> int:
    """How many of the wanted workers run in the coming tick without the grid.

    They run on as long as sun and battery carry them. What had to be suspended comes back when the sun alone carries it, or the battery
    is charged to ``resume_ratio``, so that an empty battery does not switch them on and off.
    """
    stay = min(wanted, running, carried(solar_w + battery_w, worker_w))
    come = min(wanted, carried(solar_w + (battery_w if level_ratio >= resume_ratio else 0.0), worker_w))
    return max(stay, come)


def level_ratio(energy: VirtualEnergy) -> float:
    """The battery's level over its usable capacity; 1 without a battery, which nothing can be added to. [1]"""
    capacity_wh = energy.battery_capacity_wh
    return energy.get_battery_charge_level() / capacity_wh if capacity_wh > 0.0 else 1.0


def run_workers(energy: VirtualEnergy, present: list[ContainerInfo], count: int, worker_w: float) -> None:
    """Have exactly the first ``count`` containers run, each capped; more are started if there are fewer, the others suspended.

    Raises:
        Infeasible: ``worker_w`` is below a worker's idle power.
    """
    for place, one in enumerate(present):
        if place < count and one.cap_w != worker_w:
            energy.set_container_powercap(one.id, worker_w)
        if one.running != (place < count):
            (energy.resume_container if place < count else energy.suspend_container)(one.id)
    cores = present[0].cores if present else 1.0
    for _ in range(count - len(present)):
        energy.set_container_powercap(energy.add_container(cores), worker_w)

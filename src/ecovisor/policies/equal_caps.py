"""Equal caps (Ecovisor paper, section 5.4.1): the system's way of running a parallel job on nothing but sun.

It knows nothing of the application: every container has the same part of the solar power, tick by tick.
"""

from __future__ import annotations

from ecovisor.policies.solar_caps import IdlePower, affordable, apply_caps
from ecovisor.ports import AppView, VirtualEnergy


class EqualCaps:
    """Divides the solar power equally; where that is too little for all, as many as it is enough for run, in turn.

    Args:
        least_ratio: a container runs only at this many times its idle power or more. At 1 it may run without doing any work. [1]
        in_turn: False: where it is too little for all, all of them are suspended.
    """

    def __init__(self, least_ratio: float = 1.25, *, in_turn: bool = True) -> None:
        self.least_ratio = least_ratio
        self.in_turn = in_turn
        self._idle = IdlePower()
        self._turn = 0

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Set the caps for the coming tick."""
        if app.completed:
            return
        containers = energy.list_containers()
        solar_w = energy.get_solar_power()
        least_w = [self.least_ratio * one for one in self._idle.of(energy, containers)]
        first = self._turn % len(containers) if containers else 0
        order = [*range(first, len(containers)), *range(first)]
        count = affordable([least_w[k] for k in order], solar_w)
        if count < len(containers):
            count = count if self.in_turn else 0
            self._turn = first + count
        cap_w = solar_w / count * (1.0 - 1e-12) if count else 0.0
        apply_caps(energy, containers, {containers[k].id: cap_w for k in order[:count]})

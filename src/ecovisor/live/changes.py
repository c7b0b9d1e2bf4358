"""Changes of the sun and of the carbon intensity, told once for all apps: they are the same for each, but for its share.

Small ones are told too; whoever registers a callback says beyond which part of the last told value it wants to hear (`AddCallback`).
"""

from __future__ import annotations

from collections.abc import Callable

from ecovisor.library.notifications import Notifier

#: Part of the last told value beyond which a change is an event. [1]
TOLD_RATIO = 0.01


class ChangeWatch:
    """Remembers what was told last.

    Args:
        tell: kind and value of an event: `solar_change` with the site's solar power [W], `carbon_change` with the intensity [g/kWh].
    """

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        self._solar = Notifier(lambda value: tell("solar_change", value), TOLD_RATIO)
        self._carbon = Notifier(lambda value: tell("carbon_change", value), TOLD_RATIO)

    def observe_solar(self, solar_w: float) -> None:
        """Solar power that the apps together have in the coming tick. [W]"""
        self._solar.observe_change(solar_w)

    def observe_carbon(self, intensity_g_per_kwh: float) -> None:
        """Of the coming tick; NaN: unknown. [g/kWh]"""
        self._carbon.observe_change(intensity_g_per_kwh)

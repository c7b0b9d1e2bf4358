"""Carbon-agnostic: run as if power had no origin. What every other policy is compared with (Ecovisor paper, section 5.1)."""

from __future__ import annotations

from ecovisor.ports import AppView, VirtualEnergy


class CarbonAgnostic:
    """Leaves everything as it is: all containers run, the battery serves deficits, nothing charges it but excess solar."""

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Do nothing."""

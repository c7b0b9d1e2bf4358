"""The series that studies run on: the published data sets where the caller has them, modelled ones otherwise, each saying which.

Reading and modelling is done by `adapters.signals`; this module knows only which file, column and zone a study asks for.
"""

from __future__ import annotations

from pathlib import Path

from ecovisor.model.series import Series


class Traces:
    """Where a study's series come from.

    Args:
        folder: the data sets, as `docs/studies.md` lists them; None: everything is modelled.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def carbon_year(self, zone: str = "US-CAL-CISO", year: int = 2020) -> Series:
        """Hourly carbon intensity over a year, life-cycle where the data are real. [g/kWh]"""
        raise NotImplementedError

    def carbon_48h(self) -> Series:
        """The carbon intensity of the Ecovisor authors' own 48 hours, in steps of 3 minutes. [g/kWh]"""
        raise NotImplementedError

    def solar_day(self, peak_w: float) -> Series:
        """One day of sun, by the minute from local midnight, scaled to a peak. [W]"""
        raise NotImplementedError

    def solar_days(self, days: int, peak_w: float) -> Series:
        """Several changeable days on end, by the minute from local midnight, scaled to a peak. [W]"""
        raise NotImplementedError

    def requests_48h(self, which: int, mean_per_s: float) -> Series:
        """Request rate of a web service over 48 hours by the minute, scaled to a mean; ``which`` is 0 or 1, two that differ. [1/s]"""
        raise NotImplementedError

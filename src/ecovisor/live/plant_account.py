"""What the plant's meters say, kept from tick to tick: the sun that has been booked, the battery's unexplained changes, the residual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ecovisor.live.grants import Efficiencies
from ecovisor.live.plant_control import VirtualTotals, residual_wh, unexplained_wh
from ecovisor.ports.live import PlantReading


@dataclass(frozen=True, slots=True)
class _Baseline:
    """Where the comparison of meters and flows began."""

    reading: PlantReading
    totals: VirtualTotals
    unseen_wh: float
    """Solar energy that the meters had collected since it was read for the tick."""


class PlantAccount:
    """Counters become powers here, and differences of counters are booked once.

    Attributes:
        reading: the newest that was read at a tick's boundary; None: there has been none since the last gap.
        residual_wh: what meters and flows have differed by, at most.
        physical: what the meters say of the last tick. [W]
    """

    SHOWN: ClassVar = ("solar_w", "import_w", "export_w", "battery_charge_w", "battery_discharge_w", "curtailed_w")

    def __init__(self) -> None:
        self.reading: PlantReading | None = None
        self.residual_wh = 0.0
        self.physical: dict[str, float] = dict.fromkeys(self.SHOWN, 0.0)
        self._solar_begin: PlantReading | None = None
        self._solar_booked_wh = 0.0
        self._solar_w = 0.0
        self._baseline: _Baseline | None = None
        self._shown: PlantReading | None = None

    def restart(self, reading: PlantReading | None) -> None:
        """Count from here: what was before has been booked, or is a gap."""
        self.reading = self._solar_begin = reading
        self._solar_booked_wh = 0.0
        self._baseline = self._shown = None

    @property
    def newest(self) -> PlantReading | None:
        """The newest reading of all."""
        return self._shown or self.reading

    def collected_w(self, reading: PlantReading | None, hours_h: float, *, assume: bool) -> float:
        """Solar power of the tick by the plant's counter, so that what is booked is in the end what was metered. [W]

        Args:
            reading: at the tick's end; None: the plant did not answer.
            hours_h: length of the tick. [h]
            assume: without a reading, go on with the last power; what was booked too much is taken from later ticks.
        """
        begin = self._solar_begin
        if reading is None:
            power_w = self._solar_w if assume else 0.0
            self._solar_booked_wh += power_w * hours_h
            return power_w
        if begin is None or reading.epoch != begin.epoch:
            self._solar_begin, self._solar_booked_wh = reading, 0.0
            return self._solar_w if begin is not None and assume else 0.0
        collected_wh = max(0.0, reading.solar_wh - begin.solar_wh - self._solar_booked_wh)
        self._solar_booked_wh += collected_wh
        self._solar_w = collected_wh / hours_h
        return self._solar_w

    def level_change_wh(
        self, reading: PlantReading | None, efficiencies: Efficiencies, loss_ratio: float, tolerated_wh: float
    ) -> float:
        """Take the reading of a tick's end; what the level changed by beyond what meters explain, 0 within rounding. [Wh]"""
        before = self.reading
        self.reading = reading or before
        if before is None or reading is None or before.epoch != reading.epoch:
            return 0.0
        difference_wh = unexplained_wh(before, reading, efficiencies.charge, efficiencies.discharge, loss_ratio)
        tolerated_wh += loss_ratio * (reading.charge_wh - before.charge_wh)
        return difference_wh if abs(difference_wh) > tolerated_wh else 0.0

    def compare(self, now: PlantReading, sensed: PlantReading | None, totals: VirtualTotals) -> None:
        """Hold the meters, after the load has been told, against the sum of all flows.

        Args:
            now: the meters now.
            sensed: as they were read for the tick.
            totals: of all apps, the tick included.
        """
        self._show(now)
        unseen_wh = 0.0 if sensed is None else now.solar_wh - sensed.solar_wh
        baseline = self._baseline
        if baseline is None or baseline.reading.epoch != now.epoch:
            self._baseline = _Baseline(now, totals, unseen_wh)
            return
        difference_wh = residual_wh(baseline.reading, baseline.totals, now, totals) + unseen_wh - baseline.unseen_wh
        self.residual_wh = max(self.residual_wh, abs(difference_wh))

    def _show(self, now: PlantReading) -> None:
        before, self._shown = self._shown, now
        if before is None or before.epoch != now.epoch or now.site_s <= before.site_s:
            return
        hours_h = (now.site_s - before.site_s) / 3600.0
        self.physical = {
            "solar_w": (now.solar_wh - before.solar_wh) / hours_h,
            "import_w": max(0.0, now.import_wh - before.import_wh) / hours_h,
            "export_w": max(0.0, now.export_wh - before.export_wh) / hours_h,
            "battery_charge_w": (now.charge_wh - before.charge_wh) / hours_h,
            "battery_discharge_w": (now.discharge_wh - before.discharge_wh) / hours_h,
            "curtailed_w": (now.curtailed_wh - before.curtailed_wh) / hours_h,
        }

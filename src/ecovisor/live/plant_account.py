"""What the plant's meters say, kept from tick to tick: the sun that has been booked, the battery's unexplained changes, the residual.

What it must know to go on outlives the process (`Standing`), so that a gap is what the meters counted and no tick has booked.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from ecovisor.engine.gaps import GapEnergy
from ecovisor.live.grants import Efficiencies
from ecovisor.live.plant_control import VirtualTotals, residual_wh, unexplained_wh
from ecovisor.model.errors import StoreError
from ecovisor.physics.battery import self_discharge_ratio
from ecovisor.ports.live import PlantReading


class Baseline(msgspec.Struct, frozen=True):
    """Where the comparison of meters and flows began."""

    reading: PlantReading
    totals: VirtualTotals
    unseen_wh: float
    """Solar energy that the meters had collected and no tick had booked; negative: booked too early. [Wh]"""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What an account must know to go on in another process."""

    reading: PlantReading | None
    solar_booked_wh: float
    baseline: Baseline | None


def last_reading(standing: bytes) -> PlantReading | None:
    """What the meters said when an account was last kept.

    Raises:
        StoreError: it cannot be read.
    """
    return _kept(standing).reading


def _kept(standing: bytes) -> Standing:
    try:
        return msgspec.msgpack.decode(standing, type=Standing)
    except msgspec.MsgspecError as error:
        raise StoreError(f"the plant's meters: {error}; restore a backup, or start with a new state directory") from error


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
        self._solar_epoch: str | None = None
        self._solar_booked_wh = 0.0  # of what the counter shows
        self._solar_w = 0.0
        self._baseline: Baseline | None = None
        self._shown: PlantReading | None = None

    def restart(self, reading: PlantReading | None, totals: VirtualTotals) -> None:
        """Count from here: what was before has been booked, or is a gap. Sun that was booked too early stays booked."""
        self.reading, self._shown = reading, None
        if reading is None:
            self._solar_epoch, self._solar_booked_wh, self._baseline = None, 0.0, None
            return
        booked_wh = self._solar_booked_wh if reading.epoch == self._solar_epoch else 0.0
        self._solar_epoch, self._solar_booked_wh = reading.epoch, max(reading.solar_wh, booked_wh)
        self._baseline = Baseline(reading, totals, reading.solar_wh - self._solar_booked_wh)

    # -- another process

    def standing(self) -> bytes:
        """What is kept with a tick."""
        baseline = self._baseline if self._baseline is not None and self._baseline.reading.epoch == self._solar_epoch else None
        return msgspec.msgpack.encode(Standing(reading=self.reading, solar_booked_wh=self._solar_booked_wh, baseline=baseline))

    def resume(self, standing: bytes) -> None:
        """Take up what was kept with the last tick.

        Raises:
            StoreError: it cannot be read.
        """
        kept = _kept(standing)
        self.reading, self._baseline = kept.reading, kept.baseline
        self._solar_epoch = None if kept.reading is None else kept.reading.epoch
        self._solar_booked_wh = kept.solar_booked_wh

    # -- ticks

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
        if reading is None:
            power_w = self._solar_w if assume else 0.0
            self._solar_booked_wh += power_w * hours_h
            return power_w
        if reading.epoch != self._solar_epoch:
            known = self._solar_epoch is not None
            self._solar_epoch, self._solar_booked_wh = reading.epoch, reading.solar_wh
            return self._solar_w if known and assume else 0.0
        collected_wh = max(0.0, reading.solar_wh - self._solar_booked_wh)
        self._solar_booked_wh += collected_wh
        self._solar_w = collected_wh / hours_h
        return self._solar_w

    def began_anew(self, reading: PlantReading | None) -> bool:
        """Whether the plant's meters have started anew since the last reading."""
        return reading is not None and self.reading is not None and reading.epoch != self.reading.epoch

    def level_change_wh(
        self, reading: PlantReading | None, efficiencies: Efficiencies, self_discharge_per_hour: float, tolerated_wh: float
    ) -> float:
        """Take the reading of a tick's end; what the level changed by beyond what meters explain, 0 within rounding. [Wh]"""
        before = self.reading
        self.reading = reading or before
        if before is None or reading is None or before.epoch != reading.epoch:
            return 0.0
        loss_ratio = self_discharge_ratio(self_discharge_per_hour, (reading.site_s - before.site_s) / 3600.0)
        difference_wh = unexplained_wh(before, reading, efficiencies.charge, efficiencies.discharge, loss_ratio)
        tolerated_wh += loss_ratio * (reading.charge_wh - before.charge_wh)
        return difference_wh if abs(difference_wh) > tolerated_wh else 0.0

    def compare(self, now: PlantReading, totals: VirtualTotals) -> None:
        """Hold the meters, after the load has been told, against the sum of all flows.

        Args:
            now: the meters now.
            totals: of all apps, the tick included.
        """
        self._show(now)
        unseen_wh = now.solar_wh - self._solar_booked_wh
        baseline = self._baseline
        if baseline is None or baseline.reading.epoch != now.epoch:
            self._baseline = Baseline(now, totals, unseen_wh)
            return
        difference_wh = residual_wh(baseline.reading, baseline.totals, now, totals) + unseen_wh - baseline.unseen_wh
        self.residual_wh = max(self.residual_wh, abs(difference_wh))

    def accept(self, now: PlantReading, totals: VirtualTotals) -> None:
        """A plant that meters the load itself: what it differs by from the apps' flows so far is not a gap's."""
        self._show(now)
        self._baseline = Baseline(now, totals, now.solar_wh - self._solar_booked_wh)

    # -- gaps

    def unbooked(self, now: PlantReading | None, totals: VirtualTotals) -> GapEnergy:
        """What the meters have counted and no tick has booked; NaN where that is unknown. [Wh]

        Args:
            now: the meters, at the end of the gap, after the load has been settled.
            totals: of all apps, up to the gap.
        """
        baseline = self._baseline
        if now is None or baseline is None or baseline.reading.epoch != now.epoch:
            return GapEnergy(float("nan"), float("nan"), float("nan"), float("nan"), float("nan"))
        begin, booked = baseline.reading, baseline.totals
        import_wh = now.import_wh - begin.import_wh - (totals.import_wh - booked.import_wh)
        export_wh = now.export_wh - begin.export_wh - (totals.export_wh - booked.export_wh)
        battery_wh = now.charge_wh - begin.charge_wh - (totals.charge_wh - booked.charge_wh)
        battery_wh -= now.discharge_wh - begin.discharge_wh - (totals.discharge_wh - booked.discharge_wh)
        net_wh = import_wh - export_wh + totals.curtailed_wh - booked.curtailed_wh
        unseen_wh = now.solar_wh - self._solar_booked_wh
        solar_wh = max(0.0, unseen_wh)
        net_wh += totals.buffer_wh - booked.buffer_wh + unseen_wh - solar_wh - baseline.unseen_wh
        net_wh = max(net_wh, battery_wh - solar_wh)  # nobody draws less than nothing
        both_wh = max(0.0, min(import_wh, export_wh))
        return GapEnergy(
            import_wh=max(net_wh, 0.0) + both_wh,
            export_wh=max(-net_wh, 0.0) + both_wh,
            solar_wh=solar_wh,
            charge_wh=max(battery_wh, 0.0),
            discharge_wh=max(-battery_wh, 0.0),
        )

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

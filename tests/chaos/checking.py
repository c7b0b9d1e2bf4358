"""What must be true of a ledger after whatever happened, computed from its rows and the plant's own meters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import msgspec

from ecovisor import wire
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.live.plant_account import Baseline, Standing
from ecovisor.ports.live import PlantReading

_SITE = (
    "solar_collected_w",
    "import_w",
    "export_w",
    "battery_charge_w",
    "battery_discharge_w",
    "curtailed_w",
    "node_power_w",
)


@dataclass(frozen=True, slots=True)
class Step:
    """A tick or a gap, with the energies of the site's row. [Wh]"""

    tick: int | None
    kind: str
    start_s: float
    end_s: float
    wh: dict[str, float]
    buffer_wh: float


def steps(ledger_dir: Path) -> list[Step]:
    """All steps, in the order of time; while a server runs, as of some moment."""
    with Ledger.open(ledger_dir, read_only=True) as ledger:
        extent = ledger.extent()
        ticks = [] if extent is None else ledger.ticks(*extent)
        rows: dict[float, dict[str, float]] = {}
        for block in ledger.blocks("site"):
            for k, time_s in enumerate(block.times_s):
                rows[time_s] = {name: block.columns[name][k] for name in (*_SITE, "buffer_wh")}
    found = []
    for one in ticks:
        row = rows[one.start_s]
        wh = {name: row[name] * one.dt_s / 3600.0 for name in _SITE}
        found.append(Step(one.tick, one.kind, one.start_s, one.start_s + one.dt_s, wh, row["buffer_wh"]))
    return found


def time_is_whole(found: Sequence[Step]) -> None:
    """Ticks have the numbers 0, 1, 2, …; every instant belongs to one step."""
    ticks = [one.tick for one in found if one.tick is not None]
    assert ticks == list(range(len(ticks))), "tick numbers are unique and consecutive"
    for before, after in pairwise(found):
        assert abs(after.start_s - before.end_s) < 1e-3, (before, after)
        assert after.end_s > after.start_s
    assert all((one.kind == "gap") == (one.tick is None) for one in found)


def no_energy_is_negative(found: Sequence[Step]) -> None:
    """Nor twice as much as the plant can give."""
    for one in found:
        for name, value in one.wh.items():
            assert math.isnan(value) or value >= -1e-9, (name, one)


def standing(ledger_dir: Path) -> Standing:
    """What the last step kept of the plant's meters."""
    with Ledger.open(ledger_dir, read_only=True) as ledger:
        last = ledger.last()
        assert last is not None
        return msgspec.msgpack.decode(last.plant, type=Standing)


def rows_are_the_meters(found: Sequence[Step], begin: Baseline, end: Baseline) -> None:
    """All that the plant has metered from ``begin`` to the end of the last gap is in the rows, gaps included: once.

    Sun that was booked while the plant did not answer, and that did not shine, is owed to later ticks (``unseen_wh``).
    """
    until = max(k for k, one in enumerate(found) if one.kind == "gap") + 1
    total = {name: math.fsum(one.wh[name] for one in found[:until]) for name in _SITE}
    owed_wh = begin.unseen_wh - end.unseen_wh
    assert end.unseen_wh < 1e-9

    def metered(name: str) -> float:
        return float(getattr(end.reading, name) - getattr(begin.reading, name))

    plant_keeps_its_energy(begin.reading)
    plant_keeps_its_energy(end.reading)
    assert total["solar_collected_w"] == _near(metered("solar_wh") + owed_wh)
    assert total["node_power_w"] == _near(metered("load_wh"))
    assert total["battery_charge_w"] - total["battery_discharge_w"] == _near(metered("charge_wh") - metered("discharge_wh"))
    net_wh = total["import_w"] - total["export_w"] - total["curtailed_w"] - found[until - 1].buffer_wh + owed_wh
    assert net_wh == _near(metered("import_wh") - metered("export_wh"))


def plant_keeps_its_energy(reading: PlantReading) -> None:
    """What comes in goes out."""
    left_wh = reading.import_wh + reading.solar_wh + reading.discharge_wh
    left_wh -= reading.export_wh + reading.load_wh + reading.charge_wh
    assert abs(left_wh) < 1e-6, reading


def _near(value: float) -> object:
    import pytest

    return pytest.approx(value, abs=1e-6)


def levels_are_the_plant_s(site: wire.SiteSnapshot, reading: PlantReading, below_wh: float, tolerance_wh: float) -> None:
    """The virtual levels are the physical one, but for what a tick may owe."""
    levels_wh = math.fsum(app.battery.level_wh for app in site.apps)
    assert abs(levels_wh - (reading.level_wh - below_wh)) <= tolerance_wh


def told_is_kept(ledger_dir: Path, told: Sequence[wire.Notification], app: str | None) -> None:
    """What a reader was told is in the ledger as it was told, and from its first event on there was nothing else."""
    if not told:
        return
    with Ledger.open(ledger_dir, read_only=True) as ledger:
        number = told[0].id.split(".")
        before = f"{int(number[0]) - 1}.999999999" if number[1] == "0" else f"{number[0]}.{int(number[1]) - 1}"
        kept = ledger.events(app, before, 1_000_000)[: len(told)]
    facts = [(one.id, one.kind, one.app, one.time, one.detail) for one in kept]
    assert [(one.id, one.kind, one.app, one.time, one.detail) for one in told] == facts

"""The contract of meters, applied to ours; and that it finds what it is for."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.meters.trees import Clock, Tree, Zone

from ecovisor.adapters.meters.powercap import PowercapMeter
from ecovisor.model.series import Quality
from ecovisor.ports.live import EnergyCounter, NodeMeter
from ecovisor.testing import NodeMeterContract


class _OnATree(NodeMeterContract):
    """Two packages and a memory, which wrap at different times."""

    @pytest.fixture(autouse=True)
    def _in(self, tmp_path: Path) -> None:
        self.tree, self.clock = Tree(tmp_path / "powercap"), Clock()
        self.zones = [
            self.tree.add("intel-rapl:0", "package-0", 1, 1_000_000_000),
            self.tree.add("intel-rapl:0:0", "dram", 1, 777_777_777),
            self.tree.add("intel-rapl:1", "package-1", 1, 1_234_567_890),
        ]

    def make(self) -> NodeMeter:
        return PowercapMeter(self.tree.root, monotonic_s=self.clock)

    def use(self, energy_j: float) -> None:
        whole = round(energy_j * 1e6)
        parts = [whole // 3, whole // 5, whole - whole // 3 - whole // 5]
        for zone, part in zip(self.zones, parts, strict=True):
            zone.use(part)
        self.clock.now_s += min(energy_j / 700.0, 1.0)

    def hide(self) -> None:
        self.hidden: list[Zone] = self.zones[1:]
        for zone in self.hidden:
            zone.folder.rename(zone.folder.with_name("hidden-" + zone.folder.name))
            zone.folder = zone.folder.with_name("hidden-" + zone.folder.name)

    def show(self) -> None:
        for zone in self.hidden:
            zone.folder.rename(zone.folder.with_name(zone.folder.name.removeprefix("hidden-")))
            zone.folder = zone.folder.with_name(zone.folder.name.removeprefix("hidden-"))


class TestPowercap(_OnATree):
    pass


class _Wrong:
    """A meter with one fault."""

    def __init__(self, inner: NodeMeter, fault: str) -> None:
        self.inner = inner
        self.fault = fault
        self.reads = 0
        self.last = 0.0

    def describe(self) -> str:
        return "" if self.fault == "wordless" else self.inner.describe()

    async def read(self) -> EnergyCounter | None:
        self.reads += 1
        try:
            counter = await self.inner.read()
        except Exception:
            if self.fault == "zero for unknown":
                return EnergyCounter(0.0, Quality.MEASURED)
            raise
        assert counter is not None
        energy_j, before_j, self.last = counter.energy_j, self.last, counter.energy_j
        if self.fault == "since the last read":
            energy_j -= before_j
        if self.fault == "not finite":
            energy_j = math.nan
        if self.fault == "half":
            energy_j /= 2.0
        return EnergyCounter(energy_j, counter.quality, str(self.reads) if self.fault == "epochs" else counter.epoch)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("wordless", "test_describes_itself_in_one_line"),
        ("not finite", "test_a_reading_is_an_amount_of_energy_with_its_quality"),
        ("half", "test_counts_what_is_used"),
        ("since the last read", "test_counts_what_is_used"),
        ("epochs", "test_counts_what_is_used"),
        ("since the last read", "test_whoever_asks_gets_the_same_counter"),
        ("zero for unknown", "test_what_cannot_be_read_is_never_a_number"),
        ("half", "test_afterwards_it_goes_on_or_starts_a_new_epoch"),
    ],
)
def test_a_meter_that_breaks_the_contract_is_found(fault: str, test: str, tmp_path: Path) -> None:
    class Suite(_OnATree):
        __test__ = False

        def __init__(self) -> None:
            self._in.__wrapped__(self, tmp_path)  # type: ignore[attr-defined]

        def make(self) -> NodeMeter:
            return _Wrong(super().make(), fault)

    with pytest.raises(AssertionError):
        getattr(Suite(), test)()


class TestTheMeterOfThePage(NodeMeterContract):
    """The plug of `docs/meters.md`."""

    @pytest.fixture(autouse=True)
    def _plugged_in(self) -> None:
        self.kwh, self.reachable = 12.0, True

    def make(self) -> NodeMeter:
        page = (Path(__file__).parents[2] / "docs" / "meters.md").read_text("utf-8")
        scope: dict[str, Any] = {}
        (text,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        exec(compile(text, "docs/meters.md", "exec"), scope)
        meter: NodeMeter = scope["Plug"](self.read_kwh)
        return meter

    def read_kwh(self) -> float:
        if not self.reachable:
            raise ConnectionRefusedError("no route")
        return self.kwh

    def use(self, energy_j: float) -> None:
        self.kwh += energy_j / 3.6e6

    def hide(self) -> None:
        self.reachable = False

    def show(self) -> None:
        self.reachable = True

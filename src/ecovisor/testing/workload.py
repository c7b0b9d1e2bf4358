"""What every plug-in workload must do, and what it may rely on: see `WorkloadContract`."""

from __future__ import annotations

import math
from collections.abc import Callable

from ecovisor.engine.loop import Loop
from ecovisor.ports import Workload
from ecovisor.testing.expectations import close
from ecovisor.testing.memory_sink import MemorySink
from ecovisor.testing.sites import APP, START_S, small_site

_TICK_S = 900.0
_TICKS = 3 * 96


class _Watched:
    """A workload whose calls are noted."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.asked_w: list[float] = []
        self.served_w: list[float] = []
        self.order: list[str] = []

    def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
        self.order.append("demand")
        self.asked_w.append(self.workload.demand_w(now_s, tick_s, cores))
        return self.asked_w[-1]

    def run(self, served_w: float, tick_s: float) -> None:
        self.order.append("run")
        self.served_w.append(served_w)
        self.workload.run(served_w, tick_s)


class WorkloadContract:
    """Inherit, and give `make()`: a new workload. If it ends, give `completed(workload)` too.

    What it asks for is finite and at least 0, whatever it was granted and on however many cores, none included; once it is
    completed it asks for nothing. In return the simulation calls `demand_w` and then `run` once a tick, and grants between nothing and what
    was asked.
    """

    def make(self) -> Workload:
        """A new workload."""
        raise NotImplementedError("give make()")

    def completed(self, workload: Workload) -> bool:
        """Whether it is done; never, unless you say so."""
        return False

    def drive(self, granted_ratio: Callable[[int], float], cores: float = 8.0) -> list[float]:
        """Three days in which the workload is granted a part of what it asks for; returns what it asked for. [W]"""
        workload = self.make()
        asked: list[float] = []
        for k in range(_TICKS):
            done = self.completed(workload)
            demand_w = workload.demand_w(START_S + k * _TICK_S, _TICK_S, cores)
            assert 0.0 <= demand_w < math.inf, f"tick {k}: asks for {demand_w!r} W; a demand is finite and at least 0"
            assert not (done and demand_w > 0.0), f"tick {k}: asks for {demand_w!r} W after it was completed"
            asked.append(demand_w)
            workload.run(demand_w * granted_ratio(k), _TICK_S)
        return asked

    def test_asks_for_finite_power_when_served_in_full(self) -> None:
        self.drive(lambda _: 1.0)

    def test_asks_for_finite_power_when_served_in_part(self) -> None:
        self.drive(lambda k: (k % 5) / 4.0)

    def test_asks_for_finite_power_when_never_served(self) -> None:
        self.drive(lambda _: 0.0)

    def test_one_core_and_none(self) -> None:
        self.drive(lambda _: 1.0, cores=1.0)
        self.drive(lambda _: 1.0, cores=0.0)

    def test_the_same_grants_the_same_demand(self) -> None:
        again = [self.drive(lambda k: (k % 5) / 4.0) for _ in range(2)]
        assert again[0] == again[1], "two workloads that were treated alike differ: is there a clock, or chance without a seed?"

    def test_the_simulation_keeps_its_side(self) -> None:
        sink = MemorySink()
        watched = _Watched(self.make())
        site = small_site(workload=lambda: watched, days=3.0, tick_s=_TICK_S, grid_limit_w=8.0, sink=sink)
        Loop(site).run(_TICKS)
        assert watched.order[: 2 * _TICKS - 1] == (["demand", "run"] * _TICKS)[: 2 * _TICKS - 1], "once each, a tick"
        demand, unserved = sink.column("flows", "demand_w", APP), sink.column("flows", "unserved_w", APP)
        for k, (asked_w, served_w) in enumerate(zip(watched.asked_w, watched.served_w, strict=False)):
            assert 0.0 <= served_w <= asked_w * (1.0 + 1e-12), f"tick {k}: {served_w!r} W granted of {asked_w!r} W"
            assert close(served_w, demand[k] - unserved[k]), f"tick {k}: the table says {demand[k] - unserved[k]!r} W"

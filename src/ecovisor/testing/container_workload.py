"""What every workload that asks container by container must do, and what it may rely on: see `ContainerWorkloadContract`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ecovisor.engine.loop import Loop
from ecovisor.ports import ContainerInfo, ContainerWorkload
from ecovisor.testing.expectations import close
from ecovisor.testing.memory_sink import MemorySink
from ecovisor.testing.sites import APP, MICROSERVER, START_S, small_site

_TICK_S = 900.0
_TICKS = 3 * 96


class _Watched:
    """A workload whose calls are noted."""

    def __init__(self, workload: ContainerWorkload) -> None:
        self.workload = workload
        self.asked: list[dict[str, float]] = []
        self.served: list[dict[str, float]] = []

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        assert len(self.asked) == len(self.served), "demands_w before run_containers"
        demands_w = self.workload.demands_w(now_s, tick_s, containers)
        self.asked.append(dict(zip((one.id for one in containers), demands_w, strict=True)))
        return demands_w

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        self.served.append(dict(zip(self.asked[-1], served_w, strict=True)))
        self.workload.run_containers(served_w, tick_s)


class ContainerWorkloadContract:
    """Inherit, and give `make()`: a new workload.

    It answers for every container that it is given, in their order, with a finite power of at least 0, no more than its cap and 0 for what
    is suspended, whatever it was granted, and however containers come, go and change. In return the simulation calls `demands_w` and then
    `run_containers` once a tick, for the same containers, and grants each between nothing and what was asked for it.
    """

    def make(self) -> ContainerWorkload:
        """A new workload."""
        raise NotImplementedError("give make()")

    def drive(
        self, granted_ratio: Callable[[int], float], present: Callable[[int], Sequence[ContainerInfo]], start_s: float = START_S
    ) -> list[list[float]]:
        """Three days in which the workload is granted a part of what it asks for; returns what it asked for. [W]"""
        workload = self.make()
        asked: list[list[float]] = []
        for k in range(_TICKS):
            containers = present(k)
            demands_w = list(workload.demands_w(start_s + k * _TICK_S, _TICK_S, containers))
            assert len(demands_w) == len(containers), f"tick {k}: answers for {len(demands_w)} of {len(containers)} containers"
            for one, demand_w in zip(containers, demands_w, strict=True):
                most_w = one.cap_w if one.running else 0.0
                assert 0.0 <= demand_w < math.inf, f"tick {k}: asks for {demand_w!r} W for {one.id}"
                assert demand_w <= most_w * (1.0 + 1e-9), f"tick {k}: asks for {demand_w!r} W for {one.id}, of at most {most_w!r} W"
            asked.append(demands_w)
            workload.run_containers([demand_w * granted_ratio(k) for demand_w in demands_w], _TICK_S)
        return asked

    def test_asks_for_finite_power_when_served_in_full(self) -> None:
        self.drive(lambda _: 1.0, lambda _: _containers(4))

    def test_asks_for_finite_power_when_served_in_part(self) -> None:
        self.drive(lambda k: (k % 5) / 4.0, lambda _: _containers(4))

    def test_asks_for_finite_power_when_never_served(self) -> None:
        self.drive(lambda _: 0.0, lambda _: _containers(4))

    def test_one_container_and_none(self) -> None:
        self.drive(lambda _: 1.0, lambda _: _containers(1))
        self.drive(lambda _: 1.0, lambda _: [])

    def test_caps_are_kept(self) -> None:
        self.drive(lambda _: 1.0, lambda k: _containers(3, caps_w=[1.35 + 0.01 * (k % 300), math.inf, 1.35]))

    def test_containers_come_and_go_and_are_suspended(self) -> None:
        def present(k: int) -> list[ContainerInfo]:
            some = _containers(1 + k // 5 % 6, suspended={k // 7 % 6})
            return some[k // 40 % 2 :]

        self.drive(lambda k: 1.0 if k % 11 else 0.3, present)

    def test_the_same_grants_the_same_demand(self) -> None:
        again = [self.drive(lambda k: (k % 5) / 4.0, lambda k: _containers(3 + k // 50)) for _ in range(2)]
        assert again[0] == again[1], "two workloads that were treated alike differ: is there a clock, or chance without a seed?"

    def test_the_simulation_keeps_its_side(self) -> None:
        sink = MemorySink()
        watched = _Watched(self.make())
        site = small_site(workload=lambda: watched, days=3.0, tick_s=_TICK_S, grid_limit_w=8.0, sink=sink)
        Loop(site).run(_TICKS)
        assert len(watched.asked) == len(watched.served) == _TICKS, "once each, a tick"
        rows = [row for row in sink.rows("containers") if row["app"] == APP and row["container"] != "_battery"]
        for row in rows:
            k, name = round((float(row["time"]) - START_S) / _TICK_S), str(row["container"])
            asked_w, served_w = watched.asked[k][name], watched.served[k][name]
            assert 0.0 <= served_w <= asked_w * (1.0 + 1e-9), f"tick {k}: {served_w!r} W granted of {asked_w!r} W"
            assert close(served_w, float(row["power_w"])), f"tick {k}: the table says {row['power_w']!r} W"


def _containers(count: int, *, caps_w: Sequence[float] = (), suspended: set[int] | None = None) -> list[ContainerInfo]:
    """Containers of a microserver each, as an app sees them."""
    cores = MICROSERVER.cores
    return [
        ContainerInfo(f"c{k + 1}", cores, k not in (suspended or ()), 0.0, caps_w[k] if k < len(caps_w) else math.inf)
        for k in range(count)
    ]

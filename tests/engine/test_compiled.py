"""Machine code does what plain Python does, to the bit; built-in policies inside the loop do what their classes do."""

from __future__ import annotations

import copy
import math
import random
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ecovisor.engine import columns, warm
from ecovisor.engine.loop import Loop
from ecovisor.engine.report import app_summaries, site_summary
from ecovisor.engine.settling import settle_tile
from ecovisor.engine.site import Site
from ecovisor.engine.specification import AppSpec
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.model.series import Series
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import ContainerInfo, Policy
from ecovisor.presets import BatteryParameters, ServerParameters
from ecovisor.workloads.models import BatchJob, ConstantDemand, TracedDemand

from . import build

TICKS = 100
DICE = random.Random(1)
SUN = [900.0 * max(0.0, math.sin(k / 15)) for k in range(TICKS)]
INTENSITY = [math.nan if k % 31 == 7 else 200.0 + 150.0 * math.sin(k / 11) for k in range(TICKS)]
PRICE = [0.1 + 0.01 * (k % 5) for k in range(TICKS)]
TRACES = {
    "watts": (array("d", [20.0 + 15.0 * math.sin(k / 3) for k in range(TICKS)]), False),
    "load": (array("d", [DICE.random() for _ in range(TICKS)]), True),
}
CARBON = Series("carbon", "g/kWh", 0.0, build.TICK_S, array("d", [200.0 + 150.0 * math.sin(k / 11) for k in range(TICKS)]))
CURVE = ServerParameters(4.0, (1.35, 2.0, 2.2, 3.0, 5.0))
LEAKY = BatteryParameters(2000.0, 0.3, 0.25, 1.0, 0.95, 0.9, 0.001, 0.4)


class Sawtooth:
    """A plug-in: asks for more each tick until it was refused."""

    def __init__(self) -> None:
        self.asked_w = 1.0
        self.served: list[float] = []

    def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
        self.asked_w = min(self.asked_w + 3.0, 20.0 * cores)
        return self.asked_w

    def run(self, served_w: float, tick_s: float) -> None:
        self.served.append(served_w)
        if served_w < self.asked_w:
            self.asked_w = 0.0


class Uneven:
    """A plug-in that sees its containers: each asks for more than the one before, the third for nothing now and then."""

    def __init__(self) -> None:
        self.served: list[float] = []

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> list[float]:
        some = int(now_s // tick_s)
        return [(3.0 + 1.7 * k) * one.cores * ((some + k) % 3 > 0) for k, one in enumerate(containers)]

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        self.served += served_w


POLICIES: dict[str, Callable[[], Policy]] = {
    "agnostic": CarbonAgnostic,
    "suspend": lambda: SuspendResume(Threshold(220.0)),
    "percentile": lambda: SuspendResume(Threshold(percent=40.0, window_s=6 * 3600.0), refresh_s=7200.0),
    "scale": lambda: WaitAndScale(Threshold(250.0), 2.5),
    "arbitrage": lambda: BatteryArbitrage(Threshold(150.0), Threshold(300.0)),
    "arbitrage-w": lambda: BatteryArbitrage(Threshold(percent=20.0), Threshold(percent=80.0), 12.0, refresh_s=3600.0),
    "rate": lambda: StaticCarbonRate(2.0),
}
WORKLOADS: dict[str, Any] = {
    "usl": BatchJob(work_core_h=30.0, start_s=900.0, contention=0.05, coherency=0.001),
    "table": BatchJob(work_core_h=25.0, start_s=0.0, speed_table=((1.0, 1.0), (4.0, 3.5), (8.0, 5.0), (16.0, 6.0))),
    "checkpoints": BatchJob(
        work_core_h=60.0, start_s=0.0, checkpoint_interval_s=1200.0, checkpoint_duration_s=30.0, restart_duration_s=200.0
    ),
    "starved": BatchJob(work_core_h=20.0, start_s=0.0, speed_table=((1.0, 1.0), (4.0, 3.0), (6.0, 3.5)), idle_when_starved=True),
    "starved-usl": BatchJob(work_core_h=20.0, start_s=0.0, contention=0.2, idle_when_starved=True, restart_duration_s=100.0),
    "constant": ConstantDemand(demand_w=18.0, start_s=600.0),
    "watts": TracedDemand(signal="watts"),
    "load": TracedDemand(signal="load", start_s=300.0),
    "plug-in": Sawtooth,
    "each": Uneven,
}


def mixed() -> list[AppSpec]:
    """Every workload under every policy."""
    share = 1.0 / (len(POLICIES) * len(WORKLOADS) + 5)
    return [
        build.app(
            f"{work}-{policy}",
            share,
            grid=0.7 * share,
            workload=WORKLOADS[work],
            policy=POLICIES[policy],
            containers=1 + (k + m) % 3,
            cores=2.0 + m % 3,
        )
        for k, work in enumerate(WORKLOADS)
        for m, policy in enumerate(POLICIES)
    ]


def played(
    apps: Sequence[AppSpec],
    *,
    compiled: bool = False,
    python: bool = False,
    excess: Sequence[str] = ("share", "export", "curtail"),
    touch: Callable[[Site, Loop], None] | None = None,
    ticks: int = TICKS,
    tables: bool = True,
) -> dict[str, Any]:
    """Everything that a run leaves behind, in full precision."""
    kept = build.Keep()
    site = build.site(
        *apps,
        ticks=TICKS,
        solar_w=SUN,
        intensity=INTENSITY,
        price=PRICE,
        battery=LEAKY,
        server=CURVE,
        servers=200,
        overhead_w=9.0,
        grid_limit_w=1200.0,
        export_limit_w=100.0,
        excess=excess,
        traces=TRACES,
        forecasters={"carbon": PerfectForecaster(CARBON)},
        compiled=compiled,
        sink=kept if tables else None,
    )
    loop = Loop(site, policies_in_python=python)
    if touch is not None:
        touch(site, loop)
    loop.run(ticks)
    assert site.memory.compiled == compiled
    return {
        "tables": {name: [{c: repr(v) for c, v in row.items()} for row in rows] for name, rows in kept.tables.items()},
        "events": [repr(event) for event in kept.events],
        "apps": [repr(summary) for summary in app_summaries(site)],
        "site": repr(site_summary(site, 0.0)),
        "last": [repr([site.get(index, column) for column in columns.RECORDED]) for index in range(site.app_count + 1)],
    }


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """The first difference, instead of megabytes of them."""
    for table, rows in one["tables"].items():
        assert len(rows) == len(other["tables"][table])
        for row, row_of_other in zip(rows, other["tables"][table], strict=True):
            assert row == row_of_other, table
    for what in ("events", "apps", "site", "last"):
        assert one[what] == other[what]


def disturb(site: Site, loop: Loop) -> None:
    """Caps on containers, a change of shares, a leave, a join, a derating, a correction and a gap along the way."""
    for name in (
        "usl-agnostic",
        "starved-agnostic",
        "starved-usl-suspend",
        "constant-agnostic",
        "watts-agnostic",
        "load-agnostic",
        "plug-in-agnostic",
        "each-agnostic",
    ):
        energy = site.app(name)
        energy.set_container_powercap(energy.list_containers()[-1].id, 4.0)
    loop.run(20)
    site.leave("table-agnostic")
    site.app("constant-suspend").add_container(2.0)
    loop.run(30)
    site.set_shares({"load-scale": build.shares(0.001)})
    site.derate(200.0, 300.0)
    site.app("usl-scale").suspend_container("c1")
    loop.run(45)
    site.adjust_battery(site.memory.get("above_line_wh") * 0.9)
    site.join(build.app("late", 0.01, workload=WORKLOADS["checkpoints"], policy=POLICIES["scale"], containers=2))
    loop.run(60)
    site.gap(1800.0, import_wh=3.0, export_wh=0.0, solar_wh=1.0, measured_level_wh=site.memory.get("above_line_wh"))
    site.app("usl-scale").resume_container("c1")


def test_every_workload_under_every_policy_is_bit_equal_in_machine_code() -> None:
    pytest.importorskip("numba")
    plain = played(mixed(), touch=disturb)
    same(plain, played(mixed(), compiled=True, touch=disturb))
    flows = plain["tables"]["flows"]
    for column in ("unserved_w", "shared_w", "exported_w", "received_w", "curtailed_w", "grid_to_battery_w", "netting_credit_wh"):
        assert any(row[column] != "0.0" for row in flows), f"the scenario has no {column}"
    kinds = {event.split("kind='")[1].split("'")[0] for event in plain["events"]}
    assert {"completed", "left", "joined", "shares", "gap"} <= kinds


def test_sums_without_tables_are_those_with_tables() -> None:
    pytest.importorskip("numba")
    apps = [spec for spec in mixed() if not spec.name.startswith(("plug-in", "each")) and "percentile" not in spec.name]
    with_tables = played(apps)
    for compiled in (False, True):
        sums = played(apps, compiled=compiled, tables=False)
        assert (sums["apps"], sums["site"], sums["last"]) == (with_tables["apps"], with_tables["site"], with_tables["last"])


def test_settling_on_a_copy_is_settling_in_place() -> None:
    site = build.site(*mixed(), ticks=TICKS, solar_w=SUN, intensity=INTENSITY, battery=LEAKY, excess=("share",), traces=TRACES,
                      forecasters={"carbon": PerfectForecaster(CARBON)})  # fmt: skip
    Loop(site).run(20)
    memory: Any = site.memory
    for keep in (0.0, 1.0):
        memory.set("keep", keep)
        here, there, state, copied_state = (
            copy.deepcopy(one) for one in (memory._tiles[0], memory._tiles[0], memory._site, memory._site)
        )
        settle_tile(here, here, here.count, state, copying=False)
        settle_tile(there, columns.Tile(there.count), there.count, copied_state, copying=True)
        unread = {"start_level_wh"} if keep else {"start_level_wh", *columns.RECORDED}  # of use while a tick is settled only
        for name in columns.COLUMNS:
            if name not in unread:
                assert repr(getattr(here, name)) == repr(getattr(there, name)), name
        assert [getattr(state, name) for name in columns.SITE] == [getattr(copied_state, name) for name in columns.SITE]


def test_the_loop_can_be_warmed() -> None:
    warm.main()


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_tiles_are_an_arrangement_and_nothing_else(count: int) -> None:
    pytest.importorskip("numba")
    apps = [
        build.app("first", 0.1, workload=WORKLOADS["checkpoints"], policy=POLICIES["scale"]),
        build.app("many", 0.8 / count, workload=WORKLOADS["usl"], policy=POLICIES["suspend"], containers=2, count=count),
        build.app("last", 0.1, demand_w=30.0, policy=POLICIES["arbitrage"]),
    ]
    same(played(apps, ticks=25), played(apps, compiled=True, ticks=25))


@pytest.mark.parametrize("excess", [("share", "curtail"), ("curtail",), ("export", "share")])
def test_built_in_policies_in_the_loop_decide_as_their_classes_do(excess: Sequence[str]) -> None:
    same(played(mixed(), excess=excess), played(mixed(), python=True, excess=excess))


def test_a_plug_in_workload_is_told_of_every_tick_once() -> None:
    made: list[Sawtooth] = []

    def make() -> Sawtooth:
        made.append(Sawtooth())
        return made[-1]

    kept = build.Keep()
    site = build.site(build.app("a", 0.5, workload=make), grid_limit_w=40.0, battery=None, sink=kept)
    loop = Loop(site)
    for until in (1, 2, 10):
        loop.run(until)
    served = [row["demand_w"] - row["unserved_w"] for row in kept.flows("a")]
    assert made[0].served == served
    assert any(row["unserved_w"] > 0.0 for row in kept.flows("a"))


def test_a_demand_that_is_no_power_stops_the_run() -> None:
    from ecovisor.model.errors import PolicyError

    class Broken:
        def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
            return math.nan

        def run(self, served_w: float, tick_s: float) -> None:
            """Nothing to learn."""

    with pytest.raises(PolicyError, match=r"apps\.a.*tick 0.*nan W"):
        build.run(build.site(build.app("a", 0.5, workload=Broken)), 3)


def test_a_large_run_moves_to_machine_code_with_its_tables() -> None:
    pytest.importorskip("numba")
    kept = build.Keep()
    site = build.site(build.app("a", 0.001, demand_w=8.0, count=400), ticks=300, sink=kept, compiled=None)
    site.app("a-1")  # a handle from before the move
    loop = Loop(site)
    loop.run(10)
    kinds = [site.memory.compiled]
    loop.run(300)
    assert [*kinds, site.memory.compiled] == [False, True]
    assert len(kept.flows("a-1")) == 300
    assert {row["demand_w"] for row in kept.flows("a-400")} == {8.0}

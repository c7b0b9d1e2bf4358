"""Without sharing an app's ledger is the same to the bit, whatever its neighbours are and do."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from ecovisor.engine.loop import Loop
from ecovisor.engine.specification import AppSpec
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.presets import BatteryParameters
from ecovisor.workloads.models import BatchJob

from . import build

DICE = random.Random(5)
TICKS = 120
SUN = [600.0 * max(0.0, math.sin(k / 19)) for k in range(TICKS)]
INTENSITY = [DICE.choice([math.nan, 50.0, 200.0, 400.0]) for _ in range(TICKS)]
LEAKY = BatteryParameters(1440.0, 0.3, 0.25, 1.0, 0.95, 0.9, 0.001, 0.4)


def ann() -> AppSpec:
    wishes = random.Random(9)

    def act(energy: VirtualEnergySystem, _: object) -> None:
        energy.set_battery_charge_rate(wishes.choice([0.0, 0.0, 20.0, 200.0]))
        energy.set_battery_max_discharge(wishes.choice([math.inf, 0.0, 15.0]))
        energy.scale_containers(wishes.choice([1.0, 0.5, 2.0]))

    work = BatchJob(work_core_h=60.0, start_s=0.0, contention=0.02, checkpoint_interval_s=900.0, restart_duration_s=60.0)
    return build.app("ann", 0.25, workload=work, policy=build.scripted(act), containers=3)


def greedy(**parts: float) -> AppSpec:
    def act(energy: VirtualEnergySystem, _: object) -> None:
        energy.ask(300.0 if energy.effective_tick % 3 else 0.0)
        energy.set_battery_charge_rate(1e6 if energy.effective_tick % 7 < 2 else 0.0)

    return build.app("bob", 0.5, policy=build.scripted(act), **parts)  # type: ignore[arg-type]


NEIGHBOURS: dict[str, Sequence[AppSpec]] = {
    "greedy": [greedy()],
    "thrifty": [build.app("cy", 0.6, demand_w=5.0, policy=lambda: SuspendResume(Threshold(100.0)))],
    "charging": [
        build.app("dee", 0.3, demand_w=30.0, policy=lambda: BatteryArbitrage(Threshold(100.0), Threshold(300.0))),
        build.app("eve", 0.4, demand_w=3.0),
    ],
    "many": [build.app("fay", 0.002, demand_w=1.0, count=300)],
}


def ledger(before: Sequence[AppSpec], after: Sequence[AppSpec], excess: Sequence[str], compiled: bool = False) -> build.Rows:
    kept = build.Keep()
    site = build.site(
        *before,
        ann(),
        *after,
        ticks=TICKS,
        solar_w=SUN,
        intensity=INTENSITY,
        battery=LEAKY,
        grid_limit_w=150.0,
        excess=excess,
        sink=kept,
        servers=30,
        compiled=compiled,
    )
    build.run(site, TICKS)
    return [{name: repr(value) for name, value in row.items()} for row in kept.flows("ann") + kept.containers("ann")]


@pytest.mark.parametrize("excess", [("curtail",), ("export", "curtail")])
@pytest.mark.parametrize("who", NEIGHBOURS)
def test_without_sharing_a_ledger_does_not_depend_on_neighbours(who: str, excess: Sequence[str]) -> None:
    alone = ledger([], [], excess)
    assert len(alone) == TICKS * 5
    assert ledger([], NEIGHBOURS[who], excess) == alone
    assert ledger(NEIGHBOURS[who], [], excess) == alone  # nor on who came first


def test_without_sharing_a_ledger_does_not_depend_on_comings_and_goings() -> None:
    kept = build.Keep()
    site = build.site(
        ann(), ticks=TICKS, solar_w=SUN, intensity=INTENSITY, battery=LEAKY, grid_limit_w=150.0, sink=kept, servers=30
    )
    loop = Loop(site)
    loop.run(20)
    site.join(greedy(energy=0.0))  # with a part of the battery, what `_site` has no room for then would be hers in part
    loop.run(50)
    site.set_shares({"bob": build.shares(0.7, energy=0.0)})
    loop.run(70)
    site.leave("bob")
    loop.run(TICKS)
    rows = [{name: repr(value) for name, value in row.items()} for row in kept.flows("ann") + kept.containers("ann")]
    assert rows == ledger([], [], ("curtail",))


def test_with_sharing_neighbours_do_matter() -> None:
    assert ledger([], [], ("share",)) != ledger([], NEIGHBOURS["thrifty"], ("share",))


def test_neighbours_do_not_matter_in_machine_code_either() -> None:
    pytest.importorskip("numba")
    assert ledger(NEIGHBOURS["many"], NEIGHBOURS["thrifty"][:0], ("curtail",), compiled=True) == ledger([], [], ("curtail",))

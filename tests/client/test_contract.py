"""Over HTTP an app's energy system is what it is in process: the public contract, and every bundled policy's ledger, bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.client.colours import played_site
from tests.client.played_server import TOKEN, PlayedServer
from tests.client.played_site import PlayedSite

from ecovisor import connect
from ecovisor.client import drive
from ecovisor.engine.loop import Loop
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import Policy
from ecovisor.testing import MemorySink, VirtualEnergyContract, small_site
from ecovisor.testing.virtual_energy import Step
from ecovisor.workloads.models import ConstantDemand

POLICIES: dict[str, Callable[[], Policy]] = {
    "carbon-agnostic": CarbonAgnostic,
    "suspend-resume": lambda: SuspendResume(Threshold(percent=40.0, window_s=86400.0)),
    "suspend-resume, taken anew": lambda: SuspendResume(Threshold(percent=40.0, window_s=6 * 3600.0), 3 * 3600.0),
    "wait-and-scale": lambda: WaitAndScale(Threshold(fixed_g_per_kwh=200.0), 2.0),
    "battery-arbitrage": lambda: BatteryArbitrage(Threshold(percent=25.0), Threshold(percent=75.0)),
    "static-carbon-rate": lambda: StaticCarbonRate(1.0),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_gives_the_same_ledger_in_process_and_over_http(name: str) -> None:
    make, ticks = POLICIES[name], 36
    inside, outside = MemorySink(), MemorySink()
    Loop(small_site(make, sink=inside)).run(ticks)
    site = PlayedSite(small_site(sink=outside))
    with PlayedServer(site, lockstep=ticks) as server, connect(server.url, TOKEN) as app:
        assert drive(app, make(), ticks=ticks) == ticks
    assert repr(outside.rows("flows")) == repr(inside.rows("flows"))
    assert len(inside.rows("flows")) == 3 * ticks


class TestOverHttp(VirtualEnergyContract):
    def play(self, steps: Sequence[Step]) -> None:
        site = PlayedSite(small_site(workload=ConstantDemand(demand_w=8.0), grid_limit_w=100.0, sink=MemorySink()))
        left = iter(steps)
        with PlayedServer(site, lockstep=len(steps)) as server, connect(server.url, TOKEN) as app:
            app.on_tick(lambda energy, _: next(left)(energy))
            assert app.run(len(steps)) == len(steps)


def test_one_policy_follows_another() -> None:
    site = played_site()
    with PlayedServer(site, lockstep=6) as server, connect(server.url, TOKEN) as app:
        assert drive(app, StaticCarbonRate(1.0), ticks=3) == 3
        asked = len(server.paths("PATCH"))
        assert drive(app, CarbonAgnostic(), ticks=3) == 3
        assert len(server.paths("PATCH")) == asked == 6

"""The site that the benchmarks run: N tenants under one sun, one battery, one grid; built with the engine's own constructors."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.ports import Policy, TableSink
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.workloads.models import ConstantDemand

WATTS_PER_APP = 10.0
MINUTES_PER_DAY = 1440


def day_shapes(ticks: int, peak_w: float) -> tuple[array[float], array[float]]:
    """Solar power and carbon intensity over 1-minute ticks: smooth days, solar from 6 to 18 h."""
    day = [-math.cos(k / MINUTES_PER_DAY * 2 * math.pi) for k in range(MINUTES_PER_DAY)]
    solar = array("d", (peak_w * value if value > 0.0 else 0.0 for value in day))
    carbon = array("d", (260.0 - 120.0 * value + 20.0 * math.sin(k / 37.0) for k, value in enumerate(day)))
    days = -(-ticks // MINUTES_PER_DAY)
    return (solar * days)[:ticks], (carbon * days)[:ticks]


def site_of(
    apps: int, ticks: int, policies: list[Callable[[], Policy]], *, sink: TableSink | None = None, history_s: float = 0.0
) -> Site:
    """A site of ``apps`` tenants in as many groups as there are policies: sharing on, limits binding part of the day."""
    solar, carbon = day_shapes(ticks, WATTS_PER_APP * 1.5 * apps)
    battery = BatteryParameters(40.0 * apps, 0.3, 0.25, 1.0, 0.95, 0.95, 0.00003, 0.3)
    physical = PhysicalSite(
        battery=battery,
        server=ServerParameters(4.0, (1.35, 5.0)),
        grid_limit_w=WATTS_PER_APP * 1.4 * apps,
        solar_peak_w=max(solar),
        excess=("share", "curtail"),
    )
    signals = Signals(solar_w=solar, carbon_intensity_g_per_kwh=carbon)
    site = Site(physical, signals, start_s=0.0, tick_s=60.0, sink=sink, history_s=history_s, compiled=True)
    sizes = [apps // len(policies) + (1 if k < apps % len(policies) else 0) for k in range(len(policies))]
    share = 0.98 / apps
    site.join(
        *(
            AppSpec(
                name=f"app{k}",
                shares=AppShares(share, share, share, share),
                workload=ConstantDemand(demand_w=WATTS_PER_APP * (0.6 + 0.8 * k / max(1, len(policies) - 1))),
                policy=policy,
                count=size,
            )
            for k, (size, policy) in enumerate(zip(sizes, policies, strict=True))
        )
    )
    return site


def built_in_policies() -> list[Callable[[], Policy]]:
    """Carbon-agnostic, suspend-resume and battery arbitrage, a third of the apps each."""
    return [
        CarbonAgnostic,
        lambda: SuspendResume(Threshold(300.0)),
        lambda: BatteryArbitrage(Threshold(200.0), Threshold(320.0)),
    ]

"""A small simulated site: enough sun, storage and grid for every branch of the settlement, over in milliseconds."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence

from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.model.series import Quality, Series
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import ContainerWorkload, Policy, TableSink, Workload
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.workloads.models import BatchJob, ConstantDemand, Metered, TracedDemand

#: 2020-06-01T00:00Z.
START_S = 1_590_969_600.0
DAY_S = 86400.0
APP = "app"
NEIGHBOUR = "neighbour"

BATTERY = BatteryParameters(
    capacity_wh=200.0,
    empty_ratio=0.3,
    charge_c_rate=0.25,
    discharge_c_rate=1.0,
    charge_efficiency=0.95,
    discharge_efficiency=0.95,
    self_discharge_per_hour=0.0001,
    initial_ratio=0.0,
)
MICROSERVER = ServerParameters(4.0, (1.35, 5.0))


def solar_days_w(ticks: int, tick_s: float, peak_w: float = 60.0) -> list[float]:
    """A clear sky's rhythm: nothing at night, ``peak_w`` at noon. [W]"""
    return [max(0.0, peak_w * -math.cos(2.0 * math.pi * k * tick_s / DAY_S)) for k in range(ticks)]


def carbon_days_g_per_kwh(ticks: int, tick_s: float) -> list[float]:
    """An hourly intensity between 100 at noon and 300 at midnight. [g/kWh]"""
    return [200.0 + 100.0 * math.cos(2.0 * math.pi * (k * tick_s // 3600.0) / 24.0) for k in range(ticks)]


def small_site(
    policy: Callable[[], Policy] = CarbonAgnostic,
    workload: BatchJob | ConstantDemand | Metered | TracedDemand | Callable[[], Workload | ContainerWorkload] | None = None,
    *,
    days: float = 3.0,
    tick_s: float = 900.0,
    copies: int = 1,
    battery: BatteryParameters | None = BATTERY,
    solar_w: Sequence[float] | None = None,
    carbon_intensity_g_per_kwh: Sequence[float] | None = None,
    grid_limit_w: float = 40.0,
    sink: TableSink | None = None,
    compiled: bool | None = False,
) -> Site:
    """A site with the app ``app`` under a policy and workload, and ``neighbour`` with a constant demand of 5 W.

    Args:
        policy: makes the app's policy.
        workload: of the app; None: a batch job that takes about a day.
        days: length of the signals; run ``days·86400/tick_s`` ticks at most. [d]
        tick_s: length of a tick. [s]
        copies: of the app; they share half the site.
        battery: of the site, or None.
        solar_w: output of the array, one value a tick; None: a clear sky of 60 W. [W]
        carbon_intensity_g_per_kwh: one value a tick, NaN where unknown; None: 100 at noon to 300 at midnight. [g/kWh]
        grid_limit_w: largest import of the site. [W]
        sink: where tables go.
        compiled: see `engine.site.Site`.
    """
    ticks = round(days * DAY_S / tick_s)
    solar = array("d", solar_days_w(ticks, tick_s) if solar_w is None else solar_w)
    carbon = array("d", carbon_days_g_per_kwh(ticks, tick_s) if carbon_intensity_g_per_kwh is None else carbon_intensity_g_per_kwh)
    forecasters = {
        "carbon": PerfectForecaster(Series("carbon", "g/kWh", START_S, tick_s, carbon, Quality.MODELLED)),
        "solar": PerfectForecaster(Series("solar", "W", START_S, tick_s, solar, Quality.MODELLED)),
    }
    site = Site(
        PhysicalSite(battery=battery, server=MICROSERVER, grid_limit_w=grid_limit_w, solar_peak_w=max(solar, default=0.0)),
        Signals(solar_w=solar, carbon_intensity_g_per_kwh=carbon, forecasters=forecasters),
        start_s=START_S,
        tick_s=tick_s,
        sink=sink,
        compiled=compiled,
    )
    half = 0.5 / copies
    work = BatchJob(work_core_h=24.0 * 8.0, start_s=START_S) if workload is None else workload
    site.join(
        AppSpec(
            name=APP,
            shares=AppShares(half, half, half, half),
            workload=work,
            policy=policy,
            containers=2,
            cores=4.0,
            count=copies,
        )
    )
    site.join(AppSpec(name=NEIGHBOUR, shares=AppShares(0.25, 0.25, 0.25, 0.25), workload=ConstantDemand(demand_w=5.0), cores=4.0))
    return site

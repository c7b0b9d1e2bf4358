"""Small sites for tests of the engine: a builder, a sink that keeps rows, and an app whose demand a test sets tick by tick."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ecovisor.engine.loop import Loop
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import Block, ContainerWorkload, Event, Forecaster, Policy, VirtualEnergy, Workload
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.workloads.models import BatchJob, ConstantDemand, TracedDemand

INFINITY = math.inf
MICROSERVER = ServerParameters(4.0, (1.35, 5.0))
PAPER = BatteryParameters(1440.0, 0.3, 0.25, 1.0, 0.95, 0.95, 0.0, 0.2)
TICK_S = 300.0
HOURS = TICK_S / 3600.0

Rows = list[dict[str, Any]]


class Keep:
    """A sink that keeps every row, absent values as NaN."""

    def __init__(self) -> None:
        self.tables: dict[str, Rows] = {"flows": [], "site": [], "containers": []}
        self.events: list[Event] = []

    def write(self, block: Block) -> None:
        names = list(block.keys)
        width = len(block.keys[names[0]]) if names else 1
        rows = self.tables[block.table]
        columns = {name: [float(value) for value in values] for name, values in block.columns.items()}
        for k, time_s in enumerate(block.times_s):
            for r in range(width):
                row: dict[str, Any] = {"time": time_s}
                row |= {name: block.keys[name][r] for name in names}
                row |= {name: values[k * width + r] for name, values in columns.items()}
                rows.append(row)

    def write_event(self, event: Event) -> None:
        self.events.append(event)

    def clear(self) -> None:
        for rows in self.tables.values():
            rows.clear()

    def flows(self, app: str) -> Rows:
        return [row for row in self.tables["flows"] if row["app"] == app]

    def of(self, app: str, column: str) -> list[float]:
        return [row[column] for row in self.flows(app)]

    @property
    def site(self) -> Rows:
        return self.tables["site"]

    def containers(self, app: str, container: str | None = None) -> Rows:
        rows = self.tables["containers"]
        return [row for row in rows if row["app"] == app and container in (None, row["container"])]


class Scripted:
    """A policy made of a function ``(energy, app)``."""

    def __init__(self, act: Callable[[Any, Any], object]) -> None:
        self.act = act

    def tick(self, energy: VirtualEnergy, app: Any) -> None:
        self.act(energy, app)


def scripted(act: Callable[[Any, Any], object]) -> Callable[[], Policy]:
    return lambda: Scripted(act)


def shares(
    everything: float = 0.0,
    *,
    grid: float | None = None,
    solar: float | None = None,
    energy: float | None = None,
    power: float | None = None,
) -> AppShares:
    """The same part of everything, but for what is given."""
    return AppShares(*(everything if one is None else one for one in (grid, solar, energy, power)))


def app(
    name: str,
    everything: float = 0.0,
    *,
    demand_w: float = 0.0,
    workload: BatchJob | ConstantDemand | TracedDemand | Callable[[], Workload | ContainerWorkload] | None = None,
    policy: Callable[[], Policy] = CarbonAgnostic,
    containers: int = 1,
    cores: float = 4.0,
    count: int = 1,
    **parts: float,
) -> AppSpec:
    return AppSpec(
        name=name,
        shares=shares(everything, **parts),
        workload=workload or ConstantDemand(demand_w=demand_w),
        policy=policy,
        containers=containers,
        cores=cores,
        count=count,
    )


def site(
    *apps: AppSpec,
    ticks: int = 50,
    solar_w: float | Sequence[float] = 0.0,
    intensity: float | Sequence[float] = 100.0,
    price: Sequence[float] | None = None,
    battery: BatteryParameters | None = PAPER,
    server: ServerParameters = MICROSERVER,
    servers: int = 0,
    overhead_w: float = 0.0,
    grid_limit_w: float = INFINITY,
    export_limit_w: float = INFINITY,
    excess: Sequence[str] = ("curtail",),
    solar_peak_w: float | None = None,
    start_s: float = 0.0,
    tick_s: float = TICK_S,
    compiled: bool | None = False,
    sink: Any = None,
    traces: Mapping[str, tuple[array[float], bool]] | None = None,
    forecasters: Mapping[str, Forecaster] | None = None,
    distribute: bool = True,
    history_s: float = 7 * 86400.0,
) -> Site:
    """A site with its apps joined and the battery's initial level distributed."""
    sun = _series(solar_w, ticks)
    made = Site(
        PhysicalSite(
            battery=battery,
            server=server,
            servers=servers,
            overhead_w=overhead_w,
            grid_limit_w=grid_limit_w,
            export_limit_w=export_limit_w,
            excess=tuple(excess),
            solar_peak_w=max(sun, default=0.0) if solar_peak_w is None else solar_peak_w,
        ),
        Signals(
            solar_w=sun,
            carbon_intensity_g_per_kwh=_series(intensity, ticks),
            price_per_kwh=None if price is None else _series(price, ticks),
            traces=traces or {},
            forecasters=forecasters or {},
        ),
        start_s=start_s,
        tick_s=tick_s,
        sink=sink,
        compiled=compiled,
        history_s=history_s,
    )
    for spec in apps:
        made.join(spec)
    if distribute:
        made.begin()
    return made


def _series(values: float | Sequence[float], ticks: int) -> array[float]:
    if isinstance(values, (int, float)):
        return array("d", [float(values)]) * ticks
    wave = [float(value) for value in values]
    return array("d", (wave * (ticks // len(wave) + 1))[:ticks])


def run(made: Site, until_tick: int) -> Site:
    """Run to a tick, with a loop that stays with the site."""
    Loop(made).run(until_tick)
    return made


def demand(made: Site, name: str, power_w: float) -> None:
    """What a constant workload asks for from the next tick on."""
    handle: VirtualEnergySystem = made.app(name)
    handle.ask(power_w)


def close(a: float, b: float, scale: float = 1.0, tolerance: float = 1e-9) -> bool:
    return abs(a - b) <= tolerance * max(1.0, abs(a), abs(b), scale) or (a != a and b != b) or a == b


def replace_shares(spec: AppSpec, parts: AppShares) -> AppSpec:
    return dataclasses.replace(spec, shares=parts)

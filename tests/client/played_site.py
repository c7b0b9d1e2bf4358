"""A site of the engine behind the REST interface, moved by hand: what `played_server` serves."""

from __future__ import annotations

import math
from array import array
from typing import Any

from ecovisor import wire
from ecovisor.engine.loop import Loop
from ecovisor.engine.site import Site
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.model.units import iso_utc
from ecovisor.ports import ContainerInfo
from ecovisor.testing.sites import APP


def nullable(value: float) -> float | None:
    return value if math.isfinite(value) else None


class PlayedSite:
    """One app of a simulated site, as structs of the wire."""

    def __init__(self, site: Site, *, compression: float = 1800.0) -> None:
        self.site = site
        self.loop = Loop(site)
        self.loop.run(0)
        self.energy: VirtualEnergySystem = site.app(APP)
        self.tick = 0
        self.compression = compression
        self.metrics: dict[str, float] = {}

    def advance(self) -> None:
        """Run a tick."""
        self.energy.metrics = self.metrics
        self.tick += 1
        self.loop.run(self.tick)

    def column(self, name: str) -> float:
        return self.site.get(self.energy._index, name)

    def snapshot(self) -> wire.Snapshot:
        energy, column = self.energy, self.column
        intensity = nullable(energy.get_grid_carbon())
        return wire.Snapshot(
            app=APP,
            tick=self.tick,
            effective_tick=self.tick,
            time=iso_utc(energy.now_s),
            now_s=energy.now_s,
            tick_s=energy.tick_s,
            last_dt_s=energy.tick_s,
            wall_time=iso_utc(energy.now_s),
            compression=self.compression,
            timezone="UTC",
            solar=wire.SolarState(power_w=energy.get_solar_power(), quality="modelled", age_s=0.0),
            grid=wire.GridState(
                power_w=energy.get_grid_power(),
                limit_w=nullable(column("grid_limit_w")),
                carbon_intensity_g_per_kwh=intensity,
                price_per_kwh=None,
                quality="modelled",
                age_s=0.0,
            ),
            battery=wire.BatteryState(
                level_wh=energy.get_battery_charge_level(),
                capacity_wh=energy.battery_capacity_wh,
                charge_limit_w=energy.battery_charge_limit_w,
                discharge_limit_w=energy.battery_discharge_limit_w,
                charge_rate_w=column("charge_rate_w"),
                max_discharge_w=nullable(column("max_discharge_w")),
                charge_w=0.0,
                discharge_w=energy.get_battery_discharge_rate(),
                stored_carbon_g=column("stored_carbon_g"),
            ),
            load=self.load(),
            carbon=wire.CarbonState(
                total_g=energy.get_app_carbon(), on_use_total_g=0.0, unknown_wh=0.0, rate_g_per_h=None, budget=None
            ),
            containers=self.containers(),
            totals=wire.Energies(**dict.fromkeys(wire.Energies.__struct_fields__, 0.0)),
            progress=wire.Progress(work_done=column("work_done"), work_total=column("work_total"), metrics=dict(energy.metrics)),
            stale=[],
        )

    def load(self) -> wire.LoadState:
        energy = self.energy
        return wire.LoadState(
            power_w=energy.get_app_power(),
            idle_power_w=energy.idle_power_w,
            cap_w=nullable(self.column("app_cap_w")),
            scale_ratio=self.column("scale_ratio"),
            unserved_w=self.column("unserved_w"),
            overdraw_w=0.0,
            solar_w=self.column("solar_to_load_w"),
            battery_w=energy.get_battery_discharge_rate(),
            grid_w=self.column("grid_to_load_w"),
            quality="modelled",
        )

    def containers(self) -> list[wire.ContainerView]:
        return [_view(info) for info in self.energy.list_containers()]

    def usage(self, start_s: float, end_s: float, container: str | None) -> wire.Usage:
        energy = self.energy
        if container is None:
            load_wh, carbon_g = energy.get_app_energy(start_s, end_s), energy.get_app_carbon(start_s, end_s)
        else:
            load_wh = energy.get_container_energy(container, start_s, end_s)
            carbon_g = energy.get_container_carbon(container, start_s, end_s)
        return wire.Usage(
            app=APP,
            container=container,
            start=iso_utc(start_s),
            end=iso_utc(end_s),
            coverage_ratio=1.0,
            energies=None,
            load_wh=load_wh,
            carbon_g=0.0 if math.isnan(carbon_g) else carbon_g,
            carbon_on_use_g=None,
            unknown_carbon_wh=load_wh if math.isnan(carbon_g) else 0.0,
            cost=None,
            qualities={"modelled": 1.0},
            gaps=[],
        )

    def history(self, metric: str, start_s: float, end_s: float) -> wire.History:
        found = self.energy.history(metric, start_s, end_s)
        return wire.History(
            app=APP,
            metric=metric,
            unit=found.unit,
            start=iso_utc(found.start_s),
            start_s=found.start_s,
            end=iso_utc(found.end_s),
            step_s=found.step_s,
            values=_nulls(found.values),
            quality=str(found.quality),
            coverage_ratio=1.0,
        )

    def forecast(self, signal: str, horizon_s: float) -> wire.Forecast:
        found = self.energy.forecast(signal, horizon_s)
        return wire.Forecast(
            signal=signal,
            unit=found.unit,
            start=iso_utc(found.start_s),
            start_s=found.start_s,
            step_s=found.step_s,
            values=_nulls(found.values),
            quality=str(found.quality),
            origin=found.origin,
        )

    # -- settings

    def change_battery(self, asked: wire.ChangeBattery) -> dict[str, float | None]:
        in_force: dict[str, float | None] = {}
        if isinstance(asked.charge_rate_w, float):
            in_force["charge_rate_w"] = nullable(self.energy.set_battery_charge_rate(asked.charge_rate_w))
        if isinstance(asked.max_discharge_w, float | None):
            most_w = math.inf if asked.max_discharge_w is None else asked.max_discharge_w
            in_force["max_discharge_w"] = nullable(self.energy.set_battery_max_discharge(most_w))
        return in_force

    def change_app(self, asked: wire.ScaleApp) -> dict[str, float | None]:
        if isinstance(asked.scale_ratio, float):
            self.energy.scale_containers(asked.scale_ratio)
        if isinstance(asked.cap_w, float | None):
            self.energy.set_app_powercap(math.inf if asked.cap_w is None else asked.cap_w)
        return {}

    def change_container(self, container: str, asked: wire.ChangeContainer) -> dict[str, float | None]:
        in_force: dict[str, float | None] = {}
        if isinstance(asked.cores, float):
            self.energy.resize_container(container, asked.cores)
        if isinstance(asked.cap_w, float | None):
            cap_w = math.inf if asked.cap_w is None else asked.cap_w
            in_force["cap_w"] = nullable(self.energy.set_container_powercap(container, cap_w))
        if asked.running is True:
            self.energy.resume_container(container)
        if asked.running is False:
            self.energy.suspend_container(container)
        return in_force

    def answer(self, in_force: dict[str, float | None], asked: dict[str, Any] | None = None, **more: Any) -> wire.SettingAnswer:
        asked = asked or {}
        clipped = {
            name: "the app's charge limit"
            for name, value in in_force.items()
            if value is not None and asked.get(name) is not None and value < asked[name]
        }
        return wire.SettingAnswer(effective_tick=self.tick, asked=asked, in_force=in_force, clipped=clipped, **more)


def _view(info: ContainerInfo) -> wire.ContainerView:
    return wire.ContainerView(
        id=info.id,
        state="running" if info.running else "suspended",
        cores=info.cores,
        power_w=info.power_w,
        cap_w=nullable(info.cap_w),
        floor_w=0.0,
        command="",
        exit_code=None,
        carbon_rate_g_per_h=None,
        quality="modelled",
    )


def _nulls(values: array[float]) -> list[float | None]:
    return [nullable(value) for value in values]

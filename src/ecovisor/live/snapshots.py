"""The snapshot of a tick: what all apps may know, copied from the engine's columns once, put into JSON for those who ask.

Copying is a few list slices for any number of apps; an app's JSON is made when it is first asked for and kept until the next tick or until
the app changes a setting. So a tick of ten thousand apps costs what its readers read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ecovisor import wire
from ecovisor.api.backend import Published
from ecovisor.engine.site import Site
from ecovisor.engine.specification import SITE_APP
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.model.errors import SettingRefused, UnknownApp
from ecovisor.model.units import iso_utc
from ecovisor.ports.live import ContainerState

INFINITY = float("inf")

#: Columns that a snapshot shows.
COLUMNS = (
    "buffer_wh",
    "grid_to_load_w",
    "grid_to_battery_w",
    "grid_limit_w",
    "battery_level_wh",
    "capacity_wh",
    "charge_limit_w",
    "discharge_limit_w",
    "charge_rate_w",
    "max_discharge_w",
    "solar_to_load_w",
    "solar_to_battery_w",
    "received_w",
    "battery_discharge_w",
    "stored_carbon_g",
    "demand_w",
    "unserved_w",
    "overdraw_w",
    "app_cap_w",
    "ceiling_w",
    "scale_ratio",
    "carbon_g",
    "carbon_total_g",
    "carbon_on_use_total_g",
    "unknown_carbon_total_wh",
    "work_done",
    "work_total",
    "solar_to_load_total_wh",
    "solar_to_battery_total_wh",
    "battery_discharge_total_wh",
    "grid_to_load_total_wh",
    "grid_to_battery_total_wh",
    "received_total_wh",
    "shared_total_wh",
    "exported_total_wh",
    "curtailed_total_wh",
    "unserved_total_wh",
    "overdraw_total_wh",
    "metered",
)
#: Of these, what an app may change between two ticks.
_SETTINGS = ("charge_rate_w", "max_discharge_w", "app_cap_w", "ceiling_w", "scale_ratio", "grid_limit_w", "work_done", "work_total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What all snapshots of a tick have in common."""

    tick: int
    now_s: float
    tick_s: float
    last_dt_s: float
    wall_s: float
    compression: float
    timezone: str
    intensity_g_per_kwh: float
    price_per_kwh: float | None
    carbon: wire.SourceState
    solar: wire.SourceState
    load_quality: Mapping[str, str]
    """By app, of those whose quality is not `modelled`."""
    container_w: Mapping[str, Mapping[str, float]]
    """What was metered of real containers, by app and container. [W]"""
    stale: Sequence[wire.SourceState]
    site: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the site's own snapshot."""


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What only the platform knows of a container."""

    state: str
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class Frozen:
    """A copy of what a tick's snapshots are made of."""

    moment: Moment
    columns: dict[str, list[float]]
    number: dict[str, int]
    """By app, `_site` last."""


class Snapshots:
    """The snapshots of the newest published tick.

    Args:
        site: its columns, and its apps' handles.
        facts: what the platform says of an app's container; None for simulated ones.
        budget: an app's budget as it stands.
        effective_tick: which tick a setting made now governs.
    """

    def __init__(
        self,
        site: Site,
        facts: Callable[[str, str], ContainerFacts | None],
        budget: Callable[[VirtualEnergySystem], wire.BudgetState | None],
        effective_tick: Callable[[], int],
    ) -> None:
        self._site = site
        self._facts = facts
        self._budget = budget
        self._effective_tick = effective_tick
        self._moment: Moment | None = None
        self._columns: dict[str, list[float]] = {}
        self._number: dict[str, int] = {}
        self._apps: dict[str, Published] = {}
        self._whole: Published | None = None
        self._encoder = msgspec.json.Encoder()

    @property
    def tick(self) -> int:
        """The newest published tick; -1 before the first."""
        return -1 if self._moment is None else self._moment.tick

    @property
    def names(self) -> list[str]:
        """All apps, `_site` last."""
        return list(self._number)

    def freeze(self, moment: Moment) -> Frozen:
        """Copy the engine's columns."""
        site = self._site
        columns = {name: site.everyone(name) for name in COLUMNS}
        return Frozen(moment, columns, {name: k for k, name in enumerate(site.app_names)})

    def publish(self, frozen: Frozen) -> None:
        """Show a tick from now on."""
        self._moment, self._columns, self._number = frozen.moment, frozen.columns, frozen.number
        self.forget_all()

    def changed(self, app: str) -> None:
        """An app has changed its settings, or told of its progress: show it."""
        number = self._number.get(app)
        present = self._site.app_names
        if number is not None and app in present:  # by its number of now: others may have left since the tick
            now = present.index(app)
            for name in _SETTINGS:
                self._columns[name][number] = self._site.get(now, name)
        self._apps.pop(app, None)
        self._whole = None

    def forget_all(self) -> None:
        """Settings govern another tick from now on: make all JSON anew."""
        self._apps.clear()
        self._whole = None

    # -- what readers get

    def app(self, name: str) -> Published:
        """An app's snapshot as JSON.

        Raises:
            UnknownApp: no such app in this tick.
        """
        known = self._apps.get(name)
        if known is None:
            known = self._apps[name] = self._published(self.snapshot(name))
        return known

    def whole(self) -> Published:
        """The site's snapshot as JSON."""
        if self._whole is None:
            self._whole = self._published(self.site_snapshot())
        return self._whole

    def site_snapshot(self) -> wire.SiteSnapshot:
        """The site's snapshot. An app that has left since the tick is no longer in it."""
        moment, there = self._now(), set(self._site.app_names)
        return wire.SiteSnapshot(
            tick=moment.tick,
            time=iso_utc(moment.now_s),
            now_s=moment.now_s,
            tick_s=moment.tick_s,
            wall_time=iso_utc(moment.wall_s),
            compression=moment.compression,
            timezone=moment.timezone,
            carbon_intensity_g_per_kwh=_known(moment.intensity_g_per_kwh),
            apps=[self.snapshot(name) for name in self._number if name in there],
            **moment.site,
        )

    def snapshot(self, name: str) -> wire.Snapshot:
        """An app's snapshot.

        Raises:
            UnknownApp: no such app in this tick.
        """
        moment = self._now()
        number = self._number.get(name)
        if number is None:
            raise UnknownApp(f"app {name!r} does not exist")
        row = {column: values[number] for column, values in self._columns.items()}
        hours_h = moment.tick_s / 3600.0
        last_h = moment.last_dt_s / 3600.0
        try:
            energy = self._site.app(name)
        except SettingRefused:
            raise UnknownApp(f"app {name!r} has left") from None
        served_w = row["demand_w"] - row["unserved_w"]
        charge_w = row["solar_to_battery_w"] + row["grid_to_battery_w"] + row["received_w"]
        return wire.Snapshot(
            app=name,
            tick=moment.tick,
            effective_tick=self._effective_tick(),
            time=iso_utc(moment.now_s),
            now_s=moment.now_s,
            tick_s=moment.tick_s,
            last_dt_s=moment.last_dt_s,
            wall_time=iso_utc(moment.wall_s),
            compression=moment.compression,
            timezone=moment.timezone,
            solar=wire.SolarState(power_w=row["buffer_wh"] / hours_h, quality=moment.solar.quality, age_s=moment.solar.age_s),
            grid=wire.GridState(
                power_w=row["grid_to_load_w"] + row["grid_to_battery_w"],
                limit_w=_limited(row["grid_limit_w"]),
                carbon_intensity_g_per_kwh=_known(moment.intensity_g_per_kwh),
                price_per_kwh=moment.price_per_kwh,
                quality=moment.carbon.quality,
                age_s=moment.carbon.age_s,
            ),
            battery=wire.BatteryState(
                level_wh=row["battery_level_wh"],
                capacity_wh=row["capacity_wh"],
                charge_limit_w=row["charge_limit_w"],
                discharge_limit_w=row["discharge_limit_w"],
                charge_rate_w=row["charge_rate_w"],
                max_discharge_w=_limited(row["max_discharge_w"]),
                charge_w=charge_w,
                discharge_w=row["battery_discharge_w"],
                stored_carbon_g=row["stored_carbon_g"],
            ),
            load=wire.LoadState(
                power_w=served_w,
                idle_power_w=energy.idle_power_w,
                cap_w=_limited(min(row["app_cap_w"], row["ceiling_w"])),
                scale_ratio=row["scale_ratio"],
                unserved_w=row["unserved_w"],
                overdraw_w=row["overdraw_w"],
                solar_w=row["solar_to_load_w"],
                battery_w=row["battery_discharge_w"],
                grid_w=row["grid_to_load_w"],
                quality=moment.load_quality.get(name, "modelled"),
            ),
            carbon=wire.CarbonState(
                total_g=row["carbon_total_g"],
                on_use_total_g=row["carbon_on_use_total_g"],
                unknown_wh=row["unknown_carbon_total_wh"],
                rate_g_per_h=_known(row["carbon_g"] / last_h),
                budget=self._budget(energy),
            ),
            containers=[] if name == SITE_APP else self._containers(name, energy, moment, served_w),
            totals=_energies(row),
            progress=wire.Progress(work_done=row["work_done"], work_total=row["work_total"], metrics=dict(energy.metrics)),
            stale=list(moment.stale),
        )

    def _containers(self, app: str, energy: VirtualEnergySystem, moment: Moment, served_w: float) -> list[wire.ContainerView]:
        metered = moment.container_w.get(app)
        quality = moment.load_quality.get(app, "modelled")
        views = []
        wanted = {one.id: one for one in energy.containers.wanted()}
        for info in energy.containers.list(served_w):
            one, facts = wanted[info.id], self._facts(app, info.id)
            simulated = ContainerState.RUNNING if one.running else ContainerState.SUSPENDED
            views.append(
                wire.ContainerView(
                    id=info.id,
                    state=str(simulated) if facts is None else facts.state,
                    cores=info.cores,
                    power_w=info.power_w if metered is None else metered.get(info.id, 0.0),
                    cap_w=_limited(info.cap_w),
                    floor_w=one.floor_w,
                    command=one.command,
                    exit_code=None if facts is None else facts.exit_code,
                    carbon_rate_g_per_h=energy.carbon_rates.get(info.id),
                    quality=quality,
                )
            )
        return views

    def _now(self) -> Moment:
        if self._moment is None:
            raise AssertionError("nothing has been published")
        return self._moment

    def _published(self, snapshot: wire.Snapshot | wire.SiteSnapshot) -> Published:
        body = self._encoder.encode(snapshot)
        digest = hashlib.blake2b(body, digest_size=8).hexdigest()
        return Published(body, f'"{snapshot.tick}-{digest}"', snapshot.tick)


def _energies(row: Mapping[str, float]) -> wire.Energies:
    battery_wh = row["battery_discharge_total_wh"]
    return wire.Energies(
        load_wh=row["solar_to_load_total_wh"] + battery_wh + row["grid_to_load_total_wh"],
        solar_to_load_wh=row["solar_to_load_total_wh"],
        battery_to_load_wh=battery_wh,
        grid_to_load_wh=row["grid_to_load_total_wh"],
        solar_to_battery_wh=row["solar_to_battery_total_wh"],
        grid_to_battery_wh=row["grid_to_battery_total_wh"],
        received_wh=row["received_total_wh"],
        shared_wh=row["shared_total_wh"],
        exported_wh=row["exported_total_wh"],
        curtailed_wh=row["curtailed_total_wh"],
        unserved_wh=row["unserved_total_wh"],
        overdraw_wh=row["overdraw_total_wh"],
    )


def _limited(value: float) -> float | None:
    """None for infinite."""
    return value if value < INFINITY else None


def _known(value: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(value) else value

"""A site that is played: plausible days of apps, sun and batteries in memory, and a server that answers as the real one does.

Tests move it tick by tick, break it (a late tick, a gap, a stale source, a server that goes away) and compare what people see with what
it says. `played_server` puts it behind the REST interface.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from ecovisor import wire
from ecovisor.model.units import iso_utc
from ecovisor.physics.settlement import settle

START_S = 1_591_020_000.0  # 2020-06-01T14:00:00Z, 7 o'clock in Los Angeles
WALL_S = 1_790_000_000.0
OPERATOR_TOKEN = "operator-secret"
_FLOWS = (
    "solar_to_load_w",
    "solar_to_battery_w",
    "battery_discharge_w",
    "grid_to_load_w",
    "grid_to_battery_w",
    "unserved_w",
    "curtailed_w",
    "self_discharge_wh",
    "drawn_wh",
    "battery_level_wh",
)
_UNITS = {"_wh": "Wh", "_g_per_kwh": "g/kWh", "_g": "g", "_w": "W"}
_LEVELS = ("battery_level_wh", "capacity_wh", "stored_carbon_g", "carbon_intensity_g_per_kwh")


def token_of(app: str) -> str:
    """The app's token."""
    return f"secret-of-{app}"


@dataclass
class PlayedSite:
    """Apps that share 400 W of sun and a battery of 1,000 Wh, each with a rhythm of its own; everything follows from the tick."""

    names: Sequence[str] = ("render", "train", "web")
    tick_s: float = 300.0
    past_ticks: int = 288
    containers: int = 2
    compression: float = 60.0
    wall_s: float = WALL_S
    """When the first tick after the past was published."""
    commands: Sequence[str] = ("encode --fast",)
    tick: int = 0
    now_s: float = START_S
    sun_ratio: float = 1.0
    late_ticks: int = 0
    gaps: int = 0
    missing: set[int] = field(default_factory=set)
    """Ticks that nobody metered."""
    sources: dict[str, wire.SourceState] = field(default_factory=dict)
    rows: list[dict[str, dict[str, float]]] = field(default_factory=list)
    """By tick and app: the columns of `flows`."""
    starts_s: list[float] = field(default_factory=list)
    events: list[wire.Notification] = field(default_factory=list)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    carbon_known: bool = True
    state: str = "running"
    """Of the containers that are not suspended."""

    def __post_init__(self) -> None:
        self._lock = threading.RLock()
        self._numbers = 0
        for name, detail in {"plant": "emulated, 400 W array, 1000 Wh", "carbon": "played trace", "node meter": "modelled"}.items():
            self.sources[name] = wire.SourceState(name=name, quality="modelled", age_s=0.4, detail=detail)
        self.now_s = START_S - self.past_ticks * self.tick_s
        for _ in range(self.past_ticks):
            self.advance()

    @property
    def apps(self) -> list[str]:
        """All apps, `_site` last."""
        return [*self.names, "_site"]

    def intensity(self, time_s: float) -> float:
        """A duck curve. [g/kWh]"""
        hour = (time_s / 3600.0 - 7.0) % 24.0
        return 260.0 - 110.0 * math.exp(-(((hour - 13.0) / 3.5) ** 2)) + 60.0 * math.exp(-(((hour - 20.0) / 1.8) ** 2))

    def sun(self, time_s: float) -> float:
        """A clear day with one cloud. [W]"""
        hour = (time_s / 3600.0 - 7.0) % 24.0
        cloud = 1.0 - 0.5 * math.exp(-(((hour - 15.0) / 0.4) ** 2))
        return max(400.0 * math.sin(math.pi * (hour - 6.0) / 13.0), 0.0) * cloud * self.sun_ratio if 6.0 < hour < 19.0 else 0.0

    def advance(self, ticks: int = 1, dt_s: float | None = None, *, gap: bool = False) -> None:
        """Go on by whole ticks, the last of which may have been late or not metered."""
        with self._lock:
            for _ in range(ticks):
                self._one(dt_s or self.tick_s, gap)
            if dt_s is not None and not gap:
                self.late_ticks += 1
                self._tell("late", "_site", f"the tick took {dt_s:g} s")

    def _one(self, dt_s: float, gap: bool) -> None:
        if gap:
            self.missing.add(self.tick)
            self.gaps += 1
        row = {app: self._settled(app, k, dt_s) for k, app in enumerate(self.apps)}
        self.rows.append(row)
        self.starts_s.append(self.now_s)
        self.now_s += dt_s
        self.tick += 1
        for app in self.apps:
            self._tell("tick", app, "", number=0)
        for app in self.apps:
            if row[app]["battery_level_wh"] == row[app]["capacity_wh"] > self._before(app, "battery_level_wh", 2):
                self._tell("battery_full", app, "", value=row[app]["battery_level_wh"])

    def _before(self, app: str, column: str, ticks: int) -> float:
        return self.rows[-ticks][app][column] if len(self.rows) >= ticks else 0.0

    def _settled(self, app: str, k: int, dt_s: float) -> dict[str, float]:
        count = len(self.apps)
        hour = self.now_s / 3600.0
        weight = 1.0 if app == "_site" else 6.0 / (1.0 + 0.5 * k)
        total = sum(6.0 / (1.0 + 0.5 * j) for j in range(count - 1)) + 1.0
        demand_w = 260.0 * weight / total * (1.0 + 0.35 * math.sin(hour / 2.1 + 1.7 * k) + 0.1 * math.sin(hour * 1.3 + k))
        capacity_wh = 1000.0 / count
        charge_rate_w = 60.0 / count if k % 3 == 2 and self.intensity(self.now_s) < 200.0 else 0.0
        max_discharge_w = math.inf if k % 2 == 0 else 25.0 / count
        solar_w = self.sun(self.now_s) / count
        flows = settle(
            demand_w, solar_w, self._before(app, "battery_level_wh", 1), capacity_wh, charge_rate_w, max_discharge_w,
            250.0 / count, 350.0 / count, math.inf, 0.96, 0.96, 0.0, dt_s / 3600.0,
        )  # fmt: skip
        row = dict(zip(_FLOWS, flows, strict=True))
        intensity = self.intensity(self.now_s) if self.carbon_known else math.nan
        imported_w = row["grid_to_load_w"] + row["grid_to_battery_w"]
        row |= {
            "dt_s": dt_s, "demand_w": demand_w, "solar_w": solar_w, "capacity_wh": capacity_wh, "exported_w": 0.0, "shared_w": 0.0,
            "received_w": 0.0, "overdraw_w": 0.0, "carbon_intensity_g_per_kwh": intensity,
            "carbon_g": imported_w * dt_s / 3.6e6 * intensity, "charge_rate_setting_w": charge_rate_w,
            "max_discharge_setting_w": max_discharge_w, "stored_carbon_g": 0.0,
        }  # fmt: skip
        return row

    def _tell(self, kind: str, app: str, detail: str, *, value: float | None = None, number: int = 1) -> None:
        self._numbers = 0 if number == 0 else self._numbers + 1
        self.events.append(
            wire.Notification(
                id=f"{self.tick - 1}.{self._numbers}",
                kind=kind,
                app=app,
                tick=self.tick,
                time=iso_utc(self.now_s),
                wall_time=self.wall_time(),
                value=value,
                detail=detail,
            )
        )

    def wall_time(self) -> str:
        """When the coming tick was published."""
        return iso_utc(self.wall_s + (self.now_s - START_S) / self.compression)

    def total(self, app: str, column: str) -> float:
        """Energy, or amount, since the start; NaN counts as nothing."""
        values = ((row[app][column], row[app]["dt_s"] / 3600.0) for row in self.rows)
        return sum((value * hours if column.endswith("_w") else value) for value, hours in values if value == value)

    # -- answers

    def snapshot(self, app: str) -> wire.Snapshot:
        """`GET /v1/energy`."""
        with self._lock:
            return self._snapshot(app)

    def _snapshot(self, app: str) -> wire.Snapshot:
        row, k = self.rows[-1][app], self.apps.index(app)
        count = len(self.apps)
        discharge_w = row["max_discharge_setting_w"]
        carbon_g, dt_s = row["carbon_g"], row["dt_s"]
        carbon = self.sources["carbon"]
        energies = {name + "_wh": self.total(app, name + "_w") for name in (
            "solar_to_load", "grid_to_load", "solar_to_battery", "grid_to_battery", "received", "shared", "exported", "curtailed",
            "unserved", "overdraw")}  # fmt: skip
        energies["battery_to_load_wh"] = self.total(app, "battery_discharge_w")
        energies["load_wh"] = self.total(app, "demand_w") - energies["unserved_wh"]
        intensity = self.intensity(self.now_s) if self.carbon_known else None
        spent_g = self.total(app, "carbon_g")
        return wire.Snapshot(
            app=app, tick=self.tick, effective_tick=self.tick, time=iso_utc(self.now_s), now_s=self.now_s, tick_s=self.tick_s,
            last_dt_s=dt_s, wall_time=self.wall_time(), compression=self.compression, timezone="America/Los_Angeles",
            solar=wire.SolarState(power_w=self.sun(self.now_s) / count, quality="modelled", age_s=0.4),
            grid=wire.GridState(
                power_w=row["grid_to_load_w"] + row["grid_to_battery_w"], limit_w=None, carbon_intensity_g_per_kwh=intensity,
                price_per_kwh=None, quality=carbon.quality, age_s=carbon.age_s,
            ),
            battery=wire.BatteryState(
                level_wh=row["battery_level_wh"], capacity_wh=row["capacity_wh"], charge_limit_w=250.0 / count,
                discharge_limit_w=350.0 / count, charge_rate_w=row["charge_rate_setting_w"],
                max_discharge_w=None if math.isinf(discharge_w) else discharge_w,
                charge_w=row["solar_to_battery_w"] + row["grid_to_battery_w"] + row["received_w"],
                discharge_w=row["battery_discharge_w"], stored_carbon_g=0.0,
            ),
            load=wire.LoadState(
                power_w=row["demand_w"], idle_power_w=2.7, cap_w=None, scale_ratio=1.0, unserved_w=row["unserved_w"], overdraw_w=0.0,
                solar_w=row["solar_to_load_w"], battery_w=row["battery_discharge_w"], grid_w=row["grid_to_load_w"], quality="modelled",
            ),
            carbon=wire.CarbonState(
                total_g=spent_g, on_use_total_g=spent_g, unknown_wh=0.0,
                rate_g_per_h=None if math.isnan(carbon_g) else carbon_g * 3600.0 / dt_s,
                budget=wire.BudgetState(budget_g=400.0, spent_g=spent_g, remaining_g=max(400.0 - spent_g, 0.0), exhausted_s=None,
                                        enforced=True) if k == 1 and app != "_site" else None,
            ),
            containers=self._containers(app, k, row["demand_w"]),
            totals=wire.Energies(**energies),
            progress=wire.Progress(
                work_done=0.02 * self.tick * (k + 1), work_total=0.0 if k == 2 else 40.0, metrics=self.metrics.get(app, {"queue": 3.0})
            ),
            stale=[source for source in self.sources.values() if source.quality in {"stale", "missing"}],
        )  # fmt: skip

    def _containers(self, app: str, k: int, power_w: float) -> list[wire.ContainerView]:
        if app == "_site":
            return []
        views = []
        for c in range(self.containers):
            suspended = k == 1 and c == self.containers - 1
            share = power_w * (2 * (self.containers - c)) / (self.containers * (self.containers + 1))
            cap_w = None if c else math.ceil(share / 5.0 + 0.01) * 5.0
            views.append(
                wire.ContainerView(
                    id=f"c{c}", state="suspended" if suspended else self.state, cores=1.0 + c, power_w=0.0 if suspended else share,
                    cap_w=cap_w, floor_w=1.35, command=self.commands[k % len(self.commands)], exit_code=None, carbon_rate_g_per_h=None,
                    quality="modelled",
                )
            )  # fmt: skip
        return views

    def site_snapshot(self) -> wire.SiteSnapshot:
        """`GET /v1/admin/site`."""
        with self._lock:
            rows = self.rows[-1]
            both = {name: sum(row[name] for row in rows.values()) for name in next(iter(rows.values()))}
            charge_w, discharge_w = both["solar_to_battery_w"] + both["grid_to_battery_w"], both["battery_discharge_w"]
            return wire.SiteSnapshot(
                site="edge-site", timezone="America/Los_Angeles", tick=self.tick, time=iso_utc(self.now_s), now_s=self.now_s,
                tick_s=self.tick_s, wall_time=self.wall_time(), compression=self.compression, solar_w=self.sun(self.starts_s[-1]),
                import_w=both["grid_to_load_w"] + both["grid_to_battery_w"], export_w=0.0,
                battery_charge_w=max(charge_w - discharge_w, 0.0), battery_discharge_w=max(discharge_w - charge_w, 0.0),
                battery_level_wh=both["battery_level_wh"] + 12.0, battery_capacity_wh=both["capacity_wh"] + 30.0, buffer_wh=12.0,
                node_power_w=both["demand_w"], curtailed_w=both["curtailed_w"],
                carbon_intensity_g_per_kwh=self.intensity(self.now_s) if self.carbon_known else None, residual_wh=3.2e-10,
                late_ticks=self.late_ticks, gaps=self.gaps, sun_ratio=self.sun_ratio, platform="process (cgroup-v1)",
                sources=list(self.sources.values()), emulated=True, apps=[self._snapshot(app) for app in self.apps],
            )  # fmt: skip

    def history(self, app: str, metric: str, start_s: float, end_s: float, step_s: float | None) -> wire.History:
        """`GET /v1/history`: means of power, last of levels, sums of amounts; null where nothing is known."""
        with self._lock:
            step = max(step_s or self.tick_s, self.tick_s)
            first_s = math.floor(start_s / step) * step
            count = max(math.ceil((end_s - first_s) / step), 0)
            found: list[list[float]] = [[] for _ in range(count)]
            for tick, (at_s, row) in enumerate(zip(self.starts_s, self.rows, strict=True)):
                value = row[app][metric]
                place = int((at_s - first_s) // step)
                if 0 <= place < count and tick not in self.missing and math.isfinite(value):
                    found[place].append(value)
            return wire.History(
                app=app, metric=metric, unit=next(unit for suffix, unit in _UNITS.items() if metric.endswith(suffix)),
                start=iso_utc(first_s), start_s=first_s, end=iso_utc(first_s + count * step), step_s=step,
                values=[_together(metric, values) for values in found], quality="modelled",
                coverage_ratio=sum(map(bool, found)) / max(count, 1),
            )  # fmt: skip

    def forecast(self, signal: str, app: str | None, horizon_s: float) -> wire.Forecast:
        """`GET /v1/forecast/…`."""
        with self._lock:
            times = [self.now_s + 900.0 * k for k in range(int(horizon_s // 900.0))]
            share = 1.0 if app is None else 1.0 / len(self.apps)
            values = [self.intensity(t) + 8.0 if signal == "carbon" else 0.95 * share * self.sun(t) for t in times]
            return wire.Forecast(
                signal=signal, unit="g/kWh" if signal == "carbon" else "W", start=iso_utc(self.now_s), start_s=self.now_s, step_s=900.0,
                values=[*values], quality="forecast", origin="played",
            )  # fmt: skip

    def usage(self, app: str, start_s: float, end_s: float) -> wire.Usage:
        """`GET /v1/usage`, over all that is known."""
        shot = self.snapshot(app)
        return wire.Usage(
            app=app, container=None, start=iso_utc(start_s), end=iso_utc(end_s), coverage_ratio=1.0, energies=shot.totals,
            load_wh=shot.totals.load_wh, carbon_g=shot.carbon.total_g, carbon_on_use_g=shot.carbon.on_use_total_g,
            unknown_carbon_wh=0.0, cost=None, qualities={"modelled": 1.0}, gaps=[],
        )  # fmt: skip


def _together(metric: str, values: Sequence[float]) -> float | None:
    if not values:
        return None
    if metric in _LEVELS:
        return values[-1]
    return math.fsum(values) / (len(values) if metric.endswith("_w") else 1)

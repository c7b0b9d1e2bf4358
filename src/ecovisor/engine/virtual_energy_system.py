"""The handle that a policy drives its app by, in process: `ports.VirtualEnergy` on the columns of a tile.

Getters and setters are an index into a column, so that a policy for each of a thousand apps costs microseconds a tick. What is built on
them (Table 2, budgets, notifications) is in `library`; who owns the columns is `arrangement`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableSequence, Sequence

from ecovisor.engine.containers import Containers
from ecovisor.engine.host import Host
from ecovisor.engine.saved_settings import AppSettings
from ecovisor.library.budgets import CarbonBudget, rate_ceiling_w
from ecovisor.library.intervals import energy_wh
from ecovisor.library.notifications import Notifier, Subscriptions
from ecovisor.model.errors import SettingRefused
from ecovisor.model.series import Series
from ecovisor.ports import ContainerInfo

INFINITY = float("inf")

_COLUMNS = (
    "buffer_wh",
    "battery_level_wh",
    "capacity_wh",
    "grid_to_load_w",
    "grid_to_battery_w",
    "battery_discharge_w",
    "charge_rate_w",
    "max_discharge_w",
    "charge_limit_w",
    "discharge_limit_w",
    "demand_w",
    "unserved_w",
    "scale_ratio",
    "app_cap_w",
    "ceiling_w",
    "grid_limit_w",
    "grid_share_limit_w",
    "work_done",
    "work_total",
    "completed_s",
    "carbon_total_g",
    "cores",
    "asked_w",
)


class Now:
    """What every app of a site knows of the coming tick; the loop's callback keeps it current."""

    __slots__ = ("enforcing", "hours_h", "intensity_g_per_kwh", "start_s", "tick", "tick_s")

    def __init__(self, start_s: float, tick_s: float) -> None:
        self.tick = 0
        self.start_s = start_s
        self.tick_s = tick_s
        self.hours_h = tick_s / 3600.0
        self.intensity_g_per_kwh = float("nan")
        self.enforcing = True  # carbon budgets and rates limit the apps; else they are only accounted

    @property
    def now_s(self) -> float:
        """Start of the coming tick. [s since the epoch]"""
        return self.start_s + self.tick * self.tick_s


class VirtualEnergySystem:
    """One app's virtual grid connection, solar array and battery; see `ports.VirtualEnergy` for what each function means."""

    __slots__ = (
        *(f"_{name}" for name in _COLUMNS),
        "_budget",
        "_containers",
        "_i",
        "_index",
        "_now",
        "_rates",
        "_site",
        "_subscriptions",
        "_tile",
        "metrics",
        "name",
        "work_unit",
    )

    _buffer_wh: MutableSequence[float]
    _battery_level_wh: MutableSequence[float]
    _capacity_wh: MutableSequence[float]
    _grid_to_load_w: MutableSequence[float]
    _grid_to_battery_w: MutableSequence[float]
    _battery_discharge_w: MutableSequence[float]
    _charge_rate_w: MutableSequence[float]
    _max_discharge_w: MutableSequence[float]
    _charge_limit_w: MutableSequence[float]
    _discharge_limit_w: MutableSequence[float]
    _demand_w: MutableSequence[float]
    _unserved_w: MutableSequence[float]
    _scale_ratio: MutableSequence[float]
    _app_cap_w: MutableSequence[float]
    _ceiling_w: MutableSequence[float]
    _grid_limit_w: MutableSequence[float]
    _grid_share_limit_w: MutableSequence[float]
    _work_done: MutableSequence[float]
    _work_total: MutableSequence[float]
    _completed_s: MutableSequence[float]
    _carbon_total_g: MutableSequence[float]
    _cores: MutableSequence[float]
    _asked_w: MutableSequence[float]

    def __init__(self, site: Host, index: int, name: str, now: Now) -> None:
        self.name = name
        self.metrics: Mapping[str, float] = {}
        self.work_unit: str | None = None
        self._site = site
        self._index = index
        self._now = now
        self._subscriptions: Subscriptions | None = None
        self._budget: CarbonBudget | None = None
        self._rates: dict[str, float] = {}
        self._containers = Containers(site, index)
        self.bind(index)

    def bind(self, index: int) -> None:
        """Point at the app's columns, anew after apps have come or gone."""
        tile, self._i = self._site.place(index)
        self._tile = tile
        self._index = index
        for name in _COLUMNS:
            setattr(self, f"_{name}", self._site.memory.column(tile, name))
        self._containers.bind(index)

    # -- where and when

    @property
    def effective_tick(self) -> int:
        return self._now.tick

    @property
    def now_s(self) -> float:
        return self._now.now_s

    @property
    def tick_s(self) -> float:
        return self._now.tick_s

    # -- Table 1

    def get_solar_power(self) -> float:
        return self._buffer_wh[self._i] / self._now.hours_h

    def get_grid_power(self) -> float:
        i = self._i
        return self._grid_to_load_w[i] + self._grid_to_battery_w[i]

    def get_grid_carbon(self) -> float:
        return self._now.intensity_g_per_kwh

    def get_battery_discharge_rate(self) -> float:
        return self._battery_discharge_w[self._i]

    def get_battery_charge_level(self) -> float:
        return self._battery_level_wh[self._i]

    def set_battery_charge_rate(self, charge_rate_w: float) -> float:
        if not 0.0 <= charge_rate_w < INFINITY:
            raise SettingRefused(f"set_battery_charge_rate: {charge_rate_w!r} W; give a finite power of at least 0")
        i = self._i
        self._charge_rate_w[i] = charge_rate_w
        limit_w = self._charge_limit_w[i]
        return charge_rate_w if charge_rate_w < limit_w else limit_w

    def set_battery_max_discharge(self, max_discharge_w: float) -> float:
        if not max_discharge_w >= 0.0:
            raise SettingRefused(f"set_battery_max_discharge: {max_discharge_w!r} W; give a power of at least 0")
        i = self._i
        self._max_discharge_w[i] = max_discharge_w
        limit_w = self._discharge_limit_w[i]
        return max_discharge_w if max_discharge_w < limit_w else limit_w

    def set_container_powercap(self, container_id: str, cap_w: float) -> float:
        return self._containers.set_cap_w(container_id, cap_w)

    def get_container_powercap(self, container_id: str) -> float:
        return self._containers.cap_in_force_w(container_id)

    def get_container_power(self, container_id: str) -> float:
        return self.get_app_power() * self._containers.part_ratio(container_id)

    # -- sizes

    @property
    def battery_capacity_wh(self) -> float:
        return self._capacity_wh[self._i]

    @property
    def battery_charge_limit_w(self) -> float:
        return self._charge_limit_w[self._i]

    @property
    def battery_discharge_limit_w(self) -> float:
        return self._discharge_limit_w[self._i]

    @property
    def idle_power_w(self) -> float:
        return self._containers.idle_w()

    # -- Table 2

    def get_app_power(self) -> float:
        i = self._i
        return self._demand_w[i] - self._unserved_w[i]

    def get_app_energy(self, start_s: float, end_s: float) -> float:
        demand, unserved = self.history("demand_w", start_s, end_s), self.history("unserved_w", start_s, end_s)
        return energy_wh(demand.values, self._now.tick_s) - energy_wh(unserved.values, self._now.tick_s)

    def get_app_carbon(self, start_s: float | None = None, end_s: float | None = None) -> float:
        if start_s is None and end_s is None:
            return self._carbon_total_g[self._i]
        values = self.history(
            "carbon_g",
            self._now.start_s if start_s is None else start_s,
            self._now.now_s if end_s is None else end_s,
        ).values
        return float(math.fsum(values))

    def get_container_energy(self, container_id: str, start_s: float, end_s: float) -> float:
        power = self._site.recorder.history.container_power(self._containers.slot(container_id), start_s, end_s)
        return energy_wh(power, self._now.tick_s)

    def get_container_carbon(self, container_id: str, start_s: float, end_s: float) -> float:
        power = self._site.recorder.history.container_power(self._containers.slot(container_id), start_s, end_s)
        demand = self.history("demand_w", start_s, end_s).values
        unserved = self.history("unserved_w", start_s, end_s).values
        grid = self.history("grid_to_load_w", start_s, end_s).values
        intensity = self.history("carbon_intensity_g_per_kwh", start_s, end_s).values
        hours_h = self._now.hours_h
        total_g = 0.0
        for k, power_w in enumerate(power):
            if power_w > 0.0:
                total_g += grid[k] * (power_w / (demand[k] - unserved[k])) * hours_h / 1000.0 * intensity[k]
        return total_g

    def set_carbon_rate(self, container_id: str, carbon_rate_g_per_h: float | None) -> None:
        self._containers.slot(container_id)
        if carbon_rate_g_per_h is None:
            self._rates.pop(container_id, None)
            self._containers.set_ceiling_w(container_id, INFINITY)
            return
        if not 0.0 <= carbon_rate_g_per_h < INFINITY:
            raise SettingRefused(f"set_carbon_rate: {carbon_rate_g_per_h!r} g/h; give a finite rate of at least 0")
        self._rates[container_id] = carbon_rate_g_per_h
        self._site.call_every_tick()
        self.enforce_ceilings()

    def set_carbon_budget(self, budget_g: float | None) -> None:
        if budget_g is None:
            self._budget = None
        elif 0.0 <= budget_g < INFINITY:
            self._budget = CarbonBudget(budget_g, self._carbon_total_g[self._i], self._now.now_s)
            self._site.call_every_tick()
        else:
            raise SettingRefused(f"set_carbon_budget: {budget_g!r} g; give a finite amount of at least 0")
        self.enforce_ceilings()

    def enforce_ceilings(self) -> None:
        """Turn carbon rates and the budget into limits of the coming tick; called before every tick.

        A budget limits the import, by load and battery alike, and caps the app at what import and sun can serve.
        """
        i, solar_w, intensity = self._i, self.get_solar_power(), self._now.intensity_g_per_kwh
        if not self._now.enforcing:
            return
        import_w = INFINITY
        if self._budget is not None:
            import_w = self._budget.import_ceiling_w(self._carbon_total_g[i], intensity, self._now.hours_h)
        self._ceiling_w[i] = solar_w + import_w
        self._grid_limit_w[i] = min(self._grid_share_limit_w[i], import_w)
        # Import is shared in proportion to power, so beside others that draw more a container's part of the solar is not certain.
        own_solar_w = solar_w if len(self._containers.ids) == 1 else 0.0
        for container_id, rate_g_per_h in self._rates.items():
            self._containers.set_ceiling_w(container_id, rate_ceiling_w(rate_g_per_h, intensity, own_solar_w))

    def _subscribed(self) -> Subscriptions:
        if self._subscriptions is None:
            self._subscriptions = Subscriptions()
            self._site.call_every_tick()
        return self._subscriptions

    def notify_solar_change(self, callback: Callable[[float], None], threshold_ratio: float = 0.1) -> None:
        self._subscribed().solar.append(Notifier(callback, threshold_ratio))

    def notify_carbon_change(self, callback: Callable[[float], None], threshold_ratio: float = 0.1) -> None:
        self._subscribed().carbon.append(Notifier(callback, threshold_ratio))

    def notify_battery_full(self, callback: Callable[[float], None]) -> None:
        self._subscribed().full.append(Notifier(callback))

    def notify_battery_empty(self, callback: Callable[[float], None]) -> None:
        self._subscribed().empty.append(Notifier(callback))

    def observe(self) -> None:
        """Enforce ceilings and tell subscribers what has changed; called before a tick."""
        if self._budget is not None or self._rates:
            self.enforce_ceilings()
        if self._subscriptions is not None:
            i = self._i
            self._subscriptions.observe(
                self.get_solar_power(), self._now.intensity_g_per_kwh, self._battery_level_wh[i], self._capacity_wh[i]
            )

    # -- containers

    @property
    def running_cores(self) -> float:
        """Cores of all running containers, as scaled. [cores]"""
        return self._cores[self._i] * self._scale_ratio[self._i]

    def report_progress(self, work_done: float, work_total: float) -> None:
        """Set what a plug-in workload says of its progress, in units of its own; a total of 0 has no end."""
        self._work_done[self._i] = work_done
        self._work_total[self._i] = work_total

    def report_completed(self, completed_s: float) -> None:
        """Set when a plug-in workload was complete; where it does not say, it is the end of the tick before. [s since the epoch]"""
        if math.isnan(self._completed_s[self._i]):
            self._completed_s[self._i] = self._now.now_s if math.isnan(completed_s) else completed_s

    def ask(self, demand_w: float) -> None:
        """Set what a plug-in workload asks for in the coming tick. [W]"""
        self._asked_w[self._i] = demand_w

    def offered_containers(self) -> list[ContainerInfo]:
        """The containers as they run in the coming tick, for a workload that asks container by container."""
        return self._containers.offered(self.get_app_power())

    def ask_each(self, demands_w: Sequence[float]) -> None:
        """Set what such a workload asks for in the coming tick, in the order of the containers. [W]"""
        self.ask(self._containers.ask(demands_w))

    def granted_w(self, ids: Sequence[str]) -> list[float]:
        """What these containers got in the last tick. [W]"""
        return self._containers.granted_w(ids, self.get_app_power())

    @property
    def container_ids(self) -> list[str]:
        """Ids of the containers, in the order of their records."""
        return self._containers.ids

    @property
    def container_slots_wanted(self) -> int:
        """Records that the containers need."""
        return self._containers.wanted_slots

    def list_containers(self) -> list[ContainerInfo]:
        return self._containers.list(self.get_app_power())

    def add_container(self, cores: float, command: str | None = None) -> str:
        return self._containers.add(cores, command)

    def remove_container(self, container_id: str) -> None:
        self._rates.pop(container_id, None)
        self._containers.remove(container_id)

    def resize_container(self, container_id: str, cores: float) -> None:
        self._containers.resize(container_id, cores)

    def suspend_container(self, container_id: str) -> None:
        self._containers.set_running(container_id, False)

    def resume_container(self, container_id: str) -> None:
        self._containers.set_running(container_id, True)

    def scale_containers(self, factor: float) -> None:
        if not 0.0 <= factor < INFINITY:
            raise SettingRefused(f"scale_containers: {factor!r}; give a finite factor of at least 0")
        self._scale_ratio[self._i] = factor

    def set_app_powercap(self, cap_w: float) -> None:
        if not cap_w >= 0.0:
            raise SettingRefused(f"set_app_powercap: {cap_w!r} W; give a power of at least 0")
        self._app_cap_w[self._i] = cap_w

    # -- what outlives the process

    def saved_settings(self) -> AppSettings:
        """What the app has set."""
        i, budget = self._i, self._budget
        return AppSettings(
            tick=self._now.tick,
            containers=self._containers.saved(),
            made=self._containers.made,
            rates_g_per_h=dict(self._rates),
            budget_g=None if budget is None else budget.budget_g,
            spent_before_g=0.0 if budget is None else budget.spent_before_g,
            budget_since_s=0.0 if budget is None else budget.since_s,
            charge_rate_w=self._charge_rate_w[i],
            max_discharge_w=_or_none(self._max_discharge_w[i]),
            scale_ratio=self._scale_ratio[i],
            app_cap_w=_or_none(self._app_cap_w[i]),
        )

    def restore_settings(self, settings: AppSettings) -> None:
        """Set again what was set before the process ended; the numbers of the last tick have been restored."""
        self._containers.restore(settings.containers, settings.made)
        if settings.tick >= self._now.tick:  # set after the last tick that was recorded
            self._charge_rate_w[self._i] = settings.charge_rate_w
            self._max_discharge_w[self._i] = _or_inf(settings.max_discharge_w)
            self._scale_ratio[self._i] = settings.scale_ratio
            self._app_cap_w[self._i] = _or_inf(settings.app_cap_w)
        self._rates = dict(settings.rates_g_per_h)
        self._budget = None
        if settings.budget_g is not None:
            self._budget = CarbonBudget(settings.budget_g, settings.spent_before_g, settings.budget_since_s)
        if self._rates or self._budget is not None:
            self._site.call_every_tick()
        self.enforce_ceilings()

    # -- past and future

    def history(self, metric: str, start_s: float, end_s: float) -> Series:
        return self._site.recorder.history.series(self._index, metric, start_s, end_s)

    def forecast(self, signal: str, horizon_s: float) -> Series:
        return self._site.forecast(self._index, signal, self._now.now_s, horizon_s)

    # -- what the driver of a live site looks at

    @property
    def work(self) -> tuple[float, float]:
        """Work done and in all, in units of the app's own."""
        return self._work_done[self._i], self._work_total[self._i]

    @property
    def budget(self) -> CarbonBudget | None:
        """The carbon budget, if one is set."""
        return self._budget

    @property
    def scale_ratio(self) -> float:
        """Factor on the containers' cores. [1]"""
        return self._scale_ratio[self._i]

    @property
    def carbon_rates(self) -> Mapping[str, float]:
        """Limits on the emission of containers. [g/h]"""
        return self._rates

    @property
    def containers(self) -> Containers:
        """The containers as the app wants them."""
        return self._containers

    # -- ports.AppView

    @property
    def progress_ratio(self) -> float:
        total = self._work_total[self._i]
        return self._work_done[self._i] / total if total > 0.0 else float("nan")

    @property
    def completed(self) -> bool:
        total = self._work_total[self._i]
        return total > 0.0 and self._work_done[self._i] >= total


def _or_none(value: float) -> float | None:
    return value if value < INFINITY else None


def _or_inf(value: float | None) -> float:
    return INFINITY if value is None else value

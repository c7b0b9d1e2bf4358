"""Who stands where: apps in tiles, their containers in records, in memory that changes its size when apps come, go or grow.

Knows nothing of energy; `site` does, and builds on this. Numbers of apps count from 0 in the order of joining, `_site` comes last and has
a tile of its own.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ecovisor.engine import columns
from ecovisor.engine.memory import Memory, MemoryKind, PlainMemory, choose_memory
from ecovisor.engine.recorder import Recorder
from ecovisor.engine.specification import SITE_APP, AppSpec, Group, workload_columns
from ecovisor.engine.virtual_energy_system import Now, VirtualEnergySystem
from ecovisor.model.errors import Infeasible, SettingRefused
from ecovisor.model.series import Series
from ecovisor.ports import Forecaster
from ecovisor.presets import AppShares, ServerParameters
from ecovisor.workloads.models import ConstantDemand

INFINITY = float("inf")
#: From this many apps on, memory is compiled from the start: lists of a million apps would need gigabytes.
COMPILED_FROM_APPS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What a site is driven by: one value a tick each, from tick ``first_tick`` on."""

    solar_w: array[float]
    carbon_intensity_g_per_kwh: array[float]
    price_per_kwh: array[float] | None = None
    first_tick: int = 0
    traces: Mapping[str, tuple[array[float], bool]] = field(default_factory=dict)
    """Signal → values, and whether they are a utilisation (else W)."""
    forecasters: Mapping[str, Forecaster] = field(default_factory=dict)
    """By signal: `carbon`, `solar`."""


class Arrangement:
    """Apps, containers and handles in a memory.

    Args:
        server: what a server of the cluster is.
        signals: what drives the site.
        own: the spec of `_site`.
        recorder: told of every new arrangement.
        start_s, tick_s: of tick 0. [s]
        compiled: True or False to force machine code or plain Python; None chooses by size.
    """

    def __init__(
        self,
        server: ServerParameters,
        signals: Signals,
        own: AppSpec,
        recorder: Recorder,
        *,
        start_s: float,
        tick_s: float,
        compiled: bool | None,
    ) -> None:
        self.server = server
        self.signals = signals
        self.recorder = recorder
        self.now = Now(start_s, tick_s)
        self.groups: list[Group] = []
        self.own_group = Group(own, 0, 1)
        self.handles: dict[int, VirtualEnergySystem] = {}
        self.speed_tables: list[tuple[tuple[float, float], ...]] = []
        self.every_tick = False
        self.regrow = False
        self._compiled = compiled
        self._attached = False
        self._kind: MemoryKind = choose_memory(0, compiled)
        self.memory: Memory = self._kind([1], 1)
        self._set_signals()
        self._fill_new(self.own_group)

    # -- who

    @property
    def app_count(self) -> int:
        """Apps, without `_site`; also `_site`'s number."""
        return self.own_group.first

    @property
    def all_groups(self) -> list[Group]:
        """All groups, `_site`'s last."""
        return [*self.groups, self.own_group]

    @property
    def app_names(self) -> list[str]:
        """All apps in the order of their numbers, `_site` last."""
        return [group.spec.name_of(k) for group in self.all_groups for k in range(group.spec.count)]

    def group(self, name: str) -> Group:
        """The group with a spec's name.

        Raises:
            SettingRefused: no such app.
        """
        for group in self.groups:
            if group.spec.name == name:
                return group
        raise SettingRefused(f"app {name!r} does not exist; known: {', '.join(g.spec.name for g in self.groups) or 'none'}")

    def group_of(self, index: int) -> Group:
        """The group that an app's number belongs to."""
        if index >= self.app_count:
            return self.own_group
        return self.groups[bisect_right(self.groups, index, key=lambda group: group.first) - 1]

    def handle(self, index: int) -> VirtualEnergySystem:
        """The virtual energy system of an app's number."""
        if index not in self.handles:
            group = self.group_of(index)
            name = group.spec.name_of(index - group.first)
            self.handles[index] = VirtualEnergySystem(self, index, name, self.now)
        return self.handles[index]

    def app(self, name: str) -> VirtualEnergySystem:
        """The virtual energy system of an app by name, or of a copy (`NAME-2`), or of `_site`.

        Raises:
            SettingRefused: no such app.
        """
        for group in self.all_groups:
            if name.startswith(group.spec.name):
                for copy in range(group.spec.count):
                    if group.spec.name_of(copy) == name:
                        return self.handle(group.first + copy)
        raise SettingRefused(f"app {name!r} does not exist; known: {', '.join(g.spec.name for g in self.all_groups)}")

    # -- where

    def place(self, index: int) -> tuple[int, int]:
        """Tile and lane of an app's number."""
        apps = self.app_count
        if index >= apps:
            return -(-apps // columns.TILE), 0
        return divmod(index, columns.TILE)

    def get(self, index: int, column: str) -> float:
        """A column of one app."""
        tile, lane = self.place(index)
        return self.memory.column(tile, column)[lane]

    def set(self, index: int, column: str, value: float) -> None:
        """Set a column of one app."""
        tile, lane = self.place(index)
        self.memory.column(tile, column)[lane] = value

    def values(self, group: Group, column: str) -> Sequence[float]:
        """A column of all copies of a group."""
        if group is self.own_group:
            return [self.get(group.first, column)]
        return self.memory.values(group.first, group.spec.count, column)

    def everyone(self, column: str) -> list[float]:
        """A column of all apps, `_site` last."""
        apps = self.memory.values(0, self.app_count, column) if self.app_count else ()
        return [*map(float, apps), self.get(self.app_count, column)]

    def fill(self, group: Group, column: str, value: float) -> None:
        """Set a column of all copies of a group."""
        if group is self.own_group:
            self.set(group.first, column, value)
        else:
            self.memory.fill(group.first, group.spec.count, column, value)

    # -- what the loop and the handles need

    def call_every_tick(self) -> None:
        """Have the loop call back before every tick from now on."""
        self.every_tick = True
        self.memory.set("wake", 1.0)

    def containers_changed(self) -> None:
        """Some app has other containers than before: the tables, and perhaps memory, change before the tick runs."""
        self.regrow = True

    def prepare(self, app_ticks: int) -> None:
        """Have the right memory for a run of so many app-ticks, and the recorder attached to it."""
        kind = choose_memory(app_ticks, self._compiled)
        if kind is not self._kind and not self.memory.compiled:
            self._rebuild(self.groups, kind)
        if not self._attached:
            self.attach_recorder()

    def grow(self) -> None:
        """Make room for containers that policies have added, and tell the recorder of those that changed."""
        self.regrow = False
        self.recorder.flush()
        short = False
        for group in self.groups:
            wanted = max((self.handles[k].container_slots_wanted for k in group.indices if k in self.handles), default=0)
            if wanted > group.container_slots:
                group.container_slots = 2 * wanted
                short = True
        if short:
            self._rebuild(self.groups)
        self.attach_recorder()

    def attach_recorder(self) -> None:
        """Tell the recorder who stands where."""
        self._attached = True
        names: list[str] = []
        containers: list[tuple[int, str, int]] = []
        if self.recorder.wanted:
            names = self.app_names
            containers = [one for group in self.groups for one in self._containers_of(group)]
            containers.append((self.app_count, "_overhead", self.own_group.first_slot))
        self.recorder.attach(self.memory, names, containers, self.own_group.first_slot + 1)

    def _containers_of(self, group: Group) -> Iterable[tuple[int, str, int]]:
        for copy, index in enumerate(group.indices):
            first = group.first_slot + copy * group.container_slots
            known = self.handles.get(index)
            ids = known.container_ids if known else [f"c{k + 1}" for k in range(group.spec.containers)]
            for k, container in enumerate(ids):
                yield index, container, first + k

    def forecast(self, index: int, signal: str, now_s: float, horizon_s: float) -> Series:
        """See `ports.VirtualEnergy.forecast`.

        Raises:
            Infeasible: no forecast for this signal.
        """
        forecaster = self.signals.forecasters.get(signal)
        if forecaster is None:
            known = ", ".join(sorted(self.signals.forecasters)) or "none"
            raise Infeasible(f"forecast: no forecast of {signal!r}; known: {known}")
        series = forecaster.forecast(now_s, horizon_s)
        if signal == "solar":
            share = self.get(index, "solar_share_ratio")
            scaled = array("d", (value * share for value in series.values))
            return Series(series.name, series.unit, series.start_s, series.step_s, scaled, series.quality, series.origin)
        return series

    def know(self, *, solar_w: float, carbon_intensity_g_per_kwh: float, price_per_kwh: float, traces: Mapping[str, float]) -> None:
        """Live: what is known of the coming tick's signals, one value each; it may be told again until the tick has run.

        Args:
            solar_w: collected; NaN is refused by the loop's sums, so 0 until it is known. [W]
            carbon_intensity_g_per_kwh: NaN where unknown. [g/kWh]
            price_per_kwh: 0 where unknown.
            traces: of simulated workloads, by signal.
        """
        tick = int(self.memory.get("tick"))
        self.signals = replace(
            self.signals,
            solar_w=array("d", [solar_w]),
            carbon_intensity_g_per_kwh=array("d", [carbon_intensity_g_per_kwh]),
            price_per_kwh=array("d", [price_per_kwh]),
            traces={name: (array("d", [traces[name]]), ratio) for name, (_, ratio) in self.signals.traces.items()},
            first_tick=tick,
        )
        self._set_signals()
        self.memory.set("intensity_g_per_kwh", carbon_intensity_g_per_kwh)
        self.now.tick, self.now.intensity_g_per_kwh = tick, carbon_intensity_g_per_kwh

    # -- coming and going

    def rearrange(self, groups: list[Group]) -> None:
        """Have these groups from the next tick on: new ones start afresh, others keep what they have, the rest are gone."""
        self.recorder.flush()
        self._attached = False
        kind = self._kind
        if kind is PlainMemory and sum(group.spec.count for group in groups) >= COMPILED_FROM_APPS:
            kind = choose_memory(1 << 62, self._compiled)
        self._rebuild(groups, kind)

    def _rebuild(self, groups: list[Group], kind: MemoryKind | None = None) -> None:
        old, old_own = self.memory, self.place(self.app_count)
        old_first = {id(group): group.first for group in self.groups}
        handles = [(self.group_of(index), index, handle) for index, handle in self.handles.items()]
        apps = sum(group.spec.count for group in groups)
        full, rest = divmod(apps, columns.TILE)
        counts = [columns.TILE] * full + ([rest] if rest else []) + [1]
        slots = sum(group.container_slots * group.spec.count for group in groups)
        self._kind = kind or self._kind
        self.memory = memory = self._kind(counts, slots + 1)
        memory.copy_site(old)
        memory.set("tile_count", len(counts))
        memory.set("app_count", apps + 1)
        self.groups = groups
        first = slot = 0
        for group in groups:
            group.first, group.first_slot = first, slot
            first += group.spec.count
            slot += group.container_slots * group.spec.count
        self.own_group.first, self.own_group.first_slot = first, slot
        for group in groups:
            if id(group) in old_first:
                memory.copy_apps(old, old_first[id(group)], group.first, group.spec.count)
                self._place_containers(group)
            else:
                self._fill_new(group)
        memory.copy_lane(old, old_own, self.place(apps))
        self._place_containers(self.own_group)
        self.handles = {}
        for group, index, handle in handles:
            if group in groups or group is self.own_group:
                number = index - old_first.get(id(group), index) + group.first
                self.handles[number] = handle
                handle.bind(number)
        self._set_signals()

    def _fill_new(self, group: Group) -> None:
        spec = group.spec
        rows = {name: (columns.FIRST_TRACE + k, ratio) for k, (name, (_, ratio)) in enumerate(self.signals.traces.items())}
        values = {
            "scale_ratio": 1.0,
            "app_cap_w": INFINITY,
            "ceiling_w": INFINITY,
            "max_discharge_w": INFINITY,
            "cores": spec.containers * spec.cores,
            "container_count": float(spec.containers),
            **workload_columns(spec, rows, self.speed_tables),
        }
        for name, value in values.items():
            if value != 0.0:
                self.fill(group, name, value)
        self._place_containers(group)

    def _place_containers(self, group: Group) -> None:
        spec, each = group.spec, group.container_slots
        if group is self.own_group:
            self.set(group.first, "first_container", float(group.first_slot))
        else:
            self.memory.fill(group.first, spec.count, "first_container", float(group.first_slot), float(each))
        for k in range(spec.containers):
            self.memory.set_containers(group.first_slot + k, spec.count, each, spec.cores)

    def _set_signals(self) -> None:
        signals, memory = self.signals, self.memory
        price = signals.price_per_kwh or array("d", bytes(8 * len(signals.solar_w)))
        traces = [values for values, _ in signals.traces.values()]
        memory.set_signals([signals.solar_w, signals.carbon_intensity_g_per_kwh, price, *traces])
        memory.set("signals_tick", signals.first_tick)
        for row, table in enumerate(self.speed_tables):
            memory.set_array("table_cores", [cores for cores, _ in table], row)
            memory.set_array("table_speed", [speed for _, speed in table], row)
        memory.set_array("table_points", [float(len(table)) for table in self.speed_tables])


def site_spec() -> AppSpec:
    """The spec of `_site`; the loop itself computes what it asks for."""
    return AppSpec(
        name=SITE_APP,
        shares=AppShares(1.0, 1.0, 1.0, 1.0),
        workload=ConstantDemand(demand_w=0.0),
        workload_name="overhead",
    )

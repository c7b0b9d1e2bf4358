"""A site: one physical energy system, the apps that share it, and the state of both; the same for simulation and live.

Owns the memory that the loop runs on, who stands where in it, and everything that happens at tick boundaries: joins, leaves, changes of
share, derating, corrections, gaps. `loop` runs its ticks, `multiplexing` has the arithmetic, `recorder` keeps what happened.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ecovisor.engine import columns
from ecovisor.engine.memory import CompiledMemory, Memory, PlainMemory, choose_memory
from ecovisor.engine.multiplexing import adjustments_wh, app_limits, physical_limits, remaining_shares
from ecovisor.engine.recorder import Recorder
from ecovisor.engine.specification import SITE_APP, AppSpec, Group, workload_columns
from ecovisor.engine.virtual_energy_system import Now, VirtualEnergySystem
from ecovisor.model.errors import Infeasible, SettingRefused
from ecovisor.model.series import Series
from ecovisor.physics.battery import SNAP_RATIO, self_discharge_ratio, usable_capacity_wh
from ecovisor.physics.carbon import transferred_carbon_g
from ecovisor.ports import Event, Forecaster, TableSink
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters
from ecovisor.workloads.models import ConstantDemand

INFINITY = float("inf")
_EXCESS = {"share": columns.SHARE, "export": columns.EXPORT}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhysicalSite:
    """The physical energy system and the cluster, as numbers."""

    battery: BatteryParameters | None = None
    server: ServerParameters
    servers: int = 0
    overhead_w: float = 0.0
    grid_limit_w: float = INFINITY
    export_limit_w: float = INFINITY
    excess: tuple[str, ...] = ("share", "curtail")
    solar_peak_w: float = 0.0
    """Largest output of the array: it sizes the solar buffer. [W]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What the site is driven by: one value a tick each, from tick 0."""

    solar_w: array[float]
    carbon_intensity_g_per_kwh: array[float]
    price_per_kwh: array[float] | None = None
    traces: Mapping[str, tuple[array[float], bool]] = field(default_factory=dict)
    """Signal → values, and whether they are a utilisation (else W)."""
    forecasters: Mapping[str, Forecaster] = field(default_factory=dict)
    """By signal: `carbon`, `solar`."""


class Site:
    """See the module. Apps join before `loop.run` or at any tick boundary.

    Args:
        physical: the physical system.
        signals: what drives it.
        start_s: start of tick 0. [s since the epoch]
        tick_s: length of a tick. [s]
        sink: where tables go; None keeps totals only.
        history_s: how far back policies can look. [s]
        compiled: True or False to force machine code or plain Python; None chooses by size when the loop starts.
    """

    def __init__(
        self,
        physical: PhysicalSite,
        signals: Signals,
        *,
        start_s: float,
        tick_s: float,
        sink: TableSink | None = None,
        history_s: float = 7 * 86400.0,
        compiled: bool | None = None,
    ) -> None:
        self.physical = physical
        self.server = physical.server
        self.signals = signals
        self.start_s = start_s
        self.tick_s = tick_s
        self.now = Now(start_s, tick_s)
        self.recorder = Recorder(sink, keep_s=history_s, start_s=start_s, tick_s=tick_s)
        self.groups: list[Group] = []
        self.handles: dict[int, VirtualEnergySystem] = {}
        self._compiled = compiled
        self._feasible_w = (INFINITY, INFINITY)
        self.speed_tables: list[tuple[tuple[float, float], ...]] = []
        hours_h = tick_s / 3600.0
        battery = physical.battery
        self.reserve_wh = physical.solar_peak_w * hours_h if battery else 0.0
        self.usable_wh = usable_capacity_wh(battery.capacity_wh, battery.empty_ratio, self.reserve_wh) if battery else 0.0
        own = AppSpec(
            name=SITE_APP,
            shares=AppShares(1.0, 1.0, 1.0, 1.0),
            workload=ConstantDemand(demand_w=0.0),
            workload_name="overhead",
            policy_name="",
        )
        self.own_group = Group(own, 0, 1)
        self.memory: Memory = PlainMemory([1], 1)
        self._initialise_site(self.memory)
        self._fill_group(self.memory, self.own_group, own.shares)
        self._initial_level(self.own_group)
        self.every_tick = False
        self._in_loop = False
        self.regrow = False
        self._arranged = False

    # -- who stands where

    @property
    def app_count(self) -> int:
        """Apps, without `_site`."""
        return sum(group.spec.count for group in self.groups)

    @property
    def app_names(self) -> list[str]:
        """All apps in the order of their numbers, `_site` last."""
        names = [group.spec.name_of(k) for group in self.groups for k in range(group.spec.count)]
        return [*names, SITE_APP]

    def place(self, index: int) -> tuple[int, int]:
        """Tile and lane of an app's number; `_site` has a tile of its own, the last."""
        apps = self.app_count
        if index >= apps:
            return -(-apps // columns.TILE), 0
        return divmod(index, columns.TILE)

    def group_of(self, index: int) -> Group:
        """The group that an app's number belongs to."""
        for group in self.groups:
            if index < group.first + group.spec.count:
                return group
        return self.own_group

    def group(self, name: str) -> Group:
        """The group with a spec's name.

        Raises:
            SettingRefused: no such app.
        """
        for group in self.groups:
            if group.spec.name == name:
                return group
        raise SettingRefused(f"app {name!r} does not exist; known: {', '.join(g.spec.name for g in self.groups) or 'none'}")

    def slots_of(self, index: int) -> int:
        """Container records that an app has."""
        return self.group_of(index).container_slots

    def handle(self, index: int) -> VirtualEnergySystem:
        """The virtual energy system of an app's number."""
        self.arrange()
        if index not in self.handles:
            group = self.group_of(index)
            name = group.spec.name_of(index - group.first)
            self.handles[index] = VirtualEnergySystem(self, index, name, self.now)
        return self.handles[index]

    def app(self, name: str) -> VirtualEnergySystem:
        """The virtual energy system of an app by name (`_site` too)."""
        return self.handle(self.app_names.index(name))

    def get(self, index: int, column: str) -> float:
        """A column of one app."""
        tile, lane = self.place(index)
        return self.memory.column(tile, column)[lane]

    def set(self, index: int, column: str, value: float) -> None:
        """Set a column of one app."""
        tile, lane = self.place(index)
        self.memory.column(tile, column)[lane] = value

    def levels_wh(self) -> list[float]:
        """Battery levels of all apps, `_site`'s last. [Wh]"""
        return [self.get(k, "battery_level_wh") for k in range(self.app_count + 1)]

    # -- boundaries

    def join(self, spec: AppSpec) -> None:
        """Let an app (or its copies) join at the next tick; it starts with an empty battery.

        Raises:
            Infeasible: a name that is taken, or shares that are not left.
        """
        self._at_boundary("join")
        if spec.name == SITE_APP or any(group.spec.name == spec.name for group in self.groups):
            raise Infeasible(f"app {spec.name!r} exists already or is reserved; choose another name")
        own = remaining_shares([(g.spec.shares, g.spec.count) for g in self.groups] + [(spec.shares, spec.count)])
        group = Group(spec, self.app_count, spec.containers)
        self._rearrange([*self.groups, group], own, joined=group)
        self._tell("joined", spec.name)

    def leave(self, name: str) -> None:
        """Let an app leave at the next tick: its energy and carbon go to `_site`.

        Raises:
            SettingRefused: no such app.
        """
        self._at_boundary("leave")
        group = self.group(name)
        moved_wh = moved_g = 0.0
        for index in group.indices:
            moved_wh += self.get(index, "battery_level_wh")
            moved_g += self.get(index, "stored_carbon_g")
            self.set(self.app_count, "buffer_wh", self.get(self.app_count, "buffer_wh") + self.get(index, "buffer_wh"))
        groups = [other for other in self.groups if other is not group]
        own = remaining_shares([(g.spec.shares, g.spec.count) for g in groups])
        self._rearrange(groups, own, left=group, leaving=(moved_wh, moved_g))
        self._tell("left", name)

    def set_shares(self, shares: Mapping[str, AppShares]) -> None:
        """Change shares at the next tick; energy above a new capacity goes to `_site` with its carbon.

        Raises:
            SettingRefused: no such app.
            Infeasible: more than there is.
        """
        self._at_boundary("set_shares")
        for name in shares:
            self.group(name)
        changed = [(shares.get(g.spec.name, g.spec.shares), g.spec.count) for g in self.groups]
        own = remaining_shares(changed)
        self.arrange()
        for group in self.groups:
            if group.spec.name in shares:
                group.spec = _with_shares(group.spec, shares[group.spec.name])
        self.own_group.spec = _with_shares(self.own_group.spec, own)
        self._apply_limits()
        for name, share in shares.items():
            self._tell("shares", name, repr(share))

    def derate(self, charge_w: float = INFINITY, discharge_w: float = INFINITY) -> None:
        """The range that the battery reports as feasible from the next tick on. [W]"""
        self._at_boundary("derate")
        self._feasible_w = (charge_w, discharge_w)
        self._apply_limits()

    def adjust_battery(self, measured_level_wh: float) -> float:
        """Book the difference between the measured level above the line (without the buffer) and the apps' levels.

        Returns:
            What was booked [Wh]; a surplus that no battery has room for is not.
        """
        self._at_boundary("adjust_battery")
        self.arrange()
        levels = self.levels_wh()
        rooms = [max(0.0, self.get(k, "capacity_wh") - level_wh) for k, level_wh in enumerate(levels)]
        changes = adjustments_wh(levels, rooms, measured_level_wh - sum(levels))
        for index, change_wh in enumerate(changes):
            if change_wh != 0.0:
                self.set(index, "battery_level_wh", max(0.0, levels[index] + change_wh))
                self.set(index, "battery_adjust_wh", self.get(index, "battery_adjust_wh") + change_wh)
        self.memory.set("above_line_wh", self.memory.get("above_line_wh") + sum(changes))
        self.memory.set("clear_boundary", 1.0)
        return sum(changes)

    def gap(self, duration_s: float, *, import_wh: float, export_wh: float, solar_wh: float, measured_level_wh: float) -> None:
        """Account for time that nobody metered: one row of `_site` from the cumulative meters, the battery's change included.

        Args:
            duration_s: length. [s]
            import_wh, export_wh, solar_wh: by the meters, over the gap. [Wh]
            measured_level_wh: battery level above the line at its end, without the buffer. [Wh]
        """
        self._at_boundary("gap")
        self.arrange()
        self.adjust_battery(measured_level_wh)
        self.recorder.flush()
        own = self.app_count
        used_wh = solar_wh - export_wh if solar_wh > export_wh else 0.0
        for column, added in (
            ("grid_to_load_total_wh", import_wh),
            ("solar_to_load_total_wh", used_wh),
            ("exported_total_wh", solar_wh - used_wh),
            ("unknown_carbon_total_wh", import_wh),
        ):
            self.set(own, column, self.get(own, column) + added)
        for name, added in (
            ("import_total_wh", import_wh),
            ("export_total_wh", export_wh),
            ("solar_collected_total_wh", solar_wh),
            ("solar_used_total_wh", solar_wh),
            ("load_total_wh", import_wh + used_wh),
        ):
            self.memory.set(name, self.memory.get(name) + added)
        begin_s = self.start_s + self.memory.get("tick") * self.tick_s
        if self.recorder.sink is not None:
            detail = f"{duration_s:g} s; import {import_wh:g} Wh, export {export_wh:g} Wh, solar {solar_wh:g} Wh"
            self.recorder.sink.write_event(Event(begin_s, SITE_APP, "gap", detail))
        self.start_s += duration_s
        self.recorder.start_s += duration_s
        self.now.start_s += duration_s
        self.memory.set("start_s", self.start_s)

    def _tell(self, kind: str, name: str, detail: str = "") -> None:
        """Record an event at the start of the coming tick, once the run has begun."""
        tick = self.memory.get("tick")
        if self.recorder.sink is not None and tick > 0.0:
            self.recorder.sink.write_event(Event(self.start_s + tick * self.tick_s, name, kind, detail))

    def _at_boundary(self, function: str) -> None:
        if self._in_loop:
            raise SettingRefused(f"{function}: only between ticks, not from within a policy's tick()")

    def _move_energy(self, index: int, energy_wh: float, carbon_g: float) -> None:
        """Move energy and carbon into (or, negative, out of) an app's battery at this boundary."""
        column = "transfer_in_wh" if energy_wh > 0.0 else "transfer_out_wh"
        for name, added in (
            ("battery_level_wh", energy_wh),
            (column, abs(energy_wh)),
            ("stored_carbon_g", carbon_g),
        ):
            self.set(index, name, self.get(index, name) + added)
        self.memory.set("clear_boundary", 1.0)

    def _move_above(self, index: int, capacity_wh: float) -> tuple[float, float]:
        """Take what lies above a capacity out of an app's battery; returns energy [Wh] and carbon [g]."""
        level_wh = self.get(index, "battery_level_wh")
        above_wh = level_wh - capacity_wh
        if above_wh <= capacity_wh * SNAP_RATIO:
            return 0.0, 0.0
        carbon_g = transferred_carbon_g(self.get(index, "stored_carbon_g"), above_wh, level_wh)
        self._move_energy(index, -above_wh, -carbon_g)
        self.set(index, "battery_level_wh", capacity_wh)
        return above_wh, carbon_g

    def _pass_on_overflow(self) -> None:
        """What `_site` has no room for goes to the apps that have, in proportion to their room."""
        own = self.app_count
        if self.get(own, "battery_level_wh") <= self.get(own, "capacity_wh") * (1.0 + SNAP_RATIO):
            return
        rooms = [self.get(k, "capacity_wh") - self.get(k, "battery_level_wh") for k in range(own)]
        rooms = [max(0.0, room_wh) for room_wh in rooms]
        total_wh = sum(rooms)
        if total_wh <= 0.0:
            return
        moved_wh, moved_g = self._move_above(own, self.get(own, "capacity_wh"))
        for index, room_wh in enumerate(rooms):
            if room_wh > 0.0:
                self._move_energy(index, moved_wh * (room_wh / total_wh), moved_g * (room_wh / total_wh))

    def _limits(self) -> dict[int, dict[str, float]]:
        limits = physical_limits(self.physical.battery, self.usable_wh, self.physical.grid_limit_w, *self._feasible_w)
        self.memory.set("charge_limit_w", limits.charge_limit_w)
        self.memory.set("discharge_limit_w", limits.discharge_limit_w)
        return {id(group): app_limits(group.spec.shares, limits) for group in (*self.groups, self.own_group)}

    def _apply_limits(self) -> None:
        """Write every app's limits; energy above a new capacity moves to `_site`."""
        limits = self._limits()
        moved_wh = moved_g = 0.0
        shrinks = self.usable_wh > 0.0 and self.memory.get("above_line_wh") > 0.0
        for group in self.groups:
            values = limits[id(group)]
            for index in group.indices if shrinks else ():
                energy_wh, carbon_g = self._move_above(index, values["capacity_wh"])
                moved_wh += energy_wh
                moved_g += carbon_g
            for name, value in values.items():
                self._fill(self.memory, group, name, value)
        for name, value in limits[id(self.own_group)].items():
            self._fill(self.memory, self.own_group, name, value)
        if moved_wh > 0.0:
            self._move_energy(self.app_count, moved_wh, moved_g)
        if shrinks:
            self._pass_on_overflow()

    # -- memory

    def containers_changed(self, index: int) -> None:
        """An app has more, fewer or other containers than before: tables and perhaps memory change before the tick runs."""
        self.regrow = True

    def call_every_tick(self) -> None:
        """Have the loop call back before every tick from now on."""
        self.every_tick = True
        self.memory.set("wake", 1.0)

    def entering_loop(self) -> None:
        """Boundary functions are refused until `left_loop`."""
        self._in_loop = True

    def left_loop(self) -> None:
        """Boundary functions are allowed again."""
        self._in_loop = False

    def use(self, app_ticks: int) -> None:
        """Choose plain or compiled memory for a run of so many app-ticks, and arrange the apps in it."""
        wanted = choose_memory(app_ticks, self._compiled)
        if not isinstance(self.memory, wanted):
            self._move(wanted, self.groups, self.own_group.spec.shares)
        self.arrange()

    def arrange(self) -> None:
        """Give the recorder the present layout, if it has none yet."""
        if not self._arranged:
            self._arranged = True
            self.attach_recorder()

    def grow(self) -> None:
        """Make room for containers that policies have added, and tell the recorder of those that changed."""
        self.regrow = False
        needed = {
            g.first: max((self.handles[k].container_slots_wanted for k in g.indices if k in self.handles), default=0)
            for g in self.groups
        }
        short = [g for g in self.groups if needed[g.first] > g.container_slots]
        self.recorder.flush()
        for group in short:
            group.container_slots = 2 * needed[group.first]
        if short:
            self._move(type(self.memory), self.groups, self.own_group.spec.shares)
        self.attach_recorder()

    def attach_recorder(self) -> None:
        """Tell the recorder who stands where."""
        containers: list[tuple[int, str, int]] = []
        for group in self.groups:
            for copy, index in enumerate(group.indices):
                first = group.first_slot + copy * group.container_slots
                if index in self.handles:
                    names = self.handles[index].container_ids
                else:
                    names = [f"c{k + 1}" for k in range(group.spec.containers)]
                containers += [(index, name, first + k) for k, name in enumerate(names)]
        containers.append((self.app_count, "_overhead", self.own_group.first_slot))
        slots = self.own_group.first_slot + 1
        self.recorder.attach(
            self.memory,
            self.app_names if self.recorder.wanted else [""] * (self.app_count + 1),
            containers,
            slots,
            int(self.memory.get("tick")),
        )

    def _rearrange(
        self,
        groups: list[Group],
        own: AppShares,
        joined: Group | None = None,
        left: Group | None = None,
        leaving: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.recorder.flush()
        self._move(type(self.memory), groups, own, joined, left, leaving)
        self._arranged = False

    def _move(
        self,
        kind: type[PlainMemory | CompiledMemory],
        groups: list[Group],
        own: AppShares,
        joined: Group | None = None,
        left: Group | None = None,
        leaving: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Build memory for these groups and carry over what the present one holds."""
        old_memory, old_places = (
            self.memory,
            {id(g): (g.first, g.first_slot, g.container_slots) for g in (*self.groups, self.own_group)},
        )
        old_own = self.place(self.app_count)
        handles = dict(self.handles)
        owners = {index: self.group_of(index) for index in handles}
        apps = sum(group.spec.count for group in groups)
        counts = [columns.TILE] * (apps // columns.TILE) + ([apps % columns.TILE] if apps % columns.TILE else []) + [1]
        slots = sum(group.container_slots * group.spec.count for group in groups) + 1
        memory: Memory = kind(counts, slots)
        memory.copy_site(old_memory)
        self.memory = memory
        self.groups = groups
        first = slot = 0
        for group in groups:
            group.first, group.first_slot = first, slot
            first += group.spec.count
            slot += group.container_slots * group.spec.count
        self.own_group.first, self.own_group.first_slot, self.own_group.container_slots = apps, slot, 1
        memory.set("tile_count", len(counts))
        memory.set("app_count", apps + 1)
        limits = self._limits()
        for group in groups:
            if group is joined:
                self._fill_group(memory, group, group.spec.shares)
                for name, value in limits[id(group)].items():
                    self._fill(memory, group, name, value)
            else:
                memory.copy_apps(old_memory, old_places[id(group)][0], group.first, group.spec.count)
                self._place_containers(memory, group)
        tile, lane = self.place(apps)
        memory.copy_lane(old_memory, old_own, (tile, lane))
        self._place_containers(memory, self.own_group)
        self.own_group.spec = _with_shares(self.own_group.spec, own)
        self.handles = {}
        for index, handle in handles.items():
            group = owners[index]
            if group is not left:
                new_index = index - old_places[id(group)][0] + group.first
                self.handles[new_index] = handle
                handle.bind(new_index)
        if leaving[0] > 0.0:
            self._move_energy(apps, *leaving)
        self._apply_limits()
        for row, table in enumerate(self.speed_tables):
            memory.set_array("table_cores", [cores for cores, _ in table], row)
            memory.set_array("table_speed", [speed for _, speed in table], row)
        memory.set_array("table_points", [float(len(table)) for table in self.speed_tables])
        self._set_signals(memory)

    def _set_signals(self, memory: Memory) -> None:
        signals = self.signals
        count = len(signals.solar_w)
        price = signals.price_per_kwh or array("d", bytes(8 * count))
        traces = [values for values, _ in signals.traces.values()]
        memory.set_signals([signals.solar_w, signals.carbon_intensity_g_per_kwh, price, *traces])

    def _fill(self, memory: Memory, group: Group, name: str, value: float) -> None:
        if group is self.own_group:
            tile, lane = self.place(group.first or self.app_count)
            memory.column(tile, name)[lane] = value
        else:
            memory.fill(group.first, group.spec.count, name, value)

    def _fill_group(self, memory: Memory, group: Group, shares: AppShares) -> None:
        spec = group.spec
        traces = {name: (columns.FIRST_TRACE + k, ratio) for k, (name, (_, ratio)) in enumerate(self.signals.traces.items())}
        values = {
            "scale_ratio": 1.0,
            "app_cap_w": INFINITY,
            "max_discharge_w": INFINITY,
            "cores": spec.containers * spec.cores,
            "container_count": float(spec.containers),
            "solar_share_ratio": shares.solar,
            **workload_columns(spec, traces, self.speed_tables),
        }
        for name, value in values.items():
            self._fill(memory, group, name, value)
        self._place_containers(memory, group)

    def _place_containers(self, memory: Memory, group: Group) -> None:
        spec = group.spec
        for copy in range(spec.count):
            first = group.first_slot + copy * group.container_slots
            tile, lane = self.place(group.first + copy)
            memory.column(tile, "first_container")[lane] = float(first)
            if group.first + copy not in self.handles:
                for k in range(spec.containers):
                    memory.set_container(first + k, spec.cores, INFINITY)

    def _initial_level(self, group: Group) -> None:
        battery = self.physical.battery
        if battery is None:
            return
        level_wh = self.usable_wh * battery.initial_ratio
        self._fill(self.memory, group, "battery_level_wh", level_wh)
        self.memory.set("above_line_wh", level_wh)
        self.memory.set("below_line_wh", battery.capacity_wh * battery.empty_ratio)

    def distribute_initial_level(self) -> None:
        """At the start of a scenario every app holds its part of the battery's initial level."""
        battery = self.physical.battery
        if battery is None:
            return
        for group in (*self.groups, self.own_group):
            capacity_wh = self.usable_wh * group.spec.shares.battery_energy
            self._fill(self.memory, group, "battery_level_wh", capacity_wh * battery.initial_ratio)
            self._fill(self.memory, group, "transfer_in_wh", 0.0)
            self._fill(self.memory, group, "transfer_out_wh", 0.0)
        self.memory.set("above_line_wh", sum(self.levels_wh()) if self.app_count < 1000 else self.usable_wh * battery.initial_ratio)

    def _initialise_site(self, memory: Memory) -> None:
        physical, battery = self.physical, self.physical.battery
        hours_h = self.tick_s / 3600.0
        order = [_EXCESS[name] for name in physical.excess if name in _EXCESS]
        order += [columns.NONE] * (2 - len(order))
        for name, value in {
            "woken_tick": -1.0,
            "next_wake_tick": INFINITY,
            "start_s": self.start_s,
            "tick_s": self.tick_s,
            "hours_h": hours_h,
            "rows": 1.0,
            "tile_count": 1.0,
            "app_count": 1.0,
            "charge_efficiency": battery.charge_efficiency if battery else 1.0,
            "discharge_efficiency": battery.discharge_efficiency if battery else 1.0,
            "loss_ratio": self_discharge_ratio(battery.self_discharge_per_hour, hours_h) if battery else 0.0,
            "export_limit_w": physical.export_limit_w if "export" in physical.excess else 0.0,
            "first_excess_policy": order[0],
            "second_excess_policy": order[1],
            "power_curve_points": float(len(physical.server.power_curve_w)),
            "server_cores": physical.server.cores,
            "site_cores": physical.server.cores * physical.servers,
            "overhead_w": physical.overhead_w,
        }.items():
            memory.set(name, value)
        memory.set_array("power_curve_w", physical.server.power_curve_w)

    # -- signals

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


def _with_shares(spec: AppSpec, shares: AppShares) -> AppSpec:
    return replace(spec, shares=shares)


def column_values(site: Site, group: Group, names: Sequence[str]) -> list[list[float]]:
    """Columns of all copies of a group."""
    return [[site.get(index, name) for index in group.indices] for name in names]

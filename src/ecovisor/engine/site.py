"""A site: one physical energy system, the apps that share it, and the energy of both; the same for simulation and live.

Owns what happens at tick boundaries: joins, leaves, changes of share, derating, corrections, gaps. `arrangement` knows who stands where,
`multiplexing` has the arithmetic, `loop` runs the ticks, `recorder` keeps what happened.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ecovisor.engine import columns, gaps
from ecovisor.engine.arrangement import Arrangement, Signals, site_spec
from ecovisor.engine.gaps import GapEnergy
from ecovisor.engine.multiplexing import adjustments_wh, app_limits, physical_limits, remaining_shares
from ecovisor.engine.recorder import Recorder
from ecovisor.engine.specification import AppSpec, Group
from ecovisor.model.errors import Infeasible, SettingRefused
from ecovisor.physics.battery import SNAP_RATIO, self_discharge_ratio, usable_capacity_wh
from ecovisor.physics.carbon import transferred_carbon_g
from ecovisor.ports import Event, TableSink
from ecovisor.presets import AppShares, BatteryParameters, ServerParameters

__all__ = ["PhysicalSite", "Signals", "Site"]

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


class Site(Arrangement):
    """See the module. Apps join before the loop runs, or at any tick boundary.

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
        self.start_s = start_s
        self.tick_s = tick_s
        recorder = Recorder(sink, keep_s=history_s, start_s=start_s, tick_s=tick_s)
        super().__init__(physical.server, signals, site_spec(), recorder, start_s=start_s, tick_s=tick_s, compiled=compiled)
        battery = physical.battery
        self.reserve_wh = physical.solar_peak_w * tick_s / 3600.0 if battery else 0.0
        self.usable_wh = usable_capacity_wh(battery.capacity_wh, battery.empty_ratio, self.reserve_wh) if battery else 0.0
        self._feasible_w = (INFINITY, INFINITY)
        self._in_loop = False
        self._begun = False
        self._initialise()
        self._apply_limits()

    def levels_wh(self) -> list[float]:
        """Battery levels of all apps, `_site`'s last. [Wh]"""
        return self.everyone("battery_level_wh")

    def begin(self) -> None:
        """Before the first tick: every app holds its part of the battery's initial level."""
        if self._begun:
            return
        self._begun = True
        battery = self.physical.battery
        if battery is None or battery.initial_ratio == 0.0:
            return
        total_wh = 0.0
        for group in self.all_groups:
            level_wh = self.usable_wh * group.spec.shares.battery_energy * battery.initial_ratio
            self.fill(group, "battery_level_wh", level_wh)
            total_wh += level_wh * group.spec.count
        self.memory.set("above_line_wh", total_wh)

    def restart(self, start_s: float) -> None:
        """Before the first tick: it begins then. [s since the epoch]"""
        self.start_s = self.now.start_s = start_s
        self.memory.set("start_s", start_s)
        self.recorder.history.restart(start_s)

    def resume(self, end_s: float) -> None:
        """The site's numbers have been restored as of ``end_s``, the start of the coming tick: go on from there."""
        self._begun = True
        self.start_s = self.now.start_s = end_s - self.memory.get("tick") * self.tick_s
        self.now.tick = int(self.memory.get("tick"))
        self.memory.set("start_s", self.start_s)
        self.memory.set("woken_tick", -1.0)
        self.recorder.history.restart(self.start_s)
        self._tell_levels()
        self._apply_limits()
        self.attach_recorder()

    # -- boundaries

    def join(self, *specs: AppSpec) -> None:
        """Let apps (or copies of one) join at the next tick; after the first they start with an empty battery.

        Raises:
            Infeasible: a name that is taken, or shares that are not left.
        """
        self._at_boundary("join")
        taken = {group.spec.name: group.spec for group in self.all_groups}
        for spec in specs:
            if clash := spec.clash(taken):
                raise Infeasible(f"app {clash!r} exists already or is reserved; choose another name")
            taken[spec.name] = spec
        own = remaining_shares([(g.spec.shares, g.spec.count) for g in self.groups] + [(s.shares, s.count) for s in specs])
        self.rearrange([*self.groups, *(Group(spec, 0, spec.containers) for spec in specs)])
        self.own_group.spec = replace(self.own_group.spec, shares=own)
        self._apply_limits()
        for spec in specs:
            self._tell("joined", spec.name)

    def leave(self, name: str) -> None:
        """Let an app leave at the next tick: its energy and carbon, and the solar collected for it, go to `_site`.

        Raises:
            SettingRefused: no such app.
        """
        self._at_boundary("leave")
        group = self.group(name)
        moved_wh = math.fsum(self.values(group, "battery_level_wh"))
        moved_g = math.fsum(self.values(group, "stored_carbon_g"))
        solar_wh = math.fsum(self.values(group, "buffer_wh"))
        groups = [other for other in self.groups if other is not group]
        self.rearrange(groups)
        own = remaining_shares([(g.spec.shares, g.spec.count) for g in groups])
        self.own_group.spec = replace(self.own_group.spec, shares=own)
        self.set(self.app_count, "buffer_wh", self.get(self.app_count, "buffer_wh") + solar_wh)
        if moved_wh > 0.0 or moved_g > 0.0:
            self._move_energy(self.app_count, moved_wh, moved_g)
        self._apply_limits()
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
        for group in self.groups:
            if group.spec.name in shares:
                group.spec = replace(group.spec, shares=shares[group.spec.name])
        self.own_group.spec = replace(self.own_group.spec, shares=own)
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
        levels = self.levels_wh()
        rooms = [max(0.0, self.get(k, "capacity_wh") - level_wh) for k, level_wh in enumerate(levels)]
        changes = adjustments_wh(levels, rooms, measured_level_wh - math.fsum(levels))
        for index, change_wh in enumerate(changes):
            if change_wh != 0.0:
                self.set(index, "battery_level_wh", max(0.0, levels[index] + change_wh))
                self.set(index, "battery_adjust_wh", self.get(index, "battery_adjust_wh") + change_wh)
        for name in ("above_line_wh", "adjust_total_wh"):
            self.memory.set(name, self.memory.get(name) + math.fsum(changes))
        self.memory.set("clear_boundary", 1.0)
        return math.fsum(changes)

    def lengthen(self, duration_s: float) -> None:
        """Live: the coming tick lasts this long, because nobody looked earlier; `shorten` ends it once it has run. [s]"""
        self._at_boundary("lengthen")
        self.recorder.flush()
        tick = self.memory.get("tick")
        self._set_length(duration_s, self.start_s + tick * self.tick_s - tick * duration_s)

    def shorten(self, duration_s: float) -> None:
        """After a tick that was lengthened to ``duration_s``: ticks have their own length again, and begin that much later. [s]"""
        self.recorder.flush()
        self.recorder.history.skip(duration_s - self.tick_s)
        self.start_s += duration_s - self.tick_s
        self.now.start_s = self.start_s
        self._set_length(self.tick_s, self.start_s)

    def _set_length(self, duration_s: float, start_s: float) -> None:
        hours_h, battery = duration_s / 3600.0, self.physical.battery
        self.recorder.set_length(duration_s)
        for name, value in (
            ("start_s", start_s),
            ("tick_s", duration_s),
            ("hours_h", hours_h),
            ("loss_ratio", self_discharge_ratio(battery.self_discharge_per_hour, hours_h) if battery else 0.0),
        ):
            self.memory.set(name, value)

    def gap(
        self,
        duration_s: float,
        *,
        import_wh: float,
        export_wh: float,
        solar_wh: float,
        measured_level_wh: float,
        charge_wh: float = 0.0,
        discharge_wh: float = 0.0,
    ) -> None:
        """Account for time that nobody metered: one row of `_site` from the cumulative meters.

        The battery's change is booked at the start of the tick that follows, as `adjust_battery` does; carbon is unknown.

        Args:
            duration_s: length. [s]
            import_wh, export_wh, solar_wh: by the meters, over the gap; NaN: unknown. [Wh]
            measured_level_wh: battery level above the line at its end, without the buffer. [Wh]
            charge_wh, discharge_wh: at the battery's terminals, over the gap; one of them. [Wh]
        """
        self._at_boundary("gap")
        self.recorder.flush()
        energy = GapEnergy(import_wh, export_wh, solar_wh, charge_wh, discharge_wh)
        own, hours_h, get = self.app_count, duration_s / 3600.0, self.memory.get
        gain_wh = energy.gain_wh(get("charge_efficiency"), get("discharge_efficiency"))
        told = "the meters say nothing of it"
        if energy.known:
            for column, added in gaps.own_sums(energy).items():
                self.set(own, column, self.get(own, column) + added)
            for name, added in gaps.site_sums(energy, gain_wh).items():
                self.memory.set(name, get(name) + added)
            told = f"import {import_wh:g} Wh, export {export_wh:g} Wh, solar {solar_wh:g} Wh"
        self.recorder.write_gap(
            duration_s,
            {
                **gaps.flows(energy, hours_h, gain_wh if energy.known else 0.0),
                **{name: self.get(own, name) for name in ("battery_level_wh", "capacity_wh", "stored_carbon_g")},
            },
            {
                **gaps.site_flows(energy, hours_h),
                **{name: get(name) for name in ("buffer_wh", "physical_level_wh", "below_line_wh")},
            },
            f"{duration_s:g} s; {told}",
        )
        self.start_s += duration_s
        self.now.start_s += duration_s
        self.memory.set("start_s", self.start_s)
        self.adjust_battery(measured_level_wh)

    def _tell(self, kind: str, name: str, detail: str = "") -> None:
        """Record an event at the start of the coming tick, once the run has begun."""
        tick = self.memory.get("tick")
        if tick > 0.0:
            self.recorder.tell(Event(self.start_s + tick * self.tick_s, name, kind, detail))

    def _at_boundary(self, function: str) -> None:
        if self._in_loop:
            raise SettingRefused(f"{function}: only between ticks, not from within a policy's tick()")

    def _move_energy(self, index: int, energy_wh: float, carbon_g: float) -> None:
        """Move energy and carbon into (or, negative, out of) an app's battery at this boundary."""
        column = "transfer_in_wh" if energy_wh >= 0.0 else "transfer_out_wh"
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
        total_wh = math.fsum(rooms)
        if total_wh <= 0.0:
            return
        moved_wh, moved_g = self._move_above(own, self.get(own, "capacity_wh"))
        for index, room_wh in enumerate(rooms):
            if room_wh > 0.0:
                self._move_energy(index, moved_wh * (room_wh / total_wh), moved_g * (room_wh / total_wh))

    def _apply_limits(self) -> None:
        """Write every app's limits; energy above a new capacity moves to `_site`."""
        limits = physical_limits(self.physical.battery, self.usable_wh, self.physical.grid_limit_w, *self._feasible_w)
        self.memory.set("charge_limit_w", limits.charge_limit_w)
        self.memory.set("discharge_limit_w", limits.discharge_limit_w)
        holding = self.memory.get("above_line_wh") > 0.0
        moved_wh = moved_g = 0.0
        for group in self.all_groups:
            values = app_limits(group.spec.shares, limits)
            if holding and group is not self.own_group:
                for index in group.indices:
                    energy_wh, carbon_g = self._move_above(index, values["capacity_wh"])
                    moved_wh += energy_wh
                    moved_g += carbon_g
            for name, value in values.items():
                self.fill(group, name, value)
        if moved_wh > 0.0:
            self._move_energy(self.app_count, moved_wh, moved_g)
        if holding:
            self._pass_on_overflow()

    # -- the loop

    def entering_loop(self) -> None:
        """Boundary functions are refused until `left_loop`."""
        self.begin()
        if self.recorder.sink is not None and self.memory.get("tick") == 0.0:
            self._tell_levels()
        self._in_loop = True

    def _tell_levels(self) -> None:
        capacities = self.everyone("capacity_wh")
        self.recorder.set_levels(dict(zip(self.app_names, zip(self.levels_wh(), capacities, strict=True), strict=True)))

    def left_loop(self) -> None:
        """Boundary functions are allowed again."""
        self._in_loop = False

    def _initialise(self) -> None:
        physical, battery, memory = self.physical, self.physical.battery, self.memory
        hours_h = self.tick_s / 3600.0
        order = [_EXCESS[name] for name in physical.excess if name in _EXCESS]
        order += [columns.NONE] * (2 - len(order))
        for name, value in {
            "woken_tick": -1.0,
            "metered_rest_w": -1.0,
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
            "below_line_wh": battery.capacity_wh * battery.empty_ratio if battery else 0.0,
        }.items():
            memory.set(name, value)
        memory.set_array("power_curve_w", physical.server.power_curve_w)

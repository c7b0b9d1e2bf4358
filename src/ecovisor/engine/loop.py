"""Running a site's ticks: call policies and plug-in workloads before each, let the loop do the rest, and say how far it is.

The loop itself is `kernel.advance`; it calls back here only where Python has something to do. Policies that are built in are started here
and then run inside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ecovisor.engine.asking import Asking, asking
from ecovisor.engine.kernel import FULL_BLOCK, WAKE
from ecovisor.engine.site import Site
from ecovisor.engine.specification import AppSpec, BuiltInPolicy, Group, policy_columns
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.model.errors import PolicyError
from ecovisor.model.units import iso_utc
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import Event
from ecovisor.workloads.models import BatchJob, ConstantDemand, Metered, TracedDemand

_STOP, _GROW = 1, 2
INFINITY = float("inf")
_BUILT_IN_WORKLOADS = (BatchJob, ConstantDemand, Metered, TracedDemand)


@dataclass(slots=True)
class _Refresh:
    """A built-in policy whose thresholds are taken anew from time to time."""

    policy: BuiltInPolicy
    group: Group
    handle: VirtualEnergySystem
    inside: bool
    """Whether the policy itself runs inside the loop."""
    every_ticks: int
    next_tick: int


class Loop:
    """Policies and workloads of a site's apps, ready to run.

    Args:
        site: with its apps joined.
        policies_in_python: run built-in policies through their `tick()` as well, instead of inside the loop; for comparison.
        progress: called now and then with the ticks done and the last tick.
        on_error: told of policies that raise, and the others go on; None: the run stops there.
    """

    def __init__(
        self,
        site: Site,
        *,
        policies_in_python: bool = False,
        progress: Callable[[int, int], None] | None = None,
        on_error: Callable[[PolicyError], None] | None = None,
    ) -> None:
        self.site = site
        self._on_error = on_error
        self._progress = progress
        self._ticks: list[tuple[Callable[[Any, Any], None], VirtualEnergySystem]] = []
        self._workloads: list[Asking] = []
        self._refreshes: list[_Refresh] = []
        self._error: BaseException | None = None
        self._in_python = policies_in_python
        self._asked: list[Asking] = []
        self._last_tick = 0
        self._set_up: dict[int, Group] = {}

    def run(self, until_tick: int) -> None:
        """Run up to a tick, not including it.

        Raises:
            PolicyError: a policy raised; the ticks before it stand.
            EcovisorError: a sink or workload failed.
        """
        site = self.site
        first_tick = int(site.memory.get("tick"))
        self._get_ready(until_tick)
        site.entering_loop()
        try:
            code = _GROW
            while code == _GROW:
                code = site.memory.advance(self._call_back)
                if code == _GROW:
                    site.grow()
        finally:
            site.left_loop()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        site.recorder.flush()
        self._look_at(until_tick)
        asked, self._asked = self._asked, []
        for one in asked:
            one.tell()
        self._tell_completed(site.start_s + first_tick * site.tick_s)
        if self._progress is not None:
            self._progress(until_tick, until_tick)

    def wake(self) -> None:
        """Live: call the policies and ask the workloads before the coming tick, now; `run` will not do so again for this tick."""
        site = self.site
        tick = int(site.memory.get("tick"))
        self._get_ready(tick + 1)
        site.entering_loop()
        try:
            code = self._call_back(WAKE)
        finally:
            site.left_loop()
        site.memory.set("woken_tick", tick)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if code == _GROW:
            site.grow()

    def _get_ready(self, until_tick: int) -> None:
        site = self.site
        self._last_tick = until_tick
        first_tick = int(site.memory.get("tick"))
        arranged = site.memory
        site.prepare((site.app_count + 1) * (until_tick - first_tick))
        if site.memory is not arranged:
            site.attach_recorder()
        self._forget_who_left()
        self._set_up_groups()
        if site.regrow:  # containers changed since the last run
            site.grow()
        memory = site.memory
        python = bool(self._ticks or self._workloads or site.every_tick)
        if python and not site.recorder.wanted and site.recorder.history.keep_s > 0.0:
            site.recorder.wanted = True
            site.attach_recorder()
        memory.set("keep", 1.0 if python or site.recorder.wanted else 0.0)
        memory.set("wake", 1.0 if python else 0.0)
        memory.set("last_tick", until_tick)
        if not site.recorder.wanted:
            memory.set("rows", max(1, (until_tick - first_tick) // 100))
        self._schedule_refresh()

    # -- called by the loop

    def _call_back(self, reason: int) -> int:
        energy, part, site = None, "policy", self.site
        now = site.now
        try:
            if reason == FULL_BLOCK:
                site.recorder.flush()
                if self._progress is not None:
                    self._progress(int(site.memory.get("tick")), self._last_tick)
                return 0
            now.tick, now.intensity_g_per_kwh = site.memory.clock()
            if self._refreshes:
                self._refresh(now.tick)
            if self._asked:
                part = "workload"
                for one in self._asked:
                    energy = one.energy
                    one.tell()
                part = "policy"
            if site.every_tick:
                for energy in list(site.handles.values()):
                    energy.observe()
            if self._on_error is not None:
                self._call_guarded(self._on_error)
            else:
                for call, energy in self._ticks:
                    call(energy, energy)
            if self._workloads:
                part = "workload"
                for one in self._workloads:
                    energy = one.energy
                    one.ask()
                self._asked = list(self._workloads)
            return _GROW if site.regrow else 0
        except BaseException as error:
            self._error = error
            if energy is not None and isinstance(error, Exception):
                self._error = PolicyError(energy.name, now.tick, iso_utc(now.now_s), error, part)
                self._error.__cause__ = error
            return _STOP

    def _call_guarded(self, on_error: Callable[[PolicyError], None]) -> None:
        for call, energy in self._ticks:
            try:
                call(energy, energy)
            except Exception as error:
                told = PolicyError(energy.name, self.site.now.tick, iso_utc(self.site.now.now_s), error)
                told.__cause__ = error
                on_error(told)

    def _look_at(self, tick: int) -> None:
        """What settings made between runs will govern, and what is known then."""
        now, intensity = self.site.now, self.site.signals.carbon_intensity_g_per_kwh
        known = tick - self.site.signals.first_tick
        now.tick, now.intensity_g_per_kwh = tick, intensity[known] if known < len(intensity) else math.nan

    # -- policies

    def _forget_who_left(self) -> None:
        """Policies and workloads leave with their apps."""
        present = {id(group) for group in self.site.groups}
        self._set_up = {key: group for key, group in self._set_up.items() if key in present}
        handles = {id(handle) for handle in self.site.handles.values()}
        self._ticks = [(call, handle) for call, handle in self._ticks if id(handle) in handles]
        self._workloads = [one for one in self._workloads if id(one.energy) in handles]
        self._asked = [one for one in self._asked if id(one.energy) in handles]
        self._refreshes = [refresh for refresh in self._refreshes if id(refresh.group) in present]

    def _set_up_groups(self) -> None:
        """Make and start the policies and plug-in workloads of apps that have joined since."""
        for group in self.site.groups:
            if id(group) in self._set_up:
                continue
            self._set_up[id(group)] = group
            self._set_up_policy(group)
            if not isinstance(group.spec.workload, _BUILT_IN_WORKLOADS):
                for index in group.indices:
                    one = asking(group.spec.workload(), self.site.handle(index), group.spec.start_s)
                    self.site.set(index, "workload_kind", one.kind)
                    self._workloads.append(one)

    def _set_up_policy(self, group: Group) -> None:
        policy = group.spec.policy()
        if type(policy) is CarbonAgnostic:
            return
        # A plug-in workload is told the cores that its policy has decided on, so the policy has to come first.
        inside = not self._in_python and isinstance(group.spec.workload, _BUILT_IN_WORKLOADS)
        if inside and type(policy) in BuiltInPolicy.__args__ and isinstance(policy, BuiltInPolicy):
            self._start(policy.start, group.spec, self.site.handle(group.first))
            self._load(policy, group)
            self._refresh_later(policy, group, self.site.handle(group.first), inside=True)
            return
        for copy, index in enumerate(group.indices):
            one = policy if copy == 0 else group.spec.policy()
            handle = self.site.handle(index)
            start = getattr(one, "start", None)
            if start is not None:
                self._start(start, group.spec, handle)
            self._ticks.append((one.tick, handle))
            if isinstance(one, BuiltInPolicy):
                self._refresh_later(one, group, handle, inside=False)

    def _refresh_later(self, policy: BuiltInPolicy, group: Group, handle: VirtualEnergySystem, *, inside: bool) -> None:
        if policy.refresh_s is not None:
            every = max(1, round(policy.refresh_s / self.site.tick_s))
            tick = int(self.site.memory.get("tick"))
            self._refreshes.append(_Refresh(policy, group, handle, inside, every, tick + every))

    def _start(self, start: Callable[[Any], None], spec: AppSpec, handle: VirtualEnergySystem) -> None:
        """A policy looks ahead for the first time from its workload's start, or from now if that has passed."""
        now = self.site.now
        tick = int(self.site.memory.get("tick"))
        ahead = (spec.begins_s - self.site.start_s) / now.tick_s
        now.tick = math.floor(ahead) if ahead > tick else tick
        try:
            start(handle)
        except Exception as error:
            raise PolicyError(handle.name, now.tick, iso_utc(now.now_s), error) from error

    def _load(self, policy: BuiltInPolicy, group: Group) -> None:
        memory = self.site.memory
        for name, value in policy_columns(policy).items():
            memory.fill(group.first, group.spec.count, name, value)
        memory.set("has_policies", 1.0)

    def _refresh(self, tick: int) -> None:
        for refresh in self._refreshes:
            if tick >= refresh.next_tick:
                refresh.policy.start(refresh.handle)
                if refresh.inside:
                    self._load(refresh.policy, refresh.group)
                refresh.next_tick = tick + refresh.every_ticks
        self._schedule_refresh()

    def _schedule_refresh(self) -> None:
        due = min((refresh.next_tick for refresh in self._refreshes), default=INFINITY)
        self.site.memory.set("next_wake_tick", due)

    def _tell_completed(self, since_s: float) -> None:
        sink = self.site.recorder.sink
        if sink is None:
            return
        for group in self.site.groups:
            if isinstance(group.spec.workload, BatchJob) or callable(group.spec.workload):
                for index in group.indices:
                    completed_s = self.site.get(index, "completed_s")
                    if completed_s > since_s:
                        sink.write_event(Event(completed_s, group.spec.name_of(index - group.first), "completed"))

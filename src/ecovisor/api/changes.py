"""What an app sets. Every setter says which tick it governs first, what was asked, what is in force, and which limit came between.

A change is one function of the app's energy system, which the backend applies in one go: all of it, or what it raises and nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import UNSET

from ecovisor import wire
from ecovisor.api.calls import Call, Reply
from ecovisor.api.reads import unknown_container
from ecovisor.ports import VirtualEnergy


@dataclass(slots=True)
class _Outcome:
    """Collects what settings came to."""

    asked: dict[str, float | None] = field(default_factory=dict)
    in_force: dict[str, float | None] = field(default_factory=dict)
    clipped: dict[str, str] = field(default_factory=dict)
    id: str | None = None

    def add(self, name: str, asked: float | None, in_force: float, limit: str = "") -> None:
        """Note a setting; infinite becomes null. Less in force than asked was clipped, by ``limit``."""
        self.asked[name] = asked
        self.in_force[name] = in_force if in_force < math.inf else None
        if asked is not None and in_force < asked:
            self.clipped[name] = limit

    def answer(self, effective_tick: int) -> wire.SettingAnswer:
        return wire.SettingAnswer(
            effective_tick=effective_tick, asked=self.asked, in_force=self.in_force, clipped=self.clipped, id=self.id
        )


async def _apply(call: Call, change: Callable[[VirtualEnergy, _Outcome], None]) -> wire.SettingAnswer:
    def apply(energy: VirtualEnergy) -> _Outcome:
        outcome = _Outcome()
        change(energy, outcome)
        return outcome

    changed = await call.backend.change(call.app, apply)
    return changed.value.answer(changed.effective_tick)


async def change_battery(call: Call) -> wire.SettingAnswer:
    """``PATCH /v1/battery``."""
    request: wire.ChangeBattery = call.body

    def change(energy: VirtualEnergy, outcome: _Outcome) -> None:
        rate_w, discharge_w = request.charge_rate_w, request.max_discharge_w
        if rate_w is not UNSET:
            limit_w = energy.battery_charge_limit_w
            by = f"the app's charge limit of {limit_w:g} W" if rate_w > limit_w else "the room in the battery"
            outcome.add("charge_rate_w", rate_w, energy.set_battery_charge_rate(rate_w), by)
        if discharge_w is not UNSET:
            by = f"the app's discharge limit of {energy.battery_discharge_limit_w:g} W"
            in_force_w = energy.set_battery_max_discharge(math.inf if discharge_w is None else discharge_w)
            outcome.add("max_discharge_w", discharge_w, in_force_w, by)

    return await _apply(call, change)


async def change_app(call: Call) -> wire.SettingAnswer:
    """``PATCH /v1/app``."""
    request: wire.ScaleApp = call.body

    def change(energy: VirtualEnergy, outcome: _Outcome) -> None:
        if request.scale_ratio is not UNSET:
            energy.scale_containers(request.scale_ratio)
            outcome.add("scale_ratio", request.scale_ratio, request.scale_ratio)
        if request.cap_w is not UNSET:
            cap_w = math.inf if request.cap_w is None else request.cap_w
            energy.set_app_powercap(cap_w)
            outcome.add("cap_w", request.cap_w, cap_w)

    return await _apply(call, change)


# -- containers


async def add_container(call: Call) -> Reply:
    """``POST /v1/containers``."""
    request: wire.AddContainer = call.body

    def change(energy: VirtualEnergy, outcome: _Outcome) -> None:
        outcome.id = energy.add_container(request.cores, request.command)
        outcome.add("cores", request.cores, request.cores)

    answer = await _apply(call, change)
    return call.json(answer, status=201, headers=((b"location", f"/v1/containers/{answer.id}".encode()),))


async def change_container(call: Call) -> wire.SettingAnswer:
    """``PATCH /v1/containers/{id}``: resize, then cap, then suspend or resume."""
    request: wire.ChangeContainer = call.body
    container_id = call.path["id"]

    def change(energy: VirtualEnergy, outcome: _Outcome) -> None:
        _must_exist(energy, container_id)
        if request.cores is not UNSET:
            energy.resize_container(container_id, request.cores)
            outcome.add("cores", request.cores, request.cores)
        if request.cap_w is not UNSET:
            in_force_w = energy.set_container_powercap(container_id, math.inf if request.cap_w is None else request.cap_w)
            by = "a lower limit: the app's cap or carbon budget, or the container's carbon rate"
            outcome.add("cap_w", request.cap_w, in_force_w, by)
        if request.running is not UNSET:
            (energy.resume_container if request.running else energy.suspend_container)(container_id)

    return await _apply(call, change)


async def remove_container(call: Call) -> wire.SettingAnswer:
    """``DELETE /v1/containers/{id}``."""
    container_id = call.path["id"]

    def change(energy: VirtualEnergy, outcome: _Outcome) -> None:
        _must_exist(energy, container_id)
        energy.remove_container(container_id)
        outcome.id = container_id

    return await _apply(call, change)


def _must_exist(energy: VirtualEnergy, container_id: str) -> None:
    if all(info.id != container_id for info in energy.list_containers()):
        raise unknown_container(container_id)


# -- carbon


async def set_carbon_budget(call: Call) -> wire.SettingAnswer:
    """``PUT /v1/carbon/budget``."""
    request: wire.SetBudget = call.body

    def change(energy: VirtualEnergy, outcome: _Outcome) -> None:
        energy.set_carbon_budget(request.budget_g)
        outcome.add("budget_g", request.budget_g, math.inf if request.budget_g is None else request.budget_g)

    return await _apply(call, change)


async def set_carbon_rate(call: Call) -> wire.SettingAnswer:
    """``PUT /v1/carbon/rate``."""
    request: wire.SetRate = call.body
    container_id: str = call.query["container"]

    def change(energy: VirtualEnergy, outcome: _Outcome) -> None:
        _must_exist(energy, container_id)
        rate = request.carbon_rate_g_per_h
        energy.set_carbon_rate(container_id, rate)
        outcome.add("carbon_rate_g_per_h", rate, math.inf if rate is None else rate)
        cap_w = energy.get_container_powercap(container_id)
        outcome.in_force["cap_w"] = cap_w if cap_w < math.inf else None

    return await _apply(call, change)


# -- what the app says of itself


async def report_metrics(call: Call) -> Reply:
    """``PUT /v1/app/metrics``."""
    await call.backend.report_metrics(call.app, call.body)
    return Reply(status=204)


async def finish_tick(call: Call) -> Reply:
    """``PUT /v1/app/tick``."""
    request: wire.TickDone = call.body
    await call.backend.tick_done(call.app, request.tick)
    return Reply(status=204)

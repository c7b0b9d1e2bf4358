"""What drives an app and what it sees: the virtual energy system, the policy, the workload, and the forecasts that they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from ecovisor.model.series import Series


@runtime_checkable
class Forecaster(Protocol):
    """Answers what a signal is expected to be, from what is known at an instant."""

    def forecast(self, now_s: float, horizon_s: float) -> Series:
        """The expected signal over ``[now_s, now_s + horizon_s)``, on the signal's own steps, quality `forecast`.

        The first step is the one that holds at ``now_s``. Only values published before ``now_s`` may be used, unless the
        forecaster says of itself that it is perfect. It ends early where nothing is known.
        """
        ...


@dataclass(frozen=True, slots=True)
class ContainerInfo:
    """A container as its app sees it."""

    id: str
    cores: float
    running: bool
    """False while suspended."""
    power_w: float
    """Mean over the last tick. [W]"""
    cap_w: float
    """Power cap in force; infinite where there is none. [W]"""


@runtime_checkable
class VirtualEnergy(Protocol):
    """An app's own energy system: grid connection, solar array and battery (Ecovisor paper, Tables 1 and 2), in W, Wh, g and g/kWh.

    The engine implements it in process, the HTTP client against a live server; a policy file runs on either. Getters of power answer for
    the last tick, except solar, which is known for the coming one. Settings govern the coming tick (``effective_tick``); a value over a
    limit is kept as asked and clamped when it acts, and the setter returns what it comes to now. Setters raise `SettingRefused` for
    NaN, infinite (but for caps and the largest discharge) or negative values and for unknown containers.
    """

    # Where and when
    @property
    def effective_tick(self) -> int:
        """Number of the tick that settings made now will govern."""
        ...

    @property
    def now_s(self) -> float:
        """Start of that tick. [s since the epoch]"""
        ...

    @property
    def tick_s(self) -> float:
        """Length of a tick. [s]"""
        ...

    # Table 1
    def set_container_powercap(self, container_id: str, cap_w: float) -> float:
        """Cap a container's power. [W] Raises `Infeasible` below its idle power, naming the floor."""
        ...

    def set_battery_charge_rate(self, charge_rate_w: float) -> float:
        """Charge at this rate until full, the grid adding what excess solar does not give. [W]"""
        ...

    def set_battery_max_discharge(self, max_discharge_w: float) -> float:
        """Largest power that the battery gives to the load. [W]"""
        ...

    def get_solar_power(self) -> float:
        """Solar power available in the coming tick. [W]"""
        ...

    def get_grid_power(self) -> float:
        """Grid power used, by load and battery. [W]"""
        ...

    def get_grid_carbon(self) -> float:
        """Carbon intensity of the grid now; NaN where unknown. [g/kWh]"""
        ...

    def get_battery_discharge_rate(self) -> float:
        """Power given by the battery. [W]"""
        ...

    def get_battery_charge_level(self) -> float:
        """Energy in the battery above the empty line. [Wh]"""
        ...

    def get_container_powercap(self, container_id: str) -> float:
        """A container's cap in force; infinite where there is none. [W]"""
        ...

    def get_container_power(self, container_id: str) -> float:
        """A container's power. [W]"""
        ...

    # The virtual battery's and grid's size
    @property
    def battery_capacity_wh(self) -> float:
        """Usable capacity of the app's battery. [Wh]"""
        ...

    @property
    def battery_charge_limit_w(self) -> float:
        """The app's part of the physical charge limit. [W]"""
        ...

    @property
    def battery_discharge_limit_w(self) -> float:
        """The app's part of the physical discharge limit. [W]"""
        ...

    @property
    def idle_power_w(self) -> float:
        """Power that the app's running containers draw without load: the least that a cap can be. [W]"""
        ...

    # Table 2
    def get_container_energy(self, container_id: str, start_s: float, end_s: float) -> float:
        """Energy used by a container in ``[start_s, end_s)``. [Wh]"""
        ...

    def get_container_carbon(self, container_id: str, start_s: float, end_s: float) -> float:
        """Carbon of a container in ``[start_s, end_s)``, on import. [g]"""
        ...

    def get_app_power(self) -> float:
        """Power served to the app's containers. [W]"""
        ...

    def get_app_energy(self, start_s: float, end_s: float) -> float:
        """Energy served to the app's containers in ``[start_s, end_s)``. [Wh]"""
        ...

    def get_app_carbon(self, start_s: float | None = None, end_s: float | None = None) -> float:
        """Carbon of the app, on import: since the start, or in an interval. [g]"""
        ...

    def set_carbon_rate(self, container_id: str, carbon_rate_g_per_h: float | None) -> None:
        """Keep a container's emissions below a rate, by its power cap; None ends it. [g/h]"""
        ...

    def set_carbon_budget(self, budget_g: float | None) -> None:
        """Keep the app's emissions from now on within a total, by capping its power when it is nearly spent; None ends it. [g]"""
        ...

    def notify_solar_change(self, callback: Callable[[float], None], threshold_ratio: float = 0.1) -> None:
        """Call with the solar power [W] when it has changed by more than a part of its last notified value."""
        ...

    def notify_carbon_change(self, callback: Callable[[float], None], threshold_ratio: float = 0.1) -> None:
        """Call with the carbon intensity [g/kWh] when it has changed by more than a part of its last notified value."""
        ...

    def notify_battery_full(self, callback: Callable[[float], None]) -> None:
        """Call with the level [Wh] when the battery has become full."""
        ...

    def notify_battery_empty(self, callback: Callable[[float], None]) -> None:
        """Call with the level [Wh] when the battery has become empty."""
        ...

    # Containers (assumed by Table 1; paper, section 3)
    def list_containers(self) -> list[ContainerInfo]:
        """The app's containers."""
        ...

    def add_container(self, cores: float, command: str | None = None) -> str:
        """Start a container, with one of the commands that the operator allows (the first by default); returns its id."""
        ...

    def remove_container(self, container_id: str) -> None:
        """Stop and remove a container."""
        ...

    def resize_container(self, container_id: str, cores: float) -> None:
        """Give a container another number of cores."""
        ...

    def suspend_container(self, container_id: str) -> None:
        """Freeze a container: it draws nothing and keeps its state."""
        ...

    def resume_container(self, container_id: str) -> None:
        """Let a suspended container run again."""
        ...

    def scale_containers(self, factor: float) -> None:
        """Run all containers on ``factor`` times their cores; 0 suspends them all."""
        ...

    def set_app_powercap(self, cap_w: float) -> None:
        """Cap the app as a whole: together its containers draw no more. [W]"""
        ...

    # Past and future
    def history(self, metric: str, start_s: float, end_s: float) -> Series:
        """A column of the `flows` table, or `carbon_intensity_g_per_kwh`, over ``[start_s, end_s)``.

        Raises `Infeasible` for times that are not kept, naming those that are.
        """
        ...

    def forecast(self, signal: str, horizon_s: float) -> Series:
        """What ``carbon`` [g/kWh] or ``solar`` [W, the app's share] is expected to be over the coming ``horizon_s``."""
        ...


class AppView(Protocol):
    """What a policy sees of its own application: in simulation from the workload, live from what the app reports."""

    @property
    def name(self) -> str:
        """The app's name."""
        ...

    @property
    def progress_ratio(self) -> float:
        """Part of a batch job's work that is done; NaN where the workload has no end. [1]"""
        ...

    @property
    def completed(self) -> bool:
        """True once a batch job is done."""
        ...

    @property
    def metrics(self) -> Mapping[str, float]:
        """The app's other metrics, by name (queue length, 95th percentile of latency, …)."""
        ...


class Policy(Protocol):
    """Drives one app's energy system; called before every tick (paper, section 3.1)."""

    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        """Look at the supply and the application; set what shall govern the coming tick."""
        ...


class Workload(Protocol):
    """A plug-in workload in simulation: says what it asks for, and is told what it got.

    It may also have ``work_done`` and ``work_total`` (floats, in a unit of its own that ``work_unit`` names) and ``metrics`` (name →
    float): its app's policy sees them. Where its work has an end, ``completed_s`` says when that was, NaN until then; without it, that is
    the end of the tick. [s since the epoch]
    """

    def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
        """Mean power asked for in ``[now_s, now_s + tick_s)`` with ``cores`` running cores. [W]"""
        ...

    def run(self, served_w: float, tick_s: float) -> None:
        """The tick is over; ``served_w`` was granted. [W]"""
        ...


class ContainerWorkload(Protocol):
    """A plug-in workload in simulation that sees its containers one by one, as a load balancer or a scheduler does.

    It may also have what a `Workload` may. A container that runs and does nothing asks for its idle power.
    """

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        """Mean power that each asks for in ``[now_s, now_s + tick_s)``, in the order given: at most its cap, 0 if suspended. [W]"""
        ...

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        """The tick is over; what each of these containers was granted, in the same order. [W]"""
        ...

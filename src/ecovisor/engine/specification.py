"""What joins a site: an app's shares, containers, workload and policy; and how they become columns that the loop runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ecovisor.engine import columns
from ecovisor.policies.battery_arbitrage import BatteryArbitrage
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.wait_and_scale import WaitAndScale
from ecovisor.ports import ContainerWorkload, Policy, Workload
from ecovisor.presets import AppShares
from ecovisor.workloads.models import BatchJob, ConstantDemand, Metered, TracedDemand

INFINITY = float("inf")
SITE_APP = "_site"

BuiltInPolicy = SuspendResume | WaitAndScale | BatteryArbitrage | StaticCarbonRate


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """An application, or ``count`` copies of it with these shares each."""

    name: str
    shares: AppShares
    workload: BatchJob | ConstantDemand | TracedDemand | Metered | Callable[[], Workload | ContainerWorkload]
    """Built in, or what makes a plug-in for each copy."""
    policy: Callable[[], Policy] = CarbonAgnostic
    """Makes the policy, one for each copy; a built-in one runs inside the loop and is made once."""
    containers: int = 1
    cores: float = 1.0
    """Of each container."""
    count: int = 1
    commands: tuple[str, ...] = ()
    """Names of the commands that its containers may run, where they are real."""
    workload_name: str = ""
    policy_name: str = ""
    start_s: float = -INFINITY
    """When a workload in Python starts; built-in ones have it among their parameters. [s since the epoch]"""

    @property
    def begins_s(self) -> float:
        """When its workload starts. [s since the epoch]"""
        return float(getattr(self.workload, "start_s", self.start_s))

    def name_of(self, copy: int) -> str:
        """Name of a copy, from 0."""
        return self.name if self.count == 1 else f"{self.name}-{copy + 1}"

    def clash(self, others: Mapping[str, AppSpec]) -> str | None:
        """A name that this spec and another of ``others`` (by name), or copies of them, would share."""
        if self.name in others:
            return self.name
        stem = self.name.rpartition("-")[0]
        if self.count == 1 and stem in others and others[stem].has_copy(self.name):
            return self.name
        if self.count > 1:
            return next((name for name, other in others.items() if other.count == 1 and self.has_copy(name)), None)
        return None

    def has_copy(self, name: str) -> bool:
        """Whether one of several copies is called so."""
        tail = name[len(self.name) + 1 :] if name.startswith(f"{self.name}-") else ""
        return self.count > 1 and tail.isdecimal() and str(int(tail)) == tail and 1 <= int(tail) <= self.count


@dataclass(slots=True)
class Group:
    """The copies of a spec, by their numbers at the site."""

    spec: AppSpec
    first: int
    container_slots: int
    """Container records of each copy."""
    first_slot: int = 0

    @property
    def indices(self) -> range:
        """Numbers of the copies."""
        return range(self.first, self.first + self.spec.count)


def workload_columns(
    spec: AppSpec, traces: Mapping[str, tuple[int, bool]], speed_tables: list[tuple[tuple[float, float], ...]]
) -> dict[str, float]:
    """Columns of a spec's workload.

    Args:
        spec: the app.
        traces: signal → its row, and whether it is a utilisation.
        speed_tables: measured tables so far; a new one is appended.
    """
    work = spec.workload
    values = {
        "start_s": -INFINITY,
        "end_s": INFINITY,
        "speed_table": -1.0,
        "running": -1.0,
        "completed_s": float("nan"),
    }
    if isinstance(work, BatchJob):
        if work.speed_table is not None:
            if work.speed_table not in speed_tables:
                speed_tables.append(work.speed_table)
            values["speed_table"] = float(speed_tables.index(work.speed_table))
        values |= {
            "workload_kind": columns.BATCH,
            "start_s": work.start_s,
            "work_total": work.work_core_h,
            "contention": work.contention,
            "coherency": work.coherency,
            "checkpoint_interval_s": work.checkpoint_interval_s,
            "checkpoint_duration_s": work.checkpoint_duration_s,
            "restart_duration_s": work.restart_duration_s,
            "idle_when_starved": float(work.idle_when_starved),
            "load_ratio": 1.0,
        }
    elif isinstance(work, Metered):
        values |= {"workload_kind": columns.METERED, "metered": 1.0}
    elif isinstance(work, ConstantDemand):
        values |= {"workload_kind": columns.CONSTANT, "start_s": work.start_s, "asked_w": work.demand_w}
    elif isinstance(work, TracedDemand):
        row, is_ratio = traces[work.signal]
        values |= {
            "workload_kind": columns.TRACE_RATIO if is_ratio else columns.TRACE_W,
            "start_s": work.start_s,
            "trace": float(row),
        }
    else:
        values |= {"workload_kind": columns.EXTERNAL, "start_s": spec.start_s}
    return values


def policy_columns(policy: BuiltInPolicy) -> dict[str, float]:
    """Columns of a built-in policy, once it has been started."""
    if isinstance(policy, BatteryArbitrage):
        return {
            "policy_kind": columns.BATTERY_ARBITRAGE,
            "threshold_g_per_kwh": policy.charge_below_g_per_kwh,
            "upper_threshold_g_per_kwh": policy.discharge_above_g_per_kwh,
            "policy_value": policy.charge_rate_w,
        }
    if isinstance(policy, StaticCarbonRate):
        return {"policy_kind": columns.STATIC_CARBON_RATE, "policy_value": policy.carbon_rate_g_per_h}
    if isinstance(policy, WaitAndScale):
        return {
            "policy_kind": columns.WAIT_AND_SCALE,
            "threshold_g_per_kwh": policy.threshold_g_per_kwh,
            "policy_value": policy.scale_ratio,
        }
    return {"policy_kind": columns.SUSPEND_RESUME, "threshold_g_per_kwh": policy.threshold_g_per_kwh}

"""Workloads and policies that are built in and written in Python: found by their kind, imported when one is used, made with its options.

Options are the keywords of the class, held to their types. `plugins` does the same for what others have written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, get_type_hints

import msgspec

from ecovisor.model.errors import SettingsError
from ecovisor.model.nearest import did_you_mean
from ecovisor.workloads.models import BatchJob

#: Kind → module and class.
WORKLOADS: Mapping[str, str] = {
    "training": "ecovisor.workloads.training:Training",
    "task-queue": "ecovisor.workloads.task_queue:TaskQueue",
    "stages": "ecovisor.workloads.stages:Stages",
    "synchronous": "ecovisor.workloads.synchronous:Synchronous",
    "replicas": "ecovisor.workloads.replicas:Replicas",
    "web-service": "ecovisor.workloads.web_service:WebService",
}
#: Those of them that are models of a batch job's scaling: the engine runs the job that they make.
BATCH_JOBS = ("training", "task-queue")
POLICIES: Mapping[str, str] = {
    "dynamic-carbon-budget": "ecovisor.policies.dynamic_carbon_budget:DynamicCarbonBudget",
    "carbon-rate-workers": "ecovisor.policies.carbon_rate_workers:CarbonRateWorkers",
    "battery-smoothing": "ecovisor.policies.battery_smoothing:BatterySmoothing",
    "opportunistic-workers": "ecovisor.policies.opportunistic_workers:OpportunisticWorkers",
    "latency-workers": "ecovisor.policies.latency_workers:LatencyWorkers",
    "equal-caps": "ecovisor.policies.equal_caps:EqualCaps",
    "balanced-caps": "ecovisor.policies.balanced_caps:BalancedCaps",
    "straggler-replicas": "ecovisor.policies.straggler_replicas:StragglerReplicas",
}


class ScalingModel(Protocol):
    """How fast a batch job is on how many cores, from what it is made of."""

    def batch_job(self, *, work_core_h: float, start_s: float) -> BatchJob:
        """The job. [core-h; s since the epoch]"""
        ...


def built_in_maker(
    kind: str, target: str, options: Mapping[str, object], where: str, surroundings: Mapping[str, Callable[[], object]]
) -> Callable[[], Any]:
    """What makes instances of a built-in class. One is made at once, so that mistakes are found before anything runs.

    Args:
        kind: as the scenario names it.
        target: ``module:Class``.
        options: keyword arguments of the class.
        where: the table that holds ``kind`` and ``options`` (``apps[0].policy``).
        surroundings: what the class is given where it has a keyword for it, unless an option says otherwise. Only `seed` may be
            an option too.

    Raises:
        SettingsError: an option is unknown, missing or of the wrong type, or the class refuses it.
    """
    module, _, name = target.partition(":")
    found = getattr(import_module(module), name)
    parameters = inspect.signature(found).parameters
    accepted = [key for key in parameters if key == "seed" or key not in surroundings]
    types = get_type_hints(found.__init__)
    takes = f"it takes {', '.join(accepted) or 'none'}"
    given: dict[str, object] = {}
    for key, value in options.items():
        if key not in accepted:
            raise SettingsError(f"{where}.options.{key}", f"{kind} has no such option", did_you_mean(key, accepted))
        try:
            given[key] = msgspec.convert(value, types[key])
        except msgspec.ValidationError as error:
            told = str(error).partition(" - at")[0].replace("`", "")
            raise SettingsError(f"{where}.options.{key}", f"is {value!r}: {told[0].lower()}{told[1:]}", takes) from None
    for key, parameter in parameters.items():
        if key in given:
            continue
        if key in surroundings:
            given[key] = surroundings[key]()
        elif parameter.default is parameter.empty:
            raise SettingsError(f"{where}.options.{key}", "missing", f"{kind} needs it; {takes}")

    def make() -> Any:
        try:
            return found(**given)
        except SettingsError as error:
            key = error.where.rpartition(".")[2]
            field = f"{where}.options.{key}" if key in accepted else f"{where}.options"
            raise SettingsError(field, error.problem, error.remedy or takes) from None
        except ValueError as error:
            raise SettingsError(f"{where}.options", f"{kind} cannot be made: {error}", takes) from None

    make()
    return make

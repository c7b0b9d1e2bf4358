"""The roles that parts of ecovisor play for each other, a page each. Each has its contract suite in `ecovisor.testing`.

`energy`: what policies and workloads see. `tables`: where a run's rows go. `live`: what a running site stands on (asynchronous).
"""

from ecovisor.ports.energy import AppView, ContainerInfo, ContainerWorkload, Forecaster, Policy, VirtualEnergy, Workload
from ecovisor.ports.tables import Block, Event, TableSink

__all__ = [
    "AppView", "Block", "ContainerInfo", "ContainerWorkload", "Event", "Forecaster", "Policy", "TableSink", "VirtualEnergy", "Workload",
]  # fmt: skip

"""Contract suites: what every implementation of a role in `ecovisor.ports` must do, as classes to inherit in one's own tests.

    from ecovisor.testing import PolicyContract

    class TestMine(PolicyContract):
        def make(self):
            return Mine(threshold=200.0)

pytest collects `TestMine` and runs the contract's tests on it. A suite asks for a `make()` and, where a role cannot be looked at from
outside, for one or two functions more; its docstring says which. `MemorySink` keeps a run's tables in memory, for tests and notebooks;
`small_site` is a simulated site with two apps. Plain assertions, no dependency on pytest.
"""

from __future__ import annotations

from ecovisor.testing.clock import ClockContract
from ecovisor.testing.container_workload import ContainerWorkloadContract
from ecovisor.testing.memory_sink import MemorySink
from ecovisor.testing.meter import NodeMeterContract
from ecovisor.testing.plant import EnergyPlantContract
from ecovisor.testing.platform import PlatformContract
from ecovisor.testing.policy import PolicyContract
from ecovisor.testing.signal import SignalContract
from ecovisor.testing.sites import small_site
from ecovisor.testing.table_sink import TableSinkContract
from ecovisor.testing.virtual_energy import VirtualEnergyContract
from ecovisor.testing.workload import WorkloadContract

__all__ = [
    "ClockContract",
    "ContainerWorkloadContract",
    "EnergyPlantContract",
    "MemorySink",
    "NodeMeterContract",
    "PlatformContract",
    "PolicyContract",
    "SignalContract",
    "TableSinkContract",
    "VirtualEnergyContract",
    "WorkloadContract",
    "small_site",
]

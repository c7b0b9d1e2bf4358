"""The contract of platforms, held by those that we have."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.adapters.platforms.made import BUSY, STUBBORN, needs, shell, state_folder
from tests.adapters.platforms.made_clock import MadeClock

from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.adapters.platforms.simulated import SimulatedPlatform
from ecovisor.ports.live import Command, Platform
from ecovisor.testing import PlatformContract


class TestSimulated(PlatformContract):
    burst_s = 0.0

    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.clock = MadeClock()

    def make(self) -> Platform:
        return SimulatedPlatform(self.clock)

    def again(self, platform: Platform) -> Platform:
        return platform

    def now_s(self) -> float:
        return self.clock.monotonic_s()

    async def passes(self, wall_s: float) -> None:
        self.clock.pass_by(wall_s)

    def busy(self) -> Command:
        return Command(["busy"])

    def ends(self, exit_code: int) -> Command:
        variables = {"ECOVISOR_SIMULATED_CPU_S": "0.01", "ECOVISOR_SIMULATED_EXIT_CODE": str(exit_code)}
        return Command(["ends"], environment=variables)

    def writes(self, text: str) -> Command:
        return Command(["writes"], environment={"ECOVISOR_SIMULATED_OUTPUT": text})

    def stubborn(self) -> Command:
        return self.busy()

    def impossible(self) -> Command:
        return Command(["busy"], environment={"ECOVISOR_SIMULATED_CORES": "many"})


def _of_the_page() -> Any:
    """What the page on platforms shows: its code, run."""
    page = (Path(__file__).parents[2] / "docs" / "platforms.md").read_text("utf-8")
    scope: dict[str, Any] = {}
    exec(compile("\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL)), "docs/platforms.md", "exec"), scope)
    return scope["TestMine"]


class TestTheOneOfThePage(_of_the_page()):  # type: ignore[misc]
    pass


class _Processes(PlatformContract):
    mechanism: str

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            self.state = stack.enter_context(state_folder(tmp_path))
            yield

    def make(self) -> Platform:
        return ProcessPlatform(self.state, mechanism=self.mechanism)

    def busy(self) -> Command:
        return BUSY

    def ends(self, exit_code: int) -> Command:
        return shell(f"exit {exit_code}" if exit_code >= 0 else f"kill {exit_code} $$")

    def writes(self, text: str) -> Command:
        return shell('printf %s "$TEXT"; exec sleep 1000', TEXT=text)

    def stubborn(self) -> Command:
        return STUBBORN

    def impossible(self) -> Command:
        return Command(["/no/such/program"])


@needs("cgroup-v1")
class TestProcessesInControlGroupsV1(_Processes):
    mechanism = "cgroup-v1"


@needs("cgroup-v2")
class TestProcessesInControlGroupsV2(_Processes):
    mechanism = "cgroup-v2"


@needs("duty-cycle")
class TestProcessesStoppedAndContinued(_Processes):
    mechanism = "duty-cycle"

"""An engine that answers with made-up figures, or fails as asked, for tests of what the command line makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests import made_up

from ecovisor.cli import run
from ecovisor.model.summary import RunSummary
from ecovisor.ports import Event, TableSink
from ecovisor.settings import Scenario


@dataclass
class Result:
    """What `assembly.simulate` answers."""

    summary: RunSummary
    run_info: dict[str, object]


@dataclass
class Engine:
    """Stands for `assembly`: notes what it was asked, writes two blocks, fails where `failure` is set."""

    failure: Callable[[], None] = lambda: None
    summary: RunSummary = field(default_factory=made_up.summary)
    asked: list[Scenario] = field(default_factory=list)
    optimum: bool = False

    def simulate(
        self,
        scenario: Scenario,
        folder: Path,
        *,
        sink: TableSink | None = None,
        progress: Callable[[int, int], None] | None = None,
        optimum: bool = False,
    ) -> Result:
        """Write half of a run, fail if asked to, write the rest."""
        self.asked.append(scenario)
        self.optimum = optimum
        if progress is not None:
            progress(288, 576)
        if sink is not None and scenario.run.record == "all":
            sink.write(made_up.flows(0, 288))
            sink.write(made_up.site(0, 288))
        self.failure()
        if sink is not None:
            sink.write_event(Event(made_up.START_S, "job", "completed"))
        return Result(self.summary, {"shares": {"job": 0.5}, "files": {}})

    def check(self, scenario: Scenario, folder: Path) -> list[str]:
        """Two notes."""
        self.failure()
        return ["solar: modelled", "the solar buffer takes 6 % of the battery"]


def failed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error, whose exit status is 2."""
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    return shown.err

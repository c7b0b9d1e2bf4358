"""The ledger as a sink of tables: the public contract, and a whole run that an independent script recomputes from the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.independent import replay

from ecovisor import assembly
from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.adapters.stores.ledger import Ledger, TickTables
from ecovisor.adapters.stores.run_folder import RunFolder
from ecovisor.ports import Block, TableSink
from ecovisor.testing import TableSinkContract
from ecovisor.testing.memory_sink import Row


def seal_all(ledger: Ledger) -> None:
    """Commit tick by tick what was written in blocks of many."""
    times = sorted(ledger.tables._rows)
    for tick, start_s in enumerate(times):
        rows = ledger.tables._rows[start_s]
        dt_s = next((table.numbers["dt_s"][0] for table in rows.values() if "dt_s" in table.numbers), 300.0)
        ledger.commit(ledger.seal(tick=tick, start_s=start_s, dt_s=dt_s, wall_s=start_s + dt_s))


class TestTheLedger(TableSinkContract):
    ledger: Ledger

    @pytest.fixture(autouse=True)
    def _in(self, tmp_path: Path) -> Iterator[None]:
        self.folder = tmp_path
        self.opened: list[Ledger] = []
        yield
        for ledger in self.opened:
            ledger.close()

    def make(self) -> TableSink:
        self.ledger = Ledger.open(self.folder / str(len(self.opened)))
        self.opened.append(self.ledger)
        return self.ledger.tables

    def finish(self, sink: Any) -> None:
        seal_all(self.ledger)

    def read(self, table: str) -> list[Row]:
        if table == "events":
            return [{"time": e.time_s, "app": e.app, "kind": e.kind, "detail": e.detail} for e in self.ledger.told()]
        return [row for block in self.ledger.blocks(table) for row in rows_of(block)]

    def abort(self, sink: TickTables) -> None:
        sink.discard()

    def remains(self) -> bool:
        return self.ledger.last() is not None or bool(self.ledger.tables._rows) or bool(self.ledger.tables._events)


def rows_of(block: Block) -> list[Row]:
    columns = {**block.keys, **block.columns, **block.texts}
    return [{"time": block.times_s[0], **dict(zip(columns, values, strict=True))} for values in zip(*columns.values(), strict=True)]


def test_an_independent_script_recomputes_a_run_from_the_ledger_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario, folder = load_scenario("two-apps", ["run.baseline=false"])
    with Ledger.open(tmp_path / "state") as ledger:
        result = assembly.simulate(scenario, folder, sink=ledger.tables)
        seal_all(ledger)
    with Ledger.open(tmp_path / "state", read_only=True) as ledger, RunFolder(tmp_path / "run", table_format="csv") as run:
        for table in ("flows", "site", "containers"):
            for block in ledger.blocks(table):
                run.write(block)
        for event in ledger.told():
            run.write_event(event)
        run.finish(result.run_info)
    assert replay.main([str(tmp_path / "run")]) == 0, capsys.readouterr().out

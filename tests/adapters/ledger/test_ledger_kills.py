"""A writer that is killed at any moment: what it said was committed is there, once, and the next one goes on."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.adapters.ledger import child, made

from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.adapters.stores.ledger.checks import check_all
from ecovisor.adapters.stores.ledger.connection import FILE, open_reader

ROOT = Path(__file__).parents[3]


def killed(folder: Path, lines: int, delay_s: float) -> list[tuple[str, int]]:
    """Run a writer until it has told some changes, and a moment longer; everything that it told."""
    command = [sys.executable, "-m", "tests.adapters.ledger.child", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told = [process.stdout.readline() for _ in range(lines + 1)]
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.kill()
        told += process.stdout.readlines()
        error = process.stderr.read()
    assert process.returncode == -9, error
    complete = [line.split() for line in told if line.endswith("\n")]
    return [(words[0], int(words[1])) for words in complete if len(words) == 2]


def survive(folder: Path, kills: int, seed: int) -> None:
    rnd = random.Random(seed)
    ticks, facts = -1, -1
    for _ in range(kills):
        for kind, number in killed(folder, rnd.randrange(1, 30), rnd.random() * 0.02):
            if kind == "tick":
                ticks = number
            else:
                facts = number
        with Ledger.open(folder) as ledger:
            last = ledger.last()
            assert last is not None
            assert last.tick is not None
            assert last.tick in (ticks, ticks + 1), "what was committed is there, and at most what was on its way"
            assert last.checkpoint == b"%d" % last.tick * 1000
            assert int(ledger.registry.get("seen", "tick") or b"-1") in (facts, facts + 1)
            found = ledger.ticks(made.START_S, made.START_S + 1e9)
            assert [tick.tick for tick in found] == list(range(last.tick + 1)), "each tick once, in order"
            assert [tick.start_s for tick in found] == [made.START_S + 120.0 * k for k in range(last.tick + 1)]
            expected = [child.tick(k, made.START_S + 120.0 * k) for k in range(last.tick + 1)]
            usage = ledger.usage("c", made.START_S, last.end_s)
            assert usage.coverage_ratio == 1.0
            assert usage.energies is not None
            assert usage.energies.grid_to_load_wh == pytest.approx(made.energy_wh(expected, "c", "grid_to_load_w"), rel=1e-9)
            ticks, facts = last.tick, int(ledger.registry.get("seen", "tick") or b"-1")
    reader = open_reader(folder / FILE, 1.0)
    check_all(reader, folder / FILE)
    reader.close()


def test_three_kills_lose_nothing_that_was_told(disk: Path) -> None:
    survive(disk, 3, seed=1)


@pytest.mark.slow
def test_fifty_kills_lose_nothing_that_was_told(disk: Path) -> None:
    survive(disk, 50, seed=2)

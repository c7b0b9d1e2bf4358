"""The scenario reference says what the schema says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from ecovisor import settings

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "scenario_reference.py"


def test_the_committed_page_is_current() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], check=False)
    assert done.returncode == 0, "run: python scripts/scenario_reference.py"


def test_every_field_of_every_table_is_on_the_page_with_its_meaning() -> None:
    page = (ROOT / "docs" / "scenario.md").read_text("utf-8")
    tables = (
        settings.Scenario, settings.Site, settings.Server, settings.Battery, settings.Signal, settings.App, settings.Workload,
        settings.Policy, settings.Run,
    )  # fmt: skip
    for table in tables:
        for field in msgspec.structs.fields(table):
            assert f"| `{field.name}` | " in page

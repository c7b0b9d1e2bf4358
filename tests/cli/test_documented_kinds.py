"""Every built-in kind stands in the documentation, and the scenario of the page on policies runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ecovisor.adapters.built_in import POLICIES, WORKLOADS
from ecovisor.cli import run

PAGE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text("utf-8")
REST = """schema = 1
[signals.carbon]
kind = "modelled-carbon"
zone = "US-CAL-CISO"
{page}
[run]
start = 2020-06-01T00:00:00Z
duration = "2h"
"""


@pytest.mark.parametrize("kind", [*POLICIES, *WORKLOADS])
def test_a_kind_has_a_row_on_the_page(kind: str) -> None:
    assert f"\n| `{kind}` |" in PAGE


def test_the_web_service_on_the_page_runs_within_its_budget(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```toml\n(\[signals\.requests\].*?)```", PAGE, re.DOTALL)
    assert found is not None
    file = tmp_path / "web.toml"
    file.write_text(REST.format(page=found[1]))
    assert run(["simulate", str(file), "--json", "--no-plots", "--out", str(tmp_path / "run")]) == 0
    web = json.loads(capsys.readouterr().out)["apps"][0]
    assert 0.0 < web["carbon_g"] <= 300.0 * 2.0 / 48.0

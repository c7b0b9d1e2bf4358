"""The page on the SDK and its example do what they say, against a server in lockstep."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.client.colours import played_site
from tests.client.played_server import TOKEN, PlayedServer

from ecovisor.cli import run
from ecovisor.model import errors
from ecovisor.ports import Policy
from ecovisor.testing import PolicyContract

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sdk.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "08-drive-a-live-site"


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_08_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedServer]:
    with PlayedServer(played_site(), lockstep=100) as server:
        monkeypatch.setenv("ECOVISOR_URL", server.url)
        monkeypatch.setenv("ECOVISOR_TOKEN", TOKEN)
        yield server


def test_the_pages_code_runs(site: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) >= 9
    scope: dict[str, Any] = {}
    for k, block in enumerate(blocks):
        exec(compile(block, f"sdk.md, block {k + 1}", "exec"), scope)
    shown = capsys.readouterr().out
    assert "{'charge_rate_w': \"the app's charge limit\"} from tick 0" in shown
    assert "tick None" in shown
    assert {one.path for one in site.asked} >= {
        "/v1/battery",
        "/v1/app",
        "/v1/containers",
        "/v1/usage",
        "/v1/app/metrics",
        "/v1/events",
    }


def test_the_page_names_every_error_that_a_client_raises() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named == {"SettingRefused", "Infeasible", "Refused", "AuthenticationError", "UnknownApp", "Unavailable"}
    assert all(issubclass(getattr(errors, name), errors.EcovisorError) for name in named)


class TestTheExamplesPolicy(PolicyContract):
    def make(self) -> Policy:
        made: Policy = load(EXAMPLE / "policy.py").CleanPower(180.0)
        return made


def test_the_examples_policy_drives_a_live_app(site: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run-policy", str(EXAMPLE / "policy.py"), "--option", "clean_g_per_kwh=250", "--ticks", "6", "--json"]
    assert run(words) == 0
    *ticks, end = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert end["ticks"] == 6
    dirty = [tick for tick in ticks if tick["carbon_intensity_g_per_kwh"] > 250.0]
    assert dirty, "the first hours are dirty"
    assert dirty[1]["grid_w"] == 0.0


def test_the_examples_worker_reports_what_it_has_done(site: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    load(EXAMPLE / "worker.py").main(4)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2] == "tick 3: 8.0 W, 300 of 1000 units"
    assert shown[-1].startswith("app: 300 units with ")
    assert site.call(lambda: site.site.energy.progress_ratio) == pytest.approx(0.3)

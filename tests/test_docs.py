"""What the pages say: links lead somewhere, code in them runs and keeps the contracts, and the README's numbers are current."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ecovisor.adapters.signals import SignalPlugin
from ecovisor.cli import run
from ecovisor.ports import ContainerWorkload, Policy, Workload
from ecovisor.testing import ContainerWorkloadContract, PolicyContract, SignalContract, WorkloadContract

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]


def code(page: str) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def names_in(page: str) -> dict[str, Any]:
    """What the Python blocks of a page define, run one after another as one file."""
    scope: dict[str, Any] = {}
    exec(compile("\n".join(code(page)), page, "exec"), scope)
    return scope


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        if page.name != "README.md":
            assert f"({page.relative_to(ROOT / 'docs')})" in index, page.name


def test_decisions_have_context_decision_and_consequences() -> None:
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        text = page.read_text("utf-8")
        assert re.match(r"\d{4}-[a-z-]+\.md", page.name), page.name
        assert text.startswith(f"# {int(page.name[:4])}. "), page.name
        for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert part in text, f"{page.name}: {part}"


def test_the_layers_are_those_of_the_contract() -> None:
    import tomllib

    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for layer in (name.strip() for line in layers for name in line.split(":")):
        assert f"`{layer.removeprefix('ecovisor.')}`" in text, layer


class TestTheReadmesPolicy(PolicyContract):
    def make(self) -> Policy:
        (text,) = code("README.md")
        assert len([line for line in text.splitlines() if line.strip()]) <= 15
        made: Policy = names_in("README.md")["SunFirst"]()
        return made


class TestThePolicyOfThePage(PolicyContract):
    def make(self) -> Policy:
        made: Policy = names_in("docs/policies.md")["OnlyOnSun"](2.0)
        return made


class TestTheWorkloadOfThePage(WorkloadContract):
    def make(self) -> Workload:
        made: Workload = names_in("docs/policies.md")["Queue"](10.0)
        return made


class TestTheContainerWorkloadOfThePage(ContainerWorkloadContract):
    def make(self) -> ContainerWorkload:
        made: ContainerWorkload = names_in("docs/policies.md")["Balancer"](9.0)
        return made


class TestTheSignalOfThePage(SignalContract):
    name = "price"

    def make(self) -> SignalPlugin:
        made: SignalPlugin = names_in("docs/policies.md")["night_tariff"]
        return made


def test_the_readmes_policy_does_what_the_readme_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = code("README.md")
    (tmp_path / "policy.py").write_text(text, "utf-8")
    done = {}
    for name, more in (
        ("waiting", []),
        ("sun", ["--set", f"apps.train.policy={{kind='{(tmp_path / 'policy.py').as_posix()}:SunFirst'}}"]),
    ):
        words = ["simulate", "edge-site", "--json", "--no-plots", "--out", str(tmp_path / name), *more]
        assert run(words) == 0
        apps = {app["app"]: app for app in json.loads(capsys.readouterr().out)["apps"]}
        done[name] = apps["train"]
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    saved = 1.0 - done["sun"]["carbon_g"] / done["sun"]["baseline_carbon_g"]
    earlier_h = (done["waiting"]["completed_s"] - done["sun"]["completed_s"]) / 3600.0
    assert f"`train` now emits {saved:.0%} less and is done {earlier_h:.0f} hours earlier".replace("%", " %") in readme


def test_the_readme_quotes_what_make_run_prints() -> None:
    spec = importlib.util.spec_from_file_location("quoted_output", ROOT / "scripts" / "quoted_output.py")
    assert spec is not None
    assert spec.loader is not None
    quoted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quoted)
    page = ROOT / "README.md"
    assert quoted.current(page) == page.read_text("utf-8"), "run: python scripts/quoted_output.py"


def test_a_quote_that_is_out_of_date_is_found(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("```console\n$ ecovisor --version\necovisor 0.0.0\n```\n", "utf-8")
    script = [sys.executable, str(ROOT / "scripts" / "quoted_output.py")]
    assert subprocess.run([*script, "--check", str(page)], capture_output=True, check=False).returncode == 1
    assert subprocess.run([*script, str(page)], capture_output=True, check=False).returncode == 0
    assert "0.0.0" not in page.read_text("utf-8")
    assert subprocess.run([*script, "--check", str(page)], capture_output=True, check=False).returncode == 0

"""What docs/studies.md says: its study runs, and its list of files is the one that is read."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

import pytest

from ecovisor.cli import run
from ecovisor.studies.traces import FILES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "studies.md").read_text("utf-8")
DATA = Path(os.environ.get("ECOVISOR_DATA", ROOT.parent / "shared" / "data"))


def test_the_study_of_the_page_runs_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "waiting.py").write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    assert run(["study", "waiting.py:Waiting"]) == 0
    shown = capsys.readouterr().out
    assert "✓ Waiting saves carbon" in shown
    assert (tmp_path / "studies" / "waiting" / "months.png").is_file()


def test_the_page_lists_the_files_that_are_read() -> None:
    assert set(re.findall(r"^\| `([^`]*)` \|", PAGE, re.MULTILINE)) == set(FILES)


@pytest.mark.slow
@pytest.mark.skipif(not all((DATA / file).is_file() for file in FILES), reason=f"data sets not there: {DATA} (set ECOVISOR_DATA)")
def test_the_output_on_the_page_is_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("quoted_output", ROOT / "scripts" / "quoted_output.py")
    assert spec is not None
    assert spec.loader is not None
    quoted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quoted)
    monkeypatch.setenv("ECOVISOR_DATA", str(DATA))
    page = ROOT / "docs" / "studies.md"
    assert page in quoted.pages()
    assert quoted.current(page) == PAGE, "run: python scripts/quoted_output.py"

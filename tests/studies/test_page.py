"""What docs/studies.md says: its study runs, and its list of files is the one that is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ecovisor.cli import run
from ecovisor.studies.traces import FILES

PAGE = (Path(__file__).parents[2] / "docs" / "studies.md").read_text("utf-8")


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

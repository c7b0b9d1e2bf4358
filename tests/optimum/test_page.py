"""docs/optimum.md: its output is current, and its Python runs."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "optimum.md"


def test_the_output_on_the_page_is_what_is_printed() -> None:
    spec = importlib.util.spec_from_file_location("quoted_output", ROOT / "scripts" / "quoted_output.py")
    assert spec is not None
    assert spec.loader is not None
    quoted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(quoted)
    assert PAGE in quoted.pages()
    assert quoted.current(PAGE) == PAGE.read_text("utf-8"), "run: python scripts/quoted_output.py"


def test_the_python_on_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), {})
    alone, stored = (float(grams) for grams in re.findall(r"([\d.]+) g", capsys.readouterr().out))
    assert 0.0 < stored < alone

"""Machine code from plain functions: a cache that may be missing, and calls back into Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecovisor.engine.kernel import call_back
from ecovisor.physics.sharing import part_ratio

compiled = pytest.importorskip("ecovisor.physics.compiled")


def knock(callback: Any, reason: int) -> int:
    return call_back(callback, reason) + 1


def test_without_a_writable_place_code_is_compiled_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ECOVISOR_CACHE_DIR", str(tmp_path / "file"))
    assert compiled.cache_directory() is None
    assert compiled.compile_graph(part_ratio)(1.0, 4.0) == 0.25


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECOVISOR_CACHE_DIR", str(tmp_path))
    directory = compiled.cache_directory()
    assert directory == compiled.cache_directory()
    assert directory.is_relative_to(tmp_path)


def test_machine_code_calls_back_into_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("ECOVISOR_CACHE_DIR", str(tmp_path / "file"))
    heard: list[int] = []

    def answer(reason: int) -> int:
        heard.append(reason)
        return 10 * reason

    callback = compiled.Callback(answer)
    assert compiled.compile_graph(knock, compiled.CALL_BACK)(callback.address, 3) == 31
    assert heard == [3]

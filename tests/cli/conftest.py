"""The fixtures of the command line's tests."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.cli.standing_in import Engine

import ecovisor


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    """The made-up engine in the place of the real one; the working directory is a new, empty one."""
    standing_in = Engine()
    module = ModuleType("ecovisor.assembly")
    module.simulate = standing_in.simulate  # type: ignore[attr-defined]
    module.check = standing_in.check  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ecovisor.assembly", module)
    monkeypatch.setattr(ecovisor, "assembly", module, raising=False)
    monkeypatch.chdir(tmp_path)
    return standing_in

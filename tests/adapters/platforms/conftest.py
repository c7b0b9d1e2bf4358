"""Every test gets a state folder of its own, in which nothing may be left running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adapters.platforms.made import state_folder


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    with state_folder(tmp_path) as folder:
        yield folder

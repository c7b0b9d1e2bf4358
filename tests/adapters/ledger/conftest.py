"""Where the tests of the ledger keep their files."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.adapters.ledger.made import MEMORY


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where there is one: these tests ask what is stored, not what a disk does. Tests of faults take `disk`."""
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the disk."""
    return tmp_path_factory.mktemp("disk")

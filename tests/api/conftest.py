"""A server for the tests of a module; tests that change what others read make their own with `serving`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.api.serving import Site, serving


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A played ecovisor behind a real server on loopback."""
    with serving() as running:
        yield running

"""A played site behind a server, for tests of the verbs that watch one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.dashboard.played import OPERATOR_TOKEN, PlayedSite
from tests.dashboard.played_server import PlayedApi, PlayedServer

VARIABLES = ("ECOVISOR_URL", "ECOVISOR_TOKEN", "ECOVISOR_TOKEN_FILE", "ECOVISOR_SOCKET")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedServer]:
    """A healthy site of three apps; the environment says where it is, and has the operator's token."""
    with PlayedServer(PlayedApi(PlayedSite(past_ticks=30, wall_s=time.time()))) as started:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("ECOVISOR_URL", started.url)
        monkeypatch.setenv("ECOVISOR_TOKEN", OPERATOR_TOKEN)
        yield started

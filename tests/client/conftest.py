"""The fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.client.colours import Play, played_site
from tests.client.played_server import PlayedServer

from ecovisor.client.persistence import Patience


@pytest.fixture
def play(request: pytest.FixtureRequest) -> Play:
    """Plays scenarios in one colour."""
    return Play(request.param)


@pytest.fixture
def server() -> Iterator[PlayedServer]:
    """A server with an app of two containers, its time moved by the test."""
    with PlayedServer(played_site()) as server:
        yield server


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long before coming back."""
    original = Patience.delay_s

    def delay_s(patience: Patience, failures: int, chance: float, wanted_s: float = 0.0) -> float:
        return original(patience, failures, chance, wanted_s) / 20.0

    monkeypatch.setattr(Patience, "delay_s", delay_s)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests say where the server is."""
    for name in ("ECOVISOR_URL", "ECOVISOR_TOKEN", "ECOVISOR_TOKEN_FILE", "ECOVISOR_SOCKET"):
        monkeypatch.delenv(name, raising=False)

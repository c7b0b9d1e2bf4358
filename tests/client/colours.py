"""One scenario in both colours: the same coroutine on a transport that blocks, and in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from tests.client.played_server import TOKEN, PlayedServer
from tests.client.played_site import PlayedSite

from ecovisor import connect, connect_async
from ecovisor.client import AsyncApp
from ecovisor.client.blocking import complete
from ecovisor.testing import MemorySink, small_site
from ecovisor.workloads.models import ConstantDemand

R = TypeVar("R")
Scenario = Callable[[AsyncApp], Coroutine[Any, Any, R]]

both_colours = pytest.mark.parametrize("play", ["blocking", "awaiting"], indirect=True)


class Play:
    """Plays scenarios against a server."""

    def __init__(self, colour: str) -> None:
        self.colour = colour

    def __call__(self, server: PlayedServer, scenario: Scenario[R], **options: Any) -> R:
        address: dict[str, Any] = {"url": server.url, "token": TOKEN} | options
        if self.colour == "blocking":
            with connect(**address) as app:
                return complete(scenario(app.later))

        async def run() -> R:
            async with await connect_async(**address) as later:
                return await asyncio.wait_for(scenario(later), 30)

        return asyncio.run(run())


def played_site(**options: Any) -> PlayedSite:
    """Two containers that ask for 8 W, in ticks of a quarter of an hour."""
    compression = options.pop("compression", 1800.0)
    site = small_site(workload=ConstantDemand(demand_w=8.0), grid_limit_w=100.0, sink=MemorySink(), **options)
    return PlayedSite(site, compression=compression)

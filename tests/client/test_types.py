"""What a type checker sees; `mypy` checks this file, running it proves that it does not lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_type

from tests.client.played_server import TOKEN, PlayedServer

from ecovisor import AppView, VirtualEnergy, connect, connect_async, wire
from ecovisor.client import App, AsyncApp, Event
from ecovisor.model.series import Series
from ecovisor.ports import ContainerInfo


def drive(energy: VirtualEnergy, app: AppView) -> None:
    energy.set_battery_charge_rate(energy.battery_charge_limit_w / 2.0 if app.name else 0.0)


def blocking(app: App) -> None:
    assert_type(app.set_battery_charge_rate(charge_rate_w=1.0), float)
    assert_type(app.now_s, float)
    assert_type(app.effective_tick, int)
    assert_type(app.get_app_carbon(end_s=app.now_s), float)
    assert_type(app.list_containers(), list[ContainerInfo])
    assert_type(app.forecast("carbon", 3600.0), Series)
    assert_type(app.metrics, Mapping[str, float])
    assert_type(app.snapshot, wire.Snapshot)
    assert_type(app.next_event(), Event | None)
    app.on_tick(drive)
    drive(app, app)


async def awaiting(app: AsyncApp) -> None:
    assert_type(await app.set_battery_charge_rate(charge_rate_w=1.0), float)
    assert_type(await app.now_s(), float)
    assert_type(await app.list_containers(), list[ContainerInfo])
    assert_type(await app.metrics(), Mapping[str, float])
    async for event in app.events():
        assert_type(event, Event)
        return


def test_types_are_what_they_say(server: PlayedServer) -> None:
    import asyncio

    with connect(server.url, TOKEN) as app:
        blocking(app)
        assert app.run(1) == 1

    async def later() -> None:
        async with await connect_async(server.url, TOKEN) as app:
            await awaiting(app)

    asyncio.run(later())

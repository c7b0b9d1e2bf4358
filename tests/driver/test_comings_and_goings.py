"""Apps that join and leave a running site: their ways in, what is shown meanwhile, and what is undone if it cannot be stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.driver.played import Played

from ecovisor import wire
from ecovisor.model.errors import Refused, SettingsError, StoreError, UnknownApp


class PlayedDoors:
    """Notes who may come in."""

    def __init__(self) -> None:
        self.ways_in: set[str] = set()
        self.fault: Exception | None = None

    async def open(self, app: str) -> None:
        if self.fault is not None:
            raise self.fault
        self.ways_in.add(app)

    async def close(self, app: str) -> None:
        self.ways_in.discard(app)


def request(name: str, share: float = 0.1) -> wire.AddApp:
    return wire.AddApp(
        name=name, shares=wire.Shares(grid=share, solar=share, battery_energy=share, battery_power=share), containers=0
    )


def driven(tmp_path: Path, test: Callable[[Played, PlayedDoors], Awaitable[None]]) -> None:
    """Run a test on a site that is closed afterwards."""

    async def main() -> None:
        site, doors = Played(tmp_path), PlayedDoors()
        site.ecovisor._doors = doors
        await site.start()
        try:
            await test(site, doors)
        finally:
            await site.close()

    asyncio.run(main())


def test_a_way_in_is_open_from_the_answer_on_until_the_app_leaves(tmp_path: Path) -> None:
    async def test(site: Played, doors: PlayedDoors) -> None:
        await site.tick(1)
        await site.ecovisor.add_app(request("new"))
        assert doors.ways_in == {"new"}
        await site.tick(1)
        assert site.app("new").app == "new"
        await site.ecovisor.remove_app("new")
        assert doors.ways_in == set()

    driven(tmp_path, test)


def test_an_app_that_is_refused_has_no_way_in(tmp_path: Path) -> None:
    async def test(site: Played, doors: PlayedDoors) -> None:
        with pytest.raises(Exception, match="more than 1"):
            await site.ecovisor.add_app(request("new", 0.5))
        with pytest.raises(Refused, match="exists already"):
            await site.ecovisor.add_app(request("one"))
        assert doors.ways_in == set()

    driven(tmp_path, test)


def test_an_app_that_cannot_be_stored_has_no_way_in_and_never_joins(tmp_path: Path) -> None:
    async def test(site: Played, doors: PlayedDoors) -> None:
        def full(kind: str, key: str, value: bytes) -> None:
            raise StoreError("the disk is full")

        put, site.ledger.registry.put = site.ledger.registry.put, full  # type: ignore[method-assign]
        with pytest.raises(StoreError):
            await site.ecovisor.add_app(request("new"))
        site.ledger.registry.put = put  # type: ignore[method-assign]
        assert doors.ways_in == set()
        await site.tick(2)
        assert "new" not in site.ecovisor.apps()
        await site.ecovisor.add_app(request("new"))
        assert doors.ways_in == {"new"}

    driven(tmp_path, test)


def test_an_app_whose_way_in_cannot_be_made_never_joins(tmp_path: Path) -> None:
    async def test(site: Played, doors: PlayedDoors) -> None:
        doors.fault = SettingsError("server", "the path is too long")
        with pytest.raises(SettingsError):
            await site.ecovisor.add_app(request("new"))
        assert site.ledger.registry.get("apps", "new") is None
        await site.tick(2)
        assert "new" not in site.ecovisor.apps()

    driven(tmp_path, test)


def test_between_the_boundary_and_the_next_snapshot_an_app_that_left_is_missing_and_nothing_breaks(tmp_path: Path) -> None:
    async def test(site: Played, doors: PlayedDoors) -> None:
        await site.tick(1)
        site.site.leave("two")  # as at the boundary, before the tick is recorded and published
        site.ecovisor._ticker.snapshots.forget_all()
        told = site.ecovisor.site_snapshot()
        assert [one["app"] for one in json.loads(told.body)["apps"]] == ["one", "made-up", "_site"]
        with pytest.raises(UnknownApp, match="'two' has left"):
            site.ecovisor.snapshot("two")

    driven(tmp_path, test)

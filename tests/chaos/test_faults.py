"""Faults of the parts that a site stands on, on a clock that the test moves; what is told of them, and what stands after a restart."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.driver.played import BATTERY, SERVER, START_S, TICK_S, Played, PlayedPlatform

from ecovisor import wire
from ecovisor.adapters.clocks import ManualClock
from ecovisor.engine import checkpoint
from ecovisor.engine.site import PhysicalSite, Signals, Site
from ecovisor.engine.specification import AppSpec
from ecovisor.live.ecovisor import kept_shares
from ecovisor.model.errors import Refused, StoreError, Unavailable
from ecovisor.ports.live import ContainerRequest, ContainerState, ContainerStatus
from ecovisor.presets import AppShares
from ecovisor.workloads.models import ConstantDemand

SHARE = wire.Shares(grid=0.1, solar=0.1, battery_energy=0.1, battery_power=0.1)


def driven(test: Callable[[Played], Awaitable[None]], played: Callable[[], Played]) -> None:
    """Run a test on a site that is closed afterwards."""

    async def main() -> None:
        site = played()
        await site.start()
        try:
            await test(site)
        finally:
            await site.close()

    asyncio.run(main())


def killed(test: Callable[[Played], Awaitable[None]], again: Callable[[Played], Awaitable[None]], path: Path) -> None:
    """Run a test on a site that is killed afterwards, and another on the one that goes on."""

    async def main() -> None:
        first = Played(path)
        await first.start()
        await test(first)
        first.kill()
        await asyncio.sleep(0.01)
        first.clock.advance_by(2.5 * TICK_S)
        second = Played(path, clock=first.clock, plant=first.plant, platform=first.platform)
        await second.start()
        try:
            await again(second)
        finally:
            await second.close()

    asyncio.run(main())


async def kinds(site: Played, app: str | None = None) -> list[str]:
    return [one.kind for one in await site.ecovisor.events_since(app, "", limit=10_000)]


# -- the disk


def no_put(*_: object) -> None:
    raise StoreError("the disk is full; free some space")


def test_a_change_that_cannot_be_kept_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        await site.ecovisor.change("one", lambda energy: energy.set_container_powercap("c1", 2.0))
        before = site.ecovisor.energy("one").saved_settings()
        limit = site.platform.containers["one", "c1"].cores_limit
        with monkeypatch.context() as patch:
            patch.setattr(site.ledger.registry, "put", no_put)
            for change in (
                lambda energy: energy.set_container_powercap("c1", 1.5),
                lambda energy: energy.set_battery_charge_rate(3.0),
                lambda energy: energy.add_container(1.0),
                lambda energy: energy.set_carbon_budget(1.0),
            ):
                with pytest.raises(StoreError):
                    await site.ecovisor.change("one", change)
                assert site.ecovisor.energy("one").saved_settings() == before
        await site.tick(2)
        assert site.platform.containers["one", "c1"].cores_limit == limit
        assert [one.id for one in site.app("one").containers] == ["c1", "c2"]

    driven(test, lambda: Played(tmp_path))


def test_shares_are_kept_all_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A swap that was kept by half would be more than there is, and the site could not start any more."""
    half, quarter = (wire.Shares(grid=s, solar=s, battery_energy=s, battery_power=s) for s in (0.5, 0.25))
    puts: list[tuple[str, str]] = []

    async def test(site: Played) -> None:
        put = site.ledger.registry.put

        def noted(kind: str, key: str, value: bytes) -> None:
            puts.append((kind, key))
            put(kind, key, value)

        monkeypatch.setattr(site.ledger.registry, "put", noted)
        await site.ecovisor.set_shares({"one": quarter, "two": half})
        assert len(puts) == 1
        await site.tick(1)

    driven(test, lambda: Played(tmp_path))


def test_an_unexpected_error_of_the_store_does_not_end_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        commit, fails = site.ledger.commit, iter((ValueError("a bug"), StoreError("full")))

        def once(batch: Any) -> object:
            for error in fails:
                raise error
            return commit(batch)

        monkeypatch.setattr(site.ledger, "commit", once)
        await site.tick(3)
        assert site.ticker.recording.failure is None
        assert [one.tick for one in site.ledger.ticks(START_S, START_S + 1e6)][:4] == [0, 1, 2, 3]

    driven(test, lambda: Played(tmp_path))


def test_an_app_that_has_left_while_the_disk_is_full_does_not_hide_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        await site.ecovisor.remove_app("two")
        commit = site.ledger.commit
        monkeypatch.setattr(site.ledger, "commit", no_put)
        tick = site.ticker.tick
        while site.ticker.tick < tick + 2:
            if site.clock.next_wake_s() < math.inf:  # otherwise everybody is at work
                site.clock.advance(site.clock.next_wake_s())
            await asyncio.sleep(0.02)
        assert [app.app for app in site.ecovisor.site_state().apps if app.app != "two"] == ["one", "made-up", "_site"]
        assert site.ecovisor.snapshot("one").tick == tick
        monkeypatch.setattr(site.ledger, "commit", commit)
        await site.tick(1)

    driven(test, lambda: Played(tmp_path))


# -- the platform


def test_a_limit_that_the_platform_did_not_take_is_asked_for_again(tmp_path: Path) -> None:
    class Sometimes(PlayedPlatform):
        broken = False

        async def set_cores_limit(self, app: str, container_id: str, cores_limit: float) -> float:
            if self.broken:
                raise Unavailable("the keeper of containers has ended")
            return await super().set_cores_limit(app, container_id, cores_limit)

    clock = ManualClock(START_S)
    platform = Sometimes(clock)

    async def test(site: Played) -> None:
        await site.tick(2)
        platform.broken = True
        await site.ecovisor.change("two", lambda energy: energy.set_container_powercap("c1", 2.0))
        await site.tick(2)
        assert platform.containers["two", "c1"].cores_limit == 1.0
        assert "container_trouble" in await kinds(site, "two")
        platform.broken = False
        await site.tick(2)
        assert platform.containers["two", "c1"].cores_limit == pytest.approx(1.0 / 3.0)

    driven(test, lambda: Played(tmp_path, clock=clock, platform=platform))


def test_a_start_whose_answer_is_lost_is_made_again_and_runs_once(tmp_path: Path) -> None:
    class Loses(PlayedPlatform):
        losing = 2

        async def start(self, request: ContainerRequest) -> None:
            if (request.app, request.id) in self.containers:
                raise Refused("there is one already, which runs; stop it first")
            await super().start(request)
            self.losing -= 1
            if self.losing >= 0:
                raise Unavailable("the keeper of containers did not answer")

    clock = ManualClock(START_S)
    platform = Loses(clock)

    async def test(site: Played) -> None:
        await site.tick(4)
        states = {(app.app, one.id): one.state for app in site.ecovisor.site_state().apps for one in app.containers}
        assert {state for (app, _), state in states.items() if app in ("one", "two")} == {"running"}
        assert len(platform.containers) == 3

    driven(test, lambda: Played(tmp_path, clock=clock, platform=platform))


def test_the_end_of_a_container_is_told_once_across_a_restart(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        site.platform.end("two", "c1", 3)
        await site.tick(2)
        await asyncio.sleep(0.05)

    async def again(site: Played) -> None:
        await site.tick(2)
        assert (await kinds(site, "two")).count("container_exited") == 1
        container = site.app("two").containers[0]
        assert (container.state, container.exit_code) == ("exited", 3)
        assert site.platform.calls.count("start two/c1") == 1

    killed(test, again, tmp_path)


def test_the_end_of_a_container_while_nobody_looked_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        first = Played(tmp_path)
        await first.start()
        await first.tick(1)
        first.kill()
        await asyncio.sleep(0.01)
        first.platform.end("two", "c1", 0)
        second = Played(tmp_path, clock=first.clock, plant=first.plant, platform=first.platform)
        await second.start()
        try:
            await second.tick(2)
            assert (await kinds(second, "two")).count("container_exited") == 1
        finally:
            await second.close()

    asyncio.run(main())


def test_containers_of_an_app_that_is_gone_are_stopped_after_a_restart(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        site.platform.containers["ghost", "c1"] = ContainerStatus("ghost", "c1", ContainerState.RUNNING, 0.0, 1.0)

    async def again(site: Played) -> None:
        assert ("ghost", "c1") not in site.platform.containers
        assert ("one", "c1") in site.platform.containers

    killed(test, again, tmp_path)


# -- restarts


def test_a_budget_that_was_told_to_be_spent_is_not_told_again_after_a_restart(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        await site.ecovisor.change("made-up", lambda energy: energy.set_battery_max_discharge(0.0))
        await site.ecovisor.change("made-up", lambda energy: energy.set_carbon_budget(0.02))
        for _ in range(20):
            await site.tick(1)
            if "budget_80" in await kinds(site, "made-up"):
                break

    async def again(site: Played) -> None:
        before = (await kinds(site, "made-up")).count("budget_80")
        assert before == 1
        await site.tick(2)
        assert (await kinds(site, "made-up")).count("budget_80") == 1

    killed(test, again, tmp_path)


def test_an_app_that_joins_over_a_restart_begins_with_an_empty_battery() -> None:
    """Energy comes from nowhere."""

    def site(*apps: str) -> Site:
        physical = PhysicalSite(battery=BATTERY, server=SERVER, solar_peak_w=30.0)
        signals = Signals(solar_w=array("d", [0.0]), carbon_intensity_g_per_kwh=array("d", [math.nan]))
        made = Site(physical, signals, start_s=START_S, tick_s=TICK_S)
        for name in apps:
            shares = AppShares(0.25, 0.25, 0.25, 0.25)
            made.join(AppSpec(name=name, shares=shares, workload=ConstantDemand(demand_w=6.0)))
        made.begin()
        return made

    first, second = site("one"), site("one", "late")
    assert second.get(1, "battery_level_wh") > 0.0, "a new site's battery is not empty"
    checkpoint.restore(second, checkpoint.save(first))
    assert second.get(1, "battery_level_wh") == 0.0
    assert math.fsum(second.levels_wh()) == pytest.approx(math.fsum(first.levels_wh()), rel=1e-12)


def test_a_name_that_is_used_again_inherits_nothing(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        await site.ecovisor.add_app(wire.AddApp(name="guest", shares=SHARE))
        await site.tick(1)
        await site.ecovisor.set_shares({"guest": wire.Shares(grid=0.01, solar=0.01, battery_energy=0.01, battery_power=0.01)})
        await site.ecovisor.change("guest", lambda energy: energy.set_carbon_budget(3.0))
        await site.ecovisor.remove_app("guest")
        await site.ecovisor.add_app(wire.AddApp(name="guest", shares=SHARE))
        await site.tick(1)
        assert site.ecovisor.shares()["guest"] == SHARE
        assert site.app("guest").carbon.budget is None
        assert site.ledger.registry.get("settings", "guest") is None
        assert "guest" not in kept_shares(site.ledger.registry)

    driven(test, lambda: Played(tmp_path))


def test_an_app_can_be_removed_before_it_has_joined(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        await site.ecovisor.add_app(wire.AddApp(name="guest", shares=SHARE))
        await site.ecovisor.remove_app("guest")
        await site.tick(2)
        assert "guest" not in site.ecovisor.apps()

    driven(test, lambda: Played(tmp_path))


# -- time


class Steps(ManualClock):
    """A clock whose wall time can be set."""

    ahead_s = 0.0

    def wall_s(self) -> float:
        return super().wall_s() + self.ahead_s

    def wall_step_s(self) -> float:
        return self.ahead_s


def test_each_step_of_the_wall_clock_is_told_once_with_its_size(tmp_path: Path) -> None:
    clock = Steps(START_S)

    async def test(site: Played) -> None:
        await site.tick(2)
        for ahead_s in (0.3, 3600.0, 3600.1, -3600.0):
            clock.ahead_s = ahead_s
            await site.tick(2)
        told = [one.detail for one in await site.ecovisor.events_since("_site", "") if one.kind == "clock_step"]
        assert [text.split(" by ")[1].split(" s;")[0] for text in told] == ["+3600.000", "-7200.000"]
        ticks = site.ledger.ticks(START_S, START_S + 1e6)
        assert [one.start_s for one in ticks] == [START_S + k * TICK_S for k in range(len(ticks))]

    driven(test, lambda: Played(tmp_path, clock=clock))


def test_who_follows_the_stream_is_told_of_a_gap_as_the_ledger_has_it(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        seen: list[wire.Notification] = []
        for sleep_ticks in (0, 30, 30, 0, 40, 0):
            if sleep_ticks:
                await site.window_over()
                site.clock.advance_by(sleep_ticks * TICK_S)
                await site.settle()
            await site.tick(1)
            seen += await site.ecovisor.events_since(None, seen[-1].id if seen else "")
        kept = site.ledger.events(None, "", 10_000)
        assert [(one.id, one.kind, one.detail) for one in seen] == [(one.id, one.kind, one.detail) for one in kept]
        assert [one.kind for one in seen].count("gap") == 3

    driven(test, lambda: Played(tmp_path))


def test_a_source_that_fails_and_comes_back_is_told(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        site.plant.fault = "unplugged"
        await site.tick(3)
        site.plant.fault = None
        await site.tick(3)
        site.platform.fault = Unavailable("gone")
        await site.tick(2)
        told = [(one.kind, one.detail.split(":")[0].split(" ")[0]) for one in await site.ecovisor.events_since("_site", "")]
        assert [one for one in told if one[0].startswith("source_")] == [
            ("source_stale", "plant"),
            ("source_back", "plant"),
            ("source_stale", "platform"),
        ]

    driven(test, lambda: Played(tmp_path))

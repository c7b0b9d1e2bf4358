"""What an app on a live server does, in both colours: what it asks, when it asks, and what is refused."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.colours import Play, both_colours, played_site
from tests.client.played_server import TOKEN, PlayedServer
from tests.client.played_site import PlayedSite

from ecovisor import connect, connect_async
from ecovisor.client import App, AsyncApp, held
from ecovisor.client.blocking import complete
from ecovisor.model.errors import Infeasible, Refused, SettingRefused, Unavailable
from ecovisor.ports import AppView, VirtualEnergy
from ecovisor.testing import MemorySink, small_site
from ecovisor.workloads.models import BatchJob


@pytest.fixture
def lockstep() -> Iterator[PlayedServer]:
    with PlayedServer(played_site(), lockstep=10) as server:
        yield server


def members(protocol: type) -> dict[str, object]:
    return {name: value for name, value in vars(protocol).items() if not name.startswith("_")}


@pytest.mark.parametrize("protocol", [VirtualEnergy, AppView])
def test_both_colours_have_all_that_a_policy_may_use_with_the_same_parameters(protocol: type) -> None:
    for name, role in members(protocol).items():
        for app in (App, AsyncApp):
            assert hasattr(app, name), f"{app.__name__} has no {name}"
        if inspect.isfunction(role):
            asked = list(inspect.signature(role).parameters)
            for app in (App, AsyncApp):
                assert list(inspect.signature(getattr(app, name)).parameters)[: len(asked)] == asked, f"{app.__name__}.{name}"


def test_the_blocking_app_has_every_public_member_of_the_asynchronous_one() -> None:
    public = {name for name in dir(AsyncApp) if not name.startswith("_")}
    assert public <= {name for name in dir(App) if not name.startswith("_")}


def test_it_is_a_virtual_energy_and_an_app_view(server: PlayedServer) -> None:
    with connect(server.url, TOKEN) as app:
        assert isinstance(app, VirtualEnergy)
        assert app.name == "app"
        assert App.set_battery_charge_rate.__name__ == "set_battery_charge_rate"
        assert "newest snapshot" in (App.refresh.__doc__ or "")


@both_colours
def test_a_tick_costs_one_snapshot_however_many_getters(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        async def look(energy: AsyncApp, view: AsyncApp) -> None:
            for get in (energy.get_solar_power, energy.get_grid_power, energy.get_grid_carbon, energy.get_battery_charge_level):
                await get()
            await energy.list_containers()
            assert await energy.idle_power_w() == 2.7
            assert not await view.completed()

        app.on_tick(look)
        await app.run(5)

    play(lockstep, scenario)
    assert lockstep.paths("PUT") == ["/v1/app/tick"] * 5
    snapshots = [one for one in lockstep.asked if one.path == "/v1/energy"]
    assert len(snapshots) == 1 + 1 + 4, "one to connect, one when the stream is open, one a tick after"
    assert all("if-none-match" in one.headers for one in snapshots[1:])
    assert {one.path for one in lockstep.asked} == {"/v1/energy", "/v1/events", "/v1/app/tick"}


@both_colours
def test_within_a_tick_the_moment_stands_still(server: PlayedServer, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "_LONGEST_USE_S", 60.0)  # however long this machine takes

    async def scenario(app: AsyncApp) -> None:
        seen: list[float] = []

        async def look(energy: AsyncApp, _: AsyncApp) -> None:
            seen.append(await energy.now_s())
            server.tick(2)
            seen.append(await energy.now_s())

        app.on_tick(look)
        await app.run(1)
        assert seen[0] == seen[1]
        assert await app.now_s() == seen[0], "a tenth of a tick may pass before the server is asked again"
        await app.refresh()
        assert await app.now_s() == seen[0] + 2 * 900.0

    play(server, scenario)


@both_colours
def test_outside_of_ticks_getters_ask_whether_there_is_something_new(play: Play) -> None:
    with PlayedServer(played_site(compression=1e12)) as server:

        async def scenario(app: AsyncApp) -> None:
            first = await app.now_s()
            assert await app.now_s() == first
            server.tick()
            assert await app.now_s() == first + 900.0
            assert (await app.get_app_power(), await app.tick_s()) == (8.0, 900.0)

        play(server, scenario)
        assert server.paths() == ["/v1/energy"] * 6


@both_colours
def test_after_changes_only_what_may_have_changed_is_asked_for(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        async def change(energy: AsyncApp, _: AsyncApp) -> None:
            begin = len(lockstep.asked)
            await energy.set_container_powercap("c1", 2.0)
            assert await energy.get_container_powercap("c1") == 2.0
            assert [one.cap_w for one in await energy.list_containers()] == [2.0, math.inf]
            await energy.get_container_power("c2")
            await energy.suspend_container("c1")
            assert await energy.idle_power_w() == 1.35
            assert await energy.idle_power_w() == 1.35
            paths = [f"{one.method} {one.path}" for one in lockstep.asked[begin:]]
            assert paths == ["PATCH /v1/containers/c1", "GET /v1/containers", "PATCH /v1/containers/c1", "GET /v1/app"]

        app.on_tick(change)
        await app.run(1)

    play(lockstep, scenario)


@both_colours
def test_what_settings_came_to_is_kept_for_the_tick(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        kept: list[int] = []

        async def change(energy: AsyncApp, _: AsyncApp) -> None:
            limit_w = await energy.battery_charge_limit_w()
            assert await energy.set_battery_charge_rate(limit_w * 2.0) == limit_w
            await energy.scale_containers(0.5)
            kept.append(len(energy.answers))
            assert energy.answers[0].in_force == {"charge_rate_w": limit_w}

        app.on_tick(change)
        await app.run(2)
        assert kept == [2, 2]

    play(lockstep, scenario)


@both_colours
def test_no_request_carries_what_json_cannot(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        for setter in (app.set_battery_charge_rate, app.scale_containers, app.add_container, app.set_carbon_budget):
            for bad in (math.nan, math.inf, -math.inf, -1.0):
                with pytest.raises(SettingRefused, match="finite"):
                    await setter(bad)
        with pytest.raises(SettingRefused, match="finite"):
            await app.report({"queue": math.nan})
        for name in ("", "../app", "c1/logs", "c 1", "ü"):
            with pytest.raises(SettingRefused, match="does not exist"):
                await app.remove_container(name)
            with pytest.raises(SettingRefused, match="does not exist"):
                await app.get_container_power(name)

    play(server, scenario)
    assert server.paths() == ["/v1/energy"]


@both_colours
def test_infinite_caps_cross_as_null_and_come_back_as_infinite(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        assert await app.set_container_powercap("c1", math.inf) == math.inf
        await app.set_app_powercap(math.inf)
        assert await app.set_battery_max_discharge(math.inf) == await app.battery_discharge_limit_w()

    play(server, scenario)
    assert [one.body for one in server.asked if one.method == "PATCH"] == [b'{"cap_w":null}'] * 2 + [b'{"max_discharge_w":null}']


@both_colours
def test_an_unknown_intensity_is_nan_and_unknown_carbon_too(play: Play) -> None:
    site = played_site(carbon_intensity_g_per_kwh=[math.nan] * 300)
    with PlayedServer(site) as server:

        async def scenario(app: AsyncApp) -> None:
            server.tick(2)
            now_s = (await app.refresh()).now_s
            assert math.isnan(await app.get_grid_carbon())
            assert math.isnan(await app.get_app_carbon(now_s - 1800.0, now_s))
            assert math.isnan(await app.get_container_carbon("c1", now_s - 1800.0, now_s))
            assert await app.get_app_energy(now_s - 1800.0, now_s) == 4.0
            assert (await app.usage(now_s - 1800.0, now_s)).carbon_g == 0.0
            assert [*map(math.isnan, (await app.history("carbon_g", now_s - 1800.0, now_s)).values)] == [True, True]

        play(server, scenario)


@both_colours
def test_an_empty_interval_holds_nothing_and_an_unknown_metric_is_infeasible(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        now_s = await app.now_s()
        assert await app.get_app_energy(now_s, now_s) == 0.0
        assert await app.get_app_carbon(now_s, now_s) == 0.0
        assert await app.get_container_energy("c1", now_s, now_s) == 0.0
        empty = await app.history("carbon_g", now_s, now_s)
        assert (empty.unit, len(empty.values), empty.start_s) == ("g", 0, now_s)
        for end_s in (now_s, now_s + 900.0):
            with pytest.raises(Infeasible, match="unknown metric"):
                await app.history("no_such", now_s, end_s)

    play(server, scenario)


@both_colours
def test_carbon_up_to_an_instant_is_the_total_less_what_came_after(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        server.tick(3)
        now_s = (await app.refresh()).now_s
        total_g = await app.get_app_carbon()
        before_g = await app.get_app_carbon(end_s=now_s - 900.0)
        assert total_g == pytest.approx(before_g + await app.get_app_carbon(now_s - 900.0))
        assert before_g == pytest.approx(await app.get_app_carbon(now_s - 2700.0, now_s - 900.0))

    play(server, scenario)


@both_colours
def test_what_an_app_reports_its_policy_sees(play: Play) -> None:
    site = PlayedSite(small_site(workload=BatchJob(work_core_h=8.0, start_s=0.0), sink=MemorySink()))
    with PlayedServer(site) as server:

        async def scenario(app: AsyncApp) -> None:
            assert await app.progress_ratio() == 0.0
            await app.report({"queue": 3.0}, work_done=6.0, work_total=8.0)
            await app.refresh()
            assert await app.progress_ratio() == 0.75
            server.tick()
            await app.refresh()
            assert await app.metrics() == {"queue": 3.0}
            await app.report(work_done=8.0, work_total=8.0)
            await app.refresh()
            assert await app.completed()
            await app.report(work_done=8.0)
            await app.refresh()
            assert not await app.completed()
            assert math.isnan(await app.progress_ratio())

        play(server, scenario)


@both_colours
def test_subscribers_are_told_once_a_tick_and_before_the_ticks_own_callbacks(play: Play) -> None:
    solar_w = [0.0, 0.0, 10.0, 10.5, 20.0, 20.0, 20.0, 20.0]
    with PlayedServer(played_site(solar_w=solar_w, days=8 / 96), lockstep=8) as server:

        async def scenario(app: AsyncApp) -> list[tuple[str, float]]:
            told: list[tuple[str, float]] = []

            async def later(value: float) -> None:
                told.append(("later", value))

            app.notify_solar_change(lambda value: told.append(("solar", value)), 0.1)
            app.notify_carbon_change(later, 0.5)
            app.notify_battery_empty(lambda value: told.append(("empty", value)))
            app.notify_battery_full(lambda value: told.append(("full", value)))

            async def tick(energy: AsyncApp, _: AsyncApp) -> None:
                told.append(("tick", await energy.get_solar_power()))

            app.on_tick(tick)
            await app.run(7)
            return told

        told = play(server, scenario)
    ticks = [value for kind, value in told if kind == "tick"]
    expected, last = [], math.nan
    for value in ticks:
        if not abs(value - last) <= 0.1 * abs(last):
            expected.append(value)
            last = value
    assert [value for kind, value in told if kind == "solar"] == expected
    assert [kind for kind, _ in told[:4]] == ["solar", "later", "empty", "tick"]
    assert [kind for kind, _ in told].count("empty") == 1
    assert [kind for kind, _ in told].count("full") == 0


@both_colours
def test_waiting_for_ticks_answers_the_one_before(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> list[int]:
        seen = [await app.effective_tick()]
        for _ in range(3):
            event = await app.wait_for_tick()
            assert event is not None
            assert event.tick == await app.effective_tick()
            seen.append(event.tick)
        return seen

    assert play(lockstep, scenario) == [0, 1, 2, 3]
    assert [one.body for one in lockstep.asked if one.path == "/v1/app/tick"] == [b'{"tick":%d}' % k for k in range(3)]


@both_colours
def test_a_tick_that_has_been_told_and_not_answered_is_answered_first(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> list[int]:
        seen: list[int] = []
        app.on_tick(lambda energy, _: seen.append(energy.snapshot.tick))
        await app.next_event()
        await app.run(1)
        await app.wait_for_tick()
        await app.run(2)
        lockstep.tick()
        await app.run(1)
        return seen

    assert play(lockstep, scenario) == [0, 1, 2, 4]


@both_colours
def test_a_callback_may_stop_the_run_and_the_tick_is_still_answered(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> int:
        def tick(energy: AsyncApp, _: AsyncApp) -> None:
            if energy.snapshot.tick == 2:
                app.stop()

        app.on_tick(tick)
        return await app.run() + await app.run(1)

    assert play(lockstep, scenario) == 4
    assert lockstep.site.tick == 4


@both_colours
def test_what_a_callback_raises_comes_out_and_its_tick_is_not_answered(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        app.on_tick(lambda energy, _: {}[energy.snapshot.tick])
        with pytest.raises(KeyError):
            await app.run()

    play(lockstep, scenario)
    assert lockstep.site.tick == 0


@both_colours
def test_webhooks_are_registered_listed_and_removed(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        hook = await app.add_callback("https://allowed/hook", ["tick", "battery_full"])
        assert hook.events == ["tick", "battery_full"]
        assert [one.id for one in await app.list_callbacks()] == ["h1"]
        await app.remove_callback(hook.id)
        with pytest.raises(Refused, match="not allowed"):
            await app.add_callback("https://elsewhere/")

    play(server, scenario)


@both_colours
def test_logs_are_text(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> str:
        return await app.logs("c1")

    assert play(server, scenario) == "c1 says héllo\n"


def test_an_asynchronous_callback_on_a_blocking_app_is_told_what_to_do(lockstep: PlayedServer) -> None:
    import asyncio

    async def tick(energy: Any, app: Any) -> None:
        await asyncio.sleep(0)

    with connect(lockstep.url, TOKEN) as app:
        app.later.on_tick(tick)
        with pytest.raises(TypeError, match="connect_async"):
            app.run(1)


@both_colours
def test_a_request_that_may_act_twice_is_not_sent_twice(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        server.faults.raw.append(b"")
        assert await app.set_battery_charge_rate(3.0) == 3.0
        server.faults.raw.append(b"")
        with pytest.raises(Unavailable, match="broke the connection"):
            await app.add_container(1.0)
        server.faults.raw += [b"", b""]
        with pytest.raises(Unavailable, match="broke the connection"):
            await app.refresh()

    play(server, scenario)
    assert [one.method for one in server.asked] == ["GET", "PATCH", "PATCH", "POST", "GET", "GET"]


@both_colours
def test_an_answer_that_does_not_end_is_left(server: PlayedServer, play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecovisor.client.on_httpx.LONGEST_ANSWER", 100_000)

    async def scenario(app: AsyncApp) -> None:
        server.faults.raw.append(b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n" + b"x" * 999_999)
        with pytest.raises(Unavailable, match="100000 bytes"):
            await app.logs("c1")
        assert "héllo" in await app.logs("c1")

    play(server, scenario)


@both_colours
def test_closing_in_a_callback_ends_the_run_and_leaves_the_tick_unanswered(lockstep: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> int:
        app.on_tick(lambda energy, _: energy.close())
        return await app.run()

    assert play(lockstep, scenario) == 0
    assert lockstep.site.tick == 0


@both_colours
def test_a_past_that_is_not_kept_is_infeasible_naming_what_is(server: PlayedServer, play: Play) -> None:
    server.tick(2)

    async def scenario(app: AsyncApp) -> None:
        with pytest.raises(Infeasible, match="2020-05-31T00:30:00Z to 2020-06-01T00:30:00Z is not within what is kept"):
            await app.history("demand_w", await app.now_s() - 86400.0, await app.now_s())

    play(server, scenario)


@both_colours
def test_a_closed_app_says_so(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        await app.close()
        with pytest.raises(Unavailable, match="closed here"):
            await app.set_battery_charge_rate(1.0)
        assert await app.next_event() is None
        assert await app.wait_for_tick() is None
        assert await app.run() == 0
        await app.close()

    play(server, scenario)


def test_through_a_socket_nobody_needs_a_token(tmp_path: Any) -> None:
    import asyncio

    with PlayedServer(played_site(), socket_path=tmp_path / "app.sock") as server:
        with connect(unix=server._socket_path) as app:
            assert app.name == "app"
            assert app.set_battery_charge_rate(3.0) == 3.0

        async def later() -> float:
            async with await connect_async(unix=tmp_path / "app.sock") as app:
                return await app.set_battery_charge_rate(4.0)

        assert asyncio.run(later()) == 4.0
    assert all("authorization" not in one.headers for one in server.asked)


def test_a_coroutine_that_never_suspends_is_complete_at_once() -> None:
    async def number() -> int:
        return 3

    assert complete(number()) == 3

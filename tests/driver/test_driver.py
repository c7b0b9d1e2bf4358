"""What the driver of a live site does with the time, the containers and the plant that it is given."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.driver.played import START_S, TICK_S, Played, PlayedMeter

from ecovisor import wire
from ecovisor.model.errors import Infeasible, Refused, SettingRefused, UnknownApp
from ecovisor.ports import AppView, VirtualEnergy
from ecovisor.ports.live import ContainerState


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


def test_containers_start_and_their_power_is_that_of_their_cpu_time(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        site.platform.busy = {("one", "c1"): 0.5, ("one", "c2"): 0.0, ("two", "c1"): 1.0}
        snapshot = await site.tick(3)
        one, two, made_up, own = snapshot.apps
        assert [round(c.power_w, 9) for c in one.containers] == [2.5, 1.0]  # a quarter of the curve at 0.5 and at 0
        assert one.load.power_w == pytest.approx(3.5)
        assert two.load.power_w == pytest.approx(5.0)
        assert made_up.load.power_w == 6.0
        assert own.load.power_w == pytest.approx(1.0)
        assert snapshot.node_power_w == pytest.approx(15.5)
        assert snapshot.residual_wh < 1e-9
        assert snapshot.tick == site.ecovisor.tick == 4

    driven(test, lambda: Played(tmp_path))


def test_the_battery_follows_the_apps_and_the_meters_agree(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        for _ in range(12):
            await site.ecovisor.change("one", lambda energy: energy.set_battery_charge_rate(5.0))
            await site.ecovisor.change("two", lambda energy: energy.set_battery_max_discharge(1.0))
            site.platform.busy["one", "c1"] = 0.3
            await site.tick(3)
            site.platform.busy["one", "c1"] = 0.9
            await site.ecovisor.change("one", lambda energy: energy.set_battery_charge_rate(0.0))
            await site.tick(2)
        snapshot = site.ecovisor.site_state()
        assert snapshot.residual_wh < 1e-9
        levels = sum(app.battery.level_wh for app in snapshot.apps)
        reading = await site.plant.read()
        below = site.ecovisor.settings.below_line_wh
        assert abs(reading.level_wh - below - levels) < 0.6, "the battery owes at most what one tick surprised it with"
        assert reading.load_wh == pytest.approx(site.site.memory.get("load_total_wh"), abs=1e-9), "what was drawn"

    driven(test, lambda: Played(tmp_path, solar_w=[30.0, 0.0, 12.0]))


def test_settings_after_the_window_govern_the_next_tick(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        tick = site.ecovisor.tick
        early = await site.ecovisor.change("one", lambda energy: energy.set_battery_charge_rate(4.0))
        assert early.effective_tick == tick
        await site.window_over()
        late = await site.ecovisor.change("one", lambda energy: energy.set_battery_charge_rate(9.0))
        assert late.effective_tick == tick + 1
        assert site.app("one").battery.charge_rate_w == 9.0
        await site.tick(1)
        assert site.site.get(0, "charge_rate_in_force_w") == 4.0
        await site.tick(1)
        assert site.site.get(0, "charge_rate_in_force_w") == 9.0

    driven(test, lambda: Played(tmp_path))


def test_a_change_that_raises_changes_nothing(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        before = site.ecovisor.energy("one").saved_settings()

        def change(energy: VirtualEnergy) -> None:
            energy.set_battery_charge_rate(3.0)
            energy.add_container(1.0)
            energy.set_carbon_rate("c1", 1.0)
            energy.set_carbon_budget(2.0)
            energy.set_container_powercap("c1", float("nan"))

        with pytest.raises(SettingRefused):
            await site.ecovisor.change("one", change)
        assert site.ecovisor.energy("one").saved_settings() == before
        await site.tick(1)
        assert [one.id for one in site.app("one").containers] == ["c1", "c2"]

    driven(test, lambda: Played(tmp_path))


def test_caps_act_at_once_and_hold(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        await site.ecovisor.change("two", lambda energy: energy.set_container_powercap("c1", 2.0))
        assert site.platform.containers["two", "c1"].cores_limit == pytest.approx(1.0 / 3.0)  # 1 to 2.5 W up to half a core
        await site.window_over()
        await site.ecovisor.change("two", lambda energy: energy.set_app_powercap(1.5))
        assert site.platform.containers["two", "c1"].cores_limit == pytest.approx(1.0 / 6.0)
        await site.tick(2)
        assert site.app("two").load.power_w == pytest.approx(1.5)
        await site.ecovisor.change("two", lambda energy: energy.set_app_powercap(0.5))  # below its idle power
        assert site.app("two").containers[0].state == "suspended"
        await site.tick(2)
        assert site.app("two").load.power_w == 0.0
        assert site.app("two").containers[0].state == "suspended"
        await site.ecovisor.change("two", lambda energy: energy.set_app_powercap(float("inf")))
        assert site.platform.containers["two", "c1"].state is ContainerState.RUNNING

    driven(test, lambda: Played(tmp_path))


def test_a_container_keeps_within_the_app_s_supply(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        await site.ecovisor.change("one", lambda energy: energy.set_battery_max_discharge(0.0))
        await site.tick(3)
        one = site.app("one")  # half of 8 W of grid and no sun
        assert one.load.power_w == pytest.approx(4.0)
        assert one.load.overdraw_w == pytest.approx(0.0, abs=1e-9)

    driven(test, lambda: Played(tmp_path, solar_w=[0.0], grid_limit_w=8.0))


def test_what_a_surprise_drew_beyond_the_supply_is_billed_as_overdraw(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        site.platform.busy["one", "c1"] = site.platform.busy["one", "c2"] = 0.0
        await site.tick(2)
        await site.ecovisor.change("one", lambda energy: energy.set_battery_max_discharge(0.0))
        await site.window_over()
        for key in (("one", "c1"), ("one", "c2")):  # breaks its cap
            await site.platform.set_cores_limit(*key, 1.0)
            site.platform.busy[key] = 1.0
        await site.tick(1)
        assert site.app("one").load.overdraw_w > 0.0
        assert site.app("one").totals.overdraw_wh > 0.0

    driven(test, lambda: Played(tmp_path, solar_w=[0.0], grid_limit_w=8.0))


def test_exit_codes_are_told_and_an_app_whose_containers_ended_well_is_complete(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        site.platform.end("two", "c1", 0)
        await site.tick(2)
        container = site.app("two").containers[0]
        assert (container.state, container.exit_code, container.power_w) == ("exited", 0, 0.0)
        kinds = [event.kind for event in await site.ecovisor.events_since("two", "")]
        assert kinds.count("container_exited") == 1
        assert kinds.count("completed") == 1
        await site.ecovisor.change("two", lambda energy: energy.resume_container("c1"))  # once more
        assert site.app("two").containers[0].state == "running"

    driven(test, lambda: Played(tmp_path))


def test_a_container_that_cannot_be_started_is_refused_and_gone(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        site.platform.refuse = "no such program"
        with pytest.raises(Refused, match="no such program"):
            await site.ecovisor.change("two", lambda energy: energy.add_container(1.0))
        assert [one.id for one in site.app("two").containers] == ["c1"]
        site.platform.refuse = None
        added = await site.ecovisor.change("two", lambda energy: energy.add_container(1.0))
        assert ("two", added.value) in site.platform.containers
        await site.ecovisor.change("two", lambda energy: energy.remove_container(added.value))
        assert ("two", added.value) not in site.platform.containers
        await site.tick(1)

    driven(test, lambda: Played(tmp_path))


def test_a_node_meter_is_what_containers_and_site_sum_to(tmp_path: Path) -> None:
    meter = PlayedMeter()

    async def test(site: Played) -> None:
        await site.tick(1)
        for node_w in (20.0, 3.0):
            meter.energy_j += node_w * TICK_S
            snapshot = await site.tick(1)
            real = sum(app.load.power_w for app in snapshot.apps if app.app in ("one", "two"))
            own = next(app for app in snapshot.apps if app.app == "_site").load.power_w - 1.0  # its overhead
            assert real + own == pytest.approx(node_w)
            assert snapshot.apps[0].load.quality == "estimated"
            assert own >= 0.0

    driven(test, lambda: Played(tmp_path, meter=meter))


def test_budgets_are_enforced_told_and_projected(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(1)
        await site.ecovisor.change("one", lambda energy: energy.set_battery_max_discharge(0.0))
        await site.ecovisor.change("one", lambda energy: energy.set_carbon_budget(0.15))
        await site.tick(2)
        budget = site.app("one").carbon.budget
        assert budget is not None
        assert budget.exhausted_s is not None
        assert budget.exhausted_s > site.clock.site_s()
        await site.tick(12)
        kinds = [event.kind for event in await site.ecovisor.events_since("one", "") if event.kind.startswith("budget")]
        assert kinds == ["budget_80", "budget_100"] or kinds == ["budget_80"]
        budget = site.app("one").carbon.budget
        assert budget is not None
        assert budget.spent_g <= 0.15 * 1.25, "a budget is overrun by one tick's surprise at most"
        assert site.app("one").load.power_w == 0.0

    driven(test, lambda: Played(tmp_path, solar_w=[0.0]))


def test_a_late_tick_has_its_own_length_and_is_told(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        await site.window_over()
        site.clock.advance_by(3 * TICK_S)
        await site.settle()
        snapshot = await site.tick(1)
        assert snapshot.late_ticks == 1
        rows = site.ledger.ticks(START_S, START_S + 3600.0)
        lengths = [round(one.dt_s / TICK_S) for one in rows]
        assert max(lengths) in (3, 4)
        assert sum(lengths) == round((rows[-1].start_s + rows[-1].dt_s - rows[0].start_s) / TICK_S)
        assert snapshot.residual_wh < 1e-9

    driven(test, lambda: Played(tmp_path))


def test_time_far_too_long_is_a_gap_of_the_site(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        await site.window_over()
        site.clock.advance_by(30 * TICK_S)
        await site.settle()
        snapshot = await site.tick(2)
        assert snapshot.gaps == 1
        usage = await site.ecovisor.usage("one", START_S, site.clock.site_s() // TICK_S * TICK_S, None)
        assert len(usage.gaps) == 1
        assert usage.coverage_ratio < 0.5
        own = await site.ecovisor.usage("_site", START_S, site.clock.site_s() // TICK_S * TICK_S, None)
        assert own.load_wh > usage.load_wh
        reading = await site.plant.read()
        below = site.ecovisor.settings.below_line_wh
        levels = sum(app.battery.level_wh for app in snapshot.apps)
        assert levels == pytest.approx(reading.level_wh - below, abs=0.6)

    driven(test, lambda: Played(tmp_path))


def test_apps_come_and_go_at_boundaries(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        share = wire.Shares(grid=0.1, solar=0.1, battery_energy=0.1, battery_power=0.1)
        first = await site.ecovisor.add_app(wire.AddApp(name="new", shares=share))
        with pytest.raises(Refused):
            await site.ecovisor.add_app(wire.AddApp(name="new", shares=share))
        with pytest.raises(Infeasible):
            await site.ecovisor.add_app(
                wire.AddApp(name="big", shares=wire.Shares(grid=0.5, solar=0.5, battery_energy=0.5, battery_power=0.5))
            )
        await site.tick(1)
        assert site.ecovisor.tick == first
        assert "new" in site.ecovisor.apps()
        held = site.app("two").battery.level_wh
        gone = await site.ecovisor.remove_app("two")
        await site.tick(1)
        assert site.ecovisor.tick == gone
        assert "two" not in site.ecovisor.apps()
        assert site.app("_site").battery.level_wh > held * 0.5
        assert ("two", "c1") not in site.platform.containers
        await site.ecovisor.set_shares({"one": share})
        await site.tick(2)
        assert site.app("one").battery.capacity_wh == pytest.approx(site.site.usable_wh * 0.1)
        assert site.ecovisor.site_state().residual_wh < 1e-9
        with pytest.raises(UnknownApp):
            site.ecovisor.snapshot("two")

    driven(test, lambda: Played(tmp_path))


def test_a_plant_that_fails_is_told_as_stale_and_nothing_is_lost(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(3)
        site.plant.fault = "unplugged"
        snapshot = await site.tick(2)
        assert [one.name for one in snapshot.apps[0].stale] == ["plant"]
        assert snapshot.apps[0].solar.quality == "stale"
        site.plant.fault = None
        site.clock.advance_by(0.0)
        await site.tick(6)
        reading = await site.plant.read()
        assert site.site.memory.get("solar_collected_total_wh") == pytest.approx(reading.solar_wh, rel=0.2)
        assert site.app("one").stale == []

    driven(test, lambda: Played(tmp_path))


def test_an_unknown_intensity_is_never_zero_carbon(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(2)
        await site.ecovisor.change("one", lambda energy: energy.set_battery_max_discharge(0.0))
        site.carbon.value = float("nan")
        await site.tick(2)
        one = site.app("one")
        assert one.grid.carbon_intensity_g_per_kwh is None
        assert one.carbon.rate_g_per_h is None
        assert one.carbon.unknown_wh > 0.0

    driven(test, lambda: Played(tmp_path, solar_w=[0.0]))


class Breaks:
    def tick(self, energy: VirtualEnergy, app: AppView) -> None:
        raise ValueError("no plan")


def test_a_policy_that_raises_is_told_and_the_site_goes_on(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(3)
        told = [event.detail for event in await site.ecovisor.events_since("one", "") if event.kind == "policy_error"]
        assert len(told) >= 2
        assert "no plan" in told[0]

    driven(test, lambda: Played(tmp_path, policies={"one": Breaks}))


def test_a_killed_site_goes_on_where_it_was_and_the_time_between_is_one_gap(tmp_path: Path) -> None:
    async def main() -> None:
        first = Played(tmp_path, solar_w=[30.0])
        await first.start()
        await first.tick(3)
        await first.ecovisor.change("one", lambda energy: energy.set_container_powercap("c1", 1.5))
        await first.ecovisor.change("one", lambda energy: energy.set_carbon_budget(50.0))
        await first.ecovisor.change("two", lambda energy: energy.add_container(0.5))
        await first.ecovisor.set_shares({"two": wire.Shares(grid=0.3, solar=0.3, battery_energy=0.3, battery_power=0.3)})
        await first.tick(3)
        before = first.ecovisor.site_state()
        events = await first.ecovisor.events_since(None, "")
        first.kill()
        await asyncio.sleep(0.01)
        first.clock.advance_by(7.4 * TICK_S)
        second = Played(tmp_path, solar_w=[30.0], clock=first.clock, plant=first.plant, platform=first.platform)
        await second.start()
        try:
            after = second.ecovisor.site_state()
            assert after.tick == before.tick
            assert after.gaps == 1
            one = second.app("one")
            assert one.carbon.total_g == next(app for app in before.apps if app.app == "one").carbon.total_g
            assert one.containers[0].cap_w == 1.5
            assert one.carbon.budget is not None
            assert [c.id for c in second.app("two").containers] == ["c1", "c2"]
            assert first.platform.calls.count("start one/c1") == 1, "containers that went on are taken over"
            reading = await second.plant.read()
            below = second.ecovisor.settings.below_line_wh
            assert sum(app.battery.level_wh for app in after.apps) == pytest.approx(reading.level_wh - below, abs=1e-9)
            await second.tick(2)
            again = await second.ecovisor.events_since(None, "")
            assert [(e.id, e.kind) for e in again[: len(events)]] == [(e.id, e.kind) for e in events]
            ids = [tuple(map(int, e.id.split("."))) for e in again]
            assert ids == sorted(set(ids))
            ticks = [one.tick for one in second.ledger.ticks(START_S, second.clock.site_s()) if one.tick is not None]
            assert ticks == list(range(len(ticks)))
            assert second.ecovisor.site_state().residual_wh < 1e-9
        finally:
            await second.close()

    asyncio.run(main())


def test_changes_of_sun_and_intensity_are_told_to_all_apps(tmp_path: Path) -> None:
    async def test(site: Played) -> None:
        await site.tick(3)
        site.carbon.value = 300.0
        await site.tick(3)
        told = await site.ecovisor.events_since("two", "")
        assert [event.value for event in told if event.kind == "carbon_change"][-1] == 300.0
        suns = [event.value for event in told if event.kind == "solar_change"]
        assert suns[-1] == pytest.approx(30.0)
        assert site.ledger.events("two", "") == told

    driven(test, lambda: Played(tmp_path))

"""What every implementation of `ports.VirtualEnergy` must do, in process or over a network: see `VirtualEnergyContract`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ecovisor.model.errors import Infeasible, SettingRefused
from ecovisor.ports import VirtualEnergy
from ecovisor.testing.expectations import close, refused

Step = Callable[[VirtualEnergy], None]
_BAD = (math.nan, -1.0, -math.inf)


class VirtualEnergyContract:
    """Inherit, and give `play(steps)`: start a site anew, and call step k with the app's energy system before tick k, in order.

    The app has two containers of 4 cores on microservers (1.35 W idle, 5 W full; 4 cores each), asks for 8 W all the time, and holds
    half of a battery, of a solar array and of a limited grid connection of at least 20 W for the app. The battery starts empty and can be
    filled by half in a few ticks at its charge limit, the sun does not shine in the first ticks, and the intensity is known:
    the first hours of `ecovisor.testing.small_site` with ``ConstantDemand(demand_w=8.0)``. The step after the last is never called.
    """

    def play(self, steps: Sequence[Step]) -> None:
        """Run ``len(steps)`` ticks, calling step k before tick k; what a step raises comes out."""
        raise NotImplementedError("give play()")

    # -- where and when

    def test_settings_govern_the_coming_tick(self) -> None:
        seen: list[tuple[int, float]] = []

        def look(energy: VirtualEnergy) -> None:
            seen.append((energy.effective_tick, energy.now_s))
            assert energy.tick_s > 0.0

        self.play([look] * 3)
        ticks, times = zip(*seen, strict=True)
        assert list(ticks) == [ticks[0], ticks[0] + 1, ticks[0] + 2]
        assert close(times[1] - times[0], times[2] - times[1])

    # -- getters

    def test_getters_answer_with_finite_powers_of_at_least_0(self) -> None:
        def look(energy: VirtualEnergy) -> None:
            for get in (
                energy.get_solar_power,
                energy.get_grid_power,
                energy.get_grid_carbon,
                energy.get_battery_discharge_rate,
                energy.get_battery_charge_level,
                energy.get_app_power,
                energy.get_app_carbon,
            ):
                value = get()
                assert type(value) is float, f"{get.__name__} gave a {type(value).__name__}"
                assert 0.0 <= value < math.inf, f"{get.__name__} gave {value!r}"

        self.play([look] * 4)

    def test_power_getters_are_of_the_tick_that_ended(self) -> None:
        def before(energy: VirtualEnergy) -> None:
            assert energy.get_app_power() == 0.0, "before the first tick nothing was used"

        def after(energy: VirtualEnergy) -> None:
            assert close(energy.get_app_power(), 8.0)
            assert close(energy.get_grid_power(), 8.0), "no sun and an empty battery: all of it is the grid's"
            assert energy.get_battery_discharge_rate() == 0.0

        self.play([before, after])

    def test_carbon_is_import_times_intensity(self) -> None:
        intensity: list[float] = []

        def before(energy: VirtualEnergy) -> None:
            intensity.append(energy.get_grid_carbon())

        def after(energy: VirtualEnergy) -> None:
            expected_g = energy.get_grid_power() * energy.tick_s / 3600.0 / 1000.0 * intensity[0]
            assert close(energy.get_app_carbon(), expected_g)
            begin_s = energy.now_s - energy.tick_s
            assert close(energy.get_app_carbon(begin_s, energy.now_s), expected_g)
            assert close(energy.get_app_energy(begin_s, energy.now_s), energy.get_app_power() * energy.tick_s / 3600.0)

        self.play([before, after])

    # -- the battery

    def test_a_charge_rate_fills_the_battery_and_is_clipped(self) -> None:
        def charge(energy: VirtualEnergy) -> None:
            assert energy.get_battery_charge_level() == 0.0
            limit_w = energy.battery_charge_limit_w
            assert 0.0 < limit_w < math.inf
            assert close(energy.set_battery_charge_rate(limit_w * 10.0), limit_w), "the setter says what acts"
            assert close(energy.set_battery_charge_rate(limit_w / 2.0), limit_w / 2.0)

        def charged(energy: VirtualEnergy) -> None:
            level_wh = energy.get_battery_charge_level()
            assert 0.0 < level_wh <= energy.battery_capacity_wh
            assert close(energy.get_grid_power(), energy.get_app_power() + energy.battery_charge_limit_w / 2.0)
            assert energy.set_battery_charge_rate(0.0) == 0.0

        def discharged(energy: VirtualEnergy) -> None:
            assert energy.get_battery_discharge_rate() > 0.0, "without a limit of its own the battery serves the deficit"

        self.play([charge, charged, discharged])

    def test_the_largest_discharge_holds(self) -> None:
        def charge(energy: VirtualEnergy) -> None:
            energy.set_battery_charge_rate(energy.battery_charge_limit_w)

        def limit(energy: VirtualEnergy) -> None:
            energy.set_battery_charge_rate(0.0)
            assert close(energy.set_battery_max_discharge(2.0), 2.0)

        def limited(energy: VirtualEnergy) -> None:
            assert close(energy.get_battery_discharge_rate(), 2.0)
            assert close(energy.set_battery_max_discharge(math.inf), energy.battery_discharge_limit_w)

        self.play([charge, limit, limited])

    def test_what_is_no_power_is_refused_and_changes_nothing(self) -> None:
        def try_all(energy: VirtualEnergy) -> None:
            container = energy.list_containers()[0].id
            energy.set_battery_charge_rate(3.0)
            for bad in _BAD:
                with refused(SettingRefused):
                    energy.set_battery_charge_rate(bad)
                with refused(SettingRefused):
                    energy.set_battery_max_discharge(bad)
                with refused(SettingRefused):
                    energy.set_container_powercap(container, bad)
                with refused(SettingRefused):
                    energy.set_app_powercap(bad)
                with refused(SettingRefused):
                    energy.scale_containers(bad)
                with refused(SettingRefused):
                    energy.set_carbon_rate(container, bad)
                with refused(SettingRefused):
                    energy.set_carbon_budget(bad)
                with refused(SettingRefused):
                    energy.add_container(bad)
                with refused(SettingRefused):
                    energy.resize_container(container, bad)
            with refused(SettingRefused):
                energy.set_battery_charge_rate(math.inf)
            with refused(SettingRefused):
                energy.scale_containers(math.inf)

        def unchanged(energy: VirtualEnergy) -> None:
            assert close(energy.get_grid_power(), 8.0 + 3.0)
            assert len(energy.list_containers()) == 2

        self.play([try_all, unchanged])

    # -- containers

    def test_containers_share_the_apps_power(self) -> None:
        def look(energy: VirtualEnergy) -> None:
            containers = energy.list_containers()
            assert len(containers) == 2
            assert all(one.running and one.cores == 4.0 and one.cap_w == math.inf for one in containers)
            assert close(sum(one.power_w for one in containers), energy.get_app_power())
            for one in containers:
                assert close(energy.get_container_power(one.id), one.power_w)
                assert energy.get_container_powercap(one.id) == math.inf
            begin_s = energy.now_s - energy.tick_s
            parts = [energy.get_container_energy(one.id, begin_s, energy.now_s) for one in containers]
            assert close(sum(parts), energy.get_app_energy(begin_s, energy.now_s))
            carbon = [energy.get_container_carbon(one.id, begin_s, energy.now_s) for one in containers]
            assert close(sum(carbon), energy.get_app_carbon(begin_s, energy.now_s))

        self.play([lambda _: None, look])

    def test_unknown_containers_are_refused(self) -> None:
        def try_all(energy: VirtualEnergy) -> None:
            for use in (
                lambda: energy.set_container_powercap("no-such", 5.0),
                lambda: energy.get_container_powercap("no-such"),
                lambda: energy.get_container_power("no-such"),
                lambda: energy.set_carbon_rate("no-such", 1.0),
                lambda: energy.remove_container("no-such"),
                lambda: energy.resize_container("no-such", 1.0),
                lambda: energy.suspend_container("no-such"),
                lambda: energy.resume_container("no-such"),
                lambda: energy.get_container_energy("no-such", energy.now_s, energy.now_s),
                lambda: energy.get_container_carbon("no-such", energy.now_s, energy.now_s),
            ):
                with refused(SettingRefused):
                    use()

        self.play([try_all])

    def test_a_cap_holds_and_below_idle_it_is_infeasible(self) -> None:
        def cap(energy: VirtualEnergy) -> None:
            first = energy.list_containers()[0].id
            assert close(energy.set_container_powercap(first, 2.0), 2.0)
            assert close(energy.get_container_powercap(first), 2.0)
            with refused(Infeasible):
                energy.set_container_powercap(first, 1.0)

        def capped(energy: VirtualEnergy) -> None:
            first, second = energy.list_containers()
            assert close(first.power_w, 2.0)
            assert close(second.power_w, 4.0)

        self.play([cap, capped])

    def test_a_cap_on_the_app_bounds_its_containers_together(self) -> None:
        def cap(energy: VirtualEnergy) -> None:
            energy.set_app_powercap(6.0)
            assert [energy.get_container_powercap(one.id) for one in energy.list_containers()] == [6.0, 6.0]

        def capped(energy: VirtualEnergy) -> None:
            assert close(energy.get_app_power(), 6.0)
            energy.set_app_powercap(math.inf)

        def free(energy: VirtualEnergy) -> None:
            assert close(energy.get_app_power(), 8.0)

        self.play([cap, capped, free])

    def test_containers_come_go_and_change(self) -> None:
        def change(energy: VirtualEnergy) -> None:
            before = [one.id for one in energy.list_containers()]
            new = energy.add_container(2.0)
            assert new not in before
            energy.resize_container(before[0], 1.0)
            energy.suspend_container(before[1])
            found = {one.id: (one.cores, one.running) for one in energy.list_containers()}
            assert found == {before[0]: (1.0, True), before[1]: (4.0, False), new: (2.0, True)}
            assert close(energy.idle_power_w, 3.0 / 4.0 * 1.35)

        def suspended(energy: VirtualEnergy) -> None:
            first, second, new = energy.list_containers()
            assert second.power_w == 0.0
            assert close(first.power_w + new.power_w, energy.get_app_power())
            energy.resume_container(second.id)
            energy.remove_container(new.id)

        def resumed(energy: VirtualEnergy) -> None:
            assert [(one.cores, one.running) for one in energy.list_containers()] == [(1.0, True), (4.0, True)]

        self.play([change, suspended, resumed])

    def test_scale_0_suspends_everything(self) -> None:
        def stop(energy: VirtualEnergy) -> None:
            energy.scale_containers(0.0)

        def stopped(energy: VirtualEnergy) -> None:
            assert energy.get_app_power() == 0.0
            energy.scale_containers(1.0)

        def running(energy: VirtualEnergy) -> None:
            assert close(energy.get_app_power(), 8.0)

        self.play([stop, stopped, running])

    # -- Table 2

    def test_a_carbon_budget_of_nothing_leaves_only_the_sun(self) -> None:
        def spend_nothing(energy: VirtualEnergy) -> None:
            energy.set_carbon_budget(0.0)

        def nothing(energy: VirtualEnergy) -> None:
            assert energy.get_grid_power() == 0.0
            energy.set_carbon_budget(None)

        def free(energy: VirtualEnergy) -> None:
            assert close(energy.get_grid_power(), 8.0)

        self.play([spend_nothing, nothing, free])

    def test_a_carbon_rate_caps_a_container(self) -> None:
        def rate(energy: VirtualEnergy) -> None:
            first = energy.list_containers()[0].id
            energy.set_carbon_rate(first, energy.get_grid_carbon() * 2.0 / 1000.0)
            assert close(energy.get_container_powercap(first), 2.0)

        def held(energy: VirtualEnergy) -> None:
            first = energy.list_containers()[0]
            assert first.power_w <= 2.0 * (1.0 + 1e-9)
            energy.set_carbon_rate(first.id, None)
            assert energy.get_container_powercap(first.id) == math.inf

        self.play([rate, held])

    def test_subscribers_hear_of_changes_and_not_of_anything_else(self) -> None:
        told: dict[str, list[float]] = {"solar": [], "carbon": [], "full": [], "empty": []}

        def subscribe(energy: VirtualEnergy) -> None:
            energy.notify_solar_change(told["solar"].append, 0.1)
            energy.notify_carbon_change(told["carbon"].append, 0.5)
            energy.notify_battery_full(told["full"].append)
            energy.notify_battery_empty(told["empty"].append)

        self.play([subscribe, *[lambda _: None] * 3])
        assert len(told["carbon"]) <= 1, "within these ticks the intensity changes by less than half"
        assert told["full"] == [], "nothing charged the battery"
        assert len(told["empty"]) <= 1, "an empty battery that stays empty is told at most once"

    # -- past and future

    def test_history_is_what_the_tables_hold(self) -> None:
        def look(energy: VirtualEnergy) -> None:
            begin_s = energy.now_s - 2 * energy.tick_s
            series = energy.history("demand_w", begin_s, energy.now_s)
            assert (series.unit, series.start_s, series.step_s) == ("W", begin_s, energy.tick_s)
            assert [round(value, 9) for value in series.values] == [8.0, 8.0]
            assert len(energy.history("carbon_intensity_g_per_kwh", begin_s, energy.now_s).values) == 2
            with refused(Infeasible):
                energy.history("demand_w", begin_s - 86400.0, energy.now_s)
            with refused(Infeasible):
                energy.history("demand_w", begin_s, energy.now_s + 86400.0)
            with refused(Infeasible, SettingRefused):
                energy.history("no_such_w", begin_s, energy.now_s)

        self.play([lambda _: None, lambda _: None, look])

    def test_a_forecast_begins_now(self) -> None:
        def look(energy: VirtualEnergy) -> None:
            series = energy.forecast("carbon", 3 * 3600.0)
            assert series.unit == "g/kWh"
            assert series.start_s <= energy.now_s < series.start_s + series.step_s
            assert energy.forecast("solar", 3600.0).unit == "W"
            with refused(Infeasible):
                energy.forecast("no-such", 3600.0)

        self.play([lambda _: None, look])

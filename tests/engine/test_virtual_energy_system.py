"""The functions of Tables 1 and 2, as a policy calls them: what they answer, when they act, what they refuse."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable

import pytest

from ecovisor.engine.loop import Loop
from ecovisor.engine.virtual_energy_system import VirtualEnergySystem
from ecovisor.library.forecasts import PerfectForecaster
from ecovisor.model.errors import EcovisorError, Infeasible, PolicyError, SettingRefused
from ecovisor.model.series import Quality, Series
from ecovisor.policies.static_carbon_rate import StaticCarbonRate
from ecovisor.policies.suspend_resume import SuspendResume
from ecovisor.policies.thresholds import Threshold
from ecovisor.ports import AppView, Policy, VirtualEnergy
from ecovisor.presets import BatteryParameters
from ecovisor.workloads.models import BatchJob

from . import build

Act = Callable[[VirtualEnergySystem, AppView], object]


def watched(act: Act) -> Callable[[], Policy]:
    return build.scripted(act)


def test_a_handle_is_virtual_energy() -> None:
    assert isinstance(build.site(build.app("a", 0.5)).app("a"), VirtualEnergy)


def test_getters_answer_for_the_last_tick_and_solar_for_the_coming_one() -> None:
    seen: list[tuple[float, ...]] = []
    kept = build.Keep()

    def act(energy: VirtualEnergySystem, _: AppView) -> None:
        energy.set_battery_charge_rate(20.0 if energy.effective_tick < 4 else 0.0)
        seen.append(
            (
                energy.get_solar_power(),
                energy.get_grid_power(),
                energy.get_grid_carbon(),
                energy.get_battery_discharge_rate(),
                energy.get_battery_charge_level(),
                energy.get_app_power(),
                energy.get_container_power("c2"),
            )
        )

    sun, intensity = [0.0, 40.0, 0.0, 8.0], [100.0, 300.0]
    site = build.site(
        build.app("a", 0.5, demand_w=10.0, containers=2, policy=watched(act)), solar_w=sun, intensity=intensity, sink=kept
    )
    build.run(site, 8)
    rows = kept.flows("a")
    for k in range(1, 8):
        solar_w, grid_w, carbon, discharge_w, level_wh, power_w, container_w = seen[k]
        last = rows[k - 1]
        assert solar_w == rows[k]["solar_w"]
        assert grid_w == last["grid_to_load_w"] + last["grid_to_battery_w"]
        assert carbon == intensity[k % 2]
        assert (discharge_w, level_wh) == (last["battery_discharge_w"], last["battery_level_wh"])
        assert (power_w, container_w) == (10.0, 5.0)


def test_settings_govern_the_coming_tick_and_say_so() -> None:
    kept = build.Keep()

    def act(energy: VirtualEnergySystem, _: AppView) -> None:
        if energy.effective_tick == 3:
            assert energy.set_battery_charge_rate(25.0) == 25.0
            assert energy.now_s == 3 * energy.tick_s
        if energy.effective_tick == 6:
            energy.set_battery_charge_rate(0.0)
            assert energy.set_battery_max_discharge(4.0) == 4.0

    build.run(build.site(build.app("a", 0.5, demand_w=10.0, policy=watched(act)), sink=kept), 9)
    assert kept.of("a", "charge_rate_setting_w") == [0.0] * 3 + [25.0] * 3 + [0.0] * 3
    assert kept.of("a", "battery_discharge_w")[3:] == [0.0] * 3 + [4.0] * 3


def test_a_value_over_a_limit_is_kept_as_asked_and_answered_as_clamped() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 0.5), sink=kept)
    energy = site.app("a")
    assert energy.set_battery_charge_rate(1e6) == energy.battery_charge_limit_w == 180.0
    assert energy.set_battery_max_discharge(math.inf) == energy.battery_discharge_limit_w == 720.0
    build.run(site, 1)
    assert kept.flows("a")[0]["charge_rate_setting_w"] == 1e6
    assert kept.flows("a")[0]["grid_to_battery_w"] == pytest.approx(180.0)


NAN, INF = math.nan, math.inf
REFUSED: list[tuple[str, Act, str]] = [
    ("charge rate NaN", lambda e, _: e.set_battery_charge_rate(NAN), "set_battery_charge_rate: nan W"),
    ("charge rate negative", lambda e, _: e.set_battery_charge_rate(-1.0), "set_battery_charge_rate: -1.0 W"),
    ("charge rate infinite", lambda e, _: e.set_battery_charge_rate(INF), "set_battery_charge_rate: inf W"),
    ("discharge NaN", lambda e, _: e.set_battery_max_discharge(NAN), "set_battery_max_discharge: nan W"),
    ("discharge negative", lambda e, _: e.set_battery_max_discharge(-0.5), "set_battery_max_discharge: -0.5 W"),
    ("container cap NaN", lambda e, _: e.set_container_powercap("c1", NAN), "set_container_powercap: nan W"),
    ("container cap negative", lambda e, _: e.set_container_powercap("c1", -1.0), "set_container_powercap: -1.0 W"),
    ("container cap below idle", lambda e, _: e.set_container_powercap("c1", 1.0), "below its idle power of 1.35 W"),
    ("cap of a stranger", lambda e, _: e.set_container_powercap("c9", 2.0), "container 'c9' does not exist; this app has: c1, c2"),
    ("power of a stranger", lambda e, _: e.get_container_power("x"), "'x' does not exist"),
    ("energy of a stranger", lambda e, _: e.get_container_energy("x", 0.0, 1.0), "'x' does not exist"),
    ("removal of a stranger", lambda e, _: e.remove_container("x"), "'x' does not exist"),
    ("rate of a stranger", lambda e, _: e.set_carbon_rate("x", 1.0), "'x' does not exist"),
    ("rate NaN", lambda e, _: e.set_carbon_rate("c1", NAN), "set_carbon_rate: nan g/h"),
    ("rate negative", lambda e, _: e.set_carbon_rate("c1", -1.0), "set_carbon_rate: -1.0 g/h"),
    ("rate infinite", lambda e, _: e.set_carbon_rate("c1", INF), "set_carbon_rate: inf g/h"),
    ("budget NaN", lambda e, _: e.set_carbon_budget(NAN), "set_carbon_budget: nan g"),
    ("budget negative", lambda e, _: e.set_carbon_budget(-1.0), "set_carbon_budget: -1.0 g"),
    ("scale NaN", lambda e, _: e.scale_containers(NAN), "scale_containers: nan"),
    ("scale infinite", lambda e, _: e.scale_containers(INF), "scale_containers: inf"),
    ("app cap NaN", lambda e, _: e.set_app_powercap(NAN), "set_app_powercap: nan W"),
    ("app cap negative", lambda e, _: e.set_app_powercap(-1.0), "set_app_powercap: -1.0 W"),
    ("no cores", lambda e, _: e.add_container(0.0), "add_container: 0.0 cores"),
    ("NaN cores", lambda e, _: e.resize_container("c1", NAN), "resize_container: nan cores"),
    ("unknown metric", lambda e, _: e.history("demand", 0.0, 1.0), "unknown metric 'demand'; known: battery_adjust_wh"),
    ("the future as history", lambda e, _: e.history("demand_w", 0.0, 1e9), "is not within what is kept"),
    ("unknown forecast", lambda e, _: e.forecast("rain", 60.0), "no forecast of 'rain'; known: none"),
]


@pytest.mark.parametrize(("act", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_no_setting_is_refused_with_its_value_and_changes_nothing(act: Act, message: str) -> None:
    site = build.site(build.app("a", 0.5, demand_w=10.0, containers=2))
    build.run(site, 2)
    energy = site.app("a")
    before = [site.get(0, column) for column in ("charge_rate_w", "max_discharge_w", "app_cap_w", "scale_ratio", "cores")]
    containers = energy.list_containers()
    with pytest.raises((SettingRefused, Infeasible), match=message):
        act(energy, energy)
    after = [site.get(0, column) for column in ("charge_rate_w", "max_discharge_w", "app_cap_w", "scale_ratio", "cores")]
    assert (before, containers) == (after, energy.list_containers())


@pytest.mark.parametrize("compiled", [False, True])
def test_a_policy_that_raises_stops_the_run_and_is_named(compiled: bool) -> None:
    if compiled:
        pytest.importorskip("numba")

    def act(energy: VirtualEnergySystem, _: AppView) -> None:
        if energy.effective_tick == 5:
            energy.set_battery_charge_rate(-3.0)

    site = build.site(
        build.app("good", 0.1, demand_w=1.0), build.app("bad", 0.1, policy=watched(act)), start_s=86400.0, compiled=compiled
    )
    with pytest.raises(
        PolicyError, match=r"apps\.bad\.policy: tick 5 \(1970-01-02T00:25:00Z\): SettingRefused: .*-3\.0 W"
    ) as caught:
        build.run(site, 9)
    assert isinstance(caught.value, EcovisorError)
    assert (caught.value.app, caught.value.tick) == ("bad", 5)
    assert isinstance(caught.value.cause, SettingRefused)
    assert site.memory.get("tick") == 5.0  # the ticks before it stand


def test_a_policy_that_raises_at_its_start_is_named_too() -> None:
    site = build.site(build.app("a", 0.1, policy=lambda: SuspendResume(Threshold(percent=30.0))))  # there is no forecast
    with pytest.raises(PolicyError, match=r"apps\.a\.policy: tick 0 .*no forecast of 'carbon'"):
        build.run(site, 3)


def test_energy_and_carbon_of_an_interval_are_sums_over_its_ticks() -> None:
    kept = build.Keep()
    site = build.site(
        build.app("a", 0.5, demand_w=12.0, containers=2, policy=watched(lambda *_: None)),
        intensity=[100.0, 250.0, 400.0],
        solar_w=[0.0, 9.0],
        battery=None,
        sink=kept,
    )
    build.run(site, 9)
    energy = site.app("a")
    energy.resize_container("c2", 4.0)
    rows = kept.flows("a")[2:6]
    start, end = 2 * build.TICK_S, 6 * build.TICK_S
    wanted_g = math.fsum(row["carbon_g"] for row in rows)
    assert energy.get_app_energy(start, end) == pytest.approx(12.0 * 4 * build.HOURS)
    assert energy.get_app_carbon(start, end) == pytest.approx(wanted_g)
    assert energy.get_app_carbon(start + 1.0, end - 1.0) == pytest.approx(wanted_g)  # bounds snap outward
    assert energy.get_app_carbon() == pytest.approx(math.fsum(kept.of("a", "carbon_g")))
    assert energy.get_app_carbon(start) == pytest.approx(math.fsum(kept.of("a", "carbon_g")[2:]))
    parts = [(energy.get_container_energy(one, start, end), energy.get_container_carbon(one, start, end)) for one in ("c1", "c2")]
    assert math.fsum(part[0] for part in parts) == pytest.approx(12.0 * 4 * build.HOURS)
    assert math.fsum(part[1] for part in parts) == pytest.approx(wanted_g)
    history = energy.history("solar_w", start, end)
    assert (list(history.values), history.unit, history.start_s, history.step_s) == (
        [row["solar_w"] for row in rows], "W", start, build.TICK_S,
    )  # fmt: skip
    assert list(energy.history("carbon_intensity_g_per_kwh", 0.0, 900.0).values) == [100.0, 250.0, 400.0]
    assert energy.history("battery_level_wh", 0.0, 300.0).unit == "Wh"


def test_carbon_at_an_unknown_intensity_is_not_known() -> None:
    site = build.site(
        build.app("a", 0.5, demand_w=12.0, policy=watched(lambda *_: None)), intensity=[100.0, math.nan], battery=None
    )
    build.run(site, 4)
    energy = site.app("a")
    assert math.isnan(energy.get_app_carbon(0.0, 600.0))
    assert energy.get_app_carbon(0.0, 300.0) == pytest.approx(12.0 * build.HOURS / 10)
    assert site.get(0, "unknown_carbon_total_wh") == pytest.approx(24.0 * build.HOURS)


def test_history_reaches_back_as_far_as_it_is_kept_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    from ecovisor.engine import recorder

    monkeypatch.setattr(recorder, "MAX_ROWS", 4)
    site = build.site(
        build.app("a", 0.5, demand_w=12.0, policy=watched(lambda e, _: e.ask(float(e.effective_tick)))),
        history_s=10 * build.TICK_S,
    )
    build.run(site, 50)
    energy = site.app("a")
    now_s = 50 * build.TICK_S
    assert list(energy.history("demand_w", now_s - 10 * build.TICK_S, now_s).values) == [float(k) for k in range(40, 50)]
    with pytest.raises(Infeasible, match="not within what is kept"):
        energy.history("demand_w", 0.0, build.TICK_S)


def test_forecasts_come_in_the_app_s_own_share() -> None:
    def series(name: str, unit: str, *values: float) -> PerfectForecaster:
        return PerfectForecaster(Series(name, unit, 0.0, build.TICK_S, array("d", values), Quality.MODELLED))

    site = build.site(
        build.app("a", 0.25),
        forecasters={"solar": series("solar", "W", 8.0, 4.0, 0.0), "carbon": series("carbon", "g/kWh", 1.0, 2.0, 3.0)},
    )
    energy = site.app("a")
    assert list(energy.forecast("solar", 600.0).values) == [2.0, 1.0]
    assert list(energy.forecast("carbon", 900.0).values) == [1.0, 2.0, 3.0]
    build.run(site, 2)
    assert list(energy.forecast("carbon", 300.0).values) == [3.0]


def test_changes_beyond_the_threshold_are_told_once() -> None:
    solar: list[float] = []
    carbon: list[float] = []
    site = build.site(
        build.app("a", 0.5),
        solar_w=[100.0, 104.0, 120.0, 120.0, 0.0, 0.0],
        intensity=[100.0, 105.0, math.nan, math.nan, 100.0, 89.0],
        battery=None,
    )
    energy = site.app("a")
    energy.notify_solar_change(solar.append)
    energy.notify_carbon_change(carbon.append, threshold_ratio=0.1)
    build.run(site, 6)
    assert solar == pytest.approx([0.0, 50.0, 60.0, 0.0])  # the coming tick's
    assert carbon[0] == 100.0
    assert math.isnan(carbon[1])
    assert carbon[2:] == [100.0, 89.0]


def test_full_and_empty_are_told_when_they_come_about() -> None:
    told: list[tuple[str, float]] = []

    def act(energy: VirtualEnergySystem, _: AppView) -> None:
        day = energy.effective_tick % 40 < 20
        energy.ask(0.0 if day else 60.0)
        energy.set_battery_charge_rate(1e6 if day else 0.0)

    small = BatteryParameters(100.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0)
    site = build.site(build.app("a", 0.5, policy=watched(act)), battery=small, ticks=100)
    energy = site.app("a")
    energy.notify_battery_full(lambda level_wh: told.append(("full", level_wh)))
    energy.notify_battery_empty(lambda level_wh: told.append(("empty", level_wh)))
    build.run(site, 100)
    kinds = [kind for kind, _ in told]
    assert kinds[1:] == ["full", "empty", "full", "empty", "full"][: len(kinds) - 1]
    assert {level_wh for kind, level_wh in told if kind == "full"} == {50.0}
    assert {level_wh for kind, level_wh in told if kind == "empty"} == {0.0}


# ---- carbon rates and budgets ----------------------------------------------------------------------------------------------


INTENSITIES = [400.0, 90.0, 700.0, 0.0, 250.0]


@pytest.mark.parametrize("workload", [None, BatchJob(work_core_h=1e6, start_s=0.0)], ids=["constant", "batch"])
@pytest.mark.parametrize("solar_w", [0.0, 6.0])
def test_emissions_never_exceed_a_budget(workload: BatchJob | None, solar_w: float) -> None:
    kept = build.Keep()
    site = build.site(
        build.app("a", 0.5, demand_w=20.0, workload=workload, containers=3, grid=1.0),
        intensity=INTENSITIES,
        solar_w=solar_w,
        sink=kept,
        ticks=120,
    )
    loop = Loop(site)
    loop.run(10)
    energy = site.app("a")
    before_g = energy.get_app_carbon()
    energy.set_carbon_budget(2.0)
    loop.run(100)
    assert energy.get_app_carbon() - before_g <= 2.0 * (1 + 1e-12)
    assert energy.get_app_carbon() - before_g > 1.0  # it is used, too
    free = [row for row in kept.flows("a")[50:] if row["carbon_intensity_g_per_kwh"] == 0.0]
    assert all(row["demand_w"] > 10.0 for row in free)  # a clean grid costs none of it
    energy.set_carbon_budget(None)
    loop.run(120)
    assert energy.get_app_carbon() - before_g > 3.0


@pytest.mark.parametrize("containers", [1, 2])
@pytest.mark.parametrize("solar_w", [0.0, 20.0])
def test_a_container_s_emissions_stay_below_its_rate(containers: int, solar_w: float) -> None:
    kept = build.Keep()
    site = build.site(
        build.app("a", 0.5, demand_w=40.0, containers=containers, solar=1.0),
        intensity=INTENSITIES,
        solar_w=solar_w,
        battery=None,
        sink=kept,
    )
    energy = site.app("a")
    energy.set_carbon_rate("c1", 1.0)
    build.run(site, 40)
    rates = [row["carbon_g"] / build.HOURS for row in kept.containers("a", "c1")]
    assert max(rates) <= 1.0 * (1 + 1e-9)
    assert max(rates) > 0.3
    energy.set_carbon_rate("c1", None)
    assert energy.get_container_powercap("c1") == math.inf


def test_a_rate_below_idle_power_suspends_the_container() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 0.5, demand_w=8.0, containers=2), intensity=1000.0, battery=None, sink=kept)
    energy = site.app("a")
    energy.set_carbon_rate("c1", 1.0)  # 1 W, idle is 1.35 W
    build.run(site, 3)
    assert [row["power_w"] for row in kept.containers("a", "c1")] == [0.0] * 3
    assert energy.get_container_power("c1") == 0.0
    assert energy.get_container_power("c2") == 8.0


def test_a_budget_holds_for_what_charges_the_battery_too() -> None:
    site = build.site(build.app("a", 0.5, demand_w=5.0))
    energy = site.app("a")
    energy.set_carbon_budget(0.5)
    energy.set_battery_charge_rate(100.0)
    build.run(site, 50)
    assert energy.get_app_carbon() <= 0.5 * (1 + 1e-12)


def test_a_budget_holds_beside_a_built_in_policy() -> None:
    site = build.site(build.app("a", 0.1, demand_w=50.0, policy=lambda: StaticCarbonRate(10.0)))
    site.app("a").set_carbon_budget(0.5)
    build.run(site, 50)
    assert site.app("a").get_app_carbon() <= 0.5 * (1 + 1e-12)


def test_an_unknown_intensity_leaves_a_budget_only_the_sun() -> None:
    kept = build.Keep()
    site = build.site(build.app("a", 1.0, demand_w=50.0), intensity=math.nan, solar_w=12.0, battery=None, sink=kept)
    site.app("a").set_carbon_budget(5.0)
    build.run(site, 3)
    assert kept.of("a", "demand_w") == [0.0, 12.0, 12.0]


# ---- containers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compiled", [False, True])
def test_a_policy_may_add_containers_beyond_what_there_was_room_for(compiled: bool) -> None:
    if compiled:
        pytest.importorskip("numba")
    kept = build.Keep()

    def act(energy: VirtualEnergySystem, _: AppView) -> None:
        if energy.effective_tick in (2, 3):
            for _k in range(5):
                energy.add_container(4.0)
        if energy.effective_tick == 5:
            energy.remove_container("c1")
            energy.suspend_container("c2")

    site = build.site(
        build.app("before", 0.1, demand_w=3.0),
        build.app("a", 0.1, workload=BatchJob(work_core_h=1e6, start_s=0.0), policy=watched(act)),
        build.app("after", 0.1, demand_w=4.0, containers=2),
        compiled=compiled,
        sink=kept,
    )
    build.run(site, 8)
    assert kept.of("a", "demand_w") == pytest.approx([5.0, 5.0, 30.0, 55.0, 55.0, 45.0, 45.0, 45.0])
    counts = [sum(1 for row in kept.containers("a") if row["time"] == k * build.TICK_S) - 1 for k in range(8)]
    assert counts == [1, 1, 6, 11, 11, 10, 10, 10]
    for k in range(8):
        power_w = sum(row["power_w"] for row in kept.containers("a") if row["time"] == k * build.TICK_S)
        assert power_w == pytest.approx(kept.of("a", "demand_w")[k])
    assert kept.of("after", "demand_w") == [4.0] * 8
    assert [row["power_w"] for row in kept.containers("a", "c2")][-1] == 0.0


def test_containers_are_listed_with_what_they_do() -> None:
    site = build.site(build.app("a", 0.5, workload=BatchJob(work_core_h=1e6, start_s=0.0), containers=2))
    energy = site.app("a")
    build.run(site, 1)
    energy.set_container_powercap("c1", 3.0)
    energy.suspend_container("c2")
    loop = Loop(site)
    loop.run(2)
    one, two = energy.list_containers()
    assert (one.id, one.cores, one.running, one.cap_w) == ("c1", 4.0, True, 3.0)
    assert one.power_w == pytest.approx(3.0)
    assert (two.running, two.power_w) == (False, 0.0)
    assert energy.idle_power_w == 1.35
    energy.resume_container("c2")
    energy.resize_container("c2", 8.0)
    assert energy.idle_power_w == pytest.approx(3 * 1.35)
    energy.set_container_powercap("c1", math.inf)
    energy.set_app_powercap(9.0)
    assert energy.get_container_powercap("c2") == 9.0  # together, whoever draws it
    assert math.isnan(site.app("_site").progress_ratio)
    assert not site.app("_site").completed

"""The emulated plant: energy is conserved on its meters, its battery follows its equation, and the load is booked where it was drawn."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ecovisor.adapters.devices import emulated
from ecovisor.adapters.devices.emulated import EmulatedPlant, PlantState, SolarTrace
from ecovisor.adapters.devices.emulated_battery import PlantBattery
from ecovisor.model.errors import Refused, Unavailable
from ecovisor.model.series import Quality
from ecovisor.ports.live import PlantReading, SetPoint
from ecovisor.presets import resolve_battery
from ecovisor.settings import Battery

#: Examples may take their time: the machine has others to serve.
untimed = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

START = 1_790_000_000.0
HOUR = 3600.0
METERS = ("solar_wh", "import_wh", "export_wh", "charge_wh", "discharge_wh", "load_wh", "curtailed_wh")


@st.composite
def batteries(draw: st.DrawFn, decays: bool = True) -> PlantBattery:
    capacity_wh = draw(st.floats(1.0, 1e5))
    return PlantBattery(
        capacity_wh=capacity_wh,
        charge_c_rate=draw(st.floats(0.0, 5.0)),
        discharge_c_rate=draw(st.floats(0.0, 5.0)),
        charge_efficiency=draw(st.floats(0.3, 1.0)),
        discharge_efficiency=draw(st.floats(0.3, 1.0)),
        self_discharge_per_hour=draw(st.one_of(st.just(0.0), st.floats(0.0, 0.9), st.floats(0.0, 1e-9))) if decays else 0.0,
        initial_level_wh=capacity_wh * draw(st.floats(0.0, 1.0)),
        cut_off_wh=capacity_wh * draw(st.sampled_from([0.0, 0.3])),
    )


TRACES = st.builds(
    SolarTrace,
    start_s=st.floats(-1e4, 1e4).map(lambda offset_s: START + offset_s),
    step_s=st.floats(20.0, 5000.0),
    values_w=st.lists(st.one_of(st.just(0.0), st.floats(0.0, 2000.0)), min_size=1, max_size=6),
)


@dataclass(frozen=True)
class Act:
    """Wait, then do something."""

    wait_s: float
    what: str
    value: float
    limit_w: float = math.inf


ACTS = st.lists(
    st.builds(
        Act,
        st.one_of(st.floats(0.0, 20000.0), st.just(0.0)),
        st.sampled_from(["charge", "discharge", "draw", "sun", "read"]),
        st.floats(0.0, 1.0),
        st.sampled_from([math.inf, 0.0, 100.0]),
    ),
    min_size=1,
    max_size=12,
)


def play(plant: EmulatedPlant, acts: list[Act], now_s: float = START) -> float:
    """Do as told; the instant of the end."""
    for act in acts:
        now_s += act.wait_s
        match act.what:
            case "charge":
                plant.command(now_s, SetPoint(act.value * 5000.0, 0.0, act.limit_w))
            case "discharge":
                plant.command(now_s, SetPoint(0.0, act.value * 5000.0, act.limit_w))
            case "draw":
                plant.draw(now_s, act.value * 1000.0)
            case "sun":
                plant.set_sun(now_s, act.value * 2.0)
            case _:
                plant.read(now_s)
    return now_s


def unbalanced_wh(reading: PlantReading) -> float:
    return (reading.import_wh + reading.solar_wh + reading.discharge_wh) - (reading.load_wh + reading.export_wh + reading.charge_wh)


@untimed
@given(st.one_of(st.none(), batteries()), st.one_of(st.none(), TRACES), ACTS)
def test_what_comes_in_goes_out_with_the_load_drawn_or_assumed(
    battery: PlantBattery | None, solar: SolarTrace | None, acts: list[Act]
) -> None:
    plant = EmulatedPlant.starting(battery, solar, site_s=START)
    now_s = START
    for act in acts:
        now_s = play(plant, [act], now_s)
        reading = plant.read(now_s)
        turned_wh = math.fsum(getattr(reading, name) for name in METERS)
        assert abs(unbalanced_wh(reading)) <= 1e-9 * (1.0 + turned_wh)
        for name in METERS:
            assert getattr(reading, name) >= 0.0
        assert 0.0 <= reading.level_wh <= (battery.capacity_wh if battery else 0.0)


@untimed
@given(batteries(decays=False), TRACES, ACTS)
def test_without_self_discharge_the_level_is_what_the_meters_and_efficiencies_say(
    battery: PlantBattery, solar: SolarTrace, acts: list[Act]
) -> None:
    plant = EmulatedPlant.starting(battery, solar, site_s=START)
    reading = plant.read(play(plant, acts))
    level_wh = battery.initial_level_wh
    level_wh += battery.charge_efficiency * reading.charge_wh - reading.discharge_wh / battery.discharge_efficiency
    assert reading.level_wh == pytest.approx(level_wh, rel=1e-9, abs=1e-9 * battery.capacity_wh)


def in_fine_steps(battery: PlantBattery, level_wh: float, charge_w: float, discharge_w: float, duration_s: float) -> list[float]:
    """Level, charged and discharged energy by the battery's equation in ten thousand steps of Heun's method. [Wh]"""
    count, charged_wh, discharged_wh = 10_000, 0.0, 0.0
    hours = duration_s / HOUR / count
    decay = -math.log(1.0 - battery.self_discharge_per_hour)
    for _ in range(count):
        room_wh = battery.capacity_wh - level_wh * (1.0 - decay * hours)
        in_w = min(charge_w, room_wh / battery.charge_efficiency / hours)
        spare_wh = max(level_wh - battery.cut_off_wh, 0.0)
        out_w = min(discharge_w, spare_wh * battery.discharge_efficiency / hours)
        flow_w = in_w * battery.charge_efficiency - out_w / battery.discharge_efficiency
        guess_wh = level_wh + (flow_w - decay * level_wh) * hours
        level_wh += (flow_w - decay * (level_wh + guess_wh) / 2.0) * hours
        charged_wh += in_w * hours
        discharged_wh += out_w * hours
    return [level_wh, charged_wh, discharged_wh]


@pytest.mark.parametrize(
    "case",
    [
        ("becomes full", 0.02, 0.8, 200.0, 0.0),
        ("never becomes full: loses as much as it gets", 0.5, 0.2, 200.0, 0.0),
        ("stays full", 0.1, 1.0, 300.0, 0.0),
        ("falls though it is charged", 0.5, 1.0, 50.0, 0.0),
        ("meets the cut-off", 0.02, 0.8, 0.0, 400.0),
        ("begins at the cut-off", 0.3, 0.3, 0.0, 400.0),
        ("begins below the cut-off", 0.3, 0.2, 0.0, 400.0),
        ("rests", 0.9, 0.9, 0.0, 0.0),
        ("without losses", 0.0, 0.5, 200.0, 0.0),
    ],
    ids=lambda case: case[0],
)
def test_the_battery_follows_its_equation(case: tuple[str, float, float, float, float]) -> None:
    _, loss, initial_ratio, charge_w, discharge_w = case
    battery = PlantBattery(
        capacity_wh=1000.0,
        charge_c_rate=1.0,
        discharge_c_rate=1.0,
        charge_efficiency=0.9,
        discharge_efficiency=0.8,
        self_discharge_per_hour=loss,
        initial_level_wh=1000.0 * initial_ratio,
        cut_off_wh=300.0,
    )
    plant = EmulatedPlant.starting(battery, None, site_s=START)
    duration_s = 3.0 * HOUR
    expected = in_fine_steps(battery, battery.initial_level_wh, charge_w, discharge_w, duration_s)
    plant._set = SetPoint(charge_w, discharge_w)  # command() would clip it where there is no room at first
    reading = plant.read(START + duration_s)
    assert [reading.level_wh, reading.charge_wh, reading.discharge_wh] == pytest.approx(expected, abs=0.2)


@untimed
@given(batteries(), TRACES, ACTS, st.lists(st.floats(0.01, 0.99), max_size=6))
def test_looking_at_it_changes_nothing(battery: PlantBattery, solar: SolarTrace, acts: list[Act], looks: list[float]) -> None:
    """Powers are exact between any two instants, so it does not matter how many of them there are."""
    alone, watched = (EmulatedPlant.starting(battery, solar, site_s=START) for _ in range(2))
    now_s = START
    for act in acts:
        for part in sorted(looks):
            watched.read(now_s + part * act.wait_s)
        play(watched, [act], now_s)
        now_s = play(alone, [act], now_s)
    one, other = alone.read(now_s), watched.read(now_s)
    scale_wh = 1.0 + math.fsum(getattr(one, name) for name in METERS) + battery.capacity_wh
    for name in (*METERS, "level_wh"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-8 * scale_wh)


@untimed
@given(batteries(), st.floats(0.0, 1e5))
def test_a_battery_at_rest_keeps_what_its_self_discharge_leaves(battery: PlantBattery, rest_s: float) -> None:
    reading = EmulatedPlant.starting(battery, None, site_s=START).read(START + rest_s)
    kept = (1.0 - battery.self_discharge_per_hour) ** (rest_s / HOUR)
    assert reading.level_wh == pytest.approx(battery.initial_level_wh * kept, rel=1e-6)


@untimed
@given(TRACES, st.floats(1.0, 5e4), st.floats(0.0, 500.0), st.sampled_from([math.inf, 0.0, 100.0]))
def test_all_that_the_sun_gave_was_collected_or_curtailed(
    solar: SolarTrace, duration_s: float, load_w: float, limit_w: float
) -> None:
    plant = EmulatedPlant.starting(None, solar, site_s=START)
    plant.command(START, SetPoint(export_limit_w=limit_w))
    plant.draw(START + duration_s, load_w * duration_s / HOUR)
    reading = plant.read(START + duration_s)
    given_wh = exported_wh = imported_wh = 0.0
    first = math.floor((START - solar.start_s) / solar.step_s) - 1
    for step in range(first, first + math.ceil(duration_s / solar.step_s) + 3):
        begin_s = max(solar.start_s + step * solar.step_s, START)
        end_s = min(solar.start_s + (step + 1) * solar.step_s, START + duration_s)
        hours = max(end_s - begin_s, 0.0) / HOUR
        power_w = solar.values_w[step % len(solar.values_w)]
        given_wh += power_w * hours
        exported_wh += min(max(power_w - load_w, 0.0), limit_w) * hours
        imported_wh += max(load_w - power_w, 0.0) * hours
    metered = (reading.solar_wh + reading.curtailed_wh, reading.export_wh, reading.import_wh)
    assert metered == pytest.approx((given_wh, exported_wh, imported_wh), rel=1e-6, abs=1e-6)


# -- the load


def sunny_half_hour() -> EmulatedPlant:
    return EmulatedPlant.starting(None, SolarTrace(start_s=START, step_s=1800.0, values_w=[200.0, 0.0]), site_s=START)


def test_a_draw_is_spread_evenly_over_the_time_since_the_last_one() -> None:
    plant = sunny_half_hour()
    plant.draw(START + HOUR, 100.0)
    reading = plant.read(START + HOUR)
    assert (reading.load_wh, reading.import_wh, reading.export_wh) == pytest.approx((100.0, 50.0, 50.0))


def test_until_the_next_draw_the_mean_power_of_the_last_is_assumed() -> None:
    plant = sunny_half_hour()
    plant.draw(START + HOUR, 100.0)
    assumed = plant.read(START + 2.0 * HOUR)
    assert (assumed.load_wh, assumed.import_wh, assumed.export_wh) == pytest.approx((200.0, 100.0, 100.0))
    assert plant.read(START + 2.0 * HOUR).solar_w == 200.0


def test_a_draw_corrects_what_was_assumed_and_nothing_before() -> None:
    plant = sunny_half_hour()
    plant.draw(START + HOUR, 100.0)
    before = plant.read(START + HOUR)
    plant.read(START + 2.0 * HOUR)
    plant.draw(START + 2.0 * HOUR, 300.0)
    now = plant.read(START + 2.0 * HOUR)
    changes = (now.load_wh - before.load_wh, now.import_wh - before.import_wh, now.export_wh - before.export_wh)
    assert changes == pytest.approx((300.0, 200.0, 0.0)), "300 W: half an hour beside 200 W of sun, half an hour in the dark"


def test_solar_power_that_may_not_leave_is_curtailed() -> None:
    plant = sunny_half_hour()
    plant.command(START, SetPoint(export_limit_w=30.0))
    plant.draw(START + HOUR, 100.0)
    reading = plant.read(START + HOUR)
    assert reading.export_wh == pytest.approx(15.0)
    assert reading.curtailed_wh == pytest.approx(35.0)
    assert reading.solar_wh == pytest.approx(65.0)
    assert plant.read(START + HOUR).solar_w == pytest.approx(130.0)


def test_what_the_battery_gives_beyond_the_load_leaves_the_site_whatever_the_limit() -> None:
    battery = PlantBattery(
        capacity_wh=1000.0,
        charge_c_rate=1.0,
        discharge_c_rate=1.0,
        charge_efficiency=1.0,
        discharge_efficiency=1.0,
        initial_level_wh=900.0,
    )
    plant = EmulatedPlant.starting(battery, SolarTrace(start_s=START, step_s=HOUR, values_w=[50.0]), site_s=START)
    plant.command(START, SetPoint(discharge_w=300.0, export_limit_w=0.0))
    plant.draw(START + HOUR, 100.0)
    reading = plant.read(START + HOUR)
    assert (reading.discharge_wh, reading.export_wh, reading.curtailed_wh) == pytest.approx((300.0, 200.0, 50.0))


def test_energy_that_is_drawn_in_no_time_is_imported() -> None:
    plant = sunny_half_hour()
    plant.draw(START, 5.0)
    reading = plant.read(START)
    assert (reading.load_wh, reading.import_wh) == (5.0, 5.0)
    assert plant.read(START + HOUR).load_wh == 5.0, "it is no power that goes on"


@untimed
@given(batteries(), TRACES, ACTS, st.integers(2, 5))
def test_an_open_interval_of_many_parts_keeps_its_energy(
    battery: PlantBattery, solar: SolarTrace, acts: list[Act], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulated, "_MOST_PARTS", most)
        short = EmulatedPlant.starting(battery, solar, site_s=START)
        now_s = play(short, acts)
        assert len(short._parts) <= most
        short.draw(now_s, 700.0)
        one = short.read(now_s)
    full = EmulatedPlant.starting(battery, solar, site_s=START)
    play(full, acts)
    full.draw(now_s, 700.0)
    other = full.read(now_s)
    scale_wh = 1.0 + math.fsum(getattr(other, name) for name in METERS)
    assert abs(unbalanced_wh(one)) <= 1e-9 * scale_wh
    for name in ("load_wh", "charge_wh", "discharge_wh", "level_wh"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9, abs=1e-9 * scale_wh)
    assert one.solar_wh + one.curtailed_wh == pytest.approx(other.solar_wh + other.curtailed_wh, rel=1e-9, abs=1e-9 * scale_wh)


# -- commands and limits


@untimed
@given(batteries(), st.floats(0.0, 1e6), st.floats(0.0, 1e5))
def test_a_set_point_is_clipped_to_what_is_feasible_and_done(battery: PlantBattery, asked_w: float, duration_s: float) -> None:
    for charges in (True, False):
        plant = EmulatedPlant.starting(battery, None, site_s=START)
        before = plant.read(START)
        accepted = plant.command(START, SetPoint(asked_w, 0.0) if charges else SetPoint(0.0, asked_w))
        done_w, feasible_w = (
            (accepted.charge_w, before.feasible_charge_w) if charges else (accepted.discharge_w, before.feasible_discharge_w)
        )
        assert done_w == min(asked_w, feasible_w)
        assert feasible_w <= battery.capacity_wh * (battery.charge_c_rate if charges else battery.discharge_c_rate)
        now = plant.read(START + duration_s)
        moved_wh = now.charge_wh if charges else now.discharge_wh
        assert moved_wh <= done_w * (duration_s + 1e-6) / HOUR * (1.0 + 1e-9)
        assert (now.discharge_wh if charges else now.charge_wh) == 0.0


def test_a_full_battery_takes_only_what_it_loses() -> None:
    battery = PlantBattery(
        capacity_wh=1000.0,
        charge_c_rate=1.0,
        discharge_c_rate=1.0,
        charge_efficiency=0.9,
        discharge_efficiency=1.0,
        self_discharge_per_hour=0.01,
        initial_level_wh=1000.0,
    )
    plant = EmulatedPlant.starting(battery, None, site_s=START)
    trickle_w = -math.log(0.99) * 1000.0 / 0.9
    assert plant.command(START, SetPoint(500.0)).charge_w == pytest.approx(trickle_w)
    reading = plant.read(START + 10.0 * HOUR)
    assert reading.level_wh == 1000.0
    assert reading.charge_wh == pytest.approx(10.0 * trickle_w)


@pytest.mark.parametrize(
    "wrong",
    [
        SetPoint(math.nan),
        SetPoint(-1.0),
        SetPoint(math.inf),
        SetPoint(0.0, math.nan),
        SetPoint(0.0, -0.1),
        SetPoint(0.0, 0.0, math.nan),
        SetPoint(0.0, 0.0, -1.0),
        SetPoint(1.0, 1.0),
    ],
    ids=str,
)
def test_what_is_no_set_point_is_refused_and_changes_nothing(wrong: SetPoint) -> None:
    plant = sunny_half_hour()
    before = plant.state()
    with pytest.raises(Refused):
        plant.command(START + 10.0, wrong)
    assert plant.state() == before


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -1e-9])
def test_what_is_no_energy_and_no_ratio_is_refused(wrong: float) -> None:
    plant = sunny_half_hour()
    with pytest.raises(Refused, match="energy_wh is"):
        plant.draw(START, wrong)
    with pytest.raises(Refused, match="ratio is"):
        plant.set_sun(START, wrong)


@pytest.mark.parametrize("wrong_s", [START - 1e-3, math.nan, math.inf])
def test_its_time_does_not_go_back(wrong_s: float) -> None:
    plant = sunny_half_hour()
    plant.read(START + 1.0)
    with pytest.raises(ValueError, match="time does not go back"):
        plant.read(wrong_s)


def test_without_sun_nothing_is_collected_and_with_half_of_it_half() -> None:
    plant = sunny_half_hour()
    plant.set_sun(START, 0.5)
    assert plant.read(START + 1800.0).solar_wh == pytest.approx(50.0)
    plant.set_sun(START + HOUR, 0.0)
    assert plant.read(START + 2.0 * HOUR).solar_wh == pytest.approx(50.0)
    assert plant.read(START + 2.0 * HOUR).solar_w == 0.0


def test_it_is_modelled_and_says_what_it_is() -> None:
    plant = sunny_half_hour()
    assert plant.read(START).quality is Quality.MODELLED
    assert plant.describe() == "emulated plant: no battery, array with a peak of 200 W"


# -- the sun's trace


@untimed
@given(TRACES, st.floats(-1e7, 1e7))
def test_a_trace_that_repeats_covers_every_instant_with_steps_that_end_later(solar: SolarTrace, offset_s: float) -> None:
    site_s = START + offset_s
    power_w, until_s = solar.at(site_s)
    assert power_w in solar.values_w
    assert site_s < until_s <= site_s + solar.step_s * (1.0 + 1e-6)


def test_a_trace_that_does_not_repeat_ends_and_says_so() -> None:
    solar = SolarTrace(start_s=START, step_s=HOUR, values_w=[10.0], repeats=False)
    plant = EmulatedPlant.starting(None, solar, site_s=START)
    assert plant.read(START + HOUR - 1.0).solar_w == 10.0
    with pytest.raises(Unavailable, match="the emulated sun is known from"):
        plant.read(START + 2.0 * HOUR)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"values_w": []}, "values_w is empty"),
        ({"values_w": [1.0, math.nan]}, r"values_w\[1\] is nan"),
        ({"values_w": [-1.0]}, r"values_w\[0\] is -1.0"),
        ({"step_s": 0.0}, "step_s is 0.0"),
        ({"start_s": math.inf}, "start_s inf"),
    ],
)
def test_what_is_no_trace_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SolarTrace(**({"start_s": 0.0, "step_s": 60.0, "values_w": [1.0]} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("capacity_wh", 0.0),
        ("capacity_wh", math.inf),
        ("charge_efficiency", 0.0),
        ("discharge_efficiency", 1.01),
        ("self_discharge_per_hour", 1.0),
        ("charge_c_rate", -0.1),
        ("initial_level_wh", 1001.0),
        ("cut_off_wh", math.nan),
    ],
)
def test_what_is_no_battery_is_refused(field: str, value: float) -> None:
    good = {
        "capacity_wh": 1000.0,
        "charge_c_rate": 1.0,
        "discharge_c_rate": 1.0,
        "charge_efficiency": 1.0,
        "discharge_efficiency": 1.0,
    }
    with pytest.raises(ValueError, match=f"battery.{field} is"):
        PlantBattery(**(good | {field: value}))


def test_a_scenarios_battery_becomes_a_physical_one() -> None:
    battery = PlantBattery.like(resolve_battery(Battery(preset="ecovisor-paper", initial_ratio=0.5)))
    assert battery.capacity_wh == 1440.0
    assert battery.initial_level_wh == pytest.approx(1440.0 * 0.65), "half of what lies above the empty line at 30 %"
    assert battery.cut_off_wh == 0.0
    assert battery.feasible_charge_w(0.0) == 360.0


# -- switched off and on


@untimed
@given(batteries(), TRACES, ACTS, st.floats(0.0, 1e5))
def test_switched_off_it_keeps_its_battery_and_forgets_its_meters(
    battery: PlantBattery, solar: SolarTrace, acts: list[Act], off_s: float
) -> None:
    first = EmulatedPlant.starting(battery, solar, site_s=START, epoch="first")
    off_at_s = play(first, acts)
    state = first.state()
    assume(state.site_s == off_at_s)
    second = EmulatedPlant(battery, solar, state=state, site_s=off_at_s + off_s, epoch="second")
    reading = second.read(off_at_s + off_s)
    assert reading.epoch == "second"
    assert all(getattr(reading, name) == 0.0 for name in METERS)
    kept = (1.0 - battery.self_discharge_per_hour) ** (off_s / HOUR)
    assert reading.level_wh == pytest.approx(state.level_wh * kept, rel=1e-6)
    later = second.state()
    assert (later.sun_ratio, later.load_w, later.export_limit_w) == (state.sun_ratio, state.load_w, state.export_limit_w)
    rested = second.read(off_at_s + off_s + HOUR)
    assert rested.charge_wh == rested.discharge_wh == 0.0, "it waits for a set-point"


def test_a_smaller_battery_is_at_most_full() -> None:
    small = PlantBattery(capacity_wh=10.0, charge_c_rate=1.0, discharge_c_rate=1.0, charge_efficiency=1.0, discharge_efficiency=1.0)
    plant = EmulatedPlant(small, None, state=PlantState(site_s=START, level_wh=100.0), site_s=START, epoch="e")
    assert plant.read(START).level_wh == 10.0
    with pytest.raises(ValueError, match="before the state's"):
        EmulatedPlant(small, None, state=PlantState(site_s=START), site_s=START - 1.0, epoch="e")


def test_it_shares_nothing_with_the_physics_and_loads_nothing_heavy() -> None:
    """The second computation would prove nothing if it were the first one again."""
    script = (
        "import sys, ecovisor.adapters.devices.plant_process, ecovisor.adapters.devices.emulated_client;"
        "print(*(m for m in sys.modules if m.startswith(('ecovisor.physics', 'ecovisor.engine', 'ecovisor.settings',"
        " 'ecovisor.presets', 'ecovisor.library', 'numpy', 'httpx', 'starlette', 'aiohttp', 'typer'))))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_example_on_its_page_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "plant.md").read_text("utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(example, "plant.md", "exec"), {})
    (printed,) = re.findall(r"prints `([^`]+)`", page)
    assert capsys.readouterr().out == f"{printed}\n"

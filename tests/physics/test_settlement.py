"""One app's battery, solar and grid over sequences of ticks, at exactly full, exactly empty, zero and infinite limits and tiny ticks."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.independent.settlement import Battery, ReferenceSite, Shares

from ecovisor.physics.battery import (
    SNAP_RATIO,
    charge_room_w,
    discharge_room_w,
    self_discharge_ratio,
    snapped_level_wh,
    usable_capacity_wh,
)
from ecovisor.physics.carbon import imported_carbon_g, released_carbon_g, transferred_carbon_g
from ecovisor.physics.settlement import charge_rate_in_force_w, settle

INFINITY = math.inf
MICROSECOND_H = 1e-6 / 3600.0

Flows = tuple[float, float, float, float, float, float, float, float, float, float]


@dataclass(frozen=True)
class Cell:
    capacity_wh: float
    charge_efficiency: float
    discharge_efficiency: float
    self_discharge_per_hour: float


@dataclass(frozen=True)
class Step:
    demand_w: float
    solar_w: float
    rate_w: float
    max_discharge_w: float
    charge_limit_w: float
    discharge_limit_w: float
    grid_limit_w: float
    hours_h: float


def arguments(cell: Cell, level_wh: float, step: Step) -> tuple[float, ...]:
    return (
        step.demand_w,
        step.solar_w,
        level_wh,
        cell.capacity_wh,
        charge_rate_in_force_w(step.rate_w, level_wh, cell.capacity_wh),
        step.max_discharge_w,
        step.charge_limit_w,
        step.discharge_limit_w,
        step.grid_limit_w,
        cell.charge_efficiency,
        cell.discharge_efficiency,
        self_discharge_ratio(cell.self_discharge_per_hour, step.hours_h),
        step.hours_h,
    )


powers = st.one_of(st.sampled_from([0.0, 1e-9, 1.0, 100.0, 1e6]), st.floats(1e-9, 2000.0))
limits = st.one_of(st.sampled_from([0.0, 50.0, INFINITY, INFINITY]), st.floats(1e-9, 2000.0))
lengths_h = st.sampled_from([MICROSECOND_H, 1 / 3600, 1 / 60, 1 / 12, 0.25, 1.0, 24.0])
cells = st.builds(
    Cell,
    st.sampled_from([0.0, 1.0, 108.0, 1440.0, 1e6]),
    st.sampled_from([1.0, 0.95, 0.5]),
    st.sampled_from([1.0, 0.95, 0.5]),
    st.sampled_from([0.0, 0.0, 3e-5, 0.2, 0.999]),
)
steps = st.builds(Step, powers, powers, powers, limits, limits, limits, limits, lengths_h)
fractions = st.one_of(st.sampled_from([0.0, 1.0, 1e-12, 1.0 - 1e-12, 0.5]), st.floats(1e-300, 1.0))


def played(cell: Cell, level_wh: float, sequence: list[Step]) -> Iterator[tuple[float, Step, float, Flows]]:
    for step in sequence:
        given_ = arguments(cell, level_wh, step)
        flows = settle(*given_)
        yield level_wh, step, given_[4], flows
        level_wh = flows[9]


@settings(max_examples=150, deadline=None)
@given(cells, fractions, st.lists(steps, min_size=1, max_size=12))
def test_every_tick_balances_within_its_limits_whatever_went_before(cell: Cell, fraction: float, sequence: list[Step]) -> None:
    for before_wh, step, rate_w, flows in played(cell, fraction * cell.capacity_wh, sequence):
        to_load, to_battery, discharge, grid_load, grid_battery, unserved, excess, lost_wh, drawn_wh, after_wh = flows
        h = step.hours_h
        assert min(flows) >= 0.0
        # Row balance.
        size = step.demand_w + step.solar_w + grid_battery + discharge
        gone = step.demand_w - unserved + to_battery + grid_battery + excess
        come = step.solar_w + discharge + grid_load + grid_battery
        assert abs(gone - come) <= 1e-12 * size
        # The level: its bounds, and its recursion but for the snap.
        assert 0.0 <= after_wh <= cell.capacity_wh
        expected_wh = before_wh - lost_wh + cell.charge_efficiency * (to_battery + grid_battery) * h - drawn_wh
        assert abs(after_wh - expected_wh) <= cell.capacity_wh * SNAP_RATIO * (1 + 1e-6) + 1e-12 * drawn_wh
        assert drawn_wh == pytest.approx(discharge * h / cell.discharge_efficiency, rel=1e-12)
        # Limits and settings.
        charge = to_battery + grid_battery
        assert charge <= step.charge_limit_w * (1 + 1e-15)
        assert discharge <= min(step.discharge_limit_w, step.max_discharge_w)
        assert grid_load + grid_battery <= step.grid_limit_w * (1 + 1e-15)
        assert to_load == min(step.demand_w, step.solar_w)
        # Never both, and the grid serves the load before the battery.
        if grid_battery > 0.0:
            assert discharge == 0.0
            assert unserved == 0.0
            assert charge <= rate_w * (1 + 1e-12)
        if excess > 0.0:
            may = min(step.charge_limit_w, charge_room_w(before_wh - lost_wh, cell.capacity_wh, cell.charge_efficiency, h))
            assert to_battery == may
        if unserved > 0.0:
            assert grid_load == step.grid_limit_w
            gives = discharge_room_w(before_wh - lost_wh, cell.discharge_efficiency, h)
            assert discharge == min(step.discharge_limit_w, step.max_discharge_w, gives)


@settings(max_examples=150, deadline=None)
@given(cells, fractions, st.lists(steps, min_size=1, max_size=12), st.sampled_from([0.0, 40.0, 400.0, math.nan]))
def test_carbon_bought_is_carbon_used_or_still_stored(cell: Cell, fraction: float, sequence: list[Step], intensity: float) -> None:
    stored_g = initial_g = 5.0
    bought_g = used_g = 0.0
    for before_wh, step, _, flows in played(cell, fraction * cell.capacity_wh, sequence):
        released_g = released_carbon_g(stored_g, flows[8], before_wh - flows[7], flows[9])
        assert 0.0 <= released_g <= stored_g * (1 + 1e-12)
        stored_g -= released_g
        used_g += released_g
        imported_g = imported_carbon_g(flows[3] + flows[4], step.hours_h, intensity)
        if math.isnan(intensity):
            assert math.isnan(imported_g)  # not known is not zero
            continue
        bought_g += imported_g
        used_g += imported_carbon_g(flows[3], step.hours_h, intensity)
        stored_g += imported_carbon_g(flows[4], step.hours_h, intensity)
        if flows[9] == 0.0:
            assert stored_g == imported_carbon_g(flows[4], step.hours_h, intensity)
    assert bought_g + initial_g == pytest.approx(used_g + stored_g, rel=1e-9)


@given(st.floats(0.0, 1e4, allow_subnormal=False), st.floats(0.0, 1.0), st.floats(1e-6, 1e4))
def test_moved_energy_carries_its_part_of_the_carbon(stored_g: float, part: float, level_wh: float) -> None:
    assert transferred_carbon_g(stored_g, part * level_wh, level_wh) <= stored_g
    assert transferred_carbon_g(stored_g, level_wh, level_wh) == stored_g
    half_g = transferred_carbon_g(stored_g, level_wh / 2, level_wh)
    assert half_g == pytest.approx(stored_g / 2)


@given(cells.filter(lambda c: c.capacity_wh > 0), powers, powers, lengths_h)
def test_a_full_battery_takes_no_charge_and_an_empty_one_gives_none(cell: Cell, power_w: float, rate_w: float, h: float) -> None:
    free = Step(power_w, 0.0, rate_w, INFINITY, INFINITY, INFINITY, INFINITY, h)
    empty = settle(*arguments(cell, 0.0, free))
    assert empty[2] == empty[7] == empty[8] == 0.0
    leak_free = Cell(cell.capacity_wh, cell.charge_efficiency, cell.discharge_efficiency, 0.0)
    sunny = Step(0.0, power_w, rate_w, INFINITY, INFINITY, INFINITY, INFINITY, h)
    full = settle(*arguments(leak_free, cell.capacity_wh, sunny))
    assert (full[1], full[4], full[6], full[9]) == (0.0, 0.0, power_w, cell.capacity_wh)


@given(cells.filter(lambda c: c.capacity_wh > 0), fractions, st.sampled_from([1 / 3600, 1 / 12, 1.0]))
def test_charging_lasts_until_exactly_full_and_then_the_rate_is_over(cell: Cell, fraction: float, h: float) -> None:
    level_wh, rate_w = fraction * cell.capacity_wh, 2.0 * cell.capacity_wh / h
    leak_free = Cell(cell.capacity_wh, cell.charge_efficiency, cell.discharge_efficiency, 0.0)
    step = Step(0.0, 0.0, rate_w, INFINITY, INFINITY, INFINITY, INFINITY, h)
    after_wh = settle(*arguments(leak_free, level_wh, step))[9]
    assert after_wh == cell.capacity_wh
    assert charge_rate_in_force_w(rate_w, after_wh, cell.capacity_wh) == 0.0


@given(cells.filter(lambda c: c.capacity_wh > 0), fractions, st.sampled_from([1 / 3600, 1 / 12, 1.0]))
def test_a_demand_beyond_the_level_empties_the_battery_exactly(cell: Cell, fraction: float, h: float) -> None:
    step = Step(4.0 * cell.capacity_wh / h, 0.0, 0.0, INFINITY, INFINITY, INFINITY, 0.0, h)
    flows = settle(*arguments(cell, fraction * cell.capacity_wh, step))
    assert flows[9] == 0.0


@pytest.mark.parametrize("direction", [1, -1])
def test_ticks_of_a_microsecond_add_up(direction: int) -> None:
    cell = Cell(1440.0, 0.95, 0.9, 0.0)
    level_wh = start_wh = 0.0 if direction > 0 else 1440.0
    count, power_w = 5000, 100.0
    step = Step(
        0.0 if direction > 0 else power_w, 0.0, power_w if direction > 0 else 0.0, INFINITY, 360.0, 1440.0, 1e3, MICROSECOND_H
    )
    for _ in range(count):
        level_wh = settle(*arguments(cell, level_wh, step))[9]
    moved_wh = power_w * count * MICROSECOND_H
    expected_wh = 0.95 * moved_wh if direction > 0 else -moved_wh / 0.9
    assert level_wh - start_wh == pytest.approx(expected_wh, rel=1e-5)


@given(st.floats(0.0, 1.0), st.sampled_from([0.0, 1.0, 1440.0]))
def test_a_level_that_does_not_move_stays_what_it_is(fraction: float, capacity_wh: float) -> None:
    level_wh = fraction * capacity_wh
    assert snapped_level_wh(level_wh, level_wh, capacity_wh) == level_wh


def test_near_full_is_full_only_on_the_way_up_and_near_empty_empty_only_on_the_way_down() -> None:
    near_full, near_empty = 1440.0 * (1 - 1e-10), 1440.0 * 1e-10
    assert snapped_level_wh(near_full, 1000.0, 1440.0) == 1440.0
    assert snapped_level_wh(near_full, 1440.0, 1440.0) == near_full
    assert snapped_level_wh(near_full, near_full, 1440.0) == near_full
    assert snapped_level_wh(near_empty, near_empty, 1440.0) == near_empty
    assert snapped_level_wh(near_empty, 1000.0, 1440.0) == 0.0
    assert snapped_level_wh(near_empty, 0.0, 1440.0) == near_empty


def test_self_discharge_compounds() -> None:
    assert self_discharge_ratio(0.0, 5.0) == 0.0
    assert self_discharge_ratio(0.19, 0.5) == pytest.approx(0.1)
    two_halves = 1 - (1 - self_discharge_ratio(0.2, 0.5)) ** 2
    assert self_discharge_ratio(0.2, 1.0) == pytest.approx(two_halves)


def test_a_reserve_larger_than_the_battery_leaves_nothing_to_share() -> None:
    assert usable_capacity_wh(1440.0, 0.3, 108.0) == pytest.approx(900.0)
    assert usable_capacity_wh(100.0, 0.3, 200.0) == 0.0


def test_a_demand_that_is_no_number_is_not_quietly_served() -> None:
    cell = Cell(100.0, 1.0, 1.0, 0.0)
    step = Step(math.nan, 10.0, 0.0, INFINITY, 50.0, 50.0, INFINITY, 1.0)
    flows = settle(*arguments(cell, 50.0, step))
    assert any(math.isnan(flow) for flow in flows)


# ---- the same by others ----------------------------------------------------------------------------------------------------


def by_reference(cell: Cell, level_wh: float, step: Step) -> tuple[float, ...]:
    """The same tick by the reference settlement, which knows nothing of ours."""
    site = ReferenceSite(
        Battery(
            capacity_wh=cell.capacity_wh,
            charge_efficiency=cell.charge_efficiency,
            discharge_efficiency=cell.discharge_efficiency,
            self_discharge_per_hour=cell.self_discharge_per_hour,
            charge_c_rate=1e300,
            discharge_c_rate=1e300,
        ),
        {"a": Shares(1.0, 1.0, 1.0, 1.0)},
        grid_limit_w=None if step.grid_limit_w == INFINITY else step.grid_limit_w,
    )
    site.derate(step.charge_limit_w, step.discharge_limit_w)
    ann = site.apps["a"]
    ann.level_wh, ann.charge_rate_w, ann.max_discharge_w = level_wh, step.rate_w, step.max_discharge_w
    ann.solar_wh = site.buffer_wh = step.solar_w * step.hours_h
    row = site.step(step.hours_h * 3600.0, 0.0, None, {"a": step.demand_w}).flows["a"]
    return (
        row["solar_to_load_w"],
        row["solar_to_battery_w"],
        row["battery_discharge_w"],
        row["grid_to_load_w"],
        row["grid_to_battery_w"],
        row["unserved_w"],
        row["curtailed_w"],
        row["self_discharge_wh"],
        row["battery_discharge_w"] * step.hours_h / cell.discharge_efficiency,
        row["battery_level_wh"],
    )


def delicate(dice: random.Random) -> tuple[Cell, float, Step]:
    cell = Cell(
        dice.choice([0.0, 1.0, 1440.0, 1e6]),
        dice.choice([1.0, 0.95, 0.7]),
        dice.choice([1.0, 0.9]),
        dice.choice([0.0, 0.0, 4e-5, 0.2]),
    )
    level_wh = cell.capacity_wh * dice.choice([0.0, 1.0, 1e-12, 1 - 1e-12, dice.random(), dice.random()])

    def power(*special: float) -> float:
        return dice.choice([*special, 0.0, 2000 * dice.random(), 2000 * dice.random(), 1e6])

    h = dice.choice([MICROSECOND_H, 1 / 60, 1 / 12, 1 / 12, 1.0])
    room_w = charge_room_w(level_wh, cell.capacity_wh, cell.charge_efficiency, h)
    inf = INFINITY
    return (
        cell,
        level_wh,
        Step(power(level_wh / h), power(room_w), power(room_w), power(inf), power(inf), power(inf), power(inf), h),
    )


def same(ours: tuple[float, ...], theirs: tuple[float, ...], scale_w: float, scale_wh: float) -> bool:
    return all(
        abs(a - b) <= 1e-12 * (abs(a) + abs(b)) + 4e-15 * (scale_w if k < 7 else scale_wh) or a == b
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True))
    )


def test_the_reference_settles_the_same() -> None:
    dice = random.Random(20)
    for _ in range(3000):
        cell, level_wh, step = delicate(dice)
        ours, theirs = settle(*arguments(cell, level_wh, step)), by_reference(cell, level_wh, step)
        # A level within a rounding error of a limit may snap in one and not in the other; powers carry the room's rounding over h.
        scale_wh = cell.capacity_wh
        scale_w = step.demand_w + step.solar_w + scale_wh / step.hours_h
        levels_agree = abs(ours[9] - theirs[9]) <= 2.1 * SNAP_RATIO * cell.capacity_wh + 1e-12 * ours[9]
        assert levels_agree, (cell, level_wh, step, ours, theirs)
        assert same(ours[:9], theirs[:9], scale_w, scale_wh), (cell, level_wh, step, ours, theirs)


@pytest.fixture(scope="module")
def compiled_settle() -> Callable[..., Flows]:
    pytest.importorskip("numba")
    from ecovisor.physics.compiled import compile_graph

    function: Callable[..., Flows] = compile_graph(settle)
    return function


def test_machine_code_settles_to_the_bit(compiled_settle: Callable[..., Flows]) -> None:
    dice = random.Random(21)
    level_wh, cell = 0.0, Cell(1440.0, 0.95, 0.95, 0.0)
    for k in range(20000):
        if k % 20 == 0:
            cell, level_wh, step = delicate(dice)
        else:  # a sequence on the same battery
            _, _, step = delicate(dice)
        given_ = arguments(cell, level_wh, step)
        plain = settle(*given_)
        assert plain == compiled_settle(*given_), given_
        level_wh = plain[9]


@example(cell=Cell(1440.0, 0.95, 0.95, 0.0))
@given(cells)
@settings(max_examples=5)
def test_nothing_happens_in_a_battery_of_no_use(cell: Cell) -> None:
    step = Step(10.0, 4.0, 5.0, INFINITY, 0.0, 0.0, INFINITY, 1.0)
    flows = settle(*arguments(cell, 0.0, step))
    assert flows[:7] == (4.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0)

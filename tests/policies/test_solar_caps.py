"""Caps on nothing but sun: together they never promise more than there is, whatever the sun does and whoever shares it out."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.model.errors import Infeasible
from ecovisor.model.series import Series
from ecovisor.policies.balanced_caps import BalancedCaps, balanced_w
from ecovisor.policies.equal_caps import EqualCaps
from ecovisor.policies.solar_caps import affordable, apply_caps, fill_w
from ecovisor.policies.straggler_replicas import StragglerReplicas
from ecovisor.ports import ContainerInfo, Policy
from ecovisor.studies.direct_solar import FULL_W, SERVER, Noted, run
from ecovisor.testing import PolicyContract
from ecovisor.testing.sites import START_S
from ecovisor.workloads.replicas import Replicas
from ecovisor.workloads.synchronous import Synchronous

IDLE_W = SERVER.power_curve_w[0]
TICK_S = 60.0


def sun(values_w: Sequence[float]) -> Series:
    return Series("solar", "W", START_S, TICK_S, array("d", values_w))


def synchronous(**options: Any) -> Synchronous:
    return Synchronous(server=SERVER, **{"steps": 1000, "seed": 2} | options)


_POLICIES: list[tuple[Callable[[], Policy], Callable[[], Any], int]] = [
    (EqualCaps, synchronous, 10),
    (lambda: EqualCaps(1.0, in_turn=False), synchronous, 10),
    (lambda: BalancedCaps(FULL_W), synchronous, 10),
    (BalancedCaps, lambda: synchronous(compute_s=5.0, io_s=0.0), 10),
    (lambda: BalancedCaps(FULL_W, 2.0, keep_ratio=0.0), synchronous, 10),
    (lambda: BalancedCaps(FULL_W, in_turn=False), synchronous, 10),
    (lambda: StragglerReplicas(FULL_W), lambda: Replicas(server=SERVER, rounds=1000), 16),
]
_SUN_W = st.lists(
    st.one_of(st.floats(0.0, 30.0), st.floats(0.0, 250.0), st.sampled_from([0.0, 13.5, 16.875, 100.0])), min_size=4, max_size=30
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(_POLICIES), _SUN_W)
def test_the_caps_of_all_that_run_never_exceed_the_sun(
    what: tuple[Callable[[], Policy], Callable[[], Any], int], values_w: list[float]
) -> None:
    policy, job, containers = what
    noted = Noted(policy())
    played = run(job(), noted, sun(values_w), containers=containers)
    assert noted.most_over_w <= 0.0
    assert played.imported_wh == 0.0
    assert played.unserved_wh <= 1e-9
    for caps_w in noted.caps_w:
        assert all(math.isnan(cap) or cap >= IDLE_W for cap in caps_w)


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=12), st.floats(0.0, 200.0), st.data())
def test_sharing_out_gives_all_that_can_be_used_and_no_more(weights: list[float], total_w: float, data: st.DataObject) -> None:
    most_w = data.draw(st.lists(st.floats(0.0, 20.0), min_size=len(weights), max_size=len(weights)))
    parts = fill_w(total_w, weights, most_w)
    assert all(0.0 <= part <= most for part, most in zip(parts, most_w, strict=True))
    assert math.fsum(parts) <= total_w
    usable = math.fsum(most for most, weight in zip(most_w, weights, strict=True) if weight > 0.0)
    assert math.fsum(parts) == pytest.approx(min(total_w, usable), rel=1e-9, abs=1e-9)


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(
            *(st.lists(kind, min_size=n, max_size=n) for kind in (st.floats(0.0, 9.0), st.booleans(), st.floats(0.01, 9.0)))
        )
    ),
    st.floats(0.0, 100.0),
    st.floats(0.0, 1.0),
)
def test_balancing_never_gives_more_than_there_is(
    each: tuple[list[float], list[bool], list[float]], total_w: float, keep_ratio: float
) -> None:
    used_w, busy, weights = each
    most_w = [8.65] * len(used_w)
    parts_w = balanced_w(total_w, used_w, busy, weights, most_w, keep_ratio)
    assert all(0.0 <= part <= most + 1e-12 for part, most in zip(parts_w, most_w, strict=True))
    assert math.fsum(parts_w) <= total_w


def test_equal_caps_are_an_equal_part_of_the_sun_each() -> None:
    noted = Noted(EqualCaps())
    run(synchronous(), noted, sun([50.0, 80.0, 20.0, 20.0]))
    for caps_w, solar_w in zip(noted.caps_w[1:], noted.solar_w[1:], strict=True):
        assert caps_w == pytest.approx([solar_w / 10] * 10)


def test_where_the_sun_is_too_little_for_all_everybody_has_a_turn() -> None:
    noted = Noted(EqualCaps(2.0))
    run(synchronous(), noted, sun([8.2] * 12))
    turns = [[k for k, cap in enumerate(caps) if not math.isnan(cap)] for caps in noted.caps_w[1:]]
    assert turns[:4] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 1, 9]]
    assert all(noted.caps_w[k + 1][one] == pytest.approx(8.2 / 3) for k, running in enumerate(turns) for one in running)


def test_without_turns_all_wait_until_the_sun_carries_all() -> None:
    noted = Noted(EqualCaps(1.0, in_turn=False))
    run(synchronous(), noted, sun([13.4, 13.4, 13.6, 13.6]))
    assert [sum(not math.isnan(cap) for cap in caps) for caps in noted.caps_w] == [0, 0, 0, 10]


def test_balanced_caps_become_proportional_to_each_nodes_work_within_a_few_ticks() -> None:
    job = synchronous(compute_s=5.0, io_s=0.0, straggler_ratio=0.0)
    noted = Noted(BalancedCaps(FULL_W))
    run(job, noted, sun([50.0] * 20))
    whole = math.fsum(job.work_node_s)
    for caps_w in noted.caps_w[8:]:
        assert [cap - IDLE_W for cap in caps_w] == pytest.approx([36.5 * work / whole for work in job.work_node_s], rel=0.02)


def test_power_moves_from_nodes_that_wait_to_the_one_they_wait_for() -> None:
    job = synchronous(compute_s=3600.0, io_s=0.0, straggler_ratio=0.0, imbalance_ratio=0.3)
    slowest = max(range(10), key=lambda k: job.work_node_s[k])
    noted = Noted(BalancedCaps(FULL_W, memory_s=1e9))
    run(job, noted, sun([40.0] * 1000))
    last = noted.caps_w[next(k for k in range(len(noted.caps_w)) if noted.caps_w[k][slowest] > 8.0)]
    assert last[slowest] == max(last) > 2.0 * min(last)


def test_where_the_sun_is_too_little_for_all_those_run_that_have_not_been_seen_waiting() -> None:
    noted = Noted(BalancedCaps(FULL_W, 2.0))
    job = synchronous(compute_s=120.0, io_s=0.0, straggler_ratio=0.0, steps=3)
    balanced = run(job, noted, sun([8.2] * 600))
    in_turn = run(synchronous(compute_s=120.0, io_s=0.0, straggler_ratio=0.0, steps=3), EqualCaps(2.0), sun([8.2] * 600))
    assert balanced.runtime_h < in_turn.runtime_h
    assert max(sum(not math.isnan(cap) for cap in caps) for caps in noted.caps_w) == 3


def test_replicas_run_on_excess_sun_only() -> None:
    job = Replicas(server=SERVER, rounds=1000, straggler_ratio=0.5)
    noted = Noted(StragglerReplicas(FULL_W))
    run(job, noted, sun([90.0] * 10 + [145.0] * 20 + [90.0] * 10), containers=20)
    spares = [sum(not math.isnan(cap) for cap in caps[10:]) for caps in noted.caps_w]
    assert spares[1:11] == [0] * 10
    assert spares[-8:] == [0] * 8
    assert max(spares) == 4
    assert all(cap == pytest.approx(FULL_W) for caps in noted.caps_w for cap in caps[10:] if not math.isnan(cap))


def test_no_more_spares_run_than_are_allowed() -> None:
    noted = Noted(StragglerReplicas(FULL_W, most_spares=0))
    run(Replicas(server=SERVER, rounds=1000), noted, sun([300.0] * 20), containers=20)
    assert all(math.isnan(cap) for caps in noted.caps_w[1:] for cap in caps[10:])


def test_the_first_so_many_containers_are_affordable() -> None:
    assert affordable([1.0, 1.0, 1.0], 3.0) == 3
    assert affordable([1.0, 1.0, 1.0], 2.9) == 2
    assert affordable([1.0, 5.0], 6.0) == 1
    assert affordable([1.0], 0.5) == affordable([], 5.0) == 0


class _Refusing:
    """Its containers turn out to idle at 3 W."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def set_container_powercap(self, container_id: str, cap_w: float) -> float:
        if cap_w < 3.0:
            raise Infeasible("too low", 3.0)
        self.said.append(f"{container_id} {cap_w:g}")
        return cap_w

    def suspend_container(self, container_id: str) -> None:
        self.said.append(f"suspend {container_id}")

    def resume_container(self, container_id: str) -> None:
        self.said.append(f"resume {container_id}")


def test_power_is_taken_away_before_it_is_given_and_a_cap_below_the_floor_suspends() -> None:
    energy: Any = _Refusing()
    containers = [
        ContainerInfo(name, 4.0, running, 0.0, 5.0) for name, running in (("a", True), ("b", True), ("c", True), ("d", False))
    ]
    apply_caps(energy, containers, {"a": 8.0, "b": 4.0, "d": 2.0})
    assert energy.said == ["suspend c", "b 4", "a 8"]
    energy.said.clear()
    apply_caps(energy, containers, {"a": 2.0, "b": 5.0, "c": 5.0, "d": 6.0})
    assert energy.said == ["suspend a", "d 6", "resume d"]


class TestEqualCaps(PolicyContract):
    def make(self) -> Policy:
        return EqualCaps()


class TestBalancedCaps(PolicyContract):
    def make(self) -> Policy:
        return BalancedCaps(FULL_W)


class TestStragglerReplicas(PolicyContract):
    def make(self) -> Policy:
        return StragglerReplicas(FULL_W)

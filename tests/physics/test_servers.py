"""Power curves and their inverse; a node's power split among its containers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.physics.attribution import attributed_w, idle_by_cores_w, idle_by_use_w, idle_equal_w, split_w
from ecovisor.physics.server_power import power_at_w, utilisation_at_ratio
from ecovisor.presets import SERVERS

curves = st.one_of(
    st.sampled_from([server.power_curve_w for server in SERVERS.values()]),
    st.lists(st.floats(0.0, 500.0), min_size=2, max_size=21).map(lambda watts: tuple(sorted(watts))),
)
loads = st.one_of(st.sampled_from([0.0, 1.0, 0.5, 0.1]), st.floats(0.0, 1.0))
watts = st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 100.0)), min_size=1, max_size=8)


@given(curves, loads, loads)
def test_more_load_never_draws_less(curve: tuple[float, ...], one: float, other: float) -> None:
    low, high = sorted((one, other))
    low_w, high_w = (power_at_w(curve, len(curve), load) for load in (low, high))
    assert curve[0] <= low_w <= high_w * (1 + 1e-12)
    assert high_w <= curve[-1] * (1 + 1e-12)


@given(curves, loads)
def test_a_power_allows_the_load_that_draws_it(curve: tuple[float, ...], load: float) -> None:
    power_w = power_at_w(curve, len(curve), load)
    allowed = utilisation_at_ratio(curve, len(curve), power_w)
    assert 0.0 <= allowed <= 1.0
    assert power_at_w(curve, len(curve), allowed) == pytest.approx(power_w, rel=1e-9, abs=1e-9)
    steep = min(high - low for low, high in pairwise(curve))
    if steep > 1e-3:
        assert allowed == pytest.approx(load, abs=1e-9)


def test_the_published_loads_draw_the_published_powers() -> None:
    curve = SERVERS["dell-r740"].power_curve_w
    for tenth, power_w in enumerate(curve):
        assert power_at_w(curve, len(curve), tenth / 10) == pytest.approx(power_w, rel=1e-12)
    assert power_at_w(curve, len(curve), 1.7) == curve[-1]
    assert utilisation_at_ratio(curve, len(curve), 1.0) == 0.0
    assert utilisation_at_ratio(curve, len(curve), 1e9) == 1.0


@given(watts, st.floats(0.0, 500.0))
def test_containers_and_what_is_left_sum_to_the_node(container_w: list[float], node_w: float) -> None:
    parts, rest_w = attributed_w(container_w, node_w)
    assert sum(parts) + rest_w == pytest.approx(node_w, rel=1e-9, abs=1e-12)
    assert rest_w >= 0.0
    if sum(container_w) > node_w:
        assert rest_w == 0.0
        for part, modelled in zip(parts, container_w, strict=True):
            assert part <= modelled * (1 + 1e-12)
    else:
        assert parts == container_w


@given(watts, st.floats(0.0, 100.0))
def test_idle_power_is_split_by_use_or_equally_and_to_nobody_who_idles_alone(dynamic_w: list[float], idle_w: float) -> None:
    by_use = idle_by_use_w(idle_w, dynamic_w)
    if sum(dynamic_w) > 0.0:
        assert sum(by_use) == pytest.approx(idle_w, rel=1e-9, abs=1e-12)
    else:
        assert by_use == [0.0] * len(dynamic_w)
    assert sum(idle_equal_w(idle_w, len(dynamic_w))) == pytest.approx(idle_w, rel=1e-9)


def test_idle_power_of_cores_that_nobody_allocated_stays_with_the_site() -> None:
    assert idle_by_cores_w(20.0, [1.0, 2.0], 4.0) == [5.0, 10.0]


@given(watts, st.floats(0.0, 500.0))
def test_served_power_is_split_in_proportion(container_w: list[float], served_w: float) -> None:
    parts = split_w(served_w, container_w)
    if sum(container_w) > 0.0:
        assert sum(parts) == pytest.approx(served_w, rel=1e-9, abs=1e-12)
    else:
        assert parts == [0.0] * len(container_w)

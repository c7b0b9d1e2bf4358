"""What containers may draw: within the app's limit, each within its own cap, nothing wasted, and cores that draw exactly the cap."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.library.grants import Demander, container_power_w, cores_limit, split_cap_w, supply_w

SERVER_CORES = 4.0
curves = st.lists(st.floats(0.5, 20.0), min_size=1, max_size=10).map(
    lambda steps: tuple(4.0 + sum(steps[:k]) for k in range(len(steps) + 1))
)
demanders = st.lists(
    st.builds(
        Demander, cores=st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0]), cap_w=st.one_of(st.just(math.inf), st.floats(0.0, 40.0))
    ),
    min_size=1,
    max_size=6,
)


def full_w(curve: tuple[float, ...], one: Demander) -> float:
    return min(one.cap_w, container_power_w(curve, SERVER_CORES, one.cores, one.cores))


@given(curve=curves, containers=demanders, limit_w=st.floats(0.0, 100.0))
def test_containers_together_keep_within_the_limit_and_each_within_its_cap(
    curve: tuple[float, ...], containers: list[Demander], limit_w: float
) -> None:
    caps = split_cap_w(curve, SERVER_CORES, containers, limit_w)
    drawn = [min(cap, full_w(curve, one)) for cap, one in zip(caps, containers, strict=True)]
    assert math.fsum(drawn) <= limit_w * (1.0 + 1e-9) or all(cap == one.cap_w for cap, one in zip(caps, containers, strict=True))
    if math.fsum(full_w(curve, one) for one in containers) > limit_w:
        assert math.fsum(drawn) <= limit_w * (1.0 + 1e-9)
    for cap, one in zip(caps, containers, strict=True):
        assert cap <= one.cap_w * (1.0 + 1e-12)


@given(curve=curves, cores=st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=5), ratio=st.floats(0.0, 1.0))
def test_what_may_be_drawn_is_given_away(curve: tuple[float, ...], cores: list[float], ratio: float) -> None:
    containers = [Demander(each, math.inf) for each in cores]
    idle_w = math.fsum(container_power_w(curve, SERVER_CORES, each, 0.0) for each in cores)
    most_w = math.fsum(full_w(curve, one) for one in containers)
    limit_w = idle_w + ratio * (most_w - idle_w)
    caps = split_cap_w(curve, SERVER_CORES, containers, limit_w)
    drawn = math.fsum(min(cap, full_w(curve, one)) for cap, one in zip(caps, containers, strict=True))
    assert drawn == pytest.approx(min(limit_w, most_w), rel=1e-9)


def test_below_idle_power_the_last_containers_are_suspended_until_the_others_fit() -> None:
    caps = split_cap_w((4.0, 12.0), SERVER_CORES, [Demander(1.0, math.inf)] * 3, 2.5)
    assert caps == [1.25, 1.25, 0.0]
    assert split_cap_w((4.0, 12.0), SERVER_CORES, [Demander(1.0, math.inf)], 0.5) == [0.0]


@given(curve=curves, cores=st.sampled_from([0.25, 1.0, 3.0]), ratio=st.floats(0.0, 1.0))
def test_the_cores_of_a_cap_draw_the_cap(curve: tuple[float, ...], cores: float, ratio: float) -> None:
    idle_w = container_power_w(curve, SERVER_CORES, cores, 0.0)
    most_w = container_power_w(curve, SERVER_CORES, cores, cores)
    cap_w = idle_w + ratio * (most_w - idle_w)
    limit = cores_limit(curve, SERVER_CORES, cores, cap_w)
    assert container_power_w(curve, SERVER_CORES, cores, limit) == pytest.approx(cap_w, rel=1e-9)
    assert cores_limit(curve, SERVER_CORES, cores, math.inf) == cores
    assert cores_limit(curve, SERVER_CORES, cores, idle_w * 0.99) == 0.0


@given(
    solar=st.floats(0, 50),
    level=st.floats(0, 50),
    most=st.floats(0, 50),
    limit=st.floats(0, 50),
    grid=st.floats(0, 50),
    rate=st.floats(0, 5),
)
def test_the_supply_is_sun_grid_and_what_the_battery_may_give(
    solar: float, level: float, most: float, limit: float, grid: float, rate: float
) -> None:
    supply = supply_w(solar, level, most, limit, 0.95, 0.25, grid, rate)
    assert solar + grid <= supply + 1e-9
    assert supply <= solar + grid + min(most, limit, level * 0.95 / 0.25) + 1e-9
    assert supply_w(solar, level, most, limit, 0.95, 0.25, math.inf, rate) == math.inf

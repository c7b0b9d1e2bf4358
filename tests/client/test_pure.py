"""The parts of the client that know no network: patience, the snapshot that is held, values on the wire."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.colours import played_site

from ecovisor import wire
from ecovisor.client import values
from ecovisor.client.held import Held
from ecovisor.client.persistence import Patience
from ecovisor.model.errors import SettingRefused, Unavailable
from ecovisor.model.series import Quality

POWERS = st.floats(min_value=0.0, allow_infinity=False)


@given(st.integers(1, 2000), st.floats(0.0, 1.0, exclude_max=True), st.floats(0.0, 1e6))
def test_delays_grow_to_a_bound_heed_the_server_and_are_never_the_same_for_all(
    failures: int, chance: float, wanted_s: float
) -> None:
    patience = Patience()
    delay_s = patience.delay_s(failures, chance, wanted_s) * 20.0  # the tests' fixture makes them shorter
    assert min(wanted_s, patience.longest_delay_s) <= delay_s * (1.0 + 1e-9)
    assert patience.first_delay_s <= delay_s * (1.0 + 1e-9)
    assert delay_s <= 1.5 * patience.longest_delay_s
    assert patience.delay_s(failures, 0.0, wanted_s) <= patience.delay_s(failures + 1, 0.0, wanted_s)
    assert patience.delay_s(failures, 0.0, wanted_s) < patience.delay_s(failures, 0.9, wanted_s)


@pytest.mark.parametrize(("compression", "use_s"), [(1800.0, 0.05), (1.0, 1.0), (1e18, 0.0), (0.0, 0.1)])
def test_a_snapshot_serves_for_a_tenth_of_a_tick_at_most_a_second(compression: float, use_s: float) -> None:
    held = Held(played_site(compression=compression).snapshot(), '"1"', 100.0)
    assert held.usable(100.0 + 0.99 * use_s) == (use_s > 0.0)
    assert not held.usable(100.0 + use_s + 1e-6)
    held.confirmed(200.0)
    assert held.usable(200.0 + 0.99 * use_s) == (use_s > 0.0)
    held.standing_still = True
    assert held.usable(1e9)


def test_settings_count_for_their_tick_and_what_they_change_is_not_known_any_more() -> None:
    site = played_site()
    held = Held(site.snapshot(), '"1"', 0.0)
    late = wire.SettingAnswer(effective_tick=1, asked={}, in_force={}, clipped={})
    held.answered(late, containers=True, idle=False)
    assert (held.effective_tick, held.containers, held.idle_power_w) == (1, None, 2.7)
    held.answered(msgspec.structs.replace(late, effective_tick=0), containers=False, idle=True)
    assert (held.effective_tick, held.idle_power_w, len(held.answers)) == (1, None, 2)
    held.take(site.snapshot(), '"2"', 1.0)
    assert len(held.answers) == 2, "the same tick, published anew"
    assert held.containers is not None
    site.advance()
    held.take(site.snapshot(), '"3"', 2.0)
    assert (held.answers, held.effective_tick, held.idle_power_w) == ([], 1, 2.7)


@given(st.floats())
def test_only_what_json_can_carry_is_sent(value: float) -> None:
    checks: tuple[Callable[[], float | None], ...] = (
        lambda: values.finite("f", value, "W", "power"),
        lambda: values.power_w("f", value),
        lambda: values.some_cores("f", value),
    )
    for check in checks:
        try:
            sent = check()
        except SettingRefused:
            assert not value > 0.0 or value == math.inf
            continue
        assert sent is None or (0.0 <= sent < math.inf and sent == value)
        assert value == math.inf if sent is None else True


@given(st.lists(POWERS))
def test_numbers_cross_bit_by_bit(powers: list[float]) -> None:
    metrics = {f"m{k}": power_w for k, power_w in enumerate(powers)}
    crossed = msgspec.json.decode(msgspec.json.encode(wire.AppMetrics(metrics=metrics)), type=wire.AppMetrics)
    assert [value.hex() for value in crossed.metrics.values()] == [value.hex() for value in powers]


def test_null_is_what_the_field_says() -> None:
    answer = wire.SettingAnswer(effective_tick=0, asked={}, in_force={"cap_w": None, "charge_rate_w": 2.0}, clipped={})
    assert values.in_force(answer, "cap_w") == math.inf
    assert values.in_force(answer, "charge_rate_w") == 2.0
    with pytest.raises(Unavailable, match="max_discharge_w"):
        values.in_force(answer, "max_discharge_w")
    assert math.isnan(values.known(None))
    assert list(values.values([1.0, None])) == [1.0, pytest.approx(math.nan, nan_ok=True)]


def test_a_quality_of_a_later_server_counts_as_the_least() -> None:
    assert values.quality("measured") is Quality.MEASURED
    assert values.quality("divined") is Quality.STALE

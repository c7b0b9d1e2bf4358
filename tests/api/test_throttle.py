"""A bucket lets through its burst and then its rate, whoever asks in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor.api.throttle import Throttle


@given(
    rate_per_s=st.floats(0.1, 100.0),
    burst=st.integers(1, 20),
    waits_s=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=100),
)
def test_no_interval_sees_more_than_burst_and_rate(rate_per_s: float, burst: int, waits_s: list[float]) -> None:
    throttle, now_s, passed = Throttle(rate_per_s, burst), 0.0, []
    for wait_s in waits_s:
        now_s += wait_s
        if throttle.wait_s("a", now_s) == 0.0:
            passed.append(now_s)
    for k, start_s in enumerate(passed):
        for count, end_s in enumerate(passed[k:], start=1):
            assert count <= burst + rate_per_s * (end_s - start_s) + 1e-6


@given(rate_per_s=st.floats(0.1, 100.0), burst=st.integers(1, 20))
def test_whoever_waits_as_told_is_let_through(rate_per_s: float, burst: int) -> None:
    throttle, now_s = Throttle(rate_per_s, burst), 10.0
    for _ in range(burst):
        assert throttle.wait_s("a", now_s) == 0.0
    wait_s = throttle.wait_s("a", now_s)
    assert wait_s > 0.0
    assert throttle.wait_s("a", now_s + wait_s / 2.0) > 0.0
    assert throttle.wait_s("a", now_s + wait_s * (1.0 + 1e-9) + 1e-9) == 0.0


def test_buckets_are_each_ones_own_and_few_are_remembered() -> None:
    throttle = Throttle(0.001, 1.0, keep=3)
    assert [throttle.wait_s(key, 0.0) for key in "abc"] == [0.0, 0.0, 0.0]
    assert throttle.wait_s("a", 0.0) == pytest.approx(1000.0)
    assert throttle.wait_s("d", 0.0) == 0.0
    assert len(throttle._buckets) == 3
    assert "a" in throttle._buckets, "the one unused for longest was forgotten"

"""The duty cycle's arithmetic against made-up processes, with a kernel that is late, tells old CPU times, and gives what it likes."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecovisor.adapters.platforms.process.duty_cycle import Throttle

#: Cores that are used at an instant by processes that may run.
Rate = Callable[[float], float]


@dataclass
class Processes:
    """They run or not; the kernel's answers are up to a tick behind while they run."""

    rate: Rate
    stale_s: float
    now_s: float = 0.0
    used_s: float = 0.0
    runs: bool = True
    told_s: float = 0.0
    history: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])

    def until(self, when_s: float) -> None:
        while self.now_s < when_s:
            step_s = min(0.001, when_s - self.now_s)
            if self.runs:
                self.used_s += self.rate(self.now_s) * step_s
            self.now_s += step_s
        self.history.append((self.now_s, self.used_s))

    def told(self, chance: random.Random) -> float:
        behind_s = chance.uniform(0.0, self.stale_s) * self.rate(self.now_s) if self.runs else 0.0
        self.told_s = max(self.told_s, self.used_s - behind_s)
        return self.told_s

    def used_between(self, begin_s: float, end_s: float) -> float:
        return self._at(end_s) - self._at(begin_s)

    def _at(self, when_s: float) -> float:
        place = bisect_right(self.history, (when_s, float("inf"))) - 1
        time_s, used_s = self.history[place]
        if place + 1 < len(self.history):
            later_s, more_s = self.history[place + 1]
            used_s += (more_s - used_s) * (when_s - time_s) / (later_s - time_s)
        return used_s


def drive(
    processes: Processes, throttle: Throttle, threads: int, end_s: float, chance: random.Random, late_s: float = 0.0003
) -> int:
    """Play the keeper until an instant; how often it had to look."""
    steps = 0
    while processes.now_s < end_s:
        processes.runs, again_s = throttle.step(processes.now_s, processes.told(chance), threads)
        assert again_s > processes.now_s
        processes.until(min(again_s + chance.uniform(0.0, late_s), end_s))
        steps += 1
    return steps


limits = st.floats(0.05, 1.9)
seeds = st.integers(0, 1 << 30)


@settings(max_examples=60, deadline=None)
@given(limit_cores=limits, threads=st.integers(1, 6), seed=seeds, begin_s=st.floats(0.0, 1.0))
@example(limit_cores=0.05, threads=1, seed=0, begin_s=0.0)
@example(limit_cores=0.05, threads=6, seed=0, begin_s=0.55)
def test_a_saturating_load_keeps_its_limit_within_5_percent_over_any_second(
    limit_cores: float, threads: int, seed: int, begin_s: float
) -> None:
    chance = random.Random(seed)
    fastest = min(threads, 2)
    processes = Processes(lambda _: fastest, stale_s=0.004)
    drive(processes, Throttle(limit_cores, 2, chance.random()), threads, 8.0, chance)
    most_cores = min(limit_cores, fastest)
    for k in range(6):
        used_s = processes.used_between(1.0 + begin_s + k, 2.0 + begin_s + k)
        assert used_s <= most_cores * 1.05
    assert processes.used_between(1.0, 8.0) >= 7.0 * most_cores * 0.94, "nor is it starved"


@settings(max_examples=60, deadline=None)
@given(limit_cores=limits, threads=st.integers(1, 6), seed=seeds, stretch_s=st.sampled_from([0.02, 0.3, 2.0]))
def test_no_load_gets_more_than_its_periods_allow(limit_cores: float, threads: int, seed: int, stretch_s: float) -> None:
    chance = random.Random(seed)
    fastest = min(threads, 2)
    shares = [chance.choice([0.0, 0.1, 0.5, 1.0]) for _ in range(1000)]
    processes = Processes(lambda now_s: fastest * shares[int(now_s / stretch_s) % 1000], stale_s=0.004)
    drive(processes, Throttle(limit_cores, 2), threads, 12.0, chance)
    once_s = 0.1 * limit_cores * 1.25 + fastest * 0.025  # a period more, and one stop that came late
    for begin_s in (0.0, 1.0, 2.5, 4.0):
        assert processes.used_between(begin_s, begin_s + 1.0) <= limit_cores * 0.98 + once_s
        assert processes.used_between(begin_s, begin_s + 8.0) <= 8.0 * limit_cores * 0.98 + once_s


@settings(max_examples=40, deadline=None)
@given(before_cores=limits, after_cores=limits, at_s=st.floats(1.0, 2.0), seed=seeds)
@example(before_cores=1.9, after_cores=0.05, at_s=1.05, seed=0)
def test_a_new_limit_is_reached_within_two_seconds(before_cores: float, after_cores: float, at_s: float, seed: int) -> None:
    chance = random.Random(seed)
    processes = Processes(lambda _: 2.0, stale_s=0.004)
    throttle = Throttle(before_cores, 2)
    drive(processes, throttle, 2, at_s, chance)
    throttle.change(after_cores)
    drive(processes, throttle, 2, at_s + 4.0, chance)
    for begin_s in (at_s + 2.0, at_s + 3.0):
        assert 0.93 * after_cores <= processes.used_between(begin_s, begin_s + 1.0) <= 1.05 * after_cores


@settings(max_examples=30, deadline=None)
@given(limit_cores=st.floats(0.05, 1.0), seed=seeds)
def test_limits_that_change_all_the_time_allow_nothing_more(limit_cores: float, seed: int) -> None:
    chance = random.Random(seed)
    processes = Processes(lambda _: 2.0, stale_s=0.004)
    throttle = Throttle(limit_cores, 2)
    for k in range(40):
        drive(processes, throttle, 2, (k + 1) * 0.1 + 0.03, chance)
        throttle.change(limit_cores * (1.0 + 0.001 * (k % 2)))
    assert processes.used_between(1.0, 4.0) <= 3.0 * limit_cores * 1.05


@settings(max_examples=30, deadline=None)
@given(limit_cores=st.floats(0.05, 0.3), threads=st.integers(1, 4), seed=seeds)
def test_a_container_that_waits_for_others_still_gets_most_of_its_limit(limit_cores: float, threads: int, seed: int) -> None:
    """It runs in turns of a few milliseconds with two or three others, so that it seldom uses a CPU as fast as it could."""
    chance = random.Random(seed)
    fastest = min(threads, 2)
    turns = [chance.choice([0, 0, 1]) for _ in range(4000)]
    processes = Processes(lambda now_s: fastest * turns[int(now_s / 0.003) % 4000], stale_s=0.004)
    drive(processes, Throttle(limit_cores, 2), threads, 9.0, chance)
    assert processes.used_between(1.0, 9.0) >= 8.0 * 0.8 * min(limit_cores, 0.3 * fastest)


def test_what_was_used_unseen_is_taken_off_the_next_periods() -> None:
    chance = random.Random(1)
    processes = Processes(lambda _: 1.0, stale_s=0.0)
    throttle = Throttle(0.5, 2)
    drive(processes, throttle, 1, 2.0, chance)
    processes.used_s += 0.2  # a child that nobody had seen
    drive(processes, throttle, 1, 4.0, chance)
    assert processes.used_between(1.0, 4.0) == pytest.approx(1.5, rel=0.05)


def test_a_great_debt_is_forgiven() -> None:
    chance = random.Random(1)
    processes = Processes(lambda _: 1.0, stale_s=0.0)
    throttle = Throttle(0.1, 2)
    drive(processes, throttle, 1, 1.0, chance)
    processes.used_s += 3600.0
    drive(processes, throttle, 1, 6.0, chance)
    assert processes.used_between(3.0, 6.0) == pytest.approx(0.3, rel=0.06)


def test_an_idle_container_is_never_stopped_and_seldom_looked_at() -> None:
    chance = random.Random(1)
    processes = Processes(lambda _: 0.0, stale_s=0.0)
    throttle = Throttle(0.3, 2)
    steps = drive(processes, throttle, 3, 10.0, chance)
    assert throttle.running
    assert steps <= 10 * 60


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("before_cores", [0.0, 0.02, 0.2])
def test_a_container_that_becomes_busier_is_noticed_soon(threads: int, before_cores: float) -> None:
    chance = random.Random(1)
    fastest = min(threads, 2)
    processes = Processes(lambda now_s: fastest if now_s > 5.003 else before_cores, stale_s=0.004)
    drive(processes, Throttle(0.05, 2), threads, 6.1, chance)
    late_s = 0.015 if before_cores > 0.05 else 0.025
    assert processes.used_between(5.0, 5.1) <= fastest * late_s
    assert processes.used_between(5.05, 6.05) <= 0.05 + fastest * late_s


def test_a_lower_limit_acts_within_the_period_and_a_higher_one_too() -> None:
    chance = random.Random(1)
    processes = Processes(lambda _: 1.0, stale_s=0.0)
    throttle = Throttle(0.9, 2)
    drive(processes, throttle, 1, 1.03, chance)
    throttle.change(0.1)
    drive(processes, throttle, 1, 1.1, chance)
    assert processes.used_between(1.03, 1.1) <= 0.007
    drive(processes, throttle, 1, 2.05, chance)
    throttle.change(0.9)
    drive(processes, throttle, 1, 2.1, chance)
    assert processes.used_between(2.05, 2.1) >= 0.03


def test_a_keeper_that_overslept_gives_no_credit() -> None:
    throttle = Throttle(0.2, 2)
    runs, _ = throttle.step(0.0, 0.0, 1)
    assert runs
    runs, again_s = throttle.step(50.0, 0.0, 1)
    assert runs
    assert again_s - 50.0 <= 0.2 * 0.1 * 1.25

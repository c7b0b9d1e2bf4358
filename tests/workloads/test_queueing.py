"""A queue over a tick: nothing is lost, and what it says holds against a simulation of single requests."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Generator, Sequence
from statistics import fmean, stdev
from typing import Any

import pytest
import simpy
from hypothesis import example, given
from hypothesis import strategies as st

from ecovisor.library.queueing import ResponseModel, Workers
from ecovisor.workloads.containers import effective_cores
from ecovisor.workloads.queueing import fluid_tick, service_tick

CURVE_W = (51.0, 75.0, 84.5, 95.0, 110.0, 120.0, 137.0, 159.0, 187.0, 217.0, 231.0)

rates = st.floats(0.0, 500.0)
inflows = st.lists(st.tuples(rates, rates), min_size=1, max_size=30)


@given(backlog=st.floats(0.0, 1e4), ticks=inflows, timeout=st.floats(0.1, 60.0), tick_s=st.floats(1.0, 600.0))
@example(backlog=0.0, ticks=[(1.0, 5e-324)], timeout=0.75, tick_s=1.0)
def test_every_request_is_served_dropped_or_waits(
    backlog: float, ticks: list[tuple[float, float]], timeout: float, tick_s: float
) -> None:
    arrived, served, dropped, waiting = backlog, 0.0, 0.0, backlog
    for arrivals, capacity in ticks:
        tick = fluid_tick(waiting, arrivals, capacity, timeout, tick_s)
        arrived += arrivals * tick_s
        served += tick.served
        dropped += tick.dropped
        waiting = tick.backlog
        assert min(tick.served, tick.dropped, waiting) >= 0.0
        assert tick.served <= capacity * tick_s * (1 + 1e-9)
        assert waiting <= capacity * timeout * (1 + 1e-9)
        assert 0.0 <= tick.wait_mean_s <= timeout * (1 + 1e-9)
        assert 0.0 <= tick.wait_p95_s <= timeout * (1 + 1e-9)
    assert arrived == pytest.approx(served + dropped + waiting, rel=1e-9, abs=1e-6)


@given(backlog=st.floats(0.0, 3000.0), arrivals=rates, capacity=st.floats(1.0, 500.0), timeout=st.floats(1.0, 60.0))
def test_a_tick_is_what_many_small_steps_come_to(backlog: float, arrivals: float, capacity: float, timeout: float) -> None:
    tick = fluid_tick(backlog, arrivals, capacity, timeout, 60.0)
    steps, waits, level, dropped = 2000, [], min(backlog, capacity * timeout), max(0.0, backlog - capacity * timeout)
    for _ in range(steps):
        level = max(0.0, level + (arrivals - capacity) * 60.0 / steps)
        dropped += max(0.0, level - capacity * timeout)
        level = min(level, capacity * timeout)
        waits.append(level / capacity)
    assert tick.backlog == pytest.approx(level, abs=1e-6 * capacity * timeout + 1e-6)
    assert tick.dropped == pytest.approx(dropped, abs=0.5 + 1e-6 * backlog)
    assert tick.wait_mean_s == pytest.approx(fmean(waits), rel=0.02, abs=0.02)
    assert tick.wait_p95_s == pytest.approx(sorted(waits)[int(0.95 * steps)], rel=0.02, abs=0.05)


def test_with_no_worker_all_are_turned_away() -> None:
    tick = service_tick(ResponseModel(service_s=0.01), [], 100.0, 10.0, 30.0, 60.0)
    assert (tick.served, tick.dropped, tick.backlog) == (0.0, 700.0, 0.0)
    assert tick.p95_s == 30.0


def test_within_its_capacity_a_service_is_in_its_steady_state() -> None:
    model, workers = ResponseModel(service_s=0.01), [Workers(5, 4, 1.0)]
    tick = service_tick(model, workers, 0.0, 1500.0, 30.0, 60.0)
    assert tick.p95_s == model.p95_s(workers, 0.75)
    assert (tick.served, tick.backlog) == (90_000.0, 0.0)


# -- against a simulation of single requests (simpy)


Draw = Callable[[random.Random], float]
Pool = tuple[list[Any], list[float]]
Make = Callable[[simpy.Environment], Pool]


class Sharing:
    """A worker whose cores are shared by all requests in it. Each is due when the service that all have had alike reaches its own."""

    def __init__(self, environment: simpy.Environment, cores: int, speed: float) -> None:
        self.environment, self.cores, self.speed = environment, cores, speed
        self.attained_s, self.since_s, self.version = 0.0, 0.0, 0
        self.due: list[tuple[float, float, list[float]]] = []

    def arrive(self, service_s: float, times: list[float]) -> None:
        self._go_on()
        heapq.heappush(self.due, (self.attained_s + service_s, self.environment.now, times))
        self._wake()

    def _share(self) -> float:
        return self.speed * min(1.0, self.cores / len(self.due))

    def _go_on(self) -> None:
        if self.due:
            self.attained_s += (self.environment.now - self.since_s) * self._share()
        self.since_s = self.environment.now

    def _wake(self) -> None:
        self.version += 1
        if self.due:
            version = self.version
            event = self.environment.timeout(max(0.0, (self.due[0][0] - self.attained_s) / self._share()))
            event.callbacks.append(lambda _: self._leave(version))

    def _leave(self, version: int) -> None:
        if version == self.version:
            self._go_on()
            _, began_s, times = heapq.heappop(self.due)
            times.append(self.environment.now - began_s)
            self._wake()


class Queue:
    """Cores that take requests from one queue, in order."""

    def __init__(self, environment: simpy.Environment, cores: int, speed: float) -> None:
        self.environment, self.free, self.speed = environment, cores, speed
        self.waiting: deque[tuple[float, float, list[float]]] = deque()

    def arrive(self, service_s: float, times: list[float]) -> None:
        self.waiting.append((service_s, self.environment.now, times))
        self._next()

    def _next(self) -> None:
        if self.free and self.waiting:
            self.free -= 1
            service_s, began_s, times = self.waiting.popleft()
            event = self.environment.timeout(service_s / self.speed)
            event.callbacks.append(lambda _: self._leave(began_s, times))

    def _leave(self, began_s: float, times: list[float]) -> None:
        self.free += 1
        times.append(self.environment.now - began_s)
        self._next()


def simulate(seed: int, make: Make, rates_per_s: Sequence[float], tick_s: float, draw: Draw) -> tuple[list[list[float]], list[int]]:
    """Response times of those that came in each tick, and who waited at its end; a tenth of a tick runs before, at the first rate."""
    random_, environment = random.Random(seed), simpy.Environment()
    workers, weights = make(environment)
    times: list[list[float]] = [[] for _ in rates_per_s]
    left: list[int] = []

    def arrive() -> Generator[simpy.Event, None, None]:
        for k, rate in enumerate((rates_per_s[0], *rates_per_s)):
            until = environment.now + (tick_s if k else tick_s / 10.0)
            kept = times[k - 1] if k else []
            while True:
                wait = random_.expovariate(rate)
                if environment.now + wait >= until:
                    yield environment.timeout(until - environment.now)
                    break
                yield environment.timeout(wait)
                random_.choices(workers, weights)[0].arrive(draw(random_), kept)
            if k and isinstance(workers[0], Queue):
                left.append(len(workers[0].waiting))

    environment.process(arrive())
    environment.run()
    return times, left


def sharing(groups: list[Workers]) -> Make:
    """As many workers as the groups have, requests going to each by its speed."""

    def make(environment: simpy.Environment) -> Pool:
        workers = [Sharing(environment, int(one.cores), one.speed_ratio) for one in groups for _ in range(int(one.number))]
        return workers, [worker.cores * worker.speed for worker in workers]

    return make


def one_queue(cores: int, speed: float) -> Make:
    return lambda environment: ([Queue(environment, cores, speed)], [1.0])


def exponential(random_: random.Random) -> float:
    return random_.expovariate(100.0)


def steady(make: Make, rate: float, draw: Draw, *, requests: int, runs: int = 10) -> list[list[float]]:
    """Response times of several runs at one rate."""
    return [simulate(seed, make, [rate], requests / rate, draw)[0][0] for seed in range(100, 100 + runs)]


def p95(times: list[float]) -> float:
    return sorted(times)[math.ceil(0.95 * len(times)) - 1]


def agrees(ours: float, theirs: list[float], off_ratio: float, off: float = 0.0) -> None:
    """Within three standard errors of the runs' mean, and what the model may be off besides."""
    error = stdev(theirs) / math.sqrt(len(theirs))
    assert abs(ours - fmean(theirs)) <= 3.0 * error + off_ratio * fmean(theirs) + off, (ours, fmean(theirs), error)
    assert error < 0.06 * fmean(theirs) + off, "too few requests to say"


def speed_at(cap_w: float) -> float:
    """Of a worker with 4 of 16 cores under a cap."""
    return effective_cores(CURVE_W, len(CURVE_W), 16.0, 4.0, cap_w) / 4.0


@pytest.mark.parametrize(
    ("workers", "cores", "cap_w", "load", "requests"),
    [
        (1, 1, 1e9, 0.5, 3000),
        (2, 4, 30.0, 0.7, 4000),
        *(
            pytest.param(workers, cores, cap_w, load, 20_000, marks=pytest.mark.slow)
            for workers, cores in ((1, 1), (3, 4))
            for cap_w in (1e9, 20.0)
            for load in (0.3, 0.85)
        ),
    ],
)
def test_processor_sharing_agrees_with_single_requests(workers: int, cores: int, cap_w: float, load: float, requests: int) -> None:
    model, groups = ResponseModel(service_s=0.01), [Workers(workers, cores, speed_at(cap_w))]
    runs = steady(sharing(groups), load * model.capacity_per_s(groups), exponential, requests=requests)
    agrees(model.mean_s(groups, load), [fmean(run) for run in runs], 0.005)
    agrees(model.p95_s(groups, load), [p95(run) for run in runs], 0.01)


def test_workers_with_unlike_caps_agree_with_single_requests() -> None:
    model, groups = ResponseModel(service_s=0.01), [Workers(2, 4, 1.0), Workers(2, 4, speed_at(25.0))]
    runs = steady(sharing(groups), 0.75 * model.capacity_per_s(groups), exponential, requests=8_000)
    agrees(model.mean_s(groups, 0.75), [fmean(run) for run in runs], 0.005)
    agrees(model.p95_s(groups, 0.75), [p95(run) for run in runs], 0.02)


def even(random_: random.Random) -> float:
    """Two exponential stages: squared variation 1/2."""
    return random_.gammavariate(2.0, 0.005)


def varied(random_: random.Random) -> float:
    """One of two exponentials of balanced means: squared variation 4."""
    first = (1.0 + math.sqrt(0.6)) / 2.0
    part = first if random_.random() < first else 1.0 - first
    return random_.expovariate(2.0 * part * 100.0)


@pytest.mark.slow
@pytest.mark.parametrize(("scv", "draw"), [(0.5, even), (4.0, varied)])
@pytest.mark.parametrize("load", [0.2, 0.8])
def test_for_other_service_times_the_mean_is_exact_and_the_percentile_within_fifteen_per_cent(
    scv: float, draw: Draw, load: float
) -> None:
    model, groups = ResponseModel(service_s=0.01, service_scv=scv), [Workers(2, 2, 1.0)]
    runs = steady(sharing(groups), load * model.capacity_per_s(groups), draw, requests=20_000)
    agrees(model.mean_s(groups, load), [fmean(run) for run in runs], 0.005)
    agrees(model.p95_s(groups, load), [p95(run) for run in runs], 0.15)


@pytest.mark.parametrize(
    ("cores", "speed", "load", "requests"),
    [
        (4, 0.6, 0.7, 4000),
        *(
            pytest.param(cores, speed, load, 20_000, marks=pytest.mark.slow)
            for cores, speed in ((4, 0.5), (40, 0.8))
            for load in (0.3, 0.85)
        ),
    ],
)
def test_a_shared_queue_agrees_with_single_requests(cores: int, speed: float, load: float, requests: int) -> None:
    model, groups = ResponseModel(service_s=0.01, discipline="shared-queue"), [Workers(1, cores, speed)]
    runs = steady(one_queue(cores, speed), load * model.capacity_per_s(groups), exponential, requests=requests)
    agrees(model.mean_s(groups, load), [fmean(run) for run in runs], 0.005)
    agrees(model.p95_s(groups, load), [p95(run) for run in runs], 0.01)


def test_overload_and_its_backlog_agree_with_single_requests() -> None:
    """Loads of 0.5, 1.5, 1.2 and 0.4 of eight cores, a minute each: the backlog is carried from minute to minute."""
    model, groups = ResponseModel(service_s=0.2, discipline="shared-queue"), [Workers(1, 8, 1.0)]
    rates = [load * model.capacity_per_s(groups) for load in (0.5, 1.5, 1.2, 0.4)]
    ours, backlog = [], 0.0
    for rate in rates:
        ours.append(service_tick(model, groups, backlog, rate, 1e9, 60.0))
        backlog = ours[-1].backlog
    runs = [simulate(seed, one_queue(8, 1.0), rates, 60.0, lambda random_: random_.expovariate(5.0)) for seed in range(12)]
    for k, tick in enumerate(ours):
        agrees(tick.mean_s, [fmean(times[k]) for times, _ in runs], 0.05)
        agrees(tick.p95_s, [p95(times[k]) for times, _ in runs], 0.05)
        agrees(tick.backlog, [left[k] for _, left in runs], 0.05, off=40.0)

"""Response times of a web service in steady state, from queueing theory: what its simulation and its scaling policies both reckon with.

Requests come at random (Poisson); a worker is a container with some cores, a request uses one core at a time.

* Processor sharing, M/G/k-PS: a load balancer hands each request to a worker at once, in proportion to speed; the ``k`` cores of a worker
  are shared equally by the requests in it. The mean is exact for any service-time distribution (the queue is symmetric, so only the mean
  service time matters; F. P. Kelly, *Reversibility and Stochastic Networks*, 1979, section 3.3). Quantiles are exact for exponential
  service times: the response time is the time to absorption of a Markov chain on the number of other requests in the worker, solved by
  uniformisation (A. Jensen, 1953) at some loads and interpolated between them. For other distributions they are scaled by the ratio of
  log-normal quantiles with the same first two moments, in which the squared variation of the slowdown is ``ρ/(2−ρ)``, that of M/M/1-PS
  (E. G. Coffman, R. R. Muntz, H. Trotter, 1970); a test holds them within 15 % of a simulation.
* Shared queue, M/M/c: one queue, and any free core takes the next request. Mean and quantiles are exact for exponential service times
  and equal speeds (A. K. Erlang, 1917); unlike speeds count as as many cores of their mean speed.

Beyond `SATURATED_RATIO` of the capacity a steady state takes longer to come about than loads last; a queue that grows and drains is in
``workloads.queueing``. Pure.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

Discipline = Literal["processor-sharing", "shared-queue"]

#: Loads above this are treated as this: an M/M/1-PS queue of 10 ms requests needs a minute to settle there.
SATURATED_RATIO = 0.98
_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.995)
_P95 = 0.95
_KNOTS_RATIO = (0.0, 0.2, 0.35, 0.5, 0.6, 0.68, 0.75, 0.8, 0.84, 0.88, 0.91, 0.935, 0.955, 0.97, SATURATED_RATIO)
_REST = 1e-6
_EVALUATIONS = 60
_TOLERANCE_RATIO = 1e-5


class Workers(NamedTuple):
    """Some workers that are alike."""

    number: float
    cores: float
    """Of each. [cores]"""
    speed_ratio: float
    """Of a core, against one at full speed: what is left of it under the worker's power cap. [0..1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseModel:
    """A service as its response times see it."""

    service_s: float
    """Mean time that a request takes on an idle core at full speed. [s]"""
    service_scv: float = 1.0
    """Squared coefficient of variation of that time; 1: exponential. Matters to quantiles under processor sharing only. [1]"""
    base_s: float = 0.0
    """Time that every request takes besides, whatever the load (network, load balancer). [s]"""
    discipline: Discipline = "processor-sharing"

    def capacity_per_s(self, workers: Sequence[Workers]) -> float:
        """Requests that these workers can serve. [1/s]"""
        return math.fsum(one.number * one.cores * one.speed_ratio for one in workers) / self.service_s

    def mean_s(self, workers: Sequence[Workers], load_ratio: float) -> float:
        """Mean response time at a part of the capacity, at most `SATURATED_RATIO` of it. [s]"""
        rho = min(load_ratio, SATURATED_RATIO)
        busy = [one for one in workers if one.number * one.cores * one.speed_ratio > 0.0]
        if self.discipline == "shared-queue":
            cores, speed = _pooled(busy)
            return self.base_s + self.service_s / speed * _mean_slowdown(cores, rho)
        speeds = [one.number * one.cores * one.speed_ratio for one in busy]
        total = math.fsum(speed * _mean_slowdown(one.cores, rho) / one.speed_ratio for speed, one in zip(speeds, busy, strict=True))
        return self.base_s + self.service_s * total / math.fsum(speeds)

    def p95_s(self, workers: Sequence[Workers], load_ratio: float) -> float:
        """95th percentile of the response time at a part of the capacity, at most `SATURATED_RATIO` of it. [s]"""
        rho = min(load_ratio, SATURATED_RATIO)
        busy = [one for one in workers if one.number * one.cores * one.speed_ratio > 0.0]
        if self.discipline == "shared-queue":
            cores, speed = _pooled(busy)
            return self.base_s + self.service_s / speed * shared_queue_quantile(cores, rho, _P95)
        scale = self.service_s * _variation_factor(self.service_scv, rho)
        first = busy[0]
        if len(busy) == 1:
            return self.base_s + scale * shared_processor_quantiles(first.cores, rho)[_LEVELS.index(_P95)] / first.speed_ratio
        return self.base_s + scale * _mixture_p95(busy, rho)

    def most_per_s(self, workers: Sequence[Workers], p95_s: float) -> float:
        """The highest rate that these workers serve within a 95th percentile; 0 where even no load is too slow. [1/s]"""
        if not any(one.number * one.cores * one.speed_ratio > 0.0 for one in workers):
            return 0.0
        low, high = 0.0, SATURATED_RATIO
        if self.p95_s(workers, low) > p95_s:
            return 0.0
        if self.p95_s(workers, high) <= p95_s:
            return high * self.capacity_per_s(workers)
        while high - low > _TOLERANCE_RATIO:
            middle = (low + high) / 2.0
            low, high = (middle, high) if self.p95_s(workers, middle) <= p95_s else (low, middle)
        return low * self.capacity_per_s(workers)


def erlang_c_ratio(servers: float, offered: float) -> float:
    """Probability that a request finds all ``servers`` busy, when ``offered`` of them are busy on average (Erlang's C formula). [1]

    A part of a server counts by linear interpolation between whole ones. 1 from ``offered >= servers`` on.
    """
    if offered >= servers:
        return 1.0
    whole = int(servers)
    blocked = 1.0
    for n in range(1, whole + 1):
        blocked = offered * blocked / (n + offered * blocked)
    below = 1.0 if offered >= whole else blocked / (1.0 - offered / whole * (1.0 - blocked))
    part = servers - whole
    if part <= 0.0:
        return below
    blocked = offered * blocked / (whole + 1 + offered * blocked)
    above = blocked / (1.0 - offered / (whole + 1) * (1.0 - blocked))
    return below + (above - below) * part


def shared_queue_quantile(servers: float, load_ratio: float, level_ratio: float) -> float:
    """Quantile of the response time of M/M/c over the mean service time. [1]

    ``P(T > t) = (1−C) e^{−t} + C (δ e^{−t} − e^{−δt}) / (δ−1)``, with ``δ = c(1−ρ)`` and Erlang's ``C``, time in service times.
    """
    waiting = erlang_c_ratio(servers, servers * load_ratio)
    drain = servers * (1.0 - load_ratio)
    if abs(drain - 1.0) < 1e-6:
        drain = 1.0 + 1e-6

    def tail(t: float) -> float:
        return (1.0 - waiting) * math.exp(-t) + waiting * (drain * math.exp(-t) - math.exp(-drain * t)) / (drain - 1.0)

    return _falling_root(tail, 1.0 - level_ratio, -math.log(1.0 - level_ratio))


def shared_processor_quantiles(cores: float, load_ratio: float) -> tuple[float, ...]:
    """Quantiles of the response time of M/M/k-PS over the mean service time, at the levels `_LEVELS`. [1]

    A part of a core counts by linear interpolation between whole ones; less than one is one slower core.
    """
    if cores < 1.0:
        return tuple(q / cores for q in shared_processor_quantiles(1.0, load_ratio))
    k = max(0, min(bisect_right(_KNOTS_RATIO, load_ratio) - 1, len(_KNOTS_RATIO) - 2))
    above = (load_ratio - _KNOTS_RATIO[k]) / (_KNOTS_RATIO[k + 1] - _KNOTS_RATIO[k])
    whole = int(cores)
    at = _between(_scaled_quantiles(whole), k, above)
    if cores > whole:
        part, other = cores - whole, _between(_scaled_quantiles(whole + 1), k, above)
        at = tuple(a + (b - a) * part for a, b in zip(at, other, strict=True))
    return tuple(q / (1.0 - load_ratio) for q in at)


def _between(table: Sequence[Sequence[float]], k: int, above: float) -> tuple[float, ...]:
    return tuple(low + (high - low) * above for low, high in zip(table[k], table[k + 1], strict=True))


def _pooled(workers: Sequence[Workers]) -> tuple[float, float]:
    """All cores as one group, and their mean speed."""
    cores = math.fsum(one.number * one.cores for one in workers)
    return cores, math.fsum(one.number * one.cores * one.speed_ratio for one in workers) / cores


def _mean_slowdown(cores: float, load_ratio: float) -> float:
    """Mean response time of M/M/k, first come first served or shared alike, over the mean service time. [1]"""
    if cores < 1.0:
        return 1.0 / cores / (1.0 - load_ratio)
    return 1.0 + erlang_c_ratio(cores, cores * load_ratio) / (cores * (1.0 - load_ratio))


@lru_cache(maxsize=64)
def _scaled_quantiles(cores: int) -> tuple[tuple[float, ...], ...]:
    """Quantiles of M/M/k-PS at each load of `_KNOTS_RATIO`, times ``1 − ρ``, which makes them vary slowly with the load."""
    return tuple(tuple(q * (1.0 - rho) for q in _absorption_quantiles(cores, rho)) for rho in _KNOTS_RATIO)


def _absorption_quantiles(cores: int, load_ratio: float) -> tuple[float, ...]:
    """Quantiles of the time in M/M/k-PS, by uniformisation of the chain on the number ``n`` of other requests in the worker.

    With service rate 1: arrivals ``kρ``; the others leave at ``n·min(1, k/(n+1))``, the request itself at ``min(1, k/(n+1))``.
    It finds the others in the steady state of M/M/k.
    """
    arrivals = cores * load_ratio
    seen = [1.0]
    while seen[-1] > _REST * max(seen) or len(seen) <= cores:
        seen.append(seen[-1] * arrivals / min(len(seen), cores))
    total = math.fsum(seen)
    alive = [p / total for p in seen]
    rate = arrivals + cores
    share = [min(1.0, cores / (n + 1)) for n in range(len(alive))]
    down = [n * part / rate for n, part in enumerate(share)]
    up = [arrivals / rate] * (len(alive) - 1) + [0.0]
    stay = [1.0 - up[n] - down[n] - share[n] / rate for n in range(len(alive))]
    from_below, from_above = [0.0, *up[:-1]], [*down[1:], 0.0]
    left = [sum(alive)]
    while left[-1] > (1.0 - _LEVELS[-1]) * 0.05:
        alive = [
            here * s + below * u + above * d
            for here, s, below, u, above, d in zip(
                alive, stay, [0.0, *alive], from_below, [*alive[1:], 0.0], from_above, strict=False
            )
        ]
        left.append(sum(alive))

    def tail(t: float) -> float:
        mean = rate * t
        spread = 8.0 * math.sqrt(mean) + 12.0
        low, high = max(0, int(mean - spread)), min(len(left) - 1, int(mean + spread))
        log_weight = low * math.log(mean) - mean - math.lgamma(low + 1) if mean > 0.0 else 0.0
        weight, sum_ = math.exp(log_weight), 0.0
        for j in range(low, high + 1):
            sum_ += weight * left[j]
            weight *= mean / (j + 1)
        return sum_

    return tuple(_falling_root(tail, 1.0 - level, 1.0) for level in _LEVELS)


def _variation_factor(service_scv: float, load_ratio: float) -> float:
    """95th percentile for service times of another variation over that for exponential ones, both taken as log-normal. [1]"""
    if service_scv == 1.0:
        return 1.0
    slowdown_scv = load_ratio / (2.0 - load_ratio)
    return _log_normal_p95((1.0 + service_scv) * (1.0 + slowdown_scv) - 1.0) / _log_normal_p95(2.0 * (1.0 + slowdown_scv) - 1.0)


def _log_normal_p95(scv: float) -> float:
    """95th percentile of a log-normal variable of mean 1. [1]"""
    variance = math.log1p(scv)
    return math.exp(1.6448536269514722 * math.sqrt(variance) - variance / 2.0)


def _mixture_p95(workers: Sequence[Workers], load_ratio: float) -> float:
    """95th percentile over requests that go to unlike workers in proportion to their speed, over the mean service time. [1]"""
    speeds = [one.number * one.cores * one.speed_ratio for one in workers]
    total = math.fsum(speeds)
    curves = [
        (speed / total, [q / one.speed_ratio for q in shared_processor_quantiles(one.cores, load_ratio)])
        for speed, one in zip(speeds, workers, strict=True)
    ]

    def tail(t: float) -> float:
        return math.fsum(weight * _tail(quantiles, t) for weight, quantiles in curves)

    return _falling_root(tail, 1.0 - _P95, max(quantiles[_LEVELS.index(_P95)] for _, quantiles in curves))


_LOG_TAILS = tuple(math.log(1.0 - level) for level in _LEVELS)


def _tail(quantiles: Sequence[float], t: float) -> float:
    """``P(T > t)`` between known quantiles: its logarithm is interpolated, and continued straight beyond them. [1]"""
    if t <= quantiles[0]:
        return math.exp(_LOG_TAILS[0] * t / quantiles[0])
    k = min(bisect_right(quantiles, t) - 1, len(quantiles) - 2)
    slope = (_LOG_TAILS[k + 1] - _LOG_TAILS[k]) / (quantiles[k + 1] - quantiles[k])
    return math.exp(_LOG_TAILS[k] + slope * (t - quantiles[k]))


def _falling_root(tail: Callable[[float], float], level: float, guess: float) -> float:
    """Where a survival function comes down to a level: its logarithm is nearly straight, so regula falsi (Illinois) on that."""
    target = math.log(level)

    def gap(t: float) -> float:
        value = tail(t)
        return math.log(value) - target if value > 0.0 else -700.0 - target

    low, at_low, high = 0.0, -target, guess
    at_high = gap(high)
    while at_high > 0.0:
        low, at_low, high = high, at_high, high * 2.0
        at_high = gap(high)
    for _ in range(_EVALUATIONS):
        if high - low <= _TOLERANCE_RATIO * high:
            break
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        at_middle = gap(middle)
        if abs(at_middle) < 1e-7:
            return middle
        if at_middle > 0.0:
            low, at_low, at_high = middle, at_middle, at_high / 2.0
        else:
            high, at_high, at_low = middle, at_middle, at_low / 2.0
    return (low + high) / 2.0

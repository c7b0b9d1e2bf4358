"""How fast a batch job can be at most with a power: one concave curve for its containers, its server and its scaling.

The curve is never below what a running job achieves, and concave, so that a linear program can have it: that is the relaxation. Three
things make it. *Cores are continuous*: a part of them may be off, so that idle power is in proportion to what runs. *The hull of the power
curve*: any mix of loads. *The hull of the scaling*: any mix of core counts within a step; a law is replaced by its tangents, which lie
above it. `steps` takes over with when the job may run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from ecovisor.presets import ServerParameters
from ecovisor.workloads.batch import checkpointing_ratio, table_speed_cores, usl_speed_cores
from ecovisor.workloads.models import BatchJob

Point = tuple[float, float]

#: Tangents to a scaling law touch it at core counts in this ratio (its logarithm): the curve is at most about 0.5 % above the law.
TANGENT_LOG_STEP = 0.2


@dataclass(frozen=True, slots=True)
class SpeedCurve:
    """Corners of the concave curve of speed against power, from no power to the last at which more is faster."""

    power_w: tuple[float, ...]
    """Rising, from 0. [W]"""
    speed_cores: tuple[float, ...]
    """Progress per hour; at no power more than 0 only where the server draws nothing at some load. [core-h/h]"""
    running_cores: tuple[float, ...]
    """How many cores run, those that wait among them. [cores]"""
    excess_ratio: float
    """How far the curve lies above the scaling law at most; 0 where its corners lie on it. [1]"""

    @property
    def most_power_w(self) -> float:
        """Power beyond which the job gets no faster. [W]"""
        return self.power_w[-1]

    @property
    def most_speed_cores(self) -> float:
        """Speed at full scale. [core-h/h]"""
        return self.speed_cores[-1]


def speed_curve(job: BatchJob, cores: float, server: ServerParameters) -> SpeedCurve:
    """The curve of a job that runs on at most ``cores`` of such a server."""
    scaling, excess = scaling_hull(job, cores)
    cores_at: dict[Point, float] = {}
    if job.idle_when_starved:
        cores_at |= idling_points(scaling, cores, server)
    if not job.idle_when_starved or any(speed > count for count, speed in scaling):
        power = power_hull(cores, server)
        inverse = [(w, p) for p, w in power]
        for working in {w for _, w in power} | {w for w, _ in scaling if w >= power[0][1]}:
            power_w = _at(working, inverse)
            at_best_load_w = power[min(1, len(power) - 1)][0]
            running = cores * power_w / at_best_load_w if power_w < at_best_load_w else cores
            cores_at[power_w, _at(working, scaling)] = running
    joined = upper_hull(cores_at)
    ratio = checkpointing_ratio(job.checkpoint_interval_s, job.checkpoint_duration_s)
    return SpeedCurve(
        power_w=tuple(p for p, _ in joined),
        speed_cores=tuple(s * ratio for _, s in joined),
        running_cores=tuple(cores_at[point] for point in joined),
        excess_ratio=excess,
    )


def power_hull(cores: float, server: ServerParameters) -> list[Point]:
    """Most cores' worth of work against power: the concave hull of "off" and the server's curve. [(W, cores)]

    ``Σ cᵢ·u(pᵢ·S/cᵢ) ≤ C·û(Σ pᵢ·S/C)`` for any containers of ``cᵢ`` cores, ``Σ cᵢ ≤ C``, since û is concave and û ≥ u, û ≥ 0.
    """
    last = len(server.power_curve_w) - 1
    part = cores / server.cores
    return upper_hull([(0.0, 0.0), *((part * power_w, cores * k / last) for k, power_w in enumerate(server.power_curve_w))])


def idling_points(scaling: list[Point], cores: float, server: ServerParameters) -> dict[Point, float]:
    """The curve of a job whose waiting cores idle: points of power and speed, with the cores that run. [(W, cores)], [cores]

    ``c`` cores at the speed ``s ≤ f(c)`` draw ``c·P(s/c)/S``, if they all have the load ``s/c`` and more otherwise, by P's convex hull
    from idle to full. The least of it over ``c`` is convex in ``s``: at the most efficient load ``u*``, but for at least the cores that
    ``s`` needs, and at most all. It is linear between the speeds that are tried here: corners of the scaling, where it meets a load that
    is a corner of P's hull, and all cores at such a load.
    """
    loads = upper_hull((power_w, k / (len(server.power_curve_w) - 1)) for k, power_w in enumerate(server.power_curve_w))
    best = max((load / power_w if power_w > 0.0 else math.inf, load) for power_w, load in loads if load > 0.0)[1]
    inverse = [(speed, count) for count, speed in scaling]
    speeds = {speed for _, speed in scaling}
    for _, load in loads:
        speeds.add(min(load * cores, scaling[-1][1]))
        for (c1, s1), (c2, s2) in pairwise([*scaling, (cores, scaling[-1][1])]):
            above1, above2 = s1 - load * c1, s2 - load * c2
            if above1 > 0.0 > above2 or above1 < 0.0 < above2:
                speeds.add(s1 + (s2 - s1) * (above1 / (above1 - above2)))
    found = {}
    power_at = [(load, power_w) for power_w, load in loads]
    for speed in speeds:
        count = min(max(speed / best, _at(speed, inverse), speed), cores)
        if speed <= count:
            power_w = count / server.cores * _at(speed / count, power_at) if count > 0.0 else 0.0
            found[power_w, speed] = count
    return found


def scaling_hull(job: BatchJob, cores: float) -> tuple[list[Point], float]:
    """Most speed against cores that work, and how far it lies above the law at most. [(cores, cores)], [1]"""
    if job.speed_table is not None:
        columns = [c for c, _ in job.speed_table], [s for _, s in job.speed_table]
        corners = [c for c in columns[0] if c < cores] + [cores]
        return upper_hull([(0.0, 0.0), *((c, table_speed_cores(c, *columns, len(columns[0]))) for c in corners)]), 0.0
    if cores <= 1.0 or job.contention == job.coherency == 0.0:
        return [(0.0, 0.0), (cores, cores)], 0.0
    return _law_hull(cores, job.contention, job.coherency)


def _law_hull(cores: float, contention: float, coherency: float) -> tuple[list[Point], float]:
    """The universal scalability law from above: tangents from one core to the fastest count.

    With ``f = 1/g``, ``g = (1−α)/N + (α−β) + βN``, the law is concave from 0 to its peak at ``√((1−α)/β)``; beyond it, it is not used.
    """
    peak = math.sqrt((1.0 - contention) / coherency) if coherency > 0.0 else math.inf
    end = max(1.0, min(cores, peak))
    count = math.ceil(math.log(end) / TANGENT_LOG_STEP)
    points, excess = [(0.0, 0.0), (1.0, 1.0)], 0.0
    tangents = [_tangent(end ** (k / count), contention, coherency) for k in range(count + 1)] if count else []
    for (n1, f1, d1), (n2, f2, d2) in pairwise(tangents):
        if d1 > d2:
            n = (f2 - d2 * n2 - f1 + d1 * n1) / (d1 - d2)
            n = min(max(n, n1), n2)
            # Where rounding moved the corner, the higher tangent is the safe one.
            speed = max(f1 + d1 * (n - n1), f2 + d2 * (n - n2))
            points.append((n, speed))
            excess = max(excess, speed / usl_speed_cores(n, contention, coherency) - 1.0)
    if count:
        points.append((end, usl_speed_cores(end, contention, coherency)))
    return upper_hull([*points, (cores, points[-1][1])]), excess


def _tangent(cores: float, contention: float, coherency: float) -> tuple[float, float, float]:
    speed = usl_speed_cores(cores, contention, coherency)
    return cores, speed, ((1.0 - contention) / cores**2 - coherency) * speed**2


def upper_hull(points: Iterable[Point]) -> list[Point]:
    """Corners of the smallest concave, non-decreasing function that is nowhere below the points; it ends where it gets flat."""
    hull: list[Point] = []
    for x, y in sorted(points):
        while hull and (x == hull[-1][0] and y >= hull[-1][1]):
            hull.pop()
        if hull and y <= hull[-1][1]:
            continue
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-1][0]) <= (y - hull[-1][1]) * (hull[-1][0] - hull[-2][0]):
            hull.pop()
        hull.append((x, y))
    return hull


def _at(x: float, points: list[Point]) -> float:
    """The function of the corners at ``x``; constant outside. Corners are hit exactly."""
    if x <= points[0][0]:
        return points[0][1]
    for (x1, y1), (x2, y2) in pairwise(points):
        if x < x2:
            return y1 + (y2 - y1) * ((x - x1) / (x2 - x1))
    return points[-1][1]

"""A queue in front of a service over one tick: what arrives, is served, waits on and is turned away, and how long it waits. Pure.

``library.queueing`` has the response times of a steady state. Beyond its capacity a service has none: the queue grows as a fluid, at the
difference of arrivals and capacity, and drains so when the load has passed. Nothing is lost on the way: arrived = served + dropped +
what the backlog has grown by. The load balancer holds requests back and passes them on in order; one that would wait longer than its
time-out is turned away when it comes, and counted. What the service draws meanwhile is in ``web_service``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ecovisor.library.queueing import ResponseModel, Workers

_LATE_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class FluidTick:
    """What became of a queue in a tick."""

    served: float
    """Requests."""
    dropped: float
    """Requests that were turned away."""
    backlog: float
    """Requests that wait at the end."""
    wait_mean_s: float
    """Mean over the tick's arrivals. [s]"""
    wait_p95_s: float
    """95th percentile over the tick's arrivals. [s]"""


@dataclass(frozen=True, slots=True)
class ServiceTick(FluidTick):
    """The same with the response times of those that arrived."""

    mean_s: float
    """[s]"""
    p95_s: float
    """[s]"""


def fluid_tick(backlog: float, arrivals_per_s: float, capacity_per_s: float, timeout_s: float, tick_s: float) -> FluidTick:
    """A queue with an even inflow and an even capacity; at most ``capacity × time-out`` requests wait.

    Without any capacity nothing can be waited for: all are turned away, having waited for the time-out.
    """
    if capacity_per_s <= 0.0:
        return FluidTick(0.0, backlog + arrivals_per_s * tick_s, 0.0, timeout_s, timeout_s)
    room = capacity_per_s * timeout_s
    dropped = backlog - room if backlog > room else 0.0
    first = backlog - dropped
    net_per_s = arrivals_per_s - capacity_per_s
    if net_per_s >= 0.0:
        until_full_s = (room - first) / net_per_s if net_per_s > 0.0 else tick_s
        if until_full_s < tick_s:
            last, settled_s = room, until_full_s
            dropped += net_per_s * (tick_s - until_full_s)
        else:
            last, settled_s = first + net_per_s * tick_s, tick_s
        served = capacity_per_s * tick_s
        late_s = (1.0 - _LATE_RATIO) * tick_s
        p95 = min(first + net_per_s * late_s, last)
        area = (first + last) / 2.0 * settled_s + last * (tick_s - settled_s)
    else:
        until_empty_s = first / -net_per_s
        drains = until_empty_s < tick_s
        last = 0.0 if drains else first + net_per_s * tick_s
        served = first + arrivals_per_s * tick_s if drains else capacity_per_s * tick_s
        p95 = max(first + net_per_s * _LATE_RATIO * tick_s, 0.0)
        area = (first + last) / 2.0 * (until_empty_s if drains else tick_s)
    wait_mean_s, wait_p95_s = area / tick_s / capacity_per_s, p95 / capacity_per_s
    return FluidTick(served, dropped, last, min(wait_mean_s, timeout_s), min(wait_p95_s, timeout_s))  # but for rounding they are


def service_tick(
    model: ResponseModel, workers: Sequence[Workers], backlog: float, arrivals_per_s: float, timeout_s: float, tick_s: float
) -> ServiceTick:
    """A tick of a service: the wait before the load balancer as a fluid, and behind it the steady state of the load that passes.

    A request sees the greater of the two: the steady state of the load, in which there is no backlog, or the backlog and then an idle core.
    """
    capacity_per_s = model.capacity_per_s(workers)
    fluid = fluid_tick(backlog, arrivals_per_s, capacity_per_s, timeout_s, tick_s)
    mean_s = p95_s = timeout_s
    if capacity_per_s > 0.0:
        load_ratio = arrivals_per_s / capacity_per_s
        mean_s, p95_s = model.mean_s(workers, load_ratio), model.p95_s(workers, load_ratio)
        if fluid.wait_mean_s > 0.0:
            mean_s = max(mean_s, fluid.wait_mean_s + model.mean_s(workers, 0.0))
            p95_s = max(p95_s, fluid.wait_p95_s + model.p95_s(workers, 0.0))
    return ServiceTick(fluid.served, fluid.dropped, fluid.backlog, fluid.wait_mean_s, fluid.wait_p95_s, mean_s, p95_s)

"""What no policy can beat: the least carbon that a clairvoyant could emit; and where there is no such bound.

    from ecovisor.optimum import BatchOptimum, batch_bound

    bound = batch_bound(job, cores=4, max_scale=2, server=server, carbon=series, start_s=…, deadline_s=…)
    bound.carbon_g, bound.schedule.power_w

    optimum = BatchOptimum(job, cores=4, max_scale=2, server=server, carbon=series, tick_s=300)     # many starts
    grams = [optimum.bound(start_s, start_s + 48 * 3600).carbon_g for start_s in starts]

Both answer with a `Bound` or a `NoBound` (with its ``reason``), and raise `Infeasible` where the work cannot be done.
Optional: ``solar`` (what the site collects) with ``solar_share``, ``battery`` (`AppBattery`, or ``AppBattery.of(parameters, share)``),
``grid_limit_w``, ``step_s`` for a coarser resolution.
Carbon is on import; what the battery holds at the start is free, what it holds at the end worth nothing.
"""

from ecovisor.optimum.batch import BatchOptimum, batch_bound
from ecovisor.optimum.bound import AppBattery, Bound, NoBound, Schedule

__all__ = ["AppBattery", "BatchOptimum", "Bound", "NoBound", "Schedule", "batch_bound"]

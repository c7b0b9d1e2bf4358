"""The built-in workloads as a scenario describes them; `batch` and `containers` hold their equations, the engine runs them in its loop."""

from __future__ import annotations

from dataclasses import dataclass

INFINITY = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """An amount of work with a scaling curve."""

    work_core_h: float
    """Hours of one core at full speed. [core-h]"""
    start_s: float
    """Not before this instant. [s since the epoch]"""
    deadline_s: float | None = None
    """For the report. [s since the epoch]"""
    contention: float = 0.0
    """Serial part of the universal scalability law. [1]"""
    coherency: float = 0.0
    """Cross-talk of the universal scalability law. [1]"""
    speed_table: tuple[tuple[float, float], ...] | None = None
    """Measured (cores, speed-up) instead of the law, cores rising; 2 to 16 points."""
    checkpoint_interval_s: float = 0.0
    """0: every tick's progress is kept. [s]"""
    checkpoint_duration_s: float = 0.0
    """Time that writing one takes. [s]"""
    restart_duration_s: float = 0.0
    """Time without progress after a suspension. [s]"""
    idle_when_starved: bool = False
    """Cores that wait (for a task, for each other) idle: at full speed their utilisation is speed over cores. False: they wait busily."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantDemand:
    """The same power at all times."""

    demand_w: float
    """[W]"""
    start_s: float = -INFINITY
    """[s since the epoch]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedDemand:
    """Power or utilisation from a signal."""

    signal: str
    """Its name: in W, or in unit 1 for the utilisation of the app's containers."""
    start_s: float = -INFINITY
    """[s since the epoch]"""


@dataclass(frozen=True, slots=True)
class Metered:
    """Real containers: what they draw is measured after it was served, tick by tick, by whoever runs them."""

"""A batch job: an amount of work, a scaling curve, and what suspending, power loss and checkpoints cost it.

Work is in core-hours: what one core does in an hour at full speed. Speed is the universal scalability law (N. J. Gunther, *Guerrilla
Capacity Planning*, 2007, eq. 4.15) or a measured table. `containers` says how many cores a power is worth.
"""

from __future__ import annotations

from collections.abc import Sequence

#: A job is complete within this part of its work: what rounding may leave.
COMPLETION_RATIO = 1e-12


def usl_speed_cores(cores: float, contention: float, coherency: float) -> float:
    """Speed of ``cores`` in cores' worth: ``N/(1 + α(N−1) + βN(N−1))``; below one core it is linear. [cores]"""
    if cores <= 1.0:
        return cores
    return cores / (1.0 + contention * (cores - 1.0) + coherency * cores * (cores - 1.0))


def table_speed_cores(cores: float, table_cores: Sequence[float], table_speed: Sequence[float], points: int) -> float:
    """Speed interpolated in a measured table of ``points`` rising core counts; from 0 before it, constant after it. [cores]"""
    if cores <= table_cores[0]:
        return table_speed[0] * cores / table_cores[0]
    k = 1
    while k < points:
        if cores <= table_cores[k]:
            part = (cores - table_cores[k - 1]) / (table_cores[k] - table_cores[k - 1])
            return table_speed[k - 1] + (table_speed[k] - table_speed[k - 1]) * part
        k += 1
    return table_speed[points - 1]


def load_ratio(cores: float, speed_cores: float) -> float:
    """Utilisation of ``cores`` that idle while they wait, at full speed. [1]"""
    return speed_cores / cores if speed_cores < cores else 1.0


def checkpointing_ratio(checkpoint_interval_s: float, checkpoint_duration_s: float) -> float:
    """Part of the running time that is progress, when each interval of progress is followed by writing a checkpoint. [1]"""
    if checkpoint_interval_s <= 0.0:
        return 1.0
    return checkpoint_interval_s / (checkpoint_interval_s + checkpoint_duration_s)


def busy_ratio(work_left: float, speed_cores: float, restart_left_s: float, tick_s: float) -> float:
    """Part of the tick for which the job runs: all of it, or until its work is done. [1]"""
    if speed_cores <= 0.0:
        return 1.0
    needed_s = restart_left_s + work_left / speed_cores * 3600.0
    return needed_s / tick_s if needed_s < tick_s else 1.0


def progress_core_h(work_left: float, speed_cores: float, restart_left_s: float, busy_s: float) -> float:
    """Work done in ``busy_s`` of running, of which the restart takes the first part. [core-h]"""
    productive_s = busy_s - restart_left_s
    if productive_s <= 0.0:
        return 0.0
    done = speed_cores * productive_s / 3600.0
    return done if done < work_left else work_left

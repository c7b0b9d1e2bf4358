"""Probes of the machine: its power meters, its clock, its processors."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ecovisor.adapters.meters import choose_meter
from ecovisor.adapters.probes import Finding, State, human_time

#: Duty cycles stop and continue processes within periods of 100 ms. [s]
_LATE_WAKE_S = 0.01
_SLEEP_S = 0.005


def probe_meter(names: Sequence[str], folder: Path = Path(), options: Mapping[str, Mapping[str, object]] | None = None) -> Finding:
    """Whether a meter of the node's power gives a reading.

    Raises:
        SettingsError: a name is unknown, or what it names is no meter.
    """
    choice = asyncio.run(choose_meter(names, folder=folder, options=options))
    if choice.meter is not None:
        return Finding("power meter", State.OK, choice.describe())
    parts = [(name, *reason.partition("; ")) for name, reason in choice.failures]
    found = "; ".join(f"{name}: {problem}" for name, problem, _, _ in parts) or "none is configured"
    remedy = "; ".join(dict.fromkeys(remedy for *_, remedy in parts if remedy))
    return Finding("power meter", State.LIMITED, found, "power is modelled from CPU time and the curve in site.server", remedy)


def probe_processors(usable: int | None = None, load: tuple[float, float, float] | None = None) -> Finding:
    """How many processors there are, and how busy they are already."""
    usable = usable or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    load = load or (os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0))
    found = f"{usable} usable, load {load[0]:.1f}"
    if load[0] > 1.5 * usable:
        return Finding("processors", State.LIMITED, found, "ticks may be late, and caps are not reached", "end other work")
    return Finding("processors", State.OK, found)


def probe_clock(sleep: Callable[[float], None] = time.sleep, monotonic_s: Callable[[], float] = time.monotonic) -> Finding:
    """How finely time is told, and how late a sleeping process wakes."""
    resolution_s = time.get_clock_info("monotonic").resolution
    late_s = []
    for _ in range(10):
        begin_s = monotonic_s()
        sleep(_SLEEP_S)
        late_s.append(monotonic_s() - begin_s - _SLEEP_S)
    median_s = max(statistics.median(late_s), 0.0)
    found = (
        f"resolution {human_time(resolution_s)}; a sleep of {human_time(_SLEEP_S)} ends {human_time(median_s)} late (median of 10)"
    )
    if median_s > _LATE_WAKE_S or resolution_s > 1e-3:
        follows = "ticks are late, and caps by stopping and continuing are rough"
        return Finding("clock", State.LIMITED, found, follows, "give the machine less to do, or a kernel with finer timers")
    return Finding("clock", State.OK, found)

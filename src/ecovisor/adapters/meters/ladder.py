"""A ladder of loads on this machine, and its power on every rung by a meter: live samples for `ecovisor calibrate`.

Owns the order of things on a rung: load, let it settle, then sample after sample of load and power over the same stretch of time. The load
of a sample is what the machine really did, other processes included, since the meter counts those too; the worker processes
(`burn`) only see to it that all loads occur. `library.calibration` fits the curve.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ecovisor.library.calibration import PowerSample
from ecovisor.model.errors import Unavailable
from ecovisor.ports.live import EnergyCounter, NodeMeter

_BURN = Path(__file__).with_name("burn.py")
_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Ladder:
    """How long each load is held."""

    loads_ratio: Sequence[float]
    settle_s: float = 1.0
    """After a change of load, before the first sample. [s]"""
    samples: int = 4
    """On each rung."""
    sample_s: float = 1.0
    """[s]"""

    @property
    def duration_s(self) -> float:
        """Of the whole ladder. [s]"""
        return len(self.loads_ratio) * (self.settle_s + self.samples * self.sample_s)


class Load(Protocol):
    """Makes the machine busy."""

    def set(self, load_ratio: float) -> None:
        """From now on use this part of the machine's CPUs."""
        ...


class BusyTime(Protocol):
    """CPU time of the whole machine so far."""

    def __call__(self) -> tuple[float, float]:
        """Used and possible, in the same unit."""
        ...


async def climb(
    meter: NodeMeter,
    ladder: Ladder,
    load: Load,
    *,
    busy: BusyTime,
    monotonic_s: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    progress: Callable[[int, float], None] | None = None,
) -> list[PowerSample]:
    """Samples of load and power, rung by rung.

    A sample is dropped where the meter did not answer, or started a new epoch meanwhile.

    Raises:
        Unavailable: a rung gave no sample, or the machine's CPU time cannot be read.
    """
    samples: list[PowerSample] = []
    for rung, load_ratio in enumerate(ladder.loads_ratio):
        if progress is not None:
            progress(rung, load_ratio)
        load.set(load_ratio)
        await sleep(ladder.settle_s)
        before, count, fault = await _look(meter, busy, monotonic_s), len(samples), ""
        for _ in range(ladder.samples):
            await sleep(ladder.sample_s)
            after = await _look(meter, busy, monotonic_s)
            sample = _between(before, after)
            if isinstance(sample, PowerSample):
                samples.append(sample)
            else:
                fault = sample
            before = after
        if len(samples) == count:
            raise Unavailable(f"no power could be read at a load of {load_ratio:.0%}: {fault}")
    return samples


@dataclass(frozen=True, slots=True)
class _Look:
    """The meter and the machine at an instant."""

    counter: EnergyCounter | str
    """Or why it could not be read."""
    at_s: float
    used: float
    possible: float


async def _look(meter: NodeMeter, busy: BusyTime, monotonic_s: Callable[[], float]) -> _Look:
    try:
        counter: EnergyCounter | str = await meter.read() or meter.describe()
    except Unavailable as error:
        counter = str(error)
    return _Look(counter, monotonic_s(), *busy())


def _between(before: _Look, after: _Look) -> PowerSample | str:
    """The mean load and power between two looks, or why they cannot be told."""
    if isinstance(before.counter, str):
        return before.counter
    if isinstance(after.counter, str):
        return after.counter
    possible, elapsed_s = after.possible - before.possible, after.at_s - before.at_s
    if after.counter.epoch != before.counter.epoch:
        return "the meter started anew"
    if possible <= 0.0 or elapsed_s <= 0.0:
        return "no time passed"
    load_ratio = min(max((after.used - before.used) / possible, 0.0), 1.0)
    return PowerSample(load_ratio, (after.counter.energy_j - before.counter.energy_j) / elapsed_s)


def machine_busy(stat: Path = _STAT) -> tuple[float, float]:
    """CPU time of all CPUs that was used, and that there was; waiting for a disk is idle. [ticks of the kernel]

    Raises:
        Unavailable: the system has no such account.
    """
    try:
        words = stat.read_text("utf-8").split("\n", 1)[0].split()
        user, nice, system, idle, waiting, irq, soft_irq, steal = (float(word) for word in words[1:9])
    except (OSError, ValueError) as error:
        raise Unavailable(f"{stat} cannot be read as the CPU time of a Linux machine: {error}") from None
    used = user + nice + system + irq + soft_irq + steal
    return used, used + idle + waiting


class Burners:
    """Worker processes, one for each CPU this process may use; a context that ends them all."""

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or usable_cpus()
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def set(self, load_ratio: float) -> None:
        """End the workers and start others with this load; none for 0."""
        self._end()
        if load_ratio <= 0.0:
            return
        command = [sys.executable, "-I", str(_BURN), repr(min(load_ratio, 1.0)), str(os.getpid())]
        for _ in range(self._workers):
            self._running.append(
                subprocess.Popen(  # noqa: S603 - our own file, by our own Python
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
                )
            )

    def _end(self) -> None:
        for worker in self._running:
            worker.kill()
        for worker in self._running:
            worker.wait()
        self._running = []


def usable_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

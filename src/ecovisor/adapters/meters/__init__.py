"""Meters of the machine's energy, tried in the order in which they are configured.

Owns the choice: the first that gives a reading is taken, and why each before it was not is kept for people. Built in is
`powercap`; others are plug-ins (entry points `ecovisor.meters`, or `file.py:Name`). Where there is none, power is modelled from CPU time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ecovisor.adapters.meters.powercap import PowercapMeter
from ecovisor.adapters.plugins import load_plugin
from ecovisor.model.errors import SettingsError, Unavailable
from ecovisor.ports.live import NodeMeter

BUILT_IN: Mapping[str, Callable[..., NodeMeter]] = {"powercap": PowercapMeter}


@dataclass(frozen=True, slots=True)
class MeterChoice:
    """The meter that was chosen, and why those before it were not."""

    name: str
    """As configured; empty where there is none."""
    meter: NodeMeter | None
    failures: Sequence[tuple[str, str]]
    """(name, reason) of each that was tried in vain, in order."""

    def describe(self) -> str:
        """One line for people."""
        failed = "; ".join(f"{name}: {reason}" for name, reason in self.failures)
        if self.meter is None:
            return f"no meter ({failed})" if failed else "no meter is configured"
        return f"{self.name}: {self.meter.describe()}" + (f" (before it: {failed})" if failed else "")


async def choose_meter(
    names: Sequence[str],
    *,
    folder: Path = Path(),
    options: Mapping[str, Mapping[str, object]] | None = None,
    deadline_s: float = 2.0,
    where: str = "server.meters",
) -> MeterChoice:
    """The first meter of ``names`` that gives a reading.

    Args:
        names: built-in names or plug-ins, in order of preference.
        folder: what `file.py:Name` is relative to.
        options: keyword arguments of each, by name.
        deadline_s: what takes longer to answer is passed over. [s]
        where: file and field that hold the names, for errors.

    Raises:
        SettingsError: a name is unknown, or what it names is no meter.
    """
    failures: list[tuple[str, str]] = []
    for name in names:
        meter = _make(name, folder, dict((options or {}).get(name, {})), where)
        reason = await _fault(meter, deadline_s)
        if reason is None:
            return MeterChoice(name, meter, tuple(failures))
        failures.append((name, reason))
    return MeterChoice("", None, tuple(failures))


def _make(name: str, folder: Path, options: Mapping[str, object], where: str) -> NodeMeter:
    factory = BUILT_IN.get(name) or load_plugin("ecovisor.meters", name, folder, BUILT_IN, where)
    if not callable(factory):
        raise SettingsError(where, f"{name} is a {type(factory).__name__}, no class or function", "name what makes a meter")
    try:
        meter = factory(**options)
    except TypeError as error:
        raise SettingsError(where, f"{name} does not take its options: {error}", "see what it asks for") from error
    if not all(callable(getattr(meter, method, None)) for method in ("read", "describe")):
        raise SettingsError(where, f"{name} makes a {type(meter).__name__}, which has no read() and describe()", "see NodeMeter")
    return cast("NodeMeter", meter)


async def _fault(meter: NodeMeter, deadline_s: float) -> str | None:
    """Why the meter cannot be used; None where it gives a reading."""
    try:
        async with asyncio.timeout(deadline_s):
            counter = await meter.read()
    except TimeoutError:
        return f"no answer within {deadline_s:g} s"
    except Unavailable as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    if counter is not None:
        return None
    return meter.describe().removeprefix("not available: ")

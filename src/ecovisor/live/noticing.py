"""What people should know besides flows: sources that fail and come back, a wall clock that was set."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from ecovisor import wire
from ecovisor.engine.specification import SITE_APP
from ecovisor.live.sources import MISSING
from ecovisor.model.series import Quality
from ecovisor.ports.live import Clock

#: Smaller steps of the wall clock are not told. [s]
LEAST_STEP_S = 0.5

Tell = Callable[[str, str, str], None]
"""App, kind and detail of an event."""


class SourceWatch:
    """Tells once when a source goes stale, when its last value has become too old, and when it answers again."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._failing: dict[str, str] = {}

    def observe(self, sources: Iterable[wire.SourceState]) -> None:
        """Look at all sources, once a tick."""
        for one in sources:
            failing = one.quality if one.quality in (Quality.STALE, MISSING) else ""
            before = self._failing.get(one.name, "")
            self._failing[one.name] = failing
            if failing == before:
                continue
            if not failing:
                self._tell(SITE_APP, "source_back", f"{one.name} answers again")
            else:
                used = "its last value is used" if failing == Quality.STALE else "there is no value to use"
                self._tell(SITE_APP, f"source_{failing}", f"{one.name}: {one.detail}; {used}")


@runtime_checkable
class _Steps(Protocol):
    def wall_step_s(self) -> float:
        """How far the wall clock has been moved since the clock was made. [s]"""
        ...


class WallWatch:
    """Tells of each step of the wall clock, once. Site time does not follow it."""

    def __init__(self, clock: Clock, tell: Tell) -> None:
        self._steps = clock if isinstance(clock, _Steps) else None
        self._tell = tell
        self._told_s = 0.0 if self._steps is None else self._steps.wall_step_s()

    def observe(self) -> None:
        """Look at the clock, once a tick."""
        if self._steps is None:
            return
        step_s = self._steps.wall_step_s() - self._told_s
        if abs(step_s) < LEAST_STEP_S:
            return
        self._told_s += step_s
        self._tell(SITE_APP, "clock_step", f"the wall clock was set by {step_s:+.3f} s; site time goes on as it was")

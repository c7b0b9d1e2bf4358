"""Something external that is read every tick, may be slow and may fail: a deadline, the last good value, and how old it is.

`Source` never raises. Who reads it gets the value, or the last good one marked stale, or, past its ``max_age``, None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ecovisor import wire
from ecovisor.model.errors import EcovisorError
from ecovisor.model.series import Quality
from ecovisor.ports.live import Clock

T = TypeVar("T")

#: Waits between attempts of a source that fails, doubled each time. [s, wall time]
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
MISSING = "missing"


class Source(Generic[T]):
    """One source.

    Args:
        name: for people (`plant`, `carbon`).
        read: asks it.
        clock: for ages.
        deadline_s: how long a question may take. [s, wall time]
        max_age_s: how old the last good value may be. [s, wall time]
        quality: of a fresh value; None takes it from the value's own ``quality``.
        detail: what it is, for people.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], Awaitable[T]],
        clock: Clock,
        *,
        deadline_s: float,
        max_age_s: float,
        quality: Quality | None = None,
        detail: str = "",
    ) -> None:
        self.name = name
        self.failure: str | None = None
        self._read = read
        self._clock = clock
        self._deadline_s = deadline_s
        self._max_age_s = max_age_s
        self._quality = quality
        self._detail = detail
        self._last: T | None = None
        self._last_s = -float("inf")
        self._wait_s = FIRST_WAIT_S
        self._next_s = -float("inf")

    async def get(self, *, retry: bool = False) -> T | None:
        """The value; the last good one where it fails; None where that is too old. ``retry``: ask even if it has just failed."""
        now_s = self._clock.monotonic_s()
        if retry or now_s >= self._next_s:
            try:
                self._last = await asyncio.wait_for(self._read(), self._deadline_s)
            except TimeoutError:
                self._failed(now_s, f"no answer within {self._deadline_s:g} s")
            except (EcovisorError, OSError) as error:
                self._failed(now_s, str(error))
            else:
                self._last_s, self.failure, self._wait_s = now_s, None, FIRST_WAIT_S
                return self._last
        return self.last

    def _failed(self, now_s: float, reason: str) -> None:
        self.failure = reason
        self._next_s = now_s + self._wait_s
        self._wait_s = min(2.0 * self._wait_s, LONGEST_WAIT_S)

    @property
    def last(self) -> T | None:
        """The last good value, unless it is too old."""
        return self._last if self.age_s <= self._max_age_s else None

    @property
    def fresh(self) -> bool:
        """Whether the last question was answered."""
        return self.failure is None and self._last is not None

    @property
    def age_s(self) -> float:
        """Wall time since the last good value; infinite where there has been none. [s]"""
        return self._clock.monotonic_s() - self._last_s

    @property
    def quality(self) -> str:
        """How the value is known now."""
        if self.last is None:
            return MISSING
        if not self.fresh:
            return str(Quality.STALE)
        return str(self._quality or getattr(self._last, "quality", Quality.MEASURED))

    def state(self) -> wire.SourceState:
        """For snapshots."""
        age_s = self.age_s
        return wire.SourceState(
            name=self.name,
            quality=self.quality,
            age_s=age_s if age_s < float("inf") else 0.0,
            detail=self.failure or self._detail,
        )

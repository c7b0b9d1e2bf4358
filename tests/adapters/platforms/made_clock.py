"""A clock that a test moves."""

from __future__ import annotations


class MadeClock:
    """Fills `ports.live.Clock`; site and wall time are the same."""

    compression = 1.0

    def __init__(self, start_s: float = 1_600_000_000.0) -> None:
        self._start_s = start_s
        self._passed_s = 0.0

    def pass_by(self, wall_s: float) -> None:
        self._passed_s += wall_s

    def site_s(self) -> float:
        return self._start_s + self._passed_s

    def wall_s(self) -> float:
        return self._start_s + self._passed_s

    def monotonic_s(self) -> float:
        return self._passed_s

    async def sleep_until(self, site_s: float) -> None:
        self._passed_s = max(self._passed_s, site_s - self._start_s)

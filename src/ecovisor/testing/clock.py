"""What every clock of a running site must do: see `ClockContract`."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from ecovisor.ports.live import Clock
from ecovisor.testing.expectations import refused


class ClockContract:
    """Inherit, and give `make()` and `let_pass(clock, duration_s)`.

    Site time never goes back and passes ``compression`` times as fast as the monotonic clock; a sleeper wakes when its instant has come,
    not before, and in the order of instants.

    Attributes:
        step_s: a duration of site time that may be waited for. [s]
        tolerance_s: how far two readings of a clock, one after the other, may lie apart. [s, site time]
    """

    step_s: float = 10.0
    tolerance_s: float = 1e-6

    def make(self) -> Clock:
        """A clock."""
        raise NotImplementedError("give make()")

    async def let_pass(self, clock: Clock, duration_s: float) -> None:
        """At least this much site time passes. [s]"""
        raise NotImplementedError("give let_pass()")

    def run(self, main: Awaitable[None]) -> None:
        """Run a coroutine on an event loop."""
        asyncio.run(main)  # type: ignore[arg-type]

    def _with_clock(self, body: Callable[[Clock], Awaitable[None]]) -> None:
        async def main() -> None:
            await body(self.make())

        self.run(main())

    def test_times_are_finite_and_the_compression_is_positive(self) -> None:
        async def body(clock: Clock) -> None:
            assert 0.0 < clock.compression < math.inf, f"compression {clock.compression!r}"
            for time_s in (clock.site_s(), clock.wall_s(), clock.monotonic_s()):
                assert math.isfinite(time_s), f"reads {time_s!r}"

        self._with_clock(body)

    def test_site_time_never_goes_back(self) -> None:
        async def body(clock: Clock) -> None:
            last_s = clock.site_s()
            for k in range(200):
                if k % 50 == 0:
                    await self.let_pass(clock, self.step_s / 10.0)
                now_s = clock.site_s()
                assert now_s >= last_s, f"went back from {last_s!r} to {now_s!r}"
                last_s = now_s

        self._with_clock(body)

    def test_compression_scales_durations(self) -> None:
        async def body(clock: Clock) -> None:
            before_s, earliest_s = clock.monotonic_s(), clock.site_s()
            from_s, latest_s = clock.monotonic_s(), clock.site_s()
            await self.let_pass(clock, self.step_s)
            until_s, end_s = clock.monotonic_s(), clock.site_s()
            after_s = clock.monotonic_s()
            assert end_s - latest_s >= self.step_s - self.tolerance_s, "less passed than was waited for"
            assert end_s - latest_s <= (after_s - before_s) * clock.compression + self.tolerance_s, "site time is too fast"
            assert end_s - earliest_s >= (until_s - from_s) * clock.compression - self.tolerance_s, "site time is too slow"

        self._with_clock(body)

    def test_a_sleeper_wakes_when_its_instant_has_come_and_not_before(self) -> None:
        async def body(clock: Clock) -> None:
            due_s = clock.site_s() + self.step_s
            seen_s: list[float] = []

            async def sleep() -> None:
                await clock.sleep_until(due_s)
                seen_s.append(clock.site_s())

            sleeper = asyncio.ensure_future(sleep())
            await self.let_pass(clock, self.step_s)
            await sleeper
            assert seen_s[0] >= due_s, f"woke at {seen_s[0]!r}, due at {due_s!r}"

        self._with_clock(body)

    def test_sleepers_wake_in_the_order_of_their_instants(self) -> None:
        async def body(clock: Clock) -> None:
            start_s = clock.site_s()
            woken: list[float] = []

            async def sleep(part: float) -> None:
                await clock.sleep_until(start_s + part * self.step_s)
                woken.append(part)

            sleepers = [asyncio.ensure_future(sleep(part)) for part in (0.9, 0.3, 0.6, 0.1)]
            for _ in range(10):
                await asyncio.sleep(0)
                await self.let_pass(clock, self.step_s / 10.0)
            await asyncio.gather(*sleepers)
            assert woken == sorted(woken), f"woke in the order {woken}"

        self._with_clock(body)

    def test_the_past_is_no_reason_to_wait(self) -> None:
        async def body(clock: Clock) -> None:
            for due_s in (clock.site_s(), clock.site_s() - 1e6, -math.inf):
                await clock.sleep_until(due_s)

        self._with_clock(body)

    def test_a_sleeper_can_be_cancelled_and_takes_nobody_along(self) -> None:
        async def body(clock: Clock) -> None:
            due_s = clock.site_s() + self.step_s
            gone, stays, never = (asyncio.ensure_future(clock.sleep_until(instant_s)) for instant_s in (due_s, due_s, math.inf))
            await asyncio.sleep(0)
            gone.cancel()
            await self.let_pass(clock, self.step_s)
            await stays
            assert gone.cancelled()
            assert not never.done(), "infinity came"
            never.cancel()
            await asyncio.wait([never])

        self._with_clock(body)

    def test_what_is_no_number_is_no_instant(self) -> None:
        async def body(clock: Clock) -> None:
            with refused(ValueError):
                await clock.sleep_until(math.nan)

        self._with_clock(body)

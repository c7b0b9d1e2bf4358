"""Clocks: site time is a line over the monotonic clock, whatever the wall clock does; a manual clock wakes who is due, in order."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecovisor.adapters.clocks import Anchor, ManualClock, RealClock

#: Examples may take their time: the machine has others to serve.
untimed = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])

COMPRESSIONS = st.floats(1e-3, 1e5)
SITE = 1_790_000_000.0


class Machine:
    """Its two clocks."""

    def __init__(self, monotonic_s: float = 5000.0, wall_s: float = SITE) -> None:
        self.monotonic_s, self.wall_s = monotonic_s, wall_s

    def passes(self, duration_s: float) -> None:
        self.monotonic_s += duration_s
        self.wall_s += duration_s

    def clock(self, anchor: Anchor) -> RealClock:
        return RealClock(anchor, monotonic=lambda: self.monotonic_s, wall=lambda: self.wall_s)


@untimed
@given(COMPRESSIONS, st.lists(st.one_of(st.floats(0.0, 1e7), st.floats(0.0, 1e-6)), max_size=20))
def test_site_time_never_goes_back_and_compression_scales_durations(compression: float, durations: list[float]) -> None:
    machine = Machine()
    clock = machine.clock(Anchor(5000.0, SITE, compression))
    assert clock.site_s() == SITE
    last_s, passed_s = SITE, 0.0
    for duration_s in durations:
        machine.passes(duration_s)
        passed_s = machine.monotonic_s - 5000.0
        assert clock.site_s() >= last_s
        last_s = clock.site_s()
    assert last_s - SITE == pytest.approx(passed_s * compression, rel=1e-6, abs=1e-5)


@untimed
@given(COMPRESSIONS, st.lists(st.tuples(st.floats(0.0, 1e4), st.sampled_from([-3600.0, 3600.0, 0.0, -86400.0])), max_size=10))
def test_setting_the_wall_clock_moves_no_site_time_and_is_told(compression: float, steps: list[tuple[float, float]]) -> None:
    set_back, left_alone = Machine(), Machine()
    anchor = Anchor(5000.0, SITE, compression)
    stepped, plain = set_back.clock(anchor), left_alone.clock(anchor)
    for duration_s, step_s in steps:
        set_back.passes(duration_s)
        left_alone.passes(duration_s)
        set_back.wall_s += step_s
        assert stepped.site_s() == plain.site_s()
    assert stepped.wall_step_s() == pytest.approx(sum(step_s for _, step_s in steps), abs=1e-3)
    assert plain.wall_step_s() == pytest.approx(0.0, abs=1e-3)


def test_processes_that_share_an_anchor_read_the_same() -> None:
    ours = RealClock.starting_at(SITE, 60.0)
    script = """
import sys, msgspec
from ecovisor.adapters.clocks import Anchor, RealClock
clock = RealClock(msgspec.json.decode(sys.argv[1], type=Anchor))
from_s = clock.monotonic_s()
print(repr(from_s), repr(clock.site_s()), repr(clock.monotonic_s()))
"""
    before_s = ours.site_s()
    text = subprocess.run(
        [sys.executable, "-c", script, msgspec.json.encode(ours.anchor).decode()], capture_output=True, text=True, check=True
    ).stdout
    after_s = ours.site_s()
    from_s, site_s, until_s = map(float, text.split())
    assert before_s <= site_s <= after_s
    at_from, at_until = (RealClock(ours.anchor, monotonic=lambda t=t: t).site_s() for t in (from_s, until_s))  # type: ignore[misc]
    assert at_from <= site_s <= at_until


def test_a_new_clock_shows_what_it_is_told_or_else_the_wall_clock() -> None:
    assert RealClock.starting_at(SITE).site_s() == pytest.approx(SITE, abs=60.0)
    ours = RealClock.starting_at()
    assert ours.site_s() == pytest.approx(ours.wall_s(), abs=1e-3)
    assert ours.compression == 1.0


@pytest.mark.parametrize("compression", [0.0, -1.0, math.nan, math.inf])
def test_a_compression_that_is_no_positive_number_is_refused(compression: float) -> None:
    with pytest.raises(ValueError, match="compression is"):
        RealClock(Anchor(0.0, 0.0, compression))
    with pytest.raises(ValueError, match="compression is"):
        ManualClock(0.0, compression)


def test_an_anchor_at_no_instant_is_refused() -> None:
    for anchor in (Anchor(math.nan, 0.0), Anchor(0.0, math.inf)):
        with pytest.raises(ValueError, match="must be finite"):
            RealClock(anchor)


def test_a_far_instant_is_slept_for_in_parts_and_met_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    clock = machine.clock(Anchor(5000.0, SITE, 10.0))
    naps: list[float] = []

    async def nap(duration_s: float) -> None:
        naps.append(duration_s)
        machine.passes(duration_s * 0.75)  # loops wake early now and then

    monkeypatch.setattr("ecovisor.adapters.clocks.asyncio.sleep", nap)
    due_s = SITE + 10.0 * 86400.0 * 3
    asyncio.run(clock.sleep_until(due_s))
    assert due_s <= clock.site_s() <= due_s + 10.0 * 0.001
    assert max(naps) <= 3600.0
    assert len(naps) < 200


# -- by hand


class Sleepers:
    """Who slept until when, and what each saw on waking."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.woken: list[tuple[float, int]] = []
        self.seen_s: list[float] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def add(self, due_s: float) -> None:
        self.tasks.append(asyncio.create_task(self._sleep(due_s, len(self.tasks))))
        await asyncio.sleep(0)

    async def _sleep(self, due_s: float, number: int) -> None:
        await self.clock.sleep_until(due_s)
        self.woken.append((due_s, number))
        self.seen_s.append(self.clock.site_s())

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@untimed
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.lists(st.integers(0, 8), max_size=8), st.data())
def test_exactly_those_wake_who_are_due_in_the_order_of_instants(dues: list[int], advances: list[int], data: st.DataObject) -> None:
    async def main() -> None:
        clock = ManualClock()
        sleepers = Sleepers(clock)
        for due in dues:
            await sleepers.add(float(due))
        gone = data.draw(st.sets(st.integers(0, len(dues) - 1)))
        for number in gone:
            sleepers.tasks[number].cancel()
        await asyncio.sleep(0)
        expected = sorted((float(due), number) for number, due in enumerate(dues) if number not in gone)
        for advance in advances:
            clock.advance_by(float(advance))
            await asyncio.sleep(0)
            assert sleepers.woken == [one for one in expected if one[0] <= clock.site_s()]
            assert clock.next_wake_s() == min((due for due, _ in expected if due > clock.site_s()), default=math.inf)
        await sleepers.end()

    asyncio.run(main())


def test_stepping_to_the_next_sleeper_lets_each_see_its_own_instant() -> None:
    async def main() -> None:
        clock = ManualClock(SITE, 60.0)
        sleepers = Sleepers(clock)
        for due_s in (7.0, 3.0, 5.0):
            await sleepers.add(SITE + due_s)
        while clock.next_wake_s() < math.inf:
            clock.advance(clock.next_wake_s())
            await asyncio.sleep(0)
        assert sleepers.seen_s == [SITE + 3.0, SITE + 5.0, SITE + 7.0]

    asyncio.run(main())


@untimed
@given(st.floats(1e-3, 1e4), st.lists(st.floats(0.0, 1e6), max_size=10))
def test_wall_and_monotonic_time_move_along(compression: float, durations: list[float]) -> None:
    clock = ManualClock(SITE, compression, wall_s=1000.0)
    for duration_s in durations:
        clock.advance_by(duration_s)
    passed_s = (clock.site_s() - SITE) / compression
    assert clock.monotonic_s() == passed_s
    assert clock.wall_s() == 1000.0 + passed_s
    assert ManualClock(SITE).wall_s() == SITE


@pytest.mark.parametrize("site_s", [SITE - 1e-6, math.nan, math.inf, -math.inf])
def test_a_hand_cannot_turn_it_back(site_s: float) -> None:
    clock = ManualClock(SITE)
    with pytest.raises(ValueError, match="time does not go back"):
        clock.advance(site_s)
    assert clock.site_s() == SITE

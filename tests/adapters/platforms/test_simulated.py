"""Simulated containers: CPU time is the integral of what they would use, capped, whenever somebody looks."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.adapters.platforms.made_clock import MadeClock

from ecovisor.adapters.platforms.simulated import SimulatedPlatform
from ecovisor.model.errors import Refused
from ecovisor.ports.live import Command, ContainerRequest, ContainerState, ContainerStatus


def play(scene: Callable[[SimulatedPlatform, MadeClock], Awaitable[None]], **options: float) -> None:
    clock = MadeClock()
    asyncio.run(_play(scene(SimulatedPlatform(clock, **options), clock)))


async def _play(scene: Awaitable[None]) -> None:
    await scene


def made(container_id: str = "1", cores_limit: float = math.inf, **variables: Any) -> ContainerRequest:
    environment = {f"ECOVISOR_SIMULATED_{name}": str(value) for name, value in variables.items()}
    return ContainerRequest("web", container_id, Command(["x"], environment=environment), cores_limit)


async def only(platform: SimulatedPlatform) -> ContainerStatus:
    (status,) = await platform.status()
    return status


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.floats(0.001, 100.0)),
        st.tuples(st.just("limit"), st.one_of(st.floats(0.0, 4.0), st.just(math.inf))),
        st.tuples(st.just("load"), st.floats(0.0, 4.0)),
        st.tuples(st.just("suspend"), st.none()),
        st.tuples(st.just("resume"), st.none()),
        st.tuples(st.just("look"), st.none()),
    ),
    max_size=30,
)


@given(happenings)
def test_cpu_time_is_the_smaller_of_load_and_limit_over_the_time_that_it_ran(steps: list[tuple[str, Any]]) -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        await platform.start(made(cores_limit=1.5, CORES=2.0))
        load, limit, runs, expected_s = 2.0, 1.5, True, 0.0
        for what, value in steps:
            if what == "pass":
                clock.pass_by(value)
                expected_s += min(load, limit) * value * runs
            elif what == "limit":
                limit = value
                assert await platform.set_cores_limit("web", "1", value) == value
            elif what == "load":
                load = value
                platform.set_load("web", "1", value)
            elif what == "look":
                assert (await only(platform)).cpu_s == pytest.approx(expected_s, abs=1e-9)
            else:
                runs = what == "resume"
                await (platform.resume if runs else platform.suspend)("web", "1")
        status = await only(platform)
        assert status.cpu_s == pytest.approx(expected_s, abs=1e-9)
        assert (status.state is ContainerState.RUNNING) == runs

    play(scene)


def test_without_a_load_it_takes_its_limit_and_without_either_one_core() -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        await platform.start(made("limited", 0.25))
        await platform.start(made("free"))
        await platform.start(made("loaded", CORES=3))
        clock.pass_by(10.0)
        assert {status.id: status.cpu_s for status in await platform.status()} == {"limited": 2.5, "free": 10.0, "loaded": 30.0}

    play(scene)


def test_a_load_may_be_a_function_of_time() -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        clock.pass_by(1000.0)
        await platform.start(made())
        platform.set_load("web", "1", lambda since_start_s: 2.0 if since_start_s < 5.0 else 0.5)
        used = []
        for _ in range(4):
            clock.pass_by(2.5)
            used.append((await only(platform)).cpu_s)
        assert used == [5.0, 10.0, 11.25, 12.5]

    play(scene)


def test_a_job_exits_after_its_cpu_time_to_the_last_bit() -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        await platform.start(made(cores_limit=0.5, CPU_S=10, EXIT_CODE=3))
        clock.pass_by(19.0)
        assert (await only(platform)).exit_code is None
        clock.pass_by(5.0)
        status = await only(platform)
        assert (status.state, status.cpu_s, status.exit_code) == (ContainerState.EXITED, 10.0, 3)
        platform.exit("web", "1", -9)
        assert (await only(platform)).exit_code == -9

    play(scene)


def test_start_times_are_wall_times() -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        clock.pass_by(7.0)
        await platform.start(made())
        assert (await only(platform)).started_wall_s == 1_600_000_007.0

    play(scene)


def test_a_smallest_limit_is_what_is_in_force_below_it() -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        await platform.start(made(cores_limit=0.001))
        assert (await only(platform)).cores_limit == 0.01
        assert await platform.set_cores_limit("web", "1", 0.0) == 0.01

    play(scene, smallest_cores=0.01)


@pytest.mark.parametrize(
    ("name", "value"), [("CORES", "many"), ("CORES", "-1"), ("CORES", "nan"), ("CPU_S", "-1"), ("EXIT_CODE", "x")]
)
def test_variables_that_are_no_numbers_are_refused(name: str, value: str) -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        with pytest.raises(Refused, match=f"ECOVISOR_SIMULATED_{name}='{value}' is no number of at least 0"):
            await platform.start(made("1", math.inf, **{name: value}))
        with pytest.raises(Refused, match="there is no command"):
            await platform.start(ContainerRequest("web", "1", Command([])))
        assert list(await platform.status()) == []

    play(scene)


def test_output_can_be_written() -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        await platform.start(made(OUTPUT="one\n"))
        platform.write("web", "1", b"two\n")
        assert await platform.logs("web", "1") == b"one\ntwo\n"
        assert await platform.logs("web", "1", max_bytes=4) == b"two\n"

    play(scene)


def test_ten_thousand_containers_are_told_apart() -> None:
    async def scene(platform: SimulatedPlatform, clock: MadeClock) -> None:
        for k in range(10_000):
            await platform.start(made(str(k), cores_limit=k / 16384.0))
        clock.pass_by(2.0)
        await platform.stop("web", "17")
        found = {status.id: status.cpu_s for status in await platform.status()}
        assert found == {str(k): k / 8192.0 for k in range(10_000) if k != 17}

    play(scene)

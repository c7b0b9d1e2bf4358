"""What everything that runs containers must do: see `PlatformContract`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ecovisor.model.errors import Refused, SettingRefused
from ecovisor.ports.live import Command, ContainerRequest, ContainerState, ContainerStatus, Platform
from ecovisor.testing.expectations import close, refused

#: A machine may be busy with other things, but not for so long. [s]
_PATIENCE_S = 30.0


class PlatformContract:
    """Inherit, and give `make()` and the commands: `busy()`, `ends(exit_code)`, `writes(text)`, `stubborn()`, `impossible()`.

    `passes(wall_s)` lets time pass and `now_s()` tells it; give your own where it is made up. `again(platform)` is the platform as a
    later server finds it.

    Attributes:
        burst_s: CPU time that a container may use beyond its limit at once: while it is started, or in the period of a quota. [s]
    """

    burst_s: float = 0.05

    def make(self) -> Platform:
        """A new platform without containers, not opened."""
        raise NotImplementedError("give make()")

    def again(self, platform: Platform) -> Platform:
        """What a later server makes, to find the containers that this one, now closed, left running; not opened."""
        return self.make()

    def busy(self) -> Command:
        """Uses all the CPU time that it gets."""
        raise NotImplementedError("give busy()")

    def ends(self, exit_code: int) -> Command:
        """Exits at once, or after a little CPU time; a negative code: ended by that signal."""
        raise NotImplementedError("give ends()")

    def writes(self, text: str) -> Command:
        """Writes a text and goes on running."""
        raise NotImplementedError("give writes()")

    def stubborn(self) -> Command:
        """Does not end when it is asked to."""
        raise NotImplementedError("give stubborn()")

    def impossible(self) -> Command:
        """Cannot be started."""
        raise NotImplementedError("give impossible()")

    def now_s(self) -> float:
        """Of a clock that time passes on. [s]"""
        return time.monotonic()

    async def passes(self, wall_s: float) -> None:
        """Let at least so much time pass. [s]"""
        await asyncio.sleep(wall_s)

    def play(self, scene: Callable[[Platform], Awaitable[None]]) -> None:
        """Run a scene on an open platform, and leave nothing running."""

        async def run() -> None:
            platform = self.make()
            await platform.open()
            try:
                await scene(platform)
            finally:
                await platform.close(stop_containers=True)

        asyncio.run(run())

    async def until(self, platform: Platform, holds: Callable[[ContainerStatus], bool], container_id: str = "1") -> ContainerStatus:
        """Wait until something holds for a container."""
        for _ in range(int(_PATIENCE_S / 0.05)):
            status = await one(platform, container_id)
            if holds(status):
                return status
            await self.passes(0.05)
        raise AssertionError(f"it did not come to that within {_PATIENCE_S:g} s: {status}")

    # -- what it says of itself

    def test_says_what_it_enforces(self) -> None:
        async def scene(platform: Platform) -> None:
            isolation = platform.isolation()
            assert isolation.platform
            assert isolation.cap_mechanism in {"cgroup-v2", "cgroup-v1", "duty-cycle", "simulated", "none"}
            assert all(note.strip() == note and "\n" not in note for note in isolation.notes), "one line each"
            if not isolation.separate_users:
                assert any("no isolation" in note for note in isolation.notes), "what is missing is said, with a remedy"

        self.play(scene)

    # -- start and limits

    def test_a_container_runs_and_its_cpu_time_grows(self) -> None:
        async def scene(platform: Platform) -> None:
            assert list(await platform.status()) == []
            await platform.start(request(self.busy()))
            first = await one(platform)
            assert (first.app, first.id, first.state) == ("web", "1", ContainerState.RUNNING)
            assert first.cores_limit == math.inf
            assert first.exit_code is None
            used_s = first.cpu_s
            for _ in range(3):
                status = await self.until(platform, lambda status: status.cpu_s > used_s)  # noqa: B023
                assert status.started_wall_s == first.started_wall_s
                used_s = status.cpu_s

        self.play(scene)

    def test_a_limit_is_in_force_from_the_first_instant(self) -> None:
        async def scene(platform: Platform) -> None:
            began_s = self.now_s()
            await platform.start(request(self.busy(), cores_limit=0.1))
            assert close((await one(platform)).cores_limit, 0.1)
            for _ in range(4):
                await self.passes(0.1)
                status = await one(platform)
                most_s = 0.1 * (self.now_s() - began_s) + self.burst_s
                assert status.cpu_s <= most_s, f"{status.cpu_s} s of CPU time where {most_s} s were allowed"

        self.play(scene)

    def test_the_limit_in_force_is_returned_and_shown(self) -> None:
        async def scene(platform: Platform) -> None:
            await platform.start(request(self.busy(), cores_limit=0.5))
            for limit_cores in (0.25, 1.5, 0.25, 0.25, math.inf, 0.75):
                in_force = await platform.set_cores_limit("web", "1", limit_cores)
                assert close(in_force, limit_cores, 1e-3) or in_force == limit_cores
                assert (await one(platform)).cores_limit == in_force
            least = await platform.set_cores_limit("web", "1", 0.0)
            assert 0.0 <= least <= 0.05, "a platform has a smallest limit"
            assert (await one(platform)).cores_limit == least

        self.play(scene)

    def test_a_limit_that_is_none_is_refused(self) -> None:
        async def scene(platform: Platform) -> None:
            await platform.start(request(self.busy(), cores_limit=0.5))
            for limit_cores in (math.nan, -0.1, -math.inf):
                with refused(SettingRefused):
                    await platform.set_cores_limit("web", "1", limit_cores)
                with refused(SettingRefused):
                    await platform.start(request(self.busy(), "2", cores_limit=limit_cores))
            assert [(status.id, status.cores_limit) for status in await platform.status()] == [("1", 0.5)]

        self.play(scene)

    # -- suspending

    def test_what_is_suspended_uses_nothing_until_it_is_resumed(self) -> None:
        async def scene(platform: Platform) -> None:
            await platform.start(request(self.busy(), cores_limit=0.5))
            await self.until(platform, lambda status: status.cpu_s > 0.01)
            for _ in range(2):
                await platform.suspend("web", "1")
            await self.passes(0.05)
            before = await one(platform)
            assert before.state is ContainerState.SUSPENDED
            assert close(await platform.set_cores_limit("web", "1", 0.75), 0.75), "a limit can be changed meanwhile"
            await self.passes(0.3)
            after = await one(platform)
            assert after.state is ContainerState.SUSPENDED, "a new limit resumes nothing"
            assert close(after.cpu_s, before.cpu_s, 1e-3), f"{after.cpu_s - before.cpu_s} s used while suspended"
            for _ in range(2):
                await platform.resume("web", "1")
            status = await self.until(platform, lambda status: status.cpu_s > after.cpu_s + 0.02)
            assert status.state is ContainerState.RUNNING
            assert close(status.cores_limit, 0.75)

        self.play(scene)

    # -- ends

    def test_how_a_container_ended_stays_until_it_is_stopped(self) -> None:
        async def scene(platform: Platform) -> None:
            codes = {"ok": 0, "failed": 3, "killed": -9}
            for container_id, exit_code in codes.items():
                await platform.start(request(self.ends(exit_code), container_id))
            final = {key: await self.until(platform, lambda status: status.state is ContainerState.EXITED, key) for key in codes}
            assert {key: status.exit_code for key, status in final.items()} == codes
            await self.passes(0.1)
            for key, status in final.items():
                assert await one(platform, key) == status, "what has ended does not change"
                await platform.suspend("web", key)
                await platform.resume("web", key)
                await platform.set_cores_limit("web", key, 0.5)
                assert (await one(platform, key)).state is ContainerState.EXITED
                with refused(Refused):
                    await platform.start(request(self.busy(), key))
                await platform.stop("web", key)
            assert list(await platform.status()) == []

        self.play(scene)

    def test_stopping_ends_and_forgets(self) -> None:
        async def scene(platform: Platform) -> None:
            await platform.stop("web", "no-such")
            commands = {"1": self.busy(), "2": self.stubborn(), "3": self.busy(), "4": self.stubborn()}
            for key, command in commands.items():
                await platform.start(request(command, key, cores_limit=0.5))
            await self.until(platform, lambda status: status.cpu_s > 0.05)
            await platform.suspend("web", "3")
            await platform.suspend("web", "4")
            await asyncio.gather(
                *(platform.stop("web", key, grace_s=0.2) for key in commands), platform.stop("web", "1", grace_s=0.2)
            )
            assert list(await platform.status()) == []
            await platform.stop("web", "1")
            await platform.start(request(self.busy(), "1", cores_limit=0.01))
            status = await one(platform)
            assert status.state is ContainerState.RUNNING
            assert status.cpu_s < 0.05, "a new container counts from 0"

        self.play(scene)

    # -- misuse

    def test_what_cannot_be_started_is_refused_and_leaves_nothing(self) -> None:
        async def scene(platform: Platform) -> None:
            with refused(Refused):
                await platform.start(request(self.impossible()))
            assert list(await platform.status()) == []
            with refused(Refused):
                await platform.logs("web", "1")
            await platform.start(request(self.busy(), cores_limit=0.1))
            assert (await one(platform)).state is ContainerState.RUNNING

        self.play(scene)

    def test_app_and_id_are_unique_together(self) -> None:
        async def scene(platform: Platform) -> None:
            await platform.start(request(self.busy(), cores_limit=0.1))
            with refused(Refused):
                await platform.start(request(self.busy(), cores_limit=0.2))
            await platform.start(request(self.busy(), app="db", cores_limit=0.3))
            await platform.start(request(self.busy(), "2", cores_limit=0.4))
            found = {(status.app, status.id): status for status in await platform.status()}
            assert {key: round(status.cores_limit, 6) for key, status in found.items()} == {
                ("web", "1"): 0.1,
                ("db", "1"): 0.3,
                ("web", "2"): 0.4,
            }
            await platform.suspend("db", "1")
            await platform.stop("web", "2")
            states = {(status.app, status.id): status.state for status in await platform.status()}
            assert states == {("web", "1"): ContainerState.RUNNING, ("db", "1"): ContainerState.SUSPENDED}

        self.play(scene)

    def test_unknown_containers_are_refused(self) -> None:
        async def scene(platform: Platform) -> None:
            await platform.start(request(self.busy(), cores_limit=0.1))
            for app, container_id in (("web", "2"), ("db", "1"), ("..", ".."), ("", "")):
                for use in (
                    platform.set_cores_limit(app, container_id, 0.5),
                    platform.suspend(app, container_id),
                    platform.resume(app, container_id),
                    platform.logs(app, container_id),
                ):
                    with refused(Refused):
                        await use

        self.play(scene)

    # -- output

    def test_output_is_kept_until_the_container_is_stopped(self) -> None:
        async def scene(platform: Platform) -> None:
            text = "".join(f"line {k}\n" for k in range(200))
            await platform.start(request(self.writes(text)))
            await platform.start(request(self.ends(0), "2"))
            for _ in range(int(_PATIENCE_S / 0.05)):
                if await platform.logs("web", "1") == text.encode():
                    break
                await self.passes(0.05)
            assert await platform.logs("web", "1") == text.encode()
            assert await platform.logs("web", "1", max_bytes=9) == b"line 199\n"
            assert await platform.logs("web", "1", max_bytes=0) == b""
            assert await platform.logs("web", "2") == b""
            await platform.stop("web", "1", grace_s=0.2)
            with refused(Refused):
                await platform.logs("web", "1")

        self.play(scene)

    # -- servers come and go

    def test_containers_go_on_when_the_server_lets_go(self) -> None:
        async def run() -> None:
            platform = self.make()
            await platform.open()
            try:
                await platform.start(request(self.busy(), cores_limit=0.3))
                await platform.start(request(self.busy(), "2", cores_limit=0.3))
                await platform.start(request(self.ends(3), "3"))
                await platform.suspend("web", "2")
                before = {key: await one(platform, key) for key in ("1", "2")}
            finally:
                await platform.close(stop_containers=False)
            platform = self.again(platform)
            await platform.open()
            try:
                await self.until(platform, lambda status: status.cpu_s > before["1"].cpu_s)
                ended = await self.until(platform, lambda status: status.state is ContainerState.EXITED, "3")
                assert ended.exit_code == 3
                for key, status in before.items():
                    now = await one(platform, key)
                    assert (now.state, now.cores_limit, now.started_wall_s) == (
                        status.state,
                        status.cores_limit,
                        status.started_wall_s,
                    )
                await platform.resume("web", "2")
                await self.until(platform, lambda status: status.cpu_s > before["2"].cpu_s + 0.02, "2")
            finally:
                await platform.close(stop_containers=True)
            platform = self.again(platform)
            await platform.open()
            try:
                assert list(await platform.status()) == []
            finally:
                await platform.close(stop_containers=True)

        asyncio.run(run())


def request(
    command: Command,
    container_id: str = "1",
    *,
    app: str = "web",
    cores_limit: float = math.inf,
    environment: Mapping[str, str] | None = None,
) -> ContainerRequest:
    """A container to be started."""
    return ContainerRequest(app, container_id, command, cores_limit, environment or {})


async def one(platform: Platform, container_id: str = "1", app: str = "web") -> ContainerStatus:
    """Status of one container, which must be there."""
    found: Sequence[ContainerStatus] = [
        status for status in await platform.status() if (status.app, status.id) == (app, container_id)
    ]
    assert len(found) == 1, f"{len(found)} containers {container_id} of {app}"
    return found[0]

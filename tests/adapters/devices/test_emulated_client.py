"""The plant's client against servers that fail: each failure is told in time, and no late answer is taken for another's."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

import pytest

from ecovisor.adapters.clocks import Anchor
from ecovisor.adapters.devices.emulated_client import EmulatedPlantClient
from ecovisor.adapters.devices.plant_protocol import Accepted, Done, Failed, Reply, State, Welcome, line_of
from ecovisor.model.errors import Refused, Unavailable
from ecovisor.ports.live import PlantReading, SetPoint

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def state(load_wh: float) -> State:
    return State(PlantReading(0.0, "e", 0.0, 0.0, 0.0, 0.0, 0.0, load_wh, 0.0, 0.0, 0.0, 0.0, 0.0))


class Server:
    """Answers as the test says; counts connections and requests."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path, self.answer = path, answer
        self.connections = self.requests = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        while line := await reader.readline():
            self.requests += 1
            await self.answer(line, writer)


def always(reply: bytes, *, then_hang_up: bool = False) -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        if then_hang_up:
            writer.close()

    return answer


class Time:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (always(b"HTTP/1.1 400 Bad Request\n"), "not the answer of a plant"),
        (always(b'{"type":"state"}\n'), "not the answer of a plant"),
        (always(b"\xff\xff\n"), "not the answer of a plant"),
        (always(b'{"type":"sta', then_hang_up=True), "hung up without an answer"),
        (always(b"", then_hang_up=True), "hung up without an answer"),
        (always(b"x" * 200_000), "limit"),
        (always(b""), "no answer in time"),
        (always(line_of(Done())), "answered Read with Done"),
        (always(line_of(Failed("unavailable", "no sun any more"))), "no sun any more"),
    ],
    ids=["no json", "half a struct", "no text", "half a line", "nothing", "endless", "silent", "other", "unavailable"],
)
def test_what_is_no_answer_is_unavailable_with_its_reason(tmp_path: Path, answer: Answer, told: str) -> None:
    async def main() -> None:
        async with Server(tmp_path / "s", answer):
            client = EmulatedPlantClient(tmp_path / "s", deadline_s=0.2)
            with pytest.raises(Unavailable, match=told):
                await client.read()
            await client.close()

    asyncio.run(main())


def test_nobody_there_is_unavailable_with_the_reason(tmp_path: Path) -> None:
    async def main() -> None:
        client = EmulatedPlantClient(tmp_path / "s")
        with pytest.raises(Unavailable, match=r"plant at .*/s: no such file"):
            await client.open()
        await client.close()
        await client.close()

    asyncio.run(main())


def test_a_refusal_is_no_failure_of_the_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with Server(tmp_path / "s", always(line_of(Failed("refused", "too much")))) as server:
            client = EmulatedPlantClient(tmp_path / "s", deadline_s=10.0)
            for _ in range(3):
                with pytest.raises(Refused, match="too much"):
                    await client.command(SetPoint(1.0))
            assert (server.connections, server.requests) == (1, 3)
            await client.close()

    asyncio.run(main())


def test_after_a_failure_calls_fail_at_once_for_a_pause_that_doubles_up_to_a_bound(tmp_path: Path) -> None:
    async def main() -> None:
        time = Time()
        async with Server(tmp_path / "s", always(b"nonsense\n")) as server:
            client = EmulatedPlantClient(tmp_path / "s", deadline_s=10.0, monotonic=time)
            pauses = []
            for attempt in range(1, 9):
                with pytest.raises(Unavailable, match="not the answer"):
                    await client.read()
                with pytest.raises(Unavailable, match=r"not the answer .*; next try in"):
                    await client.read()
                assert server.requests == attempt, "it asked during the pause"
                pauses.append(client._retry_s - time.now_s)
                time.now_s = client._retry_s
            assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
            server.answer = always(line_of(state(1.0)))
            assert (await client.read()).load_wh == 1.0
            assert client._failures == 0
            await client.close()

    asyncio.run(main())


def test_a_late_answer_is_never_taken_for_that_of_another_question(tmp_path: Path) -> None:
    async def main() -> None:
        slow = asyncio.Event()
        count = 0

        async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            number = count
            if number == 1:
                await slow.wait()
            writer.write(line_of(state(float(number))))

        time = Time()
        async with Server(tmp_path / "s", answer) as server:
            client = EmulatedPlantClient(tmp_path / "s", deadline_s=0.05, monotonic=time)
            with pytest.raises(Unavailable, match="no answer in time"):
                await client.read()
            slow.set()
            time.now_s += 10.0
            client.deadline_s = 10.0
            assert (await client.read()).load_wh == 2.0
            assert server.connections == 2
            await client.close()

    asyncio.run(main())


def test_a_call_that_is_cancelled_leaves_no_answer_behind(tmp_path: Path) -> None:
    async def main() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()
        count = 0

        async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            count += 1
            number = count
            if number == 1:
                asked.set()
                await go_on.wait()
            writer.write(line_of(state(float(number))))

        async with Server(tmp_path / "s", answer):
            client = EmulatedPlantClient(tmp_path / "s", deadline_s=10.0)
            call = asyncio.create_task(client.read())
            await asked.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            go_on.set()
            assert (await client.read()).load_wh == 2.0
            await client.close()

    asyncio.run(main())


def test_a_plant_that_was_started_anew_meanwhile_is_asked_again_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        client = EmulatedPlantClient(tmp_path / "s", deadline_s=10.0)
        for load_wh in (1.0, 2.0):
            async with Server(tmp_path / "s", always(line_of(state(load_wh)))):
                assert (await client.read()).load_wh == load_wh
            (tmp_path / "s").unlink(missing_ok=True)
        await client.close()

    asyncio.run(main())


def test_calls_that_overlap_get_their_own_answers(tmp_path: Path) -> None:
    async def main() -> None:
        async def answer(line: bytes, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0)
            reply: Reply = state(7.0)
            if b"hello" in line:
                reply = Welcome(1, "e", Anchor(0.0, 0.0), None, 1.0, "a plant")
            elif b"command" in line:
                reply = Accepted(1.0, 0.0, None)
            writer.write(line_of(reply))

        async with Server(tmp_path / "s", answer) as server:
            client = EmulatedPlantClient(tmp_path / "s", deadline_s=10.0)
            answers = await asyncio.gather(*(call() for call in (client.read, client.welcome, client.anchor) * 5))
            assert [type(one) for one in answers] == [PlantReading, Welcome, Anchor] * 5
            assert await client.command(SetPoint(1.0)) == SetPoint(1.0)
            assert server.connections == 1
            assert client.describe() == f"a plant, process 1 at {tmp_path / 's'}"
            await client.close()

    asyncio.run(main())


def test_who_waits_too_long_for_others_says_so_and_disturbs_them_not(tmp_path: Path) -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
            await go_on.wait()
            writer.write(line_of(state(3.0)))

        async with Server(tmp_path / "s", answer) as server:
            client = EmulatedPlantClient(tmp_path / "s", deadline_s=10.0)
            first = asyncio.create_task(client.read())
            await asyncio.sleep(0)
            client.deadline_s = 0.02
            with pytest.raises(Unavailable, match="busy with other calls"):
                await client.read()
            go_on.set()
            assert (await first).load_wh == 3.0
            assert server.connections == 1
            await client.close()

    asyncio.run(main())


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_does_not_leave_the_house(wrong: float) -> None:
    async def main() -> None:
        client = EmulatedPlantClient(Path("nowhere"))
        for call in (
            lambda: client.draw(wrong),
            lambda: client.set_sun(wrong),
            lambda: client.command(SetPoint(wrong)),
            lambda: client.command(SetPoint(0.0, wrong)),
        ):
            with pytest.raises(Refused):
                await call()
        with pytest.raises(Refused):
            await client.command(SetPoint(export_limit_w=math.nan))

    asyncio.run(main())

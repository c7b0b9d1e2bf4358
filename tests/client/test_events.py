"""Events through broken connections, restarts and garbage: each once, in order, the late ones marked. Faults are injected on the wire."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.colours import Play, both_colours, played_site
from tests.client.played_server import TOKEN, Faults, PlayedServer

from ecovisor import connect, connect_async
from ecovisor.client import AsyncApp, Event
from ecovisor.model.errors import AuthenticationError, Unavailable


def broken_stream(*answers: bytes) -> Callable[[PlayedServer], None]:
    """The stream is cut, and opening it anew gets these bytes first."""

    def strike(server: PlayedServer) -> None:
        server.faults.only = "/v1/events"
        server.faults.raw.extend(answers)
        server.drop_streams()

    return strike


def problems(*answers: tuple[int, str, bytes]) -> Callable[[PlayedServer], None]:
    """The next requests are answered so."""
    return lambda server: server.faults.problems.extend(answers)


def raw(*answers: bytes) -> Callable[[PlayedServer], None]:
    """The next requests get these bytes, and a closed connection."""
    return lambda server: server.faults.raw.extend(answers)


_SLOW_DOWN = b'{"type":"tag:throttled","title":"","status":429,"detail":"too many requests"}'
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_PAGE = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"

#: What can happen to a server or a stream between two ticks; none of it may lose an event.
MISFORTUNES: dict[str, Callable[[PlayedServer], None]] = {
    "the stream is cut": PlayedServer.drop_streams,
    "the server restarts": PlayedServer.restart,
    "every stream breaks after one event": lambda server: setattr(server.faults, "cut_streams_after", 1),
    "busy": problems((503, "retry-after: 0\r\n", b"no"), (502, "", b"<html>"), (429, "", _SLOW_DOWN)),
    "no HTTP": raw(b"\x16\x03\x01\x02", b"SSH-2.0-OpenSSH\r\n\r\n", b""),
    "half an answer": raw(b'HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{"app"'),
    "JSON that is no answer": problems((200, "content-type: application/json\r\n", b'{"app": 3}')),
    "a stream of something else": broken_stream(_STREAM + b"data: {nothing\n\n", _PAGE, _STREAM + b'data: {"id": 3}\n\n'),
    "a stream that ends at once": broken_stream(_STREAM, _STREAM + b": here I am\n\n"),
    "half an event": broken_stream(_STREAM + b'id: 900.0\nevent: tick\ndata: {"id": "900.0"'),
}


async def ticks_of(app: AsyncApp, server: PlayedServer, count: int, before: Callable[[int], None] = lambda _: None) -> list[Event]:
    """The events of so many ticks, each passed when the one before has been read."""
    found: list[Event] = []
    async for event in app.events():
        found.append(event)
        if len(found) == count:
            break
        before(len(found))
        if len(found) > server.site.tick:
            server.tick()
    return found


@both_colours
@pytest.mark.parametrize("misfortune", MISFORTUNES)
def test_no_tick_is_lost_whatever_happens_between(misfortune: str, server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> list[Event]:
        return await ticks_of(app, server, 6, lambda k: MISFORTUNES[misfortune](server) if k == 3 else None)

    found = play(server, scenario)
    assert [event.tick for event in found] == [0, 1, 2, 3, 4, 5]
    assert {event.kind for event in found} == {"tick"}
    assert not any(event.late for event in found)
    assert not server.faults.problems
    assert not server.faults.raw


@both_colours
def test_ticks_that_passed_meanwhile_are_told_in_order_and_late(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> list[tuple[int, bool]]:
        def away(read: int) -> None:
            if read == 2:
                server.restart(4)

        return [(event.tick, event.late) for event in await ticks_of(app, server, 7, away)]

    assert play(server, scenario) == [(0, False), (1, False), (2, True), (3, True), (4, True), (5, False), (6, False)]
    snapshots = server.paths().count("/v1/energy")
    assert snapshots <= 2 + 2 + 3, "late ticks need no snapshot of their own"


@both_colours
def test_late_ticks_are_not_answered_but_counted(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> tuple[list[int], int]:
        answered: list[int] = []

        def slow(energy: AsyncApp, _: AsyncApp) -> None:
            answered.append(energy.snapshot.tick)
            server.tick(3)

        app.on_tick(slow)
        await app.run(4)
        return answered, app.late_ticks

    assert play(server, scenario) == ([0, 3, 6, 9], 6)
    assert [one.body for one in server.asked if one.path == "/v1/app/tick"] == [b'{"tick":%d}' % k for k in (0, 3, 6, 9)]


@both_colours
def test_other_events_come_between_their_ticks(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> list[tuple[str, int, float | None]]:
        found = []
        async for event in app.events():
            found.append((event.kind, event.tick, event.value))
            if len(found) == 1:
                server.tick()
                server.tell("solar_change", 12.5)
                server.tell("later_kind_of_event")
                server.drop_streams()
                server.tick()
            if event.tick == 2:
                return found
        raise AssertionError

    assert play(server, scenario) == [
        ("tick", 0, None),
        ("tick", 1, None),
        ("solar_change", 1, 12.5),
        ("later_kind_of_event", 1, None),
        ("tick", 2, None),
    ]


@both_colours
def test_what_is_told_twice_is_heard_once(server: PlayedServer, play: Play) -> None:
    server.faults.repeat_events = True

    async def scenario(app: AsyncApp) -> list[int]:
        return [event.tick for event in await ticks_of(app, server, 6, lambda k: server.drop_streams() if k % 2 else None)]

    assert play(server, scenario) == [0, 1, 2, 3, 4, 5]


@both_colours
def test_what_the_server_has_forgotten_is_said_to_be_missed(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> list[tuple[str, int, bool]]:
        def away(read: int) -> None:
            if read == 2:
                server.faults.forget_events = True
                server.restart(3)
                server.on_stream = server.tick_here

        return [(event.kind, event.tick, event.late) for event in await ticks_of(app, server, 4, away)]

    assert play(server, scenario) == [("tick", 0, False), ("tick", 1, False), ("missed", 2, True), ("tick", 5, False)]


@both_colours
def test_a_site_that_began_anew_is_followed_from_its_beginning(server: PlayedServer, play: Play) -> None:
    server.tick(7)

    async def scenario(app: AsyncApp) -> list[int]:
        seen = []
        async for event in app.events():
            seen.append(event.tick)
            if len(seen) == 2:
                server.down()
                server.begin_anew(played_site())
                server.start()
            elif len(seen) == 5:
                break
            else:
                server.tick()
        return seen

    assert play(server, scenario) == [7, 8, 0, 1, 2]


@both_colours
def test_a_silent_server_is_left_and_found_again(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> list[int]:
        def silent(read: int) -> None:
            server.faults.silent = read == 2
            if read == 2:
                server.tick()
                server.drop_streams()
                threading.Timer(0.4, lambda: setattr(server.faults, "silent", False)).start()

        return [event.tick for event in await ticks_of(app, server, 5, silent)]

    assert play(server, scenario, silence_s=0.2, timeout_s=0.2) == [0, 1, 2, 3, 4]


@both_colours
def test_heart_beats_keep_a_quiet_stream(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        assert await app.next_event() is not None
        threading.Timer(1.6, server.tick).start()
        event = await app.next_event()
        assert event is not None
        assert event.tick == 1

    play(server, scenario, silence_s=1.0)
    assert server.paths().count("/v1/events") == 1


@both_colours
def test_a_stream_that_only_pretends_to_live_is_left_after_the_deadline(server: PlayedServer, play: Play) -> None:
    server.faults.silent = True

    async def scenario(app: AsyncApp) -> None:
        await app.next_event()

    with pytest.raises(Unavailable, match="did not answer within"):
        play(server, scenario, timeout_s=0.2)


@both_colours
def test_patience_has_an_end_where_one_is_given(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        await app.next_event()
        server.down()
        with pytest.raises(Unavailable, match="cannot be reached|broke the connection|ended"):
            await app.wait_for_tick()
        server.start()

    play(server, scenario, give_up_s=0.1)


@both_colours
def test_a_token_that_is_no_longer_accepted_ends_the_events(server: PlayedServer, play: Play) -> None:
    async def scenario(app: AsyncApp) -> None:
        await app.next_event()
        await app.refresh()
        server.token = "another"
        server.tick()
        with pytest.raises(AuthenticationError, match="not accepted"):
            await app.wait_for_tick()

    play(server, scenario)


@both_colours
def test_a_policy_outlives_a_server_that_is_away_while_it_runs(
    server: PlayedServer, play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(app: AsyncApp) -> list[int]:
        answered: list[int] = []

        def back() -> None:
            server.start()
            server.tick()

        async def tick(energy: AsyncApp, _: AsyncApp) -> None:
            if energy.snapshot.tick == 2:
                server.down()
                threading.Timer(0.2, back).start()
            await energy.set_battery_charge_rate(1.0)
            answered.append(energy.snapshot.tick)

        def pass_on(energy: AsyncApp, _: AsyncApp) -> None:
            server.tick()

        app.on_tick(tick)
        app.on_tick(pass_on)
        await app.run(5)
        return answered

    with caplog.at_level(logging.INFO, "ecovisor.client"):
        assert play(server, scenario) == [0, 1, 3, 4]
    text = caplog.text
    assert "tick 2 was not answered" in text
    assert "back after" in text


@both_colours
def test_closing_ends_what_waits_wherever_it_waits(server: PlayedServer, play: Play) -> None:
    for away in (False, True):
        if play.colour == "blocking":
            with connect(server.url, TOKEN) as app:
                assert app.next_event() is not None
                if away:
                    server.down()
                closing = threading.Timer(0.3, app.close)
                closing.start()
                assert app.wait_for_tick() is None
                closing.join()
        else:

            async def later(away: bool = away) -> None:
                app = await connect_async(server.url, TOKEN)
                assert await app.next_event() is not None
                if away:
                    server.down()
                waiting = asyncio.ensure_future(app.wait_for_tick())
                await asyncio.sleep(0.3)
                await app.close()
                assert await asyncio.wait_for(waiting, 5) is None

            asyncio.run(later())
        if away:
            server.start()


def test_a_task_that_is_cancelled_leaves_nothing_open_and_may_go_on(server: PlayedServer) -> None:
    async def run() -> None:
        async with await connect_async(server.url, TOKEN) as app:
            assert await app.next_event() is not None
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(app.next_event(), 0.2)
            server.tick()
            event = await asyncio.wait_for(app.next_event(), 10)
            assert event is not None
            assert event.tick == 1

    asyncio.run(run())


@pytest.fixture(scope="module")
def lasting() -> Iterator[PlayedServer]:
    with PlayedServer(played_site(days=30.0)) as server:
        yield server


@settings(max_examples=10, deadline=None)
@given(script=st.lists(st.sampled_from(["tick", "ticks", *MISFORTUNES]), min_size=1, max_size=8))
def test_any_sequence_of_ticks_and_misfortunes_gives_every_tick_once_in_order(lasting: PlayedServer, script: list[str]) -> None:
    server = lasting
    server.faults = Faults()
    with connect(server.url, TOKEN) as app:
        first = app.next_event()
        assert first is not None
        seen = [first.tick]
        for step in [*script, "tick"]:
            if step in MISFORTUNES:
                MISFORTUNES[step](server)
            else:
                server.tick(1 if step == "tick" else 3)
        while seen[-1] < server.site.tick:
            event = app.next_event()
            assert event is not None
            assert event.kind == "tick"
            assert event.late == (event.tick < server.site.tick)
            seen.append(event.tick)
        assert seen == list(range(first.tick, server.site.tick + 1))

"""A stream of events tells everything once and in order, goes on where its reader stopped, and ends when it should; read by httpx-sse."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from httpx_sse import ServerSentEvent, connect_sse
from tests.api.serving import Site, read_all, serving

from ecovisor import wire
from ecovisor.api.limits import Limits
from ecovisor.api.listening import Tcp, Unix
from ecovisor.model.errors import Unavailable


@contextlib.contextmanager
def stream(site: Site, app: str | None = "app", path: str = "/v1/events", **more: Any) -> Iterator[Iterator[ServerSentEvent]]:
    with site.client(app) as client, connect_sse(client, "GET", path, **more) as source:
        assert source.response.status_code == 200
        yield (event for event in source.iter_sse() if event.data)


def take(events: Iterator[ServerSentEvent], count: int) -> list[ServerSentEvent]:
    return list(itertools.islice(events, count))


def wait_for_streams(site: Site, count: int) -> None:
    """Until as many streams are open."""

    async def waiting() -> None:
        while site.interface.streams.count != count:
            await asyncio.sleep(0.005)

    site.run(asyncio.wait_for(waiting(), 20))


def test_every_tick_is_told_once_with_its_id_and_kind() -> None:
    with serving() as site, stream(site) as events:
        wait_for_streams(site, 1)
        for _ in range(3):
            site.call(lambda: site.backend.advance(("app", "battery_full", 62.5)))
        told = take(events, 6)
    assert [event.id for event in told] == ["2.0", "2.1", "3.0", "3.1", "4.0", "4.1"]
    assert [event.event for event in told] == ["tick", "battery_full"] * 3
    for event in told:
        told_as = msgspec.json.decode(event.data, type=wire.Notification)
        assert (told_as.id, told_as.kind, told_as.app) == (event.id, event.event, "app")
        assert told_as.value == (62.5 if told_as.kind == "battery_full" else None)


@pytest.mark.parametrize("how", ["header", "query"])
def test_a_reader_goes_on_where_it_stopped(how: str) -> None:
    with serving() as site:
        for _ in range(4):
            site.call(lambda: site.backend.advance(("app", "solar_change", 1.0)))
        more: dict[str, Any] = {"headers": {"Last-Event-ID": "3.0"}} if how == "header" else {"params": {"after": "3.0"}}
        with stream(site, **more) as events:
            assert [event.id for event in take(events, 5)] == ["3.1", "4.0", "4.1", "5.0", "5.1"]


def test_the_header_of_a_reconnecting_reader_goes_before_the_address_it_began_with() -> None:
    with serving() as site:
        site.call(site.backend.advance)
        site.call(site.backend.advance)
        with stream(site, headers={"Last-Event-ID": "2.0"}, params={"after": "1.0"}) as events:
            assert take(events, 1)[0].id == "3.0"


def test_a_new_reader_begins_with_what_comes() -> None:
    with serving() as site:
        site.call(site.backend.advance)
        with stream(site) as events:
            wait_for_streams(site, 1)
            site.call(site.backend.advance)
            assert take(events, 1)[0].id == "3.0"


def test_only_the_kinds_asked_for_are_told() -> None:
    with serving() as site:
        for _ in range(3):
            site.call(lambda: site.backend.advance(("app", "solar_change", 1.0), ("app", "gap", None)))
        with stream(site, params={"after": "1.0", "kinds": "gap,solar_change"}) as events:
            told = take(events, 4)
    assert [event.id for event in told] == ["2.1", "2.2", "3.1", "3.2"]


def test_an_app_hears_its_own_events_and_the_operator_all() -> None:
    with serving() as site:
        site.call(lambda: site.backend.advance(("app", "battery_full", 1.0), ("neighbour", "battery_empty", 0.0)))
        with stream(site, "neighbour", params={"after": "1.5"}) as events:
            assert [event.id for event in take(events, 2)] == ["2.0", "2.2"]
        with stream(site, None, "/v1/admin/events", params={"after": "1.5"}) as events:
            assert [event.id for event in take(events, 3)] == ["2.0", "2.1", "2.2"]
        with stream(site, None, params={"after": "1.5", "app": "app"}) as events:
            assert [event.id for event in take(events, 2)] == ["2.0", "2.1"]


def test_a_reader_that_sleeps_loses_nothing_and_nothing_is_queued_for_it() -> None:
    ticks, many = 4, [("app", "solar_change", float(k)) for k in range(2000)]
    with serving() as site, socket.socket() as connection, contextlib.ExitStack() as stack:
        site.server._running[0]._bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(20)
        connection.connect(site.address)
        request = f"GET /v1/events?after=1.0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {site.token['app']}\r\n\r\n"
        connection.sendall(request.encode())
        wait_for_streams(site, 1)
        for _ in range(ticks):
            site.call(lambda: site.backend.advance(*many))
        site.run(asyncio.wait_for(paused(site), 20))
        response = stack.enter_context(contextlib.closing(HTTPResponse(connection)))
        response.begin()
        expected = [f"{tick}.{number}" for tick in range(2, ticks + 2) for number in range(2001)]
        ids: list[str] = []
        while len(ids) < len(expected):
            line = response.readline()
            assert line, "the stream ended"
            if line.startswith(b"id: "):
                ids.append(line[4:].strip().decode())
    assert ids == expected


async def paused(site: Site) -> None:
    """Until a connection takes no more to send."""
    (running,) = site.server._running
    connections: set[Any] = set(running._server.server_state.connections)
    while not any(one.flow.write_paused for one in connections):
        await asyncio.sleep(0.005)


def test_a_quiet_stream_shows_signs_of_life() -> None:
    with serving(limits=Limits(heartbeat_s=0.02)) as site, site.client() as client, client.stream("GET", "/v1/events") as answer:
        received = b""
        for part in answer.iter_raw():
            received += part
            if received.count(b":\n\n") >= 3:
                break
    assert received.startswith(b"retry: ")


def test_a_client_that_is_gone_is_noticed() -> None:
    with serving() as site:
        with stream(site):
            wait_for_streams(site, 1)
        wait_for_streams(site, 0)


def test_a_half_closed_client_is_noticed() -> None:
    with serving() as site:
        request = f"GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {site.token['app']}\r\n\r\n".encode()
        with socket.create_connection(site.address, timeout=20) as connection:
            connection.sendall(request)
            wait_for_streams(site, 1)
            connection.shutdown(socket.SHUT_WR)
            wait_for_streams(site, 0)
            assert b"200 OK" in read_all(connection), "and closed by the server"


def test_a_server_that_stops_ends_its_streams() -> None:
    with serving() as site, stream(site) as events:
        wait_for_streams(site, 1)
        stopping = threading.Thread(target=lambda: site.run(site.server.stop()))
        stopping.start()
        assert list(events) == [], "the stream ends in order, not with an error"
        stopping.join()


def test_a_replaced_token_ends_its_streams() -> None:
    with serving() as site, stream(site) as events, stream(site, "neighbour") as others:
        wait_for_streams(site, 2)
        with site.client(None) as operator:
            operator.post("/v1/admin/apps/app/token").raise_for_status()
        assert list(events) == []
        site.call(site.backend.advance)
        assert take(others, 1)[0].id == "2.0", "the others go on"


def test_an_expired_token_ends_its_streams() -> None:
    with serving(limits=Limits(heartbeat_s=0.02)) as site:
        with site.client(None) as operator:
            token = operator.post("/v1/admin/apps/app/token", params={"lifetime": "1h"}).json()["token"]
        with stream(site, headers={"Authorization": f"Bearer {token}"}) as events:
            wait_for_streams(site, 1)
            site.call(lambda: site.backend.clock.advance_by(3600.0))
            assert list(events) == []


def test_a_socket_that_is_closed_ends_its_streams(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    with serving([Tcp(), Unix(path, "app")]) as site:
        transport = httpx.HTTPTransport(uds=str(path), verify=False)
        client = httpx.Client(transport=transport, base_url="http://x", timeout=20)
        with client, connect_sse(client, "GET", "/v1/events") as source:
            wait_for_streams(site, 1)
            site.run(site.server.unlisten("app"))
            assert [event for event in source.iter_sse() if event.data] == []


def test_an_app_that_leaves_hears_no_more() -> None:
    with serving() as site, stream(site) as events:
        wait_for_streams(site, 1)
        with site.client(None) as operator:
            operator.delete("/v1/admin/apps/app").raise_for_status()
        site.call(site.backend.advance)
        assert list(events) == []


def test_one_app_may_not_open_any_number_of_streams() -> None:
    with serving(limits=Limits(max_streams=2)) as site, stream(site), stream(site):
        wait_for_streams(site, 2)
        with site.client() as client:
            answer = client.get("/v1/events")
            assert (answer.status_code, answer.json()["bound"]) == (429, 2)
        with site.client("neighbour") as client, client.stream("GET", "/v1/events") as other:
            assert other.status_code == 200


@pytest.mark.parametrize("bad", ["5", "5.", "a.b", "-1.0", "1.0x", "1" * 40 + ".0"])
def test_an_id_that_is_none_is_refused(bad: str) -> None:
    with serving() as site, site.client() as client:
        answer = client.get("/v1/events", headers={"Last-Event-ID": bad})
        assert (answer.status_code, answer.json()["field"]) == (422, "last-event-id")


def test_events_that_cannot_be_read_are_a_problem_and_not_a_stream() -> None:
    with serving() as site, site.client() as client:
        site.backend.faults["events_since"] = Unavailable("the ledger is silent")
        assert client.get("/v1/events").status_code == 503


def test_a_fault_in_the_middle_ends_the_stream_so_that_the_reader_comes_back() -> None:
    with serving() as site, site.client() as client, connect_sse(client, "GET", "/v1/events") as source:
        wait_for_streams(site, 1)
        site.backend.faults["events_since"] = Unavailable("the ledger is silent")
        site.call(site.backend.advance)
        assert [event for event in source.iter_sse() if event.data] == []
        wait_for_streams(site, 0)

"""Whatever is thrown at the server: an answer below 500, or a closed connection; no hang, nothing of anybody else's; and it goes on."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator

import msgspec
import pytest
from tests.api.serving import Site, read_all, serving

from ecovisor import wire
from ecovisor.api.limits import Limits

JSON = {"content-type": "application/json"}
QUICK = Limits(header_timeout_s=0.15, body_timeout_s=0.15, keep_alive_s=0.15, send_timeout_s=0.15)


@pytest.fixture(autouse=True)
def goes_on_serving(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test with the shared server it still answers its apps, as before."""
    yield
    if "site" in request.fixturenames:
        running: Site = request.getfixturevalue("site")
        with running.client() as client:
            assert client.get("/v1/energy").json()["app"] == "app"


def head(method: bytes, path: bytes, site: Site, *more: bytes, app: str | None = "app") -> bytes:
    lines = [b"%b %b HTTP/1.1" % (method, path), b"host: x", f"authorization: Bearer {site.token[app]}".encode(), *more, b"", b""]
    return b"\r\n".join(lines)


def status(answer: bytes) -> int:
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found is not None, answer[:200]
    return int(found[1])


def problem(answer: bytes) -> wire.Problem:
    top, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in top
    return msgspec.json.decode(body, type=wire.Problem)


# -- bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"charge_rate_w": 5',
        b"charge_rate_w=5",
        b"\xff\xfe{}",
        b"\x00",
        b'{"charge_rate_w": 5}}',
        b"nul",
        b'{"a": "\\ud800"}',
        b"{'a': 1}",
    ],
)
def test_what_is_no_json_is_malformed(site: Site, body: bytes) -> None:
    with site.client() as client:
        answer = client.patch("/v1/battery", content=body, headers=JSON)
    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"5", b'"x"', b"true", b'{"charge_rate_w": {"$ref": "x"}}', b'{"\xff": 1}', b'{"__proto__": 1}']
)
def test_json_that_is_no_setting_is_refused(site: Site, body: bytes) -> None:
    with site.client() as client:
        assert client.patch("/v1/battery", content=body, headers=JSON).status_code in {400, 422}


@pytest.mark.parametrize("path", ["/v1/battery", "/v1/app"])
@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"charge_rate_w":[', b'{"metrics":{"a":['])
def test_deep_nesting_is_refused(site: Site, path: str, opening: bytes) -> None:
    with site.client() as client:
        for deep in (opening * (65_536 // len(opening)), b'{"metrics":{"a":' + opening * 1000):
            assert client.patch(path, content=deep, headers=JSON).status_code in {400, 422}
            assert client.put("/v1/app/metrics", content=deep, headers=JSON).status_code in {400, 422}


def test_a_truncated_body_is_noticed(site: Site) -> None:
    request = head(b"PATCH", b"/v1/battery", site, b"content-type: application/json", b"content-length: 100")
    before = site.backend.snapshot("app").body
    assert site.raw(request, b'{"charge_rate_w": 9.0}', half_close=True) == b"", "there is nobody left to answer"
    assert site.backend.snapshot("app").body == before


def test_a_body_that_says_it_is_huge_is_refused_before_it_comes(site: Site) -> None:
    request = head(b"PATCH", b"/v1/battery", site, b"content-type: application/json", b"content-length: 10000000000")
    answer = site.raw(request)
    assert status(answer) == 413
    assert problem(answer).bound == site.interface.limits.max_body_bytes
    assert b"connection: close" in answer


def test_a_client_that_asks_first_is_not_told_to_go_on_with_a_huge_body(site: Site) -> None:
    lines = [b"content-type: application/json", b"content-length: 10000000000", b"expect: 100-continue"]
    answer = site.raw(head(b"PATCH", b"/v1/battery", site, *lines))
    assert status(answer) == 413


def test_a_body_a_little_too_large_gets_its_answer(site: Site) -> None:
    with site.client() as client:
        for size in (65_537, 100_000, 900_000):
            answer = client.patch("/v1/battery", content=b" " * size, headers=JSON)
            assert (answer.status_code, answer.json()["bound"]) == (413, 65_536)
        exactly = b'{"charge_rate_w": 1.0}'.ljust(65_536)
        assert client.patch("/v1/battery", content=exactly, headers=JSON).status_code == 200


def test_chunks_without_end_are_cut_off(site: Site) -> None:
    request = head(b"PATCH", b"/v1/battery", site, b"content-type: application/json", b"transfer-encoding: chunked")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert status(site.raw(request, *[chunk] * 40)) == 413


def test_a_huge_body_where_none_is_wanted_does_no_harm(site: Site) -> None:
    request = head(b"GET", b"/v1/energy", site, b"content-length: 1000000000", b"connection: close")
    assert status(site.raw(request, b"x" * 100_000)) == 200


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
        "application/jsonp",
        "x" * 3000,
        "application/xml; a=application/json",
    ],
)
def test_only_json_is_taken(site: Site, media: str) -> None:
    with site.client() as client:
        headers = {"content-type": media} if media else {}
        answer = client.patch("/v1/battery", content=b'{"charge_rate_w": 1}', headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (415, "tag:media-type")
    assert len(answer.content) < 1000


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "Application/JSON", "application/json;"])
def test_json_may_be_said_in_several_ways(site: Site, media: str) -> None:
    with site.client() as client:
        assert client.patch("/v1/battery", content=b'{"charge_rate_w": 1}', headers={"content-type": media}).status_code == 200


# -- paths and methods

TRICKS = [
    "/v1/containers/..",
    "/v1/containers/%2e%2e",
    "/v1/containers/%2e%2e%2f%2e%2e%2fadmin%2fsite",
    "/v1/containers/../admin/site",
    "/v1/admin/../energy",
    "/v1//energy",
    "//v1/energy",
    "/v1/energy/",
    "/v1/energy%00",
    "/v1/containers/%00",
    "/v1/containers/c1%00",
    "/v1/containers/c1%0d%0aset-cookie:%20x",
    "/v1/containers/c1/logs/../../../../etc/passwd",
    "/v1/containers/%c0%ae%c0%ae",
    "/v1/containers/" + "c" * 2000,
    "/v1/containers/c1;app=neighbour",
    "/v1/containers/%ff%fe",
    "/V1/ENERGY",
    "/v1/forecast/carbon%2f..",
    "/.git/config",
    "/docs/../openapi.json",
    "/v1/callbacks/..%5c..%5c",
    "/v1/energy#x",
]


@pytest.mark.parametrize("path", TRICKS)
def test_tricks_with_paths_find_nothing(site: Site, path: str) -> None:
    answer = site.raw(head(b"GET", path.encode(), site, b"connection: close"))
    assert status(answer) in {400, 404} or (path.endswith("#x") and status(answer) == 200)
    assert b"neighbour" not in answer
    assert b"root:" not in answer
    assert b"set-cookie" not in answer.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_a_wrong_method_is_told_the_right_ones(site: Site, method: str) -> None:
    answer = site.raw(head(method.encode(), b"/v1/energy", site, b"connection: close"))
    if method == "CONNECT":
        assert status(answer) in {400, 405}
        return
    assert status(answer) == 405
    assert b"allow: GET, HEAD" in answer
    assert problem(answer).remedy == "use GET, HEAD"


def test_unknown_ids_are_not_found(site: Site) -> None:
    with site.client() as client:
        for method, path in (
            ("GET", "/v1/containers/c99"),
            ("DELETE", "/v1/containers/c99"),
            ("GET", "/v1/callbacks/zz"),
            ("DELETE", "/v1/callbacks/zz"),
        ):
            assert client.request(method, path).status_code == 404
    with site.client(None) as client:
        assert client.delete("/v1/admin/apps/nobody").status_code == 404
        assert client.post("/v1/admin/apps/nobody/token").status_code == 404
        assert client.get("/v1/energy?app=nobody").status_code == 404


# -- what is no HTTP


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        b"HELO x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/energy\r\n\r\n",
        b"GET \x00 HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
        b"POST /v1/containers HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
        b"POST /v1/containers HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_and_closed(site: Site, bytes_sent: bytes) -> None:
    answer = site.raw(bytes_sent, half_close=False)
    assert status(answer) in {400, 401, 404, 405}
    assert b"Traceback" not in answer


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c", b"TLS/1.0"])
def test_an_upgrade_is_not_taken_up(site: Site, upgrade: bytes) -> None:
    lines = [
        b"connection: upgrade",
        b"upgrade: " + upgrade,
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        b"sec-websocket-version: 13",
    ]
    with socket.create_connection(site.address, timeout=20) as connection:
        connection.sendall(head(b"GET", b"/v1/energy", site, *lines))
        assert status(connection.recv(65536)) in {200, 400}


def test_headers_in_any_number_are_refused(site: Site) -> None:
    many = site.raw(head(b"GET", b"/v1/energy", site, *[b"x-%d: y" % k for k in range(500)]))
    assert (status(many), problem(many).type) == (431, "tag:headers")
    large = site.raw(head(b"GET", b"/v1/energy", site, b"x: " + b"y" * 20_000))
    assert status(large) == 431
    with contextlib.suppress(ConnectionError):
        endless = site.raw(b"GET /v1/energy HTTP/1.1\r\nx: ", *[b"y" * 65_536] * 20)
        assert endless == b"" or status(endless) == 431


def test_an_address_of_any_length_is_refused(site: Site) -> None:
    assert status(site.raw(head(b"GET", b"/v1/" + b"x" * 10_000, site))) == 414
    assert status(site.raw(head(b"GET", b"/v1/energy?" + b"x" * 10_000, site))) == 414


def test_requests_one_behind_the_other_are_answered_in_order(site: Site) -> None:
    wanted = [b"/v1/energy", b"/v1/battery", b"/nope", b"/v1/solar"] * 5
    requests = [head(b"GET", path, site) for path in wanted[:-1]] + [head(b"GET", wanted[-1], site, b"connection: close")]
    answer = site.raw(b"".join(requests))
    assert [int(found) for found in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)] == [200, 200, 404, 200] * 5


def test_a_request_does_not_end_where_its_sender_says_twice(site: Site) -> None:
    """A body that looks like a request stays a body (request smuggling)."""
    inner = head(b"DELETE", b"/v1/containers/c1", site)
    request = head(b"GET", b"/v1/energy", site, b"content-length: %d" % len(inner), b"connection: close") + inner
    answer = site.raw(request)
    assert answer.count(b"HTTP/1.1 ") == 1
    with site.client() as client:
        assert client.get("/v1/containers/c1").status_code == 200


# -- time


def test_a_connection_that_says_nothing_is_closed() -> None:
    with serving(limits=QUICK) as site:
        assert site.raw() == b""


@pytest.mark.parametrize("sent", [b"G", b"GET /v1/energy HTTP/1.1\r\n", b"GET /v1/energy HTTP/1.1\r\nhost: x\r\nx: y"])
def test_headers_that_do_not_end_are_answered_and_closed(sent: bytes) -> None:
    with serving(limits=QUICK) as site:
        answer = site.raw(sent)
        assert (status(answer), problem(answer).type) == (408, "tag:slow")


def test_headers_byte_by_byte_do_not_hold_a_connection() -> None:
    with serving(limits=QUICK) as site, socket.create_connection(site.address, timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            for byte in b"GET /v1/energy HTTP/1.1\r\n" + b"x: y\r\n" * 10_000:
                connection.sendall(bytes([byte]))
                connection.settimeout(0.01)
                with contextlib.suppress(TimeoutError):
                    if (received := connection.recv(65536)) or received == b"":
                        break
        connection.settimeout(20)
        assert status((received or b"") + read_all(connection)) == 408


def test_a_second_request_that_is_slow_is_closed_too() -> None:
    with serving(limits=QUICK) as site:
        answer = site.raw(head(b"GET", b"/v1/energy", site) + b"GET /v1/ener")
        assert re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)[0] == b"200"


def test_a_body_that_does_not_come_is_answered_and_closed() -> None:
    with serving(limits=QUICK) as site:
        request = head(b"PATCH", b"/v1/battery", site, b"content-type: application/json", b"content-length: 20")
        answer = site.raw(request, b'{"char')
        assert (status(answer), problem(answer).bound) == (408, 0.15)


def test_an_idle_connection_is_closed() -> None:
    with serving(limits=QUICK) as site:
        assert status(site.raw(head(b"GET", b"/v1/energy", site))) == 200


def test_a_client_that_reads_nothing_is_dropped() -> None:
    with serving(limits=QUICK) as site, socket.socket() as connection:
        site.server._running[0]._bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.settimeout(20)
        connection.connect(site.address)
        site.backend.written = b"x" * 60_000
        request = head(b"GET", b"/v1/containers/c1/logs", site)

        def ask_for_ever() -> None:
            while True:
                connection.sendall(request)

        with pytest.raises(ConnectionError):
            ask_for_ever()


# -- numbers


def test_connections_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    with serving(limits=Limits(max_connections=50)) as site, contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(site.address, timeout=20)) for _ in range(50)]
        for connection in held:  # each is known to the server once it has answered
            connection.sendall(head(b"GET", b"/v1/energy", site))
            assert status(connection.recv(65536)) == 200
        refused = site.raw()
        assert (status(refused), problem(refused).type) == (503, "tag:connections")
        assert b"retry-after: 1" in refused
        held[0].sendall(head(b"GET", b"/v1/energy", site))
        assert status(held[0].recv(65536)) == 200


def test_thousands_of_connections_within_the_limits_are_served() -> None:
    with serving() as site, contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(site.address, timeout=60)) for _ in range(2000)]
        request = head(b"GET", b"/v1/energy", site)
        for connection in held:
            connection.sendall(request)
        statuses = [status(connection.recv(65536)) for connection in held]
        assert statuses == [200] * 2000
        with site.client("neighbour") as client:
            assert client.get("/v1/energy").json()["app"] == "neighbour"

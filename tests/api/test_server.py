"""The server listens where it is told and nowhere else, knows who comes through which door, and ends in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httpx
import pytest
import trustme
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from tests.api.played import PlayedBackend
from tests.api.serving import Site, serving

from ecovisor.api.application import create_app
from ecovisor.api.limits import Limits
from ecovisor.api.listening import Tcp, Unix, bind
from ecovisor.api.server import Server
from ecovisor.api.tokens import Tokens
from ecovisor.model.errors import SettingsError


def over(path: Path) -> httpx.Client:
    return httpx.Client(
        transport=httpx.HTTPTransport(uds=str(path), verify=False), base_url="http://x", trust_env=False, timeout=20
    )


def port_is_open(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=5):
        return True
    return False


# -- TCP


def test_port_0_is_a_free_one_and_it_is_told() -> None:
    with serving([Tcp(), Tcp()]) as site:
        first, second = site.server.addresses
        assert first != second
        for address in (first, second):
            assert httpx.get(f"{address}/healthz", trust_env=False, verify=False).status_code == 200


def test_ipv6_loopback_is_served() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with serving([Tcp("::1")]) as site:
        assert site.url.startswith("http://[::1]:")
        assert httpx.get(f"{site.url}/healthz", trust_env=False, verify=False).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", ""])
def test_beyond_loopback_without_tls_is_refused_naming_the_setting(host: str) -> None:
    with pytest.raises(SettingsError, match="allow_insecure = true"), serving([Tcp(host)]):
        pass


def test_beyond_loopback_without_tls_is_served_where_that_is_wanted() -> None:
    with serving([Tcp("0.0.0.0")], allow_insecure=True) as site:
        port = site.url.rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, verify=False).status_code == 200


def test_the_metrics_listener_too_is_refused_beyond_loopback() -> None:
    with pytest.raises(SettingsError, match="beyond loopback"), serving([Tcp("0.0.0.0", metrics_only=True)]):
        pass


def test_a_port_that_is_taken_is_refused_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as probe:
            free = probe.getsockname()[1]
        with pytest.raises(SettingsError, match="cannot be had"), serving([Tcp(port=free), Tcp(port=port)]):
            pass
        assert not port_is_open(("127.0.0.1", free))


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 80, "a..b"])
def test_an_address_that_does_not_exist_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="listen"):
        bind(Tcp(host), allow_insecure=True)


# -- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(file)
    return authority, file


def test_with_tls_it_is_https_and_nothing_else(certificates: tuple[trustme.CA, Path]) -> None:
    authority, file = certificates
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serving([Tcp("0.0.0.0", certificate=file)]) as site:
        assert site.url.startswith("https://0.0.0.0:")
        port = int(site.url.rpartition(":")[2])
        with httpx.Client(verify=trusting, trust_env=False) as client:
            answer = client.get(f"https://127.0.0.1:{port}/v1/energy", headers={"authorization": f"Bearer {site.token['app']}"})
            assert answer.json()["app"] == "app"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert not plain.recv(100).startswith(b"HTTP/1.1 200")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(old)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(plain, server_hostname="localhost").close()


def test_a_handshake_that_is_not_made_is_ended(certificates: tuple[trustme.CA, Path]) -> None:
    with serving([Tcp(certificate=certificates[1])], limits=Limits(header_timeout_s=0.1)) as site:
        port = int(site.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as silent, contextlib.suppress(ConnectionError):
            assert silent.recv(100) == b""


def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("not a certificate")
    for file in (wrong, tmp_path / "absent.pem"):
        with pytest.raises(SettingsError, match="tls_certificate"), serving([Tcp(certificate=file)]):
            pass


# -- Unix sockets


def test_a_socket_of_its_own_is_an_apps_identity(tmp_path: Path) -> None:
    sockets = {app: tmp_path / f"{app}.sock" for app in ("app", "neighbour")}
    operator = tmp_path / "operator.sock"
    with serving([*(Unix(path, app) for app, path in sockets.items()), Unix(operator, None)]) as site:
        for app, path in sockets.items():
            with over(path) as client:
                assert client.get("/v1/energy").json()["app"] == app
                assert client.get("/v1/battery").status_code == 200
                assert client.get("/v1/admin/site").status_code == 403
                stolen = {"authorization": f"Bearer {site.token[None]}"}
                assert client.get("/v1/admin/site", headers=stolen).status_code == 403, "the door says who it is, not the token"
                assert client.get("/v1/energy", headers=stolen).json()["app"] == app
        with over(operator) as client:
            assert client.get("/v1/admin/site").status_code == 200
            assert client.get("/v1/energy?app=neighbour").json()["app"] == "neighbour"
        assert site.server.addresses == [f"unix:{path}" for path in (*sockets.values(), operator)]
    assert not any(path.exists() for path in (*sockets.values(), operator)), "and the files go with the server"


def test_a_socket_opens_for_its_owner_only(tmp_path: Path) -> None:
    uid = 12345 if os.geteuid() == 0 else os.geteuid()
    path = tmp_path / "app.sock"
    with serving([Unix(path, "app", uid=uid)]):
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_uid == uid


def test_a_socket_left_behind_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "app.sock"
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    with serving([Unix(path, "app")]):
        with pytest.raises(SettingsError, match="listens there already"):
            bind(Unix(path, "app"), allow_insecure=False)
        with over(path) as client:
            assert client.get("/v1/energy").status_code == 200


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(SettingsError, match="no socket"):
        bind(Unix(path, "app"), allow_insecure=False)
    assert path.read_text() == "data"


def test_a_path_that_cannot_be_a_socket_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 120), tmp_path / "no" / "such" / "folder"):
        with pytest.raises(SettingsError, match="listen unix:"):
            bind(Unix(path, "app"), allow_insecure=False)


def test_sockets_come_and_go_with_their_apps(tmp_path: Path) -> None:
    path = tmp_path / "neighbour.sock"
    with serving() as site:
        assert site.run(site.server.listen(Unix(path, "neighbour"))) == f"unix:{path}"
        with over(path) as client:
            assert client.get("/v1/energy").json()["app"] == "neighbour"
        site.run(site.server.unlisten("neighbour"))
        assert not path.exists()
        with site.client() as client:
            assert client.get("/v1/energy").status_code == 200, "the others go on"


# -- the metrics listener


def test_the_metrics_listener_serves_metrics_and_probes_and_nothing_else() -> None:
    with serving([Tcp(), Tcp(metrics_only=True)]) as site:
        main, metrics = site.server.addresses
        with httpx.Client(base_url=metrics, trust_env=False, verify=False) as client:
            assert "ecovisor_site_solar_watts" in client.get("/metrics").text
            assert client.get("/healthz").status_code == 200
            assert client.get("/readyz").status_code == 200
            for path in ("/v1/admin/site", "/v1/energy?app=app", "/docs", "/", "/metrics/../v1/admin/site", "/metrics/"):
                assert client.get(path).status_code == 404
            assert client.put("/v1/admin/sun", json={"sun_ratio": 0}).status_code == 404
        assert httpx.get(f"{main}/metrics", trust_env=False, verify=False).status_code == 401


# -- extra routes


def test_a_dashboard_has_its_place_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "app.js").write_text("1")

    async def page(request: object) -> PlainTextResponse:
        return PlainTextResponse("hello")

    async def broken(request: object) -> PlainTextResponse:
        raise RuntimeError("eco_op_secretsecret")

    routes = [Route("/", page), Route("/broken", broken), Mount("/static", StaticFiles(directory=tmp_path))]
    with serving(extra_routes=routes) as site, site.client("") as client:
        assert client.get("/").text == "hello"
        assert client.get("/static/app.js").text == "1"
        for path, status in (("/static/none.js", 404), ("/static/..%2f..%2fetc/passwd", 404), ("/broken", 500)):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
            assert "secret" not in answer.text
        assert client.post("/").status_code == 405
        assert client.get("/v1/energy").status_code == 401


# -- the end


def test_it_stops_with_connections_open_and_lets_a_request_under_way_finish() -> None:
    with serving() as site, contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(site.address, timeout=20))
        gate = site.call(asyncio.Event)
        site.backend.gates["forecast"] = gate
        answers: list[int] = []

        def ask() -> None:
            with site.client() as client:
                answers.append(client.get("/v1/forecast/carbon").status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        site.run(_until(lambda: bool(_tasks(site))))
        (running,) = site.server._running
        (accepting,) = running._server.servers
        stopping = threading.Thread(target=lambda: site.run(site.server.stop()))
        stopping.start()
        site.run(_until(lambda: not accepting.sockets))
        site.call(gate.set)
        asking.join()
        stopping.join()
        assert answers == [200]


def _tasks(site: Site) -> set[object]:
    (running,) = site.server._running
    return cast("set[object]", running._server.server_state.tasks)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


def test_a_request_that_does_not_end_is_broken_off() -> None:
    with serving(limits=Limits(stop_timeout_s=0.1)) as site:
        site.backend.gates["forecast"] = site.call(asyncio.Event)
        broken: list[type[BaseException]] = []

        def ask() -> None:
            with site.client() as client:
                try:
                    assert client.get("/v1/forecast/carbon").status_code == 500
                except httpx.HTTPError as error:
                    broken.append(type(error))

        asking = threading.Thread(target=ask)
        asking.start()
        site.run(_until(lambda: bool(_tasks(site))))
        site.run(site.server.stop())
        asking.join()


def test_stopping_twice_and_without_having_started_does_no_harm() -> None:
    with serving() as site:
        site.run(site.server.stop())
        site.run(site.server.stop())
        idle = Server(site.interface, [Tcp()])
        site.run(idle.stop())


def test_signals_stay_with_the_caller() -> None:
    async def start_and_stop() -> bool:
        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        backend = PlayedBackend()
        server = Server(create_app(backend, tokens=Tokens(backend.registry, backend.clock.wall_s)), [Tcp()])
        await server.start()
        during = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        await server.stop()
        return during == before

    assert asyncio.run(start_and_stop()), "in the main thread, where uvicorn would take them"

"""Where the server is, who asks, and what is told when that is wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.client.colours import played_site
from tests.client.played_server import TOKEN, PlayedServer

from ecovisor import connect, connect_async
from ecovisor.client.connecting import Address, find
from ecovisor.client.transport import Target
from ecovisor.model.errors import AuthenticationError, SettingsError, Unavailable


def test_what_is_given_goes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n", "utf-8")
    environment = {"ECOVISOR_URL": "https://site:1", "ECOVISOR_TOKEN": "t", "ECOVISOR_TOKEN_FILE": str(tmp_path / "token")}
    assert find(environment=environment) == Address(Target("https://site:1"), "t")
    assert find("http://other/", environment=environment) == Address(Target("http://other"), "t")
    assert find("http://other", "mine", environment=environment) == Address(Target("http://other"), "mine")
    del environment["ECOVISOR_TOKEN"]
    assert find(environment=environment).token == "from-file"
    assert find(unix="/run/a.sock", environment=environment) == Address(Target("http://localhost", "/run/a.sock"), None)
    environment["ECOVISOR_SOCKET"] = "/run/own.sock"
    assert find(environment=environment).target.socket_path == "/run/own.sock"
    assert find("http://other", environment=environment).target == Target("http://other")


@pytest.mark.parametrize(
    ("given", "environment", "told"),
    [
        ({}, {}, "connect: nothing says where the server is; give its URL, or set ECOVISOR_URL or ECOVISOR_SOCKET"),
        ({"url": "http://a", "unix": "/b"}, {}, "both a URL and a socket"),
        ({"url": "localhost:8080"}, {}, "'localhost:8080' is no URL of a server; write for example http"),
        ({"url": "ftp://a"}, {}, "no URL"),
        ({"url": "http://a", "token": "a\nb"}, {}, "the token has blanks"),
        ({"url": "http://a"}, {"ECOVISOR_TOKEN_FILE": "/no/such"}, "token file /no/such: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_is_one_line(given: dict[str, Any], environment: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as raised:
        find(**given, environment=environment)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_token_is_said_at_once(server: PlayedServer) -> None:
    for token in ("wrong", None):
        with pytest.raises(AuthenticationError, match=r"not accepted; give the app's token"):
            connect(server.url, token)


def test_nobody_there_is_unavailable_naming_the_place(server: PlayedServer, tmp_path: Path) -> None:
    server.down()
    with pytest.raises(Unavailable, match=rf"{server.url} cannot be reached: .*refused.*; is the server running"):
        connect(server.url, TOKEN)
    with pytest.raises(Unavailable, match=r"socket .*no\.sock cannot be reached"):
        connect(unix=tmp_path / "no.sock")
    with pytest.raises(Unavailable, match="cannot be reached"):
        asyncio.run(connect_async(server.url, TOKEN))
    server.start()


def test_somebody_else_there_is_said_too(server: PlayedServer) -> None:
    server.faults.problems.append((404, "content-type: text/html\r\n", b"<html>"))
    with pytest.raises(Unavailable, match="answered 404, and not with what an ecovisor says"):
        connect(server.url, TOKEN)


def test_one_may_wait_for_a_server_that_is_still_starting(server: PlayedServer) -> None:
    server.down()
    starting = threading.Timer(0.3, server.start)
    starting.start()
    with connect(server.url, TOKEN, wait_s=30.0) as app:
        assert app.name == "app"
    starting.join()


def test_a_certificate_of_ones_own_is_trusted_where_it_is_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with PlayedServer(played_site(), certificate=authority.issue_cert("127.0.0.1")) as server:
        with connect(server.url, TOKEN, ca_file=tmp_path / "ca.pem") as app:
            assert app.tick_s == 900.0
            closing = threading.Timer(0.3, app.close)
            closing.start()
            assert app.wait_for_tick() is None
            closing.join()
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            connect(server.url, TOKEN)
        with pytest.raises(SettingsError, match=r"ca_file .*cannot be used"):
            connect(server.url, TOKEN, ca_file=tmp_path / "no.pem")


HEAVY = ("httpx", "numpy", "pandas", "pyarrow", "numba", "typer", "starlette", "aiohttp")


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("from ecovisor import connect, connect_async, VirtualEnergy, AppView", (*HEAVY, "msgspec", "asyncio")),
        ("from ecovisor.client import App, AsyncApp, Event, drive", HEAVY),
    ],
)
def test_importing_the_sdk_loads_no_http_and_nothing_heavy(code: str, absent: tuple[str, ...]) -> None:
    script = f"{code}; import sys; print(*[name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("package", ["ecovisor", "ecovisor.client"])
def test_an_unknown_name_is_an_attribute_error(package: str) -> None:
    import importlib

    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match="no attribute 'conect'"):
        module.conect
    for name in module.__all__:
        assert getattr(module, name) is not None

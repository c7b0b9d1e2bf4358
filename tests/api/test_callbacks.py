"""Webhooks over REST: registered by their app where the operator allows, listed without secrets, delivered, ended."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.api.played import PlayedBackend
from tests.api.serving import Site, serving

from ecovisor import wire
from ecovisor.adapters.callbacks import verify
from ecovisor.adapters.callbacks.webhooks import WebhookLimits, Webhooks
from ecovisor.api.callbacks import Callbacks


@contextlib.contextmanager
def receiving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A receiver in the standard library, as a user would write one: its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Deaf(BaseHTTPRequestHandler):
    """Takes nothing."""


def hook_of_the_page() -> dict[str, Any]:
    """What the Python of the page on REST defines."""
    page = (Path(__file__).parents[2] / "docs" / "rest.md").read_text("utf-8")
    (text,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(compile(text, "rest.md", "exec"), scope)
    scope["Hook"].log_message = lambda *args: None
    return scope


@contextlib.contextmanager
def serving_webhooks() -> Iterator[Site]:
    made: list[Webhooks] = []

    def make(backend: PlayedBackend) -> Callbacks:
        made.append(Webhooks(backend, limits=WebhookLimits(failures=1000), sleep=lambda duration_s: asyncio.sleep(0.02)))
        return made[0]

    with serving(callbacks=make) as site:
        site.run(made[0].start())
        try:
            yield site
        finally:
            site.run(made[0].stop())


def test_a_callback_is_registered_told_and_ended(capsys: pytest.CaptureFixture[str]) -> None:
    hook = hook_of_the_page()
    with receiving(hook["Hook"]) as url, serving_webhooks() as site, site.client() as client:
        refused = client.post("/v1/callbacks", json={"url": f"{url}/tick"})
        assert (refused.status_code, refused.json()["type"]) == (409, "tag:refused")
        assert f'webhook_allow = ["{url}"]' in refused.json()["detail"]
        site.backend.webhooks["app"] = [url]
        answer = client.post("/v1/callbacks", json={"url": f"{url}/tick", "events": ["tick", "gap"]})
        made = msgspec.json.decode(answer.content, type=wire.CallbackState)
        assert answer.status_code == 201
        path = answer.headers["location"]
        assert client.get(path).json() == msgspec.to_builtins(msgspec.structs.replace(made, secret=None))
        assert [one["id"] for one in client.get("/v1/callbacks").json()] == [made.id]
        # The page's receiver compares with the real time; the played site's wall clock stands elsewhere.
        hook["verify"] = lambda *args: verify(*args, now_s=site.backend.clock.wall_s())
        site.call(site.backend.advance)
        wait_for(lambda: client.get(path).json()["failures"] > 0)
        assert client.get(path).json()["last_error"] == "answered 403", "it does not know the secret yet"
        hook["SECRET"] = made.secret
        wait_for(lambda: hook["seen"] == {"2.0"})
        with site.client("neighbour") as other:
            assert other.get(path).status_code == 404
            assert other.delete(path).status_code == 404
            assert other.get("/v1/callbacks").json() == []
        assert client.delete(path).status_code == 204
        assert client.delete(path).status_code == 404
        assert client.get("/v1/callbacks").json() == []
    assert '2.0 {"id":"2.0","kind":"tick"' in capsys.readouterr().out


def wait_for(holds: Callable[[], bool]) -> None:
    for _ in range(4000):
        if holds():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def test_an_app_that_leaves_takes_its_callbacks_along() -> None:
    with receiving(Deaf) as url, serving_webhooks() as site:
        site.backend.webhooks["app"] = [url]
        with site.client() as client:
            client.post("/v1/callbacks", json={"url": url}).raise_for_status()
        with site.client(None) as operator:
            operator.delete("/v1/admin/apps/app").raise_for_status()
            assert site.backend.registry.items("webhook") == []


def test_lines_of_an_app_that_joins_are_checked() -> None:
    shares = {"grid": 0.1, "solar": 0.1, "battery_energy": 0.1, "battery_power": 0.1}
    with serving_webhooks() as site, site.client(None) as operator:
        for wrong in ("http://hooks.example.org", "https://hooks.example.org/path", "*"):
            answer = operator.post("/v1/admin/apps", json={"name": "new", "shares": shares, "webhook_allow": [wrong]})
            assert (answer.status_code, answer.json()["type"]) == (422, "tag:setting-refused")
        fine = {"name": "new", "shares": shares, "webhook_allow": ["https://hooks.example.org"]}
        assert operator.post("/v1/admin/apps", json=fine).status_code == 201


def test_a_server_without_webhooks_says_so() -> None:
    with serving() as site, site.client() as client, site.client(None) as operator:
        assert client.get("/v1/callbacks").json() == []
        answer = client.post("/v1/callbacks", json={"url": "https://hooks.example.org"})
        assert (answer.status_code, "/v1/events" in answer.json()["detail"]) == (409, True)
        assert client.delete("/v1/callbacks/x").status_code == 404
        shares = {"grid": 0.1, "solar": 0.1, "battery_energy": 0.1, "battery_power": 0.1}
        app = {"name": "new", "shares": shares, "webhook_allow": ["https://hooks.example.org"]}
        assert operator.post("/v1/admin/apps", json=app).status_code == 422

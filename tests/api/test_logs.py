"""Logs are JSON lines that say who and when, and hold no secret whatever happens."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.routing import Route
from tests.api.serving import serving

from ecovisor.api.logs import log_to, redact
from ecovisor.model.errors import StoreError, Unavailable


@contextlib.contextmanager
def logged(level: int = logging.DEBUG) -> Iterator[io.StringIO]:
    """All that is logged meanwhile."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    levels = root.level, uvicorn.level
    written = io.StringIO()
    handler = log_to(written, level)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(levels[0])
        uvicorn.setLevel(levels[1])


def lines(written: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_no_log_holds_a_token_whatever_is_done_with_it() -> None:
    async def leaking(request: Request) -> None:
        raise RuntimeError(f"unexpected header {request.headers['authorization']} of {request.url}")

    with logged() as written, serving(extra_routes=[Route("/leak", leaking)]) as site:
        secrets = [token.split("_", 2)[2] for token in site.token.values()]
        with site.client() as client, site.client(None) as operator:
            client.get("/v1/energy")
            client.get("/v1/energy", params={"token": site.token["app"]})
            client.get(f"/v1/containers/{site.token['app']}")
            client.get(f"/{site.token['app']}")
            client.get("/leak", params={"token": site.token[None]})
            client.patch("/v1/battery", json={"charge_rate_w": site.token["app"]})
            client.patch("/v1/battery", json={site.token["app"]: 1})
            client.get("/v1/energy", headers={"x-request-id": site.token["app"]})
            site.backend.faults["change"] = StoreError(f"cannot write {site.token[None]}")
            client.patch("/v1/battery", json={"charge_rate_w": 1})
            site.backend.faults["change"] = ValueError(f"Authorization: Bearer {site.token['app']}")
            client.patch("/v1/battery", json={"charge_rate_w": 1})
            site.backend.faults["snapshot"] = KeyError(site.token["app"])
            client.get("/v1/energy")
            del site.backend.faults["snapshot"]
            made = operator.post("/v1/admin/apps/app/token").json()["token"]
            secrets.append(made.split("_", 2)[2])
            client.get("/v1/energy")
        site.raw(f"GET /{site.token['app']} HTTP/9.9\r\nauthorization: Bearer {site.token['app']}\r\n\r\n".encode())
        logging.getLogger("some.library").warning("sending headers %r", {"Authorization": f"Bearer {site.token['app']}"})
    text = written.getvalue()
    assert "eco_app_***" in text, "something was there to be taken out"
    for secret in secrets:
        assert secret not in text
    assert all(json.loads(line) for line in text.splitlines())


@given(
    before=st.text(max_size=20),
    kind=st.sampled_from(["app", "op", "hook"]),
    secret=st.from_regex(r"[A-Za-z0-9_-]{43}", fullmatch=True),
    after=st.sampled_from(["", " ", '"', "'", ")", "\\n", ",", "&x=1", "/"]),
)
def test_a_secret_is_taken_out_wherever_it_stands(before: str, kind: str, secret: str, after: str) -> None:
    assert secret not in redact(f"{before}eco_{kind}_{secret}{after}")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("Authorization: Bearer abc.def-ghi", "abc"),
        ("{'authorization': 'bearer xyz=='}", "xyz"),
        ("https://user:pass@hooks.example.org/x", "pass"),
    ],
)
def test_credentials_of_others_are_taken_out_too(text: str, hidden: str) -> None:
    assert hidden not in redact(text)


def test_a_request_is_logged_with_its_id_app_and_tick() -> None:
    with logged() as written, serving() as site, site.client("neighbour") as client:
        client.patch("/v1/battery", json={"charge_rate_w": 1.0}, headers={"x-request-id": "mine-1"})
        refused = client.get("/v1/admin/site")
    told = [line for line in lines(written) if line["logger"] == "ecovisor.api.access"]
    change, refusal = told
    assert change["message"] == "PATCH /v1/battery 200"
    assert (change["request_id"], change["app"], change["tick"], change["level"]) == ("mine-1", "neighbour", 1, "info")
    assert (change["peer"], change["time"]) == ("127.0.0.1", change["time"])
    assert refusal["request_id"] == refused.json()["request_id"]
    assert refusal["message"] == "GET /v1/admin/site 403"


def test_reads_that_go_well_are_not_worth_a_line() -> None:
    with logged(logging.INFO) as written, serving() as site, site.client() as client:
        for path in ("/v1/energy", "/v1/battery", "/healthz"):
            assert client.get(path).status_code == 200
    assert [line for line in lines(written) if line["logger"] == "ecovisor.api.access"] == []


def test_an_unexpected_error_is_in_the_log_with_the_id_that_the_answer_has() -> None:
    with logged() as written, serving() as site, site.client() as client:
        site.backend.faults["forecast"] = ZeroDivisionError("deep inside")
        answer = client.get("/v1/forecast/carbon")
    assert answer.status_code == 500
    assert "deep inside" not in answer.text
    (line,) = [line for line in lines(written) if "exception" in line]
    assert line["request_id"] == answer.json()["request_id"]
    assert "ZeroDivisionError: deep inside" in str(line["exception"])
    assert line["level"] == "error"


def test_what_does_not_answer_is_in_the_log() -> None:
    with logged() as written, serving() as site, site.client() as client:
        site.backend.faults["forecast"] = Unavailable("carbon service: 502")
        client.get("/v1/forecast/carbon")
    assert any("carbon service: 502" in str(line["message"]) for line in lines(written))


@pytest.mark.parametrize("path", ["/x%0aFAKE", "/x%1b[31m", "/" + "y" * 3000])
def test_nobody_writes_lines_of_their_own(path: str) -> None:
    with logged() as written, serving() as site, site.client() as client:
        client.get(path)
    told = [line for line in lines(written) if line["logger"] == "ecovisor.api.access"]
    assert len(told) == 1
    assert len(str(told[0]["message"])) < 300
    assert "\x1b" not in written.getvalue()

"""What a server says is wrong is raised as what the same mistake raises in process."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecovisor import wire
from ecovisor.api.problems import Rejected, problem_of
from ecovisor.client.problems import Busy, problem_error
from ecovisor.model.errors import (
    AuthenticationError,
    EcovisorError,
    Infeasible,
    Refused,
    SettingRefused,
    StoreError,
    Unavailable,
    UnknownApp,
)


@pytest.mark.parametrize("error", [SettingRefused, Infeasible, UnknownApp, Refused, Unavailable, StoreError])
@pytest.mark.parametrize("changes", [True, False])
def test_an_error_of_the_running_system_crosses_the_server_and_the_client(error: type[EcovisorError], changes: bool) -> None:
    problem, headers = problem_of(error("5 W is below 7 W"), "r1")
    named = {name.decode(): value.decode() for name, value in headers}
    found = problem_error("http://here", changes, problem.status, named, msgspec.json.encode(problem))
    expected = Busy if error in (Unavailable, StoreError) else error
    assert type(found) is expected
    if expected is error:
        assert "5 W is below 7 W" in str(found)


@pytest.mark.parametrize(
    ("status", "kind", "changes", "expected"),
    [
        (401, "unauthorised", True, AuthenticationError),
        (403, "forbidden", False, AuthenticationError),
        (404, "unknown-container", False, SettingRefused),
        (404, "unknown-callback", True, SettingRefused),
        (404, "unknown-signal", False, Infeasible),
        (422, "invalid", True, SettingRefused),
        (422, "invalid", False, Infeasible),
        (405, "method", True, Refused),
        (413, "too-large", True, Refused),
        (408, "slow", True, Unavailable),
        (429, "throttled", True, Unavailable),
        (500, "internal", True, Unavailable),
    ],
)
def test_what_the_interface_itself_refuses(status: int, kind: str, changes: bool, expected: type[EcovisorError]) -> None:
    problem, _ = problem_of(Rejected(status, kind, "no", remedy="do it otherwise"), "r1")
    found = problem_error("http://here", changes, status, {}, msgspec.json.encode(problem))
    assert isinstance(found, expected)
    assert str(found).endswith("no; do it otherwise")


def test_a_busy_server_says_when_to_come_again() -> None:
    body = msgspec.json.encode(wire.Problem(type="tag:unavailable", title="", status=503, detail="starting"))
    found = problem_error("http://here", False, 503, {"retry-after": "7"}, body)
    assert isinstance(found, Busy)
    assert (found.wanted_s, str(found)) == (7.0, "http://here: starting")
    assert problem_error("", False, 503, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, body).wanted_s == 0.0  # type: ignore[attr-defined]


def test_a_refused_token_says_what_to_do() -> None:
    body = msgspec.json.encode(wire.Problem(type="tag:unauthorised", title="", status=401, detail="no such token"))
    assert str(problem_error("http://here", False, 401, {}, body)) == (
        "http://here: no such token; give the app's token, or set ECOVISOR_TOKEN or ECOVISOR_TOKEN_FILE"
    )


@given(st.integers(100, 599), st.binary(max_size=80), st.booleans())
def test_whatever_somebody_else_answers_is_one_of_our_errors(status: int, body: bytes, changes: bool) -> None:
    found = problem_error("http://here", changes, status, {}, body)
    assert isinstance(found, EcovisorError)
    assert "\n" not in str(found)

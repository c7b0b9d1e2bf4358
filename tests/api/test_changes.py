"""Setters say what was asked, what is in force, and which limit came between; what is no setting changes nothing."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.api.played import PlayedBackend
from tests.api.serving import Site, serving

from ecovisor import wire
from ecovisor.api.limits import Limits
from ecovisor.model.errors import Refused, StoreError, Unavailable

TWIN = PlayedBackend().energy("app")
"""The same app, in process."""


def answer_of(content: bytes) -> wire.SettingAnswer:
    return msgspec.json.decode(content, type=wire.SettingAnswer)


@settings(max_examples=15, deadline=None)
@given(
    rate_w=st.floats(0.0, 1e6),
    discharge_w=st.none() | st.floats(0.0, 1e6),
)
def test_a_setting_over_rest_is_the_setting_in_process(site: Site, rate_w: float, discharge_w: float | None) -> None:
    with site.client() as client:
        answer = answer_of(client.patch("/v1/battery", json={"charge_rate_w": rate_w, "max_discharge_w": discharge_w}).content)
        battery = client.get("/v1/battery").json()
    in_force = {
        "charge_rate_w": TWIN.set_battery_charge_rate(rate_w),
        "max_discharge_w": TWIN.set_battery_max_discharge(math.inf if discharge_w is None else discharge_w),
    }
    assert answer.asked == {"charge_rate_w": rate_w, "max_discharge_w": discharge_w}
    assert answer.in_force == in_force
    assert set(answer.clipped) == {name for name, asked in answer.asked.items() if asked is not None and in_force[name] < asked}
    assert (battery["charge_rate_w"], battery["max_discharge_w"]) == (rate_w, discharge_w), "kept as asked"
    assert answer.effective_tick == site.backend.tick


def test_what_was_clipped_names_the_limit() -> None:
    with serving() as site, site.client() as client:
        limit_w = site.backend.energy("app").battery_charge_limit_w
        answer = answer_of(client.patch("/v1/battery", json={"charge_rate_w": 1e9}).content)
        assert f"{limit_w:g} W" in answer.clipped["charge_rate_w"]
        client.patch("/v1/app", json={"cap_w": 5.0})
        capped = answer_of(client.patch("/v1/containers/c1", json={"cap_w": 7.0}).content)
        assert (capped.asked["cap_w"], capped.in_force["cap_w"]) == (7.0, 5.0)
        assert "app's cap" in capped.clipped["cap_w"]


def test_a_field_that_is_left_out_is_not_changed_and_null_ends_a_limit() -> None:
    with serving() as site, site.client() as client:
        client.patch("/v1/battery", json={"charge_rate_w": 4.0, "max_discharge_w": 2.0})
        client.patch("/v1/battery", json={"charge_rate_w": 5.0})
        assert client.get("/v1/battery").json()["max_discharge_w"] == 2.0
        assert answer_of(client.patch("/v1/battery", json={}).content).asked == {}
        answer_of(client.patch("/v1/battery", json={"max_discharge_w": None}).content)
        assert client.get("/v1/battery").json()["max_discharge_w"] is None
        client.patch("/v1/containers/c1", json={"cap_w": 3.0})
        assert client.get("/v1/containers/c1").json()["cap_w"] == 3.0
        free = answer_of(client.patch("/v1/containers/c1", json={"cap_w": None}).content)
        assert free.in_force == {"cap_w": None}
        assert client.get("/v1/containers/c1").json()["cap_w"] is None


def test_containers_come_change_and_go() -> None:
    with serving() as site, site.client() as client:
        added = client.post("/v1/containers", json={"cores": 2.0})
        made = answer_of(added.content)
        assert added.status_code == 201
        assert added.headers["location"] == f"/v1/containers/{made.id}"
        path = added.headers["location"]
        client.patch(path, json={"cores": 3.0, "running": False}).raise_for_status()
        view = client.get(path).json()
        assert (view["cores"], view["state"]) == (3.0, "suspended")
        client.patch(path, json={"running": True}).raise_for_status()
        assert client.get(path).json()["state"] == "running"
        assert answer_of(client.delete(path).content).id == made.id
        assert client.get(path).status_code == 404
        assert client.delete(path).status_code == 404


def test_a_cap_below_the_idle_power_is_infeasible_and_nothing_of_the_request_happens() -> None:
    with serving() as site, site.client() as client:
        answer = client.patch("/v1/containers/c1", json={"cores": 2.0, "cap_w": 0.1})
        problem = msgspec.json.decode(answer.content, type=wire.Problem)
        assert (answer.status_code, problem.type) == (422, "tag:infeasible")
        assert problem.bound == pytest.approx(2.0 / 4.0 * 1.35), "the idle power of the cores asked for"
        assert client.get("/v1/containers/c1").json()["cores"] == 4.0


def test_budget_and_rate_are_set_read_and_ended() -> None:
    with serving() as site, site.client() as client:
        assert client.get("/v1/carbon/budget").json() is None
        assert answer_of(client.put("/v1/carbon/budget", json={"budget_g": 12.5}).content).in_force == {"budget_g": 12.5}
        assert client.get("/v1/carbon/budget").json()["budget_g"] == 12.5
        client.put("/v1/carbon/budget", json={"budget_g": None}).raise_for_status()
        assert client.get("/v1/carbon/budget").json() is None
        rate = answer_of(client.put("/v1/carbon/rate?container=c1", json={"carbon_rate_g_per_h": 0.6}).content)
        assert rate.in_force["cap_w"] == client.get("/v1/containers/c1").json()["cap_w"]
        assert client.get("/v1/carbon/rate?container=c1").json() == {"container": "c1", "carbon_rate_g_per_h": 0.6}
        assert client.put("/v1/carbon/rate?container=c7", json={"carbon_rate_g_per_h": 0.6}).status_code == 404
        assert client.get("/v1/carbon/rate?container=c7").status_code == 404
        assert client.put("/v1/carbon/rate", json={"carbon_rate_g_per_h": 0.6}).status_code == 422


def test_an_app_tells_its_metrics_and_that_it_is_done_with_a_tick() -> None:
    with serving() as site, site.client() as client:
        told = client.put("/v1/app/metrics", json={"metrics": {"p95_ms": 12.5}, "work_done": 3})
        assert (told.status_code, told.content) == (204, b"")
        assert site.backend.metrics["app"].metrics == {"p95_ms": 12.5}
        assert client.put("/v1/app/tick", json={"tick": 4}).status_code == 204
        assert site.backend.answered == [("app", 4)]


NUMBERS: list[tuple[str, str, str]] = [
    ("PATCH", "/v1/battery", "charge_rate_w"),
    ("PATCH", "/v1/battery", "max_discharge_w"),
    ("PATCH", "/v1/app", "scale_ratio"),
    ("PATCH", "/v1/app", "cap_w"),
    ("POST", "/v1/containers", "cores"),
    ("PATCH", "/v1/containers/c1", "cap_w"),
    ("PATCH", "/v1/containers/c1", "cores"),
    ("PUT", "/v1/carbon/budget", "budget_g"),
    ("PUT", "/v1/carbon/rate?container=c1", "carbon_rate_g_per_h"),
    ("PUT", "/v1/app/metrics", "work_done"),
]


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "-1", '"5"', "true", "[1]", "{}", "9" * 400])
@pytest.mark.parametrize(("method", "path", "field"), NUMBERS)
def test_what_is_no_quantity_is_refused_with_its_field(site: Site, method: str, path: str, field: str, bad: str) -> None:
    before = site.backend.snapshot("app").body
    with site.client() as client:
        answer = client.request(method, path, content=f'{{"{field}": {bad}}}', headers={"content-type": "application/json"})
    problem = msgspec.json.decode(answer.content, type=wire.Problem)
    assert (answer.status_code, problem.field) == (422, field), answer.text
    assert site.backend.snapshot("app").body == before


def test_a_negative_number_is_told_its_bound(site: Site) -> None:
    with site.client() as client:
        problem = client.patch("/v1/battery", json={"charge_rate_w": -1}).json()
    assert problem["bound"] == 0.0
    assert problem["title"] == "Unprocessable Entity" or problem["title"] == "Unprocessable Content"


def test_a_nan_among_metrics_is_named(site: Site) -> None:
    with site.client() as client:
        answer = client.put(
            "/v1/app/metrics", content=b'{"metrics": {"a": 1, "b": NaN}}', headers={"content-type": "application/json"}
        )
    assert (answer.status_code, answer.json()["field"]) == (422, "metrics.b")


def test_a_mistyped_field_is_answered_with_the_right_one(site: Site) -> None:
    with site.client() as client:
        problem = client.patch("/v1/battery", json={"charge_rate": 5}).json()
        assert problem["field"] == "charge_rate"
        assert "charge_rate_w" in problem["remedy"]
        missing = client.put("/v1/carbon/budget", json={}).json()
        assert missing["field"] == "budget_g"


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Refused("no such command"), 409),
        (Unavailable("platform"), 503),
        (StoreError("disk"), 503),
        (RuntimeError("secret /etc/x"), 500),
    ],
)
def test_what_the_running_system_raises_has_a_status(fault: Exception, status: int) -> None:
    with serving() as site, site.client() as client:
        site.backend.faults["change"] = fault
        answer = client.patch("/v1/battery", json={"charge_rate_w": 1.0})
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert "secret" not in answer.text
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_change_that_takes_too_long_is_answered_and_still_made() -> None:
    with serving(limits=Limits(answer_timeout_s=0.05)) as site, site.client() as client:
        gate = site.call(asyncio.Event)
        site.backend.gates["change"] = gate
        answer = client.patch("/v1/battery", json={"charge_rate_w": 7.0})
        assert (answer.status_code, answer.json()["type"]) == (503, "tag:late")
        assert "may still be made" in answer.json()["remedy"]
        site.call(gate.set)
        site.run(site.interface.finish())
        assert client.get("/v1/battery").json()["charge_rate_w"] == 7.0


def test_a_read_that_takes_too_long_is_given_up() -> None:
    with serving(limits=Limits(answer_timeout_s=0.05)) as site, site.client() as client:
        site.backend.gates["forecast"] = site.call(asyncio.Event)
        assert client.get("/v1/forecast/carbon").status_code == 503


# -- the operator's


def test_an_app_joins_gets_a_token_and_leaves() -> None:
    shares = {"grid": 0.1, "solar": 0.1, "battery_energy": 0.1, "battery_power": 0.1}
    with serving() as site, site.client(None) as operator:
        answer = operator.post("/v1/admin/apps", json={"name": "third", "shares": shares})
        made = msgspec.json.decode(answer.content, type=wire.Credentials)
        assert (answer.status_code, made.app, made.effective_tick) == (201, "third", site.backend.tick + 1)
        assert "third" not in site.backend.apps(), "it joins at the next tick"
        assert "third" in {entry["name"] for entry in operator.get("/v1/admin/apps").json()}
        assert operator.post("/v1/admin/apps/third/token").status_code == 201, "and can be dealt with before"
        assert operator.post("/v1/admin/apps", json={"name": "app", "shares": shares}).status_code == 409
        assert operator.post("/v1/admin/apps", json={"name": "../x", "shares": shares}).status_code == 422
        assert operator.post("/v1/admin/apps", json={"name": "x\n", "shares": shares}).status_code == 422
        assert operator.post("/v1/admin/apps", json={"name": "x", "shares": shares | {"grid": 1.5}}).json()["bound"] == 1.0
        gone = answer_of(operator.delete("/v1/admin/apps/neighbour").content)
        assert gone.effective_tick == site.backend.tick + 1
        assert operator.delete("/v1/admin/apps/neighbour").status_code == 404
        with site.client("neighbour") as former:
            assert former.get("/v1/energy").status_code == 401, "its token has ended with it"


def test_shares_and_sun_are_set() -> None:
    half: dict[str, Any] = {"grid": 0.5, "solar": 0.5, "battery_energy": 0.5, "battery_power": 0.5}
    with serving() as site, site.client(None) as operator:
        answer = answer_of(operator.put("/v1/admin/shares", json={"shares": {"app": half}}).content)
        assert answer.effective_tick == site.backend.tick + 1
        listed = {entry["name"]: entry["shares"] for entry in operator.get("/v1/admin/apps").json()}
        assert listed["app"] == half
        assert operator.put("/v1/admin/shares", json={"shares": {"nobody": half}}).status_code == 404
        assert operator.put("/v1/admin/sun", json={"sun_ratio": 0.25}).json()["in_force"] == {"sun_ratio": 0.25}
        assert site.backend.sun_ratio == 0.25
        site.backend.faults["set_sun"] = Refused("the plant is real")
        assert operator.put("/v1/admin/sun", json={"sun_ratio": 0.25}).status_code == 409


def test_json_of_a_setter_has_no_infinity() -> None:
    with serving() as site, site.client() as client:
        text = client.patch("/v1/app", json={"cap_w": None}).text
        assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["in_force"] == {"cap_w": None}

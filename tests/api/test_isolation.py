"""An app sees and touches nothing of another's, and cannot even tell whether it is there."""

from __future__ import annotations

import concurrent.futures
import re

import pytest
from tests.api.played import WALL_S
from tests.api.serving import Site, serving

from ecovisor.api.limits import Limits
from ecovisor.api.routes import ROUTES, Who

READS = sorted({route.path for route in ROUTES if route.who is Who.APP and route.reads and "/events" not in route.path})


@pytest.mark.parametrize("path", READS)
def test_another_app_is_as_hidden_as_none(site: Site, path: str) -> None:
    path = re.sub(r"{(\w+)}", "x", path)
    with site.client("app") as client:
        other = client.get(path, params={"app": "neighbour"})
        nobody = client.get(path, params={"app": "nobody"})
    assert other.status_code in {403, 422, 404}
    hidden = {"request_id": ""}
    assert other.json() | hidden == nobody.json() | hidden


def test_an_app_may_name_itself(site: Site) -> None:
    with site.client("app") as client:
        assert client.get("/v1/energy?app=app").content == client.get("/v1/energy").content


@pytest.mark.parametrize("name", ["neighbour", "nobody"])
def test_the_operators_routes_tell_an_app_nothing_of_names(site: Site, name: str) -> None:
    with site.client("app") as client:
        for method, path in (("DELETE", f"/v1/admin/apps/{name}"), ("POST", f"/v1/admin/apps/{name}/token")):
            answer = client.request(method, path)
            assert answer.status_code == 403
            assert name not in answer.text


def test_a_container_of_another_app_is_a_container_that_does_not_exist() -> None:
    with serving() as site:
        with site.client("neighbour") as client:
            theirs = [client.post("/v1/containers", json={"cores": 1}).json()["id"] for _ in range(4)][-1]
        with site.client("app") as client:
            for method, path, body in (
                ("GET", "", None),
                ("GET", "/logs", None),
                ("PATCH", "", {"running": False}),
                ("DELETE", "", None),
            ):
                known = client.request(method, f"/v1/containers/{theirs}{path}", json=body)
                unknown = client.request(method, f"/v1/containers/c999{path}", json=body)
                assert known.status_code == unknown.status_code == 404
                assert known.json()["detail"].replace(theirs, "") == unknown.json()["detail"].replace("c999", "")
            assert client.put(f"/v1/carbon/rate?container={theirs}", json={"carbon_rate_g_per_h": 1}).status_code == 404
        views = {view.id: view for view in site.backend.snapshot_of("neighbour").containers}
        assert views[theirs].state == "running"


def test_what_one_app_sets_another_does_not_see() -> None:
    with serving() as site:
        before = site.backend.snapshot("neighbour").body
        with site.client("app") as client:
            client.patch("/v1/battery", json={"charge_rate_w": 9.0}).raise_for_status()
            client.put("/v1/carbon/budget", json={"budget_g": 1.0}).raise_for_status()
            client.patch("/v1/app", json={"cap_w": 6.0}).raise_for_status()
            client.put("/v1/app/metrics", json={"metrics": {"queue": 7}}).raise_for_status()
        assert site.backend.snapshot("neighbour").body == before
        assert list(site.backend.metrics) == ["app"]


def test_apps_asking_at_once_each_get_their_own(site: Site) -> None:
    def ask(app: str) -> bool:
        with site.client(app) as client:
            return all(client.get("/v1/energy").json()["app"] == app for _ in range(30))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, ["app", "neighbour"] * 8))


# -- tokens, over the network


WRONG = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer x",
    b"Basic YTpi",
    b"bearer eco_app_" + b"A" * 43,
    b"Bearer " + b"x" * 5000,
    b"Bearer \xff\xfe",
    b"Bearer a b",
]


@pytest.mark.parametrize("path", [b"/v1/energy", b"/v1/battery"])
@pytest.mark.parametrize("presented", WRONG)
def test_a_wrong_token_is_told_so_and_nothing_else(site: Site, presented: bytes, path: bytes) -> None:
    answer = site.raw(b"GET %b HTTP/1.1\r\nhost: x\r\nauthorization: %b\r\nconnection: close\r\n\r\n" % (path, presented))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"www-authenticate: Bearer" in answer
    assert b"tag:token-" in answer


def test_the_scheme_is_read_in_any_case(site: Site) -> None:
    with site.client("") as client:
        assert client.get("/v1/energy", headers={"authorization": f"bEARER {site.token['app']}"}).status_code == 200


def test_a_token_in_the_address_opens_nothing(site: Site) -> None:
    with site.client("") as client:
        assert client.get("/v1/energy", params={"token": site.token["app"]}).status_code in {401, 422}


def test_a_replaced_token_ends_at_once_or_after_its_grace() -> None:
    with serving() as site, site.client(None) as operator, site.client("app") as app:
        made = operator.post("/v1/admin/apps/app/token", params={"grace": "1h"})
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        new = {"authorization": f"Bearer {made.json()['token']}"}
        assert app.get("/v1/energy").status_code == 200, "the old one goes on for a while"
        assert app.get("/v1/energy", headers=new).status_code == 200
        site.call(lambda: site.backend.clock.advance_by(3600.0))
        assert app.get("/v1/energy").status_code == 401
        assert app.get("/v1/energy", headers=new).status_code == 200
        operator.post("/v1/admin/apps/app/token").raise_for_status()
        assert app.get("/v1/energy", headers=new).status_code == 401
        with site.client("neighbour") as other:
            assert other.get("/v1/energy").status_code == 200


def test_a_token_expires() -> None:
    with serving() as site, site.client(None) as operator, site.client("") as client:
        made = operator.post("/v1/admin/apps/app/token", params={"lifetime": "10min"}).json()
        assert made["expires"] == "2026-01-01T00:10:00Z"
        assert site.backend.clock.wall_s() == WALL_S
        headers = {"authorization": f"Bearer {made['token']}"}
        assert client.get("/v1/energy", headers=headers).status_code == 200
        site.call(lambda: site.backend.clock.advance_by(600.0))
        for path in ("/v1/energy", "/v1/battery"):
            assert client.get(path, headers=headers).status_code == 401


def test_the_operator_replaces_its_own_token() -> None:
    with serving() as site, site.client(None) as operator:
        made = operator.post("/v1/admin/token").json()
        assert made["app"] == "_operator"
        assert operator.get("/v1/admin/site").status_code == 401
        assert operator.get("/v1/admin/site", headers={"authorization": f"Bearer {made['token']}"}).status_code == 200


def test_a_token_that_cannot_be_stored_changes_nothing() -> None:
    with serving() as site, site.client(None) as operator, site.client("app") as app:
        site.backend.registry.full = True
        answer = operator.post("/v1/admin/apps/app/token")
        assert (answer.status_code, answer.json()["type"]) == (503, "tag:store")
        assert app.get("/v1/energy").status_code == 200


# -- rates


def test_wrong_tokens_become_slow_and_right_ones_do_not() -> None:
    with (
        serving(limits=Limits(failures_burst=5, failures_per_s=0.001)) as site,
        site.client("") as guessing,
        site.client() as client,
    ):
        statuses = [guessing.get("/v1/energy", headers={"authorization": f"Bearer eco_app_{k}"}).status_code for k in range(8)]
        assert statuses == [401] * 5 + [429] * 3
        late = guessing.get("/v1/energy", headers={"authorization": "Bearer x"})
        assert int(late.headers["retry-after"]) > 0
        assert client.get("/v1/energy").status_code == 200, "one who guesses does not lock others out"


def test_an_app_that_asks_too_often_is_told_when_to_come_back_and_others_are_not() -> None:
    with (
        serving(limits=Limits(requests_burst=5, requests_per_s=0.001)) as site,
        site.client("app") as busy,
        site.client("neighbour") as other,
    ):
        statuses = [busy.get("/v1/energy").status_code for _ in range(7)]
        assert statuses == [200] * 5 + [429] * 2
        answer = busy.get("/v1/battery")
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (429, "tag:too-many")
        assert answer.headers["retry-after"] in problem["remedy"]
        assert other.get("/v1/energy").status_code == 200
        with site.client(None) as operator:
            assert operator.get("/v1/admin/site").status_code == 200


def test_somebody_without_a_token_is_held_to_a_rate() -> None:
    with serving(limits=Limits(anonymous_burst=3, anonymous_per_s=0.001)) as site, site.client("") as client:
        assert [client.get("/healthz").status_code for _ in range(5)] == [200] * 3 + [429] * 2


def test_no_answer_to_an_app_names_the_other(site: Site) -> None:
    with site.client("app") as client:
        for route in ROUTES:
            if route.who is Who.APP and route.reads and "events" not in route.path:
                assert "neighbour" not in client.get(re.sub(r"{(\w+)}", "c1", route.path)).text, route.path

"""What an app reads is what its snapshot and the ledger hold, once, in full, and nobody else's."""

from __future__ import annotations

import httpx
import msgspec
import pytest
from tests.api.serving import Site, serving

from ecovisor import wire
from ecovisor.model.errors import StoreError, Unavailable
from ecovisor.model.units import iso_utc
from ecovisor.testing.sites import START_S

PARTS = {
    "/v1/solar": lambda snapshot: snapshot["solar"],
    "/v1/grid": lambda snapshot: snapshot["grid"],
    "/v1/battery": lambda snapshot: snapshot["battery"],
    "/v1/app": lambda snapshot: snapshot["load"],
    "/v1/containers": lambda snapshot: snapshot["containers"],
    "/v1/containers/c1": lambda snapshot: snapshot["containers"][0],
    "/v1/carbon/budget": lambda snapshot: snapshot["carbon"]["budget"],
}


@pytest.mark.parametrize("app", ["app", "neighbour"])
@pytest.mark.parametrize("path", PARTS)
def test_a_part_is_a_part_of_the_snapshot(site: Site, path: str, app: str) -> None:
    expected = msgspec.to_builtins(site.backend.snapshot_of(app))
    with site.client(app) as client:
        assert client.get("/v1/energy").json() == expected
        assert client.get(path).json() == PARTS[path](expected)


@pytest.mark.parametrize("path", ["/v1/energy", "/v1/solar", "/v1/containers"])
def test_a_reader_that_has_the_tick_gets_no_second_copy(path: str) -> None:
    with serving() as site, site.client() as client:
        first = client.get(path)
        assert first.headers["ecovisor-tick"] == "1"
        same = {"If-None-Match": first.headers["etag"]}
        again = client.get(path, headers=same)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        for other in (f'"other", {first.headers["etag"]}', f"W/{first.headers['etag']}", "*"):
            assert client.get(path, headers={"If-None-Match": other}).status_code == 304
        assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
        site.call(site.backend.advance)
        later = client.get(path, headers=same)
        assert later.status_code == 200
        assert later.headers["ecovisor-tick"] == "2"
        assert later.headers["etag"] != first.headers["etag"]


def test_the_operator_reads_the_site_and_every_app(site: Site) -> None:
    with site.client(None) as client:
        whole = client.get("/v1/admin/site")
        assert client.get("/v1/admin/site", headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
        for app in ("app", "neighbour", "_site"):
            assert client.get("/v1/energy", params={"app": app}).json() == msgspec.to_builtins(site.backend.snapshot_of(app))
        assert client.get("/v1/solar", params={"app": "neighbour"}).status_code == 200


def test_head_is_get_without_the_body(site: Site) -> None:
    with site.client() as client:
        for path in ("/v1/energy", "/v1/battery", "/healthz", "/v1/events"):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (200, b"")
        assert client.head("/v1/energy").headers["content-length"] == str(len(client.get("/v1/energy").content))


INTERVALS = [
    (iso_utc(START_S), iso_utc(START_S + 900)),
    (str(START_S), f"{START_S + 900:.0f}"),
    ("2020-06-01T02:00:00+02:00", "2020-06-01T00:15:00+00:00"),
]


@pytest.mark.parametrize(("start", "end"), INTERVALS)
def test_an_instant_is_understood_however_it_is_written(site: Site, start: str, end: str) -> None:
    with site.client() as client:
        quoted = client.get("/v1/usage", params={"start": start, "end": end})
        bare = client.get(f"/v1/usage?start={start}&end={end}")  # an unquoted '+' arrives as a blank
    for answer in (quoted, bare):
        usage = msgspec.json.decode(answer.content, type=wire.Usage)
        assert (usage.start, usage.end, usage.load_wh) == ("2020-06-01T00:00:00Z", "2020-06-01T00:15:00Z", 2.0)


def test_an_interval_without_an_end_ends_now(site: Site) -> None:
    with site.client() as client:
        answer = client.get("/v1/history", params={"metric": "demand_w", "start": str(START_S)}).json()
    assert (answer["end"], answer["values"]) == ("2020-06-01T00:15:00Z", [8.0])


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/usage", "start"),
        ("/v1/usage?start=yesterday", "start"),
        ("/v1/usage?start=2020-06-01T00:00:00", "start"),
        ("/v1/usage?start=nan", "start"),
        ("/v1/usage?start=1e400", "start"),
        ("/v1/usage?start=-1", "start"),
        ("/v1/usage?start=99999999999999", "start"),
        ("/v1/usage?start=2020-06-01T00:00:00Z&end=2020-06-01T00:00:00Z", "start"),
        ("/v1/usage?start=5&start=6", "start"),
        ("/v1/usage?start=5&until=6", "until"),
        ("/v1/usage?start=5&container=a/b", "container"),
        ("/v1/history?start=5", "metric"),
        ("/v1/history?metric=demand_w&start=0&step=0", "step"),
        ("/v1/history?metric=demand_w&start=0&step=1ms", "step"),
        ("/v1/history?metric=demand_w&start=0&end=1600000000&step=1s", "step"),
        ("/v1/history?metric=demand_w&start=0&end=253402300799", "step"),
        ("/v1/forecast/carbon?horizon=15d", "horizon"),
        ("/v1/forecast/carbon?horizon=-5", "horizon"),
        ("/v1/forecast/carbon?horizon=99999999999999999999d", "horizon"),
        ("/v1/energy?app=neighbour&x=1", "x"),
        ("/v1/events?after=5", "after"),
        ("/v1/events?kinds=a,,b", "kinds"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(site: Site, path: str, field: str) -> None:
    with site.client() as client:
        answer = client.get(path)
    assert answer.status_code == 422, answer.text
    problem = msgspec.json.decode(answer.content, type=wire.Problem)
    assert problem.field == field
    assert problem.detail


@pytest.mark.parametrize("query", ["%ff=1", "start", "a=%zz%ff", "&".join(f"q{k}=1" for k in range(50))])
def test_a_query_that_cannot_be_read_is_refused(site: Site, query: str) -> None:
    with site.client() as client:
        assert client.get(f"/v1/energy?{query}").status_code == 422


def test_times_that_are_not_kept_are_refused_with_those_that_are(site: Site) -> None:
    with site.client() as client:
        answer = client.get("/v1/history?metric=demand_w&start=1000&end=2000&step=900")
        assert answer.status_code == 422
        assert "not within what is kept" in answer.json()["detail"]
        unknown = client.get(f"/v1/history?metric=no_such_w&start={START_S}")
        assert (unknown.status_code, unknown.json()["type"]) == (422, "tag:infeasible")


def test_a_forecast_is_of_carbon_or_solar(site: Site) -> None:
    with site.client() as client:
        for signal, unit in (("carbon", "g/kWh"), ("solar", "W")):
            answer = client.get(f"/v1/forecast/{signal}", params={"horizon": "1h"}).json()
            assert (answer["signal"], answer["unit"], len(answer["values"])) == (signal, unit, 4)
        assert client.get("/v1/forecast/price").status_code == 404


def test_logs_are_text(site: Site) -> None:
    with site.client() as client:
        answer = client.get("/v1/containers/c1/logs")
        assert answer.content == b"hello\n"
        assert answer.headers["content-type"].startswith("text/plain")
        assert client.get("/v1/containers/c9/logs").status_code == 404


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Unavailable("plant tcp://10.0.0.7 is silent"), "tag:unavailable"), (StoreError("/var/lib/x: full"), "tag:store")],
)
def test_what_does_not_answer_is_503_and_its_reason_is_the_operators(fault: Exception, kind: str) -> None:
    with serving() as site:
        site.backend.faults["usage"] = fault
        path = f"/v1/usage?start={START_S}&end={START_S + 900}"
        answers: list[httpx.Response] = []
        for who, more in (("app", ""), (None, "&app=app")):
            with site.client(who) as client:
                answers.append(client.get(path + more))
    for answer in answers:
        assert (answer.status_code, answer.json()["type"]) == (503, kind)
        assert int(answer.headers["retry-after"]) > 0
    assert str(fault) not in answers[0].text
    assert str(fault) in answers[1].json()["detail"]


def test_probes_need_no_token_and_tell_reasons_to_the_operator_only() -> None:
    with serving() as site:
        with site.client("") as client:
            assert client.get("/healthz").json() == {"ok": True, "reasons": []}
            assert client.get("/readyz").json() == {"ok": True, "reasons": []}
            site.backend.not_ready.append("the disk of /var/lib is full")
            answer = client.get("/readyz")
            assert (answer.status_code, answer.json()) == (503, {"ok": False, "reasons": []})
            assert client.get("/healthz").status_code == 200
        with site.client(None) as client:
            assert client.get("/readyz").json()["reasons"] == ["the disk of /var/lib is full"]


def test_before_the_first_tick_it_is_starting() -> None:
    with serving() as site, site.client() as client:
        site.backend.tick = -1
        site.backend.faults["snapshot"] = AssertionError("nothing has been published")
        for path in ("/v1/energy", "/v1/battery", "/v1/events", "/v1/callbacks"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (503, "tag:starting")
            assert answer.headers["retry-after"] == "1"
        assert client.get("/healthz").status_code == 200

"""`ecovisor apps`: what the operator does to a running site, through its socket and over the network, and what is told if it cannot be."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.running_site import running_site
from tests.cli.standing_in import failed

from ecovisor import connect, wire
from ecovisor.api.routes import ROUTES, Who
from ecovisor.assembly.live import LiveSite
from ecovisor.cli import app_shares, operator_endpoints, run
from ecovisor.cli.connection import DEFAULT_URL, locate
from ecovisor.client.endpoints import Endpoint
from ecovisor.model.errors import AuthenticationError, SettingsError

VARIABLES = ("ECOVISOR_URL", "ECOVISOR_TOKEN", "ECOVISOR_TOKEN_FILE", "ECOVISOR_SOCKET")


@pytest.fixture(scope="module")
def site() -> Iterator[LiveSite]:
    with running_site() as running:
        yield running


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No site is named by the environment or the working directory."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


class Operating:
    """Gives commands to a site through its operator's socket."""

    def __init__(self, site: LiveSite, capsys: pytest.CaptureFixture[str]) -> None:
        self.state = ["--state", str(site.state_dir)]
        self.capsys = capsys

    def __call__(self, *words: str) -> str:
        """What is printed."""
        assert run(["apps", *words, *self.state]) == 0
        return self.capsys.readouterr().out

    def json(self, *words: str) -> Any:
        """What is printed as JSON."""
        return json.loads(self(*words, "--json"))

    def refused(self, *words: str) -> str:
        """The one line of an error."""
        return failed(["apps", *words, *self.state], self.capsys)

    def listed(self) -> dict[str, Any]:
        """Apps by name."""
        return {one["app"]: one for one in self.json("list")}

    def until(self, there: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
        """The list, once something is so: apps come and go at ticks."""
        deadline_s = time.monotonic() + 30
        while not there(listed := self.listed()):
            assert time.monotonic() < deadline_s, listed
            time.sleep(0.05)
        return listed


@pytest.fixture
def apps(site: LiveSite, capsys: pytest.CaptureFixture[str]) -> Operating:
    return Operating(site, capsys)


def joined(name: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether an app is in the tick's snapshot."""
    return lambda seen: seen.get(name, {}).get("containers") is not None


# -- list


def test_the_list_has_every_app_with_its_shares_and_the_site_with_the_rest(apps: Operating) -> None:
    listed = apps.until(lambda seen: all(one["power_w"] for name, one in seen.items() if name != "_site"))
    assert list(listed) == ["web", "a.solar", "_site"]
    for resource in app_shares.RESOURCES:
        assert [one["shares"][resource] for one in listed.values()] == [0.5, 0.125, 0.375]
    assert [one["state"] for one in listed["web"]["containers"]] == ["running"]
    table = apps("list").splitlines()
    assert table[2].split()[:5] == ["web", "0.50", "0.50", "0.50", "0.50"]
    assert "1 of 1" in table[2]
    assert table[4].split()[0] == "_site"


def test_a_state_directory_that_lies_here_need_not_be_named(
    site: LiveSite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.state_dir.parent)
    assert run(["apps", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("web")


# -- add, logs, remove


def test_an_app_that_is_added_has_a_socket_a_token_and_containers_until_it_is_removed(site: LiveSite, apps: Operating) -> None:
    told = apps.json(
        "add", "batch", "--share", "0.1", "--solar-share", "0.25", "--command", "work", "--containers", "2", "--cores", "0.5"
    )
    assert told["shares"] == {"grid": 0.1, "solar": 0.25, "battery_energy": 0.1, "battery_power": 0.1}
    socket = Path(told["socket"])
    assert socket == site.socket_of("batch")
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    listed = apps.until(lambda seen: len(seen.get("batch", {}).get("containers") or []) == 2)
    assert [one["cores"] for one in listed["batch"]["containers"]] == [0.5, 0.5]
    with connect(unix=socket) as by_socket, connect(site.url, told["token"]) as by_token:
        assert by_socket.name == by_token.name == "batch"
        assert by_token.snapshot.tick >= told["effective_tick"]

    assert "app 'batch' exists already" in apps.refused("add", "batch", "--share", "0.1")

    gone = apps("remove", "batch", "--yes")
    assert gone.startswith("batch has left, from tick ")
    assert not socket.exists()
    with pytest.raises(AuthenticationError):
        connect(site.url, told["token"])
    assert "batch" not in apps.until(lambda seen: "batch" not in seen)
    assert re.search("no app 'batch'|'batch' does not exist", apps.refused("remove", "batch", "--yes"))


def test_what_is_told_of_a_new_app_is_what_works(site: LiveSite, apps: Operating) -> None:
    lines = apps("add", "told", "--share", "0.05").splitlines()
    assert "a share of 0.05 of everything" in lines[0]
    token = lines[1].split()[1]
    socket = lines[2].split()[1]
    assert lines[3] == f"next:   ecovisor run-policy policy.py:NAME --unix {socket}"
    assert "runs no containers" in lines[4]
    apps.until(joined("told"))
    with connect(site.url, token) as app, connect(unix=socket) as same:
        assert app.name == same.name == "told"
        assert app.list_containers() == []
    apps("remove", "told", "--yes")


def test_an_app_that_cannot_be_added_leaves_nothing(site: LiveSite, apps: Operating) -> None:
    assert "command 'nix' is not among the site's commands" in apps.refused("add", "x", "--share", "0.1", "--command", "nix")
    assert "sum to 1.6" in apps.refused("add", "x", "--share", "0.975")
    assert "cannot be the name of an app" in apps.refused("add", "../x", "--share", "0.1")
    assert "cannot be the name of an app" in apps.refused("add", "_site", "--share", "0.1")
    assert "without a command" in apps.refused("add", "x", "--cores", "2")
    assert "webhook_allow" in apps.refused("add", "x", "--webhook-allow", "http://")
    assert "--save" in apps.refused("add", "x", "--share", "0.1", "--save", "nowhere/x.token")
    assert not site.socket_of("x").exists()
    assert "x" not in apps.listed()


def test_a_container_that_ended_badly_is_pointed_out_and_its_output_shown(apps: Operating) -> None:
    apps("add", "broken", "--share", "0.01", "--command", "fails")
    apps.until(lambda seen: any(one["exit_code"] for one in seen.get("broken", {}).get("containers") or []))
    assert "! broken/c1 ended with exit code 3; 'ecovisor apps logs broken c1' shows what it wrote" in apps("list")
    assert apps("logs", "broken", "c1") == "c1 has written nothing\n"
    apps("remove", "broken", "--yes")


def test_logs_are_the_last_lines_without_what_a_terminal_would_obey(apps: Operating) -> None:
    assert apps("logs", "web") == "one\ntwo�[2Jthree\n"
    assert apps("logs", "web", "c1", "--lines", "1") == "two�[2Jthree\n"
    assert "did you mean 'web'?" in apps.refused("logs", "wep")
    assert "web has no such container" in apps.refused("logs", "web", "c7")


def test_at_a_terminal_removing_asks_first(
    apps: Operating, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apps("add", "asked", "--share", "0.01")
    apps.until(joined("asked"))
    asked: list[str] = []

    def answer(question: str, *, abort: bool, err: bool) -> None:
        asked.append(question)
        if len(asked) == 1:
            raise typer.Abort

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", answer)
    assert run(["apps", "remove", "asked", *apps.state]) == 130
    capsys.readouterr()
    assert "asked" in apps.listed()
    apps("remove", "asked")
    assert asked == 2 * ["Stop the containers of asked and end its token?"]
    apps.until(lambda seen: "asked" not in seen)


# -- shares


def test_shares_change_at_one_boundary_and_the_others_stay(apps: Operating) -> None:
    told = apps.json("shares", "web=0.25", "web.battery=0.125", "a.solar.solar=0.5")
    expected = {
        "web": {"grid": 0.25, "solar": 0.25, "battery_energy": 0.125, "battery_power": 0.125},
        "a.solar": {"grid": 0.125, "solar": 0.5, "battery_energy": 0.125, "battery_power": 0.125},
    }
    assert told["shares"] == expected
    listed = apps.listed()
    assert {name: listed[name]["shares"] for name in expected} == expected
    assert apps("shares", "web=0.5", "a.solar=0.125").splitlines()[0].startswith("web: a share of 0.5 of everything, from tick ")


def test_shares_that_cannot_be_change_nothing(apps: Operating) -> None:
    before = {name: one["shares"] for name, one in apps.listed().items()}
    assert "sum to 1.1" in apps.refused("shares", "web.grid=0.975")
    assert "there is no app 'wep'; did you mean 'web'?" in apps.refused("shares", "web=0.1", "wep=0.1")
    assert "'' is no number" in apps.refused("shares", "web")
    assert "must be from 0 to 1" in apps.refused("shares", "web=1.5")
    assert "must be from 0 to 1" in apps.refused("shares", "web=nan")
    assert {name: one["shares"] for name, one in apps.listed().items()} == before


RATIOS = st.floats(0.0, 1.0)
NAMES = ("web", "web.solar", "a.b", "battery")
FOUR = st.builds(wire.Shares, grid=RATIOS, solar=RATIOS, battery_energy=RATIOS, battery_power=RATIOS)
PARTS = {
    "": app_shares.RESOURCES,
    ".battery": ("battery_energy", "battery_power"),
    **{f".{one}": (one,) for one in app_shares.RESOURCES},
}


@given(
    st.fixed_dictionaries(dict.fromkeys(NAMES, FOUR)),
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(list(PARTS)), RATIOS), max_size=8),
)
def test_of_each_resource_the_last_word_counts_and_what_is_not_named_stays(
    held: dict[str, wire.Shares], words: list[tuple[str, str, float]]
) -> None:
    words = [word for word in words if not (word[0] == "web" and word[1] == ".solar")]  # that is the app `web.solar`
    new = app_shares.changed(held, [f"{name}{part}={share!r}" for name, part, share in words])
    assert set(new) == {name for name, _, _ in words}
    for name, shares in new.items():
        for resource in app_shares.RESOURCES:
            said = [share for who, part, share in words if who == name and resource in PARTS[part]]
            assert getattr(shares, resource) == (said[-1] if said else getattr(held[name], resource))


# -- tokens


def test_a_new_token_ends_the_one_before_unless_it_is_given_grace(site: LiveSite, apps: Operating) -> None:
    first = apps("token", "web").strip()
    second = apps("token", "web").strip()
    with pytest.raises(AuthenticationError):
        connect(site.url, first)
    third = apps.json("token", "web", "--grace", "1h", "--lifetime", "30d")
    assert third["expires"].endswith("Z")
    for token in (second, third["token"]):
        with connect(site.url, token) as app:
            assert app.name == "web"
    assert "there is no app" in apps.refused("token", "nobody")
    assert "neither is given" in apps.refused("token")
    assert "both are given" in apps.refused("token", "web", "--operator")


def test_a_saved_token_is_in_a_file_of_ones_own_and_not_on_the_screen(site: LiveSite, apps: Operating, tmp_path: Path) -> None:
    file = tmp_path / "web.token"
    file.write_text("the one before", "utf-8")
    file.chmod(0o644)
    shown = apps("token", "web", "--save", str(file))
    assert "eco_app" not in shown
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with connect(site.url, file.read_text("utf-8").strip()) as app:
        assert app.name == "web"
    assert list(tmp_path.iterdir()) == [file]
    shown_json = apps.json("token", "web", "--save", str(file))
    assert shown_json["token"] is None


def test_a_token_that_could_not_be_saved_is_not_made(site: LiveSite, apps: Operating, tmp_path: Path) -> None:
    token = apps("token", "web").strip()
    for place in (tmp_path / "nowhere" / "web.token", tmp_path):
        assert f"--save {place}: cannot be written" in apps.refused("token", "web", "--save", str(place))
    with connect(site.url, token) as app:
        assert app.name == "web"


def test_a_disk_that_fills_up_meanwhile_is_told_with_the_remedy(
    apps: Operating, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    error = apps.refused("token", "a.solar", "--save", str(tmp_path / "x.token"))
    assert "could not be written: No space left on device; the new token is lost; make another" in error
    assert list(tmp_path.iterdir()) == []


def test_over_the_network_the_operators_token_is_what_counts(
    site: LiveSite, apps: Operating, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "operator.token"
    apps("token", "--operator", "--save", str(file))
    assert run(["apps", "list", "--url", site.url, "--token-file", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["app"] == "web"
    assert run(["apps", "add", "far", "--share", "0.01", "--url", site.url, "--token-file", str(file)]) == 0
    assert (
        capsys.readouterr().out.splitlines()[2] == f"next:   ecovisor run-policy policy.py:NAME --url {site.url} --token-file FILE"
    )
    apps.until(joined("far"))
    apps("remove", "far", "--yes")
    monkeypatch.setenv("ECOVISOR_URL", site.url)
    monkeypatch.setenv("ECOVISOR_TOKEN", apps("token", "web").strip())
    assert "this is the operator's; use the operator's token" in failed(["apps", "list"], capsys)
    monkeypatch.delenv("ECOVISOR_TOKEN")
    assert "no token; give --token-file with the operator's" in failed(["apps", "list"], capsys)


# -- where the site is


def test_nobody_there_is_one_line_with_the_command_that_starts_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = "no site runs there; start it with 'ecovisor serve --config site.toml'"
    assert start in failed(["apps", "list", "--url", "http://127.0.0.1:9"], capsys)
    assert start in failed(["apps", "list", "--state", str(tmp_path)], capsys)
    monkeypatch.setenv("ECOVISOR_SOCKET", str(tmp_path / "gone.sock"))
    assert f"gone.sock: {start}" in failed(["apps", "list"], capsys)
    assert "name two places" in failed(["apps", "list", "--state", "state", "--url", "http://127.0.0.1:9"], capsys)


@pytest.mark.parametrize(
    ("given", "environment", "here", "target"),
    [
        ({}, {}, False, DEFAULT_URL),
        ({}, {}, True, "_operator.sock"),
        ({}, {"ECOVISOR_URL": "http://a:1"}, True, "http://a:1"),
        ({}, {"ECOVISOR_URL": "http://a:1", "ECOVISOR_SOCKET": "x.sock"}, True, "x.sock"),
        ({}, {"ECOVISOR_TOKEN": "t"}, True, DEFAULT_URL),
        ({"url": "http://b:2"}, {"ECOVISOR_URL": "http://a:1", "ECOVISOR_SOCKET": "x.sock"}, True, "http://b:2"),
        ({"unix": Path("y.sock")}, {"ECOVISOR_URL": "http://a:1"}, True, "y.sock"),
        ({"token_file": Path("t")}, {"ECOVISOR_SOCKET": "x.sock"}, True, DEFAULT_URL),
        ({"token_file": Path("t")}, {"ECOVISOR_SOCKET": "x.sock", "ECOVISOR_URL": "http://a:1"}, True, "http://a:1"),
        ({"state": Path("other")}, {"ECOVISOR_URL": "http://a:1"}, True, "other/sockets/_operator.sock"),
    ],
)
def test_the_nearest_word_says_where_the_site_is(
    given: dict[str, Any], environment: dict[str, str], here: bool, target: str, tmp_path: Path
) -> None:
    Path("t").write_text("token\n", "utf-8")
    if here:
        Path("state/sockets").mkdir(parents=True)
        Path("state/sockets/_operator.sock").touch()
    found = locate(**given, environment=environment).target
    assert (found.socket_path or found.url).endswith(target)


def test_two_places_are_refused_whichever_they_are() -> None:
    for places in (
        {"url": "http://a", "state": Path("s")},
        {"unix": Path("u"), "state": Path("s")},
        {"url": "http://a", "unix": Path("u")},
    ):
        with pytest.raises(SettingsError, match="name two places"):
            locate(**places, environment={})


def test_the_servers_table_of_routes_has_what_the_commands_ask() -> None:
    table = {(route.method, route.path): route for route in ROUTES if route.who is Who.OPERATOR}
    asked = [one for one in vars(operator_endpoints).values() if isinstance(one, Endpoint)]
    assert len(asked) >= 7
    for endpoint in asked:
        route = table[endpoint.method, endpoint.path]
        assert (route.answer, route.request) == (endpoint.answer, endpoint.request)
        assert set(endpoint.query) <= {one.name for one in route.query}


def test_every_command_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("list", "logs", "add", "shares", "token", "remove"):
        assert run(["apps", command, "--help"]) == 0
        assert f"ecovisor apps {command}" in capsys.readouterr().out

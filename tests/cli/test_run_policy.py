"""`ecovisor run-policy`: any policy file, or a built-in policy, drives a live app; what is wrong is one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.client.colours import played_site
from tests.client.played_server import TOKEN, PlayedServer

from ecovisor.cli import run

POLICY = """
class Charge:
    def __init__(self, rate_w: float = 100.0) -> None:
        self.rate_w = rate_w

    def start(self, energy) -> None:
        self.limit_w = energy.battery_charge_limit_w

    def tick(self, energy, app) -> None:
        assert energy.set_battery_charge_rate(self.rate_w) == min(self.rate_w, self.limit_w)
"""
FAILS_AT_2 = """
def tick(energy, app):
    energy.scale_containers(1.0)
    if energy.effective_tick == 2:
        raise ValueError("two\\nis not my number")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedServer]:
    monkeypatch.chdir(tmp_path)
    for name in ("ECOVISOR_TOKEN_FILE", "ECOVISOR_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    with PlayedServer(played_site(), lockstep=8) as server:
        monkeypatch.setenv("ECOVISOR_URL", server.url)
        monkeypatch.setenv("ECOVISOR_TOKEN", TOKEN)
        yield server


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert run(["run-policy", *words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_file_with_one_policy_drives_the_app(site: PlayedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.py").write_text(POLICY, "utf-8")
    *ticks, end = lines(capsys, "policy.py", "--ticks", "3", "--option", "rate_w=5")
    assert [tick["tick"] for tick in ticks] == [0, 1, 2]
    assert end == {"app": "app", "policy": "policy.py:Charge", "ticks": 3, "failed_ticks": 0, "late_ticks": 0}
    assert ticks[2]["battery_level_wh"] > ticks[1]["battery_level_wh"] > ticks[0]["battery_level_wh"] == 0.0
    assert [one.body for one in site.asked if one.method == "PATCH"] == [b'{"charge_rate_w":5.0}'] * 3
    assert site.site.tick == 3


def test_people_read_what_was_seen_set_and_clipped(site: PlayedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.py").write_text(POLICY, "utf-8")
    assert run(["run-policy", "policy.py:Charge", "--ticks", "2"]) == 0
    head, names, first, second, end = capsys.readouterr().out.splitlines()
    assert head == f"policy.py:Charge drives app at {site.url}: ticks of 15 min, times in UTC"
    assert names.split() == ["tick", "time", "power", "solar", "grid", "battery", "carbon", "set"]
    assert first.split("  ")[-1] == "charge_rate_w 100 → 25 (the app's charge limit)"
    assert "01 Jun 00:15:00" in second
    assert "8.0 W" in second
    assert end == "policy.py:Charge drove app for 2 ticks"


def test_a_built_in_policy_takes_its_fields_as_options(site: PlayedServer, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--option", "percentile=25", "--option", "window=24h", "--option", "scale=3"]
    *_, end = lines(capsys, "wait-and-scale", "--ticks", "2", *options)
    assert end["policy"] == "wait-and-scale"
    assert [one.query for one in site.asked if one.path == "/v1/forecast/carbon"] == [{"horizon": "86400.0"}]
    assert [one.body for one in site.asked if one.method == "PATCH"] == [b'{"scale_ratio":0.0}'] * 2


def test_a_policy_that_fails_stops_at_its_tick(site: PlayedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.py").write_text(FAILS_AT_2, "utf-8")
    assert run(["run-policy", "policy.py"]) == 2
    shown = capsys.readouterr()
    assert shown.err == (
        "error: apps.app.policy: tick 2 (2020-06-01T00:30:00Z): ValueError: two is not my number; the run was stopped\n"
    )
    assert shown.out.splitlines()[-1] == "policy.py:tick drove app for 2 ticks"
    assert site.site.tick == 2, "the tick in which it failed was not answered"


def test_it_may_be_kept_going(site: PlayedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.py").write_text(FAILS_AT_2, "utf-8")
    assert run(["run-policy", "policy.py", "--ticks", "5", "--keep-going"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "tick 2: policy.py:tick failed: ValueError: two is not my number\n"
    assert shown.out.splitlines()[-1] == "policy.py:tick drove app for 5 ticks, and failed in 1 of them"
    *ticks, _ = lines(capsys, "policy.py", "--ticks", "2", "--keep-going")
    assert [tick["error"] for tick in ticks] == [None, None]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["no.py"], "error: no.py: there is no file 'no.py'"),
        (["two.py"], "error: two.py: defines 2 policies; name one: two.py:A, two.py:B"),
        (["none.py"], "error: none.py: defines no class with tick(energy, app), and no function tick; add one"),
        (["broken.py"], "error: broken.py: broken.py does not load: SyntaxError"),
        (["two.py:C"], "two.py has no 'C'"),
        (["suspend-resum"], "error: suspend-resum: no policy is called 'suspend-resum'; did you mean 'suspend-resume'"),
        (["remote"], "error: remote: says that an app drives itself, and is no policy; name a policy file"),
        (["suspend-resume", "--option", "scale=2"], "error: --option scale: makes no sense for the policy 'suspend-resume'"),
        (["suspend-resume", "--option", "percentile=200"], "error: --option percentile: "),
        (["static-carbon-rate"], "error: --option carbon_rate_g_per_h: missing; the policy 'static-carbon-rate' needs it"),
        (["two.py:A", "--option", "x=1"], "error: two.py:A.options: two.py:A cannot be made: TypeError"),
        (["two.py:A", "--option", "x"], "error: --option x: is no KEY=VALUE; write for example --option scale=3"),
        (["two.py:A", "--wait", "soon"], "error: --wait: 'soon' is no duration"),
        (["two.py:A", "--app", "web", "--url", "http://x"], "error: --app: names a socket in a state directory"),
        (["two.py:A", "--unix", "state/sockets/_operator.sock"], "error: run-policy: this is the operator's socket"),
        (["two.py:A", "--app", "web"], "cannot be reached"),
        (["two.py:A", "--token-file", "no.token"], "error: token file no.token: cannot be read"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: list[str], told: str, site: PlayedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = "class A:\n    def tick(self, energy, app): ...\n\nclass B(A): ...\n"
    (tmp_path / "two.py").write_text(two, "utf-8")
    (tmp_path / "none.py").write_text("from ecovisor.policies.carbon_agnostic import CarbonAgnostic\n", "utf-8")
    (tmp_path / "broken.py").write_text("def tick(:\n", "utf-8")
    assert run(["run-policy", *words]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_wrong_token_is_one_line(site: PlayedServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "token").write_text("wrong", "utf-8")
    assert run(["run-policy", "carbon-agnostic", "--url", site.url, "--token-file", "token"]) == 2
    assert f"error: {site.url}: the token is not accepted" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_it_ends_cleanly_when_it_is_told_to(site: PlayedServer, number: signal.Signals, status: int) -> None:
    command = [sys.executable, "-m", "ecovisor", "run-policy", "carbon-agnostic"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = [process.stdout.readline() for _ in range(4)]
        process.send_signal(number)
        shown += process.stdout.readlines()
        assert process.stderr.read() == ""
    assert process.returncode == status
    assert shown[-1].startswith("carbon-agnostic drove app for ")

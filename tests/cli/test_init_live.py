"""`ecovisor init --live`: what it writes is right as it is, line by line; and `ecovisor check` of live sites."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.cli.standing_in import failed

from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.cli import init, run
from ecovisor.ports import Policy
from ecovisor.testing import PolicyContract

SITE = "site.toml"
#: A year of a modelled sun takes a second to compute.
QUICK = ["--set", "signals.solar={kind='constant',value=30}"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with what `init --live` writes; the working directory."""
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--live"]) == 0
    capsys.readouterr()
    return tmp_path


def test_what_it_writes_it_names_and_check_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["init", "--live", "new/mysite"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("wrote site.toml, work.py, policy.py, carbon.csv in new/mysite\n")
    assert sorted(path.name for path in (tmp_path / "new" / "mysite").iterdir()) == sorted(init.LIVE_FILES)
    commands = re.findall(r"^  (ecovisor .*?)(?:   \(.*)?$", told, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["check", "serve", "run-policy"]
    monkeypatch.chdir("new/mysite")
    assert run(commands[0].split()[1:]) == 0
    told = capsys.readouterr().out
    assert told.startswith("site.toml: fine. 1 app(s), live in ticks of 5 min, 300 times as fast as time\n")
    assert "note: carbon: carbon.csv, column 'carbon_intensity_g_per_kwh'" in told
    assert list(Path().glob("state*")) == [], "nothing is started or written"


def test_nothing_is_overwritten_and_nothing_half_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "site.toml").unlink()
    (folder / "policy.py").unlink()
    (folder / "work.py").write_text("precious", "utf-8")
    assert "work.py: exists already; name an empty folder" in failed(["init", "--live"], capsys)
    assert (folder / "work.py").read_text("utf-8") == "precious"
    assert not (folder / "site.toml").exists()
    assert not (folder / "policy.py").exists()
    (folder / "file").touch()
    assert "cannot be made" in failed(["init", "--live", "file/site"], capsys)


def test_every_line_that_is_commented_out_is_valid_too(folder: Path) -> None:
    known = ("grid_limit_w", "overhead_w", "align", "webhook_allow", "separate_users", "meters", "enforce_budgets", "environment")
    lines = (folder / SITE).read_text("utf-8").splitlines()
    text = "\n".join(line[2:] if line.startswith("# ") and line[2:].startswith(known) else line for line in lines)
    tables = tomllib.loads(text)
    assert tables["server"]["meters"] == ["powercap"]
    assert tables["signals"]["carbon"]["align"] == "year"
    assert tables["server"]["commands"]["work"]["environment"] == {"THREADS": "1"}
    (folder / "all.toml").write_text(text, "utf-8")
    assert run(["check", "all.toml", *QUICK]) == 0


def test_it_knows_this_machine(folder: Path) -> None:
    scenario, _ = load_scenario(str(folder / SITE))
    assert scenario.site.server.cores == os.cpu_count()


def test_as_root_containers_have_users_of_their_own_only_where_those_could_run_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name, closed, expected in (("open", None, True), ("shut", tmp_path, False)):
        monkeypatch.setattr(init, "closed_to_others", lambda _, closed=closed: closed)
        assert run(["init", "--live", str(tmp_path / name)]) == 0
        assert (f"note: {tmp_path} is closed to other users" in capsys.readouterr().out) is not expected
        scenario, _ = load_scenario(str(tmp_path / name / SITE))
        assert scenario.server is not None
        assert scenario.server.separate_users is expected


def test_what_is_closed_to_others_is_found_on_every_way(tmp_path: Path) -> None:
    base = Path(tmp_path.anchor)
    within = tmp_path / "a" / "b"
    within.mkdir(parents=True)
    file = within / "file"
    file.touch(0o644)
    # What is above the test's folder is as it is; only what is below counts here.
    above = init.closed_to_others([base / "etc" / "passwd"])
    assert above is None
    opened = [folder for folder in [tmp_path, *tmp_path.parents] if folder.owner() == tmp_path.owner() and folder.parent != folder]
    closed_above = next((folder for folder in reversed(opened) if not folder.stat().st_mode & 0o001), None)
    if closed_above is not None:
        assert init.closed_to_others([file]) == closed_above
        return
    assert init.closed_to_others([file]) is None
    (tmp_path / "a").chmod(0o700)
    assert init.closed_to_others([file]) == tmp_path / "a"


# -- what is written runs


def test_the_script_runs_by_itself_too(folder: Path) -> None:
    process = subprocess.Popen([sys.executable, "work.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
        process.terminate()
    process.wait()
    assert re.fullmatch(r"\d+ primes up to \d+, \d+ a second\n", line)


class TestThePolicyThatIsWritten(PolicyContract):
    def make(self) -> Policy:
        scope: dict[str, type[Policy]] = {}
        exec(compile((init.TEMPLATE_LIVE / "policy.py").read_text("utf-8"), "policy.py", "exec"), scope)
        return scope["CleanHours"]()


# -- check


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('server.commands.work.argv=["{python}","wrok.py"]', "server.commands.work.argv[1]: there is no file"),
        ('server.commands.work={argv=["{python}","work.py"]}', "'work.py' is looked for in a folder of the container's own; write"),
        ('server.commands.work.argv=["./work.py"]', "work.py may not be run; chmod +x"),
        ('server.commands.work={argv=["./work.py"]}', "is looked for in a folder of the container's own"),
        ('server.commands.work.argv=["no-such-program"]', "there is no 'no-such-program' in /usr/local/sbin:"),
        ('server.commands.work={argv=["true"],environment={PATH="/nowhere"}}', "there is no 'true' in /nowhere"),
        ("server.commands.work.directory=nowhere", "nowhere is no folder"),
        ("signals.carbon.file=nowhere.csv", "there is no such file"),
        ("signals.carbon.repeat=false", "carbon.csv: covers 2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z"),
        ("signals.solar={kind='file',file='carbon.csv'}", "carbon.csv"),
        ('apps.mine.policy={kind="policy.py:Nobody"}', "policy.py has no 'Nobody'"),
        ('apps.mine.webhook_allow=["https://a/b"]', "apps[0].webhook_allow: 'https://a/b' has a path; write https://a"),
        ("run.tick=3h", "the solar buffer of one tick"),
        ("server={tls_certificate='c.pem',tls_key='k.pem'}", "server.commands"),
        ("apps.mine.commands=[]", "apps[0].commands (app 'mine'): missing"),
    ],
)
def test_check_finds_what_a_start_would_stumble_over(
    folder: Path, capsys: pytest.CaptureFixture[str], change: str, told: str
) -> None:
    assert told in failed(["check", SITE, *QUICK, "--set", change], capsys)
    assert list(folder.glob("state*")) == []


@pytest.mark.parametrize(
    "change",
    [
        'server.commands.work.argv=["{python}","-m","this"]',
        'server.commands.work={argv=["{python}"]}',
        'server.commands.work={argv=["sleep","1"]}',
        'server.commands.work={argv=["/bin/sh","-c","echo"]}',
        'apps.mine.policy={kind="policy.py:CleanHours",options={clean_g_per_kwh=100}}',
        'apps.mine.webhook_allow=["https://hooks.example.org"]',
    ],
)
def test_check_accepts_what_would_start(folder: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    assert run(["check", SITE, *QUICK, "--set", change]) == 0
    assert capsys.readouterr().out.startswith("site.toml: fine. 1 app(s), live")


def test_certificates_must_be_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["check", SITE, *QUICK, "--set", "server.tls_certificate=c.pem", "--set", "server.tls_key=k.pem"]
    assert "server.tls_certificate: c.pem cannot be read; name a PEM file" in failed(words, capsys)
    (folder / "c.pem").touch()
    (folder / "k.pem").touch()
    assert run(words) == 0


def test_check_of_a_live_site_in_json_says_what_is_not_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / SITE).read_text("utf-8")
    carbon = text[text.index("[signals.carbon]") : text.index("[signals.solar]")]
    (folder / SITE).write_text(text.replace(carbon, ""), "utf-8")
    words = ["check", SITE, *QUICK, "--set", "server.compression=1"]
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["live"], told["apps"], told["ticks"]) == (True, 1, None)
    assert any("signals.carbon: not given" in note for note in told["notes"])
    assert run(words) == 0
    assert capsys.readouterr().out.startswith("site.toml: fine. 1 app(s), live in ticks of 5 min\n")

"""`ecovisor doctor`: everything that serve rests on is tried, told with its remedy, and left as it was."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.standing_in import failed

from ecovisor.adapters.probes import Finding, State, installation
from ecovisor.cli import doctor, run

SITE = """
schema = 1
[run]
start = "2020-06-01T00:00Z"
tick = "1s"
[server]
listen = "127.0.0.1:0"
[[apps]]
name = "web"
[apps.workload]
kind = "constant"
demand_w = 3.0
"""


@pytest.fixture
def site(tmp_path: Path) -> str:
    (tmp_path / "site.toml").write_text(SITE, "utf-8")
    return str(tmp_path / "site.toml")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit status and findings by subject."""
    status = run(["doctor", "--json", *arguments])
    shown = capsys.readouterr()
    assert shown.err == ""
    answer = json.loads(shown.out)
    assert answer["serve_possible"] is not any(finding["blocks_serve"] for finding in answer["findings"])
    assert status == (0 if answer["serve_possible"] else 1)
    return status, {finding["subject"]: finding for finding in answer["findings"]}


def test_everything_that_serve_rests_on_is_examined(
    site: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(site).parent
    monkeypatch.chdir(folder)
    status, findings = asked(capsys, "--config", site)
    assert status == 0
    assert list(findings) == [
        "python", "extra server", "extra fast", "user", "processors", "control groups", "caps", "separate users",
        "python for containers", "power meter", "power curve", "clock", "state directory", "disk space", "sockets", "address listen",
        "protection",
    ]  # fmt: skip
    for finding in findings.values():
        assert finding["state"] == "ok" or (finding["follows"] and finding["remedy"]), finding
    assert findings["power curve"]["state"] == "limited"
    assert "the default" in findings["power curve"]["found"]
    assert [path.name for path in folder.iterdir()] == ["site.toml"]


def test_a_simulated_platform_asks_for_no_containers(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    preset = ("--set", "site.server.preset=microserver", "--set", "server.platform=simulated")
    _, findings = asked(capsys, "--config", site, *preset)
    assert "control groups" not in findings
    assert findings["caps"]["found"].startswith("simulated")
    assert findings["power curve"]["found"] == "1.35 to 5 W for 4 cores, preset microserver"


def test_what_the_site_asks_for_and_cannot_have_ends_with_status_1(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        wishes = [
            f"server.listen={taken}", "server.metrics_listen=127.0.0.2:0", f"server.state_dir={'s' * 90}",
            "site.server.power_curve_w=[10, 15, 40]",
        ]  # fmt: skip
        status, findings = asked(capsys, "--config", site, *(word for wish in wishes for word in ("--set", wish)))
    assert status == 1
    assert findings["address listen"]["found"] == f"{taken} is in use by another process"
    assert findings["address metrics_listen"]["state"] == "ok"
    assert findings["sockets"]["blocks_serve"]
    assert findings["power curve"]["found"] == "10 to 40 W for 4 cores, 3 points"


def test_a_server_that_runs_already_explains_its_address(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    fcntl = pytest.importorskip("fcntl")
    ledger = Path(site).parent / "state" / "ledger"
    ledger.mkdir(parents=True)
    with (ledger / "ledger.lock").open("w+") as lock, socket.create_server(("127.0.0.1", 0)) as server:
        lock.write("pid 4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, findings = asked(capsys, "--config", site, "--set", f"server.listen=127.0.0.1:{server.getsockname()[1]}")
    assert status == 0
    assert findings["server"]["found"] == "one runs on this state directory, with pid 4711"
    assert findings["address listen"]["state"] == "missing"


def test_the_lock_is_where_the_ledger_has_it(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    ledger_module = pytest.importorskip("ecovisor.adapters.stores.ledger")
    state = Path(site).parent / "state"
    state.mkdir()
    ledger = ledger_module.Ledger.open(state / "ledger", site="site", timezone="UTC")
    try:
        _, findings = asked(capsys, "--config", site)
        assert findings["server"]["found"].endswith(f"with pid {os.getpid()}")
    finally:
        ledger.close()


def test_people_read_a_table_that_fits_and_a_verdict(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--config", site]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.splitlines()[0].startswith("ok       python")
    assert "remedy: 'ecovisor calibrate' prints the lines for site.server" in shown
    assert "serve can start here, with limits: " in shown
    assert run(["doctor", "--config", site, "--set", "server.listen=192.0.2.1:0"]) == 1
    assert "serve cannot start here: address listen, protection" in capsys.readouterr().out


def test_where_all_is_well_it_says_so() -> None:
    assert "enforces everything" in doctor._verdict([Finding("caps", State.OK, "cgroup-v2")])[0]


def test_without_the_servers_parts_serve_cannot_start(
    site: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = installation.probe_extras
    monkeypatch.setattr(installation, "probe_extras", lambda: whole(lambda name: name != "starlette"))
    status, findings = asked(capsys, "--config", site)
    assert status == 1
    assert findings["extra server"]["remedy"] == "pip install 'ecovisor[server]'"


def test_on_windows_it_stops_at_what_serve_cannot_do_without(
    site: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = installation.probe_python
    monkeypatch.setattr(installation, "probe_python", lambda: whole("win32"))
    status, findings = asked(capsys, "--config", site)
    assert (status, list(findings)) == (1, ["python", "extra server", "extra fast"])


def test_without_a_file_the_defaults_are_examined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, findings = asked(capsys)
    assert "power curve" not in findings
    assert findings["state directory"]["found"].startswith("state (to be made)")
    assert "127.0.0.1:7780" in findings["address listen"]["found"]


def test_meters_of_ones_own_are_tried_beside_the_file(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(site).parent / "plug.py").write_text(
        "from ecovisor.model.series import Quality\nfrom ecovisor.ports.live import EnergyCounter\n"
        "class Plug:\n"
        "    async def read(self):\n        return EnergyCounter(1.0, Quality.MEASURED)\n"
        "    def describe(self):\n        return 'a plug'\n",
        "utf-8",
    )
    _, findings = asked(capsys, "--config", site, "--set", 'server.meters=["plug.py:Plug"]')
    assert findings["power meter"]["found"] == "plug.py:Plug: a plug"
    assert "did you mean 'powercap'?" in failed(["doctor", "--config", site, "--set", 'server.meters=["powercat"]'], capsys)


def test_a_file_that_cannot_be_used_is_one_line(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "server.platform" in failed(["doctor", "--config", site, "--set", "server.platform=magic"], capsys)
    assert "none.toml" in failed(["doctor", "--config", "none.toml"], capsys)


def test_nothing_heavy_is_loaded_to_look_around(tmp_path: Path) -> None:
    code = (
        "import sys; from ecovisor.cli import run; run(['doctor', '--json'])\n"
        "print(*{'numpy', 'matplotlib', 'pandas', 'scipy', 'numba', 'pyarrow', 'starlette', 'aiohttp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == ""


def test_its_help_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("doctor", "calibrate"):
        assert run([verb, "--help"]) == 0
        assert f"ecovisor {verb}" in capsys.readouterr().out

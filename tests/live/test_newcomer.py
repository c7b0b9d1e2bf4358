"""What a newcomer reads works: docs/live.md as it stands, in an empty folder and a bare environment, and the ninth example.

The ledger is then held against the newcomer's own files: the container that was metered, the settings that the policy made, and a
carbon account that is computed anew from the CSV. Only the port is another, so that a site that runs on this machine is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.live.transcript import Shell, Step, agrees, steps

from ecovisor.adapters.platforms.process.platform import ProcessPlatform
from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.model.units import instant_s

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "live.md"
EXAMPLE = ROOT / "examples" / "09-your-script-live"
START_S, TICK_S = instant_s("2026-06-01T15:30Z"), 300.0

needs_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="containers as processes need Linux")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder with a short name, as people have; pytest's own is longer than a Unix socket's address may be."""
    with tempfile.TemporaryDirectory(prefix="eco-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def shell(home: Path) -> Iterator[Shell]:
    """A shell in an empty folder that knows `ecovisor` and `python`, and nothing else of this process."""
    for name, arguments in (("ecovisor", "-m ecovisor "), ("python", "")):
        program = home / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments}"$@"\n', "utf-8")
        program.chmod(0o755)
    (home / "here").mkdir()
    environment = {"HOME": str(home), "PATH": f"{home / 'bin'}:/usr/bin:/bin", "LANG": "C.UTF-8"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = f"--set server.listen=127.0.0.1:{port}"
    replace = {"127.0.0.1:7780": f"127.0.0.1:{port}", "serve --config site.toml >": f"serve --config site.toml {listen} >"}
    with Shell(home / "here", environment, replace) as opened:
        yield opened
    for state in home.rglob("state"):
        end_what_is_left(state)


def end_what_is_left(state: Path) -> None:
    """Containers and plant of a site whose server was killed, if the page did not come to its end."""

    async def containers() -> None:
        platform = ProcessPlatform(state / "containers")
        await platform.open()
        await platform.close(stop_containers=True)

    if (state / "containers").is_dir():
        asyncio.run(containers())
    with contextlib.suppress(OSError, ValueError):
        pid = int((state / "plant" / "plant.lock").read_text("utf-8"))
        if str(state) in Path(f"/proc/{pid}/cmdline").read_text("utf-8"):
            os.kill(pid, signal.SIGTERM)


@needs_linux
@pytest.mark.live
def test_the_page_works_as_it_stands_and_the_ledger_shows_the_script_the_policy_and_the_csv(shell: Shell) -> None:
    shell.run(PAGE)
    folder = shell.folder / "mysite"
    with contextlib.closing(Ledger.open(folder / "state" / "ledger")) as ledger:
        last = ledger.last()
        assert last is not None
        end_s = last.end_s
        container = ledger.usage("mine", START_S, end_s, "c1")
        whole = ledger.usage("mine", START_S, end_s, None)
        of = {
            metric: ledger.history("mine", metric, START_S, end_s, TICK_S).values
            for metric in ("carbon_intensity_g_per_kwh", "charge_rate_setting_w", "grid_to_load_w", "grid_to_battery_w", "demand_w")
        }
        gone = ledger.usage("second", START_S, end_s, None)
    # The script's container was metered, and what it drew is what the app drew.
    assert container.load_wh > 1.0
    assert whole.energies is not None
    assert container.load_wh == pytest.approx(whole.energies.load_wh, rel=1e-9)
    # The policy changed a setting, and changed it back.
    settings = [value for value in of["charge_rate_setting_w"] if value is not None]
    assert settings.index(5.0) > 0
    assert 0.0 in settings[settings.index(5.0) :]
    # The carbon came from the CSV: its values at their times, and the account computed anew from them.
    intensities = of_the_csv(folder / "carbon.csv", len(of["demand_w"]))
    known = [(told, own) for told, own in zip(of["carbon_intensity_g_per_kwh"], intensities, strict=True) if told is not None]
    assert len(known) > 10
    assert all(told == own for told, own in known)
    carbon_g = sum(
        (to_load_w + to_battery_w) * TICK_S / 3600.0 / 1000.0 * own
        for to_load_w, to_battery_w, own in zip(of["grid_to_load_w"], of["grid_to_battery_w"], intensities, strict=True)
        if to_load_w is not None and to_battery_w is not None
    )
    assert whole.carbon_g == pytest.approx(carbon_g, rel=1e-9)
    assert carbon_g > 0.0
    # The crash is one gap, and the app that left is not forgotten.
    assert len(whole.gaps) == 1
    assert gone.load_wh > 0.0
    # Where the token went, nobody else reads.
    assert (folder / "second.token").stat().st_mode & 0o077 == 0
    # Nothing is left running.
    deadline_s = time.monotonic() + 30.0
    while left := [line for line in shell.give(f"ps -eo args | grep -F {shell.folder} | grep -v grep") if line.strip()]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.2)


def of_the_csv(file: Path, ticks: int) -> list[float]:
    """The intensity at each tick by the file alone, which is repeated from its start. [g/kWh]"""
    with file.open(encoding="utf-8") as opened:
        rows = [(datetime.fromisoformat(row["time"]).timestamp(), float(row["carbon_g_per_kwh"])) for row in csv.DictReader(opened)]
    step_s = rows[1][0] - rows[0][0]
    return [rows[int((START_S + k * TICK_S - rows[0][0]) // step_s) % len(rows)][1] for k in range(ticks)]


@needs_linux
@pytest.mark.live
def test_the_script_of_the_example_waits_for_clean_power_and_comes_to_its_end(shell: Shell) -> None:
    folder = shell.folder / "example"
    shutil.copytree(EXAMPLE, folder)
    users = "--set server.separate_users=false"
    shell.give(f"cd {folder}; ecovisor serve --config site.toml {users} --set server.listen=127.0.0.1:0 > serve.log 2>&1 &")
    shell.give(f"cd {folder}")
    deadline_s = time.monotonic() + 240.0
    seen: dict[str, Any] = {}
    while not (containers := seen.get("containers")) or containers[0]["exit_code"] is None:
        assert time.monotonic() < deadline_s, "\n".join([*shell.give("cat serve.log"), *shell.give("ecovisor apps logs backup")])
        time.sleep(1.0)
        told = "".join(shell.give("ecovisor apps list --json 2>/dev/null"))
        seen = json.loads(told)[0] if told else {}
    written = shell.give("ecovisor apps logs backup --lines 1000")
    shell.give("kill %1; wait")
    shell.give("kill $(cat state/plant/plant.lock)")
    assert containers[0]["exit_code"] == 0
    waited = [line for line in written if " waits: " in line]
    assert waited
    assert all(agrees(["piece 0 waits: 187 g/kWh, 4.4 W of sun"], [line]) for line in waited)
    assert "piece 280 of 300" in written


# -- the runner itself


def test_a_page_is_read_as_commands_and_what_they_print(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "text\n```console\n$ one\n> more\n> \nout\n$ two\n```\n\n```\n$ no\n```\n```console\n$ three\n…\n```\n", "utf-8"
    )
    assert list(steps(page)) == [Step("one\nmore\n", ("out",), 3), Step("two", (), 7), Step("three", ("…",), 14)]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        (["a 1.5 W"], ["a 20 W"], True),
        (["a   1 W"], ["a 1 W"], True),
        (["────"], ["──"], True),
        (["██··· 40 %"], ["▎···· 3 %"], True),
        (["a 1 W"], ["a none"], False),
        (["a 1 W"], ["a 1 Wh"], False),
        (["a 1 W"], ["a 1 W", "more"], False),
        (["a 1 W", "more"], ["a 1 W"], False),
        (["a … c"], ["a b c"], True),
        (["a … c"], ["a b d"], False),
        (["…", "z"], ["a", "b", "z"], True),
        (["…", "z"], ["z"], True),
        (["…", "z"], ["a", "z", "b"], False),
        (["x", "…", "y", "…"], ["x", "y", "z"], True),
        (["x", "…", "y", "…"], ["y", "x"], False),
        ([], [], True),
        ([], ["error"], False),
    ],
)
def test_what_is_printed_agrees_with_the_page_or_not(expected: list[str], printed: list[str], same: bool) -> None:
    assert agrees(expected, printed) is same


def test_a_command_that_prints_something_else_fails_with_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```console\n$ cd /\n$ echo 1; echo wrong >&2\nright\n```\n", "utf-8")
    with Shell(tmp_path, {"PATH": "/usr/bin:/bin"}) as opened, pytest.raises(AssertionError, match=r"page.md:3: .*\n.*\n1\nwrong"):
        opened.run(page)


def test_a_command_that_looks_is_given_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ (sleep 0.7; echo there > it) > /dev/null 2>&1 &\n$ cat it\nthere\n$ cat it; false\nthere\n```\n", "utf-8"
    )
    with Shell(tmp_path, {"PATH": "/usr/bin:/bin"}) as opened:
        opened.run(page)
        assert opened.record[1:] == ["$ cat it", "there", "$ cat it; false", "there"]

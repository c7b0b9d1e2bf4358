"""The dashboard, `top` and `status` on a complete running site: the demonstration, with its real server, ledger and processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import pytest
from playwright.sync_api import ConsoleMessage, Page, Response, expect, sync_playwright

from ecovisor import wire
from ecovisor.cli.live_tables import quantity

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: install Debian's package chromium"),
]


@dataclass
class Demo:
    """A running demonstration."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)

    def address(self) -> tuple[str, str]:
        """Of the server, and the operator's token."""
        deadline_s = time.monotonic() + 60.0
        while True:
            found = re.search(r"(http://\S+)/#token=(\S+)", "".join(self.said))
            if found:
                return found[1], found[2]
            assert time.monotonic() < deadline_s, self.said
            assert self.process.poll() is None, self.said
            time.sleep(0.05)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    command = [sys.executable, "-m", "ecovisor", "demo", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, env=environment
    )
    started = Demo(process)
    thread = threading.Thread(target=started.listen)
    thread.start()
    try:
        started.address()
        yield started
        process.send_signal(signal.SIGINT)
        assert process.wait(60.0) == 0, "".join(started.said)[-2000:]
    finally:
        process.kill()
        process.wait()
        thread.join()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*flags, "--disable-component-update", "--disable-sync"]
        )
        yield browser.new_page(viewport={"width": 1440, "height": 900})
        browser.close()


def complaints(page: Page) -> list[str]:
    """What the page will complain of, and answers that are errors."""
    found: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            found.append(f"{message.text} {message.location.get('url', '')}")

    page.on("console", heard)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def test_the_operator_sees_the_running_site_and_can_take_its_sun(demo: Demo, page: Page, tmp_path: Path) -> None:
    url, token = demo.address()
    found, snapshots = complaints(page), {}

    def noted(response: Response) -> None:
        if response.url.endswith("/v1/admin/site") and response.status == 200:
            snapshot = msgspec.json.decode(response.body(), type=wire.SiteSnapshot)
            snapshots[f"{snapshot.tick:,}"] = snapshot

    page.on("response", noted)
    page.goto(f"{url}/#token={token}")
    expect(page.locator("#sources-foot")).to_be_empty(timeout=60_000)
    page.wait_for_timeout(3000)
    places = ["#tick", "#tile-load .value", "#tile-battery .value", "#tile-grid .value"]
    tick, *shown = page.evaluate("places => places.map(one => document.querySelector(one).textContent)", places)
    snapshot = snapshots[tick]
    assert shown == [
        quantity(snapshot.node_power_w, "W"),
        quantity(snapshot.battery_level_wh, "Wh"),
        quantity(snapshot.import_w, "W"),
    ]
    assert page.locator("#apps tbody th").all_text_contents() == [app.app for app in snapshot.apps]
    page.get_by_role("button", name="No sun").click()
    expect(page.locator("#badges")).to_contain_text("sun ×0")
    expect(page.locator("#tile-solar .value")).to_have_text("0 W", timeout=20_000)
    page.get_by_role("button", name="As it is").click()
    expect(page.locator("#badges")).not_to_contain_text("sun ×")
    for chart in ("flow", "signals", "sources", "battery", "carbon"):
        page.locator(f"#{chart}").scroll_into_view_if_needed()
        page.wait_for_function("name => document.getElementById(name).data?.length > 0", arg=chart)
    page.evaluate("() => scrollTo(0, 0)")
    page.wait_for_timeout(3500)
    page.screenshot(path=tmp_path / "demo.png", full_page=True)
    assert found == []


def test_an_app_sees_itself(demo: Demo, page: Page) -> None:
    url, operator = demo.address()
    answer = httpx.post(f"{url}/v1/admin/apps/stored/token", headers={"Authorization": f"Bearer {operator}"})
    found = complaints(page)
    page.goto(f"{url}/#token={answer.json()['token']}")
    expect(page.locator("#site-name")).to_have_text("stored")
    expect(page.locator("#sources-foot")).to_be_empty(timeout=60_000)
    assert page.locator("#apps tbody th").all_text_contents() == ["stored"]
    assert page.locator("#sun").is_hidden()
    assert found == []


def test_top_and_status_watch_it_too(demo: Demo) -> None:
    url, operator = demo.address()
    environment = {**os.environ, "ECOVISOR_URL": url, "ECOVISOR_TOKEN": operator}
    for arguments in (["top", "--once"], ["status"]):
        done = subprocess.run(
            [sys.executable, "-m", "ecovisor", *arguments], env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        assert "demo  tick" in done.stdout
        assert done.returncode == int("degraded" in done.stdout)

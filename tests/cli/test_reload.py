"""A site file that is read again while the site runs: what acts at once, what waits, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import msgspec
import pytest
from tests.cli.running_site import SITE, running

from ecovisor import wire
from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.assembly.live import LiveSite
from ecovisor.model.errors import Refused
from ecovisor.settings import Scenario

T = TypeVar("T")


class Reloading:
    """A site, and its file with changes."""

    def __init__(self, site: LiveSite, loop: asyncio.AbstractEventLoop) -> None:
        self.site, self._loop = site, loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def file(self, *changes: tuple[str, str]) -> Scenario:
        text = SITE
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        path = self.site.state_dir.parent / "site.toml"
        path.write_text(text, "utf-8")
        return load_scenario(str(path))[0]

    def reload(self, *changes: tuple[str, str]) -> list[str]:
        return self.run(self.site.reload(self.file(*changes)))


@pytest.fixture
def reloading() -> Iterator[Reloading]:
    with running() as (site, loop):
        yield Reloading(site, loop)


def request(name: str, command: str) -> wire.AddApp:
    return wire.AddApp(
        name=name,
        shares=wire.Shares(grid=0.01, solar=0.01, battery_energy=0.01, battery_power=0.01),
        commands=[command],
        containers=1,
    )


MORE = ("[server.commands.work]", '[server.commands.more]\nargv = ["more"]\n[server.commands.work]')


def test_a_new_command_may_be_run_at_once_and_one_that_is_gone_no_more(reloading: Reloading) -> None:
    ecovisor = reloading.site.ecovisor
    with pytest.raises(Refused, match=r"'more' is not among .* add \[server.commands.more\] to the site file and send SIGHUP"):
        reloading.run(ecovisor.add_app(request("x", "more")))
    assert reloading.reload(MORE) == ["server.commands.more.argv: not given → ['more']"]
    reloading.run(ecovisor.add_app(request("x", "more")))
    assert reloading.reload() == ["server.commands.more.argv: ['more'] → not given"]
    with pytest.raises(Refused, match="'more' is not among"):
        reloading.run(ecovisor.add_app(request("y", "more")))


def test_what_cannot_act_now_is_told_as_waiting(reloading: Reloading) -> None:
    lines = reloading.reload(("share = 0.5", "share = 0.25"), ("capacity_wh = 100", "capacity_wh = 200"))
    assert lines == ["apps.web.share: 0.5 → 0.25", "site.battery.capacity_wh: 100.0 → 200.0 (waits for a restart)"]
    assert reloading.site.ecovisor.shares()["web"].grid == 0.25
    assert reloading.reload(("share = 0.5", "share = 0.25"), ("capacity_wh = 100", "capacity_wh = 200")) == []


def test_an_app_that_the_file_gains_and_loses_has_a_way_in_meanwhile(reloading: Reloading) -> None:
    kinds = 'workload = { kind = "containers" }\npolicy = { kind = "remote" }\n'
    third = f'[[apps]]\nname = "third"\nshare = 0.1\ncommands = ["work"]\n{kinds}[run]'
    site = reloading.site
    assert reloading.reload(("[run]", third))
    assert site.socket_of("third").exists()
    reloading.run(site.ecovisor.wait_published(site.ecovisor.tick + 2))  # a boundary may have been on its way
    told = msgspec.json.decode(site.ecovisor.snapshot("third").body, type=wire.Snapshot)
    assert told.app == "third"
    assert reloading.reload()
    assert not site.socket_of("third").exists()

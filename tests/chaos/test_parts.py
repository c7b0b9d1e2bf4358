"""Plant and keeper of containers are killed, hang and come back under a running server: told, survived, and no energy is made or lost."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest
from tests.chaos import checking
from tests.chaos.running import Folder, Server


def stale(server: Server, name: str) -> bool:
    """Whether apps are told that a source is."""
    return name in {one.name for one in server.site().apps[0].stale}


def fresh_again(server: Server, name: str) -> bool:
    return not stale(server, name)


def test_a_plant_that_is_killed_is_stale_until_it_is_there_again_with_meters_that_start_anew(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder, Server(folder) as server:
        server.ready().wait_for_tick(3)
        before = folder.plant()
        os.kill(folder.plant_pid(), signal.SIGKILL)
        server.wait_until(lambda: stale(server, "plant"))
        server.told("source_stale", "plant")
        tick = server.site().tick
        server.wait_for_tick(tick + 2)
        folder.start_plant()
        server.wait_until(lambda: fresh_again(server, "plant"))
        assert len(server.told("plant_restarted")) == 1
        server.told("source_back", "plant")
        site = server.wait_for_tick(server.site().tick + 3)
        assert site.residual_wh < 1e-6, "the meters agree from where they started anew"
        after = folder.plant()
        assert after.epoch != before.epoch
        assert server.stop() == 0
        found = checking.steps(folder.state_dir / "ledger")
        checking.time_is_whole(found)
        checking.no_energy_is_negative(found)
        assert not [one for one in found if one.kind == "gap"]
        solar_wh = math.fsum(one.wh["solar_collected_w"] for one in found)
        most_wh = before.solar_wh + after.solar_wh + 26.0 * (after.site_s - before.site_s) / 3600.0
        assert 0.0 < solar_wh <= most_wh


@pytest.mark.slow
def test_what_a_plant_that_hangs_could_not_be_told_is_told_when_it_answers_again(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder:
        with Server(folder) as server:
            server.ready().wait_for_tick(2)
            begin = checking.standing(folder.state_dir / "ledger").baseline
            assert begin is not None
            os.kill(folder.plant_pid(), signal.SIGSTOP)
            server.wait_until(lambda: stale(server, "plant"))
            server.wait_for_tick(server.site().tick + 2)
            os.kill(folder.plant_pid(), signal.SIGCONT)
            server.wait_until(lambda: fresh_again(server, "plant"))
            server.wait_for_tick(server.site().tick + 2)
            assert not server.events("plant_restarted")
            server.kill()
        with Server(folder) as server:
            server.ready()
            end = checking.standing(folder.state_dir / "ledger").baseline
            assert end is not None
            assert server.stop() == 0
        found = checking.steps(folder.state_dir / "ledger")
        checking.time_is_whole(found)
        checking.no_energy_is_negative(found)
        checking.rows_are_the_meters(found, begin, end)


@pytest.mark.parametrize("mechanism", ["auto", pytest.param("duty-cycle", marks=pytest.mark.slow)])
def test_containers_outlive_their_keeper_and_are_capped_again(tmp_path: Path, mechanism: str) -> None:
    with (
        Folder(tmp_path, replace={"meters = []": f'meters = []\ncap_mechanism = "{mechanism}"'}) as folder,
        Server(folder) as server,
    ):
        server.ready().wait_for_tick(2)
        before = folder.records()
        assert before.keys() == {("real", "c1"), ("real", "c2"), ("remote", "c1")}
        keeper = folder.keeper_pid()
        os.kill(keeper, signal.SIGKILL)
        with server.client("real") as real:
            answer = real.patch("/v1/containers/c1", json={"cap_w": 1.5})
        assert answer.status_code == 200
        server.wait_until(lambda: folder.records()["real", "c1"].limit_cores == pytest.approx(0.05))
        assert folder.keeper_pid() != keeper
        after = folder.records()
        assert {key: one.pid for key, one in after.items()} == {key: one.pid for key, one in before.items()}
        server.wait_until(lambda: fresh_again(server, "platform"))
        site = server.wait_for_tick(server.site().tick + 2)
        states = {(app.app, one.id): one.state for app in site.apps for one in app.containers if app.app in ("real", "remote")}
        assert set(states.values()) == {"running"}
        assert server.stop() == 0
        assert not list(folder.processes(servers=False)) or set(folder.processes(servers=False)) == {folder.plant_pid()}


@pytest.mark.slow
def test_a_container_that_ends_with_its_keeper_is_shown_as_exited(tmp_path: Path) -> None:
    with Folder(tmp_path) as folder, Server(folder) as server:
        server.ready().wait_for_tick(2)
        pids = folder.container_pids("real", "c1")
        assert pids
        for pid in (folder.keeper_pid(), *pids):
            os.kill(pid, signal.SIGKILL)
        told = server.told("container_exited", "c1")
        assert [one.app for one in told] == ["real"]
        shown = {one.id: one.state for app in server.site().apps if app.app == "real" for one in app.containers}
        assert shown == {"c1": "exited", "c2": "running"}
        server.kill()
        with Server(folder) as again:
            again.ready().wait_for_tick(again.site().tick + 2)
            assert len(again.events("container_exited")) == 1, "told once, whoever is killed afterwards"
            with again.client("real") as real:
                assert real.patch("/v1/containers/c1", json={"running": True}).status_code == 200
            again.wait_until(
                lambda: {one.state for app in again.site().apps if app.app == "real" for one in app.containers} == {"running"}
            )
            assert again.stop() == 0

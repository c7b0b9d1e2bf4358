"""The wall clock is set by an hour under the whole server, either way, while it runs and across a restart: energy and site time go on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.chaos import checking
from tests.chaos.running import Folder, Server

HOUR_S = 3600.0
IN_PROCESS = {"meters = []": 'meters = []\nplant = { kind = "in-process" }', "start = 2026-06-21T17:00:00Z\n": ""}


class Wall:
    """What the server's wall clock is ahead by: its `time.time` reads a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0.0)

    def set(self, ahead_s: float) -> None:
        self._file.write_text(repr(ahead_s))

    @property
    def prelude(self) -> str:
        return (
            "import pathlib, time\n"
            f"true, ahead = time.time, pathlib.Path({str(self._file)!r})\n"
            "time.time = lambda: true() + float(ahead.read_text() or 0.0)"
        )


@pytest.mark.parametrize("steps_s", [(HOUR_S, -HOUR_S)])
def test_while_it_runs_a_step_is_told_once_and_nothing_else_happens(tmp_path: Path, steps_s: tuple[float, ...]) -> None:
    wall = Wall(tmp_path / "wall")
    with Folder(tmp_path / "site") as folder:
        with Server(folder, prelude=wall.prelude) as server:
            server.ready().wait_for_tick(2)
            begin = checking.standing(folder.state_dir / "ledger").baseline
            assert begin is not None
            before_s = 0.0
            for count, ahead_s in enumerate(steps_s, start=1):
                wall.set(ahead_s)
                told = server.told("clock_step", count=count)
                assert len(told) == count
                assert f"{ahead_s - before_s:+.0f}" in told[-1].detail.replace(".000", "")
                before_s = ahead_s
                server.wait_for_tick(server.site().tick + 2)
            assert len(server.events("clock_step")) == len(steps_s)
            assert server.site().residual_wh < 1e-6
            server.kill()
        with Server(folder, prelude=wall.prelude) as server:
            server.ready()
            end = checking.standing(folder.state_dir / "ledger").baseline
            assert end is not None
            assert server.stop() == 0
        found = checking.steps(folder.state_dir / "ledger")
        checking.time_is_whole(found)
        checking.no_energy_is_negative(found)
        assert len([one for one in found if one.kind == "gap"]) == 1
        checking.rows_are_the_meters(found, begin, end)


@pytest.mark.slow
@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_across_a_restart_site_time_is_that_of_the_plant(tmp_path: Path, ahead_s: float) -> None:
    wall = Wall(tmp_path / "wall")
    with Folder(tmp_path / "site") as folder:
        with Server(folder, prelude=wall.prelude) as server:
            server.ready().wait_for_tick(2)
            begin = checking.standing(folder.state_dir / "ledger").baseline
            assert begin is not None
            server.kill()
        wall.set(ahead_s)
        with Server(folder, prelude=wall.prelude) as server:
            site = server.ready().site()
            end = checking.standing(folder.state_dir / "ledger").baseline
            assert end is not None
            assert abs(site.now_s - end.reading.site_s) <= 2 * 60.0
            server.wait_for_tick(site.tick + 2)
            assert server.stop() == 0
        found = checking.steps(folder.state_dir / "ledger")
        checking.time_is_whole(found)
        checking.rows_are_the_meters(found, begin, end)


@pytest.mark.slow
@pytest.mark.parametrize("ahead_s", [-HOUR_S, 100.0 * HOUR_S])
def test_across_a_restart_without_a_plant_of_its_own_site_time_goes_on_where_the_ledger_ends(
    tmp_path: Path, ahead_s: float
) -> None:
    wall = Wall(tmp_path / "wall")
    with Folder(tmp_path / "site", replace=IN_PROCESS) as folder:
        with Server(folder, prelude=wall.prelude) as server:
            before = server.ready().wait_for_tick(3)
            server.kill()
        wall.set(ahead_s)
        left = checking.steps(folder.state_dir / "ledger")
        with Server(folder, prelude=wall.prelude) as server:
            after = server.ready().wait_for_tick(before.tick + 2)
            assert server.stop() == 0
        found = checking.steps(folder.state_dir / "ledger")
        checking.time_is_whole(found)
        checking.no_energy_is_negative(found)
        gaps = [one for one in found[len(left) :] if one.kind == "gap"]
        assert all(one.end_s - one.start_s < HOUR_S for one in gaps) if ahead_s < 0.0 else gaps[0].end_s - gaps[0].start_s > HOUR_S
        levels_wh = [math.fsum(app.battery.level_wh for app in site.apps) for site in (before, after)]
        assert levels_wh[1] == pytest.approx(levels_wh[0], rel=0.02), "the battery is where it was"
        assert all(math.isfinite(app.totals.load_wh) for app in after.apps)

"""Writing to a ledger: what is committed stays, once; time goes on; facts stand; one server at a time."""

from __future__ import annotations

import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.adapters.ledger import made
from tests.adapters.ledger.made import START_S, Made

from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.model.errors import StoreError
from ecovisor.ports import Block, Event


def test_the_last_tick_comes_back_with_its_checkpoint_and_the_plant(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        for one in made.ticks(3):
            ledger.commit(one.batch(ledger, checkpoint=b"after %d" % (one.tick or 0), plant=b"meters"))
    with Ledger.open(tmp_path) as ledger:
        last = ledger.last()
        assert last is not None
        assert (last.tick, last.start_s, last.dt_s, last.end_s) == (2, START_S + 120.0, 60.0, START_S + 180.0)
        assert (last.checkpoint, last.plant, last.wall_s) == (b"after 2", b"meters", START_S + 180.25)


def test_a_gap_has_no_number_and_is_gone_on_from(tmp_path: Path) -> None:
    ticks = made.ticks(2)
    gap = Made(None, ticks[-1].end_s, 500.0, [made.row(random.Random(1), "_site", 500.0, containers=())])
    with Ledger.open(tmp_path) as ledger:
        made.fill(ledger, ticks)
        ledger.commit(gap.batch(ledger, checkpoint=b"after the gap"))
        last = ledger.last()
        assert last is not None
        assert (last.tick, last.end_s, last.checkpoint) == (1, gap.end_s, b"after the gap")
        made.fill(ledger, made.ticks(1, start_s=gap.end_s, first=2))
        kinds = [(tick.tick, tick.kind) for tick in ledger.ticks(START_S, START_S + 1e6)]
        assert kinds == [(0, "tick"), (1, "tick"), (None, "gap"), (2, "tick")]


def test_a_tick_is_stored_once(tmp_path: Path) -> None:
    ticks = made.ticks(3)
    with Ledger.open(tmp_path) as ledger:
        made.fill(ledger, ticks)
        before = list(ledger.blocks("flows"))
        for number in (2, 1):
            again = Made(number, ticks[-1].end_s, 60.0, ticks[0].rows)
            with pytest.raises(StoreError, match=rf"tick {number} is not stored: the last one is 2"):
                ledger.commit(again.batch(ledger))
        assert list(ledger.blocks("flows")) == before


@pytest.mark.parametrize("back_s", [3600.0, 60.0, 0.5])
def test_time_that_goes_back_is_refused_and_nothing_changes(tmp_path: Path, back_s: float) -> None:
    ticks = made.ticks(90)
    with Ledger.open(tmp_path) as ledger:
        made.fill(ledger, ticks)
        before = ledger.usage("a", START_S, START_S + 90_000.0), ledger.last()
        again = Made(90, ticks[-1].end_s - back_s, 60.0, ticks[0].rows)
        with pytest.raises(StoreError, match=r"tick 90 at .*: all until 2021-03-01T01:30:00Z is, and site time does not go back"):
            ledger.commit(again.batch(ledger))
        assert (ledger.usage("a", START_S, START_S + 90_000.0), ledger.last()) == before


def test_time_that_jumps_ahead_is_a_gap_and_no_energy(tmp_path: Path) -> None:
    ticks = made.ticks(10)
    later = made.ticks(10, start_s=ticks[-1].end_s + 3600.0, first=10)
    with Ledger.open(tmp_path) as ledger:
        made.fill(ledger, [*ticks, *later])
        found = ledger.usage("a", START_S, later[-1].end_s)
        assert found.coverage_ratio == pytest.approx(1200.0 / 4800.0)
        assert [(gap.start_s, gap.end_s) for gap in ledger.gaps(START_S, later[-1].end_s)] == [(START_S + 600.0, START_S + 4200.0)]
        assert found.energies is not None
        assert found.energies.grid_to_load_wh == pytest.approx(made.energy_wh([*ticks, *later], "a", "grid_to_load_w"), rel=1e-9)


def test_the_wall_clock_may_step_either_way(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        for one, wall_s in zip(made.ticks(3), (START_S + 60.0, START_S - 3540.0, START_S + 3780.0), strict=True):
            batch = one.batch(ledger)
            ledger.commit(type(batch)(**{name: getattr(batch, name) for name in batch.__slots__} | {"wall_s": wall_s}))
        assert [tick.wall_s for tick in ledger.ticks(START_S, START_S + 180.0)] == [
            START_S + 60.0,
            START_S - 3540.0,
            START_S + 3780.0,
        ]
        assert ledger.usage("a", START_S, START_S + 180.0).coverage_ratio == 1.0


def test_rows_that_do_not_belong_to_the_tick_are_refused(tmp_path: Path) -> None:
    (tick,) = made.ticks(1)
    with Ledger.open(tmp_path) as ledger:
        with pytest.raises(ValueError, match=r"flows\.dt_s: not the 61\.0 s of tick 0"):
            Made(0, START_S, 61.0, tick.rows).batch(ledger)
        ledger.tables.discard()
        ledger.tables.write(tick.blocks()[0])
        with pytest.raises(ValueError, match="wait to be sealed first"):
            ledger.seal(tick=1, start_s=START_S + 60.0, dt_s=60.0, wall_s=0.0)
        with pytest.raises(ValueError, match="two blocks"):
            ledger.tables.write(tick.blocks()[0])
        with pytest.raises(ValueError, match="a tick has a number, a gap has none"):
            ledger.seal(tick=None, start_s=START_S, dt_s=60.0, wall_s=0.0)
        with pytest.raises(ValueError, match="time goes on"):
            ledger.seal(tick=1, start_s=START_S, dt_s=0.0, wall_s=0.0)


@pytest.mark.parametrize("name", ["Flows", "flows; DROP TABLE steps", 'x"', "step", "", "é", "a" * 80])
def test_names_that_no_table_can_have_are_refused(tmp_path: Path, name: str) -> None:
    with Ledger.open(tmp_path) as ledger:
        for block in (Block(name, [1.0], {}, {"x": [1.0]}, {}), Block("small", [1.0], {}, {name: [1.0]}, {})):
            with pytest.raises(ValueError, match="names of tables and columns"):
                ledger.tables.write(block)


def test_columns_that_are_new_are_kept_and_missing_ones_are_absent(tmp_path: Path) -> None:
    def store(ledger: Ledger, tick: int, **columns: float) -> None:
        start_s = START_S + 60.0 * tick
        ledger.tables.write(Block("small", [start_s], {"app": ["a"]}, {name: [value] for name, value in columns.items()}, {}))
        ledger.commit(ledger.seal(tick=tick, start_s=start_s, dt_s=60.0, wall_s=0.0))

    with Ledger.open(tmp_path) as ledger:
        store(ledger, 0, one_w=1.0)
        store(ledger, 1, one_w=2.0, two_w=3.0)
    with Ledger.open(tmp_path) as ledger:
        store(ledger, 2, two_w=4.0)
        rows = [{name: values[0] for name, values in block.columns.items()} for block in ledger.blocks("small")]
        assert rows[1:2] == [{"one_w": 2.0, "two_w": 3.0}]
        assert rows[0]["two_w"] != rows[0]["two_w"]
        assert rows[2]["one_w"] != rows[2]["one_w"]
        ledger.tables.write(Block("small", [START_S + 180.0], {"container": ["a"]}, {"one_w": [1.0]}, {}))
        with pytest.raises(ValueError, match="keys"):
            ledger.commit(ledger.seal(tick=3, start_s=START_S + 180.0, dt_s=60.0, wall_s=0.0))


def test_a_commit_that_fails_changes_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    """The hour closes in the failing commit: memory and file must agree afterwards."""
    ticks = made.ticks(70)
    with Ledger.open(tmp_path / "one") as ledger:
        made.fill(ledger, ticks)
        expected = ledger.usage_of_all(START_S, START_S + 4200.0), [tick.tick for tick in ledger.ticks(START_S, START_S + 4200.0)]
    with Ledger.open(tmp_path / "two") as ledger:
        for one in ticks:
            batch = one.batch(ledger)
            twice = [Block("flows", [one.start_s], {"app": ["x", "x"]}, {"dt_s": [60.0, 60.0]}, {})]
            for block in twice:
                ledger.tables.write(block)
            bad = ledger.seal(tick=one.tick, start_s=one.start_s, dt_s=60.0, wall_s=0.0)
            with pytest.raises(StoreError, match="UNIQUE"):
                ledger.commit(bad)
            ledger.commit(batch)
        found = ledger.usage_of_all(START_S, START_S + 4200.0), [tick.tick for tick in ledger.ticks(START_S, START_S + 4200.0)]
    assert found == expected
    with Ledger.open(tmp_path / "two", read_only=True) as ledger:
        assert "x" not in ledger.apps()


# -- facts


def test_facts_are_there_at_once_for_others_and_after_a_restart(tmp_path: Path) -> None:
    with Ledger.open(tmp_path) as ledger:
        registry = ledger.registry
        registry.put("token", "a", b"\x00hash")
        registry.put("token", "b", b"one")
        registry.put("token", "b", b"two")
        registry.put("callback", "a", b"")
        with Ledger.open(tmp_path, read_only=True) as other:
            assert other.registry.get("token", "b") == b"two"
            with pytest.raises(StoreError, match="opened for reading"):
                other.registry.put("token", "b", b"three")
            with pytest.raises(StoreError, match="opened for reading"):
                other.prune(ticks_before_s=0.0)
        registry.delete("token", "nobody")
        registry.delete("token", "a")
    with Ledger.open(tmp_path) as ledger:
        assert ledger.registry.items("token") == [("b", b"two")]
        assert ledger.registry.get("token", "a") is None
        assert ledger.registry.get("callback", "a") == b""


def test_facts_from_other_threads_and_ticks_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    ticks = made.ticks(60)
    with Ledger.open(tmp_path) as ledger:
        failed: list[BaseException] = []

        def change(name: str) -> None:
            try:
                for k in range(40):
                    ledger.registry.put("count", name, b"%d" % k)
                    assert ledger.registry.get("count", name) == b"%d" % k
                    ledger.usage("a", START_S, START_S + 3600.0)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=change, args=(name,)) for name in ("x", "y")]
        for thread in threads:
            thread.start()
        made.fill(ledger, ticks)
        for thread in threads:
            thread.join()
        assert failed == []
        assert ledger.registry.items("count") == [("x", b"39"), ("y", b"39")]
        last = ledger.last()
        assert last is not None
        assert last.tick == 59


# -- the directory


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """A kill cannot show it, only a loss of power could: the log is forced out with every commit."""
    with Ledger.open(tmp_path) as ledger:
        db = ledger._writing()._db
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_directory_is_for_its_owner_only(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state"
    before = os.umask(0)
    try:
        with Ledger.open(state) as ledger:
            made.fill(ledger, made.ticks(1))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert set(modes) >= {"ledger.sqlite", "ledger.sqlite-wal", "ledger.lock"}
    assert set(modes.values()) == {0o600}


def test_a_second_server_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    with Ledger.open(tmp_path):
        with pytest.raises(StoreError, match=rf"in use by the server with pid {os.getpid()}; stop it"):
            Ledger.open(tmp_path)
        script = (
            f"from ecovisor.adapters.stores.ledger import Ledger; from pathlib import Path; Ledger.open(Path({str(tmp_path)!r}))"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"in use by the server with pid {os.getpid()}" in done.stderr
    Ledger.open(tmp_path).close()


def test_a_reader_beside_the_server_sees_each_tick_as_it_is_committed(tmp_path: Path) -> None:
    with Ledger.open(tmp_path, site="Here", timezone="Europe/Berlin") as ledger, Ledger.open(tmp_path, read_only=True) as reader:
        assert (reader.site, reader.timezone) == ("Here", "Europe/Berlin")
        for one in made.ticks(5):
            ledger.commit(one.batch(ledger))
            last = reader.last()
            assert last is not None
            assert last.tick == one.tick
        assert reader.apps() == ["_site", "a", "b"]
        assert reader.extent() == (START_S, START_S + 300.0)


def test_reading_where_there_is_no_ledger_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"ledger\.sqlite: there is no ledger; name the state directory of a server"):
        Ledger.open(tmp_path, read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_another_database_is_no_ledger(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute("CREATE TABLE mine (x)")
    db.close()
    for read_only in (True, False):
        with pytest.raises(StoreError, match="is no ledger of ecovisor; choose another state directory"):
            Ledger.open(tmp_path, read_only=read_only)


def test_facts_of_the_site_stay_until_they_are_given_anew(tmp_path: Path) -> None:
    Ledger.open(tmp_path, site="One", timezone="Asia/Tokyo").close()
    with Ledger.open(tmp_path) as ledger:
        assert (ledger.site, ledger.timezone) == ("One", "Asia/Tokyo")
    with Ledger.open(tmp_path, site="Two", timezone="UTC") as ledger:
        assert (ledger.site, ledger.timezone) == ("Two", "UTC")
        assert ledger.facts()["site"] == "Two"


def test_a_new_zone_of_the_site_leaves_hours_and_days_as_they_are(tmp_path: Path) -> None:
    ticks = made.ticks(200, dt_s=1200.0, apps=("a",))
    for k, zone in enumerate(("UTC", "Asia/Kolkata", "America/New_York", "UTC")):
        made.stored(tmp_path, ticks[50 * k : 50 * (k + 1)], timezone=zone)
    with Ledger.open(tmp_path) as ledger:
        found = ledger.usage("a", START_S, ticks[-1].end_s)
        assert found.energies is not None
        assert found.energies.solar_to_load_wh == pytest.approx(made.energy_wh(ticks, "a", "solar_to_load_w"), rel=1e-9)
        assert found.coverage_ratio == 1.0
        ledger.prune(ticks_before_s=ticks[-1].end_s, hours_before_s=ticks[-1].end_s)
        again = ledger.usage("a", START_S, ticks[-1].end_s)
        assert again.load_wh == pytest.approx(found.load_wh, rel=1e-12)


def test_an_event_keeps_what_it_tells(tmp_path: Path) -> None:
    told = [Event(START_S + 1.5, "a", "solar_change", "from 3 to 5", 5.0), Event(START_S + 2.0, "_site", "late", 'x, "y"\nz')]
    (tick,) = made.ticks(1)
    tick.events = told
    with Ledger.open(tmp_path) as ledger:
        made.fill(ledger, [tick])
        assert list(ledger.told()) == told

"""Disks that fill up, refuse, lie or lose: one clear line, or the last good state; never a loss that nobody is told of."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.adapters.ledger import made
from tests.adapters.ledger.made import START_S

from ecovisor.adapters.stores.ledger import Ledger
from ecovisor.adapters.stores.ledger.checks import check_all
from ecovisor.adapters.stores.ledger.connection import FILE, WAL, open_reader
from ecovisor.adapters.stores.ledger.copies import back_up
from ecovisor.adapters.stores.ledger.state_lock import FILE as LOCK
from ecovisor.model.errors import EcovisorError, StoreError
from ecovisor.ports import Block, Event

ROOT = Path(__file__).parents[3]


def everything(folder: Path) -> list[object]:
    """All that a ledger says."""
    with Ledger.open(folder, read_only=True) as ledger:
        return [
            [known(block) for table in ("flows", "site", "containers") for block in ledger.blocks(table)],
            list(ledger.told()),
            ledger.registry.items("token"),
            ledger.last(),
            ledger.events(None, limit=1_000_000),
            ledger.ticks(0.0, 3e9),
            ledger.gaps(0.0, 3e9),
            ledger.usage_of_all(START_S, START_S + 86_400.0),
            ledger.usage_of_all(START_S + 1800.0, START_S + 80_000.0),
            ledger.facts(),
        ]


def known(block: Block) -> object:
    """A block as it compares: what is absent equals itself."""
    columns = {name: [None if value != value else value for value in values] for name, values in block.columns.items()}
    return block.times_s, block.keys, columns, block.texts


# -- a full disk


def test_a_full_database_keeps_the_last_good_tick_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    ticks = made.ticks(200)
    with Ledger.open(tmp_path) as ledger:
        made.fill(ledger, ticks[:40])
        db = ledger._writing()._db
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0] + 3}")
        stored = 40
        with pytest.raises(StoreError, match=r"ledger\.sqlite: the disk is full; free some space"):  # noqa: PT012 - some fit
            for one in ticks[40:]:
                batch = one.batch(ledger)
                ledger.commit(batch)
                stored += 1
        before = everything(tmp_path)
        for _ in range(3):
            with pytest.raises(StoreError, match="the disk is full"):
                ledger.commit(batch)
        assert everything(tmp_path) == before
        with pytest.raises(StoreError, match="the disk is full"):
            ledger.registry.put("token", "a", b"x" * 40_000)
        assert ledger.registry.get("token", "a") is None
        db.execute("PRAGMA max_page_count = 1000000")
        ledger.commit(batch)
        made.fill(ledger, ticks[stored + 1 :])
        found = ledger.usage("a", START_S, ticks[-1].end_s)
        assert found.coverage_ratio == 1.0
        assert found.energies is not None
        assert found.energies.grid_to_load_wh == pytest.approx(made.energy_wh(ticks, "a", "grid_to_load_w"), rel=1e-9)


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    from ecovisor.adapters.stores.ledger import Ledger
    from ecovisor.model.errors import StoreError
    from tests.adapters.ledger import made

    ticks = made.ticks(150, dt_s=120.0)
    with Ledger.open(Path(sys.argv[1])) as ledger:
        stored = refused = 0
        for one in ticks:
            batch = one.batch(ledger)
            if stored == 20 and not refused:
                size = max(path.stat().st_size for path in Path(sys.argv[1]).iterdir())
                resource.setrlimit(resource.RLIMIT_FSIZE, (size + 9000, resource.RLIM_INFINITY))
            try:
                ledger.commit(batch)
            except StoreError as error:
                refused += 1
                print(error)
                assert ledger.last().tick == stored - 1
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                ledger.commit(batch)
            stored += 1
        print(stored, refused)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs limits on the size of files")
def test_a_disk_that_takes_no_more_is_one_line_and_nothing_is_lost_when_it_does_again(disk: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(disk)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *said, last = done.stdout.splitlines()
    assert last == "150 1"
    assert len(said) == 1
    assert "ledger.sqlite: the disk refused to read or write; check the disk and its space" in said[0]
    with Ledger.open(disk) as ledger:
        assert [tick.tick for tick in ledger.ticks(START_S, START_S + 1e6)] == list(range(150))
        assert ledger.usage("a", START_S, START_S + 18_000.0).coverage_ratio == 1.0


@pytest.mark.live
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to mount")
def test_a_file_system_without_space_is_one_line_and_serves_again_when_it_has_some(disk: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=True)
    try:
        with Ledger.open(disk / "state") as ledger:
            made.fill(ledger, made.ticks(10))
            (disk / "ballast").write_bytes(b"x" * 300_000)
            with pytest.raises(StoreError, match="free some space|check the disk and its space"):  # noqa: PT012 - some fit
                for one in made.ticks(1000, start_s=START_S + 600.0, first=10):
                    batch = one.batch(ledger)
                    ledger.commit(batch)
            last = ledger.last()
            assert last is not None
            assert last.tick is not None
            assert batch.tick == last.tick + 1
            (disk / "ballast").unlink()
            ledger.commit(batch)
        with Ledger.open(disk / "state") as ledger:
            assert len(ledger.ticks(START_S, START_S + 1e6)) == batch.tick + 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -- a disk that takes nothing


READ_ONLY = """
    import fcntl, os, sys
    from pathlib import Path
    from ecovisor.adapters.stores.ledger import Ledger
    from ecovisor.model.errors import StoreError

    state = Path(sys.argv[1])
    with Ledger.open(state, read_only=True) as warm:  # all modules are loaded
        warm.usage("a", 0, 3e9)
    if os.geteuid() == 0:
        os.setuid(65534)  # root may do everything
    with Ledger.open(state, read_only=True) as ledger:
        print(ledger.last().tick, ledger.usage("a", 0, 3e9).load_wh > 0)
    for folder in (state, state / "new"):
        try:
            Ledger.open(folder)
        except StoreError as error:
            print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs permissions of files")
def test_a_read_only_directory_is_one_line_and_can_be_read(disk: Path) -> None:
    state = disk / "state"
    made.stored(state, made.ticks(5))
    for path in (*state.iterdir(), state, disk):
        path.chmod(0o555 if path.is_dir() else 0o444)
    outside = [parent for parent in disk.parents if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001]
    for parent in outside:
        parent.chmod(0o711)
    command = [sys.executable, "-c", textwrap.dedent(READ_ONLY), str(state)]
    try:
        done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, check=False)
    finally:
        for path in (disk, state):
            path.chmod(0o755)
        for parent in outside:
            parent.chmod(0o700)
    assert done.returncode == 0, done.stderr
    read, refused, not_made = done.stdout.splitlines()
    assert read == "4 True"
    assert refused.endswith("ledger.lock: cannot be opened: Permission denied; check the directory's permissions and space")
    assert "Permission denied; check the disk and the permissions" in not_made


def test_a_file_that_another_process_has_locked_is_one_line(disk: Path) -> None:
    made.stored(disk, made.ticks(2))
    script = (
        "import sqlite3, sys; d = sqlite3.connect(sys.argv[1]); d.execute('BEGIN EXCLUSIVE'); print(flush=True); sys.stdin.read()"
    )
    with Ledger.open(disk, timeout_s=0.05) as ledger:
        (one,) = made.ticks(1, start_s=START_S + 120.0, first=2)
        batch = one.batch(ledger)
        command = [sys.executable, "-c", script, str(disk / FILE)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            other.stdout.readline()
            with pytest.raises(StoreError, match="is locked by another process; end it"):
                ledger.commit(batch)
            other.communicate("")
        ledger.commit(batch)


# -- a disk that lies


def full(folder: Path) -> Path:
    """A ledger with something in every table."""
    ticks = made.ticks(60, dt_s=1800.0)
    for one in ticks:
        one.events = [Event(one.end_s, "a", "battery_full", "x")]
    made.stored(folder, [*ticks[:50], *made.ticks(10, dt_s=1800.0, start_s=ticks[50].start_s + 3600.0, first=50)])
    with Ledger.open(folder) as ledger:
        ledger.registry.put("token", "a", b"hash" * 10)
    return folder


def told_or_same(folder: Path, expected: list[object]) -> str:
    """How the damage was found; damage that nobody finds must be none."""
    try:
        Ledger.open(folder).close()
    except EcovisorError as error:
        return "opening" if "\n" not in str(error) else "in several lines"
    try:
        with closing(open_reader(folder / FILE, 1.0)) as db:
            check_all(db, folder / FILE)
    except StoreError:
        return "checking"
    assert everything(folder) == expected
    return "harmless"


def flip_some(folder: Path, count: int, seed: int) -> set[str]:
    state = full(folder / "state")
    expected, good, rnd, found = everything(state), (state / FILE).read_bytes(), random.Random(seed), set()
    for _ in range(count):
        bad = bytearray(good)
        bad[rnd.randrange(len(bad))] ^= 1 << rnd.randrange(8)
        copy = folder / "copy"
        shutil.copytree(state, copy)
        (copy / FILE).write_bytes(bad)
        found.add(told_or_same(copy, expected))
        shutil.rmtree(copy)
    return found


def test_a_bit_that_changes_in_the_file_is_found_or_is_in_no_value(tmp_path: Path) -> None:
    assert flip_some(tmp_path, 16, seed=1) == {"opening", "checking", "harmless"}


@pytest.mark.slow
def test_any_bit_that_changes_in_the_file_is_found_or_is_in_no_value(tmp_path: Path) -> None:
    assert flip_some(tmp_path, 1000, seed=7) == {"opening", "checking", "harmless"}


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_not_opened(tmp_path: Path, keep: float) -> None:
    state = full(tmp_path)
    size = (state / FILE).stat().st_size
    os.truncate(state / FILE, int(size * keep))
    with pytest.raises(StoreError, match="is damaged|is empty or new, but .* changes were committed"):
        Ledger.open(state)


@pytest.mark.parametrize(("table", "step", "time"), [("kept", 7, "2021-03-01T03:00"), ("raw", 60, "2021-03-02T06:30")])
def test_a_backup_of_a_damaged_ledger_is_not_made(tmp_path: Path, table: str, step: int, time: str) -> None:
    state = full(tmp_path / "state")
    with closing(sqlite3.connect(state / FILE)) as db:
        assert db.execute(f"UPDATE {table}_flows SET demand_w = demand_w + 1e-9 WHERE step = ?", (step,)).rowcount == 3
        db.commit()
    with pytest.raises(StoreError, match=rf"tick {step - 1} at {time}:00Z changed on the disk; restore a backup"):
        back_up(state, tmp_path / "copy.sqlite")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


# -- a log that is lost


@contextmanager
def as_if_killed(folder: Path) -> Iterator[tuple[Path, list[object]]]:
    """The files of a running server as a kill would leave them, its newest ticks in the log alone."""
    state, copy = folder / "state", folder / "killed"
    with Ledger.open(state) as ledger:
        made.fill(ledger, made.ticks(30))
        ledger.registry.put("token", "a", b"hash")
        shutil.copytree(state, copy)
        expected = everything(state)
    assert (copy / WAL).stat().st_size > 100_000
    yield copy, expected


def test_what_a_kill_leaves_is_all_there(tmp_path: Path) -> None:
    with as_if_killed(tmp_path) as (copy, expected):
        Ledger.open(copy).close()
        assert everything(copy) == expected


@pytest.mark.parametrize("damage", ["gone", "cut", "cut a little", "flipped early", "flipped late"])
def test_a_log_that_lost_committed_changes_is_told(tmp_path: Path, damage: str) -> None:
    with as_if_killed(tmp_path) as (copy, _):
        log = copy / WAL
        data = bytearray(log.read_bytes())
        if damage == "gone":
            log.unlink()
        elif damage.startswith("cut"):
            os.truncate(log, len(data) // 2 if damage == "cut" else len(data) - 1)
        else:
            data[5000 if damage == "flipped early" else -100] ^= 4
            log.write_bytes(data)
        with pytest.raises(StoreError, match=r"changes were committed.*; restore a backup .*, or remove .*ledger\.lock"):
            Ledger.open(copy)
        if damage != "gone" and damage != "flipped early":
            with pytest.raises(StoreError, match="its write-ahead log was lost or damaged; keep the directory as it is"):
                back_up(copy, tmp_path / "backup.sqlite")
        with Ledger.open(copy, accept_loss=True) as ledger:
            kept = [tick.tick for tick in ledger.ticks(0.0, 3e9)]
            assert kept == list(range(len(kept)))
            assert len(kept) <= 30


def test_bits_that_change_in_the_log_are_told_or_harmless(tmp_path: Path) -> None:
    with as_if_killed(tmp_path) as (copy, expected):
        log, rnd, found = copy / WAL, random.Random(4), set()
        data = log.read_bytes()
        for _ in range(8):
            shutil.rmtree(tmp_path / "one", ignore_errors=True)
            shutil.copytree(copy, tmp_path / "one")
            bad = bytearray(data)
            bad[rnd.randrange(len(bad))] ^= 1 << rnd.randrange(8)
            (tmp_path / "one" / WAL).write_bytes(bad)
            found.add(told_or_same(tmp_path / "one", expected))
        assert found <= {"opening", "harmless"}
        assert "opening" in found


def test_a_ledger_that_is_gone_or_another_one_is_told(tmp_path: Path) -> None:
    one, other = full(tmp_path / "one"), full(tmp_path / "other")
    (one / FILE).unlink()
    with pytest.raises(StoreError, match="is empty or new, but .* changes were committed to a ledger here"):
        Ledger.open(one)
    shutil.copy(other / FILE, one / FILE)
    with pytest.raises(StoreError, match="is another ledger than the one this directory had"):
        Ledger.open(one)
    (one / LOCK).unlink()
    Ledger.open(one).close()


def test_a_damaged_fact_is_not_given_out(tmp_path: Path) -> None:
    state = full(tmp_path)
    with closing(sqlite3.connect(state / FILE)) as db:
        db.execute("UPDATE registry SET value = 'other'")
        db.execute("UPDATE state SET checkpoint = 'other'")
        db.commit()
    with Ledger.open(state, read_only=True) as ledger:
        with pytest.raises(StoreError, match="registry token/a: the value is damaged"):
            ledger.registry.get("token", "a")
        with pytest.raises(StoreError, match="registry token/a: the value is damaged"):
            ledger.registry.items("token")
        with pytest.raises(StoreError, match="the checkpoint changed on the disk"):
            ledger.last()
    with pytest.raises(StoreError, match="the checkpoint changed on the disk"):
        Ledger.open(state)

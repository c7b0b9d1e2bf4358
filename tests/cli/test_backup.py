"""`ecovisor backup` and `ecovisor restore`: what comes back is what was there, and nothing is overwritten unasked."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.adapters.ledger import made
from tests.adapters.ledger.made import START_S

from ecovisor.adapters.stores.ledger import Ledger, copies
from ecovisor.adapters.stores.ledger.checks import check_all
from ecovisor.adapters.stores.ledger.connection import FILE, open_reader
from ecovisor.cli import run
from ecovisor.model.errors import StoreError

ROOT = Path(__file__).parents[2]


def told(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert run(list(words)) == status
    found = capsys.readouterr()
    if status:
        assert found.out == ""
        assert found.err.count("\n") == 1
        return found.err
    return found.out


def contents(ledger: Ledger) -> list[object]:
    return [
        ledger.usage_of_all(START_S, START_S + 1e6),
        ledger.events(None, limit=100_000),
        ledger.registry.items("token"),
        ledger.last(),
        ledger.ticks(0.0, 3e9),
        ledger.facts(),
    ]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    made.stored(folder / "ledger", made.ticks(50, dt_s=600.0))
    with Ledger.open(folder / "ledger") as ledger:
        ledger.registry.put("token", "a", b"hash")
    return folder


def test_what_comes_back_is_what_was_there(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Ledger.open(state / "ledger", read_only=True) as ledger:
        expected = contents(ledger)
    backup = tmp_path / "copy.backup"
    said = told(capsys, "backup", "--state", str(state), "--to", str(backup))
    assert said == f"{backup}: a backup of Test: 50 ticks, until 2021-03-01T08:20:00Z, {backup.stat().st_size / 1e6:.1f} MB\n"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.backup", "state"]
    said = told(capsys, "restore", str(backup), "--state", str(tmp_path / "new"))
    assert said.startswith(f"{tmp_path / 'new' / 'ledger' / FILE}: restored Test: 50 ticks, until 2021-03-01T08:20:00Z")
    with Ledger.open(tmp_path / "new" / "ledger") as ledger:
        assert contents(ledger) == expected
        made.fill(ledger, made.ticks(5, dt_s=600.0, start_s=START_S + 30_000.0, first=50))
    assert stat.S_IMODE((tmp_path / "new" / "ledger").stat().st_mode) == 0o700


def test_a_backup_while_ticks_are_committed_is_one_state_of_the_ledger(tmp_path: Path) -> None:
    ticks = made.ticks(400, dt_s=600.0)
    with Ledger.open(tmp_path / "state") as ledger:
        made.fill(ledger, ticks[:50])
        found: list[copies.Copied] = []
        going = threading.Event()

        def back_up() -> None:
            found.extend(copies.back_up(tmp_path / "state", tmp_path / f"{k}.backup") for k in range(4))
            going.set()

        thread = threading.Thread(target=back_up)
        thread.start()
        number = 50
        while not going.is_set() and number < len(ticks):
            ledger.commit(ticks[number].batch(ledger))
            number += 1
        thread.join()
    assert len(found) == 4
    kept = [copied.tick for copied in found if copied.tick is not None]
    assert kept == sorted(kept)
    for k, last in enumerate(kept):
        copies.restore(tmp_path / f"{k}.backup", tmp_path / f"restored-{k}")
        with Ledger.open(tmp_path / f"restored-{k}") as restored:
            assert [tick.tick for tick in restored.ticks(0.0, 3e9)] == list(range(last + 1))
            at = restored.last()
            assert at is not None
            assert at.tick == last
            usage = restored.usage("a", START_S, at.end_s)
            assert usage.energies is not None
            expected = made.energy_wh(ticks[: last + 1], "a", "grid_to_load_w")
            assert usage.energies.grid_to_load_wh == pytest.approx(expected, rel=1e-9)


def test_nothing_is_overwritten_unasked(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "copy.backup"
    backup.write_text("mine", "utf-8")
    said = told(capsys, "backup", "--state", str(state), "--to", str(backup), status=2)
    assert "copy.backup: exists already; choose another name, or replace it with --overwrite" in said
    assert backup.read_text("utf-8") == "mine"
    told(capsys, "backup", "--state", str(state), "--to", str(backup), "--overwrite")
    said = told(capsys, "restore", str(backup), "--state", str(state), status=2)
    assert "ledger: is not empty; choose another directory, or replace its ledger with --overwrite" in said
    folder = tmp_path / "folder"
    folder.mkdir()
    assert "exists already" in told(capsys, "backup", "--state", str(state), "--to", str(folder), "--overwrite", status=2)


def test_a_name_that_is_taken_while_the_backup_is_made_is_kept(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy.backup"
    check = copies.checked

    def taken(path: Path, progress: copies.Progress | None = None) -> copies.Copied:
        target.write_text("mine", "utf-8")
        return check(path, progress)

    monkeypatch.setattr(copies, "checked", taken)
    with pytest.raises(StoreError, match="exists already"):
        copies.back_up(state / "ledger", target)
    assert target.read_text("utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.backup", "state"]


def test_a_running_server_is_not_restored_over(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "copy.backup"
    with Ledger.open(state / "ledger") as ledger:
        before = contents(ledger)
        told(capsys, "backup", "--state", str(state), "--to", str(backup))
        said = told(capsys, "restore", str(backup), "--state", str(state), "--overwrite", status=2)
        assert f"in use by the server with pid {os.getpid()}; stop it" in said
        assert contents(ledger) == before


def test_a_replaced_ledger_is_the_backup_without_what_came_after(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = tmp_path / "copy.backup"
    told(capsys, "backup", "--state", str(state), "--to", str(backup))
    with Ledger.open(state / "ledger") as ledger:
        expected = contents(ledger)
        made.fill(ledger, made.ticks(5, dt_s=600.0, start_s=START_S + 30_000.0, first=50))
        shutil.copytree(state, tmp_path / "killed")  # with a log beside the database
    told(capsys, "restore", str(backup), "--state", str(tmp_path / "killed"), "--overwrite")
    with Ledger.open(tmp_path / "killed" / "ledger") as ledger:
        assert contents(ledger) == expected
        made.fill(ledger, made.ticks(5, dt_s=600.0, start_s=START_S + 30_000.0, first=50, seed=9))
    with closing(open_reader(tmp_path / "killed" / "ledger" / FILE, 1.0)) as db:
        check_all(db, tmp_path)


def test_a_damaged_ledger_is_replaced_by_its_backup(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "copy.backup"
    told(capsys, "backup", "--state", str(state), "--to", str(backup))
    with Ledger.open(state / "ledger", read_only=True) as ledger:
        expected = contents(ledger)
    (state / "ledger" / FILE).write_bytes(b"rubbish" * 1000)
    with pytest.raises(StoreError):
        Ledger.open(state / "ledger")
    told(capsys, "restore", str(backup), "--state", str(state), "--overwrite")
    with Ledger.open(state / "ledger") as ledger:
        assert contents(ledger) == expected


@pytest.mark.parametrize("damage", ["cut", "flipped", "none of ours", "missing"])
def test_a_damaged_backup_is_not_restored(state: Path, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "copy.backup"
    told(capsys, "backup", "--state", str(state), "--to", str(backup))
    data = bytearray(backup.read_bytes())
    if damage == "cut":
        os.truncate(backup, len(data) // 2)
    elif damage == "flipped":
        with closing(open_reader(backup, 1.0)) as db:
            page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'hour_flows'").fetchone()[0]
        data[page * 4096 - 20] ^= 16
        backup.write_bytes(data)
    elif damage == "missing":
        backup.unlink()
    else:
        backup.write_bytes(b"hello" * 10_000)
    said = told(capsys, "restore", str(backup), "--state", str(tmp_path / "new"), status=2)
    assert "damaged" in said or "changed on the disk" in said or "there is no such file" in said
    assert not (tmp_path / "new").exists()


def test_a_backup_of_nothing_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "backup", "--state", str(tmp_path / "nowhere"), "--to", str(tmp_path / "x"), status=2)
    assert "there is no ledger" in said
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
    import resource, sys
    from ecovisor.cli import run
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
    sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs limits on the size of files")
@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_a_disk_that_takes_no_more_leaves_nothing(
    state: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, "backup", "--state", str(state), "--to", str(tmp_path / "good.backup"))
    target = tmp_path / "target"
    target.mkdir()
    words = {
        "backup": ["backup", "--state", str(state), "--to", str(target / "x.backup")],
        "restore": ["restore", str(tmp_path / "good.backup"), "--state", str(target)],
    }[verb]
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), *words]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "check the disk and its space" in done.stderr
    left = [path.name for path in target.rglob("*") if path.is_file()]
    assert left in ([], ["ledger.lock"])
    assert run(words) == 0, "and the same words work when there is room"


def test_programs_read_what_was_copied(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = tmp_path / "copy.backup"
    found = json.loads(told(capsys, "backup", "--state", str(state), "--to", str(backup), "--json"))
    assert found == {
        "file": str(backup),
        "bytes": backup.stat().st_size,
        "ticks": 50,
        "last_tick": 49,
        "end": "2021-03-01T08:20:00Z",
        "site": "Test",
    }
    assert json.loads(told(capsys, "restore", str(backup), "--state", str(tmp_path / "new"), "--json"))["last_tick"] == 49

"""Ledgers of earlier and later versions: an old one is copied and brought forward whole, a newer one is left alone."""

from __future__ import annotations

import math
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from tests.adapters.ledger import made
from tests.adapters.ledger.made import START_S

from ecovisor.adapters.stores.ledger import Ledger, schema
from ecovisor.adapters.stores.ledger.checks import check_all
from ecovisor.adapters.stores.ledger.connection import FILE, open_reader
from ecovisor.adapters.stores.ledger.copies import back_up, restore
from ecovisor.model.errors import StoreError

OLD = Path(__file__).parent / "stores" / "version-1.sql"
END_S = START_S + 20 * 1800.0 + 5400.0 + 900.0 + 44 * 1800.0


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A state directory as version 1 left it."""
    folder = tmp_path / "state"
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.executescript(OLD.read_text("utf-8"))
    return folder


def summed(folder: Path, app: str, column: str) -> float:
    """Energy of a power column over all ticks, by a statement of its own. [Wh]"""
    with closing(sqlite3.connect(folder / FILE)) as db:
        rows = db.execute(
            f"SELECT r.{column} * s.dt_s FROM raw_flows r JOIN steps s USING (step) JOIN texts t ON t.id = r.app "
            "WHERE t.text = ? AND s.tick IS NOT NULL",
            (app,),
        )
        return math.fsum(row[0] for row in rows) / 3600.0


def test_an_old_ledger_is_copied_and_brought_forward_with_all_that_is_in_it(old: Path) -> None:
    expected = {app: summed(old, app, "grid_to_load_w") for app in ("web", "train")}
    with Ledger.open(old) as ledger:
        assert (ledger.site, ledger.timezone) == ("Old site", "Europe/Berlin")
        last = ledger.last()
        assert last is not None
        assert (last.tick, last.checkpoint, last.plant) == (63, b"levels after 63", b'{"import_wh": 12.5}')
        assert ledger.registry.get("token", "web") == b"\x01\x02hash"
        assert ledger.registry.items("callback") == [("7", b'{"url": "https://example.org"}')]
        assert [one.kind for one in ledger.told()] == ["battery_full", "budget_80", "gap"]
        for app, energy_wh in expected.items():
            found = ledger.usage(app, START_S, END_S)
            assert found.energies is not None
            assert found.energies.grid_to_load_wh == pytest.approx(energy_wh, rel=1e-9)
            assert found.cost is None
        gaps = [(gap.start_s, gap.end_s) for gap in ledger.gaps(START_S, END_S)]
        first_s = START_S + 20 * 1800.0
        assert gaps == [(first_s, first_s + 5400.0), (first_s + 5400.0, first_s + 6300.0)]
        assert ledger.usage("_site", first_s, first_s + 5400.0).unknown_carbon_wh > 0.0
        before = ledger.usage("web", START_S, END_S)
        assert ledger.prune(ticks_before_s=END_S, hours_before_s=END_S).hours > 0
        assert ledger.usage("web", START_S, END_S).load_wh == pytest.approx(before.load_wh, rel=1e-12)


def test_an_upgraded_ledger_passes_every_check_and_goes_on(old: Path) -> None:
    Ledger.open(old).close()
    with closing(open_reader(old / FILE, 1.0)) as db:
        check_all(db, old / FILE)
    with Ledger.open(old) as ledger:
        made.fill(ledger, made.ticks(60, dt_s=1800.0, apps=("web", "new", "_site"), start_s=END_S, first=64))
        found = ledger.usage("web", END_S, END_S + 60 * 1800.0)
        assert found.cost is not None
        assert found.coverage_ratio == 1.0
    with closing(open_reader(old / FILE, 1.0)) as db:
        check_all(db, old / FILE)


def test_the_copy_is_the_old_ledger_for_its_owner_only(old: Path) -> None:
    Ledger.open(old).close()
    copy = old / "ledger.version-1.sqlite"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT COUNT(*) FROM raw_flows").fetchone() == (149,)


def test_an_upgrade_that_fails_leaves_the_old_ledger(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = schema.upgrade

    def half_way(db: sqlite3.Connection, version: int) -> None:
        upgrade(db, version)
        raise sqlite3.OperationalError("database or disk is full")

    with closing(sqlite3.connect(old / FILE)) as db:
        before = list(db.iterdump())
    with monkeypatch.context() as patched:
        patched.setattr(schema, "upgrade", half_way)
        with pytest.raises(StoreError, match="disk is full"):
            Ledger.open(old)
    with closing(sqlite3.connect(old / FILE)) as db:
        assert list(db.iterdump()) == before
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    Ledger.open(old).close()


def test_an_old_ledger_is_not_read_before_it_is_upgraded(old: Path) -> None:
    with pytest.raises(StoreError, match="is of version 1, this program reads 2; start the server once to upgrade it"):
        Ledger.open(old, read_only=True)


def test_an_old_backup_can_be_restored(old: Path, tmp_path: Path) -> None:
    back_up(old, tmp_path / "old.backup")
    restore(tmp_path / "old.backup", tmp_path / "new")
    with Ledger.open(tmp_path / "new") as ledger:
        assert ledger.registry.get("token", "web") == b"\x01\x02hash"


def test_a_newer_ledger_is_left_alone(tmp_path: Path) -> None:
    made.stored(tmp_path, made.ticks(2))
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("PRAGMA user_version = 99")
    before = (tmp_path / FILE).read_bytes()
    for read_only in (True, False):
        with pytest.raises(StoreError, match=r"ledger\.sqlite: is of version 99, this program knows 2; use a newer ecovisor"):
            Ledger.open(tmp_path, read_only=read_only)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_damaged_old_ledger_is_not_upgraded(old: Path) -> None:
    data = bytearray((old / FILE).read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(4096)
    (old / FILE).write_bytes(data)
    with pytest.raises(StoreError, match="is damaged"):
        Ledger.open(old)
    assert not (old / "ledger.version-1.sqlite").exists()

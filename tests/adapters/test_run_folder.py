"""The run folder is there whole or not at all, and its tables come back as they were written."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from tests import made_up

from ecovisor import runs
from ecovisor.adapters.stores import folder_swap, run_folder
from ecovisor.adapters.stores.run_folder import RunFolder
from ecovisor.model.errors import EcovisorError, InputError, SettingsError
from ecovisor.ports import Block, Event

FORMATS: Sequence[Literal["parquet", "csv"]] = ("parquet", "csv")


def written(target: Path, table_format: Literal["parquet", "csv"], **info: object) -> runs.Run:
    with RunFolder(target, table_format=table_format) as folder:
        for first in (0, 10):
            folder.write(made_up.flows(first, 10, known_carbon=first == 0))
            folder.write(made_up.site(first, 10))
        folder.write_event(Event(made_up.START_S + 0.25, "job", "suspended", 'carbon "300", above 250'))
        folder.finish(info)
    return runs.open(target)


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("table_format", FORMATS)
def test_every_value_comes_back_bit_for_bit(tmp_path: Path, table_format: Literal["parquet", "csv"]) -> None:
    run = written(tmp_path / "run", table_format)
    for name, values in made_up.flows(0, 10).columns.items():
        assert run.flows[name].to_numpy()[:30].tolist() == list(values)
    assert run.flows["carbon_g"].isna().tolist() == [False] * 30 + [True] * 30
    assert math.isinf(run.flows["grid_limit_w"][0])
    assert run.flows["app"].tolist()[:4] == ["job", "service", "_site", "job"]
    assert run.flows["time"][3] == pd.Timestamp(made_up.START_S + 300, unit="s", tz="UTC")
    assert run.flows.columns.tolist() == ["time", "app", *made_up.COLUMNS, "quality"]
    assert run.events["detail"].tolist() == ['carbon "300", above 250']
    assert run.events["time"][0] == pd.Timestamp(made_up.START_S + 0.25, unit="s", tz="UTC")
    assert run.info["tables"]["flows"] == {"file": f"flows.{table_format}", "rows": 60}


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    one, other = (written(tmp_path / name, name) for name in FORMATS)
    for table in ("flows", "site", "events"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(other, table), check_exact=True, check_categorical=False)
    columns = ["time", "demand_w", "carbon_g"]
    for mine, theirs in zip(one.batches("flows", columns), other.batches("flows", columns), strict=True):
        for name in columns:
            np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.mark.parametrize("table_format", FORMATS)
@pytest.mark.parametrize("make", [list, np.array, lambda values: np.array(values, dtype=np.float32).astype(np.float64)])
def test_columns_may_be_lists_or_arrays(tmp_path: Path, make: object, table_format: Literal["parquet", "csv"]) -> None:
    block = Block("flows", np.array([0.0, 60.0]), {"app": ["a", "b"]}, {"x_w": make([1.0, 0.5, math.nan, 4.0])}, {})  # type: ignore[operator, arg-type]
    with RunFolder(tmp_path / "run", table_format=table_format) as folder:
        folder.write(block)
        folder.finish({})
    assert runs.open(tmp_path / "run").flows["x_w"].fillna(-1.0).tolist() == [1.0, 0.5, -1.0, 4.0]


@pytest.mark.parametrize("table_format", FORMATS)
def test_the_keys_may_change_from_block_to_block(tmp_path: Path, table_format: Literal["parquet", "csv"]) -> None:
    with RunFolder(tmp_path / "run", table_format=table_format) as folder:
        for time_s, names in ((0.0, ["a"]), (60.0, ["a", "b"]), (120.0, ["b", "c"])):
            keys = {"app": names, "container": [f"{name}-1" for name in names]}
            folder.write(Block("containers", [time_s], keys, {"power_w": [1.0] * len(names)}, {}))
        folder.finish({})
    assert runs.open(tmp_path / "run").containers["container"].tolist() == ["a-1", "a-1", "b-1", "b-1", "c-1"]


@pytest.mark.parametrize("table_format", FORMATS)
def test_many_events_are_all_kept(tmp_path: Path, table_format: Literal["parquet", "csv"], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_EVENTS_KEPT", 3)
    with RunFolder(tmp_path / "run", table_format=table_format) as folder:
        for k in range(8):
            folder.write_event(Event(float(k), "a", "tick"))
        folder.finish({})
    run = runs.open(tmp_path / "run")
    assert run.events["time"].astype("int64").tolist() == [k * 1_000_000 for k in range(8)]
    assert run.events["app"].tolist() == ["a"] * 8


def test_the_target_appears_only_when_the_run_is_finished(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "run"
    with RunFolder(target, table_format="csv") as folder:
        folder.write(made_up.flows(0, 2))
        assert not target.exists()
        folder.finish({"seed": 3, "limit": math.inf})
    assert json.loads((target / "run.json").read_text("utf-8"))["seed"] == 3
    assert leftovers(target) == ["events.csv", "flows.csv", "run.json"]
    assert leftovers(target.parent) == ["run"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("table_format", FORMATS)
def test_a_run_that_fails_leaves_nothing(
    tmp_path: Path, table_format: Literal["parquet", "csv"], error: type[BaseException]
) -> None:
    def fail() -> None:
        with RunFolder(tmp_path / "new" / "run", table_format=table_format) as folder:
            folder.write(made_up.flows(0, 2))
            raise error

    with pytest.raises(error):
        fail()
    assert leftovers(tmp_path) == []


def test_a_closed_folder_takes_nothing_more(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", table_format="csv")
    folder.write(made_up.site(0, 2))
    folder.abort()
    with pytest.raises(EcovisorError, match="the run folder is closed"):
        folder.write(made_up.site(2, 2))
    folder.abort()
    assert leftovers(tmp_path) == []


def test_a_block_whose_columns_do_not_fit_is_refused(tmp_path: Path) -> None:
    for table_format in FORMATS:
        with pytest.raises(ValueError, match=r"."), RunFolder(tmp_path / "run", table_format=table_format) as folder:
            folder.write(Block("flows", [0.0, 60.0], {"app": ["a"]}, {"x_w": [1.0]}, {}))
    assert leftovers(tmp_path) == []


def test_an_existing_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(SettingsError, match="run: exists already; choose another folder, or replace it with --overwrite"):
        RunFolder(tmp_path / "run")
    assert leftovers(tmp_path) == ["run"]


def test_only_a_run_folder_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious", "utf-8")
    with pytest.raises(SettingsError, match=r"is no run folder \(it has no run.json\), so it is not overwritten"):
        RunFolder(tmp_path / "thesis", overwrite=True)
    (tmp_path / "file").write_text("precious", "utf-8")
    with pytest.raises(SettingsError, match="is no run folder"):
        RunFolder(tmp_path / "file", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text("utf-8") == "precious"


@pytest.mark.parametrize("atomic", [True, False])
def test_overwriting_replaces_the_old_run_only_when_the_new_one_is_finished(
    tmp_path: Path, atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not atomic:
        monkeypatch.setattr(folder_swap, "_exchange", lambda one, other: False)
    target = tmp_path / "run"
    written(target, "csv", seed=1)
    with RunFolder(target, table_format="csv", overwrite=True) as folder:
        folder.write(made_up.site(0, 1))
    assert runs.open(target).info["seed"] == 1
    with RunFolder(target, table_format="csv", overwrite=True) as folder:
        folder.write(made_up.site(0, 1))
        assert runs.open(target).info["seed"] == 1
        folder.finish({"seed": 2})
    assert runs.open(target).info["seed"] == 2
    assert leftovers(target) == ["events.csv", "run.json", "site.csv"]
    assert leftovers(tmp_path) == ["run"]


def test_a_swap_that_fails_half_way_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_swap, "_exchange", lambda one, other: False)
    written(tmp_path / "run", "csv", seed=1)
    with pytest.raises(FileNotFoundError):
        folder_swap.replace_folder(tmp_path / "run", tmp_path / "absent")
    assert runs.open(tmp_path / "run").info["seed"] == 1


def test_a_target_that_appears_during_the_run_is_kept(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", table_format="csv") as folder:
        (tmp_path / "run").mkdir()
        with pytest.raises(SettingsError, match="exists already"):
            folder.finish({})
    assert leftovers(tmp_path) == ["run"]


def test_what_appears_during_the_run_and_is_no_run_folder_is_not_overwritten(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", table_format="csv", overwrite=True) as folder:
        (tmp_path / "run").mkdir()
        with pytest.raises(SettingsError, match="is no run folder"):
            folder.finish({})
    assert leftovers(tmp_path) == ["run"]


def test_a_place_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(SettingsError, match=r"run: cannot be written: Not a directory; .*choose another place with --out"):
        RunFolder(tmp_path / "file" / "run")


FULL_DISK = """
    import resource, sys
    from pathlib import Path
    from ecovisor.adapters.stores.run_folder import RunFolder
    from ecovisor.model.errors import EcovisorError
    from tests import made_up
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    try:
        with RunFolder(Path(sys.argv[1]), table_format=sys.argv[2]) as folder:
            for k in range(40):
                folder.write(made_up.flows(20 * k, 20))
            folder.finish({})
    except EcovisorError as error:
        print(error)
        sys.exit(2)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs limits on the size of files")
@pytest.mark.parametrize("table_format", FORMATS)
def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing(tmp_path: Path, table_format: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "run"), table_format],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.count("\n") == 1
    assert "run: cannot be written: " in done.stdout
    assert leftovers(tmp_path) == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full")
def test_no_space_left_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecovisor.adapters.stores import csv_tables

    class OnFullDisk(csv_tables.CsvTable):
        def __init__(self, path: Path) -> None:
            super().__init__(Path("/dev/full"))

    monkeypatch.setattr(csv_tables, "CsvTable", OnFullDisk)
    with pytest.raises(SettingsError, match="cannot be written: No space left on device; free some space, or choose another place"):
        written(tmp_path / "run", "csv")
    assert leftovers(tmp_path) == []


def test_parquet_without_pyarrow_is_refused_and_auto_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RunFolder(tmp_path / "one").format == "parquet"
    monkeypatch.setattr(run_folder, "find_spec", lambda name: None)
    assert RunFolder(tmp_path / "two").format == "csv"
    with pytest.raises(SettingsError, match=r"run\.format: Parquet needs pyarrow and NumPy; pip install 'ecovisor\[fast\]'"):
        RunFolder(tmp_path / "three", table_format="parquet")


def test_what_is_no_run_folder_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run folder: it has no run.json"):
        runs.open(tmp_path)
    (tmp_path / "run.json").write_text("{", "utf-8")
    with pytest.raises(InputError, match=r"run\.json: cannot be read"):
        runs.open(tmp_path)


def test_a_table_that_was_not_kept_is_named(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", table_format="csv") as folder:
        folder.finish({"settings": {"run": {"record": "totals"}}})
    run = runs.open(tmp_path / "run")
    assert len(run.events) == 0
    with pytest.raises(InputError, match=r"holds no table 'flows'; it kept totals only; run it with record"):
        _ = run.flows
    with pytest.raises(InputError, match=r"holds no table 'flow'; did you mean 'flows'\?"):
        list(written(tmp_path / "other", "csv").batches("flow", ["time"]))


@pytest.mark.parametrize("table_format", FORMATS)
def test_a_missing_library_names_the_extra(
    tmp_path: Path, table_format: Literal["parquet", "csv"], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written(tmp_path / "run", table_format)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"a DataFrame needs pandas; pip install 'ecovisor\[studies\]'"):
        _ = run.flows
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(InputError, match=r"reading it needs numpy"):
        list(run.batches("flows", ["time"]))

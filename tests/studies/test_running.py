"""Several studies at once: each in its own process, whose end, however it comes, is its own."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from ecovisor.studies import registry
from ecovisor.studies.record import read_record
from ecovisor.studies.running import Settings, in_a_line, run_many, usable_cores

MADE_UP = Path(__file__).parent / "made_up_study.py"
SETTINGS = Settings(data=None, seeds=2, seed=5)


def folders(tmp_path: Path, *names: str) -> dict[str, Path]:
    return {f"{MADE_UP}:{name}": tmp_path / name for name in names}


def test_each_runs_into_its_folder_and_what_fails_does_not_hide_the_others(tmp_path: Path) -> None:
    told: list[tuple[str, str, float]] = []
    wanted = folders(tmp_path, "Broken", "Waiting", "Dying", "Calm")
    errors = run_many(
        wanted, SETTINGS, jobs=2, listener=lambda name, what, ratio: told.append((name.rpartition(":")[2], what, ratio))
    )
    assert {name.rpartition(":")[2]: error for name, error in errors.items()} == {
        "Broken": "ValueError: one two three (made_up_study.py, line 86)",
        "Dying": "its process ended with exit status 7",
    }
    record = read_record(tmp_path / "Waiting")
    assert record.info["settings"] == {"seeds": 2, "seed": 5, "modelled": True}
    assert read_record(tmp_path / "Calm").findings.claims[0].held
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Calm", "Waiting"]
    for name, last in (("Broken", "failed"), ("Waiting", "done"), ("Dying", "failed"), ("Calm", "done")):
        of_it = [(what, ratio) for one, what, ratio in told if one == name]
        assert of_it[0] == ("starting", 0.0) and of_it[-1] == (last, 1.0)
    assert ("Waiting", "waiting", 0.5) in told


def test_an_interruption_ends_the_processes(tmp_path: Path) -> None:
    def interrupt(_name: str, what: str, _ratio: float) -> None:
        if what == "sleeping":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_many(folders(tmp_path, "Endless", "Calm"), SETTINGS, jobs=1, listener=interrupt)
    assert multiprocessing.active_children() == []
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line_with_the_place_of_those_that_nobody_meant() -> None:
    with pytest.raises(KeyError) as raised:
        dict[str, str]()["x"]
    assert in_a_line(raised.value).startswith("KeyError: 'x' (test_running.py, line ")


def test_there_is_a_core_to_use() -> None:
    assert usable_cores() >= 1


def test_studies_that_are_there_have_all_their_parts() -> None:
    for name in registry.names():
        study = registry.study(name)
        assert study.name == name
        assert study.title and study.source

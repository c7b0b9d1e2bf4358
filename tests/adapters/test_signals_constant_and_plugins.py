"""Constants, and signals of one's own: found, called and held to what files are held to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecovisor.adapters import plugins
from ecovisor.adapters.plugins import load_plugin
from ecovisor.adapters.signals import LoadedSignal, load_signal
from ecovisor.model.errors import SeriesError, SettingsError
from ecovisor.settings import Signal

HOUR = 3600.0


def load(folder: Path, name: str = "carbon", **settings: Any) -> LoadedSignal:
    return load_signal(name, Signal(**settings), folder=folder, start_s=0.0, end_s=4 * HOUR, tick_s=HOUR, seed=7)


@pytest.mark.parametrize(("name", "unit"), [("carbon", "g/kWh"), ("solar", "W"), ("price", "1/kWh"), ("load", "W")])
def test_a_constant_holds_in_every_tick_in_the_signals_unit(tmp_path: Path, name: str, unit: str) -> None:
    loaded = load(tmp_path, name, kind="constant", value=4.0)
    assert list(loaded.ticks) == [4.0] * 4
    assert loaded.series.unit == unit
    assert list(loaded.forecaster.forecast(0.0, 2 * HOUR).values) == [4.0, 4.0]


@pytest.mark.parametrize("value", [None, -1.0, float("nan"), float("inf")])
def test_a_constant_out_of_bounds_is_refused(tmp_path: Path, value: float | None) -> None:
    with pytest.raises(SettingsError, match=r"signals\.carbon\.value"):
        load(tmp_path, kind="constant", value=value)


@pytest.mark.parametrize(("forecast", "expected"), [("persistence", [2.0] * 2), ("day-before", [2.0] * 2)])
def test_the_forecast_asked_for_is_the_one_given(tmp_path: Path, forecast: str, expected: list[float]) -> None:
    loaded = load(tmp_path, kind="constant", value=2.0, forecast=forecast)
    assert list(loaded.forecaster.forecast(2 * HOUR, 2 * HOUR).values) == expected


def test_a_forecast_column_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'column:x' needs kind = 'file'"):
        load(tmp_path, kind="constant", value=2.0, forecast="column:x")


def test_options_that_nobody_reads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"signals\.carbon\.options"):
        load(tmp_path, kind="constant", value=2.0, options={"a": 1})


PLUGIN = """
from array import array
from ecovisor.model.series import Series

def ramp(name, *, folder, start_s, end_s, tick_s, seed, slope=1.0):
    count = round((end_s - start_s) / tick_s)
    return Series(name, "g/kWh", start_s, tick_s, array("d", [slope * k + seed for k in range(count)]))

def negative(name, **_):
    return Series(name, "g/kWh", 0.0, 3600.0, array("d", [1.0, -1.0, 1.0, 1.0]))

def watts(name, **_):
    return Series(name, "W", 0.0, 3600.0, array("d", [1.0] * 4))

def short(name, **_):
    return Series(name, "g/kWh", 0.0, 3600.0, array("d", [1.0] * 2))

def nothing(name, **_):
    return None

def fails(name, **_):
    raise RuntimeError("no\\nluck")

number = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN)
    return tmp_path


def test_a_signal_of_ones_own_gets_window_seed_and_options(folder: Path) -> None:
    loaded = load(folder, kind="mine.py:ramp", options={"slope": 2.0})
    assert list(loaded.ticks) == [7.0, 9.0, 11.0, 13.0]
    assert list(load(folder, kind="mine.py:ramp", seed=0).ticks) == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("kind", "error", "told"),
    [
        ("mine.py:negative", SeriesError, r"-1 g/kWh at 1970-01-01T01:00:00Z is out of bounds"),
        ("mine.py:watts", SeriesError, "is in 'W', needs g/kWh"),
        ("mine.py:short", SeriesError, "the run needs"),
        ("mine.py:nothing", SeriesError, "gave a NoneType"),
        ("mine.py:fails", SeriesError, "raised RuntimeError: no luck"),
        ("mine.py:number", SettingsError, "is a int, no callable"),
        ("mine.py:rmap", SettingsError, "has no 'rmap'; did you mean 'ramp'"),
        ("yours.py:ramp", SettingsError, "there is no file 'yours.py'"),
        ("modeled-carbon", SettingsError, r"signals\.carbon\.kind: unknown kind 'modeled-carbon'; did you mean 'modelled-carbon'"),
    ],
)
def test_a_faulty_plugin_is_told_in_one_line(folder: Path, kind: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told) as raised:
        load(folder, kind=kind)
    assert "\n" not in str(raised.value)


def test_a_plugin_file_that_does_not_load_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(
        SettingsError, match=r"broken\.py does not load: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    ):
        load(tmp_path, kind="broken.py:ramp")


def test_an_installed_plugin_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    points = [EntryPoint("sqrt", "math:sqrt", "ecovisor.signals"), EntryPoint("bad", "math:nothing", "ecovisor.signals")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    import math

    assert load_plugin("ecovisor.signals", "sqrt", tmp_path, [], "x") is math.sqrt
    with pytest.raises(SettingsError, match=r"x: plug-in 'bad' \(math:nothing\) does not load"):
        load_plugin("ecovisor.signals", "bad", tmp_path, [], "x")
    with pytest.raises(SettingsError, match="did you mean 'sqrt'"):
        load_plugin("ecovisor.signals", "sqrtt", tmp_path, ["file"], "x")

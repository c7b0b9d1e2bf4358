"""Signals that are given in memory do what the same signals in files do."""

from __future__ import annotations

from array import array
from pathlib import Path

import msgspec
import pytest

from ecovisor.assembly import simulate
from ecovisor.library.forecasts import PersistenceForecaster
from ecovisor.model.errors import SeriesError, SettingsError
from ecovisor.model.series import Quality, Series
from ecovisor.settings import Scenario
from ecovisor.testing import MemorySink

START_S = 1577836800.0  # 2020-01-01T00:00Z
HOURS = 48
INTENSITY = [100.0 + 50.0 * ((k * 7) % 11) for k in range(HOURS)]
LOAD = [5.0 + k % 4 for k in range(HOURS)]


def series(name: str, unit: str, values: list[float], step_s: float = 3600.0) -> Series:
    return Series(name, unit, START_S, step_s, array("d", values), Quality.MODELLED, "made for a test")


GIVEN = {"carbon": series("carbon", "g/kWh", INTENSITY), "load": series("load", "W", LOAD)}


def scenario(**more: object) -> Scenario:
    return msgspec.convert(
        {
            "schema": 1,
            "apps": [
                {"name": "web", "workload": {"kind": "trace", "trace": "load"}},
                {
                    "name": "job",
                    "workload": {"kind": "batch", "work_core_hours": 10.0},
                    "policy": {"kind": "suspend-resume", "percentile": 40.0, "window": "24h"},
                },
            ],
            "run": {"start": "2020-01-01T00:00Z", "duration": "48h", "tick": "10min"},
            **more,
        },
        Scenario,
    )


def test_series_in_memory_are_the_same_run_as_files(tmp_path: Path) -> None:
    (tmp_path / "carbon.csv").write_text(
        "time,ci_g_per_kwh\n" + "".join(f"{START_S + 3600 * k:.0f},{value}\n" for k, value in enumerate(INTENSITY))
    )
    (tmp_path / "load.csv").write_text(
        "time,load_w\n" + "".join(f"{START_S + 3600 * k:.0f},{value}\n" for k, value in enumerate(LOAD))
    )
    files = scenario(signals={"carbon": {"kind": "file", "file": "carbon.csv"}, "load": {"kind": "file", "file": "load.csv"}})
    sinks = MemorySink(), MemorySink()
    expected = simulate(files, tmp_path, sink=sinks[0]).summary
    found = simulate(scenario(), tmp_path, series=GIVEN, sink=sinks[1]).summary
    assert (found.apps, found.site) == (expected.apps, expected.site)
    assert sinks[0].rows("flows") == sinks[1].rows("flows")
    assert found.signals["carbon"] == "modelled: made for a test"


def test_a_series_takes_the_place_of_the_signal_of_that_name(tmp_path: Path) -> None:
    named = scenario(signals={"carbon": {"kind": "constant", "value": 1.0}})
    assert simulate(named, tmp_path, series=GIVEN).summary.apps == simulate(scenario(), tmp_path, series=GIVEN).summary.apps


def test_a_forecast_may_be_given_too(tmp_path: Path) -> None:
    perfect = simulate(scenario(), tmp_path, series=GIVEN).summary.apps[1]
    blind = simulate(scenario(), tmp_path, series=GIVEN, forecasts={"carbon": PersistenceForecaster(GIVEN["carbon"])})
    assert blind.summary.apps[1].runtime_s != perfect.runtime_s


def test_a_series_finer_than_the_tick_is_averaged(tmp_path: Path) -> None:
    fine = {**GIVEN, "load": series("load", "W", [float(k % 2) * 10.0 for k in range(HOURS * 60)], 60.0)}
    assert simulate(scenario(), tmp_path, series=fine).summary.apps[0].demand_wh == pytest.approx(5.0 * HOURS)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"carbon": series("carbon", "W", INTENSITY)}, r"signals\.carbon \(given\): is in 'W', needs g/kWh"),
        ({"load": series("load", "W", [-1.0] * HOURS)}, r"signals\.load \(given\): -1 W at 2020-01-01T00:00:00Z is out of bounds"),
        ({"load": series("load", "W", LOAD[:5])}, r"covers 2020-01-01T00:00:00Z to 2020-01-01T05:00:00Z, the run needs"),
        ({"load": series("load", "1/s", LOAD)}, r"apps\[0\]\.workload\.trace: 'load' is in 1/s, a demand is in W or 1"),
    ],
)
def test_what_does_not_fit_is_one_line(changed: dict[str, Series], told: str, tmp_path: Path) -> None:
    with pytest.raises((SeriesError, SettingsError), match=told):
        simulate(scenario(), tmp_path, series={**GIVEN, **changed})


def test_a_name_that_is_neither_a_signal_nor_given_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"apps\[0\]\.workload\.trace: no signal is called 'load'; did you mean"):
        simulate(scenario(), tmp_path, series={"carbon": GIVEN["carbon"], "loads": GIVEN["load"]})


@pytest.mark.parametrize(("value", "unit", "watts"), [(20.0, None, 20.0), (0.02, "kW", 20.0)])
def test_a_constant_trace_may_have_a_unit(value: float, unit: str | None, watts: float, tmp_path: Path) -> None:
    load = {"kind": "constant", "value": value} | ({"unit": unit} if unit else {})
    run = simulate(scenario(signals={"load": load}), tmp_path, series={"carbon": GIVEN["carbon"]})
    assert run.summary.apps[0].demand_wh == pytest.approx(watts * HOURS)
    with pytest.raises(SettingsError, match=r"signals\.load\.unit: 'g/kWh' does not fit; write W or 1 or 1/s"):
        simulate(scenario(signals={"load": {**load, "unit": "g/kWh"}}), tmp_path, series={"carbon": GIVEN["carbon"]})

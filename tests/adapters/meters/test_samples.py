"""Samples from files: columns and units are told by name or asked for, and what cannot be used is named with its row."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from ecovisor.adapters.meters.samples import Asked, read_samples
from ecovisor.library.calibration import PowerSample, fit_power_curve
from ecovisor.model.errors import InputError

DATA = Path(os.environ.get("ECOVISOR_DATA", Path(__file__).parents[4] / "shared/data"))
MEASURED = DATA / "power/codecarbon_cpu_load_vs_rapl.csv"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("header", "row", "load", "power"),
    [
        ("load_percent,power_kw", "25,0.04", "load_percent", "power_kw"),
        ("power_kw,CPU load (%)", "0.04,25", "CPU load (%)", "power_kw"),
        ("time,Busy%,PkgPower [kW]", "7,25,0.04", "Busy%", "PkgPower [kW]"),
        ("utilization [%],price_per_kwh,power_w,energy_wh", "25,7,40,7", "utilization [%]", "power_w"),
        ("cpu_ratio;power_w", "0.25;40", "cpu_ratio", "power_w"),
    ],
)
def test_columns_and_units_are_told_by_their_names(tmp_path: Path, header: str, row: str, load: str, power: str) -> None:
    found = read_samples(write(tmp_path, f"{header}\n{row}\n{row}\n"))
    assert found.samples == [PowerSample(0.25, 40.0)] * 2
    assert (found.load_column, found.power_column) == (load, power)
    assert found.rows_without_value == found.rows_left_out == 0


def test_of_several_that_would_do_the_one_that_says_what_it_is(tmp_path: Path) -> None:
    found = read_samples(write(tmp_path, "load_ratio,share_ratio,power_w,limit_w\n0.5,0.1,40,100\n"))
    assert found.samples == [PowerSample(0.5, 40.0)]


def test_columns_and_units_may_be_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b,c\n50,1,3\n100,2,4\n")
    found = read_samples(path, load=Asked("a", "%"), power=Asked("c", "kW"))
    assert found.samples == [PowerSample(0.5, 3000.0), PowerSample(1.0, 4000.0)]


def test_rows_without_a_value_are_passed_over_and_counted(tmp_path: Path) -> None:
    found = read_samples(write(tmp_path, "load_ratio,power_w\n0,10\n,11\n0.5,-\n1.004,20\n"))
    assert found.samples == [PowerSample(0.0, 10.0), PowerSample(1.0, 20.0)]
    assert found.rows_without_value == 2
    assert not any(math.isnan(sample.power_w) for sample in found.samples)


def test_filters_choose_rows(tmp_path: Path) -> None:
    path = write(tmp_path, "machine,mode,load_ratio,power_w\na,x,0,1\na,y,0,2\nb,x,0,3\n")
    found = read_samples(path, only=[("machine", "a"), ("mode", "y")])
    assert (found.samples, found.rows_left_out) == ([PowerSample(0.0, 2.0)], 2)
    with pytest.raises(InputError, match=r"--only mode=z: no row of .* has it; there are: x$"):
        read_samples(path, only=[("machine", "b"), ("mode", "z")])


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        ("a,b\n1,2\n", {}, "no column's name says that it is the load: a, b; choose one: --load-column NAME"),
        ("load_ratio,b\n1,2\n", {}, "no column's name says that it is the power: load_ratio, b; choose one: --power-column NAME"),
        ("load_ratio,a_w,b_w\n1,2,3\n", {}, "several columns could be the power: a_w, b_w; choose one: --power-column NAME"),
        ("load,power_w\n1,2\n", {}, "column 'load': its name carries no unit; give one: --load-unit %"),
        ("load,power_w\n1,2\n", {"load": Asked(unit="parsec")}, "unknown unit 'parsec'; give one: --load-unit %"),
        ("load_kw,power_w\n1,2\n", {"load": Asked("load_kw")}, "column 'load_kw': is in kw, load needs % or ratio"),
        ("load_ratio,power_w\n1,2\n", {"power": Asked(unit="kW")}, "its name says 'w', --power-unit says 'kW'; leave the option out"),
        ("load_ratio,power_w\n1,2\n", {"power": Asked("powr_w")}, "there is no such column; did you mean 'power_w'?"),
        ("load_ratio,power_w\n0,1\n55,2\n", {}, "row 3, column 'load_ratio': a load of 55, must be 0 to 1; is it in percent?"),
        ("load_ratio,power_w\n0,1\n555,2\n", {}, "a load of 555, must be 0 to 1; repair the row"),
        ("load_ratio,power_w\n-0.1,2\n", {}, "a load of -0.1, must be 0 to 1"),
        ("load_ratio,power_w\n0,-2\n", {}, "row 2, column 'power_w': a power of -2 W, must be at least 0"),
        ("load_ratio,power_w\n0,x\n", {}, "row 2, column 'power_w': 'x' is no number"),
        ("", {}, "is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, asked: dict[str, Asked], said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_samples(write(tmp_path, text), **asked)  # type: ignore[arg-type]
    assert said in str(raised.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file; check the path"):
        read_samples(tmp_path / "none.csv")


@pytest.mark.skipif(not MEASURED.is_file(), reason=f"measurements not there: {MEASURED} (set ECOVISOR_DATA)")
def test_a_measured_server_is_fitted_better_than_by_a_line() -> None:
    only = [("machine", "E3-1240"), ("mode", "all_cores")]
    found = read_samples(MEASURED, load=Asked("cpu_load", "%"), power=Asked("rapl_power", "W"), only=only)
    fit = fit_power_curve(found.samples)
    assert len(found.samples) == 11
    assert fit.rmse_w < 0.5 * fit.straight_rmse_w
    assert 45.0 < fit.power_curve_w[-1] < 51.0

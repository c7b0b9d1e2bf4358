"""`ecovisor calibrate`: what it prints can be pasted into a scenario, and what it cannot do is one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import pytest
from tests.adapters.meters.trees import RANGE_UJ, Tree
from tests.cli.standing_in import failed

from ecovisor.adapters.meters import ladder as ladder_module
from ecovisor.cli import run
from ecovisor.physics.server_power import power_at_w
from ecovisor.presets import SERVERS, resolve_server
from ecovisor.settings import Server

CURVE = SERVERS["dell-r740"].power_curve_w


def spec_file(tmp_path: Path, curve: tuple[float, ...] = CURVE, steps: int = 100) -> str:
    rows = "".join(f"{100 * k / steps},{power_at_w(curve, len(curve), k / steps) / 1000}\n" for k in range(steps + 1))
    path = tmp_path / "spec.csv"
    path.write_text(f"load_percent,power_kw\n{rows}", "utf-8")
    return str(path)


def server_in(text: str) -> Server:
    """The `[site.server]` that the printed lines are."""
    return msgspec.convert(tomllib.loads(text[text.index("[site.server]") :])["site"]["server"], Server)


class Machine:
    """Stands for CPUs, burners and clock: who sleeps moves the time, and the counters of a made tree with it."""

    def __init__(self, tree: Tree) -> None:
        self.zones = [tree.add("intel-rapl:0", "package-0", RANGE_UJ - 500_000_000), tree.add("intel-rapl:0:0", "dram")]
        self.now_s, self.used, self.load_ratio = 10.0, 0.0, 0.0

    def __call__(self) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.ended = True

    def set(self, load_ratio: float) -> None:
        self.load_ratio = load_ratio

    async def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.used += self.load_ratio * duration_s
        energy_uj = round(power_at_w(CURVE, len(CURVE), self.load_ratio) * duration_s * 1e6)
        self.zones[0].use(energy_uj - energy_uj // 10)
        self.zones[1].use(energy_uj // 10)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(Tree(tmp_path / "powercap"))
    climb = ladder_module.climb

    async def climb_by_hand(*arguments: Any, progress: Callable[[int, float], None] | None, **real: Any) -> Any:
        assert set(real) == {"busy", "monotonic_s", "sleep"}
        busy = lambda: (machine.used, machine.now_s)  # noqa: E731
        return await climb(*arguments, busy=busy, monotonic_s=lambda: machine.now_s, sleep=machine.sleep, progress=progress)

    monkeypatch.setattr(ladder_module, "climb", climb_by_hand)
    monkeypatch.setattr(ladder_module, "Burners", machine)
    return machine


def test_the_lines_to_paste_are_a_server_with_the_files_curve(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", "--from", spec_file(tmp_path), "--cores", "56"]) == 0
    shown = capsys.readouterr().out
    server = resolve_server(server_in(shown))
    assert server.power_curve_w == pytest.approx(CURVE, abs=2e-3)
    assert server.cores == 56.0
    loads = np.linspace(0.0, 1.0, 101)
    power = np.interp(loads, np.linspace(0.0, 1.0, 11), CURVE)
    for expected in (
        "101 samples",
        "power [W]: ○ samples",
        f"a straight line: RMSE {np.sqrt(np.mean((np.polyval(np.polyfit(loads, power, 1), loads) - power) ** 2)):.3g} W",
        "11 points by cross-validation",
    ):
        assert expected in shown
    assert max(map(len, shown.splitlines()[1:])) <= 100


def test_cores_that_nobody_named_are_not_invented(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", "--from", spec_file(tmp_path), "--points", "2"]) == 0
    shown = capsys.readouterr().out
    assert "cores =" not in shown[shown.index("[site.server]") :]
    assert "how many cores the server has is not in the file" in " ".join(shown.split())
    assert len(server_in(shown).power_curve_w or ()) == 2


def test_the_json_object_has_the_fit_and_its_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["calibrate", "--from", spec_file(tmp_path, steps=40), "--points", "5", "--json"]) == 0
    shown = capsys.readouterr()
    answer = json.loads(shown.out)
    assert shown.err == ""
    assert answer["samples"] == 41
    assert answer["samples_per_interval"] == [10, 10, 10, 11]
    assert answer["straight_rmse_w"] > answer["rmse_w"] > 0.0
    assert answer["cores"] is None
    assert server_in(answer["toml"]).power_curve_w == pytest.approx(answer["power_curve_w"], abs=1e-3)


def test_what_was_not_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "part.csv"
    path.write_text("load_ratio,power_w\n" + "".join(f"{k / 100},{k}\n" for k in (0, 1, 2, 25, 26, 60, 61, 75)) + "0.8,\n", "utf-8")
    assert run(["calibrate", "--from", str(path), "--points", "11"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    for expected in (
        "1 row(s) without a value were passed over",
        "no samples from 10% to 20%: interpolated",
        "no samples from 30% to 60%: interpolated",
        "no samples from 80% to 100%: extrapolated",
        "measured from 0% to 75% load only",
        "the fitted idle power is 0 W, which no server has",
    ):
        assert expected in words


def test_a_ladder_on_this_machine_gives_its_curve(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved, picture = tmp_path / "samples.csv", tmp_path / "fit.png"
    assert run(["calibrate", "--root", str(tmp_path / "powercap"), "--save", str(saved), "--plot", str(picture)]) == 0
    shown = capsys.readouterr()
    server = server_in(shown.out)
    assert server.power_curve_w == pytest.approx(CURVE, abs=0.01)
    assert server.cores == os.cpu_count()
    assert machine.ended
    assert machine.now_s == pytest.approx(10.0 + 11 * 5.0)
    assert "measuring 11 loads, 55 s in all" in shown.err
    assert "note: meter: RAPL package-0 + package-0 dram in" in shown.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run(["calibrate", "--from", str(saved), "--points", "11", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["power_curve_w"] == pytest.approx(CURVE, abs=0.01)


def test_progress_is_shown_on_a_terminal(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run(["calibrate", "--root", str(tmp_path / "powercap"), "--rungs", "3", "--hold", "2s", "--json"]) == 0
    shown = capsys.readouterr()
    assert "measuring at 100%" in shown.err
    assert json.loads(shown.out)["samples"] == 6


def test_a_ladder_on_a_busy_machine_says_so_and_keeps_its_samples(
    machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = machine.set
    monkeypatch.setattr(machine, "set", lambda load_ratio: asked(0.93 + 0.07 * load_ratio))
    words = ["calibrate", "--root", str(tmp_path / "powercap"), "--save", str(tmp_path / "samples.csv")]
    line = failed_but_for_progress(words, capsys)
    assert "calibrate: other work kept this machine at 93% load or more, even on the idle rung; repeat it when idle" in line
    assert len((tmp_path / "samples.csv").read_text().splitlines()) == 45


def test_a_ladder_that_fails_ends_its_burners(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Vanishing:
        async def sleep(self, duration_s: float) -> None:
            machine.zones[0].file.unlink(missing_ok=True)

    machine.sleep = Vanishing().sleep  # type: ignore[method-assign]
    line = failed_but_for_progress(["calibrate", "--root", str(tmp_path / "powercap")], capsys)
    assert "no power could be read at a load of 0%: package-0 (intel-rapl:0)" in line
    assert machine.ended


def failed_but_for_progress(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = [line for line in shown.err.splitlines() if not line.startswith("measuring ")]
    assert line.startswith("error: ")
    return line


def test_without_a_meter_it_says_what_is_missing_and_what_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failed(["calibrate", "--root", str(tmp_path / "none")], capsys)
    assert f"this machine has no power meter (there is no {tmp_path / 'none'}; RAPL needs Linux on an x86 machine" in line
    assert "ecovisor calibrate --from FILE.csv" in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "none.csv"], "none.csv: there is no such file; check the path"),
        (["--from", "{spec}", "--only", "machine"], "--only machine: has no '='; write --only COLUMN=VALUE"),
        (["--from", "{spec}", "--points", "1"], "points: is 1, must be 2 to 21"),
        (["--from", "{spec}", "--load-unit", "W"], "its name says 'percent', --load-unit says 'W'"),
        (["--from", "{spec}", "--plot", "no/such/folder.png"], "no/such/folder.png: cannot be written: No such file or directory"),
        (["--hold", "soon"], "--hold: 'soon' is no duration"),
        (["--rungs", "1"], "Invalid value for '--rungs'"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = spec_file(tmp_path)
    assert said in failed(["calibrate", *(argument.replace("{spec}", spec) for argument in arguments)], capsys)


def test_samples_that_cannot_be_saved_are_one_line(machine: Machine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["calibrate", "--root", str(tmp_path / "powercap"), "--save", str(tmp_path / "no" / "file.csv")]
    assert "cannot be written: No such file or directory" in failed_but_for_progress(words, capsys)


def test_a_picture_without_matplotlib_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    line = failed(["calibrate", "--from", spec_file(tmp_path), "--plot", str(tmp_path / "x.png")], capsys)
    assert "--plot: matplotlib is not installed; pip install 'ecovisor[plots]'" in line


@pytest.mark.live
def test_a_real_ladder_with_a_fed_counter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real burners and the real account of CPU time; a process feeds the counter by a curve. A little other load only blurs it."""
    feeder = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.adapters.meters.trees import Tree\n"
        "from ecovisor.adapters.meters.ladder import machine_busy\n"
        "zone = Tree(Path(sys.argv[1])).add('intel-rapl:0', 'package-0')\nprint('fed', flush=True)\n"
        "used, at_s = machine_busy(), time.monotonic()\n"
        "while True:\n"
        "    time.sleep(0.1)\n"
        "    now, now_s = machine_busy(), time.monotonic()\n"
        "    if now[1] > used[1]:\n"
        "        load = (now[0] - used[0]) / (now[1] - used[1])\n"
        "        zone.use(round((20 + 80 * load) * (now_s - at_s) * 1e6))\n"
        "        used, at_s = now, now_s\n"
    )
    begin = ladder_module.machine_busy()
    time.sleep(1.0)
    used, possible = (now - then for now, then in zip(ladder_module.machine_busy(), begin, strict=True))
    if used > 0.3 * possible:
        pytest.skip(f"other work keeps this machine at {used / possible:.0%} load")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", feeder, str(tmp_path / "powercap")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"fed\n"
        try:
            time.sleep(0.3)
            words = ["calibrate", "--root", str(tmp_path / "powercap"), "--rungs", "5", "--hold", "4s", "--points", "2", "--json"]
            assert run(words) == 0
        finally:
            process.kill()
    answer = json.loads(capsys.readouterr().out)
    assert answer["power_curve_w"] == pytest.approx([20.0, 100.0], abs=5.0)


def test_nothing_heavy_is_loaded_without_a_picture(tmp_path: Path) -> None:
    code = (
        f"import sys; from ecovisor.cli import run; run(['calibrate', '--from', {spec_file(tmp_path)!r}])\n"
        "print(*{'numpy', 'matplotlib', 'pandas', 'scipy', 'numba', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""

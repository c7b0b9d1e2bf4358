"""The ladder samples what the machine did, not what was asked of it, and a meter that fails costs no more than its samples."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecovisor.adapters.meters.ladder import Burners, Ladder, climb, machine_busy, usable_cpus
from ecovisor.library.calibration import PowerSample, fit_power_curve
from ecovisor.model.errors import Unavailable
from ecovisor.model.series import Quality
from ecovisor.physics.server_power import power_at_w
from ecovisor.ports.live import EnergyCounter

CURVE = (20.0, 35.0, 42.0, 46.0, 60.0, 90.0)


class Machine:
    """A machine with two CPUs, another process on it that uses 5 %, and a meter; time is moved by whoever sleeps."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.asked: list[float] = []
        self.load_ratio = 0.05
        self.used = 1000.0
        self.energy_j = 7.0
        self.epoch = "a"
        self.answers: dict[int, str] = {}
        """By number of the reading: `away`, `absent` or a new epoch."""
        self.readings = 0

    def set(self, load_ratio: float) -> None:
        self.asked.append(load_ratio)
        self.load_ratio = min(1.0, load_ratio + 0.05)

    async def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s
        self.used += self.load_ratio * 200.0 * duration_s
        self.energy_j += power_at_w(CURVE, len(CURVE), self.load_ratio) * duration_s

    def busy(self) -> tuple[float, float]:
        return self.used, 200.0 * self.now_s

    def describe(self) -> str:
        return "not available: no counter"

    async def read(self) -> EnergyCounter | None:
        answer = self.answers.get(self.readings, "")
        self.readings += 1
        if answer == "away":
            raise Unavailable("meter: no route to host")
        if answer == "absent":
            return None
        self.epoch = answer or self.epoch
        return EnergyCounter(self.energy_j, Quality.MEASURED, self.epoch)


def samples_of(machine: Machine, ladder: Ladder, told: list[float] | None = None) -> list[PowerSample]:
    return asyncio.run(
        climb(
            machine,
            ladder,
            machine,
            busy=machine.busy,
            monotonic_s=lambda: machine.now_s,
            sleep=machine.sleep,
            progress=None if told is None else lambda rung, load_ratio: told.append(load_ratio),
        )
    )


def test_a_sample_is_the_load_and_power_that_were() -> None:
    machine, told = Machine(), list[float]()
    ladder = Ladder([0.0, 0.5, 1.0], settle_s=1.0, samples=2, sample_s=0.5)
    assert ladder.duration_s == 6.0
    samples = samples_of(machine, ladder, told)
    assert machine.asked == told == [0.0, 0.5, 1.0]
    assert [sample.load_ratio for sample in samples] == pytest.approx([0.05, 0.05, 0.55, 0.55, 1.0, 1.0])
    assert [sample.power_w for sample in samples] == pytest.approx([23.75, 23.75, 45.0, 45.0, 90.0, 90.0])
    assert machine.now_s == 56.0


def test_the_machines_curve_comes_out_of_a_ladder() -> None:
    samples = samples_of(Machine(), Ladder([k / 10 for k in range(11)]))
    fit = fit_power_curve(samples, len(CURVE))
    assert fit.power_curve_w == pytest.approx(CURVE, abs=1e-3)


@pytest.mark.parametrize("answer", ["away", "absent", "another epoch"])
def test_a_sample_without_an_answer_is_dropped(answer: str) -> None:
    machine = Machine()
    machine.answers[4] = answer
    samples = samples_of(machine, Ladder([0.0, 1.0], samples=3))
    assert len(samples) == {"another epoch": 6}.get(answer, 5)  # reading 4 opens the second rung
    machine = Machine()
    machine.answers[5] = answer
    assert len(samples_of(machine, Ladder([0.0, 1.0], samples=3))) == {"another epoch": 5}.get(answer, 4)


@pytest.mark.parametrize(("answer", "said"), [("away", "meter: no route to host"), ("absent", "not available: no counter")])
def test_a_rung_without_a_sample_ends_the_ladder(answer: str, said: str) -> None:
    machine = Machine()
    machine.answers = dict.fromkeys(range(4, 99), answer)
    with pytest.raises(Unavailable, match=f"no power could be read at a load of 100%: {said}"):
        samples_of(machine, Ladder([0.0, 1.0], samples=3))


def test_without_an_account_of_cpu_time_there_is_no_load(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read as the CPU time of a Linux machine"):
        machine_busy(tmp_path / "stat")
    (tmp_path / "stat").write_text("cpu  10 1 4 80 5 1 2 3 9 9\ncpu0 1 2 3\n")
    assert machine_busy(tmp_path / "stat") == (21.0, 106.0)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_burner_uses_the_part_of_a_cpu_that_it_was_told_and_ends_with_its_context() -> None:
    with Burners(workers=1) as burners:
        burners.set(0.25)
        (worker,) = burners._running
        end_s = time.monotonic() + 20.0
        while cpu_s(worker.pid) < 0.05:
            assert time.monotonic() < end_s, "it uses no CPU time"
            time.sleep(0.02)
        begin_s, begin_cpu_s = time.monotonic(), cpu_s(worker.pid)
        time.sleep(0.8)
        used_ratio = (cpu_s(worker.pid) - begin_cpu_s) / (time.monotonic() - begin_s)
        assert used_ratio <= 0.25 + 0.06  # ticks of 10 ms; on a busy machine it may be less
        burners.set(0.0)
        assert worker.poll() is not None
        assert burners._running == []
        burners.set(1.0)
        (worker,) = burners._running
    assert worker.poll() is not None


@pytest.mark.skipif(os.name == "nt", reason="needs process groups")
def test_burners_do_not_outlive_a_parent_that_is_killed() -> None:
    code = (
        "import time\nfrom ecovisor.adapters.meters.ladder import Burners\nburners = Burners(1)\nburners.set(0.1)\n"
        "print(burners._running[0].pid, flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    end_s = time.monotonic() + 20.0
    while alive(pid) and time.monotonic() < end_s:
        time.sleep(0.02)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_there_is_a_worker_for_each_usable_cpu() -> None:
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)
    assert Burners()._workers == usable_cpus()

"""The RAPL counter on made trees: sums are exact under any wrap, and what is not known is never a number."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.meters.trees import RANGE_UJ, Clock, Tree, Zone

from ecovisor.adapters.meters.powercap import PowercapMeter
from ecovisor.adapters.meters.rapl_tree import RaplDomain
from ecovisor.model.errors import Unavailable
from ecovisor.model.series import Quality
from ecovisor.ports.live import EnergyCounter


def meter_of(tree: Tree, clock: Clock | None = None, **options: object) -> PowercapMeter:
    return PowercapMeter(tree.root, monotonic_s=clock or Clock(), **options)  # type: ignore[arg-type]


def read(meter: PowercapMeter) -> EnergyCounter:
    counter = asyncio.run(meter.read())
    assert counter is not None, meter.describe()
    return counter


def unavailable(meter: PowercapMeter) -> str:
    with pytest.raises(Unavailable) as raised:
        asyncio.run(meter.read())
    return str(raised.value)


def not_available(meter: PowercapMeter) -> str:
    assert asyncio.run(meter.read()) is None
    line = meter.describe()
    assert line.startswith("not available: ")
    return line


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "powercap")


# -- which domains


def test_packages_and_their_memory_are_counted_once(tree: Tree) -> None:
    used = {
        ("intel-rapl:0", "package-0"): 10,
        ("intel-rapl:0:0", "core"): 7,
        ("intel-rapl:0:1", "uncore"): 1,
        ("intel-rapl:0:2", "dram"): 4,
        ("intel-rapl:1", "package-1"): 20,
        ("intel-rapl:1:0", "core"): 15,
        ("intel-rapl:1:1", "dram"): 5,
        ("intel-rapl:2", "psys"): 60,
        ("intel-rapl-mmio:0", "package-0"): 10,
    }
    zones = {key: tree.add(*key) for key in used}
    meter = meter_of(tree)
    first = read(meter)
    for key, joules in used.items():
        zones[key].use(joules * 1_000_000)
    assert read(meter).energy_j - first.energy_j == 10 + 4 + 20 + 5
    assert first.quality is Quality.MEASURED
    assert "RAPL package-0 + package-0 dram + package-1 + package-1 dram in" in meter.describe()


def test_psys_alone_where_it_is_preferred(tree: Tree) -> None:
    package, psys = tree.add("intel-rapl:0", "package-0"), tree.add("intel-rapl:1", "psys")
    meter = meter_of(tree, prefer_psys=True)
    first = read(meter)
    package.use(10_000_000)
    psys.use(30_000_000)
    assert read(meter).energy_j - first.energy_j == 30.0
    assert "RAPL psys in" in meter.describe()


def test_a_silent_psys_gives_way_to_the_packages_and_is_named(tree: Tree) -> None:
    package = tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:1", "psys", 0)
    meter = meter_of(tree, prefer_psys=True)
    first = read(meter)
    package.use(10_000_000)
    assert read(meter).energy_j - first.energy_j == 10.0
    assert "left out: psys (intel-rapl:1) reads 0, so nothing counts behind it" in meter.describe()


def test_several_psys_leave_the_choice_to_the_packages(tree: Tree) -> None:
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "psys"), ("intel-rapl:2", "psys")):
        tree.add(zone, name)
    assert "RAPL package-0 in" in meter_of(tree, prefer_psys=True).describe()


def test_the_nested_arrangement_of_the_devices_folder_is_the_same(tmp_path: Path) -> None:
    root = tmp_path / "intel-rapl"
    package = Zone(root / "intel-rapl:0", "package-0-die-0", 1, RANGE_UJ)
    dram = Zone(root / "intel-rapl:0" / "intel-rapl:0:0", "dram", 1, RANGE_UJ)
    meter = PowercapMeter(tmp_path, monotonic_s=Clock())
    first = read(meter)
    package.use(3_000_000)
    dram.use(1_000_000)
    assert read(meter).energy_j - first.energy_j == 4.0


def test_the_mmio_packages_serve_where_there_are_no_others(tree: Tree) -> None:
    tree.add("intel-rapl-mmio:0", "package-0")
    assert "RAPL package-0 in" in meter_of(tree).describe()


def test_twelve_packages_keep_their_memory_apart(tree: Tree) -> None:
    for k in range(12):
        tree.add(f"intel-rapl:{k}", f"package-{k}")
        tree.add(f"intel-rapl:{k}:0", "dram")
    zones = [zone for k in range(12) for zone in (f"package-{k}", f"package-{k} dram")]
    assert f"RAPL {' + '.join(zones)} in" in meter_of(tree).describe()


def test_packages_whose_numbers_begin_alike_do_not_share_their_memory(tree: Tree) -> None:
    tree.add("intel-rapl:1", "package-1")
    tree.add("intel-rapl:10", "package-10")
    tree.add("intel-rapl:10:0", "dram")
    assert "RAPL package-1 + package-10 + package-10 dram in" in meter_of(tree).describe()


# -- wraps


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[tuple[int, int]], list[tuple[list[int], float]]]:
    """Ranges and first values of some domains, and what each uses between reads, up to 600 W and to the smallest range."""
    smallest_uj = draw(st.integers(1_000_000, 10**12))
    ranges_uj = [smallest_uj, *draw(st.lists(st.integers(smallest_uj, 5 * smallest_uj), max_size=3))]
    domains = [(range_uj, draw(st.integers(1, range_uj - 1))) for range_uj in ranges_uj]
    steps = []
    for _ in range(draw(st.integers(1, 30))):
        most_uj = draw(st.integers(1, int(smallest_uj * 0.999)))
        steps.append(([draw(st.integers(0, most_uj)) for _ in domains], most_uj / 600e6))
    return domains, steps


@settings(max_examples=40, deadline=None)
@given(histories())
def test_increments_sum_exactly_under_any_wrap(history: tuple[list[tuple[int, int]], list[tuple[list[int], float]]]) -> None:
    domains, steps = history
    with tempfile.TemporaryDirectory() as folder:
        tree, clock = Tree(Path(folder) / "powercap"), Clock()
        zones = [tree.add(f"intel-rapl:{k}", f"package-{k}", start, range_uj) for k, (range_uj, start) in enumerate(domains)]
        meter = meter_of(tree, clock)
        first, total_uj = meter._read(), 0
        assert first is not None
        for used, elapsed_s in steps:
            for zone, energy_uj in zip(zones, used, strict=True):
                zone.use(energy_uj)
            clock.now_s += elapsed_s
            total_uj += sum(used)
            try:
                counter = meter._read()
            except Unavailable:  # a domain that used nothing for more than two seconds stands still
                continue
            assert counter is not None
            assert counter.epoch == first.epoch
            assert counter.energy_j == total_uj / 1e6


def test_where_a_wrap_may_have_been_missed_a_new_epoch_begins(tree: Tree) -> None:
    clock, zone = Clock(), tree.add("intel-rapl:0", "package-0", range_uj=60_000_000_000)
    meter = meter_of(tree, clock)
    first = read(meter)
    assert meter.read_within_s == pytest.approx(100.0)
    assert "to be read at least every 100 s" in meter.describe()
    zone.use(50_000_000)
    clock.now_s += 99.0
    assert (second := read(meter)).epoch == first.epoch
    zone.use(50_000_000)
    clock.now_s += 101.0
    third = read(meter)
    assert third.epoch != second.epoch
    zone.use(7_000_000)
    clock.now_s += 1.0
    assert read(meter) == EnergyCounter(third.energy_j + 7.0, Quality.MEASURED, third.epoch)


def test_a_counter_that_was_reset_is_not_taken_for_a_surge(tree: Tree) -> None:
    clock, zone = Clock(), tree.add("intel-rapl:0", "package-0", 90_000_000_000)
    meter = meter_of(tree, clock)
    first = read(meter)
    zone.set(1_000_000)
    clock.now_s += 5.0
    second = read(meter)
    assert second.epoch != first.epoch
    assert second.energy_j == 0.0


def test_without_a_range_a_falling_counter_starts_anew(tree: Tree) -> None:
    clock, zone = Clock(), tree.add("intel-rapl:0", "package-0", range_uj=None)
    meter = meter_of(tree, clock)
    first = read(meter)
    zone.use(2_000_000)
    clock.now_s += 1e6
    assert read(meter).energy_j - first.energy_j == 2.0
    zone.set(5)
    clock.now_s += 1.0
    assert read(meter).epoch != first.epoch


def test_two_readers_at_once_count_nothing_twice(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = tree.add("intel-rapl:0", "package-0")
    meter = meter_of(tree)
    first = read(meter)
    zone.use(5_000_000)
    inside, together, whole = [0], [0], RaplDomain.energy_uj

    def lingering(domain: RaplDomain) -> int:
        inside[0] += 1
        together[0] = max(together[0], inside[0])
        value = whole(domain)
        time.sleep(0.02)  # long enough for the other to come in, if it may
        inside[0] -= 1
        return value

    monkeypatch.setattr(RaplDomain, "energy_uj", lingering)

    async def both() -> list[EnergyCounter | None]:
        return list(await asyncio.gather(meter.read(), meter.read()))

    for counter in asyncio.run(both()):
        assert counter is not None
        assert counter.energy_j - first.energy_j == 5.0
    assert together == [1]


# -- what is not known


def test_no_tree_is_not_available_and_says_what_it_needs(tmp_path: Path) -> None:
    line = not_available(PowercapMeter(tmp_path / "none"))
    assert f"there is no {tmp_path / 'none'}; RAPL needs Linux on an x86 machine" in line


def test_a_tree_without_packages_is_not_available(tree: Tree) -> None:
    tree.add("intel-rapl:0", "mystery")
    assert "has no RAPL domain of a package or platform; load the module intel_rapl_msr" in not_available(meter_of(tree))


def test_a_package_that_reads_zero_is_not_available_and_comes_alive(tree: Tree) -> None:
    tree.add("intel-rapl:0", "package-0")
    silent = tree.add("intel-rapl:1", "package-1", 0)
    meter = meter_of(tree)
    for _ in range(3):
        assert "package-1 (intel-rapl:1) reads 0, so nothing counts behind it" in not_available(meter)
    silent.use(4)
    assert read(meter).energy_j == 0.0


def test_memory_that_reads_zero_is_left_out_and_named(tree: Tree) -> None:
    package = tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram", 0)
    meter = meter_of(tree)
    first = read(meter)
    package.use(1_000_000)
    assert read(meter).energy_j - first.energy_j == 1.0
    assert "left out: package-0 dram (intel-rapl:0:0) reads 0" in meter.describe()


def test_a_counter_may_pass_through_zero(tree: Tree) -> None:
    clock, zone = Clock(), tree.add("intel-rapl:0", "package-0", RANGE_UJ - 8_000_000)
    meter = meter_of(tree, clock)
    first = read(meter)
    zone.use(8_000_000)
    clock.now_s += 1.0
    assert zone.value_uj == 0
    assert read(meter).energy_j - first.energy_j == 8.0


def test_a_counter_that_stands_still_is_unavailable_and_nothing_is_lost(tree: Tree) -> None:
    clock, moving, stuck = Clock(), tree.add("intel-rapl:0", "package-0"), tree.add("intel-rapl:1", "package-1")
    meter = meter_of(tree, clock)
    first = read(meter)
    for _ in range(2):
        moving.use(10_000_000)
        clock.now_s += 3.0
        assert "package-1 (intel-rapl:1) has stood still for" in unavailable(meter)
    stuck.use(1_000_000)
    moving.use(10_000_000)
    clock.now_s += 1.0
    again = read(meter)
    assert (again.epoch, again.energy_j - first.energy_j) == (first.epoch, 31.0)


def test_a_domain_that_vanishes_is_unavailable_until_it_is_back(tree: Tree) -> None:
    clock, zone, other = Clock(), tree.add("intel-rapl:0", "package-0"), tree.add("intel-rapl:1", "package-1")
    meter = meter_of(tree, clock)
    first = read(meter)
    zone.file.unlink()
    other.use(1_000_000)
    clock.now_s += 1.0
    assert f"package-0 (intel-rapl:0): {zone.file} is not there; load the driver again" in unavailable(meter)
    zone.use(2_000_000)
    clock.now_s += 1.0
    assert read(meter).energy_j - first.energy_j == 3.0


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "holds '', which is no counter"), ("oops", "holds 'oops'"), ("-3", "holds -3, a counter is at least 0")],
)
def test_what_is_no_counter_is_unavailable(tree: Tree, content: str, said: str) -> None:
    zone = tree.add("intel-rapl:0", "package-0")
    zone.file.write_text(content)
    assert said in unavailable(meter_of(tree))
    zone.file.write_bytes(b"\xff\xfe")
    assert "holds '?'" in unavailable(meter_of(tree))


@pytest.mark.parametrize(("number", "said"), [(errno.ENODEV, "cannot be read (No such device); see"), (errno.EIO, "Input/output")])
def test_a_failing_driver_is_unavailable(tree: Tree, number: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = tree.add("intel-rapl:0", "package-0")
    meter = meter_of(tree)
    first = read(meter)
    whole = Path.read_text

    def failing(path: Path, *arguments: str) -> str:
        if path == zone.file:
            raise OSError(number, os.strerror(number))
        return whole(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_text", failing)
        assert said in unavailable(meter)
    assert read(meter).epoch == first.epoch


def test_a_range_that_may_not_be_read_is_unavailable(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = tree.add("intel-rapl:0", "package-0")
    whole = Path.read_text

    def failing(path: Path, *arguments: str) -> str:
        if path.name == "max_energy_range_uj":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return whole(path, *arguments)

    monkeypatch.setattr(Path, "read_text", failing)
    meter = meter_of(tree)
    said = f"package-0 (intel-rapl:0): {zone.folder / 'max_energy_range_uj'} may not be read by this user; as root: 'chgrp GROUP"
    assert meter.describe().startswith(f"not available: {said}")
    assert said in unavailable(meter)


def test_a_zone_without_a_name_is_none_of_ours(tree: Tree) -> None:
    (tree.add("intel-rapl:0", "package-0").folder / "name").unlink()
    (tree.add("intel-rapl:1", "package-1").folder / "name").write_bytes(b"\xff")
    assert "has no RAPL domain of a package" in not_available(meter_of(tree))


def test_without_permission_the_remedy_is_a_command() -> None:
    """As the kernel leaves it since 2020: the counter may be read by root only."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tree = Tree(Path(folder) / "powercap")
        zone = tree.add("intel-rapl:0", "package-0")
        zone.file.chmod(0o000)
        code = (
            "import asyncio, concurrent.futures.thread, os\n"
            "from ecovisor.adapters.meters.powercap import PowercapMeter\n"
            "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
            f"meter = PowercapMeter({str(tree.root)!r})\n"
            "print(meter.describe())\n"
            "asyncio.run(meter.read())\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        files = f"{tree.root}/intel-rapl*/*energy*_uj"
        said = f"{zone.file} may not be read by this user; as root: 'chgrp GROUP {files} && chmod g+r {files}'"
        assert said in done.stdout, done.stderr
        assert done.returncode == 1
        assert said in done.stderr.splitlines()[-1]
        assert len(list(tree.root.glob("intel-rapl*/*energy*_uj"))) == 2


def test_the_real_tree_of_this_machine_gives_no_invented_number() -> None:
    meter = PowercapMeter()
    counter = None
    with suppress(Unavailable):
        counter = asyncio.run(meter.read())
    assert (counter is None) == meter.describe().startswith("not available: ")

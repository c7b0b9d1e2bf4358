"""Workloads that ask container by container: each gets its part of the app's power, energy and carbon, under caps and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecovisor.engine.loop import Loop
from ecovisor.model.errors import PolicyError
from ecovisor.policies.carbon_agnostic import CarbonAgnostic
from ecovisor.ports import ContainerInfo

from . import build

TICKS = 12


class Asks:
    """Asks for a row of a table of its own a tick, as many columns of it as there are containers."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = rows
        self.seen: list[list[ContainerInfo]] = []
        self.served: list[list[float]] = []
        self.metrics: dict[str, float] = {}

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        row = self.rows[len(self.seen) % len(self.rows)]
        self.seen.append(list(containers))
        return row[: len(containers)]

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        self.served.append(list(served_w))
        self.metrics = {"served_w": math.fsum(served_w)}


class ByCores:
    """The same demand per core in every container."""

    def __init__(self, per_core_w: Sequence[float]) -> None:
        self.per_core_w = per_core_w
        self.tick = 0

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        self.tick += 1
        per_core_w = self.per_core_w[(self.tick - 1) % len(self.per_core_w)]
        return [per_core_w * one.cores if one.running else 0.0 for one in containers]

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        """Nothing to learn."""


class AsAWhole:
    """What `ByCores` asks for, in one sum."""

    def __init__(self, per_core_w: Sequence[float]) -> None:
        self.per_core_w = per_core_w
        self.tick = 0

    def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
        self.tick += 1
        return self.per_core_w[(self.tick - 1) % len(self.per_core_w)] * cores

    def run(self, served_w: float, tick_s: float) -> None:
        """Nothing to learn."""


def play(workload: Any, act: Any = None, *, ticks: int = TICKS, compiled: bool = False, **of_site: Any) -> build.Keep:
    kept = build.Keep()
    policy = CarbonAgnostic if act is None else build.scripted(act)
    spec = build.app("a", 0.5, workload=lambda: workload, policy=policy, containers=3, cores=2.0)
    site = build.site(
        spec, ticks=ticks, compiled=compiled, sink=kept, **{"battery": None, "intensity": [100.0, 250.0, 70.0], **of_site}
    )
    Loop(site).run(ticks)
    return kept


def column(kept: build.Keep, container: str, name: str = "power_w") -> list[float]:
    return [row[name] for row in kept.containers("a", container)]


def test_power_and_carbon_of_a_container_are_what_it_asked_for() -> None:
    workload = Asks([[1.0, 2.0, 5.0], [4.0, 0.0, 0.0]])
    kept = play(workload)
    assert kept.of("a", "demand_w") == [8.0, 4.0] * 6
    assert column(kept, "c1") == [1.0, 4.0] * 6
    assert column(kept, "c3") == [5.0, 0.0] * 6
    grams = kept.of("a", "carbon_g")
    assert column(kept, "c3", "carbon_g")[0] == pytest.approx(grams[0] * 5.0 / 8.0)
    assert workload.served == [[1.0, 2.0, 5.0], [4.0, 0.0, 0.0]] * 6


def test_what_a_container_may_ask_for_is_its_cap() -> None:
    def act(energy: Any, app: Any) -> None:
        if energy.effective_tick == 3:
            energy.set_container_powercap("c1", 1.5)

    kept = play(Asks([[4.0, 2.0, 3.0]]), act)
    assert column(kept, "c1") == [4.0] * 3 + [1.5] * 9
    assert column(kept, "c2") == [2.0] * TICKS
    assert kept.of("a", "demand_w") == [9.0] * 3 + [6.5] * 9
    assert kept.of("a", "unserved_w") == [0.0] * TICKS


def test_a_cap_or_ceiling_of_the_app_acts_on_the_sum() -> None:
    def act(energy: Any, app: Any) -> None:
        if energy.effective_tick == 2:
            energy.set_app_powercap(4.5)
        if energy.effective_tick == 4:
            energy.set_app_powercap(math.inf)
            energy.set_carbon_budget(0.0)

    workload = Asks([[4.0, 2.0, 3.0]])
    kept = play(workload, act)
    assert kept.of("a", "demand_w") == [9.0, 9.0, 4.5, 4.5] + [0.0] * 8
    assert workload.served[2] == [2.0, 1.0, 1.5]
    assert workload.served[-1] == [0.0, 0.0, 0.0]
    assert workload.seen[2][0].cap_w == 4.5


def test_a_carbon_rate_of_a_container_is_its_cap_too() -> None:
    def act(energy: Any, app: Any) -> None:
        energy.set_carbon_rate("c2", 0.2)

    kept = play(Asks([[4.0, 4.0, 4.0]]), act)
    assert column(kept, "c2")[0] == pytest.approx(2.0)  # 0.2 g/h at 100 g/kWh
    assert column(kept, "c2")[1] == pytest.approx(0.8)  # at 250 g/kWh
    assert max(column(kept, "c2", "carbon_g")) <= 0.2 * build.HOURS * (1.0 + 1e-12)
    assert column(kept, "c1") == [4.0] * TICKS


def test_what_is_suspended_gets_nothing_whatever_is_asked_for_it() -> None:
    def act(energy: Any, app: Any) -> None:
        match energy.effective_tick:
            case 2:
                energy.suspend_container("c1")
            case 4:
                energy.resume_container("c1")
            case 6:
                energy.scale_containers(0.0)
            case 8:
                energy.scale_containers(0.5)
            case 10:
                energy.scale_containers(1.0)

    workload = Asks([[4.0, 2.0, 3.0]])
    kept = play(workload, act)
    assert column(kept, "c1") == [4.0] * 2 + [0.0] * 2 + [4.0] * 2 + [0.0] * 2 + [4.0] * 4
    assert kept.of("a", "demand_w") == [9.0, 9.0, 5.0, 5.0, 9.0, 9.0, 0.0, 0.0, 9.0, 9.0, 9.0, 9.0]
    assert [(one.cores, one.running) for one in workload.seen[2]] == [(2.0, False), (2.0, True), (2.0, True)]
    assert [(one.cores, one.running) for one in workload.seen[6]] == [(0.0, False)] * 3
    assert [(one.cores, one.running) for one in workload.seen[8]] == [(1.0, True)] * 3


def test_containers_may_come_and_go() -> None:
    def act(energy: Any, app: Any) -> None:
        match energy.effective_tick:
            case 3:
                for _ in range(5):
                    energy.add_container(1.0)
            case 6:
                energy.remove_container("c2")
                energy.remove_container("c7")
            case 9:
                energy.resize_container("c1", 4.0)

    workload = Asks([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]])
    kept = play(workload, act)
    assert [len(seen) for seen in workload.seen] == [3] * 3 + [8] * 3 + [6] * 6
    assert [one.id for one in workload.seen[6]] == ["c1", "c3", "c4", "c5", "c6", "c8"]
    assert column(kept, "c3") == [3.0] * 6 + [2.0] * 6
    assert column(kept, "c8") == [8.0] * 3 + [6.0] * 6
    assert workload.served[3:7] == [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]] * 3 + [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]
    assert workload.seen[9][0].cores == 4.0


def test_a_policy_sees_each_container_s_power_and_the_metrics() -> None:
    seen: list[tuple[float, float, float]] = []

    def act(energy: Any, app: Any) -> None:
        seen.append((energy.get_container_power("c3"), energy.list_containers()[1].power_w, app.metrics.get("served_w", -1.0)))

    play(Asks([[1.0, 2.0, 5.0], [4.0, 3.0, 0.0]]), act)
    assert seen[:3] == [(0.0, 0.0, -1.0), (5.0, 2.0, 8.0), (0.0, 3.0, 7.0)]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([1.0, math.nan, 1.0], r"asked for nan W for c2; a demand is finite and at least 0"),
        ([1.0, 1.0, -2.0], r"asked for -2\.0 W for c3"),
        ([math.inf, 1.0, 1.0], r"asked for inf W for c1"),
        ([1.0, 1.0], r"asked for 2 containers; there are 3"),
        ([], r"asked for 0 containers; there are 3"),
    ],
)
def test_what_is_no_answer_stops_the_run_in_one_line(answer: list[float], told: str) -> None:
    with pytest.raises(PolicyError, match=rf"apps\.a.*workload.*tick 0.*{told}"):
        play(Asks([answer]))


PART = st.floats(0.0, 40.0)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(PART, min_size=3, max_size=3), min_size=1, max_size=5),
    grid_w=st.floats(0.0, 60.0),
    caps=st.lists(st.one_of(st.none(), st.floats(0.675, 40.0)), min_size=3, max_size=3),
    app_cap_w=st.one_of(st.just(math.inf), st.floats(0.0, 100.0)),
    suspended=st.sets(st.sampled_from(["c1", "c2", "c3"])),
)
def test_the_containers_of_an_app_are_the_app(
    rows: list[list[float]], grid_w: float, caps: list[float | None], app_cap_w: float, suspended: set[str]
) -> None:
    def act(energy: Any, app: Any) -> None:
        if energy.effective_tick == 1:
            for k, cap_w in enumerate(caps):
                if cap_w is not None:
                    energy.set_container_powercap(f"c{k + 1}", cap_w)
            energy.set_app_powercap(app_cap_w)
            for one in suspended:
                energy.suspend_container(one)

    workload = Asks(rows)
    kept = play(workload, act, grid_limit_w=2.0 * grid_w, ticks=6)
    for k, flows in enumerate(kept.flows("a")):
        mine = [row for row in kept.containers("a") if row["time"] == flows["time"]]
        powers = [row["power_w"] for row in mine if row["container"] != "_battery"]
        served_w = flows["demand_w"] - flows["unserved_w"]
        assert math.fsum(powers) == pytest.approx(served_w, abs=1e-9)
        assert math.fsum(row["carbon_g"] for row in mine) == pytest.approx(flows["carbon_g"], abs=1e-9)
        assert workload.served[k] == powers
        for asked_w, row, one in zip(rows[k % len(rows)], mine, workload.seen[k], strict=False):
            assert 0.0 <= row["power_w"] <= min(asked_w, row["cap_w"]) * (1.0 + 1e-12)
            assert one.cap_w == row["cap_w"]
            assert one.running or row["power_w"] == 0.0


@settings(max_examples=30, deadline=None)
@given(
    per_core_w=st.lists(st.floats(0.0, 20.0), min_size=1, max_size=6),
    grid_w=st.floats(0.0, 60.0),
    caps=st.lists(st.one_of(st.none(), st.floats(0.675, 40.0)), min_size=3, max_size=3),
    scale=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    app_cap_w=st.one_of(st.just(math.inf), st.floats(0.0, 100.0)),
    suspended=st.sets(st.sampled_from(["c1", "c2"])),
)
def test_asking_by_cores_is_asking_for_the_sum(
    per_core_w: list[float],
    grid_w: float,
    caps: list[float | None],
    scale: float,
    app_cap_w: float,
    suspended: set[str],
) -> None:
    def act(energy: Any, app: Any) -> None:
        if energy.effective_tick == 1:
            for k, cap_w in enumerate(caps):
                if cap_w is not None:
                    energy.set_container_powercap(f"c{k + 1}", cap_w)
            energy.set_app_powercap(app_cap_w)
            energy.scale_containers(scale)
            for one in suspended:
                energy.suspend_container(one)

    kinds = ByCores(per_core_w), AsAWhole(per_core_w)
    each, whole = (play(kind, act, grid_limit_w=2.0 * grid_w, battery=build.PAPER, ticks=6) for kind in kinds)
    for table in ("flows", "site", "containers"):
        for row, other in zip(each.tables[table], whole.tables[table], strict=True):
            for name, value in row.items():
                assert value == (pytest.approx(other[name], abs=1e-9) if isinstance(value, float) else other[name]), (table, name)


def test_machine_code_gives_the_same_rows_to_the_bit() -> None:
    pytest.importorskip("numba")

    def act(energy: Any, app: Any) -> None:
        match energy.effective_tick:
            case 2:
                energy.set_container_powercap("c1", 1.1)
            case 4:
                energy.add_container(1.0)
                energy.add_container(1.0)
            case 6:
                energy.remove_container("c2")
                energy.set_app_powercap(5.3)
            case 8:
                energy.suspend_container("c1")

    found = []
    for compiled in (False, True):
        workload = Asks([[1.3, 2.7, 5.1, 0.9, 1.0 / 3.0], [0.1, 0.2, 0.3, 0.4, 0.5]])
        kept = play(workload, act, compiled=compiled, grid_limit_w=14.0)
        found.append((repr(kept.tables), repr(workload.served), repr(workload.seen)))
    assert found[0] == found[1]

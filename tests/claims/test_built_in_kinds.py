"""Workloads and policies in Python that scenarios name by kind: found, made with their options, run, and told of in the summary."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from ecovisor.adapters import built_in
from ecovisor.adapters.policies import named_policy
from ecovisor.assembly import check, simulate
from ecovisor.model.errors import SettingsError
from ecovisor.model.series import Series
from ecovisor.model.summary import AppSummary
from ecovisor.ports import ContainerInfo
from ecovisor.presets import ServerParameters
from ecovisor.settings import Scenario
from ecovisor.testing import MemorySink
from ecovisor.workloads.models import BatchJob

START_S = 1577836800.0  # 2020-01-01T00:00Z
HERE = Path()


class Digging:
    """Digs holes, one a watt-hour; a container for each hole that is left."""

    work_unit = "holes"

    def __init__(
        self,
        *,
        server: ServerParameters,
        holes: int,
        seed: int = 0,
        start_s: float = 0.0,
        depth_m: float = 1.0,
        tool: Literal["spade", "excavator"] = "spade",
    ) -> None:
        if holes > 1000:
            raise ValueError(f"holes is {holes}, must be at most 1000")
        if depth_m <= 0.0:
            raise SettingsError("workload.options.depth_m", f"is {depth_m!r}, must be above 0")
        self.server, self.seed, self.start_s, self.tool = server, seed, start_s, tool
        self.work_total = float(holes)
        self.work_done = 0.0
        self.metrics: Mapping[str, float] = {}
        self.first_asked_s: float | None = None

    def demands_w(self, now_s: float, tick_s: float, containers: Sequence[ContainerInfo]) -> Sequence[float]:
        self.first_asked_s = self.first_asked_s or now_s
        left_w = (self.work_total - self.work_done) * 3600.0 / tick_s
        return [min(self.server.power_curve_w[-1], left_w / len(containers)) for _ in containers]

    def run_containers(self, served_w: Sequence[float], tick_s: float) -> None:
        self.work_done = min(self.work_total, self.work_done + sum(served_w) * tick_s / 3600.0 + 1e-9)
        self.metrics = {"seed": float(self.seed), "started_s": self.start_s}


class Exact(Digging):
    """Says when it was complete."""

    @property
    def completed_s(self) -> float:
        return START_S + 5000.0 if self.work_done >= self.work_total else float("nan")


class Arrivals:
    """Asks for a watt for each request a second."""

    def __init__(self, rate: Series) -> None:
        self.rate = rate
        self.work_done = 0.0

    def demand_w(self, now_s: float, tick_s: float, cores: float) -> float:
        return self.rate.values[int((now_s - self.rate.start_s) // self.rate.step_s)]

    def run(self, served_w: float, tick_s: float) -> None:
        self.work_done += served_w * tick_s


class Scaling:
    """A batch job that two cores do no faster than 1.5 would."""

    def __init__(self, *, best: float = 1.5) -> None:
        self.best = best

    def batch_job(self, *, work_core_h: float, start_s: float) -> BatchJob:
        return BatchJob(work_core_h=work_core_h, start_s=start_s, speed_table=((1.0, 1.0), (2.0, self.best)))


class Lid:
    """Caps its app."""

    def __init__(self, cap_w: float = 3.0, *, seen: list[float] | None = None) -> None:
        self.cap_w = cap_w

    def tick(self, energy: Any, app: Any) -> None:
        energy.set_app_powercap(self.cap_w)


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes of this file in the places of built-in ones, so that what is tested is how they are found and made."""
    monkeypatch.setattr(
        built_in,
        "WORKLOADS",
        {
            "stages": f"{__name__}:Digging",
            "replicas": f"{__name__}:Exact",
            "web-service": f"{__name__}:Arrivals",
            "training": f"{__name__}:Scaling",
        },
    )
    monkeypatch.setattr(built_in, "POLICIES", {"equal-caps": f"{__name__}:Lid"})
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Digging.__module__])


RATE = Series("requests", "1/s", START_S, 3600.0, array("d", [1.0, 4.0] * 12))


def scenario(
    workload: Mapping[str, object],
    policy: Mapping[str, object] | None = None,
    run: Mapping[str, object] | None = None,
    **app: object,
) -> Scenario:
    return msgspec.convert(
        {
            "schema": 1,
            "site": {"server": {"cores": 4.0, "power_curve_w": [1.35, 5.0]}},
            "signals": {"carbon": {"kind": "constant", "value": 200.0}},
            "apps": [{"name": "a", "cores": 4.0, "workload": workload, "policy": policy or {}, **app}],
            "run": {"start": "2020-01-01T00:00Z", "duration": "24h", "tick": "10min", **(run or {})},
        },
        Scenario,
    )


def summary(made: Scenario, series: Mapping[str, Series] | None = None, sink: Any = None) -> AppSummary:
    return simulate(made, HERE, series=series, sink=sink).summary.apps[0]


def test_every_kind_names_a_class_called_like_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for kind, target in (*built_in.WORKLOADS.items(), *built_in.POLICIES.items()):
        module, _, name = target.partition(":")
        assert module.rpartition(".")[2] == kind.replace("-", "_")
        assert name == "".join(map(str.capitalize, kind.split("-")))
        assert isinstance(getattr(import_module(module), name), type)


def test_work_runs_and_is_summed_up_in_its_own_unit() -> None:
    found = summary(scenario({"kind": "stages", "options": {"holes": 10}}, containers=2))
    assert (found.work_done, found.work_total, found.work_unit) == (10.0, 10.0, "holes")
    assert found.completed_s == START_S + 3600.0  # 10 W, the end of the tick
    assert (found.runtime_s, found.baseline_runtime_s) == (3600.0, 3600.0)


def test_a_workload_that_says_when_it_was_complete_is_believed() -> None:
    found = summary(scenario({"kind": "replicas", "options": {"holes": 10}, "start": "30min"}))
    assert found.completed_s == START_S + 5000.0
    assert found.runtime_s == 3200.0


def test_what_is_not_complete_has_no_end() -> None:
    result = simulate(scenario({"kind": "stages", "options": {"holes": 500}}), HERE)
    found = result.summary.apps[0]
    assert (found.completed_s, found.runtime_s) == (None, None)
    assert found.work_done == pytest.approx(120.0)
    assert "apps.a: not complete, 24% of its work is done" in result.summary.notes


def test_the_baseline_runs_the_same_work_without_the_policy() -> None:
    sink = MemorySink()
    made = scenario({"kind": "stages", "options": {"holes": 10}}, {"kind": "equal-caps", "options": {"cap_w": 2.5}}, containers=2)
    found = summary(made, sink=sink)
    assert max(sink.column("flows", "demand_w", "a")) == 2.5
    assert found.runtime_s == 4 * 3600.0
    assert found.baseline_runtime_s == 3600.0
    assert [(event.kind, event.time_s) for event in sink.events] == [("completed", START_S + 4 * 3600.0)]


def test_a_class_is_given_what_it_has_a_keyword_for() -> None:
    metrics: list[Mapping[str, float]] = []

    class Spy(Lid):
        def tick(self, energy: Any, app: Any) -> None:
            metrics.append(dict(app.metrics))

    module = sys.modules[__name__]
    original, module.Lid = module.Lid, Spy  # type: ignore[attr-defined]  # the class that the kind names
    try:
        summary(scenario({"kind": "stages", "options": {"holes": 5}, "start": "1h"}, {"kind": "equal-caps"}, {"seed": 7}))
        summary(scenario({"kind": "stages", "options": {"holes": 5, "seed": 3}}, {"kind": "equal-caps"}, {"seed": 7}))
    finally:
        module.Lid = original  # type: ignore[attr-defined]
    assert metrics[100] == {"seed": 7.0, "started_s": START_S + 3600.0}
    assert metrics[-1] == {"seed": 3.0, "started_s": START_S}


def test_nothing_is_asked_before_the_start() -> None:
    sink = MemorySink()
    found = summary(scenario({"kind": "stages", "options": {"holes": 10}, "start": "2h"}), sink=sink)
    asked = sink.column("flows", "demand_w", "a")
    assert asked[:12] == [0.0] * 12
    assert asked[12] == 5.0
    assert found.runtime_s == 2 * 3600.0


def test_a_request_rate_comes_from_the_trace_whole() -> None:
    sink = MemorySink()
    made = scenario({"kind": "web-service", "trace": "requests"})
    found = summary(made, {"requests": RATE}, sink)
    assert sink.column("flows", "demand_w", "a") == ([1.0] * 6 + [4.0] * 6) * 12
    assert (found.work_unit, found.work_total) == ("Wh", None)
    assert found.work_done == pytest.approx(60.0)


def test_a_request_rate_may_stand_in_a_file(tmp_path: Path) -> None:
    rows = "".join(f"{START_S + 3600 * k:.0f},{value}\n" for k, value in enumerate(RATE.values))
    (tmp_path / "web.csv").write_text(f"time,requests_per_s\n{rows}")
    (tmp_path / "plain.csv").write_text(f"time,requests\n{rows}")
    for signal in ({"file": "web.csv"}, {"file": "plain.csv", "unit": "1/s"}):
        made = scenario({"kind": "web-service", "trace": "web"})
        made = msgspec.structs.replace(made, signals={**made.signals, "web": msgspec.convert({"kind": "file", **signal}, Any)})
        made = msgspec.convert(msgspec.to_builtins(made), Scenario)
        assert simulate(made, tmp_path).summary.apps[0].work_done == pytest.approx(60.0)


def test_a_model_of_scaling_is_a_batch_job_with_everything_that_one_has() -> None:
    workload: dict[str, object] = {"kind": "training", "work_core_hours": 6.0, "deadline": "3h", "options": {"best": 1.25}}
    plain = summary(scenario(workload, cores=2.0))
    assert plain.runtime_s == pytest.approx(6.0 / 1.25 * 3600.0)
    assert (plain.deadline_met, plain.work_unit, plain.work_total) == (False, "core-h", 6.0)
    assert summary(scenario({**workload, "deadline": "5h"}, cores=2.0)).deadline_met is True
    slow = summary(scenario({**workload, "checkpoint_interval": "10min", "checkpoint_duration": "5min"}, cores=2.0))
    assert slow.runtime_s == pytest.approx(6.0 / 1.25 * 3600.0 * 1.5)


@pytest.mark.parametrize(
    ("workload", "told"),
    [
        ({"kind": "stages", "options": {"hole": 3}}, r"workload\.options\.hole: stages has no such option; did you mean 'holes'\?"),
        ({"kind": "stages", "options": {"start_s": 3.0}}, r"workload\.options\.start_s: stages has no such option"),
        ({"kind": "stages"}, r"workload\.options\.holes: missing; stages needs it; it takes holes, seed, depth_m, tool"),
        ({"kind": "stages", "options": {"holes": "many"}}, r"workload\.options\.holes: is 'many': expected int, got str; it takes"),
        ({"kind": "stages", "options": {"holes": 2.5}}, r"workload\.options\.holes: is 2\.5: expected int, got float"),
        ({"kind": "stages", "options": {"holes": 1, "tool": "hand"}}, r"workload\.options\.tool: is 'hand': invalid enum value"),
        (
            {"kind": "stages", "options": {"holes": 2000}},
            r"workload\.options: stages cannot be made: holes is 2000, must be at most",
        ),
        ({"kind": "stages", "options": {"holes": 1, "depth_m": 0}}, r"workload\.options\.depth_m: is 0\.0, must be above 0"),
        ({"kind": "web-service", "trace": "carbon"}, r"workload\.trace: 'carbon' is in g/kWh, web-service needs requests in 1/s"),
    ],
)
def test_an_option_that_is_wrong_is_one_line(workload: dict[str, object], told: str) -> None:
    for use in (check, simulate):
        with pytest.raises(SettingsError, match=rf"^apps\[0\]\.{told}"):
            use(scenario(workload), HERE)


def test_a_rate_is_no_demand_and_a_demand_no_rate() -> None:
    with pytest.raises(SettingsError, match=r"workload\.trace: 'requests' is in 1/s, a demand is in W or 1"):
        summary(scenario({"kind": "trace", "trace": "requests"}), {"requests": RATE})
    watts = {"requests": Series("requests", "W", START_S, 3600.0, RATE.values)}
    with pytest.raises(SettingsError, match=r"'requests' is in W, web-service needs requests in 1/s"):
        summary(scenario({"kind": "web-service", "trace": "requests"}), watts)


def test_a_policy_s_options_are_checked_too_wherever_it_is_named() -> None:
    with pytest.raises(
        SettingsError, match=r"^apps\[0\]\.policy\.options\.cap: equal-caps has no such option; did you mean 'cap_w'"
    ):
        check(scenario({"kind": "constant", "demand_w": 5.0}, {"kind": "equal-caps", "options": {"cap": 1.0}}), HERE)
    name, make = named_policy("equal-caps", {"cap_w": 2}, HERE)
    assert name == "equal-caps"
    first, second = make(), make()
    assert isinstance(first, Lid)
    assert first.cap_w == 2.0
    assert first is not second
    with pytest.raises(SettingsError, match=r"options\.cap_w: is 'x': expected float, got str"):
        named_policy("equal-caps", {"cap_w": "x"}, HERE)


def test_a_workload_of_one_s_own_may_ask_container_by_container_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "class Each:\n"
        "    def demands_w(self, now_s, tick_s, containers):\n"
        "        return [1.0 + k for k, one in enumerate(containers)]\n"
        "    def run_containers(self, served_w, tick_s): pass\n"
        "class Half:\n"
        "    def demands_w(self, now_s, tick_s, containers): return []\n"
    )
    sink = MemorySink()
    simulate(scenario({"kind": "mine.py:Each"}, containers=3), tmp_path, sink=sink)
    assert [row["power_w"] for row in sink.rows("containers")[:3]] == [1.0, 2.0, 3.0]
    with pytest.raises(
        SettingsError, match=r"has no run_containers\(\); give it demand_w and run, or demands_w and run_containers"
    ):
        check(scenario({"kind": "mine.py:Half"}), tmp_path)


def test_a_start_up_imports_none_of_them() -> None:
    import subprocess

    code = "import ecovisor.cli, ecovisor.assembly, sys; print(*[m for m in sys.modules if m.startswith('ecovisor.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    for kind in ("stages", "synchronous", "replicas", "web_service", "training", "task_queue"):
        assert f"ecovisor.workloads.{kind}" not in done
    for kind in ("equal_caps", "balanced_caps", "battery_smoothing", "dynamic_carbon_budget"):
        assert f"ecovisor.policies.{kind}" not in done

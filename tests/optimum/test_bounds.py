"""The optimum beside a run: on the run's own terms, and none where there is none."""

from __future__ import annotations

import json
import sys
from array import array
from pathlib import Path

import msgspec
import pytest

from ecovisor.assembly import simulate
from ecovisor.cli import run
from ecovisor.model.errors import InputError
from ecovisor.model.series import Series
from ecovisor.model.summary import AppSummary, Optimum
from ecovisor.settings import Scenario

START_S = 1577836800.0  # 2020-01-01T00:00Z
INTENSITY = [300.0, 120.0, 250.0, 80.0, 400.0, 90.0] * 4
SUN = [0.0] * 8 + [3.0, 6.0, 8.0, 6.0, 3.0] + [0.0] * 11
BATCH: dict[str, object] = {"kind": "batch", "work_core_hours": 12.0}
JOB: dict[str, object] = {"name": "job", "cores": 4.0, "workload": BATCH}


def simulated(
    *apps: dict[str, object], sun: list[float] | None = None, carbon: list[float] | None = None, **site: object
) -> list[AppSummary]:
    scenario = msgspec.convert(
        {
            "schema": 1,
            "site": site,
            "apps": list(apps),
            "run": {"start": "2020-01-01T00:00Z", "duration": "24h", "tick": "10min", "baseline": False, "record": "totals"},
        },
        Scenario,
    )
    values = INTENSITY if carbon is None else carbon
    series = {"carbon": Series("carbon", "g/kWh", START_S, 3600.0, array("d", values))} if values else {}
    if sun is not None:
        series["solar"] = Series("solar", "W", START_S, 3600.0, array("d", sun))
    return simulate(scenario, Path(), series=series, optimum=True).summary.apps


def found(app: AppSummary) -> tuple[Optimum, float]:
    assert app.optimum is not None
    assert app.optimum.carbon_g is not None, app.optimum.reason
    return app.optimum, app.carbon_g


def test_a_job_without_a_deadline_has_until_the_end_of_the_run() -> None:
    job, site = simulated(JOB)
    best, ours_g = found(job)
    assert best.carbon_g == pytest.approx(3.0 * 5.0 * 80.0 / 1000.0)
    assert best.until_s == START_S + 86400.0
    assert best.ratio == pytest.approx(ours_g / (3.0 * 5.0 * 80.0 / 1000.0))
    assert (best.cores, best.resolution_s, best.solver) == (4.0, 3600.0, "merit order")
    assert site.optimum is None


def test_a_deadline_that_was_met_bounds_and_one_that_was_missed_does_not() -> None:
    met, missed = simulated(
        {**JOB, "workload": {**BATCH, "deadline": "6h"}}, {**JOB, "name": "late", "workload": {**BATCH, "deadline": "2h"}}
    )[:2]
    best, _ = found(met)
    assert best.until_s == START_S + 6 * 3600.0
    assert best.carbon_g == pytest.approx(5.0 * (80.0 + 90.0 + 120.0) / 1000.0)
    assert found(missed)[0].until_s == START_S + 86400.0


def test_work_that_was_not_finished_is_compared_for_what_was_done() -> None:
    job = simulated({**JOB, "workload": {"kind": "batch", "work_core_hours": 1000.0}})[0]
    best, ours_g = found(job)
    assert best.work_core_h == pytest.approx(96.0)
    assert best.carbon_g == pytest.approx(ours_g)


def test_wait_and_scale_may_use_as_many_cores_as_it_is_set_to() -> None:
    job = simulated({**JOB, "policy": {"kind": "wait-and-scale", "scale": 3.0}})[0]
    best, _ = found(job)
    assert best.cores == 12.0
    assert best.ratio is not None
    assert best.ratio >= 1.0 - 1e-9


def test_copies_have_the_sum_of_their_optima() -> None:
    one = found(simulated(JOB)[0])[0]
    three = found(simulated({**JOB, "count": 3})[0])[0]
    assert three.carbon_g == pytest.approx(3.0 * (one.carbon_g or 0.0))
    assert three.cores == 12.0


@pytest.mark.parametrize("excess", [["share", "curtail"], ["curtail"]])
def test_two_batch_jobs_with_sun_and_batteries_are_never_below_their_optima(excess: list[str]) -> None:
    battery: dict[str, object] = {"capacity_wh": 30.0, "initial_ratio": 0.5, "self_discharge_per_hour": 0.01}
    apps = simulated(
        {**JOB, "share": 0.5, "policy": {"kind": "suspend-resume", "percentile": 40.0, "window": "24h"}},
        {
            **JOB,
            "name": "other",
            "share": 0.4,
            "workload": {**BATCH, "work_core_hours": 60.0},
            "policy": {"kind": "wait-and-scale"},
        },
        sun=SUN,
        battery=battery,
        excess=excess,
    )
    for app in apps[:2]:
        best, ours_g = found(app)
        assert ours_g >= (best.carbon_g or 0.0) - 1e-6
        assert best.solver.startswith("HiGHS")
        assert best.status == "optimal"
        assert ("all sun of the others may reach the battery" in best.relaxations) == ("share" in excess)


def test_a_limited_grid_limits_the_optimum() -> None:
    free = found(simulated(JOB)[0])[0]
    limited = found(simulated({**JOB, "grid_share": 0.5}, grid_limit_w=4.0)[0])[0]
    assert (limited.carbon_g or 0.0) > (free.carbon_g or 0.0)


def test_what_is_no_batch_job_has_no_bound() -> None:
    app: dict[str, object] = {"name": "web", "workload": {"kind": "constant", "demand_w": 3.0}}
    assert simulated(app)[0].optimum == Optimum(reason="a constant workload is no batch job")


def test_without_a_carbon_signal_there_is_no_bound() -> None:
    job = simulated(JOB, carbon=[])[0]
    assert job.optimum == Optimum(reason="the carbon intensity is unknown at 2020-01-01T00:00:00Z")


def test_a_policy_that_takes_more_cores_than_it_began_with_is_not_bound(tmp_path: Path) -> None:
    policy = tmp_path / "more.py"
    policy.write_text("def more(energy, app):\n    energy.scale_containers(4.0)\n")
    job = simulated({**JOB, "workload": {**BATCH, "work_core_hours": 300.0}, "policy": {"kind": f"{policy}:more"}})[0]
    assert job.optimum == Optimum(reason="the policy did more than 4 cores can")


def test_a_missing_solver_is_told_before_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(InputError, match=r"needs highspy, not installed; pip install 'ecovisor\[optimum\]'"):
        simulated(JOB)
    assert run(["simulate", "two-apps", "--optimum", "--out", "nowhere"]) == 2
    assert capsys.readouterr().err == "error: --optimum: needs highspy, not installed; pip install 'ecovisor[optimum]'\n"


def test_the_command_line_prints_it_and_run_json_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert run(["simulate", "two-apps", "--optimum", "--json", "--no-plots", "--out", str(out)]) == 0
    job, service, site = json.loads(capsys.readouterr().out)["apps"]
    assert 0.0 <= job["optimum"]["carbon_g"] <= job["carbon_g"]
    assert service["optimum"]["reason"] == "a constant workload is no batch job"
    assert site["optimum"] is None
    kept = json.loads((out / "run.json").read_text("utf-8"))["summary"]["apps"][0]["optimum"]
    assert kept == job["optimum"]

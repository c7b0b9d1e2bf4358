"""Bundled scenarios, simulated whole: an independent script finds every balance, and nobody's energy is nobody's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from tests.engine.build import Keep
from tests.independent.replay import replay

from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.adapters.stores.run_folder import RunFolder
from ecovisor.assembly import Result, simulate


def played(name: str, *settings: str, folder: Path | None = None, compiled: bool | None = None) -> tuple[Result, Keep]:
    scenario, where = load_scenario(name, settings)
    kept = Keep()
    if folder is None:
        return simulate(scenario, where, sink=kept, compiled=compiled), kept
    with RunFolder(folder, table_format=scenario.run.format) as tables:
        result = simulate(scenario, where, sink=tables, compiled=compiled)
        tables.finish(result.run_info)
    return result, kept


RUNS: dict[str, Sequence[str]] = {
    "edge-site": ["run.duration=4d"],
    "edge-site with export": ['site.excess=["share", "export", "curtail"]', "site.export_limit_w=20", "run.duration=3d"],
    "edge-site on coarse ticks": ["run.tick=1h"],
    "two-apps": [],
    "two-apps with a battery for minutes": ["site.battery.capacity_wh=2", 'site.excess=["share"]', "run.duration=1d"],
    "many-apps": [
        "apps.steady.count=10",
        "apps.steady.share=0.4",
        "apps.waiting.count=12",
        "apps.storing.count=5",
        "run.duration=2d",
        'run.record="all"',
    ],
}


@pytest.mark.parametrize("run", RUNS)
def test_an_independent_script_finds_every_balance_level_and_gram(run: str, tmp_path: Path) -> None:
    pytest.importorskip("pvlib")
    folder = tmp_path / "run"
    result, _ = played(run.split(" ", maxsplit=1)[0], *RUNS[run], folder=folder)
    failed = [check for check in replay(folder) if not check.ok]
    assert not failed, "\n".join(f"{check.name}: {check.first()}: {check.absolute:g}" for check in failed)
    site = result.summary.site
    assert site.residual_wh <= 1e-6
    assert abs(site.balance_residual_wh) <= 1e-6 * (1.0 + site.load_wh)


def test_what_no_app_owns_is_the_site_s() -> None:
    result, kept = played("two-apps", "site.servers=8", "site.overhead_w=5")
    shares = result.run_info["physics"]["shares"]  # type: ignore[index]
    for resource in ("grid", "solar", "battery_energy", "battery_power"):
        assert math.fsum(share[resource] for share in shares.values()) == pytest.approx(1.0)
    assert min(row["demand_w"] for row in kept.flows("_site")) >= 5.0
    everybody = result.summary.apps
    assert everybody[-1].app == "_site"
    served = math.fsum(app.demand_wh - app.unserved_wh for app in everybody)
    assert served == pytest.approx(result.summary.site.load_wh)
    idle_w = 5.0 + (8 * 4 - 8 - 8) / 4 * 1.35
    running = [row for row in kept.flows("_site") if row["demand_w"] < idle_w + 1e-9]
    assert running, "while both apps run, the site's own load is its overhead and the idle power of the cores that are left"


def test_solar_power_is_known_for_the_coming_tick() -> None:
    pytest.importorskip("pvlib")
    _, kept = played("edge-site", "run.duration=1d")
    solar_w: dict[float, float] = {}
    for row in kept.tables["flows"]:
        solar_w[row["time"]] = solar_w.get(row["time"], 0.0) + row["solar_w"]
    assert max(solar_w.values()) > 100.0
    for before, now in pairwise(kept.site):
        assert solar_w[now["time"]] == pytest.approx(before["solar_collected_w"], abs=1e-9)
    assert kept.flows("web")[0]["solar_w"] == 0.0


def test_an_unknown_intensity_is_never_zero_carbon() -> None:
    agnostic = [f"apps.{name}.policy={{ kind = 'carbon-agnostic' }}" for name in ("job", "service")]
    result, kept = played("two-apps", "signals={ solar = { kind = 'constant', value = 6 } }", *agnostic)
    assert all(math.isnan(row["carbon_g"]) for row in kept.tables["flows"])
    for app in result.summary.apps:
        imported_wh = app.grid_to_load_wh + app.grid_to_battery_wh
        assert app.unknown_carbon_wh == pytest.approx(imported_wh)
    assert any("unknown" in note for note in result.summary.notes)


def test_a_scenario_comes_out_the_same_in_machine_code_and_with_policies_in_python() -> None:
    pytest.importorskip("numba")
    pytest.importorskip("pvlib")
    scenario, where = load_scenario("edge-site", ["run.duration=1d"])
    plain = simulate(scenario, where, compiled=False).summary
    assert simulate(scenario, where, compiled=True).summary == plain
    assert simulate(scenario, where, compiled=False, policies_in_python=True).summary == plain

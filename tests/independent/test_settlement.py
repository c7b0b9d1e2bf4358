"""What the reference itself must keep, and that the random runs go where settlement is delicate."""

from __future__ import annotations

import math
import random

import pytest

from .generated import random_run
from .settlement import SITE, Battery, ReferenceSite, Row, Shares


def ann_beside(seed: int, neighbour: bool) -> list[Row]:
    """One app's rows, beside a neighbour that does what it likes or beside nobody."""
    ann = Shares(grid=0.3, solar=0.4, battery_energy=0.3, battery_power=0.2)
    site = ReferenceSite(
        battery=Battery(1440, 0.3, 0.95, 0.9, 1e-4, reserve_wh=20),
        shares={"ann": ann} | ({"bob": Shares(0.7, 0.6, 0.5, 0.8)} if neighbour else {}),
        excess=["export", "curtail"],
        grid_limit_w=600.0,
    )
    hers, his = random.Random(seed), random.Random(seed + 1)
    rows = []
    for _ in range(100):
        if hers.random() < 0.3:
            site.set_charge_rate("ann", 200 * hers.random())
        demands = {"ann": 300 * hers.random()}
        if neighbour:
            site.set_charge_rate("bob", 300 * his.random())
            demands["bob"] = 900 * his.random()
        rows.append(site.step(60.0, 400 * hers.random(), 300 * hers.random(), demands).flows["ann"])
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_without_sharing_a_ledger_does_not_depend_on_neighbours(seed: int) -> None:
    assert ann_beside(seed, neighbour=True) == ann_beside(seed, neighbour=False)


@pytest.mark.parametrize("seed", range(20))
def test_every_row_balances_and_carbon_is_conserved(seed: int) -> None:
    run = random_run(seed)
    bought = math.fsum(row["carbon_g"] or 0.0 for row in run.flows)
    used = math.fsum(row["carbon_on_use_g"] for row in run.flows)
    initial = math.fsum(state["stored_carbon_g"] for state in run.physics["initial"].values())
    last = run.site[-1]["time"]
    stored = math.fsum(row["stored_carbon_g"] for row in run.flows if row["time"] == last)
    assert bought + initial == pytest.approx(used + stored, rel=1e-12, abs=1e-12)
    for row in run.flows:
        gone = math.fsum(row[c] for c in ("solar_to_battery_w", "grid_to_battery_w", "exported_w", "shared_w", "curtailed_w"))
        came = math.fsum(row[c] for c in ("solar_w", "battery_discharge_w", "grid_to_load_w", "grid_to_battery_w"))
        assert row["demand_w"] - row["unserved_w"] + gone == pytest.approx(came, rel=1e-9, abs=1e-9)


def test_the_random_runs_go_where_settlement_is_delicate() -> None:
    runs = [random_run(seed) for seed in range(60)]
    flows = [row for run in runs for row in run.flows]
    sites = [row for run in runs for row in run.site]
    tenants = [row for row in flows if row["app"] != SITE]
    seen = {
        "exactly full": sum(0 < r["capacity_wh"] == r["battery_level_wh"] for r in flows),
        "exactly empty": sum(r["battery_level_wh"] == 0 < r["capacity_wh"] for r in flows),
        "emptied by discharge": sum(r["battery_discharge_w"] > 0 == r["battery_level_wh"] for r in flows),
        "tiny ticks": sum(r["dt_s"] < 0.01 for r in sites),
        "shared": sum(r["shared_w"] > 0 for r in flows),
        "received beside an own charge": sum(r["received_w"] > 0 < r["grid_to_battery_w"] for r in flows),
        "exported": sum(r["exported_w"] > 0 for r in flows),
        "curtailed": sum(r["curtailed_w"] > 0 for r in flows),
        "unserved": sum(r["unserved_w"] > 0 for r in flows),
        "overdrawn": sum(r["overdraw_w"] > 0 for r in flows),
        "transferred to the site": sum(r["transfer_out_wh"] > 0 for r in tenants),
        "overflowed to a tenant": sum(r["transfer_in_wh"] > 0 for r in tenants),
        "credited": sum(r["netting_credit_wh"] > 0 for r in flows),
        "spilled": sum(r["netting_spilled_wh"] > 0 for r in sites),
        "credited in part": sum(a["netting_credit_wh"] > 0 < b["netting_spilled_wh"] for a, b in pairs(flows, sites)),
        "curtailed for relief": sum(b["curtailed_w"] > 0 < b["netting_relief_w"] and b["import_w"] == 0 for b in sites),
        "adjusted": sum(r["battery_adjust_wh"] != 0 for r in flows),
        "derated": sum(r["charge_limit_w"] in (0.0, 50.0) for r in sites),
        "unknown intensity": sum(r["carbon_g"] is None and r["grid_to_battery_w"] > 0 for r in flows),
        "left": sum(len(run.events) for run in runs),
    }
    assert {what: n for what, n in seen.items() if n < 3} == {}


def pairs(flows: list[Row], sites: list[Row]) -> list[tuple[Row, Row]]:
    """The row of `_site` beside that of the site, run after run."""
    return list(zip((r for r in flows if r["app"] == SITE), sites, strict=True))


def test_a_correction_beyond_what_is_stored_is_refused() -> None:
    site = ReferenceSite(Battery(1000), {"ann": Shares(battery_energy=0.5)}, initial={"ann": (10.0, 0.0)})
    site.adjust(-11.0)
    with pytest.raises(ValueError, match="exceeds"):
        site.step(60.0, 0.0, None, {})

"""The replay accepts what the reference settled and finds what was tampered with."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import replay as replay_module
from .generated import START_NS, RunTables, containers_of, random_run
from .replay import Check, Unusable, main, moment, replay
from .settlement import SITE, Battery, ReferenceSite, Row, Shares

Place = tuple[str, str, int, str]
"""Table, column, time in ns, app."""


def failures(run: RunTables, folder: Path, kind: str = "parquet") -> list[Check]:
    return [check for check in replay(run.write(folder, kind)) if not check.ok]


def describe(checks: list[Check]) -> str:
    return "\n".join(f"{c.name}: {c.first()}: {c.absolute:g}" for c in checks)


@pytest.mark.parametrize("seed", range(60))
def test_the_replay_accepts_what_the_reference_settled(seed: int, tmp_path: Path) -> None:
    found = failures(random_run(seed), tmp_path, "csv" if seed % 6 == 0 else "parquet")
    assert not found, describe(found)


def orderly_run() -> RunTables:
    """Three apps for two days of hours: shared solar, netting, grid charging, a hole in the intensity, a leaver."""
    battery = Battery(
        capacity_wh=1440,
        empty_ratio=0.3,
        charge_efficiency=0.95,
        discharge_efficiency=0.9,
        self_discharge_per_hour=4e-5,
        reserve_wh=300,
    )
    site = ReferenceSite(
        battery=battery,
        shares={
            "ann": Shares(grid=0.5, solar=0.6, battery_energy=0.3, battery_power=0.3),
            "bob": Shares(grid=0.2, solar=0.2, battery_energy=0.4, battery_power=0.5),
            "cy": Shares(grid=0.1, solar=0.1, battery_energy=0.1, battery_power=0.1),
        },
        excess=["share", "export", "curtail"],
        grid_limit_w=1000.0,
        export_limit_w=20.0,
        initial={"bob": (120.0, 30.0), "cy": (60.0, 5.0)},
    )
    site.set_max_discharge("cy", 0.0)
    run = RunTables(site.physics(3600.0))
    for hour in range(48):
        if hour == 30:
            site.leave("cy")
        if hour % 24 in (1, 2, 3):
            site.set_charge_rate("ann", 90.0)
            site.set_max_discharge("ann", 25.0)
        demands = {"ann": 60.0, "bob": 250.0 if hour % 24 > 16 else 20.0, "cy": 12.0, SITE: 3.0}
        sun = 300.0 * max(0, 6 - abs(hour % 24 - 12)) / 6
        intensity = None if hour in (20, 21) else 200.0 + 10 * (hour % 24)
        tick = site.step(
            3600.0, sun, intensity, {n: w for n, w in demands.items() if n in site.apps and not (n == "cy" and hour == 30)}
        )
        stamp: Row = {"time": START_NS + hour * 3_600_000_000_000}
        run.site.append(stamp | tick.site)
        for row in tick.flows.values():
            run.flows.append(stamp | row)
            run.containers += containers_of(run.flows[-1], [1.0, 2.0])
        run.events += [stamp | {"app": name, "kind": "left", "detail": ""} for name in tick.left]
    return run


ORDERLY = orderly_run()


def pick(run: RunTables, **conditions: Callable[[Any], bool]) -> Row:
    """The first row of flows past hour 4 that meets the conditions."""
    for row in run.flows[16:]:
        if all(condition(row[column]) for column, condition in conditions.items()):
            return row
    raise AssertionError(f"no row with {sorted(conditions)}")


def positive(value: Any) -> bool:
    return value is not None and value > 0


def is_(name: str) -> Callable[[Any], bool]:
    return lambda value: bool(value == name)


def at(row: Row, column: str, table: str = "flows") -> Place:
    return table, column, row["time"], row.get("app", "") if table != "site" else ""


def site_row(run: RunTables, column: str) -> Row:
    return next(r for r in run.site[10:] if r[column] > 0)


def changed_level(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"), battery_level_wh=positive)
    row["battery_level_wh"] += 1e-4
    return at(row, "battery_level_wh")


def level_of_everyone_shifted_from_a_tick_on(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"), battery_level_wh=positive)
    for later in run.flows:
        if later["time"] >= row["time"] and later["app"] == "bob":
            later["battery_level_wh"] *= 1 - 1e-4
    return at(row, "battery_level_wh")


def lost_self_discharge(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"), self_discharge_wh=positive)
    row["self_discharge_wh"] = 0.0
    return at(row, "self_discharge_wh")


def lost_milligram(run: RunTables) -> Place:
    row = pick(run, app=is_("ann"), carbon_g=positive)
    row["carbon_g"] -= 1e-3
    return at(row, "carbon_g")


def lost_stored_milligram(run: RunTables) -> Place:
    row = pick(run, app=is_("ann"), stored_carbon_g=positive)
    row["stored_carbon_g"] -= 1e-3
    return at(row, "stored_carbon_g")


def stored_carbon_booked_twice(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"), battery_discharge_w=positive, stored_carbon_g=positive)
    row["carbon_on_use_g"] *= 1.01
    return at(row, "carbon_on_use_g")


def carbon_of_the_last_intensity(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"), carbon_g=positive)
    before = next(r for r in run.flows if r["time"] == row["time"] - 3_600_000_000_000)
    row["carbon_g"] *= before["carbon_intensity_g_per_kwh"] / row["carbon_intensity_g_per_kwh"]
    return at(row, "carbon_g")


def one_app_sees_another_intensity(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"), carbon_g=positive)
    row["carbon_intensity_g_per_kwh"] += 1.0
    return "site", "carbon_intensity_g_per_kwh", row["time"], ""


def unknown_carbon_taken_for_clean(run: RunTables) -> Place:
    row = next(r for r in run.flows if r["carbon_g"] is None and r["app"] == "bob")
    row["carbon_g"] = 0.0
    return at(row, "carbon_g")


def moved_charge_setpoint(run: RunTables) -> Place:
    row = site_row(run, "battery_charge_w")
    row["battery_charge_w"] += 0.01
    return at(row, "battery_charge_w", "site")


def moved_discharge_setpoint(run: RunTables) -> Place:
    row = site_row(run, "battery_discharge_w")
    row["battery_discharge_w"] -= 0.01
    return at(row, "battery_discharge_w", "site")


def meter_that_misses_something(run: RunTables) -> Place:
    row = site_row(run, "import_w")
    row["import_w"] *= 0.999
    return at(row, "import_w", "site")


def solar_out_of_nowhere(run: RunTables) -> Place:
    row = site_row(run, "buffer_wh")
    row["buffer_wh"] += 1.0
    row["physical_level_wh"] += 1.0
    return at(row, "buffer_wh", "site")


def netting_credit_for_a_tenant(run: RunTables) -> Place:
    credited = pick(run, app=is_(SITE), netting_credit_wh=positive)
    tenant = next(r for r in run.flows if r["time"] == credited["time"] and r["app"] == "ann")
    tenant["netting_credit_wh"], credited["netting_credit_wh"] = credited["netting_credit_wh"], 0.0
    tenant["battery_level_wh"] += tenant["netting_credit_wh"]
    credited["battery_level_wh"] -= tenant["netting_credit_wh"]
    return "flows", "netting_credit_wh", credited["time"], "*"


def received_without_shared(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"), received_w=lambda w: w == 0, battery_discharge_w=lambda w: w == 0)
    row["received_w"] = 1.0
    return at(row, "received_w")


def shared_without_received(run: RunTables) -> Place:
    row = pick(run, shared_w=positive)
    row["curtailed_w"] += row["shared_w"]
    row["shared_w"] = 0.0
    return at(row, "shared_w")


def grid_before_solar(run: RunTables) -> Place:
    row = pick(run, app=is_("ann"), solar_to_load_w=lambda w: w > 10)
    row["solar_to_load_w"] -= 1.0
    row["curtailed_w"] += 1.0
    row["grid_to_load_w"] += 1.0
    return at(row, "solar_to_load_w")


def discharge_above_its_setting(run: RunTables) -> Place:
    row = pick(run, app=is_("ann"), battery_discharge_w=lambda w: w == 25.0)
    row["max_discharge_setting_w"] = 20.0
    return at(row, "battery_discharge_w")


def charge_rate_not_obeyed(run: RunTables) -> Place:
    row = next(r for r in run.flows if r["grid_to_battery_w"] > 0)
    row["charge_rate_setting_w"] = 1.0
    return at(row, "grid_to_battery_w")


def unserved_though_the_grid_could(run: RunTables) -> Place:
    row = pick(run, app=is_("ann"), grid_to_load_w=lambda w: w > 10)
    row["grid_to_load_w"] -= 5.0
    row["unserved_w"] += 5.0
    return at(row, "unserved_w")


def missing_row(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"))
    run.flows.remove(row)
    return at(row, "time")


def missing_last_row(run: RunTables) -> Place:
    row = [r for r in run.flows if r["app"] == "bob"][-1]
    run.flows.remove(row)
    return "flows", "time", row["time"], "bob"


def missing_tick(run: RunTables) -> Place:
    gone = run.site[20]["time"]
    for table in (run.flows, run.site, run.containers):
        table[:] = [r for r in table if r["time"] != gone]
    return "site", "time", run.site[20]["time"], ""


def doubled_row(run: RunTables) -> Place:
    row = pick(run, app=is_("bob"))
    run.flows.append(dict(row))
    return at(row, "time")


def swapped_apps(run: RunTables) -> Place:
    ann = pick(run, app=is_("ann"), battery_discharge_w=positive)
    bob = next(r for r in run.flows if r["time"] == ann["time"] and r["app"] == "bob")
    ann["app"], bob["app"] = "bob", "ann"
    return "flows", "battery_level_wh", ann["time"], "*"


def swapped_apps_throughout(run: RunTables) -> Place:
    for table in (run.flows, run.containers):
        for row in table:
            row["app"] = {"ann": "bob", "bob": "ann"}.get(row["app"], row["app"])
    return "flows", "capacity_wh", START_NS, "*"


def leaver_that_takes_its_energy_along(run: RunTables) -> Place:
    row = next(r for r in run.flows if r["transfer_in_wh"] > 0)
    row["transfer_in_wh"] = 0.0
    return at(row, "transfer_in_wh")


def container_that_vanished(run: RunTables) -> Place:
    row = next(r for r in run.containers[100:] if r["container"] == "c0" and r["app"] == "bob")
    run.containers.remove(row)
    return at(row, "power_w", "containers")


def carbon_shifted_between_containers(run: RunTables) -> Place:
    rows = [r for r in run.containers if r["app"] == "bob" and r["carbon_g"] and r["container"] != "_battery"]
    one, other = rows[0], next(r for r in rows[1:] if r["time"] == rows[0]["time"])
    one["carbon_g"] += 0.01
    other["carbon_g"] -= 0.01
    return at(one, "carbon_g", "containers")


def absent_value(run: RunTables) -> Place:
    row = pick(run, app=is_("ann"))
    row["unserved_w"] = None
    return at(row, "unserved_w")


def negative_flow(run: RunTables) -> Place:
    row = pick(run, app=is_("ann"))
    row["exported_w"] -= 1.0
    row["curtailed_w"] += 1.0
    return at(row, "exported_w")


def energy_below_the_line_used(run: RunTables) -> Place:
    run.site[12]["below_line_wh"] -= 1.0
    return at(run.site[12], "below_line_wh", "site")


FAULTS = [
    changed_level,
    level_of_everyone_shifted_from_a_tick_on,
    lost_self_discharge,
    lost_milligram,
    lost_stored_milligram,
    stored_carbon_booked_twice,
    carbon_of_the_last_intensity,
    one_app_sees_another_intensity,
    unknown_carbon_taken_for_clean,
    moved_charge_setpoint,
    moved_discharge_setpoint,
    meter_that_misses_something,
    solar_out_of_nowhere,
    netting_credit_for_a_tenant,
    received_without_shared,
    shared_without_received,
    grid_before_solar,
    discharge_above_its_setting,
    charge_rate_not_obeyed,
    unserved_though_the_grid_could,
    missing_row,
    missing_last_row,
    missing_tick,
    doubled_row,
    swapped_apps,
    swapped_apps_throughout,
    leaver_that_takes_its_energy_along,
    container_that_vanished,
    carbon_shifted_between_containers,
    absent_value,
    negative_flow,
    energy_below_the_line_used,
]


def test_the_orderly_run_is_accepted(tmp_path: Path) -> None:
    found = failures(ORDERLY, tmp_path)
    assert not found, describe(found)
    assert any(row["netting_credit_wh"] > 0 for row in ORDERLY.flows)
    assert any(row["received_w"] > 0 for row in ORDERLY.flows)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_the_replay_finds_and_places(fault: Callable[[RunTables], Place], tmp_path: Path) -> None:
    run = copy.deepcopy(ORDERLY)
    table, column, time_ns, app = fault(run)
    found = failures(run, tmp_path)
    places = {(c.table, c.column, c.first_time or c.time, c.first_app or c.app) for c in found}
    if app == "*":
        places = {(t, c, w, "*") for t, c, w, _ in places}
    assert (table, column, moment(time_ns), app) in places, describe(found)


def test_the_script_runs_by_itself_and_reports_in_words_and_status(tmp_path: Path) -> None:
    script = Path(replay_module.__file__)
    good = ORDERLY.write(tmp_path / "good")
    done = subprocess.run([sys.executable, str(script), str(good)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "level recursion" in done.stdout


def test_a_deviation_is_named_with_table_column_time_and_app(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copy.deepcopy(ORDERLY)
    _, _, time_ns, _ = changed_level(run)
    assert main([str(run.write(tmp_path))]) == 1
    assert f"level recursion: first flows.battery_level_wh at {moment(time_ns)} app bob" in capsys.readouterr().out


def test_the_tolerance_is_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copy.deepcopy(ORDERLY)
    lost_milligram(run)
    run.write(tmp_path)
    assert main([str(tmp_path), "--json"]) == 1
    assert main([str(tmp_path), "--json", "--tolerance", "0.1"]) == 0
    assert '"ok": true' in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["run.json", "flows.parquet", "site.parquet", "containers.parquet", "events.parquet"])
def test_an_incomplete_folder_is_unusable(missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ORDERLY.write(tmp_path)
    (tmp_path / missing).unlink()
    assert main([str(tmp_path)]) == 2
    assert missing.split(".", maxsplit=1)[0] in capsys.readouterr().err


def test_a_missing_column_or_key_is_named(tmp_path: Path) -> None:
    run = copy.deepcopy(ORDERLY)
    for row in run.flows:
        del row["received_w"]
    with pytest.raises(Unusable, match="received_w"):
        replay(run.write(tmp_path / "column"))
    run = copy.deepcopy(ORDERLY)
    del run.physics["grid_limit_w"]
    with pytest.raises(Unusable, match="grid_limit_w"):
        replay(run.write(tmp_path / "key"))


def test_nothing_of_ecovisor_is_imported() -> None:
    for path in Path(__file__).parent.glob("[!t]*.py"):
        for line in path.read_text().splitlines():
            assert not line.lstrip().startswith(("import ecovisor", "from ecovisor")), f"{path.name}: {line}"

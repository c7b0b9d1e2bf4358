"""The emulated plant, moved by set-points alone, holds what the reference says and refuses what hardware could not do."""

from __future__ import annotations

import pytest

from .generated import plant_for, random_run
from .plant import Infeasible, Plant
from .test_worked_examples import play, site_of
from .worked_examples import EXAMPLES, Example


def small_plant(above_wh: float = 100.0) -> Plant:
    return Plant(
        nominal_wh=1000.0,
        empty_ratio=0.3,
        charge_efficiency=0.9,
        discharge_efficiency=0.8,
        charge_c_rate=0.25,
        discharge_c_rate=1.0,
        reserve_wh=100.0,
        above_wh=above_wh,
    )


@pytest.mark.parametrize("seed", range(1000, 1060))
def test_set_points_alone_take_the_plant_to_the_ledger(seed: int) -> None:
    random_run(seed, hold_against_plant=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e["name"])
def test_the_counters_of_the_meter_agree_with_the_worked_examples(example: Example) -> None:
    site = site_of(example)
    plant = plant_for(site)
    bought = sold = 0.0
    for tick in example["ticks"]:
        row = play(site, tick).site
        plant.disturb(tick["adjust_wh"])
        plant.step(
            row["dt_s"],
            load_w=row["node_power_w"],
            available_solar_w=row["solar_collected_w"],
            charge_w=row["battery_charge_w"],
            discharge_w=row["battery_discharge_w"],
            curtail_w=row["curtailed_w"],
        )
        bought += row["import_w"] * row["dt_s"] / 3600
        sold += row["export_w"] * row["dt_s"] / 3600
    assert plant.meter.import_wh == pytest.approx(bought, abs=1e-9)
    assert plant.meter.export_wh == pytest.approx(sold, abs=1e-9)


def test_the_sun_of_one_tick_is_released_in_the_next_without_loss() -> None:
    plant = small_plant()
    first = plant.step(1800.0, load_w=50.0, available_solar_w=200.0)
    assert (first.import_w, first.buffer_wh, first.level_wh) == (50.0, 100.0, 200.0)
    second = plant.step(3600.0, load_w=50.0, available_solar_w=0.0)
    assert (second.export_w, second.import_w, second.level_wh) == (50.0, 0.0, 100.0)


def test_a_charge_loses_on_the_way_in_and_on_the_way_out() -> None:
    plant = small_plant(above_wh=0.0)
    plant.step(3600.0, load_w=0.0, available_solar_w=0.0, charge_w=100.0)
    assert plant.battery.above_wh == pytest.approx(90.0)
    plant.step(3600.0, load_w=72.0, available_solar_w=0.0, discharge_w=72.0)
    assert plant.battery.above_wh == pytest.approx(0.0)
    assert plant.meter.import_wh == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("above_wh", "setpoints", "reason"),
    [
        (100.0, {"charge_w": 251.0}, "takes 250"),
        (500.0, {"discharge_w": 1001.0}, "gives 1000"),
        (100.0, {"charge_w": 1.0, "discharge_w": 1.0}, "at once"),
        (550.0, {"charge_w": 100.0}, "do not fit"),
        (10.0, {"discharge_w": 20.0}, "below the empty line"),
        (10.0, {"curtail_w": 1.0}, "curtailing"),
        (10.0, {"available_solar_w": 101.0}, "exceed the reserve"),
    ],
)
def test_an_infeasible_set_point_is_refused(above_wh: float, setpoints: dict[str, float], reason: str) -> None:
    plant = small_plant(above_wh)
    with pytest.raises(Infeasible, match=reason):
        plant.step(3600.0, **({"load_w": 0.0, "available_solar_w": 0.0} | setpoints))


def test_a_derated_battery_refuses_its_rating() -> None:
    plant = small_plant()
    plant.derate(charge_w=100.0, discharge_w=50.0)
    with pytest.raises(Infeasible, match="takes 100"):
        plant.step(60.0, load_w=0.0, available_solar_w=0.0, charge_w=250.0)
    with pytest.raises(Infeasible, match="gives 50"):
        plant.step(60.0, load_w=60.0, available_solar_w=0.0, discharge_w=60.0)

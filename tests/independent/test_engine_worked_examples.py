"""The engine settles the worked examples to the printed digit."""

from __future__ import annotations

import math

import pytest
from tests.engine.beside import Beside, app_shares

from .settlement import SITE, Battery, Shares
from .worked_examples import EXAMPLES, Example


def beside(example: Example) -> Beside:
    given, ticks = example["site"], example["ticks"]
    return Beside(
        Battery(**given["battery"]),
        {name: Shares(**shares) for name, shares in given["shares"].items()},
        tick_s=ticks[0]["dt_s"],
        solar_w=[tick["solar_collected_w"] for tick in ticks],
        intensity=[tick["carbon_intensity_g_per_kwh"] for tick in ticks],
        excess=given["excess"],
        grid_limit_w=given["grid_limit_w"],
        export_limit_w=given["export_limit_w"],
        initial=given["initial"],
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e["name"])
def test_the_engine_settles_as_on_paper(example: Example) -> None:
    pair = beside(example)
    site = pair.site
    for number, (tick, expect) in enumerate(zip(example["ticks"], example["expect"], strict=True)):
        for name in tick["leave"]:
            site.leave(name)
        if tick["set_shares"]:
            site.set_shares({name: app_shares(Shares(**shares)) for name, shares in tick["set_shares"].items()})
        for name, shares in tick["join"].items():
            site.join(pair._spec(name, Shares(**shares)))
        if tick["adjust_wh"]:
            site.adjust_battery(sum(site.levels_wh()) + tick["adjust_wh"])
        for name, power_w in tick["charge_rates_w"].items():
            site.app(name).set_battery_charge_rate(power_w)
        for name, power_w in tick["max_discharges_w"].items():
            site.app(name).set_battery_max_discharge(power_w)
        for name in site.app_names[:-1]:
            site.app(name).ask(tick["demands_w"].get(name, 0.0))
        site.memory.set("overhead_w", tick["demands_w"].get(SITE, 0.0))
        if tick["dt_s"] != pair.tick_s:  # a late tick, as the live driver will have them
            site.memory.set("tick_s", tick["dt_s"])
            site.memory.set("hours_h", tick["dt_s"] / 3600.0)
        pair.loop.run(number + 1)
        for who, columns in expect.items():
            row = pair.site_row() if who == "site" else pair.flows(who)
            for column, value in columns.items():
                if value is None:
                    assert math.isnan(row[column])
                else:
                    assert row[column] == pytest.approx(value, rel=1e-12, abs=1e-12), f"tick {number}, {who}.{column}"

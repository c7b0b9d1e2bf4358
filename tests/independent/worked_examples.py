"""Settlements computed by hand, as plain data: whatever claims to settle a tick is checked against these numbers.

The battery is the paper's, with efficiencies that are easy on paper: 1440 Wh, 30 % of it below the line, 108 Wh reserved for
the solar buffer, so 900 Wh usable; 0.25 C charges at 360 W, 1 C discharges at 1440 W; ηc = 0.9, ηd = 0.8. A tick is 900 s,
h = 0.25, unless said otherwise. What an example does not name it does not claim. In `expect`, `site` is the row of the site
table, every other key is an app's row of `flows`; `why` holds the arithmetic.

Between ticks, in this order: `leave`, `set_shares`, `join`, `adjust_wh`, then `charge_rates_w` and `max_discharges_w`.
"""

from __future__ import annotations

from typing import Any

Example = dict[str, Any]

PAPER: dict[str, float] = {
    "capacity_wh": 1440.0,
    "empty_ratio": 0.3,
    "charge_efficiency": 0.9,
    "discharge_efficiency": 0.8,
    "self_discharge_per_hour": 0.0,
    "charge_c_rate": 0.25,
    "discharge_c_rate": 1.0,
    "reserve_wh": 108.0,
}
LEAKY = PAPER | {"self_discharge_per_hour": 0.19}

ALL = {"grid": 1.0, "solar": 1.0, "battery_energy": 1.0, "battery_power": 1.0}
HALF = {"grid": 0.5, "solar": 0.0, "battery_energy": 0.5, "battery_power": 0.5}


def site(
    shares: dict[str, dict[str, float]], initial: dict[str, tuple[float, float]] | None = None, **settings: Any
) -> dict[str, Any]:
    """One physical site; `initial` is (level in Wh, stored carbon in g)."""
    return {
        "battery": PAPER,
        "excess": ["curtail"],
        "grid_limit_w": None,
        "export_limit_w": None,
        "shares": shares,
        "initial": initial or {},
    } | settings


def tick(
    demands_w: dict[str, float],
    *,
    solar_collected_w: float = 0.0,
    intensity: float | None = 0.0,
    dt_s: float = 900.0,
    **before: Any,
) -> dict[str, Any]:
    """One tick, and what is set before it."""
    return {
        "dt_s": dt_s,
        "solar_collected_w": solar_collected_w,
        "carbon_intensity_g_per_kwh": intensity,
        "demands_w": demands_w,
        "leave": [],
        "set_shares": {},
        "join": {},
        "adjust_wh": 0.0,
        "charge_rates_w": {},
        "max_discharges_w": {},
    } | before


EXAMPLES: list[Example] = [
    {
        "name": "solar serves the load and its excess charges",
        "why": "400 W collected in tick 0 = 100 Wh, released in tick 1 as 400 W. 100 W serve the load, 300 W (< 360 W) charge: "
        "0.9·300·0.25 = 67.5 Wh. Physical level: 100 + 100 buffered, then 167.5.",
        "site": site({"a": ALL}, {"a": (100.0, 0.0)}),
        "ticks": [tick({"a": 0.0}, solar_collected_w=400.0), tick({"a": 100.0})],
        "expect": [
            {
                "a": {"solar_w": 0.0, "battery_level_wh": 100.0, "capacity_wh": 900.0, "charge_limit_w": 360.0},
                "site": {"buffer_wh": 100.0, "physical_level_wh": 200.0, "battery_charge_w": 0.0, "below_line_wh": 432.0},
            },
            {
                "a": {"solar_w": 400.0, "solar_to_load_w": 100.0, "solar_to_battery_w": 300.0, "battery_level_wh": 167.5},
                "site": {"buffer_wh": 0.0, "physical_level_wh": 167.5, "battery_charge_w": 300.0, "import_w": 0.0},
            },
        ],
    },
    {
        "name": "a late tick hands out the same energy at less power",
        "why": "100 Wh collected; a tick of 1800 s releases them as 200 W.",
        "site": site({"a": ALL}),
        "ticks": [tick({"a": 0.0}, solar_collected_w=400.0), tick({"a": 200.0}, dt_s=1800.0)],
        "expect": [{}, {"a": {"solar_w": 200.0, "solar_to_load_w": 200.0, "grid_to_load_w": 0.0}}],
    },
    {
        "name": "the grid serves the load before it charges",
        "why": "Limit 220 W, load 50 W: 170 of the wanted 200 W charge, 0.9·170·0.25 = 38.25 Wh. At 400 g/kWh: "
        "220·0.25/1000·400 = 22 g, of which 170·0.25/1000·400 = 17 g are stored and 5 g used.",
        "site": site({"a": ALL}, grid_limit_w=220.0),
        "ticks": [tick({"a": 50.0}, intensity=400.0, charge_rates_w={"a": 200.0})],
        "expect": [
            {
                "a": {
                    "grid_to_load_w": 50.0,
                    "grid_to_battery_w": 170.0,
                    "battery_discharge_w": 0.0,
                    "battery_level_wh": 38.25,
                    "carbon_g": 22.0,
                    "carbon_on_use_g": 5.0,
                    "stored_carbon_g": 17.0,
                    "charge_rate_setting_w": 200.0,
                },
                "site": {"import_w": 220.0, "battery_charge_w": 170.0},
            }
        ],
    },
    {
        "name": "solar counts towards the charge rate, the grid supplements",
        "why": "150 W solar, 100 W load: 50 W of excess charge; the rate of 120 W adds 70 W from the grid. 0.9·120·0.25 = 27 Wh. "
        "70·0.25/1000·200 = 3.5 g, all stored.",
        "site": site({"a": ALL}),
        "ticks": [tick({"a": 0.0}, solar_collected_w=150.0), tick({"a": 100.0}, intensity=200.0, charge_rates_w={"a": 120.0})],
        "expect": [
            {},
            {
                "a": {
                    "solar_to_battery_w": 50.0,
                    "grid_to_battery_w": 70.0,
                    "battery_level_wh": 27.0,
                    "carbon_g": 3.5,
                    "carbon_on_use_g": 0.0,
                    "stored_carbon_g": 3.5,
                }
            },
        ],
    },
    {
        "name": "a rate above the limit is kept as asked and clamped",
        "why": "500 W asked, 360 W possible: 0.9·360·0.25 = 81 Wh; the setting still says 500 W.",
        "site": site({"a": ALL}),
        "ticks": [tick({"a": 0.0}, charge_rates_w={"a": 500.0})],
        "expect": [{"a": {"grid_to_battery_w": 360.0, "battery_level_wh": 81.0, "charge_rate_setting_w": 500.0}}],
    },
    {
        "name": "a load beyond the grid share blocks charging, so the battery discharges",
        "why": "A deficit of 300 W leaves nothing of the 100 W grid for charging, so the rate of 50 W does not act. The battery "
        "gives min(300, 1440, 40·0.8/0.25 = 128) = 128 W and is empty; the grid 100 W; 72 W are unserved. At 200 g/kWh: 5 g "
        "bought and the 16 g stored are used.",
        "site": site({"a": ALL}, {"a": (40.0, 16.0)}, grid_limit_w=100.0),
        "ticks": [tick({"a": 300.0}, intensity=200.0, charge_rates_w={"a": 50.0})],
        "expect": [
            {
                "a": {
                    "battery_discharge_w": 128.0,
                    "grid_to_load_w": 100.0,
                    "grid_to_battery_w": 0.0,
                    "unserved_w": 72.0,
                    "battery_level_wh": 0.0,
                    "carbon_g": 5.0,
                    "carbon_on_use_g": 21.0,
                    "stored_carbon_g": 0.0,
                    "charge_rate_setting_w": 50.0,
                },
                "site": {"node_power_w": 228.0, "import_w": 100.0, "battery_discharge_w": 128.0},
            }
        ],
    },
    {
        "name": "a discharge takes its proportion of the pool",
        "why": "80 W for 0.25 h take 80·0.25/0.8 = 25 of 200 Wh, an eighth: 50/8 = 6.25 g. 80 W from the grid at 100 g/kWh: 2 g.",
        "site": site({"a": ALL}, {"a": (200.0, 50.0)}),
        "ticks": [tick({"a": 160.0}, intensity=100.0, max_discharges_w={"a": 80.0})],
        "expect": [
            {
                "a": {
                    "battery_discharge_w": 80.0,
                    "grid_to_load_w": 80.0,
                    "battery_level_wh": 175.0,
                    "carbon_g": 2.0,
                    "carbon_on_use_g": 8.25,
                    "stored_carbon_g": 43.75,
                    "max_discharge_setting_w": 80.0,
                }
            }
        ],
    },
    {
        "name": "self-discharge comes first and leaves its carbon in the pool",
        "why": "19 % an hour, half an hour: √0.81 = 0.9. 100 → 90 Wh, 432 → 388.8 Wh below the line. Then 90 → 81 Wh, of which "
        "36 W take 36·0.5/0.8 = 22.5 Wh: 22.5/81·30 g = 8.3333 g.",
        "site": site({"a": ALL}, {"a": (100.0, 30.0)}, battery=LEAKY),
        "ticks": [tick({"a": 0.0}, dt_s=1800.0), tick({"a": 36.0}, dt_s=1800.0)],
        "expect": [
            {
                "a": {"self_discharge_wh": 10.0, "battery_level_wh": 90.0, "stored_carbon_g": 30.0, "carbon_on_use_g": 0.0},
                "site": {"below_line_wh": 388.8, "physical_level_wh": 90.0},
            },
            {
                "a": {
                    "self_discharge_wh": 9.0,
                    "battery_discharge_w": 36.0,
                    "battery_level_wh": 58.5,
                    "carbon_on_use_g": 8.333333333333334,
                    "stored_carbon_g": 21.666666666666668,
                }
            },
        ],
    },
    {
        "name": "charging lasts until full",
        "why": "50 Wh of room take 50/(0.9·0.25) = 222.22 W of the 300 W asked; at 90 g/kWh 222.22·0.25/1000·90 = 5 g are stored "
        "and 100·0.25/1000·90 = 2.25 g used. The full battery ends the rate, and one set on it is 0 at once.",
        "site": site({"a": ALL}, {"a": (850.0, 0.0)}),
        "ticks": [
            tick({"a": 100.0}, intensity=90.0, charge_rates_w={"a": 300.0}, max_discharges_w={"a": 0.0}),
            tick({"a": 100.0}, intensity=90.0),
            tick({"a": 100.0}, intensity=90.0, charge_rates_w={"a": 100.0}),
        ],
        "expect": [
            {
                "a": {
                    "grid_to_battery_w": 222.22222222222223,
                    "battery_level_wh": 900.0,
                    "charge_rate_setting_w": 300.0,
                    "carbon_g": 7.25,
                    "carbon_on_use_g": 2.25,
                    "stored_carbon_g": 5.0,
                }
            },
            {"a": {"charge_rate_setting_w": 0.0, "grid_to_battery_w": 0.0, "grid_to_load_w": 100.0, "battery_level_wh": 900.0}},
            {"a": {"charge_rate_setting_w": 0.0, "grid_to_battery_w": 0.0, "battery_discharge_w": 0.0, "stored_carbon_g": 5.0}},
        ],
    },
    {
        "name": "excess is shared, then exported, then curtailed",
        "why": "a has 300 W of excess and no battery. b charges 60 W of its own within 180 W, so accepts 120 W; the site's battery "
        "is full. Export takes 100 of the remaining 180 W, 80 W are curtailed. b stores 0.9·180·0.25 = 40.5 Wh and the carbon of "
        "its own 60 W alone: 60·0.25/1000·100 = 1.5 g. The meter sees 60 W in and 100 W out at once: 40 W out.",
        "site": site(
            {"a": {"grid": 0.5, "solar": 1.0, "battery_energy": 0.0, "battery_power": 0.0}, "b": HALF},
            {"_site": (450.0, 0.0)},
            excess=["share", "export", "curtail"],
            export_limit_w=100.0,
        ),
        "ticks": [
            tick({"a": 0.0, "b": 0.0}, solar_collected_w=400.0),
            tick({"a": 100.0, "b": 0.0}, intensity=100.0, charge_rates_w={"b": 60.0}),
        ],
        "expect": [
            {},
            {
                "a": {"solar_to_load_w": 100.0, "shared_w": 120.0, "exported_w": 100.0, "curtailed_w": 80.0, "capacity_wh": 0.0},
                "b": {
                    "grid_to_battery_w": 60.0,
                    "received_w": 120.0,
                    "battery_level_wh": 40.5,
                    "carbon_g": 1.5,
                    "stored_carbon_g": 1.5,
                },
                "_site": {"received_w": 0.0, "battery_level_wh": 450.0},
                "site": {
                    "import_w": 0.0,
                    "export_w": 40.0,
                    "curtailed_w": 80.0,
                    "battery_charge_w": 180.0,
                    "physical_level_wh": 490.5,
                },
            },
        ],
    },
    {
        "name": "a battery that discharges accepts nothing",
        "why": "b discharges 50 W for its own load, so a's 200 W have no taker but the site's battery: it accepts its 180 W.",
        "site": site(
            {"a": {"grid": 0.5, "solar": 1.0, "battery_energy": 0.0, "battery_power": 0.0}, "b": HALF},
            {"b": (100.0, 0.0)},
            excess=["share", "curtail"],
        ),
        "ticks": [tick({}, solar_collected_w=200.0), tick({"b": 50.0})],
        "expect": [
            {},
            {
                "a": {"shared_w": 180.0, "curtailed_w": 20.0},
                "b": {"received_w": 0.0, "battery_discharge_w": 50.0, "battery_level_wh": 84.375},
                "_site": {"received_w": 180.0},
            },
        ],
    },
    {
        "name": "netting credits the losses avoided to the site",
        "why": "a gives 100 W (−31.25 Wh), b takes 80 W (+18 Wh). Physically 20 W leave the battery. Avoided: "
        "80·(1/0.8 − 0.9)·0.25 = 7 Wh. 68.75 + 18 + 7 = 93.75 = 100 − 20·0.25/0.8.",
        "site": site(
            {
                "a": {"grid": 0.5, "solar": 0.0, "battery_energy": 0.25, "battery_power": 0.5},
                "b": {"grid": 0.5, "solar": 0.0, "battery_energy": 0.25, "battery_power": 0.5},
            },
            {"a": (100.0, 0.0)},
        ),
        "ticks": [tick({"a": 100.0, "b": 0.0}, charge_rates_w={"b": 80.0})],
        "expect": [
            {
                "a": {"battery_discharge_w": 100.0, "battery_level_wh": 68.75},
                "b": {"grid_to_battery_w": 80.0, "battery_level_wh": 18.0},
                "_site": {"netting_credit_wh": 7.0, "battery_level_wh": 7.0, "stored_carbon_g": 0.0},
                "site": {
                    "battery_discharge_w": 20.0,
                    "battery_charge_w": 0.0,
                    "import_w": 80.0,
                    "netting_spilled_wh": 0.0,
                    "netting_relief_w": 0.0,
                    "physical_level_wh": 93.75,
                },
            }
        ],
    },
    {
        "name": "without room at the site the avoided losses are spilled and relieve the import",
        "why": "As before, but a and b hold the whole battery. The level must fall by 31.25 − 18 = 13.25 Wh: 13.25·0.8/0.25 = 42.4 W "
        "of discharge, 22.4 W more than the net of 20 W. The import falls to 57.6 W.",
        "site": site({"a": HALF, "b": HALF}, {"a": (100.0, 0.0)}),
        "ticks": [tick({"a": 100.0, "b": 0.0}, charge_rates_w={"b": 80.0})],
        "expect": [
            {
                "_site": {"netting_credit_wh": 0.0, "battery_level_wh": 0.0, "capacity_wh": 0.0},
                "site": {
                    "battery_discharge_w": 42.4,
                    "import_w": 57.6,
                    "netting_spilled_wh": 7.0,
                    "netting_relief_w": 22.4,
                    "curtailed_w": 0.0,
                    "physical_level_wh": 86.75,
                },
            }
        ],
    },
    {
        "name": "relief that no import absorbs is curtailed",
        "why": "b's 80 W are solar, so nothing is imported: the 22.4 W are curtailed. 100 + 22.4 = 80 + 42.4.",
        "site": site({"a": HALF, "b": HALF | {"solar": 1.0}}, {"a": (100.0, 0.0)}),
        "ticks": [tick({}, solar_collected_w=80.0), tick({"a": 100.0})],
        "expect": [
            {},
            {
                "b": {"solar_to_battery_w": 80.0, "curtailed_w": 0.0},
                "site": {"battery_discharge_w": 42.4, "import_w": 0.0, "netting_relief_w": 22.4, "curtailed_w": 22.4},
            },
        ],
    },
    {
        "name": "energy above a new capacity moves to the site with its carbon",
        "why": "A quarter of 900 Wh is 225 Wh: 175 of 400 Wh move, and 175/400 of 100 g.",
        "site": site({"a": HALF}, {"a": (400.0, 100.0)}),
        "ticks": [tick({}, set_shares={"a": HALF | {"battery_energy": 0.25}})],
        "expect": [
            {
                "a": {"transfer_out_wh": 175.0, "battery_level_wh": 225.0, "stored_carbon_g": 56.25, "capacity_wh": 225.0},
                "_site": {"transfer_in_wh": 175.0, "battery_level_wh": 175.0, "stored_carbon_g": 43.75, "capacity_wh": 675.0},
                "site": {"physical_level_wh": 400.0},
            }
        ],
    },
    {
        "name": "what a leaving app held is the site's, its buffered solar too",
        "why": "80 Wh with 8 g move; the 100 Wh that a's share had collected reach the site in the next tick, as 400 W, and charge "
        "at 360 W: 0.9·360·0.25 = 81 Wh.",
        "site": site({"a": ALL}, {"a": (80.0, 8.0)}),
        "ticks": [tick({}, solar_collected_w=400.0), tick({}, leave=["a"])],
        "expect": [
            {},
            {
                "_site": {
                    "transfer_in_wh": 80.0,
                    "solar_w": 400.0,
                    "solar_to_battery_w": 360.0,
                    "curtailed_w": 40.0,
                    "battery_level_wh": 161.0,
                    "stored_carbon_g": 8.0,
                }
            },
        ],
    },
    {
        "name": "when the site is full too, the surplus goes where there is room",
        "why": "a keeps 180 of 450 Wh; 270 Wh with 54 of 90 g go to the site, which holds 450 of 450 Wh and then 720 Wh with 54 g. "
        "270 Wh must move on, with 270/720·54 = 20.25 g: the joining b has exactly that room.",
        "site": site({"a": HALF}, {"a": (450.0, 90.0), "_site": (450.0, 0.0)}),
        "ticks": [tick({}, set_shares={"a": HALF | {"battery_energy": 0.2}}, join={"b": HALF | {"battery_energy": 0.3}})],
        "expect": [
            {
                "a": {"transfer_out_wh": 270.0, "battery_level_wh": 180.0, "stored_carbon_g": 36.0},
                "_site": {"transfer_in_wh": 270.0, "transfer_out_wh": 270.0, "battery_level_wh": 450.0, "stored_carbon_g": 33.75},
                "b": {"transfer_in_wh": 270.0, "battery_level_wh": 270.0, "stored_carbon_g": 20.25},
                "site": {"physical_level_wh": 900.0},
            }
        ],
    },
    {
        "name": "a measured shortfall falls on the site first, then pro rata",
        "why": "30 Wh are missing: the site's 10 Wh, then 20 Wh of 90 Wh: 13.33 of 60 and 6.67 of 30. The carbon stays.",
        "site": site(
            {"a": HALF | {"battery_energy": 0.3}, "b": HALF | {"battery_energy": 0.3}},
            {"a": (60.0, 6.0), "b": (30.0, 0.0), "_site": (10.0, 0.0)},
        ),
        "ticks": [tick({}, adjust_wh=-30.0)],
        "expect": [
            {
                "a": {"battery_adjust_wh": -13.333333333333334, "battery_level_wh": 46.666666666666664, "stored_carbon_g": 6.0},
                "b": {"battery_adjust_wh": -6.666666666666667, "battery_level_wh": 23.333333333333332},
                "_site": {"battery_adjust_wh": -10.0, "battery_level_wh": 0.0},
                "site": {"physical_level_wh": 70.0},
            }
        ],
    },
    {
        "name": "an unknown intensity is not a clean one",
        "why": "The energy is bought and stored as ever; on import nothing is known, and the pool gets nothing. Stored carbon is used "
        "as ever: 20 W take 20·0.25/0.8 = 6.25 of 50 Wh, an eighth of 8 g.",
        "site": site({"a": HALF, "b": HALF}, {"b": (50.0, 8.0)}),
        "ticks": [
            tick({"a": 50.0, "b": 30.0}, intensity=None, charge_rates_w={"a": 100.0}, max_discharges_w={"b": 20.0}),
        ],
        "expect": [
            {
                "a": {
                    "grid_to_battery_w": 100.0,
                    "carbon_intensity_g_per_kwh": None,
                    "carbon_g": None,
                    "carbon_on_use_g": 0.0,
                    "stored_carbon_g": 0.0,
                    "battery_level_wh": 22.5,
                },
                "b": {"grid_to_load_w": 10.0, "carbon_g": None, "carbon_on_use_g": 1.0, "stored_carbon_g": 7.0},
            }
        ],
    },
]

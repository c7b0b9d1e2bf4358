"""The same three apps on two grids: `python compare.py` with ECOVISOR_DATA naming the folder that holds `carbon/`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ecovisor.adapters.scenario_files import load_scenario
from ecovisor.assembly import simulate
from ecovisor.model.summary import AppSummary

SCENARIO = Path(__file__).with_name("scenario.toml")
GRIDS = {
    # Electricity Maps, hourly, life-cycle.
    "California": ["file=carbon/em_caiso_2020_2022_hourly_mix.csv.gz"],
    # Let's Wait Awhile, 15 min, from generation; two of its steps are 30 min long, hence `fill`.
    "Germany": ["file=carbon/lets_wait_awhile_2020_DE_15min.csv.gz", "fill=previous"],
}


def apps_on(grid: str, data: Path, overrides: Sequence[str] = ()) -> list[AppSummary]:
    """What the scenario's apps come to on one grid."""
    settings = [f"signals.carbon.{setting}" for setting in GRIDS[grid]]
    scenario, _ = load_scenario(str(SCENARIO), [*settings, *overrides])
    return [app for app in simulate(scenario, data).summary.apps if app.app != "_site"]


def main(overrides: Sequence[str] = ()) -> int:
    """Print one line per app."""
    data = Path(os.environ.get("ECOVISOR_DATA", ""))
    if not (data / "carbon").is_dir():
        print("set ECOVISOR_DATA to the folder that holds carbon/", file=sys.stderr)
        return 2
    print(f"{'app':<9}" + "".join(f"{grid:>14} [kg]   against agnostic" for grid in GRIDS))
    for lines in zip(*(apps_on(grid, data, overrides) for grid in GRIDS), strict=True):
        row = f"{lines[0].app:<9}"
        for app in lines:
            agnostic_g = app.baseline_carbon_g or app.carbon_g
            row += f"{app.carbon_g / 1000:>19.2f} {app.carbon_g / agnostic_g - 1:>+18.1%}"
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

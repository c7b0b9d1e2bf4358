"""Figure 9 of the Ecovisor paper, section 5.3.3: what each application's virtual battery does while both run on one physical battery.

Owns the comparison and its claims; `figure9_plot` draws it. The runs are those of Figure 8 with the applications' own policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ecovisor.studies.findings import Claim, Findings, Number, Table
from ecovisor.studies.study import Context
from ecovisor.studies.virtual_batteries import SPARK, WEB, Played, Setting
from ecovisor.studies.virtual_batteries_parameters import NOTES, origins, parameters
from ecovisor.studies.virtual_batteries_starts import inputs, mean_and_spread, percent, play, residual_wh, starts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SECTION = "section 5.3.3"
_SHOWN_DAYS = 3
#: Levels agree within this, [Wh]; a battery is active above this, [W].
_EXACT_WH, _ACTIVE_W = 1e-6, 1e-6
#: Patterns are alike where one explains this part of the other's variation.
_ALIKE_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Batteries:
    """What of a run is compared."""

    residual_wh: float
    """Largest difference of any tick between virtual and physical level. [Wh]"""
    explained_ratio: float
    """Squared correlation of the two net powers, while either battery does anything. [1]"""
    discharged_wh: tuple[float, float]
    """Spark, web. [Wh]"""
    least_ratio: tuple[float, float]
    """Lowest level over usable capacity. [1]"""


class Figure9:
    """State of charge and power of two virtual batteries."""

    name = "fig9"
    title = "Virtual batteries on one physical battery: state of charge and power of each"
    source = "Ecovisor (ASPLOS 2023), Figure 9, section 5.3"

    def run(self, context: Context) -> Findings:
        """See `Study`."""
        setting = Setting()
        given = inputs(context.traces, setting)
        drawn = starts(max(context.seeds, 1), context.seed)
        found: list[Batteries] = []
        table: Table | None = None
        for done, start in enumerate(drawn):
            context.progress("random starts", done / len(drawn))
            played = play(setting, given, start, dynamic=True, least_days=_SHOWN_DAYS)
            table = table or _minutes(played, setting)
            found.append(_batteries(played))
        assert table is not None, "there is at least one start"
        return Findings(
            numbers=_numbers(found),
            claims=_claims(found),
            parameters=parameters(setting, given),
            tables={"minutes": table},
            origins=origins(given, drawn[0]),
            notes=[
                *NOTES,
                "Physical power is less than the sum of the virtual powers by what netting one battery's charge against the other's "
                "discharge saves; the levels sum exactly.",
                f"The picture is the first of {len(drawn)} random starts, the same as in Figure 8.",
            ],
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """See `Study`."""
        from ecovisor.studies.figure9_plot import draw

        return draw(findings)


def _net_w(flows: Mapping[str, Any]) -> Floats:
    """What flows into a battery, less what flows out. [W]"""
    return np.asarray(flows["solar_to_battery_w"] + flows["grid_to_battery_w"] + flows["received_w"] - flows["battery_discharge_w"])


def _batteries(played: Played) -> Batteries:
    apps = [played.tables.of("flows", app=name) for name in (SPARK, WEB)]
    spark_w, web_w = (_net_w(one) for one in apps)
    active = (np.abs(spark_w) > _ACTIVE_W) | (np.abs(web_w) > _ACTIVE_W)
    hours_h = 1.0 / 60.0
    return Batteries(
        residual_wh=float(np.abs(residual_wh(played)).max()),
        explained_ratio=float(np.corrcoef(spark_w[active], web_w[active])[0, 1] ** 2),
        discharged_wh=(
            float(apps[0]["battery_discharge_w"].sum() * hours_h),
            float(apps[1]["battery_discharge_w"].sum() * hours_h),
        ),
        least_ratio=(_least_ratio(apps[0]), _least_ratio(apps[1])),
    )


def _least_ratio(flows: Mapping[str, Any]) -> float:
    return float((flows["battery_level_wh"] / flows["capacity_wh"]).min())


def _minutes(played: Played, setting: Setting) -> Table:
    """A row a minute of the start that is shown; states of charge are of the nominal capacity, what is below "empty" included."""
    ticks = _SHOWN_DAYS * 1440
    site, battery = played.tables.site, setting.battery
    columns: dict[str, Floats] = {"time_h": (site["time"][:ticks] - site["time"][0]) / 3600.0}
    nominal_wh = 0.5 * battery.capacity_wh
    for name in (SPARK, WEB):
        flows = played.tables.of("flows", app=name)
        columns[f"{name}_soc_percent"] = 100.0 * (battery.empty_ratio + flows["battery_level_wh"][:ticks] / nominal_wh)
        columns[f"{name}_battery_w"] = _net_w(flows)[:ticks]
    physical_wh = np.asarray(site["physical_level_wh"][:ticks])
    columns["physical_soc_percent"] = 100.0 * (battery.empty_ratio + physical_wh / battery.capacity_wh)
    columns["physical_battery_w"] = np.asarray(site["battery_charge_w"] - site["battery_discharge_w"])[:ticks]
    columns["empty_percent"] = np.full(ticks, 100.0 * battery.empty_ratio)
    columns["residual_wh"] = residual_wh(played)[:ticks]
    assert played.web is not None, "both applications ran"
    columns["requests_per_s"] = played.web.column("requests_per_s")[:ticks]
    return Table(columns={name: values.tolist() for name, values in columns.items()})


def _numbers(found: Sequence[Batteries]) -> list[Number]:
    def one(name: str, unit: str, values: Sequence[float], paper: float | None = None) -> Number:
        mean, spread = mean_and_spread(values)
        return Number(name=name, unit=unit, paper=paper, ours=mean, spread=spread)

    return [
        one("Sum of virtual levels less the physical level, largest of any tick", "Wh", [each.residual_wh for each in found], 0.0),
        one("Variation of one battery's power that the other's explains", "%", [100.0 * each.explained_ratio for each in found]),
        one("Spark: energy discharged", "Wh", [each.discharged_wh[0] for each in found]),
        one("Web: energy discharged", "Wh", [each.discharged_wh[1] for each in found]),
        one("Spark: lowest level of its usable capacity", "%", [100.0 * each.least_ratio[0] for each in found]),
        one("Web: lowest level of its usable capacity", "%", [100.0 * each.least_ratio[1] for each in found]),
    ]


def _claims(found: Sequence[Batteries]) -> list[Claim]:
    count = len(found)
    differ = [one.explained_ratio < _ALIKE_RATIO for one in found]
    exact = [one.residual_wh <= _EXACT_WH for one in found]
    most_ratio, residual = max(one.explained_ratio for one in found), max(one.residual_wh for one in found)
    return [
        Claim(
            text="The two applications' battery usage patterns differ significantly",
            held=all(differ),
            evidence=f"one's power explains at most {percent(most_ratio)} of the other's variation, less than {percent(_ALIKE_RATIO)} in "
            f"{sum(differ)} of {count} starts",
            source=_SECTION,
        ),
        Claim(
            text="Virtual batteries sum to the physical one in every tick",
            held=all(exact),
            evidence=f"largest difference {residual:.1e} Wh, in {sum(exact)} of {count} starts",
            source="section 3.3",
        ),
    ]

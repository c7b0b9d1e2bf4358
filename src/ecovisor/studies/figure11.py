"""Figure 11: excess sun that cannot be stored runs slow tasks a second time.

`direct_solar_replicas` runs it, `figure11_claims` judges, `figure11_reruns` explains, `figure11_plot` draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from ecovisor.studies import direct_solar as ds
from ecovisor.studies.direct_solar_replicas import Outcome, Setting, at, play
from ecovisor.studies.figure11_claims import claims, numbers, parameters
from ecovisor.studies.figure11_reruns import reruns
from ecovisor.studies.findings import Findings, Table
from ecovisor.studies.study import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS_PERCENT = (100, 125, 150, 175, 200, 250, 300)


class Figure11:
    """Replicas against stragglers on excess sun."""

    name = "fig11"
    title = "Replicas against stragglers on excess sun"
    source = "Ecovisor (ASPLOS 2023), Figure 11, section 5.4"

    def run(self, context: Context) -> Findings:
        """See `Study`."""
        setting, day = Setting(), context.traces.solar_day(ds.PEAK_W)
        seeds = [context.seed + k for k in range(context.seeds)]
        outcomes: list[Outcome] = []
        for k, level in enumerate(LEVELS_PERCENT):
            for j, seed in enumerate(seeds):
                context.progress(f"{level} % of the sun", 0.8 * (k + j / len(seeds)) / len(LEVELS_PERCENT))
                outcomes.append(play(setting, day, level, seed))
        context.progress("one factor changed at a time", 0.8)
        return Findings(
            numbers=numbers(outcomes, LEVELS_PERCENT),
            claims=claims(outcomes, LEVELS_PERCENT),
            parameters=parameters(setting, context.seeds),
            tables={"levels": _levels_table(outcomes), "starts": _starts_table(outcomes)},
            reruns=reruns(setting, day, outcomes, seeds),
            origins={"solar": ds.told(day)},
            notes=[
                "The picture of figure 11 has no numbers in its text; its axes could not be had. Only directions are compared.",
                "Without replicas the same job runs under equal caps: what replicas add is the difference at the same sun.",
                "At 100 % the sun is enough for ten nodes at full power only at the day's brightest; on a day with clouds more sun "
                "first of all brings the ten nodes nearer to full power.",
                ds.NO_BOUND,
                "Power of a suspended container is 0: spare nodes are asleep until they are needed, and wake at once.",
            ],
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """See `Study`."""
        from ecovisor.studies.figure11_plot import draw

        return draw(findings)


def _values(one: Outcome) -> dict[str, float]:
    return {
        "runtime_h": one.replicas.runtime_h,
        "without_runtime_h": one.without.runtime_h,
        "shortened_percent": one.shortened_percent,
        "efficiency_node_s_per_kj": one.replicas.efficiency_node_s_per_kj,
        "without_efficiency_node_s_per_kj": one.without.efficiency_node_s_per_kj,
        "energy_wh": one.replicas.energy_wh,
        "without_energy_wh": one.without.energy_wh,
        "wasted_wh": one.wasted_wh,
        "offered_wh": one.offered_wh,
        "replicas_issued": one.issued,
        "replicas_won": one.won,
    }


def _levels_table(outcomes: Sequence[Outcome]) -> Table:
    """Means and standard deviations over the starts."""
    columns: dict[str, list[float]] = {"level_percent": [float(level) for level in LEVELS_PERCENT]}
    for name in _values(outcomes[0]):
        here = [[_values(one)[name] for one in at(outcomes, level)] for level in LEVELS_PERCENT]
        columns[name] = [fmean(values) for values in here]
        columns[f"{name}_spread"] = [pstdev(values) for values in here]
    return Table(columns=columns)


def _starts_table(outcomes: Sequence[Outcome]) -> Table:
    """Every pair of runs."""
    columns: dict[str, list[float]] = {
        "level_percent": [float(one.level_percent) for one in outcomes],
        "seed": [float(one.seed) for one in outcomes],
    }
    return Table(columns=columns | {name: [_values(one)[name] for one in outcomes] for name in _values(outcomes[0])})

"""Figure 10: a synchronous parallel job on ten nodes and nothing but sun, with the system's equal caps and the application's balanced ones.

`direct_solar_caps` runs it, `figure10_claims` judges, `figure10_reruns` explains, `figure10_plot` draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, pstdev
from typing import TYPE_CHECKING

from ecovisor.model.series import Series
from ecovisor.studies import direct_solar as ds
from ecovisor.studies.direct_solar_caps import Outcome, Setting, at, play
from ecovisor.studies.figure10_claims import claims, numbers, parameters
from ecovisor.studies.figure10_reruns import reruns
from ecovisor.studies.findings import Findings, Table
from ecovisor.studies.study import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEVELS_PERCENT = tuple(range(10, 100, 10))
#: Steps of a job that does not end within the day that panels (a) and (b) show.
_ENDLESS = 10_000


class Figure10:
    """Static and dynamic power caps on nothing but sun."""

    name = "fig10"
    title = "Power caps of a parallel job on nothing but sun"
    source = "Ecovisor (ASPLOS 2023), Figure 10, section 5.4"

    def run(self, context: Context) -> Findings:
        """See `Study`."""
        setting, day = Setting(), context.traces.solar_day(ds.PEAK_W)
        seeds = [context.seed + k for k in range(context.seeds)]
        outcomes: list[Outcome] = []
        for level in LEVELS_PERCENT:
            for k, seed in enumerate(seeds):
                context.progress(f"{level} % of the sun", 0.8 * _done(level, k / len(seeds)))
                outcomes.append(play(setting, day, level, seed))
        context.progress("a whole day", 0.8)
        noted = _day(setting, day, context.seed)
        context.progress("one factor changed at a time", 0.85)
        return Findings(
            numbers=numbers(outcomes, LEVELS_PERCENT),
            claims=claims(outcomes, LEVELS_PERCENT, noted),
            parameters=parameters(setting, context.seeds),
            tables={
                "day": _day_table(noted),
                "caps": _caps_table(noted["dynamic"]),
                "levels": _levels_table(outcomes),
                "starts": _starts_table(outcomes),
            },
            reruns=reruns(setting, day, outcomes, seeds),
            origins={"solar": ds.told(day)},
            notes=_notes(outcomes),
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """See `Study`."""
        from ecovisor.studies.figure10_plot import draw

        return draw(findings)


def _done(level_percent: int, part: float) -> float:
    """Part of all runs that is done: at little sun they are long."""
    whole = sum(1.0 / level for level in LEVELS_PERCENT)
    return (sum(1.0 / level for level in LEVELS_PERCENT if level < level_percent) + part / level_percent) / whole


def _day(setting: Setting, day: Series, seed: int) -> dict[str, ds.Noted]:
    """The sunlit day, at all of the sun, under both policies, with a job that does not end in it."""
    solar = ds.sunlit(day, 1.0, 0, ds.TO_H - ds.FROM_H)
    noted = {"static": ds.Noted(setting.static()), "dynamic": ds.Noted(setting.dynamic())}
    for one in noted.values():
        ds.run(replace(setting, steps=_ENDLESS).job(seed), one, solar, server=setting.server)
    return noted


def _hours(noted: ds.Noted) -> list[float]:
    return [ds.FROM_H + k * ds.TICK_S / ds.HOUR_S for k in range(len(noted.solar_w))]


def _day_table(noted: dict[str, ds.Noted]) -> Table:
    """Panel (a). What was served in a tick is known in the next, so the last tick has none."""
    rows = len(noted["dynamic"].solar_w) - 1
    columns = {"hour_h": _hours(noted["dynamic"])[:rows], "solar_w": noted["dynamic"].solar_w[:rows]}
    return Table(columns=columns | {f"{name}_w": one.before_w[1:] for name, one in noted.items()})


def _caps_table(dynamic: ds.Noted) -> Table:
    """Panel (b): each cap over the static one of the same minute, which is an equal part of the sun."""
    columns: dict[str, list[float]] = {"hour_h": _hours(dynamic), "static_cap_w": [solar / ds.NODES for solar in dynamic.solar_w]}
    for k in range(ds.NODES):
        columns[f"worker{k + 1}"] = [
            caps[k] * ds.NODES / solar if solar > 0.0 else float("nan")
            for caps, solar in zip(dynamic.caps_w, dynamic.solar_w, strict=True)
        ]
    return Table(columns=columns)


def _levels_table(outcomes: Sequence[Outcome]) -> Table:
    """Panel (c): means and standard deviations over the starts."""
    rows: list[dict[str, float]] = []
    for level in LEVELS_PERCENT:
        here = at(outcomes, level)
        row: dict[str, float] = {"level_percent": level}
        for name, values in (
            ("improvement_percent", [one.improvement_percent for one in here]),
            *((f"{policy}_{what}", values) for policy in ("static", "dynamic") for what, values in _of(here, policy).items()),
        ):
            row |= {name: fmean(values), f"{name}_spread": pstdev(values)}
        rows.append(row)
    return Table(columns={name: [row[name] for row in rows] for name in rows[0]})


def _of(outcomes: Sequence[Outcome], policy: str) -> dict[str, list[float]]:
    runs = [(one.begin, one.static if policy == "static" else one.dynamic) for one in outcomes]
    return {
        "runtime_h": [run.runtime_h for _, run in runs],
        "with_nights_h": [ds.with_nights_h(run.runtime_h, begin) for begin, run in runs],
        "efficiency_node_s_per_kj": [run.efficiency_node_s_per_kj for _, run in runs],
    }


def _starts_table(outcomes: Sequence[Outcome]) -> Table:
    """Every pair of runs."""
    columns: dict[str, list[float]] = {
        "level_percent": [one.level_percent for one in outcomes],
        "seed": [one.seed for one in outcomes],
        "begin_minute": [one.begin for one in outcomes],
    }
    for policy in ("static", "dynamic"):
        columns |= {f"{policy}_{what}": values for what, values in _of(outcomes, policy).items()}
        columns[f"{policy}_energy_wh"] = [(one.static if policy == "static" else one.dynamic).energy_wh for one in outcomes]
    return Table(columns=columns)


def _notes(outcomes: Sequence[Outcome]) -> list[str]:
    days = {
        level: max(one.static.runtime_h for one in at(outcomes, level)) / (ds.TO_H - ds.FROM_H) for level in (LEVELS_PERCENT[0], 20)
    }
    return [
        "Figure 10(c) prints no numbers: only its directions and its axes (0 to 50 %, 0 to 80 per joule without a scale) can be compared.",
        f"With little sun the job takes longer than the day: up to {days[10]:.1f} days of sun at 10 %, {days[20]:.1f} at 20 %. "
        "The same sunlit hours are repeated then; nights are left out of run times.",
        f"At 10 % the sun never carries the idle power of ten nodes ({ds.NODES * ds.SERVER.power_curve_w[0]:.1f} W), so that caps for "
        "all ten at once, as the paper words its static policy, would never run anything.",
        "The dynamic policy sees nothing but each container's power and cap. It knows neither the imbalance nor the stragglers.",
        "Power of a suspended container is 0: the nodes are taken to sleep and to wake at once.",
        ds.NO_BOUND,
    ]

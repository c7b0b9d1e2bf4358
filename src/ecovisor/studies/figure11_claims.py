"""What the paper says of figure 11, held against the runs; the numbers beside it, and every assumption with its reason.

`direct_solar_replicas` has the runs, `figure11_reruns` what explains them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean, pstdev

from ecovisor.studies import direct_solar as ds
from ecovisor.studies.direct_solar_replicas import Outcome, Setting, at
from ecovisor.studies.findings import Claim, Number, Parameter

#: Its reruns name it.
EFFICIENCY_FALLS = "The more excess sun there is, the less work is done with each joule, for it is spent on replicas"

_TEXT, _TAKEAWAY = "section 5.4.2", "section 5.4, Key Takeaway"
_ROUNDING_WH, _ROUNDING_PERCENT = 1e-9, 1e-9


def mean_at(outcomes: Sequence[Outcome], levels: Sequence[int], value: Callable[[Outcome], float]) -> list[float]:
    """Mean over the starts at each multiple of the sun."""
    return [fmean(map(value, at(outcomes, level))) for level in levels]


def numbers(outcomes: Sequence[Outcome], levels: Sequence[int]) -> list[Number]:
    """What figure 11 shows. The paper prints no numbers, and its axes are lost with the picture."""
    rows = []
    shown: tuple[tuple[str, str, Callable[[Outcome], float]], ...] = (
        ("run time", "h", lambda one: one.replicas.runtime_h),
        ("run time shortened by replicas", "%", lambda one: one.shortened_percent),
        ("work per energy", "node-s/kJ", lambda one: one.replicas.efficiency_node_s_per_kj),
        ("energy of discarded work", "Wh", lambda one: one.wasted_wh),
    )
    for name, unit, value in shown:
        for level in levels:
            values = [value(one) for one in at(outcomes, level)]
            row = Number(name=f"{name}, {level} % of the sun", unit=unit, paper=None, ours=fmean(values), spread=pstdev(values))
            rows.append(row)
    return rows


def claims(outcomes: Sequence[Outcome], levels: Sequence[int]) -> list[Claim]:
    """Every sentence with a direction."""
    runtime_h = mean_at(outcomes, levels, lambda one: one.replicas.runtime_h)
    efficiency = mean_at(outcomes, levels, lambda one: one.replicas.efficiency_node_s_per_kj)
    wasted_wh = mean_at(outcomes, levels, lambda one: one.wasted_wh)
    issued = mean_at(outcomes, levels, lambda one: one.issued)
    won = mean_at(outcomes, levels, lambda one: one.won)
    middle = len(levels) // 2
    saved_h = [(runtime_h[a] - runtime_h[b]) / (levels[b] - levels[a]) for a, b in ((0, middle), (middle, len(levels) - 1))]
    rises = [f"{a} to {b} %" for (a, b), (x, y) in zip(pairwise(levels), pairwise(efficiency), strict=True) if y >= x]
    excess = [one for one in outcomes if one.issued > 0.0]
    sooner = [one for one in excess if one.shortened_percent > 0.0]
    later = [one for one in excess if one.shortened_percent < -_ROUNDING_PERCENT]
    gained = mean_at(outcomes, levels, lambda one: one.shortened_percent)
    sure = [level for level, count in zip(levels, issued, strict=True) if count > 0.0]
    first, last = levels.index(sure[0]) if sure else 0, len(levels) - 1
    lost_wh = max(one.imported_wh + one.unserved_wh for out in outcomes for one in (out.without, out.replicas))
    used = mean_at(outcomes, sure, lambda one: one.replicas.energy_wh / one.offered_wh)
    used_without = mean_at(outcomes, sure, lambda one: one.without.energy_wh / one.offered_without_wh)
    return [
        Claim(
            text="The more excess sun there is, the sooner the job with replicas is done",
            held=all(later < earlier for earlier, later in pairwise(runtime_h)),
            evidence=_listed(levels, runtime_h, "h"),
            source=_TEXT,
        ),
        Claim(
            text="More and more sun shortens the run less and less",
            held=saved_h[1] < saved_h[0],
            evidence=f"{25.0 * saved_h[0]:.2f} h for each 25 % of the sun between {levels[0]} and {levels[middle]} %, "
            f"{25.0 * saved_h[1]:.2f} h between {levels[middle]} and {levels[-1]} %",
            source=_TEXT,
        ),
        Claim(
            text="The more replicas are submitted, the smaller the part of them that comes to anything",
            held=last > first and won[last] / issued[last] < won[first] / issued[first] and issued[last] > issued[first],
            evidence=f"{won[first]:.1f} of {issued[first]:.1f} replicas finish first at {levels[first]} % of the sun, "
            f"{won[last]:.1f} of {issued[last]:.1f} at {levels[last]} %",
            source=_TEXT,
        ),
        Claim(
            text=EFFICIENCY_FALLS,
            held=not rises,
            evidence=f"{_listed(levels, efficiency, 'node-s/kJ')}; "
            + (f"rises from {', '.join(rises)}" if rises else "falls at every step"),
            source=_TEXT,
        ),
        Claim(
            text="The more excess sun there is, the more energy goes into work that is discarded",
            held=all(later > earlier for earlier, later in pairwise(wasted_wh)),
            evidence=_listed(levels, wasted_wh, "Wh"),
            source=_TEXT,
        ),
        Claim(
            text="With replicas the job is done sooner than under the same sun without them, and never later",
            held=not later and bool(sure) and all(gained[levels.index(level)] > 0.0 for level in sure),
            evidence=f"sooner in {len(sooner)} and later in {len(later)} of {len(excess)} pairs of runs in which there were any; "
            f"shortened by {_listed(levels, gained, '%')}",
            source=_TAKEAWAY,
        ),
        Claim(
            text="Replicas use sun that would be wasted otherwise",
            held=bool(sure) and all(a > b for a, b in zip(used, used_without, strict=True)),
            evidence="; ".join(
                f"{100.0 * a:.0f} % of the sun is used at {level} %, {100.0 * b:.0f} % without"
                for level, a, b in zip(sure, used, used_without, strict=True)
            ),
            source=_TEXT,
        ),
        Claim(
            text="Nothing is imported and nothing goes short",
            held=lost_wh <= _ROUNDING_WH,
            evidence=f"import and unserved demand of all {2 * len(outcomes)} runs {lost_wh:.1g} Wh",
            source="section 5.4",
        ),
    ]


def _listed(levels: Sequence[int], values: Sequence[float], unit: str) -> str:
    digits = 0 if max(map(abs, values)) >= 20.0 else 1 if max(map(abs, values)) >= 5.0 else 2
    return ", ".join(f"{value:.{digits}f} {unit} at {level} %" for level, value in zip(levels, values, strict=True))


def parameters(setting: Setting, starts: int) -> list[Parameter]:
    """What went in."""
    idle_w, full_w = setting.server.power_curve_w[0], setting.server.power_curve_w[-1]
    return [
        Parameter(name="tasks of a round", value=f"{ds.NODES}, a node each", kind="paper", source="section 5.4.1"),
        Parameter(
            name="node",
            value=f"microserver with GPU, {idle_w:g} W idle, {full_w:g} W at full load",
            kind="assumed",
            source="as in figure 10: ten of these need just the peak of figure 10(a)",
        ),
        Parameter(
            name="sun",
            value="that of figure 10(a), times 1 to 3",
            kind="assumed",
            source="“as we scale the solar output from Figure 10(a) up”; how far is only in the picture",
        ),
        Parameter(
            name="spare nodes",
            value=f"{setting.spares}, asleep until they are needed",
            kind="assumed",
            source="as many as three times the sun could run",
        ),
        Parameter(
            name="job",
            value=f"{setting.rounds} rounds of tasks of {setting.compute_s:g} s at full power",
            kind="assumed",
            source="the paper's job is synthetic and not described; this one takes some hours",
        ),
        Parameter(
            name="stragglers",
            value=f"{setting.straggler_ratio:.0%} of the tries, up to {setting.straggler_worst:g}× longer, uniform, at full power",
            kind="assumed",
            source="“we randomly inject straggler tasks”, neither how many nor how slow",
        ),
        Parameter(
            name="slow",
            value="a task that after 20 % of its work turns out to take 1.5× longer or more",
            kind="assumed",
            source="“tracking the progress of each task, issuing a new replica for any slow task”",
        ),
        Parameter(
            name="replicas of a task",
            value=f"up to {setting.most_replicas} at a time, and only where a new try at full speed would be sooner",
            kind="assumed",
            source="the paper has several: “at most one replica task will finish”",
        ),
        Parameter(
            name="beginning of a run",
            value=f"at random between {ds.FROM_H} and {ds.TO_H} h; longer runs go on the next day, nights are left out",
            kind="assumed",
            source="as in figure 10",
        ),
        Parameter(name="tick", value=f"{setting.tick_s:g} s", kind="paper", source="section 3.1: power is discretised to minutes"),
        Parameter(name="starts", value=str(starts), kind="assumed", source="each has its own stragglers and time to begin"),
    ]

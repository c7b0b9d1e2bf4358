"""What the paper says of figure 10, held against the runs; the numbers beside it, and every assumption with its reason.

`direct_solar_caps` has the runs, `figure10_reruns` what explains them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, pstdev

from ecovisor.studies import direct_solar as ds
from ecovisor.studies.direct_solar_caps import Outcome, Setting, at
from ecovisor.studies.findings import Claim, Number, Parameter

#: Its reruns name it.
EFFICIENCY_RISES = "The more sun there is, the more work is done with each joule"

_TEXT, _CAPTION, _TAKEAWAY = "section 5.4.2", "caption of figure 10", "section 5.4, Key Takeaway"
#: Caps above the sun by less than this are rounding. [W]
_ROUNDING_W = 1e-9


def means(outcomes: Sequence[Outcome], levels: Sequence[int]) -> list[float]:
    """Mean improvement of the run time at each part of the sun. [%]"""
    return [fmean(one.improvement_percent for one in at(outcomes, level)) for level in levels]


def efficiencies(outcomes: Sequence[Outcome], levels: Sequence[int]) -> list[float]:
    """Mean work per energy under the dynamic policy at each part of the sun. [node-s/kJ]"""
    return [fmean(one.dynamic.efficiency_node_s_per_kj for one in at(outcomes, level)) for level in levels]


def rank_correlation(rising: Sequence[float], values: Sequence[float]) -> float:
    """Spearman's coefficient of values, none twice, with something that rises. [−1..1]"""
    count = len(rising)
    ranks = {value: k for k, value in enumerate(sorted(values))}
    apart = sum((k - ranks[value]) ** 2 for k, value in enumerate(values))
    return 1.0 - 6.0 * apart / (count * (count**2 - 1))


def numbers(outcomes: Sequence[Outcome], levels: Sequence[int]) -> list[Number]:
    """What figure 10(c) shows. The paper prints no numbers; its axes end at 50 % and, without a scale, at 80 per joule."""
    rows = []
    for level in levels:
        values = [one.improvement_percent for one in at(outcomes, level)]
        rows.append(
            Number(
                name=f"run time shortened, {level} % of the sun", unit="%", paper=None, ours=fmean(values), spread=pstdev(values)
            )
        )
    for level in levels:
        values = [one.dynamic.efficiency_node_s_per_kj for one in at(outcomes, level)]
        name = f"work per energy, dynamic, {level} % of the sun"
        rows.append(Number(name=name, unit="node-s/kJ", paper=None, ours=fmean(values), spread=pstdev(values)))
    return rows


def claims(outcomes: Sequence[Outcome], levels: Sequence[int], noted: Mapping[str, ds.Noted]) -> list[Claim]:
    """Every sentence with a direction."""
    shorter, efficiency = means(outcomes, levels), efficiencies(outcomes, levels)
    wins = sum(one.improvement_percent > 0.0 for one in outcomes)
    faster = min(shorter) > 0.0
    third = len(levels) // 3
    low, high, ranks = fmean(shorter[:third]), fmean(shorter[-third:]), rank_correlation(levels, shorter)
    falls = [f"{a} to {b} %" for (a, b), (x, y) in zip(pairwise(levels), pairwise(efficiency), strict=True) if y <= x]
    better = sum(one.dynamic.efficiency_node_s_per_kj > one.static.efficiency_node_s_per_kj for one in outcomes)
    over_w = max(one.most_over_w for one in noted.values())
    lost_wh = max(one.imported_wh + one.unserved_wh for out in outcomes for one in (out.static, out.dynamic))
    apart = _spread(noted["dynamic"])
    by_level = ", ".join(f"{value:.0f} % at {level} %" for level, value in zip(levels, shorter, strict=True))
    return [
        Claim(
            text="The dynamic policy finishes the job sooner than the static one, however much sun there is",
            held=faster,
            evidence=f"run time shortened by {by_level} of the sun; shorter in {wins} of {len(outcomes)} pairs of runs",
            source=_CAPTION,
        ),
        Claim(
            text="The less sun there is, the more balancing the power shortens the run",
            held=low > high and ranks < -0.6,
            evidence=f"{low:.0f} % on average at {_span(levels[:third])} of the sun, {high:.0f} % at {_span(levels[-third:])}; "
            f"rank correlation with the sun {ranks:+.2f}",
            source=_TEXT,
        ),
        Claim(
            text=EFFICIENCY_RISES,
            held=not falls,
            evidence=f"{efficiency[0]:.0f} node-s/kJ at {levels[0]} % of the sun, {min(efficiency):.0f} at the least, "
            f"{efficiency[-1]:.0f} at {levels[-1]} %; " + (f"falls from {', '.join(falls)}" if falls else "rises at every step"),
            source=_TEXT,
        ),
        Claim(
            text="The dynamic policy does more work with each joule than the static one",
            held=better == len(outcomes),
            evidence=f"in {better} of {len(outcomes)} pairs of runs",
            source=_CAPTION,
        ),
        Claim(
            text="The dynamic caps differ from node to node and over the day",
            held=apart > 0.05,
            evidence=f"standard deviation {apart:.2f} of the static cap, over nodes and minutes",
            source=_TEXT,
        ),
        Claim(
            text="The containers' caps together never exceed the sun, so that nothing is imported and nothing goes short",
            held=over_w <= _ROUNDING_W and lost_wh <= _ROUNDING_W,
            evidence=f"sum of the caps above the sun by {max(0.0, over_w):.1g} W at most, in {sum(len(n.solar_w) for n in noted.values())} "
            f"ticks; import and unserved demand of all {2 * len(outcomes)} runs {lost_wh:.1g} Wh",
            source="section 5.4",
        ),
        Claim(
            text="The application's policy improves both performance and the use of the sun over the system's",
            held=faster and better == len(outcomes),
            evidence=f"sooner at all of {len(levels)} levels: {faster}; more work per joule in {better} of {len(outcomes)} pairs",
            source=_TAKEAWAY,
        ),
    ]


def _span(levels: Sequence[int]) -> str:
    return f"{levels[0]} to {levels[-1]} %"


def _spread(noted: ds.Noted) -> float:
    """Standard deviation of the caps of running containers over the static cap."""
    ratios = [
        cap * len(caps) / solar
        for caps, solar in zip(noted.caps_w, noted.solar_w, strict=True)
        for cap in caps
        if solar > 0.0 and not math.isnan(cap)
    ]
    return pstdev(ratios)


def parameters(setting: Setting, starts: int) -> list[Parameter]:
    """What went in."""
    idle_w, full_w = setting.server.power_curve_w[0], setting.server.power_curve_w[-1]
    return [
        Parameter(name="nodes", value=str(ds.NODES), kind="paper", source="section 5.4.1"),
        Parameter(name="peak of the sun", value=f"{ds.PEAK_W:.0f} W", kind="paper", source="axis of figure 10(a)"),
        Parameter(
            name="hours of the day", value=f"{ds.FROM_H} to {ds.TO_H} h", kind="paper", source="axes of figures 10(a) and (b)"
        ),
        Parameter(
            name="node",
            value=f"microserver with GPU, {idle_w:g} W idle, {full_w:g} W at full load",
            kind="assumed",
            source="section 4 has it; section 5.4 does not say which node was used. Ten of these use just the peak of figure 10(a), "
            "ten without GPU only half of it",
        ),
        Parameter(
            name="battery and grid", value="none", kind="paper", source="section 5.4: “without any battery capacity”; sun alone"
        ),
        Parameter(
            name="steps",
            value=f"{setting.steps} of {setting.compute_s:g} s at full power on an average node, and {setting.io_s:g} s of I/O",
            kind="assumed",
            source="the paper's job is synthetic and not described; this one takes some hours at 90 % of the sun",
        ),
        Parameter(
            name="imbalance",
            value=f"the nodes' parts of the work differ by {setting.imbalance_ratio:.0%} (standard deviation)",
            kind="assumed",
            source="not stated; data-parallel jobs whose shards differ somewhat. See the rerun without it",
        ),
        Parameter(
            name="stragglers",
            value=f"{setting.straggler_ratio:.0%} of the nodes' steps, up to {setting.straggler_worst:g}× longer, uniform",
            kind="assumed",
            source="not stated for this configuration. See the rerun without them",
        ),
        Parameter(
            name="too little sun for all",
            value=f"a container runs only at {setting.least_ratio:g}× its idle power or more; as many as that is enough for, in turn",
            kind="assumed",
            source=f"ten nodes idle at {10 * idle_w:.1f} W, more than 10 % of the peak: the paper must have done something. "
            "This is the nearest to caps for all ten that runs at 10 %; under both policies alike",
        ),
        Parameter(
            name="beginning of a run",
            value=f"at random between {ds.FROM_H} and {ds.TO_H} h",
            kind="assumed",
            source="the paper does not say. On a day with clouds a run time depends on where it ends; drawn, this averages out",
        ),
        Parameter(
            name="runs longer than a day",
            value="the same hours of the day again, without the nights; run times are in hours of sun",
            kind="assumed",
            source="there is one day. Column `*_with_nights_h` of table `levels` counts the nights",
        ),
        Parameter(name="tick", value=f"{setting.tick_s:g} s", kind="paper", source="section 3.1: power is discretised to minutes"),
        Parameter(
            name="starts", value=str(starts), kind="assumed", source="each has its own imbalance, stragglers and time to begin"
        ),
    ]

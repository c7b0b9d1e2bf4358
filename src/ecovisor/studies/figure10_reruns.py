"""Figure 10 again with one factor changed, to see what its improvement and its efficiency come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from ecovisor.model.series import Series
from ecovisor.presets import SERVERS, ServerParameters
from ecovisor.studies import direct_solar as ds
from ecovisor.studies.direct_solar_caps import Outcome, Setting, at, play
from ecovisor.studies.figure10_claims import EFFICIENCY_RISES
from ecovisor.studies.findings import Rerun

#: Half the sun: enough for all nodes most of the day, and little enough for caps to matter. [%]
LEVEL_PERCENT = 50
#: Starts that are run again at most.
STARTS = 5
FRUGAL = ServerParameters(ds.SERVER.cores, (0.5, ds.FULL_W))
_SHORTENED = f"run time shortened, {LEVEL_PERCENT} % of the sun"

#: A change by less says nothing. [percentage points]
_HARDLY = 1.0

#: What is changed, and what to make of it when the improvement becomes smaller, and when it does not.
_CHANGES = (
    (
        "nodes with equal parts of the work, and no stragglers",
        {"imbalance_ratio": 0.0, "straggler_ratio": 0.0},
        "There is nothing to balance, and nothing is gained: the improvement comes from imbalance and stragglers alone.",
        "Imbalance and stragglers do not explain the improvement.",
    ),
    (
        "nodes with equal parts of the work",
        {"imbalance_ratio": 0.0},
        "What is left is due to stragglers.",
        "Stragglers alone explain the improvement.",
    ),
    (
        "no stragglers",
        {"straggler_ratio": 0.0},
        "What is left is due to the lasting imbalance of the nodes.",
        "The lasting imbalance of the nodes alone explains the improvement.",
    ),
    (
        "twice the imbalance",
        {"imbalance_ratio": 0.4},
        "More imbalance is not worth more here.",
        "The improvement grows with the imbalance, which the paper does not state: its level cannot be compared.",
    ),
    (
        "idle power of a node 0.5 W instead of 1.35 W",
        {"server": FRUGAL},
        "Part of the improvement is time in which waiting nodes idle at a cost.",
        "Not idle power but waiting is what the improvement comes from.",
    ),
    (
        "nodes without GPU, 5 W at full load instead of 10 W",
        {"server": SERVERS["microserver"]},
        "Half the sun often runs all of these at full power, and power that nobody lacks cannot be moved to use.",
        "Nodes at full power are no limit here.",
    ),
    (
        "ticks of 5 minutes instead of one",
        {"tick_s": 300.0},
        "Who waits is seen when it is nearly over: a policy that looks seldom gains little.",
        "How often the policy looks matters little here.",
    ),
    (
        "ticks of 10 seconds instead of a minute",
        {"tick_s": 10.0},
        "Looking more often is no gain here: at such ticks even I/O looks like waiting.",
        "Who waits is seen sooner, and more is gained.",
    ),
    (
        "steps of 10 s instead of 2 minutes, as much work in all",
        {"steps": 240, "compute_s": 10.0, "io_s": 10.0 / 12.0},
        "Stragglers come and go within a tick, before anybody sees them; what is gained comes from the lasting imbalance.",
        "Steps that are shorter than a tick are no obstacle.",
    ),
    (
        "all runs begin at 8 h",
        {"from_morning": True},
        "On a changeable day it matters where a run ends; the sign stays.",
        "On a changeable day it matters where a run ends; the sign stays.",
    ),
)


def reruns(setting: Setting, day: Series, outcomes: Sequence[Outcome], seeds: Sequence[int]) -> list[Rerun]:
    """Each factor by itself."""
    seeds = seeds[:STARTS]
    before = _improvement([one for one in at(outcomes, LEVEL_PERCENT) if one.seed in seeds])
    found = []
    for changed, fields, if_less, if_more in _CHANGES:
        changed_setting = replace(setting, **fields)
        after = _improvement([play(changed_setting, day, LEVEL_PERCENT, seed) for seed in seeds])
        conclusion = if_less if after < before - _HARDLY else if_more
        found.append(Rerun(name=_SHORTENED, changed=changed, before=before, after=after, unit="%", conclusion=conclusion))
    rise = _rise([*at(outcomes, 10), *at(outcomes, 20)])
    frugal = replace(setting, server=FRUGAL)
    after = _rise([play(frugal, day, level, seed) for level in (10, 20) for seed in seeds])
    found.append(
        Rerun(
            name=EFFICIENCY_RISES,
            changed="idle power of a node 0.5 W instead of 1.35 W, so that all ten can run at 10 %",
            before=rise,
            after=after,
            unit="node-s/kJ from 10 to 20 % of the sun",
            conclusion="Where all ten nodes run at both levels more sun means more work per joule, as the paper says; where the sun "
            "is not even enough for their idle power, running fewer of them keeps efficiency up."
            if after > max(rise, 0.0)
            else "Idle power does not explain it.",
        )
    )
    return found


def _improvement(outcomes: Sequence[Outcome]) -> float:
    return fmean(one.improvement_percent for one in outcomes)


def _rise(outcomes: Sequence[Outcome]) -> float:
    low, high = (fmean(one.dynamic.efficiency_node_s_per_kj for one in at(outcomes, level)) for level in (10, 20))
    return high - low

"""Figure 11 again with one factor changed, to see where its efficiency and its run time come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from ecovisor.model.series import Series
from ecovisor.presets import ServerParameters
from ecovisor.studies import direct_solar as ds
from ecovisor.studies.direct_solar_replicas import Outcome, Setting, at, play
from ecovisor.studies.figure11_claims import EFFICIENCY_FALLS
from ecovisor.studies.findings import Rerun

#: Starts that are run again at most.
STARTS = 5
#: Between these the efficiency is compared, and the run time at the second. [%]
FROM_PERCENT, SHORT_PERCENT, TO_PERCENT = 100, 150, 300
_FREE_IDLING = ServerParameters(ds.SERVER.cores, (0.0, ds.FULL_W))
_CHANGE_UNIT = f"node-s/kJ from {FROM_PERCENT} to {TO_PERCENT} % of the sun"
_SHORTENED = f"run time shortened by replicas, {SHORT_PERCENT} % of the sun"

_OF_EFFICIENCY: tuple[tuple[str, dict[str, Any], str], ...] = (
    (
        "steady sun: the day's peak from morning to evening",
        {"steady": True},
        "The day's clouds and evenings hide it: more sun also lets the ten nodes themselves run nearer to full power.",
    ),
    (
        "steady sun, and slow tasks that draw no more than their speed, on nodes that idle at no cost",
        {"steady": True, "stalled": True, "server": _FREE_IDLING},
        "Where neither waiting nor being slow costs anything, replicas are nothing but extra energy, and efficiency falls as in the "
        "paper. Otherwise the first replicas save more, in waiting nodes and slow tasks cut short, than they cost.",
    ),
)
_OF_RUNTIME: tuple[tuple[str, dict[str, Any]], ...] = (
    ("one replica of a task at a time instead of four", {"most_replicas": 1}),
    ("stragglers half as frequent", {"straggler_ratio": 0.1}),
    ("no stragglers", {"straggler_ratio": 0.0}),
    ("ticks of 5 minutes instead of one", {"tick_s": 300.0}),
)


def reruns(setting: Setting, day: Series, outcomes: Sequence[Outcome], seeds: Sequence[int]) -> list[Rerun]:
    """Each factor by itself."""
    seeds = seeds[:STARTS]
    known = [one for one in outcomes if one.seed in seeds]
    found = []
    before = _change(known)
    for changed, fields, falls in _OF_EFFICIENCY:
        changed_setting = replace(setting, **fields)
        after = _change([play(changed_setting, day, level, seed) for level in (FROM_PERCENT, TO_PERCENT) for seed in seeds])
        conclusion = falls if after < 0.0 else "Even so more sun means more work per joule."
        found.append(
            Rerun(name=EFFICIENCY_FALLS, changed=changed, before=before, after=after, unit=_CHANGE_UNIT, conclusion=conclusion)
        )
    before = _shortened(known)
    for changed, fields in _OF_RUNTIME:
        changed_setting = replace(setting, **fields)
        after = _shortened([play(changed_setting, day, SHORT_PERCENT, seed) for seed in seeds])
        conclusion = f"{'Less' if after < before - 1.0 else 'More' if after > before + 1.0 else 'As much'} is gained by replicas."
        found.append(Rerun(name=_SHORTENED, changed=changed, before=before, after=after, unit="%", conclusion=conclusion))
    return found


def _change(outcomes: Sequence[Outcome]) -> float:
    low, high = (
        fmean(one.replicas.efficiency_node_s_per_kj for one in at(outcomes, level)) for level in (FROM_PERCENT, TO_PERCENT)
    )
    return high - low


def _shortened(outcomes: Sequence[Outcome]) -> float:
    return fmean(one.shortened_percent for one in at(outcomes, SHORT_PERCENT))

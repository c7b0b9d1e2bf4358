"""The experiment with virtual batteries again with one factor changed: what the difference to the paper may come from.

Each compares the same first starts before and after. The job is run alone where only it matters, and so is the web application:
each application is settled as if alone. `figure8` shows what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecovisor.studies.findings import Rerun
from ecovisor.studies.virtual_batteries import Setting
from ecovisor.studies.virtual_batteries_starts import (
    Inputs,
    Start,
    additional_core_h,
    change_percent,
    elapsed_h,
    lasting_percent,
    lost_core_h,
    percent,
    play_spark,
    play_web,
    web_outcome,
    with_array,
)

SPARK_NUMBER = "Spark: run time with additional workers against fixed ones"
USEFUL_NUMBER = "Spark: work of the additional workers that lasts, at least"
WEB_NUMBER = "Web: minutes over 100 ms with its own policy"
#: Level down to which the battery carries additional workers, and interval of checkpoints, where they are changed. [1, s]
_HIGH_RATIO, _OFTEN_S = 0.9, 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variant:
    changed: str
    conclusion: Callable[[float, float], str]
    """Of the change in run time before and after. [%]"""
    setting: Setting
    given: Inputs


def spark_reruns(setting: Setting, given: Inputs, starts: Sequence[Start], progress: Callable[[float], None]) -> list[Rerun]:
    """Change in run time with a factor changed. [%]"""
    before, lost_before, useful_before = _spark(setting, given, starts)
    found = []
    variants = _variants(setting, given)
    for done, one in enumerate(variants):
        progress(done / len(variants))
        after, lost, useful = _spark(one.setting, one.given, starts)
        conclusion = one.conclusion(before, after) + f"; {lost:.0f} core-h are lost instead of {lost_before:.0f}"
        found.append(Rerun(name=SPARK_NUMBER, changed=one.changed, before=before, after=after, unit="%", conclusion=conclusion))
        if one.setting.keep_ratio != setting.keep_ratio:
            verdict = "still holds" if useful > 50.0 else "does not hold then"
            found.append(
                Rerun(
                    name=USEFUL_NUMBER,
                    changed=one.changed,
                    before=useful_before,
                    after=useful,
                    unit="%",
                    conclusion=f"that they mostly do useful work {verdict}",
                )
            )
    return found


def web_reruns(setting: Setting, given: Inputs, starts: Sequence[Start], progress: Callable[[float], None]) -> list[Rerun]:
    """Minutes over the objective with a factor changed. [%]"""
    before = _late_percent(setting, given, starts)
    found = []
    for done, (changed, other, minutes, conclusion) in enumerate(
        (
            (
                f"no headroom instead of {percent(setting.headroom_ratio)}",
                replace(setting, headroom_ratio=0.0),
                None,
                "what a minute brings beyond the one before it has to be met with something in hand",
            ),
            (
                "applications that come at once, not over 15 min",
                setting,
                1,
                "a policy that sees the minute that ended is a minute late where requests jump",
            ),
        )
    ):
        progress(done / 2.0)
        after = _late_percent(other, given, starts, minutes)
        found.append(Rerun(name=WEB_NUMBER, changed=changed, before=before, after=after, unit="%", conclusion=conclusion))
    return found


def _variants(setting: Setting, given: Inputs) -> list[_Variant]:
    def by(more: str, less: str) -> Callable[[float, float], str]:
        """The advantage grows, or shrinks."""
        return lambda before, after: more if after < before else less

    def array(factor: float) -> _Variant:
        return _Variant(
            changed=f"array of {given.peak_w * factor:.0f} W instead of {given.peak_w:.0f} W",
            conclusion=by("there is more excess sun for the additional workers", "more sun, and yet no larger gain")
            if factor > 1.0
            else by("less sun, and yet a larger gain: fewer workers are lost at once", "there is less excess sun for them"),
            setting=setting,
            given=with_array(given, factor),
        )

    def other(changed: str, conclusion: Callable[[float, float], str], **fields: object) -> _Variant:
        return _Variant(changed=changed, conclusion=conclusion, setting=replace(setting, **fields), given=given)  # type: ignore[arg-type]  # its fields

    battery = setting.battery
    half = replace(battery, capacity_wh=battery.capacity_wh / 2.0)
    return [
        array(0.75),
        array(1.25),
        other(
            f"battery of {half.capacity_wh:g} Wh instead of {battery.capacity_wh:g} Wh",
            by("a smaller battery is full sooner", "a smaller battery bridges fewer clouds"),
            battery=half,
        ),
        other(
            "battery half full in the first morning",
            by("fewer additional workers come, and fewer of them are lost", "additional workers wait until the battery is full"),
            battery=replace(battery, initial_ratio=0.5),
        ),
        other(
            f"additional workers go below {percent(_HIGH_RATIO)} of the battery, not {percent(setting.keep_ratio)}",
            by(
                "what they do not take from the battery is there the next day",
                "clouds and afternoons end them before the evening, and their results with them",
            ),
            keep_ratio=_HIGH_RATIO,
        ),
        other(
            f"checkpoints every {_OFTEN_S / 60.0:g} min, too",
            by("less is lost", "writing takes longer than doing again what is lost"),
            checkpoint_interval_s=_OFTEN_S,
        ),
        other(
            f"both: below {percent(_HIGH_RATIO)}, and every {_OFTEN_S / 60.0:g} min",
            by(
                "frequent checkpoints make up for early ends",
                "frequent checkpoints make up for early ends, but for the time of writing",
            ),
            keep_ratio=_HIGH_RATIO,
            checkpoint_interval_s=_OFTEN_S,
        ),
        other(
            f"half the work, {setting.work_core_h / 2.0:g} core-h",
            by(
                "a shorter job may end before a night that it needs with fixed workers",
                "nights decide: either way the shorter job ends on the same day more often",
            ),
            work_core_h=setting.work_core_h / 2.0,
        ),
    ]


def _spark(setting: Setting, given: Inputs, starts: Sequence[Start]) -> tuple[float, float, float]:
    """Mean change in run time, and of the dynamic policy the work lost and the additional work that lasts. [%, core-h, %]"""
    changes, lost, useful = [], [], []
    for start in starts:
        fixed, more = (play_spark(setting, given, start, dynamic=dynamic) for dynamic in (False, True))
        changes.append(change_percent(elapsed_h(more), elapsed_h(fixed)))
        lost.append(lost_core_h(more))
        useful.append(lasting_percent(lost[-1], additional_core_h(more, setting)))
    return float(np.mean(changes)), float(np.mean(lost)), float(np.mean(useful))


def _late_percent(setting: Setting, given: Inputs, starts: Sequence[Start], start_minutes: int | None = None) -> float:
    late = [
        web_outcome(play_web(setting, given, start, dynamic=True, start_minutes=start_minutes), setting)["late_ratio"]
        for start in starts
    ]
    return 100.0 * float(np.mean(late))

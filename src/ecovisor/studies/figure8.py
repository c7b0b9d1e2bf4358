"""Figure 8 of the Ecovisor paper, section 5.3: two applications that use their virtual batteries each in its own way.

Owns the comparison with the paper and its claims; `figure8_plot` draws it. The experiment is `virtual_batteries`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.findings import Claim, Findings, Number, Rerun, Table
from ecovisor.studies.study import Context
from ecovisor.studies.virtual_batteries import SPARK, WEB, Played, Setting
from ecovisor.studies.virtual_batteries_parameters import NOTES, origins, parameters
from ecovisor.studies.virtual_batteries_reruns import SPARK_NUMBER, USEFUL_NUMBER, WEB_NUMBER, spark_reruns, web_reruns
from ecovisor.studies.virtual_batteries_starts import (
    WEB_DAYS,
    Outcome,
    Start,
    change_percent,
    inputs,
    lasting_percent,
    mean_and_spread,
    outcome,
    play,
    starts,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_SECTION, _TAKEAWAY = "section 5.3.2", "section 5.3.2, Key Takeaway"
#: Paper, section 5.3.2. [%]
PAPER_PERCENT = -39.0
#: Days of the picture, and starts of the reruns.
_SHOWN_DAYS, _RERUN_STARTS = 4, 3
#: Levels agree within this. [Wh]
_EXACT_WH = 1e-6

Pair = tuple[Outcome, Outcome]
"""Of one start: static, dynamic."""


class Figure8:
    """A fixed number of workers on sun and battery, against what each application makes of them."""

    name = "fig8"
    title = "Virtual batteries: a system's fixed workers against each application's own use"
    source = "Ecovisor (ASPLOS 2023), Figure 8, section 5.3"

    def run(self, context: Context) -> Findings:
        """See `Study`."""
        setting = Setting()
        given = inputs(context.traces, setting)
        drawn = starts(max(context.seeds, 1), context.seed)
        pairs: list[Pair] = []
        shown: tuple[Played, Played] | None = None
        for done, start in enumerate(drawn):
            context.progress("random starts", 0.55 * done / len(drawn))
            days = _SHOWN_DAYS if shown is None else WEB_DAYS
            static, dynamic = (play(setting, given, start, dynamic=one, least_days=days) for one in (False, True))
            shown = shown or (static, dynamic)
            pairs.append((outcome(static, setting), outcome(dynamic, setting)))
        assert shown is not None, "there is at least one start"
        changed = spark_reruns(
            setting, given, drawn[:_RERUN_STARTS], lambda part: context.progress("one factor changed at a time", 0.55 + 0.35 * part)
        ) + web_reruns(setting, given, drawn[:_RERUN_STARTS], lambda part: context.progress("requests changed", 0.9 + 0.1 * part))
        return Findings(
            numbers=_numbers(pairs),
            claims=_claims(pairs, setting),
            parameters=parameters(setting, given),
            tables={
                "minutes": _minutes(*shown, setting),
                "starts": _starts(drawn, pairs),
                "reruns": _reruns([one for one in changed if one.name == SPARK_NUMBER], pairs),
            },
            reruns=changed,
            origins=origins(given, drawn[0]),
            notes=[
                *NOTES,
                "Spark's gain hangs on two assumptions that the paper does not settle: a battery that is full in the first morning, and "
                "additional workers that it carries to the evening's checkpoint (their reruns show it). That the mean is near the paper's "
                "number is therefore no evidence that the assumptions are the paper's.",
                f"The picture is the first of {len(drawn)} random starts. The web application is compared over {WEB_DAYS} days of each.",
                f"Reruns compare the first {min(_RERUN_STARTS, len(drawn))} starts before and after.",
            ],
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """See `Study`."""
        from ecovisor.studies.figure8_plot import draw

        return draw(findings)


# -- tables


def _minutes(static: Played, dynamic: Played, setting: Setting) -> Table:
    """A row a minute of the start that is shown."""
    site = static.tables.site
    ticks = min(len(site["time"]), len(dynamic.tables.site["time"]), _SHOWN_DAYS * 1440)
    web = static.tables.of("flows", app=WEB)
    columns: dict[str, Floats] = {
        "time_h": (site["time"][:ticks] - site["time"][0]) / 3600.0,
        "solar_w": np.asarray(static.tables.of("flows", app=SPARK)["solar_w"] + web["solar_w"])[:ticks],
        "half_solar_w": web["solar_w"][:ticks],
    }
    for name, played in (("static", static), ("dynamic", dynamic)):
        assert played.spark is not None, "both applications ran"
        assert played.web is not None, "both applications ran"
        rate = played.web.column("requests_per_s")[:ticks]
        columns["requests_per_s"] = rate
        columns[f"spark_{name}_workers"] = played.spark.column("workers")[:ticks]
        columns[f"web_{name}_workers"] = played.web.column("workers")[:ticks]
        columns[f"web_{name}_p95_ms"] = np.where(rate > 0.0, played.web.column("p95_ms")[:ticks], np.nan)
    columns["slo_ms"] = np.full(ticks, setting.slo_ms)
    return Table(columns={name: values.tolist() for name, values in columns.items()})


def _starts(drawn: Sequence[Start], pairs: Sequence[Pair]) -> Table:
    """A row a start."""
    columns: dict[str, list[float]] = {"start": [float(k + 1) for k in range(len(drawn))]}
    columns["first_day"] = [float(start.first_day + 1) for start in drawn]
    for k, name in enumerate(("static", "dynamic")):
        columns |= {
            f"{name}_elapsed_h": [pair[k].elapsed_h for pair in pairs],
            f"{name}_by_day_h": [pair[k].by_day_h for pair in pairs],
            f"{name}_lost_core_h": [pair[k].lost_core_h for pair in pairs],
            f"{name}_web_worst_ms": [pair[k].web_worst_ms for pair in pairs],
            f"{name}_web_late_ratio": [pair[k].web_late_ratio for pair in pairs],
            f"{name}_web_most_workers": [pair[k].web_most_workers for pair in pairs],
            f"{name}_import_wh": [pair[k].import_wh for pair in pairs],
        }
    columns["additional_core_h"] = [dynamic.additional_core_h for _, dynamic in pairs]
    return Table(columns=columns)


def _reruns(changed: Sequence[Rerun], pairs: Sequence[Pair]) -> Table:
    """What the second picture shows: the change in run time of all starts, and of each rerun. [%]"""
    mean, spread = mean_and_spread(_elapsed_percent(pairs))
    some, some_spread = mean_and_spread(_elapsed_percent(pairs[:_RERUN_STARTS]))
    rest = [one.changed for one in changed]
    return Table(
        columns={
            "what": [f"as assumed, {len(pairs)} starts", f"the first {len(pairs[:_RERUN_STARTS])} of them; with …", *rest],
            "change_percent": [mean, some, *(one.after for one in changed)],
            "spread_percent": [spread, some_spread, *(float("nan") for _ in changed)],
            "paper_percent": [PAPER_PERCENT] * (len(changed) + 2),
        }
    )


# -- numbers


def _elapsed_percent(pairs: Sequence[Pair]) -> list[float]:
    return [change_percent(dynamic.elapsed_h, static.elapsed_h) for static, dynamic in pairs]


def _useful_percent(pairs: Sequence[Pair]) -> list[float]:
    """Part of the additional workers' work that lasts, if every loss of the run was theirs. [%]"""
    return [lasting_percent(dynamic.lost_core_h, dynamic.additional_core_h) for _, dynamic in pairs]


def _numbers(pairs: Sequence[Pair]) -> list[Number]:
    def one(name: str, unit: str, paper: float | None, values: Sequence[float], explanation: str = "") -> Number:
        mean, spread = mean_and_spread(values)
        return Number(name=name, unit=unit, paper=paper, ours=mean, spread=spread, explanation=explanation)

    statics, dynamics = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return [
        one(
            SPARK_NUMBER,
            "%",
            PAPER_PERCENT,
            _elapsed_percent(pairs),
            "not fitted; the paper names neither array nor job, and the array's size, the first morning's charge and the nights that the "
            "job needs decide",
        ),
        one(
            "Spark: the same, nights left out",
            "%",
            None,
            [change_percent(dynamic.by_day_h, static.by_day_h) for static, dynamic in pairs],
        ),
        one(USEFUL_NUMBER, "%", None, _useful_percent(pairs)),
        one("Spark: work lost with fixed workers", "core-h", None, [each.lost_core_h for each in statics]),
        one("Spark: work lost with additional workers", "core-h", None, [each.lost_core_h for each in dynamics]),
        one("Web: workers with fixed power", "1", 4.0, [each.web_most_workers for each in statics]),
        one("Web: most workers with its own policy", "1", None, [each.web_most_workers for each in dynamics]),
        one("Web: minutes over 100 ms with fixed workers", "%", None, [100.0 * each.web_late_ratio for each in statics]),
        one(WEB_NUMBER, "%", 0.0, [100.0 * each.web_late_ratio for each in dynamics]),
        one("Web: largest p95 of a minute with its own policy", "ms", None, [each.web_worst_ms for each in dynamics]),
        one("Energy from the grid, both applications and policies", "Wh", 0.0, [a.import_wh + b.import_wh for a, b in pairs]),
        one(
            "Sum of virtual battery levels less the physical level, largest of any tick",
            "Wh",
            None,
            [max(each.residual_wh for each in pair) for pair in pairs],
        ),
    ]


# -- claims


def _claims(pairs: Sequence[Pair], setting: Setting) -> list[Claim]:
    count = len(pairs)

    def all_of(text: str, held: Sequence[bool], evidence: str, source: str = _SECTION) -> Claim:
        return Claim(text=text, held=all(held), evidence=f"{evidence}, in {sum(held)} of {count} starts", source=source)

    def mean(values: Sequence[float]) -> float:
        return mean_and_spread(values)[0]

    statics, dynamics = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    sooner = [dynamic.elapsed_h < static.elapsed_h for static, dynamic in pairs]
    late = [static.web_late_ratio > dynamic.web_late_ratio for static, dynamic in pairs]
    clean = [max(one.import_wh + one.carbon_g for one in pair) == 0.0 for pair in pairs]
    times = f"{mean([one.elapsed_h for one in dynamics]):.1f} h against {mean([one.elapsed_h for one in statics]):.1f} h"
    minutes = (
        f"{100 * mean([one.web_late_ratio for one in statics]):.1f} % of the minutes against "
        f"{100 * mean([one.web_late_ratio for one in dynamics]):.2f} %"
    )
    useful = _useful_percent(pairs)
    lasting = lasting_percent(sum(one.lost_core_h for one in dynamics), sum(one.additional_core_h for one in dynamics))
    residual_wh = max(one.residual_wh for pair in pairs for one in pair)
    unserved_wh = max(one.unserved_wh for pair in pairs for one in pair)
    return [
        all_of("Scaling up on excess sun when the battery is full ends the Spark job sooner", sooner, times),
        Claim(
            text="Additional workers mostly do useful work",
            held=lasting > 50.0,
            evidence=f"{lasting:.0f} % of it lasts even if every loss was theirs, more than half in "
            f"{sum(value > 50.0 for value in useful)} of {count} starts",
            source=_SECTION,
        ),
        all_of(
            "The system-level policy avoids losing computation: its workers are always there by day",
            [one.lost_by_day_core_h == 0.0 for one in statics],
            f"{max(one.lost_by_day_core_h for one in statics):g} core-h are lost by day, and "
            f"{mean([one.lost_core_h for one in statics]):.1f} core-h of tasks that are unfinished in the evenings (own policy: "
            f"{mean([one.lost_core_h for one in dynamics]):.1f} core-h in all)",
        ),
        all_of(
            "The system-level policy runs 4 workers whatever the workload",
            [one.web_least_workers == one.web_most_workers == float(setting.static_workers) for one in statics],
            f"{min(one.web_least_workers for one in statics):.0f} to {max(one.web_most_workers for one in statics):.0f} workers",
        ),
        all_of(
            "The web application's own policy scales to more workers when requests are many",
            [one.web_most_workers > setting.static_workers for one in dynamics],
            f"up to {min(one.web_most_workers for one in dynamics):.0f} to {max(one.web_most_workers for one in dynamics):.0f} workers",
        ),
        all_of(
            "With fixed workers latency exceeds the objective under high load, and is much higher than with the own policy",
            [static.web_worst_ms > setting.slo_ms and static.web_busy_ms > dynamic.web_busy_ms for static, dynamic in pairs],
            f"{minutes} over {setting.slo_ms:g} ms",
        ),
        all_of(
            f"The web application's own policy always meets {setting.slo_ms:g} ms",
            [one.web_worst_ms <= setting.slo_ms for one in dynamics],
            f"largest p95 of any minute {max(one.web_worst_ms for one in dynamics):.0f} ms",
        ),
        all_of(
            "Every policy keeps a zero carbon footprint, and none is short of power",
            [zero and max(one.unserved_wh for one in pair) == 0.0 for zero, pair in zip(clean, pairs, strict=True)],
            f"{max(one.import_wh for pair in pairs for one in pair):g} Wh imported, {unserved_wh:g} Wh unserved",
            "section 5.3.1",
        ),
        all_of(
            "Virtual batteries sum to the physical one in every tick",
            [max(one.residual_wh for one in pair) <= _EXACT_WH for pair in pairs],
            f"largest difference {residual_wh:.1e} Wh",
            "section 3.3",
        ),
        all_of(
            "Each application gets what it needs from its battery: Spark a lower run time, the web application a lower latency",
            [a and b for a, b in zip(sooner, late, strict=True)],
            f"{times}; {minutes} over {setting.slo_ms:g} ms",
            _TAKEAWAY,
        ),
    ]

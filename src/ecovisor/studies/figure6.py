"""Figure 6 of the Ecovisor paper, section 5.2: a static carbon rate against a dynamic carbon budget, for two web applications.

Owns the comparison with the paper and its claims; `figure6_plot` draws it. The experiment is `carbon_budgets`'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ecovisor.studies.carbon_budgets import APPLICATIONS, HOURS_H, RATE_MG_PER_S, Application, Outcome, Setting
from ecovisor.studies.carbon_budgets_inputs import Inputs, over_a_year, parameters, published, shifted
from ecovisor.studies.carbon_budgets_numbers import PAPER_PERCENT, Pair, Pairs, compare, mean_and_spread, reruns, table_of
from ecovisor.studies.findings import Claim, Findings, Number, Table
from ecovisor.studies.study import Context

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECTION = "section 5.2.2"
#: The end of the trace, for the claim on it: its last third.
_END_H = HOURS_H * 2.0 / 3.0
#: Stretches of the year, one in each half month.
_YEAR = 24
_ON_MODELLED = (
    "Claims on the end of the trace, on its high carbon and on spending above the limit are about the authors' own trace: on the modelled "
    "series carbon falls at the end, and what is claimed need not hold."
)
#: Their tick, coarser than that of the 48 hours to save time: carbon is hourly there. [s]
_YEAR_TICK_S = 300.0


class Figure6:
    """Latency under a static carbon rate and under a dynamic carbon budget."""

    name = "fig6"
    title = "Carbon budgets: a static rate against an application's own spending"
    source = "Ecovisor (ASPLOS 2023), Figure 6, section 5.2"

    def run(self, context: Context) -> Findings:
        """See `Study`."""
        setting = Setting()
        context.progress("the authors' 48 hours", 0.0)
        inputs = published(context.traces, setting)
        base = compare(inputs, setting)
        moved = _runs(
            shifted(inputs, context.seeds, context.seed),
            setting,
            lambda part: context.progress("shifted requests", 0.05 + 0.3 * part),
        )
        stretches = over_a_year(context.traces, setting, _YEAR, context.seed)
        year = _runs(
            stretches,
            replace(setting, tick_s=_YEAR_TICK_S),
            lambda part: context.progress("48 hours at a time over a year", 0.35 + 0.4 * part),
        )
        changed = reruns(
            context.traces, setting, base, lambda part: context.progress("one factor changed at a time", 0.75 + 0.25 * part)
        )
        origins = {"carbon": inputs.carbon.origin, "carbon, over a year": stretches[0].carbon.origin}
        origins |= {f"requests of {app.title}": inputs.requests[app.name].origin for app in APPLICATIONS}
        return Findings(
            numbers=_numbers(base, moved, year),
            claims=_claims(base, moved, year),
            parameters=parameters(setting, inputs),
            tables={
                "ticks": ticks_table(base),
                "shifts": table_of(moved, [f"{k + 1}" for k in range(len(moved))]),
                "year": table_of(year, [f"{k + 1}" for k in range(len(year))]),
            },
            reruns=changed,
            origins=origins,
            notes=[
                "Latency is that of a queueing model (processor sharing in each worker), which a test holds against a discrete-event "
                "simulation; where requests exceed the capacity it is that of a queue that grows and drains as a fluid.",
                "The differences in carbon at the authors' 48 hours are fitted, by the load of each application, and the number of "
                "containers to when the static policy is late: neither is evidence of its own. Shifted requests and the year are not.",
                "The year's requests are scaled to its mean intensity, so that they are as demanding as those of the 48 hours.",
                "The year is run in ticks of 5 min.",
                "There is no bound beside these figures: requests cannot wait for clean power, so a service has no cheapest hours.",
                *([_ON_MODELLED] if context.traces.modelled else []),
            ],
        )

    def draw(self, findings: Findings) -> dict[str, tuple[Figure, str]]:
        """See `Study`."""
        from ecovisor.studies.figure6_plot import draw

        return draw(findings)


def ticks_table(pairs: Pairs) -> Table:
    """A row for each tick: signals, and each application's course under each policy."""
    first = next(iter(pairs.values())).static
    columns = {"time_h": first.hours_h, "carbon_intensity_g_per_kwh": first.intensity_g_per_kwh}
    for app in APPLICATIONS:
        pair = pairs[app.name]
        columns[f"{app.name}_requests_per_s"] = pair.static.requests_per_s
        columns[f"{app.name}_slo_p95_ms"] = np.full(len(first.hours_h), app.slo_p95_ms)
        for name, one in (("static", pair.static), ("dynamic", pair.dynamic)):
            columns[f"{app.name}_{name}_p95_ms"] = one.p95_ms
            columns[f"{app.name}_{name}_workers"] = one.workers
            columns[f"{app.name}_{name}_carbon_mg_per_s"] = one.carbon_mg_per_s
    return Table(columns={name: values.tolist() for name, values in columns.items()})


def _runs(inputs: Sequence[Inputs], setting: Setting, progress: Callable[[float], None]) -> list[Pairs]:
    found = []
    for done, one in enumerate(inputs):
        progress(done / len(inputs))
        found.append(compare(one, setting))
    return found


def _numbers(base: Pairs, moved: Sequence[Pairs], year: Sequence[Pairs]) -> list[Number]:
    found = []
    for app in APPLICATIONS:
        pair, name = base[app.name], app.title
        year_mean, year_spread = mean_and_spread([one[app.name].carbon_percent for one in year])
        found.append(
            Number(
                name=f"{name}: carbon under the dynamic against the static policy",
                unit="%",
                paper=PAPER_PERCENT[app.name],
                ours=pair.carbon_percent,
                year=year_mean,
                year_spread=year_spread,
                explanation="fitted by the load at the 48 hours; over the year carbon is so high that 20 containers are enough to spend "
                "nearly the whole limit, needed or not, as 64 are at the 48 hours",
            )
        )
        ours, spread = mean_and_spread([one[app.name].carbon_percent for one in moved])
        found.append(
            Number(
                name=f"{name}: the same, requests shifted at random against carbon",
                unit="%",
                paper=PAPER_PERCENT[app.name],
                ours=ours,
                spread=spread,
                explanation="not fitted: how much is saved depends on when requests come",
            )
        )
    for app in APPLICATIONS:
        found += _late(app, base, moved, year)
    for app in APPLICATIONS:
        dynamic = base[app.name].dynamic
        found.append(
            Number(
                name=f"{app.title}: budget spent by the dynamic policy",
                unit="%",
                paper=None,
                ours=100.0 * dynamic.carbon_g / dynamic.budget_g,
                year=mean_and_spread([100.0 * one[app.name].dynamic.carbon_g / dynamic.budget_g for one in year])[0],
            )
        )
        found.append(
            Number(
                name=f"{app.title}: highest carbon rate of the dynamic policy, against a limit of 20",
                unit="mg/s",
                paper=None,
                ours=float(dynamic.carbon_mg_per_s.max()),
            )
        )
    return found


def _late(app: Application, base: Pairs, moved: Sequence[Pairs], year: Sequence[Pairs]) -> list[Number]:
    found = []
    for policy, paper in (("static", None), ("dynamic", 0.0)):
        values, over_year = ([getattr(one[app.name], policy).late_h for one in runs] for runs in (moved, year))
        ours, spread = mean_and_spread(values)
        year_mean, year_spread = mean_and_spread(over_year)
        name = f"{app.title}: time over {app.slo_p95_ms:g} ms under the {policy} policy, of 48 h"
        found += [
            Number(
                name=name,
                unit="h",
                paper=paper,
                ours=getattr(base[app.name], policy).late_h,
                year=year_mean,
                year_spread=year_spread,
            ),
            Number(name=f"{name}, requests shifted at random", unit="h", paper=None, ours=ours, spread=spread),
        ]
    static = base[app.name].static
    found.append(
        Number(
            name=f"{app.title}: requests turned away under the static policy",
            unit="%",
            paper=None,
            ours=100.0 * static.dropped_ratio,
            year=mean_and_spread([100.0 * one[app.name].static.dropped_ratio for one in year])[0],
        )
    )
    return found


def _each(base: Pairs, text: Callable[[Application, Pair], str]) -> str:
    return "; ".join(f"{app.title}: {text(app, base[app.name])}" for app in APPLICATIONS)


def _claims(base: Pairs, moved: Sequence[Pairs], year: Sequence[Pairs]) -> list[Claim]:
    pairs = [base[app.name] for app in APPLICATIONS]
    anywhere = [one[app.name] for runs in ([base], moved, year) for one in runs for app in APPLICATIONS]
    better = [one.dynamic.late_h <= one.static.late_h and _within_budget(one.dynamic) for one in anywhere]
    return [
        Claim(
            text="the dynamic policy always satisfies the objective over the trace",
            held=all(not pair.dynamic.late.any() for pair in pairs),
            evidence=_each(base, lambda app, pair: f"at most {pair.dynamic.p95_ms.max():.0f} ms of {app.slo_p95_ms:g} ms"),
            source=_SECTION,
        ),
        Claim(
            text="the static policy violates the objective near the end of the trace",
            held=all(_late_near_the_end(pair.static) for pair in pairs),
            evidence=_each(base, lambda _, pair: _when(pair.static)),
            source=f"{_SECTION}; the end is taken for the last third",
        ),
        Claim(
            text="it does so in a period of both high carbon and high workload intensity",
            held=all(_high(pair.static) for pair in pairs),
            evidence=_each(base, lambda _, pair: _how_high(pair.static)),
            source=f"{_SECTION}; high is taken for above the mean of the 48 hours, throughout",
        ),
        Claim(
            text="the dynamic policy emits less than the static one",
            held=all(pair.carbon_percent < 0.0 for pair in pairs),
            evidence=_each(base, lambda _, p: f"{p.dynamic.carbon_g:,.0f} g against {p.static.carbon_g:,.0f} g")
            + f"; in {sum(one.carbon_percent < 0.0 for one in anywhere)} of {len(anywhere)} runs",
            source=_SECTION,
        ),
        Claim(
            text="the dynamic policy exceeds the rate limit for a time, on credit, and keeps to the budget as a whole",
            held=all(_within_budget(p.dynamic) and p.dynamic.carbon_mg_per_s.max() > RATE_MG_PER_S for p in pairs),
            evidence=_each(
                base,
                lambda _, p: (
                    f"up to {p.dynamic.carbon_mg_per_s.max():.1f} mg/s, {p.dynamic.carbon_g:,.0f} g of {p.dynamic.budget_g:,.0f} g"
                ),
            ),
            source=_SECTION,
        ),
        Claim(
            text="it operates below the rate limit most of the time",
            held=all((p.dynamic.carbon_mg_per_s < RATE_MG_PER_S).mean() > 0.5 for p in pairs),
            evidence=_each(base, lambda _, p: f"{(p.dynamic.carbon_mg_per_s < RATE_MG_PER_S).mean():.0%} of the time"),
            source=_SECTION,
        ),
        Claim(
            text="the static policy gives lower latency than the dynamic one while carbon is low, by over-provisioning",
            held=all(_over_provisions(pair) for pair in pairs),
            evidence=_each(base, lambda _, p: "median of " + " against ".join(f"{v:.0f} ms" for v in _while_carbon_is_low(p))),
            source=f"{_SECTION}; low is taken for below the mean",
        ),
        Claim(
            text="within the same budget, an application that spends it itself is late for no longer than under a static rate",
            held=all(better),
            evidence=f"in {sum(better)} of {len(better)} runs: the 48 hours, requests shifted, and over a year, of both applications",
            source="section 5.2, Key Takeaway",
        ),
    ]


def _within_budget(one: Outcome) -> bool:
    return one.carbon_g <= one.budget_g * (1.0 + 1e-9)


def _late_near_the_end(one: Outcome) -> bool:
    return bool(one.late.any()) and bool((one.hours_h[one.late] >= _END_H).all())


def _when(one: Outcome) -> str:
    if not one.late.any():
        return "never"
    hours = one.hours_h[one.late]
    return f"{one.late_h:.1f} h between hours {hours.min():.1f} and {hours.max():.1f}"


def _high(one: Outcome) -> bool:
    return bool(one.late.any()) and all(
        values[one.late].min() > values.mean() for values in (one.intensity_g_per_kwh, one.requests_per_s)
    )


def _how_high(one: Outcome) -> str:
    if not one.late.any():
        return "never late"
    least = [values[one.late].min() / values.mean() for values in (one.intensity_g_per_kwh, one.requests_per_s)]
    return f"intensity at least {least[0]:.2f}, requests at least {least[1]:.2f} times their mean while late"


def _while_carbon_is_low(pair: Pair) -> tuple[float, float]:
    low = pair.static.intensity_g_per_kwh < pair.static.intensity_g_per_kwh.mean()
    return float(np.median(pair.static.p95_ms[low])), float(np.median(pair.dynamic.p95_ms[low]))


def _over_provisions(pair: Pair) -> bool:
    static_ms, dynamic_ms = _while_carbon_is_low(pair)
    return static_ms < dynamic_ms
